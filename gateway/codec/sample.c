/*
 * sample.c: a sample is read as a v2 body, whose decoder tolerates the members that it does not
 * know ("tolerance", and "data" of an output). What is expected is flattened to cells of the
 * output's own datatype and compared cell by cell, so nothing is converted but for the difference.
 */
#include "codec/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/parts.h"

#define SAMPLES_MAX       64
#define MANIFEST_MAX      ((size_t)8 << 20)
#define TOLERANCE_DEFAULT 1e-6

struct samples {
    struct json_reader *reader;
    size_t manifest_len;
    struct json_value all[SAMPLES_MAX];
    uint32_t count;
};

static maas_status collect(struct samples *s, struct json_value root, maas_error *error)
{
    struct json_iter members = json_children(root);
    struct json_value value, sample;
    struct str key;
    while (json_next(&members, &key, &value)) {
        if (!str_eq(key, STR("samples")))
            continue;
        if (json_type(value) != JSON_ARRAY)
            return fail(error, MAAS_E_INVALID, "'samples' of the manifest must be a list");
        struct json_iter list = json_children(value);
        while (json_next(&list, &key, &sample)) {
            if (s->count == SAMPLES_MAX)
                return fail(error, MAAS_E_INVALID, "more than %d samples", SAMPLES_MAX);
            if (json_type(sample) != JSON_OBJECT)
                return fail(error, MAAS_E_INVALID, "samples[%u] must be an object", s->count);
            s->all[s->count++] = sample;
        }
    }
    return MAAS_OK;
}

maas_status samples_new(struct str manifest, struct samples **out, maas_error *error)
{
    struct samples *s = calloc(1, sizeof(*s));
    struct json_value root;
    if (!s || !(s->reader = json_reader_new())) {
        free(s);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the samples");
    }
    s->manifest_len = manifest.len;
    maas_status status = json_parse(s->reader, manifest, 0, MANIFEST_MAX, &root, error);
    if (status == MAAS_OK)
        status = collect(s, root, error);
    if (status != MAAS_OK) {
        samples_free(s);
        return status;
    }
    *out = s;
    return MAAS_OK;
}

void samples_free(struct samples *s)
{
    if (!s)
        return;
    json_reader_free(s->reader);
    free(s);
}

uint32_t samples_count(const struct samples *s)
{
    return s ? s->count : 0;
}

maas_status sample_decode(const struct samples *s, uint32_t index, const maas_signature *signature,
                          struct engine_job *job, struct engine_request *out, maas_error *error)
{
    struct str param;
    struct codec_context context = { .surface = SURFACE_V2,
                                     .signature = signature,
                                     .body = { NULL, s->manifest_len } };
    const struct decode d = { &context, job, out, &param, error };
    CHECK(index < s->count);
    *out = (struct engine_request){ 0 };
    return v2_decode(&d, s->all[index]);
}

/* ---- what is expected */

static bool number_at(enum json_cell cell, const void *cells, size_t i, double *out)
{
    switch (cell) {
    case JSON_CELL_BOOL:
    case JSON_CELL_U8:
        *out = ((const uint8_t *)cells)[i];
        return true;
    case JSON_CELL_I8:
        *out = ((const int8_t *)cells)[i];
        return true;
    case JSON_CELL_I16:
        *out = ((const int16_t *)cells)[i];
        return true;
    case JSON_CELL_I32:
        *out = ((const int32_t *)cells)[i];
        return true;
    case JSON_CELL_I64:
        *out = (double)((const int64_t *)cells)[i];
        return true;
    case JSON_CELL_U16:
        *out = ((const uint16_t *)cells)[i];
        return true;
    case JSON_CELL_U32:
        *out = ((const uint32_t *)cells)[i];
        return true;
    case JSON_CELL_U64:
        *out = (double)((const uint64_t *)cells)[i];
        return true;
    case JSON_CELL_F32:
        *out = (double)((const float *)cells)[i];
        return true;
    case JSON_CELL_F64:
        *out = ((const double *)cells)[i];
        return true;
    case JSON_CELL_STRING:
        break;
    }
    return false;
}

static bool agrees(enum json_cell cell, const void *got, const void *want, size_t i,
                   double tolerance)
{
    double x, y;
    if (number_at(cell, got, i, &x) && number_at(cell, want, i, &y))
        return fabs(x - y) <= tolerance * (fabs(y) > 1 ? fabs(y) : 1); /* false for NaN */
    return str_eq(str_from(((const maas_str *)got)[i]), ((const struct str *)want)[i]);
}

static size_t elements(const maas_tensor *t)
{
    size_t count = 1; /* the engine has checked that the product fits */
    for (int32_t i = 0; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

static maas_status compare(const maas_named *got, struct json_value data, double tolerance,
                           struct engine_job *job, maas_error *error)
{
    const struct datatype *type = datatype_of(got->tensor.dtype);
    struct str name = str_from(got->name);
    size_t count = elements(&got->tensor), found = 0;
    if (!type || !type->json)
        return fail(error, MAAS_E_INVALID, "output '%.*s' has a type that samples cannot tell",
                    shown(name), name.data);
    void *want = engine_job_alloc(job, count * type->size, 16);
    if (!want)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a sample");
    if (json_flatten(data, JSON_DEPTH_MAX, type->cell, want, count, &found) != JSON_FLAT_OK ||
        found != count)
        return fail(error, MAAS_E_DATA_LOSS, "output '%.*s' has not the expected %zu elements",
                    shown(name), name.data, count);
    for (size_t i = 0; i < count; i++)
        if (!agrees(type->cell, got->tensor.data, want, i, tolerance))
            return fail(error, MAAS_E_DATA_LOSS, "output '%.*s' differs in element %zu",
                        shown(name), name.data, i);
    return MAAS_OK;
}

static maas_status compare_output(struct json_value output, double tolerance,
                                  struct engine_job *job, maas_error *error)
{
    struct json_iter iter = json_children(output);
    struct json_value value, data;
    struct str key, name = { "", 0 };
    bool has_data = false;
    uint32_t count;
    while (json_next(&iter, &key, &value)) {
        if (str_eq(key, STR("name")))
            (void)json_string(value, &name); /* v2_decode has refused what is no string */
        else if (str_eq(key, STR("data"))) {
            data = value;
            has_data = true;
        }
    }
    const maas_named *got = engine_job_outputs(job, &count);
    got = output_named(got, count, name);
    if (!has_data)
        return MAAS_OK;
    return got ? compare(got, data, tolerance, job, error)
               : fail(error, MAAS_E_DATA_LOSS, "output '%.*s' is missing", shown(name), name.data);
}

maas_status sample_compare(const struct samples *s, uint32_t index, struct engine_job *job,
                           maas_error *error)
{
    struct json_iter iter = json_children(s->all[index]), list = { 0 };
    struct json_value value;
    struct str key;
    double tolerance = TOLERANCE_DEFAULT;
    while (json_next(&iter, &key, &value)) {
        if (str_eq(key, STR("outputs")))
            list = json_children(value);
        else if (str_eq(key, STR("tolerance")) &&
                 (!json_double(value, &tolerance) || tolerance < 0))
            return fail(error, MAAS_E_INVALID, "'tolerance' must be a number from 0 up");
    }
    maas_status status = MAAS_OK;
    while (status == MAAS_OK && json_next(&list, &key, &value))
        status = compare_output(value, tolerance, job, error);
    return status;
}
