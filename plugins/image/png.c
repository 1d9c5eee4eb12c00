/*
 * png.c: PNG by libpng. The chunks are walked first, with counts and sizes checked; libpng is then
 * fed only those that make pixels (IHDR, PLTE, tRNS, IDAT, IEND), so that a profile or a compressed
 * text cannot unfold in it. 16 bits are scaled to 8; palettes, greys and alpha become RGBA.
 */
#include "format.h"

#include <png.h>

enum { HEAD = 8, FRAME = 12 }; /* of the file; of a chunk: length, name, check sum */

static bool is(struct bytes f)
{
    return f.len >= HEAD && memcmp(f.data, "\x89PNG\r\n\x1a\n", HEAD) == 0;
}

/* One chunk at *at, whole; false: there is none. */
static bool next_chunk(struct bytes f, size_t *at, struct bytes *whole)
{
    if (f.len - *at < FRAME)
        return false;
    const uint32_t len = be32(f.data + *at);
    if (len > INT32_MAX || len > f.len - *at - FRAME)
        return false;
    *whole = (struct bytes){ f.data + *at, (size_t)len + FRAME };
    *at += whole->len;
    return true;
}

static bool is_called(struct bytes chunk, const char *name)
{
    return memcmp(chunk.data + 4, name, 4) == 0;
}

static bool makes_pixels(struct bytes chunk)
{
    return is_called(chunk, "IHDR") || is_called(chunk, "PLTE") || is_called(chunk, "tRNS") ||
           is_called(chunk, "IDAT") || is_called(chunk, "IEND");
}

static maas_status probe(struct bytes f, const struct image_limits *limits, struct image_info *out,
                         maas_error *error)
{
    size_t at = HEAD;
    struct bytes chunk;
    uint64_t metadata = 0;
    bool ended = false;
    for (uint32_t i = 0; !ended && next_chunk(f, &at, &chunk); i++) {
        if ((i == 0) != is_called(chunk, "IHDR") || (i == 0 && chunk.len != 13 + FRAME))
            return maas_fail(error, MAAS_E_INVALID, "the PNG does not begin with one header");
        if (i == 0) {
            out->width = be32(chunk.data + 8);
            out->height = be32(chunk.data + 12);
        }
        if (is_called(chunk, "eXIf"))
            out->orientation =
                image_exif_orientation((struct bytes){ chunk.data + 8, chunk.len - FRAME });
        metadata += makes_pixels(chunk) ? 0 : chunk.len;
        if (i >= limits->chunks_max || metadata > limits->metadata_max)
            return maas_fail(error, MAAS_E_INVALID, "the PNG has too many chunks or metadata");
        ended = is_called(chunk, "IEND");
    }
    return ended ? MAAS_OK
                 : maas_fail(error, MAAS_E_INVALID, "the PNG ends early or has a broken chunk");
}

/* ---- decoding */

struct source {
    struct bytes file;
    size_t at;         /* of the next chunk */
    struct bytes left; /* of what is being handed over */
    char text[128];
};

static void on_error(png_structp png, png_const_charp text)
{
    struct source *s = png_get_error_ptr(png);
    snprintf(s->text, sizeof(s->text), "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void hand_over(png_structp png, png_bytep out, size_t len)
{
    struct source *s = png_get_io_ptr(png);
    while (len) {
        while (s->left.len == 0)
            if (!next_chunk(s->file, &s->at, &s->left))
                png_error(png, "it ends early");
            else if (!makes_pixels(s->left))
                s->left.len = 0;
        const size_t part = len < s->left.len ? len : s->left.len;
        memcpy(out, s->left.data, part);
        out += part;
        len -= part;
        s->left.data += part;
        s->left.len -= part;
    }
}

static void decode_rows(png_structp png, png_infop head, const struct image_info *info,
                        uint8_t *pixels)
{
    png_set_user_limits(png, info->width, info->height);
    png_read_info(png, head);
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, head);
    const size_t row = (size_t)4 * info->width;
    if (png_get_rowbytes(png, head) != row || png_get_image_height(png, head) != info->height)
        png_error(png, "it tells two sizes");
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < info->height; y++)
            png_read_row(png, pixels + y * row, NULL);
    png_read_end(png, NULL);
}

static maas_status decode(struct bytes f, const struct image_info *info,
                          const uint8_t background[3], uint8_t *pixels, maas_error *error)
{
    struct source source = { .file = f, .at = HEAD, .left = { f.data, HEAD } };
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning);
    png_infop head = png ? png_create_info_struct(png) : NULL;
    if (!head) {
        png_destroy_read_struct(&png, NULL, NULL);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to decode a PNG");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &head, NULL);
        return maas_fail(error, MAAS_E_INVALID, "the PNG is damaged: %s", source.text);
    }
    png_set_read_fn(png, &source, hand_over);
    decode_rows(png, head, info, pixels);
    png_destroy_read_struct(&png, &head, NULL);
    image_flatten(pixels, (size_t)info->width * info->height, background);
    return MAAS_OK;
}

const struct format image_png = { "PNG", is, probe, decode };

/* ---- writing */

struct sink {
    uint8_t *out;
    size_t room, len;
    char text[128];
};

static void on_write_error(png_structp png, png_const_charp text)
{
    struct sink *s = png_get_error_ptr(png);
    snprintf(s->text, sizeof(s->text), "%s", text);
    png_longjmp(png, 1);
}

static void take(png_structp png, png_bytep data, size_t len)
{
    struct sink *s = png_get_io_ptr(png);
    if (len > s->room - s->len)
        png_error(png, "no room");
    memcpy(s->out + s->len, data, len);
    s->len += len;
}

static void flushed(png_structp png)
{
    (void)png;
}

/* Deflate adds 5 bytes for 16 KiB at worst; IDATs of 8 KiB have frames of 12. */
size_t image_png_room(uint32_t width, uint32_t height)
{
    const size_t raw = ((size_t)width * 3 + 1) * height;
    return raw + raw / 256 + 1024;
}

maas_status image_png_write(uint8_t *out, size_t room, size_t *out_len, const uint8_t *pixels,
                            uint32_t width, uint32_t height, maas_error *error)
{
    struct sink sink = { .out = out, .room = room };
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &sink, on_write_error, on_warning);
    png_infop head = png ? png_create_info_struct(png) : NULL;
    if (!head) {
        png_destroy_write_struct(&png, NULL);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to write a PNG");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &head);
        return maas_fail(error, MAAS_E_EXHAUSTED, "the PNG cannot be written: %s", sink.text);
    }
    png_set_write_fn(png, &sink, take, flushed);
    png_set_IHDR(png, head, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, head);
    for (uint32_t y = 0; y < height; y++)
        png_write_row(png, pixels + (size_t)y * width * 3);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &head);
    *out_len = sink.len;
    return MAAS_OK;
}
