/*
 * image.c: which format, are the limits kept, and what the orientation makes of the steps.
 */
#include "image.h"

#include "format.h"

enum { SMALL = 1 << 20 }; /* pixels that may come from any number of bytes */

const struct image_limits image_limits_usual = { .pixels_max = 40000000,
                                                 .side_max = 16384,
                                                 .bytes_max = 32 << 20,
                                                 .ratio_max = 1500,
                                                 .scans_max = 64,
                                                 .chunks_max = 20000,
                                                 .metadata_max = 8 << 20 };

static const struct format *const formats[] = {
    [IMAGE_JPEG] = &image_jpeg, [IMAGE_PNG] = &image_png, [IMAGE_WEBP] = &image_webp
};
enum { FORMATS = sizeof(formats) / sizeof(*formats) };

static maas_status check(const struct image_info *i, size_t len, const struct image_limits *limits,
                         maas_error *error)
{
    const uint64_t pixels = (uint64_t)i->width * i->height;
    if (pixels == 0)
        return maas_fail(error, MAAS_E_INVALID, "the picture is empty");
    if (i->width > limits->side_max || i->height > limits->side_max)
        return maas_fail(error, MAAS_E_INVALID,
                         "the picture is %u by %u; a side may have %u pixels", i->width, i->height,
                         limits->side_max);
    if (pixels > limits->pixels_max)
        return maas_fail(error, MAAS_E_INVALID,
                         "the picture is %u by %u; %llu pixels are too many, %llu may be", i->width,
                         i->height, (unsigned long long)pixels,
                         (unsigned long long)limits->pixels_max);
    if (pixels > SMALL && pixels / limits->ratio_max > len)
        return maas_fail(error, MAAS_E_INVALID,
                         "the picture is %u by %u out of %zu bytes: too much from too little",
                         i->width, i->height, len);
    return MAAS_OK;
}

maas_status image_probe(const void *data, size_t len, const struct image_limits *limits,
                        struct image_info *out, maas_error *error)
{
    const struct bytes file = { data, len };
    if (len > limits->bytes_max)
        return maas_fail(error, MAAS_E_INVALID, "the picture has %zu bytes; %llu may be", len,
                         (unsigned long long)limits->bytes_max);
    for (size_t i = 0; i < FORMATS; i++) {
        if (!formats[i]->is(file))
            continue;
        struct image_info info = { .format = (enum image_format)i, .orientation = 1 };
        maas_status status = formats[i]->probe(file, limits, &info, error);
        if (!status)
            status = check(&info, len, limits, error);
        if (!status)
            *out = info;
        return status;
    }
    return maas_fail(error, MAAS_E_INVALID, "%s",
                     len ? "this is no JPEG, PNG or WebP" : "the picture is missing");
}

/* EXIF 2.32, 4.6.4: where the stored row 0 and column 0 are seen. 1: top left, 2: top right, 3:
 * bottom right, 4: bottom left, 5 to 8: the same with rows and columns exchanged, left top, right
 * top, right bottom, left bottom. */
static void turn(const uint8_t *pixels, const struct image_info *i, struct image *out)
{
    const ptrdiff_t x = 3, y = (ptrdiff_t)3 * i->width;
    const ptrdiff_t right = x * (ptrdiff_t)(i->width - 1), below = y * (ptrdiff_t)(i->height - 1);
    static const struct {
        signed char mirror_x, mirror_y, swap; /* of the stored axes */
    } turns[9] = { [1] = { 0, 0, 0 }, [2] = { 1, 0, 0 }, [3] = { 1, 1, 0 }, [4] = { 0, 1, 0 },
                   [5] = { 0, 0, 1 }, [6] = { 0, 1, 1 }, [7] = { 1, 1, 1 }, [8] = { 1, 0, 1 } };
    const bool mx = turns[i->orientation].mirror_x, my = turns[i->orientation].mirror_y;
    const bool swap = turns[i->orientation].swap;
    const ptrdiff_t step_x = mx ? -x : x, step_y = my ? -y : y;
    *out = (struct image){ .origin = pixels + (mx ? right : 0) + (my ? below : 0),
                           .step_x = swap ? step_y : step_x,
                           .step_y = swap ? step_x : step_y,
                           .width = swap ? i->height : i->width,
                           .height = swap ? i->width : i->height };
}

maas_status image_decode(const void *data, size_t len, const struct image_info *info,
                         const uint8_t background[3], uint8_t *pixels, struct image *out,
                         maas_error *error)
{
    const struct bytes file = { data, len };
    maas_status status = formats[info->format]->decode(file, info, background, pixels, error);
    if (!status)
        turn(pixels, info, out);
    return status;
}

void image_flatten(uint8_t *pixels, size_t count, const uint8_t background[3])
{
    const uint8_t *in = pixels;
    for (size_t i = 0; i < count; i++, in += 4, pixels += 3) {
        const unsigned alpha = in[3];
        for (size_t c = 0; c < 3; c++)
            pixels[c] = (uint8_t)((in[c] * alpha + background[c] * (255 - alpha) + 127) / 255);
    }
}
