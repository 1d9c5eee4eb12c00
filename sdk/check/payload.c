/*
 * payload.c: which form a body has, and its decoding (payload.h).
 */
#include "payload.h"

#include <stdlib.h>
#include <string.h>

#include "codec/json.h"

#define BODY_MAX ((size_t)64 << 20)

static bool is_v2(struct str body)
{
    struct json_value root, value;
    struct str key;
    bool found = false;
    struct json_reader *reader = json_reader_new();
    if (reader && json_parse(reader, body, 0, BODY_MAX, &root, NULL) == MAAS_OK) {
        struct json_iter iter = json_children(root);
        while (!found && json_next(&iter, &key, &value))
            found = str_eq(key, STR("inputs"));
    }
    json_reader_free(reader);
    return found;
}

static maas_status choose_surface(const char *task, struct str body, uint16_t *out,
                                  maas_error *error)
{
    *out = is_v2(body) ? SURFACE_V2 : task ? codec_surface_of(task) : SURFACE_NONE;
    if (*out != SURFACE_NONE)
        return MAAS_OK;
    return fail(error, MAAS_E_INVALID, "the body has no \"inputs\", and task '%s' has no form",
                task ? task : "");
}

maas_status payload_read(const char *file, struct engine_model *model, struct engine_job *job,
                         struct payload *out, struct str *out_param, maas_error *error)
{
    size_t len;
    memset(out, 0, sizeof(*out));
    *out_param = STR("");
    maas_status status = file_read(file, BODY_MAX, &out->body, &len, error);
    if (status)
        return status;
    struct codec_context *c = &out->context;
    *c = (struct codec_context){ .request_id = STR("run"),
                                 .body = { out->body, len },
                                 .json_len = UINT32_MAX,
                                 .signature = engine_signature(model) };
    out->request.trace_id = STR("run");
    status = choose_surface(c->signature->task, c->body, &c->surface, error);
    if (!status)
        status = codec_new(BODY_MAX, &out->codec, error);
    return status ? status : codec_decode(out->codec, c, job, &out->request, out_param, error);
}

void payload_release(struct payload *p)
{
    codec_free(p->codec);
    free(p->body);
}
