/*
 * v2_encode.c: the answer of POST /v2/models/{m}/infer:
 *
 *     {"id", "model_name", "model_version", "outputs": [{"name", "datatype", "shape", "data":
 * [flat]}]}
 *
 * "id" is the caller's, or the request's own: KServe's clients need one. Outputs in the order the
 * caller asked for, else in the model's.
 */
#include "codec/parts.h"

static size_t count_of(const maas_tensor *t)
{
    size_t count = 1; /* the engine has checked that the product fits */
    for (int32_t i = 0; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

static void write_shape(struct buf *out, const maas_tensor *t)
{
    char text[JSON_NUMBER_MAX];
    buf_str(out, STR("["));
    for (int32_t i = 0; i < t->ndim; i++) {
        if (i)
            buf_add(out, ",", 1);
        buf_add(out, text, json_format_i64(t->shape[i], text));
    }
    buf_add(out, "]", 1);
}

static maas_status write_output(struct buf *out, const maas_named *output, maas_error *error)
{
    const struct datatype *type = datatype_of(output->tensor.dtype);
    struct str name = str_from(output->name);
    if (!type || !type->json)
        return fail(error, MAAS_E_UNIMPLEMENTED, "output '%.*s' has no form in JSON", shown(name),
                    name.data);
    buf_str(out, STR("{\"name\":"));
    buf_json(out, name);
    buf_str(out, STR(",\"datatype\":\""));
    buf_str(out, str_of(type->name));
    buf_str(out, STR("\",\"shape\":"));
    write_shape(out, &output->tensor);
    buf_str(out, STR(",\"data\":["));
    size_t at;
    if (!cells_write(out, type, output->tensor.data, count_of(&output->tensor), &at))
        return fail(error, MAAS_E_INTERNAL, "element %zu of output '%.*s' is not finite", at,
                    shown(name), name.data);
    buf_str(out, STR("]}"));
    return MAAS_OK;
}

maas_status v2_encode(const struct codec_context *context, const maas_named *outputs,
                      uint32_t count, uint32_t rows, struct buf *out, maas_error *error)
{
    (void)rows; /* the tensors say it */
    const maas_signature *s = context->signature;
    uint32_t number = context->wanted_count ? context->wanted_count : s->output_count;
    buf_str(out, STR("{\"id\":"));
    buf_json(out, context->id.len ? context->id : context->request_id);
    buf_str(out, STR(",\"model_name\":"));
    buf_json(out, context->model);
    buf_str(out, STR(",\"model_version\":"));
    buf_json(out, context->version);
    buf_str(out, STR(",\"outputs\":["));
    for (uint32_t i = 0; i < number; i++) {
        struct str name = context->wanted_count ? context->wanted[i] : str_from(s->outputs[i].name);
        const maas_named *output = output_named(outputs, count, name);
        if (!output)
            return fail(error, MAAS_E_INTERNAL, "the model gave no output '%.*s'", shown(name),
                        name.data);
        if (i)
            buf_add(out, ",", 1);
        maas_status status = write_output(out, output, error);
        if (status != MAAS_OK)
            return status;
    }
    buf_str(out, STR("]}"));
    return MAAS_OK;
}
