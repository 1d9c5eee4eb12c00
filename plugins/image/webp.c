/*
 * webp.c: WebP by libwebp, lossy and lossless, one picture; animations are refused. The chunks of
 * the RIFF container are walked for their count, metadata and EXIF.
 */
#include "format.h"

#include <webp/decode.h>

enum { HEAD = 12, FRAME = 8 };

static bool is(struct bytes f)
{
    return f.len >= HEAD && memcmp(f.data, "RIFF", 4) == 0 && memcmp(f.data + 8, "WEBP", 4) == 0;
}

static uint32_t orientation_of(const uint8_t *body, size_t len)
{
    const size_t skip = len > 6 && memcmp(body, "Exif\0\0", 6) == 0 ? 6 : 0;
    return image_exif_orientation((struct bytes){ body + skip, len - skip });
}

static maas_status walk(struct bytes f, const struct image_limits *limits, struct image_info *out,
                        maas_error *error)
{
    uint64_t metadata = 0;
    size_t at = HEAD;
    for (uint32_t i = 0; f.len - at >= FRAME; i++) {
        const uint8_t *chunk = f.data + at;
        const uint32_t len = le32(chunk + 4);
        const size_t left = f.len - at - FRAME;
        if (len > left)
            return maas_fail(error, MAAS_E_INVALID, "the WebP ends inside of a chunk");
        if (memcmp(chunk, "EXIF", 4) == 0)
            out->orientation = orientation_of(chunk + FRAME, len);
        metadata += memcmp(chunk, "VP8", 3) == 0 || memcmp(chunk, "ALPH", 4) == 0 ? 0 : len;
        if (i >= limits->chunks_max || metadata > limits->metadata_max)
            return maas_fail(error, MAAS_E_INVALID, "the WebP has too many chunks or metadata");
        at += FRAME + len + (len & 1 && left > len);
    }
    return MAAS_OK;
}

static maas_status probe(struct bytes f, const struct image_limits *limits, struct image_info *out,
                         maas_error *error)
{
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(f.data, f.len, &features) != VP8_STATUS_OK)
        return maas_fail(error, MAAS_E_INVALID, "the WebP has no header that can be read");
    if (features.has_animation)
        return maas_fail(error, MAAS_E_INVALID, "the WebP is an animation; send one picture");
    out->width = (uint32_t)features.width;
    out->height = (uint32_t)features.height;
    return walk(f, limits, out, error);
}

static maas_status decode(struct bytes f, const struct image_info *info,
                          const uint8_t background[3], uint8_t *pixels, maas_error *error)
{
    const size_t count = (size_t)info->width * info->height;
    if (!WebPDecodeRGBAInto(f.data, f.len, pixels, count * 4, (int)info->width * 4))
        return maas_fail(error, MAAS_E_INVALID, "the WebP is damaged");
    image_flatten(pixels, count, background);
    return MAAS_OK;
}

const struct format image_webp = { "WebP", is, probe, decode };
