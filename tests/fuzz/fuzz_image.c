/*
 * fuzz_image.c: any bytes as a picture, through decoding and preparing: limits, segments and
 * chunks, EXIF, the three decoders behind them. The limits are low, so that a run is short.
 */
#include <stdlib.h>

#include "image/image.h"
#include "image/prepare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void look(const struct image *image)
{
    const struct prepare p = { .width = 9,
                               .height = 7,
                               .resize = 11,
                               .antialias = image->width & 1,
                               .scale = 1,
                               .deviation = { 1, 1, 1 } };
    float out[9 * 7 * 3];
    float *space = malloc(prepare_space(&p, image->width, image->height) * sizeof(*space));
    if (space)
        prepare(out, space, image, &p);
    free(space);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct image_limits limits = image_limits_usual;
    struct image_info info;
    struct image image;
    maas_error error = MAAS_ERROR_INIT;
    const uint8_t background[3] = { 0 };
    limits.pixels_max = 1 << 16;
    if (image_probe(data, len, &limits, &info, &error))
        return 0;
    uint8_t *pixels = malloc(image_bytes(&info));
    if (pixels && !image_decode(data, len, &info, background, pixels, &image, &error))
        look(&image);
    free(pixels);
    return 0;
}
