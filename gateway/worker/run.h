/*
 * run.h: from a request to its answer: alone, or with others that are like it. Private to the
 * worker. [worker thread]
 */
#ifndef MAAS_WORKER_RUN_H
#define MAAS_WORKER_RUN_H

#include "codec/codec.h"
#include "worker/outbox.h"
#include "worker/queue.h"
#include "worker/serve.h"

#define LONG_NS 50000u /* a run that takes longer keeps no answer waiting for its end */

struct cancel_key {
    const struct channel *channel;
    uint32_t loop;
    uint64_t job;
};

/* What became of a job. */
struct outcome {
    maas_status status;
    struct str param;
    maas_error error;
    enum content_kind content;
    uint32_t rows, json_len;
    uint32_t batch, batch_rows;
    uint64_t started_ns, computed_ns;
};

struct batch; /* batch.c */

struct model_slot {
    struct engine_model *model; /* lent */
    struct batch *batch;
};

struct runner {
    struct channel *channel; /* lent */
    struct model_slot models[CHANNEL_MODELS_MAX];
    uint32_t model_count;
    struct engine_model *model; /* of the job that is run, and its batches */
    struct batch *batch;
    struct codec *codec;
    struct engine_job *job;
    struct engine_job *explained; /* holds what explains the answer in `job`; NULL until asked */
    struct queue *queue;
    struct outbox outbox;
    struct buf answer;
    uint64_t now_ns; /* read once a job */
    struct server_counts counts;
};

maas_status MUST_USE runner_init(struct runner *r, struct channel *channel,
                                 struct engine_model *const *models, uint32_t count,
                                 maas_error *error);
void runner_release(struct runner *r); /* of one that is all zero, too */

/* Runs the next job in line, with what merges with it; false: none waits. */
bool run_next(struct runner *r);

/* ---- run.c for batch.c: the steps of a job */
struct outcome outcome_init(uint64_t started_ns);
/* MAAS_OK, or why it is not worth beginning. */
maas_status MUST_USE run_due(struct runner *r, const struct job *job, maas_error *error);
struct codec_context run_context(const struct runner *r, const struct job *job);
void run_answer(struct runner *r, const struct job *job, const struct outcome *o);
/* The whole way of one job; its outcome's status, and what it took. Not ended. */
maas_status run_alone(struct runner *r, const struct job *job, uint64_t *out_cost_ns);
bool run_is_cancelled(void *cancel_key);
/* A plugin may return any number; the gateway gets one of the codes. */
maas_status run_status(maas_status status);

/* ---- batch.c */
struct batch *batch_new(const struct engine_model *model); /* NULL: no memory */
void batch_free(struct batch *batch);
bool batch_possible(struct batch *batch); /* counts what runs alone while batches pause */
/* A call of so many rows took so long. */
void batch_learn(struct batch *batch, uint64_t ns, uint32_t rows);
uint64_t batch_row_ns(const struct batch *batch); /* of late, on average; 0: nothing ran yet */
/* The job and whatever waits, is like it and has room beside it. All of them are ended. */
void batch_run(struct runner *r, struct job *leader);

#endif
