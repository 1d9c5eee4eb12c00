/*
 * in_process.h: a worker without its process: one thread plays the gateway's loop (send, turn) and
 * the worker on one channel, so a test decides what waits together. Answers are kept by slot.
 */
#ifndef MAAS_TEST_IN_PROCESS_H
#define MAAS_TEST_IN_PROCESS_H

#include "worker/serve.h" /* before cmocka.h, whose fail() is a macro */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SLOTS CHANNEL_SLOTS

struct answer {
    struct complete_frame frame; /* kind 0: none yet */
    char *param, *text, *body;   /* with a NUL behind */
};

struct bench {
    struct channel *channel;
    struct engine_plugin *plugin;
    struct engine_model *models[2];
    uint32_t model_count;
    struct server *server;
    struct answer answers[SLOTS];
    uint32_t generation;
};

struct shot { /* a request; zero is a default everywhere but in body */
    const char *body;
    uint16_t surface; /* 0: v2 */
    uint8_t tenant;
    uint32_t weight, model; /* model: its slot */
    uint64_t deadline_ns;
};

/* As many models as there are lists of options, `count` in each. */
static inline void bench_load_all(struct bench *b, const char *plugin, const char *root,
                                  const struct engine_option *const *options, size_t count,
                                  uint32_t models)
{
    maas_error error = MAAS_ERROR_INIT;
    memset(b, 0, sizeof(*b));
    if (channel_create(1, 16 << 20, 16 << 20, &b->channel, &error) ||
        engine_plugin_load(plugin, NULL, &b->plugin, &error))
        fail_msg("%s", error.text);
    assert_true(models <= sizeof(b->models) / sizeof(b->models[0]));
    for (; b->model_count < models; b->model_count++)
        if (engine_model_load(b->plugin, root, options[b->model_count], count,
                              &b->models[b->model_count], &error))
            fail_msg("%s", error.text);
    if (server_new(b->channel, b->models, models, &b->server, &error))
        fail_msg("%s", error.text);
}

static inline void bench_load(struct bench *b, const char *plugin, const char *root,
                              const struct engine_option *options, size_t count)
{
    bench_load_all(b, plugin, root, &options, count, 1);
}

static inline void bench_forget(struct bench *b)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        free(b->answers[i].param);
        free(b->answers[i].text);
        free(b->answers[i].body);
        b->answers[i] = (struct answer){ 0 };
    }
}

static inline void bench_unload(struct bench *b)
{
    bench_forget(b);
    server_free(b->server);
    for (uint32_t i = 0; i < b->model_count; i++)
        engine_model_unload(b->models[i]);
    engine_plugin_retire(b->plugin);
    channel_free(b->channel);
}

static inline uint64_t bench_job(const struct bench *b, uint32_t slot)
{
    return job_id(slot, b->generation);
}

static inline void bench_send(struct bench *b, uint32_t slot, const struct shot *shot)
{
    size_t len = strlen(shot->body);
    struct submit_frame frame = { .kind = SUBMIT_INFER,
                                  .surface = shot->surface ? shot->surface : SURFACE_V2,
                                  .job = bench_job(b, slot),
                                  .tenant = { { shot->tenant } },
                                  .weight = shot->weight,
                                  .model_slot = shot->model,
                                  .deadline_ns = shot->deadline_ns,
                                  .max_rows = 1000,
                                  .json_len = UINT32_MAX,
                                  .name_len = 5,
                                  .version_len = 1,
                                  .request_id_len = 3,
                                  .body_len = (uint32_t)len };
    const struct channel_part parts[] = {
        { &frame, sizeof(frame) }, { "model", 5 }, { "1", 1 }, { "r-1", 3 }, { shot->body, len }
    };
    assert_true(channel_submit(b->channel, 0, parts, 5));
}

static inline char *bench_text(const char *from, size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memcpy(text, from, len);
    text[len] = 0;
    return text;
}

static inline uint32_t bench_take(struct bench *b)
{
    uint32_t count = 0;
    const char *at;
    size_t len;
    for (; (at = channel_peek_complete(b->channel, 0, &len)) != NULL; count++) {
        struct complete_frame f;
        memcpy(&f, at, sizeof(f));
        struct answer *a = &b->answers[(uint32_t)f.job % SLOTS];
        assert_int_equal(f.job, bench_job(b, (uint32_t)f.job % SLOTS));
        assert_int_equal(a->frame.kind, 0); /* one answer each */
        at += sizeof(f);
        *a = (struct answer){ f, bench_text(at, f.param_len),
                              bench_text(at + f.param_len, f.text_len),
                              bench_text(at + f.param_len + f.text_len, f.body_len) };
        channel_consume_complete(b->channel, 0);
    }
    return count;
}

/* Turns until all `count` are answered. */
static inline void bench_turn(struct bench *b, uint32_t count)
{
    for (uint32_t done = 0; done < count; done += bench_take(b))
        assert_true(server_turn(b->server) || done);
}

/* Forgets the last round, sends all at once to a worker that is busy elsewhere, and waits. */
static inline void bench_round(struct bench *b, const struct shot *shots, uint32_t count)
{
    bench_forget(b);
    b->generation++;
    for (uint32_t i = 0; i < count; i++)
        bench_send(b, i, &shots[i]);
    bench_turn(b, count);
}

#endif
