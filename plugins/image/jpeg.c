/*
 * jpeg.c: JPEG by libjpeg-turbo. The file's segments are walked first: sizes from SOF, the
 * orientation from EXIF, and how many scans there are, since each scan of a progressive file costs
 * a pass over the whole picture. Grey, YCbCr, RGB, and CMYK as Adobe writes it (inverted).
 */
#include "format.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

static bool is(struct bytes f)
{
    return f.len >= 3 && f.data[0] == 0xff && f.data[1] == 0xd8 && f.data[2] == 0xff;
}

/* ---- the walk */

struct walk {
    size_t at;
    uint32_t segments, scans;
    uint64_t metadata;
    bool sized;
};

static bool is_frame(uint8_t marker) /* SOF0 to SOF15 without DHT, JPG and DAC */
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static maas_status take_segment(struct walk *w, uint8_t marker, struct bytes body,
                                struct image_info *out, maas_error *error)
{
    if (is_frame(marker)) {
        if (w->sized || body.len < 6)
            return maas_fail(error, MAAS_E_INVALID, "the JPEG has a broken or second frame");
        out->height = (uint32_t)body.data[1] << 8 | body.data[2];
        out->width = (uint32_t)body.data[3] << 8 | body.data[4];
        w->sized = true;
    } else if (marker == 0xda) {
        w->scans++;
    } else if (marker >= 0xe0 || marker == 0xfe) { /* APPn, COM */
        w->metadata += body.len;
        if (marker == 0xe1 && body.len > 6 && memcmp(body.data, "Exif\0\0", 6) == 0)
            out->orientation =
                image_exif_orientation((struct bytes){ body.data + 6, body.len - 6 });
    }
    return MAAS_OK;
}

/* The next marker that is no restart and no stuffed byte; false: the end of the file. */
static bool next_marker(struct bytes f, size_t *at, uint8_t *out)
{
    while (*at + 1 < f.len) {
        const uint8_t *p = memchr(f.data + *at, 0xff, f.len - 1 - *at);
        if (!p)
            return false;
        *at = (size_t)(p - f.data) + 1;
        const uint8_t m = f.data[*at];
        if (m == 0 || m == 0xff || m == 0x01 || (m >= 0xd0 && m <= 0xd8))
            continue;
        *out = m;
        ++*at;
        return true;
    }
    return false;
}

static maas_status probe(struct bytes f, const struct image_limits *limits, struct image_info *out,
                         maas_error *error)
{
    struct walk w = { .at = 2 };
    uint8_t marker = 0;
    while (next_marker(f, &w.at, &marker) && marker != 0xd9) {
        const size_t left = f.len - w.at;
        const size_t len = left < 2 ? 0 : (size_t)f.data[w.at] << 8 | f.data[w.at + 1];
        if (len < 2 || len > left)
            return maas_fail(error, MAAS_E_INVALID, "the JPEG ends inside of a segment");
        const struct bytes body = { f.data + w.at + 2, len - 2 };
        maas_status status = take_segment(&w, marker, body, out, error);
        if (status)
            return status;
        w.at += len;
        if (w.scans > limits->scans_max)
            return maas_fail(error, MAAS_E_INVALID, "the JPEG has more than %u scans",
                             limits->scans_max);
        if (++w.segments > limits->chunks_max || w.metadata > limits->metadata_max)
            return maas_fail(error, MAAS_E_INVALID, "the JPEG has too many segments or metadata");
    }
    if (!w.sized || w.scans == 0)
        return maas_fail(error, MAAS_E_INVALID, "the JPEG holds no picture");
    return MAAS_OK;
}

/* ---- decoding */

struct failing {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf out;
    char text[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr c)
{
    struct failing *f = (struct failing *)(void *)c->err;
    c->err->format_message(c, f->text);
    longjmp(f->out, 1);
}

/* Warnings are corrupt data that libjpeg would paint over; an early end is one of them. */
static void on_message(j_common_ptr c, int level)
{
    if (level < 0)
        on_error(c);
}

static void on_output(j_common_ptr c)
{
    (void)c;
}

/* CMYK of Adobe's kind: 255 is no ink. */
static void from_cmyk(uint8_t *out, const uint8_t *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++)
            out[i * 3 + c] = (uint8_t)((in[i * 4 + c] * in[i * 4 + 3] + 127) / 255);
}

static void decode_rows(struct jpeg_decompress_struct *d, uint8_t *pixels)
{
    const bool cmyk = d->jpeg_color_space == JCS_CMYK || d->jpeg_color_space == JCS_YCCK;
    d->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    d->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(d);
    const size_t row = (size_t)d->output_width * (cmyk ? 4 : 3);
    while (d->output_scanline < d->output_height) {
        JSAMPROW to = pixels + d->output_scanline * row;
        jpeg_read_scanlines(d, &to, 1);
    }
    if (cmyk)
        from_cmyk(pixels, pixels, (size_t)d->output_width * d->output_height);
    jpeg_finish_decompress(d);
}

static maas_status decode(struct bytes f, const struct image_info *info,
                          const uint8_t background[3], uint8_t *pixels, maas_error *error)
{
    struct jpeg_decompress_struct d;
    struct failing failing;
    (void)background;
    d.err = jpeg_std_error(&failing.base);
    failing.base.error_exit = on_error;
    failing.base.emit_message = on_message;
    failing.base.output_message = on_output;
    if (setjmp(failing.out)) {
        jpeg_destroy_decompress(&d);
        return maas_fail(error, MAAS_E_INVALID, "the JPEG is damaged: %s", failing.text);
    }
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, f.data, f.len);
    jpeg_read_header(&d, TRUE);
    if (d.image_width != info->width || d.image_height != info->height) {
        jpeg_destroy_decompress(&d);
        return maas_fail(error, MAAS_E_INVALID, "the JPEG tells two sizes");
    }
    decode_rows(&d, pixels);
    jpeg_destroy_decompress(&d);
    return MAAS_OK;
}

const struct format image_jpeg = { "JPEG", is, probe, decode };
