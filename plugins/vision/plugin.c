/*
 * plugin.c: "maas.vision": the class of a picture, by a network trained here.
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

#include "vision.h"

#include "image/prepare.h"

enum { ROWS_MAX = 64, MAP_ZOOM = 8 };

struct maas_model {
    const maas_host *host;
    struct vision_model vision;
    struct prepare prepare;
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
static const maas_port input = {
    .name = { "image", 5 }, .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = rows_only
};

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    maas_status status = vision_read(spec->root, &m->vision, error);
    if (status) {
        free(m);
        return status;
    }
    m->host = host;
    m->prepare = (struct prepare){ .width = m->vision.net.shape.width,
                                   .height = m->vision.net.shape.height,
                                   .antialias = true,
                                   .grey = true,
                                   .scale = 1 / 255.f,
                                   .deviation = { 1, 1, 1 } };
    m->outputs[0] = maas_port_of("label", maas_type(MAAS_HANDLE, 128), 2, rows_by_any);
    m->outputs[1] = maas_port_of("score", maas_type(MAAS_FLOAT, 32), 2, rows_by_any);
    m->explanation[0] = maas_port_of("picture", maas_type(MAAS_HANDLE, 128), 1, rows_only);
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    vision_release(&m->vision);
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
    s->resident_bytes = m->vision.net.count * 2 * sizeof(float);
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

/* The numbers of a row's picture, [height, width]. */
static maas_status see(const maas_model *m, maas_str file, float *picture, maas_error *error)
{
    struct image_info info;
    struct image image;
    maas_status status = image_probe(file.data, file.len, &image_limits_usual, &info, error);
    if (status)
        return status;
    const size_t pixels = (image_bytes(&info) + 63) / 64 * 64;
    const size_t space = prepare_space(&m->prepare, info.width, info.height);
    const size_t turned = prepare_space(&m->prepare, info.height, info.width);
    uint8_t *memory =
        m->host->alloc(m->host, pixels + (space > turned ? space : turned) * sizeof(float), 64);
    if (!memory)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u by %u pixels", info.width,
                         info.height);
    status = image_decode(file.data, file.len, &info, m->prepare.background, memory, &image, error);
    if (!status)
        prepare(picture, (float *)(void *)(memory + pixels), &image, &m->prepare);
    m->host->free(m->host, memory);
    return status;
}

/* The `k` best, of equals the first; scores of those that were taken are spoilt. */
static void rank(const struct vision_model *m, float *scores, uint32_t k, maas_str *labels,
                 float *out)
{
    for (uint32_t i = 0; i < k; i++) {
        uint32_t best = 0;
        for (uint32_t c = 1; c < m->net.shape.classes; c++)
            if (scores[c] > scores[best])
                best = c;
        labels[i] = maas_text(m->labels[best]);
        out[i] = scores[best];
        scores[best] = -1;
    }
}

/* One block of the host's for a call. */
struct space {
    maas_str *texts;                        /* cells */
    float *numbers;                         /* cells */
    float *picture, *scores, *work, *drops; /* of one row */
    float *counts;
    uint8_t *colours; /* of an explanation, zoomed */
};

static bool space_take(const maas_model *m, size_t cells, size_t extra, struct space *s)
{
    const struct vision_net *n = &m->vision.net;
    const size_t size = (size_t)n->shape.width * n->shape.height;
    const size_t floats = cells + 3 * size + n->shape.classes + n->floats;
    s->texts =
        m->host->alloc(m->host, cells * sizeof(maas_str) + floats * sizeof(float) + extra, 64);
    if (!s->texts)
        return false;
    s->numbers = (float *)(void *)(s->texts + cells);
    s->picture = s->numbers + cells;
    s->drops = s->picture + size;
    s->counts = s->drops + size;
    s->scores = s->counts + size;
    s->work = s->scores + n->shape.classes;
    s->colours = (uint8_t *)(void *)(s->work + n->floats);
    return true;
}

static void score(const maas_model *m, const struct space *s)
{
    vision_scores(s->scores, s->work, s->picture, &m->vision.net, &m->vision.packed);
}

static maas_status infer_rows(const maas_model *m, const maas_request *r, const struct space *s,
                              uint32_t k, maas_error *error)
{
    maas_error why = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < r->rows; i++) {
        maas_status status = see(m, file_of(r, i), s->picture, &why);
        if (status)
            return of_row(error, status, i, &why);
        score(m, s);
        rank(&m->vision, s->scores, k, s->texts + (size_t)i * k, s->numbers + (size_t)i * k);
        if (m->host->cancelled(m->host, r))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    struct space s;
    const uint32_t classes = m->vision.net.shape.classes;
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

/* A window of the picture: a seventh of its side, moved by half of that. */
struct window {
    uint32_t top, left, height, width;
};

/* Covers the window with the picture's mean and asks again; the fall of the score is spread over
 * its pixels. */
static void cover(const maas_model *m, const struct space *s, struct window w, uint32_t first,
                  float whole, float mean, float *held)
{
    const uint32_t width = m->vision.net.shape.width;
    for (uint32_t i = 0; i < w.height * w.width; i++) {
        float *p = s->picture + (w.top + i / w.width) * width + w.left + i % w.width;
        held[i] = *p;
        *p = mean;
    }
    score(m, s);
    for (uint32_t i = 0; i < w.height * w.width; i++) {
        const size_t at = (w.top + i / w.width) * width + w.left + i % w.width;
        s->picture[at] = held[i];
        s->drops[at] += whole - s->scores[first];
        s->counts[at] += 1;
    }
}

static uint32_t window_side(uint32_t side)
{
    return side / 7 < 2 ? 2 : side / 7;
}

static maas_status occlude(const maas_model *m, const maas_request *r, const struct space *s,
                           maas_error *error)
{
    const struct vision_shape *shape = &m->vision.net.shape;
    const size_t size = (size_t)shape->width * shape->height;
    float held[(VISION_SIDE_MAX / 7 + 1) * (VISION_SIDE_MAX / 7 + 1)], mean = 0;
    struct window w = { .height = window_side(shape->height), .width = window_side(shape->width) };
    uint32_t first = 0;
    memset(s->drops, 0, 2 * size * sizeof(float)); /* counts stand behind */
    for (size_t i = 0; i < size; i++)
        mean += s->picture[i] / (float)size;
    score(m, s);
    for (uint32_t c = 1; c < shape->classes; c++)
        first = s->scores[c] > s->scores[first] ? c : first;
    const float whole = s->scores[first];
    for (w.top = 0; w.top + w.height <= shape->height; w.top += w.height / 2)
        for (w.left = 0; w.left + w.width <= shape->width; w.left += w.width / 2) {
            cover(m, s, w, first, whole, mean, held);
            if (m->host->cancelled(m->host, r))
                return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
        }
    return MAAS_OK;
}

/* The picture in grey, half as bright; red where the score falls, of the largest fall's share. */
static void paint(const maas_model *m, const struct space *s)
{
    const struct vision_shape *shape = &m->vision.net.shape;
    const size_t size = (size_t)shape->width * shape->height;
    float most = 1e-9f;
    for (size_t i = 0; i < size; i++) {
        s->drops[i] = s->counts[i] > 0 ? s->drops[i] / s->counts[i] : 0;
        most = fmaxf(most, s->drops[i]);
    }
    for (size_t y = 0; y < (size_t)shape->height * MAP_ZOOM; y++)
        for (size_t x = 0; x < (size_t)shape->width * MAP_ZOOM; x++) {
            const size_t at = y / MAP_ZOOM * shape->width + x / MAP_ZOOM;
            uint8_t *p = s->colours + (y * shape->width * MAP_ZOOM + x) * 3;
            const float grey = 127 * fminf(fmaxf(s->picture[at], 0), 1);
            p[0] = (uint8_t)(grey + 128 * fmaxf(s->drops[at], 0) / most);
            p[1] = p[2] = (uint8_t)grey;
        }
}

static maas_status explain_rows(const maas_model *m, const maas_request *r, const struct space *s,
                                maas_error *error)
{
    const uint32_t width = m->prepare.width * MAP_ZOOM, height = m->prepare.height * MAP_ZOOM;
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
    const uint32_t width = m->prepare.width * MAP_ZOOM, height = m->prepare.height * MAP_ZOOM;
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
    return vision_evaluate(m->host, &m->vision, spec, job, error);
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

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.vision",
                                    .version = "1.0",
                                    .title = "Image classification by networks trained here",
                                    .vendor = "maas",
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .validate = validate,
                                    .infer = infer,
                                    .extension = extension };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
