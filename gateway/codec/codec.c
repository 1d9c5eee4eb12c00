/*
 * codec.c: the table of surfaces, and the parts they share. A surface is two functions: a parsed
 * body to a request, outputs to an answer. Each refuses what it does not understand by name, so a
 * client's typing error is told instead of ignored.
 *
 * A decode allocates from the job alone; it takes nothing on trust: counts are checked against the
 * body's length before memory is asked for.
 */
#include "codec/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/parts.h"

struct codec {
    struct json_reader *reader;
    size_t body_max;
};

struct surface_row {
    uint16_t surface;
    const char *task; /* whose surface it is; NULL: any */
    decode_fn *decode;
    encode_fn *encode;
};
static const struct surface_row SURFACES[] = {
    { SURFACE_V2, NULL, v2_decode, v2_encode },
    { SURFACE_REGRESSION, "regression", regression_decode, regression_encode },
    { SURFACE_TEXT, "text-classification", text_decode, classification_encode },
    { SURFACE_IMAGE, "image-classification", image_decode, classification_encode },
    { SURFACE_RECOMMENDATION, "recommendation", recommendation_decode, recommendation_encode },
};

static const struct surface_row *surface_row(uint16_t surface)
{
    for (size_t i = 0; i < COUNT_OF(SURFACES); i++)
        if (SURFACES[i].surface == surface)
            return &SURFACES[i];
    return NULL;
}

uint16_t codec_surface_of(const char *task)
{
    for (size_t i = 0; i < COUNT_OF(SURFACES); i++)
        if (SURFACES[i].task && strcmp(SURFACES[i].task, task) == 0)
            return SURFACES[i].surface;
    return SURFACE_NONE;
}

maas_status codec_new(size_t body_max, struct codec **out, maas_error *error)
{
    struct codec *codec = calloc(1, sizeof(*codec));
    struct json_reader *reader = json_reader_new();
    if (!codec || !reader) {
        free(codec);
        json_reader_free(reader);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a codec");
    }
    *codec = (struct codec){ .reader = reader, .body_max = body_max };
    *out = codec;
    return MAAS_OK;
}

void codec_free(struct codec *codec)
{
    if (!codec)
        return;
    json_reader_free(codec->reader);
    free(codec);
}

/* The JSON part of the body, which a picture may stand behind; binary tensors are not read yet. */
static maas_status json_part(struct codec_context *context, struct str *out, maas_error *error)
{
    *out = context->body;
    context->octets = (struct str){ NULL, 0 };
    if (context->json_len == UINT32_MAX || context->json_len == context->body.len)
        return MAAS_OK;
    if (context->json_len > context->body.len)
        return fail(error, MAAS_E_INVALID,
                    "the JSON part of %u bytes is longer than the body of %zu", context->json_len,
                    context->body.len);
    if (context->surface == SURFACE_IMAGE) {
        out->len = context->json_len;
        context->octets = (struct str){ out->data + out->len, context->body.len - out->len };
        return MAAS_OK;
    }
    return fail(error, MAAS_E_UNIMPLEMENTED,
                "binary tensors are not supported; send \"data\" as JSON");
}

maas_status codec_decode(struct codec *codec, struct codec_context *context, struct engine_job *job,
                         struct engine_request *request, struct str *out_param, maas_error *error)
{
    const struct decode d = { context, job, request, out_param, error };
    struct str text;
    struct json_value root;
    *out_param = (struct str){ NULL, 0 };
    context->id = (struct str){ NULL, 0 };
    context->wanted_count = 0;
    context->explain = false;
    const struct surface_row *row = surface_row(context->surface);
    if (!row)
        return fail(error, MAAS_E_UNIMPLEMENTED, "surface %u has no codec", context->surface);
    maas_status status = json_part(context, &text, error);
    if (status == MAAS_OK)
        status = json_parse(codec->reader, text, context->octets.len + context->behind,
                            codec->body_max, &root, error);
    if (status != MAAS_OK)
        return status;
    if (json_type(root) != JSON_OBJECT)
        return fail(error, MAAS_E_INVALID, "the body must be an object, not %s",
                    json_type_name(json_type(root)));
    return row->decode(&d, root);
}

struct str codec_field(const struct codec_context *context, struct str param)
{
    static const struct str prefix = { "parameters.", 11 };
    if (context->surface == SURFACE_V2 || !str_prefix(param, prefix))
        return param;
    return (struct str){ param.data + prefix.len, param.len - prefix.len };
}

/* Elements of a tensor that was decoded: their product fits, they are in memory. */
static size_t element_count(const maas_tensor *t)
{
    size_t count = 1;
    for (int32_t i = 0; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

/* One block for all strings of a tensor. */
static bool keep_strings(struct engine_job *job, maas_tensor *t)
{
    size_t count = element_count(t), bytes = 0;
    maas_str *strings = t->data;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(bytes, strings[i].len, &bytes))
            return false;
    char *to = engine_job_alloc(job, bytes ? bytes : 1, 1);
    for (size_t i = 0; to && i < count; to += strings[i++].len) {
        if (strings[i].len)
            memcpy(to, strings[i].data, strings[i].len);
        strings[i].data = to;
    }
    return to != NULL;
}

static bool keep_text(struct engine_job *job, struct str *text)
{
    char *to = text->len ? engine_job_alloc(job, text->len, 1) : NULL;
    if (text->len && !to)
        return false;
    if (to)
        memcpy(to, text->data, text->len);
    text->data = to;
    return true;
}

maas_status codec_keep(struct codec_context *context, struct engine_job *job,
                       const struct engine_request *request, maas_error *error)
{
    bool kept = keep_text(job, &context->id);
    for (uint32_t i = 0; kept && i < context->wanted_count; i++)
        kept = keep_text(job, &context->wanted[i]);
    for (uint32_t i = 0; kept && i < request->input_count; i++)
        if (request->inputs[i].tensor.dtype.code == MAAS_HANDLE)
            kept = keep_strings(job, &request->inputs[i].tensor);
    return kept ? MAAS_OK : fail(error, MAAS_E_EXHAUSTED, "no memory to keep the request");
}

maas_status codec_encode(const struct codec_context *context, const struct engine_job *job,
                         uint32_t rows, struct buf *out, enum content_kind *out_content,
                         uint32_t *out_json_len, maas_error *error)
{
    uint32_t count = 0;
    const maas_named *outputs = engine_job_outputs(job, &count);
    const struct surface_row *row = surface_row(context->surface);
    CHECK(row); /* decode has found it */
    maas_status status = row->encode(context, outputs, count, rows, out, error);
    if (status == MAAS_OK && out->failed)
        status = fail(error, MAAS_E_EXHAUSTED, "the answer is larger than %zu bytes", out->max);
    if (status != MAAS_OK)
        return status;
    *out_content = CONTENT_JSON;
    *out_json_len = UINT32_MAX;
    return MAAS_OK;
}

struct field_name field_name(const char *fmt, ...)
{
    struct field_name name;
    va_list args;
    va_start(args, fmt);
    vsnprintf(name.text, sizeof(name.text), fmt, args);
    va_end(args);
    return name;
}

maas_status reject(const struct decode *d, const char *field, const char *fmt, ...)
{
    char text[sizeof(d->error->text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t len = strnlen(field, CODEC_PARAM_MAX - 1);
    char *copy = engine_job_alloc(d->job, len + 1, 1);
    if (copy) {
        memcpy(copy, field, len);
        copy[len] = 0;
        *d->out_param = (struct str){ copy, len };
    }
    return fail(d->error, MAAS_E_INVALID, "%s", text);
}

maas_status no_memory(const struct decode *d)
{
    return fail(d->error, MAAS_E_EXHAUSTED, "the request needs more memory than a job may have");
}

void *decode_alloc(const struct decode *d, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return engine_job_alloc(d->job, bytes ? bytes : 1, 64);
}

int shown(struct str s)
{
    return s.len < 48 ? (int)s.len : 48;
}

static struct member *member_find(struct member *members, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_of(members[i].name)))
            return &members[i];
    return NULL;
}

struct field_name place_name(struct place at)
{
    if (!at.list)
        return field_name("%s", at.member);
    return field_name("%s[%zu]%s%s", at.list, at.index, at.member[0] ? "." : "", at.member);
}

static maas_status wrong_member(const struct decode *d, struct place at, struct str key, bool twice)
{
    struct field_name name = at.list
                                 ? field_name("%s.%.*s", place_name(at).text, shown(key), key.data)
                                 : field_name("%.*s", shown(key), key.data);
    if (twice)
        return reject(d, name.text, "'%s' is there twice", name.text);
    return reject(d, name.text, "unknown member '%s'", name.text);
}

maas_status read_members(const struct decode *d, struct json_value object, struct place at,
                         struct member *members, size_t count, bool tolerant)
{
    struct json_iter iter = json_children(object);
    struct json_value value;
    struct str key;
    while (json_next(&iter, &key, &value)) {
        struct member *m = member_find(members, count, key);
        if (!m && tolerant)
            continue;
        if (!m || m->there)
            return wrong_member(d, at, key, m != NULL);
        m->there = true;
        m->value = value;
    }
    return MAAS_OK;
}

const maas_named *output_named(const maas_named *outputs, uint32_t count, struct str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (str_eq(str_from(outputs[i].name), name))
            return &outputs[i];
    return NULL;
}
