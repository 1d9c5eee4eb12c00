/*
 * plugin.c: "maas.vision": the class of a picture, by a network trained here or by an ONNX file.
 *
 * Input "image" BYTES [rows], a JPEG, PNG or WebP file each; outputs "label" BYTES [rows, k] and
 * "score" FP32 [rows, k], best first; k is the parameter top_k, or all classes where there are
 * fewer. Explained by "picture" BYTES [rows]: a PNG, the occlusion map (Zeiler and Fergus 2014) of
 * the first label: what turns red is what its score falls without.
 *
 * A row is decoded, prepared and computed alone, so its bits do not hang on its batch.
 */
#include <maas/ext/explain.h>

#include <math.h>
#include <stdlib.h>

#include "scorer.h"

enum { ROWS_MAX = 64, MAP_ZOOM = 8, ZOOMED_SIDE_MAX = 64, WINDOWS = 7 };

struct maas_model {
    const maas_host *host;
    struct scorer scorer;
    maas_port outputs[2], explanation[1];
};

static const int64_t rows_only[] = { -1 }, rows_by_any[] = { -1, -1 };
static const maas_option_decl top_k = { .size = sizeof(maas_option_decl),
                                        .kind = MAAS_OPTION_INT,
                                        .name = "top_k",
                                        .fallback = "5",
                                        .choices = "1..1024",
                                        .help = "labels of each row, best first" };
static const maas_option_decl *const params[] = { &top_k, NULL };
static const maas_option_decl precision = { .size = sizeof(maas_option_decl),
                                            .kind = MAAS_OPTION_TEXT,
                                            .name = "precision",
                                            .fallback = "f32",
                                            .choices = "f32|bf16",
                                            .help = "of the products in an ONNX model" };
static const maas_option_decl *const options[] = { &precision, NULL };
static const maas_port input = {
    .name = { "image", 5 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_only
};

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    const bool bf16 = spec->option_count && spec->options[0].text.len == 4; /* f32 has three */
    maas_status status = scorer_load(spec->root, bf16, &m->scorer, error);
    if (status) {
        free(m);
        return status;
    }
    m->host = host;
    m->outputs[0] = maas_port_of("label", maas_type(MAAS_HANDLE, 128), 2, rows_by_any);
    m->outputs[1] = maas_port_of("score", maas_type(MAAS_FLOAT, 32), 2, rows_by_any);
    m->explanation[0] = maas_port_of("picture", maas_type(MAAS_HANDLE, 128), 1, rows_only);
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    scorer_release(&m->scorer);
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)error;
    s->inputs = &input;
    s->input_count = 1;
    s->outputs = m->outputs;
    s->output_count = 2;
    s->max_rows = ROWS_MAX;
    s->rows_independent = 1;
    s->max_concurrency = m->scorer.one_at_a_time;
    s->resident_bytes = m->scorer.resident_bytes;
    s->task = "image-classification";
    s->params = params;
    return MAAS_OK;
}

static maas_str file_of(const maas_request *r, uint32_t row)
{
    return ((const maas_str *)r->inputs[0].tensor.data)[row];
}

static maas_status of_row(maas_error *error, maas_status status, uint32_t row,
                          const maas_error *why)
{
    return maas_fail(error, status, "image %u: %.400s", row, why->text);
}

static maas_status validate(maas_model *m, const maas_request *r, maas_error *error)
{
    (void)m;
    for (uint32_t i = 0; i < r->rows; i++) {
        struct image_info info;
        maas_error why = MAAS_ERROR_INIT;
        maas_status status =
            image_probe(file_of(r, i).data, file_of(r, i).len, &image_limits_usual, &info, &why);
        if (status)
            return of_row(error, status, i, &why);
    }
    return MAAS_OK;
}

/* ---- one picture */

/* The numbers of a row's picture, as the scorer takes them. */
static maas_status see(const maas_model *m, maas_str file, float *picture, maas_error *error)
{
    struct image_info info;
    struct image image;
    maas_status status = image_probe(file.data, file.len, &image_limits_usual, &info, error);
    if (status)
        return status;
    const size_t pixels = (image_bytes(&info) + 63) / 64 * 64;
    const size_t space = prepare_space(&m->scorer.prepare, info.width, info.height);
    const size_t turned = prepare_space(&m->scorer.prepare, info.height, info.width);
    uint8_t *memory =
        m->host->alloc(m->host, pixels + (space > turned ? space : turned) * sizeof(float), 64);
    if (!memory)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u by %u pixels", info.width,
                         info.height);
    status = image_decode(file.data, file.len, &info, m->scorer.prepare.background, memory, &image,
                          error);
    if (!status)
        prepare(picture, (float *)(void *)(memory + pixels), &image, &m->scorer.prepare);
    m->host->free(m->host, memory);
    return status;
}

/* The `k` best, of equals the first; scores of those that were taken are spoilt. */
static void rank(const struct scorer *m, float *scores, uint32_t k, maas_str *labels, float *out)
{
    for (uint32_t i = 0; i < k; i++) {
        uint32_t best = 0;
        for (uint32_t c = 1; c < m->classes; c++)
            if (scores[c] > scores[best])
                best = c;
        labels[i] = m->labels[best];
        out[i] = scores[best];
        scores[best] = -HUGE_VALF;
    }
}

/* One block of the host's for a call. */
struct space {
    maas_str *texts;                        /* cells */
    float *numbers;                         /* cells */
    float *picture, *scores, *work, *drops; /* of one row */
    float *counts, *held;
    uint8_t *colours; /* of an explanation, zoomed */
};

static uint32_t window_side(uint32_t side)
{
    const uint32_t window = (side + WINDOWS - 1) / WINDOWS;
    return window < 2 ? (side < 2 ? 1 : 2) : window;
}

static bool space_take(const maas_model *m, size_t cells, size_t extra, struct space *s)
{
    const struct prepare *p = &m->scorer.prepare;
    const size_t size = (size_t)p->width * p->height, numbers = prepare_count(p);
    const size_t held =
        (size_t)window_side(p->width) * window_side(p->height) * scorer_channels(&m->scorer);
    const size_t floats = cells + numbers + 2 * size + held + m->scorer.classes + m->scorer.work;
    s->texts =
        m->host->alloc(m->host, cells * sizeof(maas_str) + floats * sizeof(float) + extra, 64);
    if (!s->texts)
        return false;
    s->numbers = (float *)(void *)(s->texts + cells);
    s->picture = s->numbers + cells;
    s->drops = s->picture + numbers;
    s->counts = s->drops + size;
    s->held = s->counts + size;
    s->scores = s->held + held;
    s->work = s->scores + m->scorer.classes;
    s->colours = (uint8_t *)(void *)(s->work + m->scorer.work);
    return true;
}

static maas_status score(const maas_model *m, const struct space *s, maas_error *error)
{
    return scorer_score(&m->scorer, s->scores, s->work, s->picture, error);
}

static maas_status infer_rows(const maas_model *m, const maas_request *r, const struct space *s,
                              uint32_t k, maas_error *error)
{
    maas_error why = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < r->rows; i++) {
        maas_status status = see(m, file_of(r, i), s->picture, &why);
        if (!status)
            status = score(m, s, &why);
        if (status)
            return of_row(error, status, i, &why);
        rank(&m->scorer, s->scores, k, s->texts + (size_t)i * k, s->numbers + (size_t)i * k);
        if (m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space s;
    const uint32_t classes = m->scorer.classes;
    const uint32_t k = r->params[0].integer < classes ? (uint32_t)r->params[0].integer : classes;
    if (!space_take(m, (size_t)r->rows * k, 0, &s))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", r->rows);
    maas_status status = infer_rows(m, r, &s, k, error);
    if (!status) {
        int64_t shape[] = { r->rows, k };
        const maas_named outputs[] = { maas_output(&m->outputs[0], s.texts, shape),
                                       maas_output(&m->outputs[1], s.numbers, shape) };
        status = maas_answer(m->host, r, outputs, 2);
    }
    m->host->free(m->host, s.texts);
    return status;
}

/* ---- explaining */

static maas_status explain_describe(maas_model *m, maas_signature *s, maas_error *error)
{
    maas_status status = describe(m, s, error);
    s->outputs = m->explanation;
    s->output_count = 1;
    s->params = NULL;
    return status;
}

/* A window of the picture: a seventh of its side, moved by half of that; over an ONNX model, which
 * may be large, by all of it. */
struct window {
    uint32_t top, left, height, width;
};

/* Pixel i of the window, its numbers [channels] put in order. */
static float *number_at(const maas_model *m, const struct space *s, struct window w, uint32_t i,
                        uint32_t c)
{
    return s->picture + scorer_at(&m->scorer, c, w.top + i / w.width, w.left + i % w.width);
}

/* Covers the window with the picture's mean and asks again; the fall of the score is spread over
 * its pixels. */
static maas_status cover(const maas_model *m, const struct space *s, struct window w,
                         uint32_t first, float whole, const float mean[3], maas_error *error)
{
    const uint32_t channels = scorer_channels(&m->scorer);
    for (uint32_t i = 0; i < w.height * w.width * channels; i++) {
        float *p = number_at(m, s, w, i / channels, i % channels);
        s->held[i] = *p;
        *p = mean[i % channels];
    }
    maas_status status = score(m, s, error);
    for (uint32_t i = 0; i < w.height * w.width * channels; i++)
        *number_at(m, s, w, i / channels, i % channels) = s->held[i];
    for (uint32_t i = 0; !status && i < w.height * w.width; i++) {
        const size_t at =
            (size_t)(w.top + i / w.width) * m->scorer.prepare.width + w.left + i % w.width;
        s->drops[at] += whole - s->scores[first];
        s->counts[at] += 1;
    }
    return status;
}

/* Where window `at` of an axis begins; the last ones end with the picture. */
static uint32_t place_of(uint32_t at, uint32_t overlap, uint32_t side, uint32_t window)
{
    const uint32_t place = at * window / overlap, last = side > window ? side - window : 0;
    return place < last ? place : last;
}

static void mean_of(const maas_model *m, const struct space *s, float mean[3])
{
    const struct prepare *p = &m->scorer.prepare;
    const float size = (float)p->width * (float)p->height;
    for (uint32_t c = 0; c < scorer_channels(&m->scorer); c++)
        for (uint32_t y = 0; y < p->height; y++)
            for (uint32_t x = 0; x < p->width; x++)
                mean[c] += s->picture[scorer_at(&m->scorer, c, y, x)] / size;
}

static maas_status occlude(const maas_model *m, const maas_request *r, const struct space *s,
                           maas_error *error)
{
    const struct prepare *p = &m->scorer.prepare;
    const uint32_t overlap = m->scorer.graph ? 1 : 2;
    float mean[3] = { 0 };
    struct window w = { .height = window_side(p->height), .width = window_side(p->width) };
    uint32_t first = 0;
    memset(s->drops, 0, 2 * sizeof(float) * p->width * p->height); /* counts stand behind */
    mean_of(m, s, mean);
    maas_status status = score(m, s, error);
    for (uint32_t c = 1; c < m->scorer.classes; c++)
        first = s->scores[c] > s->scores[first] ? c : first;
    const float whole = s->scores[first];
    for (uint32_t i = 0; !status && i < WINDOWS * WINDOWS * overlap * overlap; i++) {
        w.top = place_of(i / (WINDOWS * overlap), overlap, p->height, w.height);
        w.left = place_of(i % (WINDOWS * overlap), overlap, p->width, w.width);
        status = cover(m, s, w, first, whole, mean, error);
        if (m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return status;
}

/* Small pictures are told in larger pixels. */
static uint32_t zoom_of(const maas_model *m)
{
    const struct prepare *p = &m->scorer.prepare;
    return p->width <= ZOOMED_SIDE_MAX && p->height <= ZOOMED_SIDE_MAX ? MAP_ZOOM : 1;
}

/* The picture in grey, half as bright; red where the score falls, of the largest fall's share. */
static void paint(const maas_model *m, const struct space *s)
{
    const uint32_t width = m->scorer.prepare.width, height = m->scorer.prepare.height,
                   zoom = zoom_of(m);
    float most = 1e-9f;
    for (size_t i = 0; i < (size_t)width * height; i++) {
        s->drops[i] = s->counts[i] > 0 ? s->drops[i] / s->counts[i] : 0;
        most = fmaxf(most, s->drops[i]);
    }
    for (uint32_t y = 0; y < height * zoom; y++)
        for (uint32_t x = 0; x < width * zoom; x++) {
            uint8_t *p = s->colours + ((size_t)y * width * zoom + x) * 3;
            const float seen = scorer_grey(&m->scorer, s->picture, y / zoom, x / zoom);
            const float grey = 127 * fminf(fmaxf(seen, 0), 1);
            const float drop = s->drops[(size_t)(y / zoom) * width + x / zoom];
            p[0] = (uint8_t)(grey + 128 * fmaxf(drop, 0) / most);
            p[1] = p[2] = (uint8_t)grey;
        }
}

static maas_status explain_rows(const maas_model *m, const maas_request *r, const struct space *s,
                                maas_error *error)
{
    const uint32_t width = m->scorer.prepare.width * zoom_of(m),
                   height = m->scorer.prepare.height * zoom_of(m);
    const size_t room = image_png_room(width, height);
    uint8_t *pngs = s->colours + (size_t)width * height * 3;
    maas_error why = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < r->rows; i++) {
        size_t len = 0;
        maas_status status = see(m, file_of(r, i), s->picture, &why);
        if (!status)
            status = occlude(m, r, s, &why);
        if (!status) {
            paint(m, s);
            status = image_png_write(pngs + i * room, room, &len, s->colours, width, height, &why);
        }
        if (status)
            return of_row(error, status, i, &why);
        s->texts[i] = (maas_str){ (const char *)pngs + i * room, len };
    }
    return MAAS_OK;
}

static maas_status explain(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space s;
    const uint32_t width = m->scorer.prepare.width * zoom_of(m),
                   height = m->scorer.prepare.height * zoom_of(m);
    if (!space_take(m, r->rows,
                    (size_t)width * height * 3 + r->rows * image_png_room(width, height), &s))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to explain %u rows", r->rows);
    maas_status status = explain_rows(m, r, &s, error);
    if (!status) {
        int64_t shape[] = { r->rows };
        const maas_named output = maas_output(&m->explanation[0], s.texts, shape);
        status = maas_answer(m->host, r, &output, 1);
    }
    m->host->free(m->host, s.texts);
    return status;
}

/* ---- the table */

static maas_status evaluate(maas_model *m, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error)
{
    if (m->scorer.graph)
        return scorer_examine(&m->scorer, m->host, spec, job, error);
    return vision_evaluate(m->host, &m->scorer.own, spec, job, error);
}

static const void *extension(const char *id)
{
    static const maas_explain explaining = { .size = sizeof(maas_explain),
                                             .abi = MAAS_ABI,
                                             .describe = explain_describe,
                                             .explain = explain };
    static const maas_train training = { .size = sizeof(maas_train),
                                         .abi = MAAS_ABI,
                                         .options = vision_train_options,
                                         .train = vision_train,
                                         .evaluate = evaluate };
    if (strcmp(id, MAAS_EXT_EXPLAIN) == 0)
        return &explaining;
    return strcmp(id, MAAS_EXT_TRAIN) == 0 ? &training : NULL;
}

static const maas_plugin plugin = {
    .size = sizeof(maas_plugin),
    .abi = MAAS_ABI,
    .id = "maas.vision",
    .version = "1.0",
    .title = "Image classification by networks trained here, or ONNX files",
    .vendor = "maas",
    .options = options,
    .load = load,
    .unload = unload,
    .describe = describe,
    .validate = validate,
    .infer = infer,
    .extension = extension
};

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
