/* format.h: what the files of this folder share: one pair of functions for each format. */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include "image.h"

#include <stdbool.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

struct format {
    const char *name;
    bool (*is)(struct bytes file);
    /* Sets width, height and orientation (or leaves 1); checks counts and metadata by limits. */
    maas_status (*probe)(struct bytes file, const struct image_limits *limits,
                         struct image_info *out, maas_error *error);
    /* pixels: 4 bytes each of room; the result is 3 bytes each, rows without gaps. */
    maas_status (*decode)(struct bytes file, const struct image_info *info,
                          const uint8_t background[3], uint8_t *pixels, maas_error *error);
};
extern const struct format image_jpeg, image_png, image_webp;

/* The orientation that a TIFF block of EXIF tells; 1 where it has none or is broken. */
uint32_t image_exif_orientation(struct bytes tiff);

/* From 4 bytes a pixel (with alpha) to 3, in place, upon the background. */
void image_flatten(uint8_t *pixels, size_t count, const uint8_t background[3]);

static inline uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

#endif
