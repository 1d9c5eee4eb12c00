/*
 * run.c: decode, infer, encode: what a worker does with a request, without the worker.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec/json.h"

#define BODY_MAX   ((size_t)64 << 20)
#define ANSWER_MAX ((size_t)256 << 20)
#define ARENA_MAX  ((size_t)512 << 20)

/* The task forms that have a codec. */
static const struct {
    const char *task;
    uint16_t surface;
} TASKS[] = { { "regression", SURFACE_REGRESSION } };

struct session {
    struct engine_plugin *plugin;
    struct engine_model *model;
    struct engine_job *job;
    struct codec *codec;
    struct buf answer;
    char *body;
    size_t body_len;
};

static bool is_v2(struct str body)
{
    struct json_value root, value;
    struct str key;
    bool found = false;
    struct json_reader *reader = json_reader_new();
    if (reader && json_parse(reader, body, BODY_MAX, &root, NULL) == MAAS_OK) {
        struct json_iter iter = json_children(root);
        while (!found && json_next(&iter, &key, &value))
            found = str_eq(key, STR("inputs"));
    }
    json_reader_free(reader);
    return found;
}

/* "inputs" says v2; else the form of the model's task. */
static maas_status choose_surface(const struct session *s, uint16_t *out, maas_error *error)
{
    const char *task = engine_signature(s->model)->task;
    *out = SURFACE_V2;
    if (is_v2((struct str){ s->body, s->body_len }))
        return MAAS_OK;
    for (size_t i = 0; i < COUNT_OF(TASKS); i++)
        if (task && strcmp(TASKS[i].task, task) == 0) {
            *out = TASKS[i].surface;
            return MAAS_OK;
        }
    return fail(error, MAAS_E_INVALID, "the body has no \"inputs\", and task '%s' has no form",
                task ? task : "");
}

static maas_status answer(struct session *s, struct str *out_param, maas_error *error)
{
    enum content_kind content;
    uint32_t json_len;
    const maas_plugin *table = engine_plugin_table(s->plugin);
    struct engine_request request = { .trace_id = STR("run") };
    struct codec_context context = { .model = str_of(table->id),
                                     .version = str_of(table->version),
                                     .request_id = STR("run"),
                                     .body = { s->body, s->body_len },
                                     .json_len = UINT32_MAX,
                                     .signature = engine_signature(s->model) };
    maas_status status = choose_surface(s, &context.surface, error);
    if (!status)
        status = codec_decode(s->codec, &context, s->job, &request, out_param, error);
    if (!status)
        status = engine_infer(s->model, s->job, &request, out_param, error);
    if (!status)
        status =
            codec_encode(&context, s->job, request.rows, &s->answer, &content, &json_len, error);
    return status;
}

static maas_status prepare(struct session *s, const struct target *t, const char *input,
                           maas_error *error)
{
    buf_init(&s->answer, ANSWER_MAX);
    maas_status status = file_read(input, BODY_MAX, &s->body, &s->body_len, error);
    if (!status)
        status = engine_plugin_load(t->plugin, NULL, &s->plugin, error);
    if (!status)
        status =
            engine_model_load(s->plugin, t->model, t->options, t->option_count, &s->model, error);
    if (!status)
        status = engine_job_new(ARENA_MAX, &s->job, error);
    return status ? status : codec_new(BODY_MAX, &s->codec, error);
}

static void session_release(struct session *s)
{
    engine_model_unload(s->model);
    engine_plugin_retire(s->plugin);
    engine_job_free(s->job);
    codec_free(s->codec);
    buf_release(&s->answer);
    free(s->body);
}

int run_main(const struct target *target, const char *input)
{
    struct session s = { 0 };
    struct str param = STR("");
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = prepare(&s, target, input, &error);
    if (!status)
        status = answer(&s, &param, &error);
    if (!status)
        printf("%.*s\n", (int)s.answer.len, s.answer.data);
    else
        fprintf(stderr, "maas-plugin-check: status %d: %s%s%.*s%s\n", status, error.text,
                param.len ? " (" : "", (int)param.len, param.len ? param.data : "",
                param.len ? ")" : "");
    session_release(&s);
    return status != MAAS_OK;
}
