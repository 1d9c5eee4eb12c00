/*
 * run.c: decode, infer, encode: what a worker does with a request, without the worker.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

#include "payload.h"

#define ANSWER_MAX ((size_t)256 << 20)
#define ARENA_MAX  ((size_t)512 << 20)

struct session {
    struct engine_plugin *plugin;
    struct engine_model *model;
    struct engine_job *job;
    struct payload payload;
    struct buf answer;
};

static maas_status prepare(struct session *s, const struct target *t, maas_error *error)
{
    buf_init(&s->answer, ANSWER_MAX);
    maas_status status = engine_plugin_load(t->plugin, NULL, &s->plugin, error);
    if (!status)
        status =
            engine_model_load(s->plugin, t->model, t->options, t->option_count, &s->model, error);
    return status ? status : engine_job_new(ARENA_MAX, &s->job, error);
}

static maas_status answer(struct session *s, const char *input, struct str *out_param,
                          maas_error *error)
{
    enum content_kind content;
    uint32_t json_len;
    const maas_plugin *table = engine_plugin_table(s->plugin);
    struct payload *p = &s->payload;
    maas_status status = payload_read(input, s->model, s->job, p, out_param, error);
    if (!status)
        status = engine_infer(s->model, s->job, &p->request, out_param, error);
    p->context.model = str_of(table->id);
    p->context.version = str_of(table->version);
    return status ? status
                  : codec_encode(&p->context, s->job, p->request.rows, &s->answer, &content,
                                 &json_len, error);
}

static void session_release(struct session *s)
{
    payload_release(&s->payload);
    engine_model_unload(s->model);
    engine_plugin_retire(s->plugin);
    engine_job_free(s->job);
    buf_release(&s->answer);
}

int run_main(const struct target *target)
{
    struct session s = { 0 };
    struct str param = STR("");
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = prepare(&s, target, &error);
    if (!status)
        status = answer(&s, target->input, &param, &error);
    if (!status)
        printf("%.*s\n", (int)s.answer.len, s.answer.data);
    else
        fprintf(stderr, "maas-plugin-check: status %d: %s%s%.*s%s\n", status, error.text,
                param.len ? " (" : "", (int)param.len, param.len ? param.data : "",
                param.len ? ")" : "");
    session_release(&s);
    return status != MAAS_OK;
}
