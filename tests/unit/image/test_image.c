/*
 * test_image.c: pictures are written by the formats' own libraries, in every shape that matters,
 * and read back; files that are cut, changed or lie are refused or harmless; resizing is compared
 * with numbers that were computed apart, in exact fractions.
 */
#include "image/image.h"
#include "image/prepare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <png.h>
#include <webp/encode.h>

#include "../../support/dice.h"

enum { WIDTH = 5, HEIGHT = 7, ROOM = 1 << 16 };
static const uint8_t white[3] = { 255, 255, 255 };
static uint8_t file[ROOM];
static size_t len;

static uint8_t pixel(unsigned x, unsigned y, unsigned c)
{
    return (uint8_t)(x * 37 + y * 61 + c * 89 + x * y * 13);
}

/* ---- writers */

static void put(png_structp png, png_bytep data, size_t count)
{
    (void)png;
    assert_true(count <= ROOM - len);
    memcpy(file + len, data, count);
    len += count;
}

static void put_nothing(png_structp png)
{
    (void)png;
}

static void write_png(int type, int depth, int interlace, unsigned channels)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop head = png_create_info_struct(png);
    uint8_t row[WIDTH * 8];
    len = 0;
    png_set_write_fn(png, NULL, put, put_nothing);
    png_set_IHDR(png, head, WIDTH, HEIGHT, depth, type, interlace, 0, 0);
    png_color palette[256];
    for (unsigned i = 0; i < 256; i++)
        palette[i] = (png_color){ (uint8_t)i, (uint8_t)(255 - i), 7 };
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, head, palette, 256);
    png_write_info(png, head);
    const int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (unsigned y = 0; y < HEIGHT; y++) {
            for (unsigned x = 0; x < WIDTH; x++)
                for (unsigned c = 0; c < channels; c++)
                    for (int b = 0; b < depth / 8; b++)
                        row[(x * channels + c) * (unsigned)depth / 8 + (unsigned)b] =
                            c == 3 ? (uint8_t)(x * 51) : pixel(x, y, c);
            png_write_row(png, row);
        }
    png_write_end(png, head);
    png_destroy_write_struct(&png, &head);
}

static void write_jpeg(int components, J_COLOR_SPACE space, bool progressive, unsigned side,
                       uint8_t value, uint8_t orientation)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    unsigned char *out = NULL;
    unsigned long count = 0;
    uint8_t row[256 * 4], exif[32] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
    exif[24] = orientation;
    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &count);
    c.image_width = c.image_height = side;
    c.input_components = components;
    c.in_color_space = space;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 95, TRUE);
    if (progressive)
        jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    if (orientation)
        jpeg_write_marker(&c, JPEG_APP0 + 1, exif, sizeof(exif));
    while (c.next_scanline < side) { /* the upper left quarter has the value, the rest 255 */
        for (unsigned x = 0; x < side; x++)
            for (int k = 0; k < components; k++)
                row[x * (unsigned)components + (unsigned)k] =
                    x < side / 2 && c.next_scanline < side / 2 ? value : 255;
        JSAMPROW line = row;
        jpeg_write_scanlines(&c, &line, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    assert_true(count <= ROOM);
    memcpy(file, out, count);
    len = count;
    free(out);
}

/* ---- reading back */

static uint8_t *memory;

static maas_status read_file(struct image *out, maas_error *error)
{
    struct image_info info;
    free(memory);
    memory = NULL;
    uint8_t *exact = malloc(len ? len : 1); /* so that a byte too far is seen */
    assert_non_null(exact);
    memcpy(exact, file, len);
    maas_status status = image_probe(exact, len, &image_limits_usual, &info, error);
    if (!status) {
        memory = malloc(image_bytes(&info));
        assert_non_null(memory);
        status = image_decode(exact, len, &info, white, memory, out, error);
    }
    free(exact);
    return status;
}

static const uint8_t *at(const struct image *i, int x, int y)
{
    return i->origin + x * i->step_x + y * i->step_y;
}

static struct image must_read(void)
{
    struct image out;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = read_file(&out, &error);
    if (status)
        fail_msg("%s", error.text);
    return out;
}

static void pngs_of_every_kind(void **state)
{
    (void)state;
    static const struct {
        int type;
        unsigned channels;
    } kinds[] = { { PNG_COLOR_TYPE_GRAY, 1 },
                  { PNG_COLOR_TYPE_RGB, 3 },
                  { PNG_COLOR_TYPE_RGB_ALPHA, 4 },
                  { PNG_COLOR_TYPE_PALETTE, 1 } };
    for (int k = 0; k < 4 * 4; k++) {
        const unsigned kind = (unsigned)k / 4;
        const int depth = k & 1 ? 16 : 8, interlace = k & 2 ? 1 : 0;
        if (kind == 3 && depth == 16)
            continue;
        write_png(kinds[kind].type, depth, interlace, kinds[kind].channels);
        struct image i = must_read();
        assert_true(i.width == WIDTH && i.height == HEIGHT);
        for (unsigned y = 0; y < HEIGHT; y++)
            for (unsigned x = 0; x < WIDTH; x++)
                for (unsigned c = 0; c < 3; c++) {
                    unsigned wanted = pixel(x, y, kinds[kind].channels == 1 ? 0 : c);
                    if (kind == 2)
                        wanted = (wanted * x * 51 + 255 * (255 - x * 51) + 127) / 255;
                    if (kind == 3)
                        wanted = c == 0 ? wanted : c == 1 ? 255 - wanted : 7;
                    assert_int_equal(at(&i, (int)x, (int)y)[c], wanted);
                }
    }
}

static void near(const uint8_t *p, int value)
{
    for (int c = 0; c < 3; c++)
        assert_true(abs(p[c] - value) <= 3);
}

static void jpegs_of_every_kind(void **state)
{
    (void)state;
    for (int progressive = 0; progressive < 2; progressive++) {
        write_jpeg(1, JCS_GRAYSCALE, progressive, 32, 40, 0);
        struct image i = must_read();
        near(at(&i, 3, 3), 40);
        near(at(&i, 28, 28), 255);
        write_jpeg(3, JCS_RGB, progressive, 32, 90, 0);
        i = must_read();
        near(at(&i, 3, 3), 90);
        write_jpeg(4, JCS_CMYK, progressive, 32, 128, 0);
        i = must_read();
        near(at(&i, 3, 3), 128 * 128 / 255);
        near(at(&i, 28, 28), 255);
    }
}

/* The dark quarter, stored upper left, is seen where EXIF says. */
static void orientations_are_followed(void **state)
{
    (void)state;
    static const int corner[9][2] = {
        [1] = { 0, 0 }, [2] = { 1, 0 }, [3] = { 1, 1 }, [4] = { 0, 1 },
        [5] = { 0, 0 }, [6] = { 1, 0 }, [7] = { 1, 1 }, [8] = { 0, 1 }
    };
    for (uint8_t o = 1; o <= 8; o++) {
        write_jpeg(1, JCS_GRAYSCALE, false, 32, 0, o);
        struct image i = must_read();
        for (int k = 0; k < 4; k++)
            near(at(&i, 3 + 25 * (k & 1), 3 + 25 * (k >> 1)),
                 corner[o][0] == (k & 1) && corner[o][1] == k >> 1 ? 0 : 255);
    }
    write_jpeg(1, JCS_GRAYSCALE, false, 32, 0, 9); /* there is no ninth */
    struct image i = must_read();
    near(at(&i, 3, 3), 0);
}

/* Of a picture of 5 by 7: width and height are exchanged, and the corners of a row go where they
 * must. */
static void a_turned_picture_has_turned_rows(void **state)
{
    (void)state;
    uint8_t chunk[] = "\0\0\0\x1a"
                      "eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    write_png(PNG_COLOR_TYPE_RGB, 8, 0, 3);
    const size_t head = 8 + 25, extra = 4 + 4 + 26 + 4;
    memmove(file + head + extra, file + head, len - head);
    memset(file + head, 0, extra);
    memcpy(file + head, chunk, sizeof(chunk) - 1);
    len += extra;
    struct image i = must_read();
    assert_true(i.width == HEIGHT && i.height == WIDTH);
    assert_int_equal(at(&i, HEIGHT - 1, 0)[1], pixel(0, 0, 1)); /* 6: a quarter clockwise */
    assert_int_equal(at(&i, HEIGHT - 1, WIDTH - 1)[1], pixel(WIDTH - 1, 0, 1));
    assert_int_equal(at(&i, 0, 0)[1], pixel(0, HEIGHT - 1, 1));
}

static void webps_are_read_and_animations_refused(void **state)
{
    (void)state;
    uint8_t rgba[WIDTH * HEIGHT * 4], *out = NULL;
    for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
        for (unsigned c = 0; c < 4; c++)
            rgba[i * 4 + c] = c == 3 ? 255 : pixel(i % WIDTH, i / WIDTH, c);
    len = WebPEncodeLosslessRGBA(rgba, WIDTH, HEIGHT, WIDTH * 4, &out);
    assert_true(len > 0 && len <= ROOM);
    memcpy(file, out, len);
    WebPFree(out);
    struct image i = must_read();
    for (unsigned k = 0; k < WIDTH * HEIGHT * 3; k++)
        assert_int_equal(at(&i, k / 3 % WIDTH, k / 3 / WIDTH)[k % 3],
                         pixel(k / 3 % WIDTH, k / 3 / WIDTH, k % 3));
    static const uint8_t moving[] = "RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x04\0\0\x06\0\0";
    maas_error error = MAAS_ERROR_INIT;
    struct image_info info;
    assert_int_equal(image_probe(moving, sizeof(moving) - 1, &image_limits_usual, &info, &error),
                     MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "animation"));
}

/* ---- what must be refused */

static void refused(const struct image_limits *limits, const char *word)
{
    struct image_info info;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(image_probe(file, len, limits, &info, &error), MAAS_E_INVALID);
    if (!strstr(error.text, word))
        fail_msg("'%s' does not say '%s'", error.text, word);
}

static void limits_are_kept_before_decoding(void **state)
{
    (void)state;
    struct image_limits limits = image_limits_usual;
    write_png(PNG_COLOR_TYPE_RGB, 8, 0, 3);
    limits.side_max = 6;
    refused(&limits, "a side");
    limits = image_limits_usual;
    limits.pixels_max = 34;
    refused(&limits, "too many");
    limits = image_limits_usual;
    limits.bytes_max = 20;
    refused(&limits, "bytes");
    limits = image_limits_usual;
    limits.chunks_max = 2;
    refused(&limits, "chunks");
    file[18] = file[22] = 12; /* 3077 by 3079 out of some hundred bytes */
    refused(&image_limits_usual, "too little");
    memset(file + 16, 0, 4);
    refused(&image_limits_usual, "empty");
    write_jpeg(1, JCS_GRAYSCALE, true, 32, 0, 1);
    limits = image_limits_usual;
    limits.scans_max = 3;
    refused(&limits, "scans");
    limits = image_limits_usual;
    limits.metadata_max = 20;
    refused(&limits, "metadata");
    len = 0;
    refused(&image_limits_usual, "missing");
    memcpy(file, "GIF89a", len = 6);
    refused(&image_limits_usual, "no JPEG, PNG or WebP");
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0)
            write_png(PNG_COLOR_TYPE_RGB, 8, 1, 3);
        else
            write_jpeg(3, JCS_RGB, kind == 2, 64, 90, 6);
        const size_t whole = len;
        for (len = 0; len < whole - 2; len++) {
            struct image i;
            maas_error error = MAAS_ERROR_INIT;
            assert_int_equal(read_file(&i, &error), MAAS_E_INVALID);
            assert_true(error.text[0] != 0);
        }
    }
}

static void changed_files_are_refused_or_harmless(void **state)
{
    (void)state;
    struct dice dice = { 3 };
    for (int round = 0; round < 3000; round++) {
        struct image i;
        maas_error error = MAAS_ERROR_INIT;
        if (round % 3)
            write_jpeg(round % 2 ? 3 : 4, round % 2 ? JCS_RGB : JCS_CMYK, round % 4 == 1, 32, 9, 5);
        else
            write_png(PNG_COLOR_TYPE_RGB_ALPHA, 16, 1, 4);
        for (int k = 0; k < 3; k++)
            file[dice_roll(&dice) % len] = (uint8_t)dice_roll(&dice);
        (void)!read_file(&i, &error);
    }
}

/* ---- writing and preparing */

static void a_written_png_is_read_back(void **state)
{
    (void)state;
    uint8_t pixels[WIDTH * HEIGHT * 3];
    maas_error error = MAAS_ERROR_INIT;
    for (unsigned k = 0; k < sizeof(pixels); k++)
        pixels[k] = pixel(k / 3 % WIDTH, k / 3 / WIDTH, k % 3);
    assert_int_equal(
        image_png_write(file, image_png_room(WIDTH, HEIGHT), &len, pixels, WIDTH, HEIGHT, &error),
        MAAS_OK);
    struct image i = must_read();
    assert_memory_equal(i.origin, pixels, sizeof(pixels));
    assert_int_equal(image_png_write(file, 40, &len, pixels, WIDTH, HEIGHT, &error),
                     MAAS_E_EXHAUSTED);
}

static struct prepare plain(uint32_t height, uint32_t width, bool antialias)
{
    return (struct prepare){ .width = width,
                             .height = height,
                             .antialias = antialias,
                             .scale = 1,
                             .deviation = { 1, 1, 1 } };
}

static float *prepared(const struct prepare *p)
{
    assert_true(prepare_valid(p));
    write_png(PNG_COLOR_TYPE_RGB, 8, 0, 3);
    struct image i = must_read();
    float *out = malloc(prepare_count(p) * sizeof(*out));
    float *space = malloc(prepare_space(p, i.width, i.height) * sizeof(*space));
    assert_true(out && space);
    prepare(out, space, &i, p);
    free(space);
    return out;
}

/* Channel 1 of the picture, resized. Source: exact fractions, by a program of its own. */
static const struct {
    uint32_t height, width;
    bool antialias;
    float values[72];
} resized
    [] = {
        { 3, 2, true, { 147.039f, 151.065f, 118.695f, 151.594f, 151.662f, 120.831f } },
        { 3, 2, false, { 163.917f, 107.417f, 73.000f, 199.000f, 174.083f, 119.917f } },
        { 9, 8, true, { 89.000f,  105.188f, 128.312f, 151.438f, 174.562f, 197.688f, 220.812f,
                        237.000f, 129.667f, 149.646f, 178.188f, 206.729f, 181.938f, 103.812f,
                        121.688f, 141.667f, 177.111f, 151.736f, 122.597f, 157.458f, 147.875f,
                        93.847f,  119.819f, 144.222f, 167.667f, 109.382f, 38.562f,  79.743f,
                        120.924f, 162.104f, 171.285f, 175.222f, 16.000f,  49.250f,  96.750f,
                        144.250f, 191.750f, 239.250f, 142.750f, 64.000f,  63.444f,  101.118f,
                        154.938f, 208.757f, 200.354f, 129.729f, 139.104f, 151.889f, 110.889f,
                        152.986f, 204.236f, 175.486f, 155.625f, 144.653f, 117.681f, 97.556f,
                        158.333f, 167.521f, 175.312f, 135.104f, 121.562f, 134.688f, 99.812f,
                        71.667f,  199.000f, 137.312f, 65.188f,  137.062f, 128.938f, 40.812f,
                        96.688f,  147.000f } },
        { 4, 11, true, { 120.952f, 126.701f, 141.074f, 156.554f, 176.468f, 196.381f, 166.424f,
                         136.468f, 146.407f, 166.320f, 174.286f, 144.200f, 131.640f, 100.240f,
                         80.942f,  110.051f, 139.160f, 144.996f, 150.833f, 149.222f, 145.749f,
                         144.360f, 72.120f,  88.113f,  128.095f, 163.422f, 180.131f, 196.840f,
                         176.313f, 155.785f, 138.982f, 123.109f, 116.760f, 167.048f, 162.338f,
                         150.563f, 141.004f, 140.312f, 139.619f, 122.303f, 104.987f, 100.970f,
                         100.277f, 100.000f } },
    };

static void resizing_is_what_was_computed_apart(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(resized) / sizeof(*resized); k++) {
        struct prepare p = plain(resized[k].height, resized[k].width, resized[k].antialias);
        float *out = prepared(&p);
        for (size_t i = 0; i < p.width * p.height; i++)
            assert_true(fabsf(out[p.width * p.height + i] - resized[k].values[i]) < 2e-3f);
        free(out);
    }
}

static void colours_order_and_normalising(void **state)
{
    (void)state;
    struct prepare p = plain(HEIGHT, WIDTH, true);
    p.bgr = p.nhwc = true;
    p.scale = 1 / 255.f;
    for (int c = 0; c < 3; c++) {
        p.mean[c] = 0.1f * (float)(c + 1);
        p.deviation[c] = 0.2f * (float)(c + 1);
    }
    float *out = prepared(&p);
    for (unsigned i = 0; i < WIDTH * HEIGHT * 3; i++) {
        const unsigned c = i % 3, x = i / 3 % WIDTH, y = i / 3 / WIDTH;
        const float value = pixel(x, y, 2 - c) / 255.f;
        assert_true(fabsf(out[i] - (value - p.mean[c]) / p.deviation[c]) < 1e-5f);
    }
    free(out);
}

static void the_middle_is_cut_out(void **state)
{
    (void)state;
    struct prepare p = plain(3, 3, true);
    p.resize = 5; /* the picture itself: 5 by 7 */
    float *out = prepared(&p);
    for (unsigned y = 0; y < 3; y++)
        for (unsigned x = 0; x < 3; x++)
            assert_true(out[y * 3 + x] == pixel(x + 1, y + 2, 0));
    free(out);
    p.resize = 2;
    assert_false(prepare_valid(&p));
    p = plain(3, 3, true);
    p.deviation[1] = 0;
    assert_false(prepare_valid(&p));
}

static void grey_is_weighed(void **state)
{
    (void)state;
    struct prepare p = plain(HEIGHT, WIDTH, true);
    p.grey = true;
    float *out = prepared(&p);
    for (unsigned i = 0; i < WIDTH * HEIGHT; i++) {
        const unsigned x = i % WIDTH, y = i / WIDTH;
        const double luma =
            0.299 * pixel(x, y, 0) + 0.587 * pixel(x, y, 1) + 0.114 * pixel(x, y, 2);
        assert_true(fabs(out[i] - luma) <= 0.51);
    }
    free(out);
}

static int release(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pngs_of_every_kind),
        cmocka_unit_test(jpegs_of_every_kind),
        cmocka_unit_test(orientations_are_followed),
        cmocka_unit_test(a_turned_picture_has_turned_rows),
        cmocka_unit_test(webps_are_read_and_animations_refused),
        cmocka_unit_test(limits_are_kept_before_decoding),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(changed_files_are_refused_or_harmless),
        cmocka_unit_test(a_written_png_is_read_back),
        cmocka_unit_test(resizing_is_what_was_computed_apart),
        cmocka_unit_test(colours_order_and_normalising),
        cmocka_unit_test(the_middle_is_cut_out),
        cmocka_unit_test(grey_is_weighed),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
