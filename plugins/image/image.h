/*
 * image.h: pictures that strangers send: JPEG, PNG and WebP, one picture each, eight bits a colour
 * in the end. Two steps: image_probe reads what a file says of itself and refuses what is beyond
 * the limits, before anything is decoded; image_decode fills the caller's memory. Colour profiles
 * and gammas are passed over, as common libraries do.
 *
 * Nothing is kept between calls. The decoders take and give back some memory of their own. [any]
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <maas/author.h>

struct image_limits {
    uint64_t pixels_max;
    uint32_t side_max;     /* of width and height; at most 32768 */
    uint64_t bytes_max;    /* of the file */
    uint32_t ratio_max;    /* pixels a byte of the file, for pictures of more than 2^20 pixels */
    uint32_t scans_max;    /* of a progressive JPEG */
    uint32_t chunks_max;   /* of a PNG or WebP, segments of a JPEG */
    uint64_t metadata_max; /* bytes of profiles, texts and the like, all together */
};
extern const struct image_limits image_limits_usual;

enum image_format { IMAGE_JPEG, IMAGE_PNG, IMAGE_WEBP };

struct image_info {
    enum image_format format;
    uint32_t width, height; /* as stored */
    uint32_t orientation;   /* of EXIF, 1 to 8; 1 where there is none */
};

/* A decoded picture as it is to be seen: pixel (x, y) is the three bytes red, green, blue at origin
 * + x step_x + y step_y. An orientation is nothing but other steps. */
struct image {
    const uint8_t *origin;
    ptrdiff_t step_x, step_y;
    uint32_t width, height; /* as seen */
};

/* MAAS_E_INVALID says in words what is wrong. */
maas_status image_probe(const void *data, size_t len, const struct image_limits *limits,
                        struct image_info *out, maas_error *error);
/* Bytes of memory that image_decode fills: 4 a pixel. */
static inline size_t image_bytes(const struct image_info *info)
{
    return (size_t)4 * info->width * info->height;
}
/* info is image_probe's of the same bytes. What is transparent is laid onto the background (red,
 * green, blue). A file that ends early or is damaged is refused. */
maas_status image_decode(const void *data, size_t len, const struct image_info *info,
                         const uint8_t background[3], uint8_t *pixels, struct image *out,
                         maas_error *error);

/* Writes a PNG of [height, width, 3] bytes; *out_len bytes of the `room`. MAAS_E_EXHAUSTED: it does
 * not fit; image_png_room always does. */
size_t image_png_room(uint32_t width, uint32_t height);
maas_status image_png_write(uint8_t *out, size_t room, size_t *out_len, const uint8_t *pixels,
                            uint32_t width, uint32_t height, maas_error *error);

#endif
