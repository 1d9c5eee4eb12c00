/*
 * check_thread.c: calls from any thread, and several at once.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check_list.h"
#include "sample.h"
#include "wrap.h"

#define CROWD       4
#define CROWD_TURNS 50

static maas_plugin theirs; /* the functions behind a wrapped table */

/* ---- threads */

struct call {
    maas_model *model;
    maas_signature *signature;
    const maas_request *request;
    maas_error *error;
    maas_status status;
};

static void *run_describe(void *arg)
{
    struct call *c = arg;
    c->status = theirs.describe(c->model, c->signature, c->error);
    return NULL;
}

static void *run_validate(void *arg)
{
    struct call *c = arg;
    c->status = theirs.validate(c->model, c->request, c->error);
    return NULL;
}

static void *run_infer(void *arg)
{
    struct call *c = arg;
    c->status = theirs.infer(c->model, c->request, c->error);
    return NULL;
}

static void *run_unload(void *arg)
{
    struct call *c = arg;
    theirs.unload(c->model);
    return NULL;
}

static maas_status elsewhere(void *(*run)(void *), struct call *c)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, c) == 0);
    pthread_join(thread, NULL);
    return c->status;
}

static maas_status far_describe(maas_model *model, maas_signature *signature, maas_error *error)
{
    return elsewhere(run_describe,
                     &(struct call){ .model = model, .signature = signature, .error = error });
}

static maas_status far_validate(maas_model *model, const maas_request *request, maas_error *error)
{
    return elsewhere(run_validate,
                     &(struct call){ .model = model, .request = request, .error = error });
}

static maas_status far_infer(maas_model *model, const maas_request *request, maas_error *error)
{
    return elsewhere(run_infer,
                     &(struct call){ .model = model, .request = request, .error = error });
}

static void far_unload(maas_model *model)
{
    elsewhere(run_unload, &(struct call){ .model = model });
}

/* The same requests on this thread and with every call on a new one. */
static enum verdict compare_threads(struct trial *t)
{
    char why[WHY_MAX / 2];
    maas_plugin *table = engine_plugin_border(t->plugin);
    enum verdict verdict = VERDICT_OK;
    struct answer here = answer_new(), there = answer_new();
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        struct sample *s =
            sample_new(engine_signature(t->model), trial_rows_max(t, 5), i, t->flavour);
        table->validate = theirs.validate;
        table->infer = theirs.infer;
        (void)ask(t->model, s, NULL, &here);
        table->validate = far_validate;
        table->infer = far_infer;
        (void)ask_on_a_thread(t->model, s, &there);
        if (here.status != there.status)
            verdict = failed(t, "on another thread: status %d: %s", there.status, there.error.text);
        else if (!here.status && !answers_agree(&here, 0, &there, 0, here.rows, why, sizeof(why)))
            verdict = failed(t, "on another thread: %s", why);
        sample_free(s);
    }
    answer_free(&here);
    answer_free(&there);
    return verdict;
}

enum verdict check_threads(struct trial *t)
{
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    maas_plugin *table = engine_plugin_border(t->plugin);
    engine_model_unload(t->model);
    theirs = *table;
    table->describe = far_describe;
    table->unload = far_unload;
    if (trial_model(t, trial_root(t), &t->model, &error))
        return failed(t, "described on another thread: %s", error.text);
    verdict = compare_threads(t);
    if (!verdict)
        engine_model_unload(t->model);
    return verdict;
}

/* ---- several at once */

struct crowd_member {
    struct engine_model *model;
    struct sample *sample;
    struct answer alone, crowded;
    char why[WHY_MAX / 2];
    bool wrong;
};

static void *run_member(void *arg)
{
    struct crowd_member *c = arg;
    for (int i = 0; i < CROWD_TURNS && !c->wrong; i++) {
        (void)ask(c->model, c->sample, NULL, &c->crowded);
        c->wrong = c->crowded.status != c->alone.status ||
                   (!c->alone.status && !answers_agree(&c->alone, 0, &c->crowded, 0, c->alone.rows,
                                                       c->why, sizeof(c->why)));
        if (c->crowded.status)
            snprintf(c->why, sizeof(c->why), "status %d: %.200s", c->crowded.status,
                     c->crowded.error.text);
    }
    return NULL;
}

static void member_init(struct trial *t, struct crowd_member *c, unsigned seed)
{
    c->model = t->model;
    c->sample =
        sample_new(engine_signature(t->model), trial_rows_max(t, 5 + seed), seed, t->flavour);
    c->alone = answer_new();
    c->crowded = answer_new();
    (void)ask(t->model, c->sample, NULL, &c->alone);
}

/* The host keeps to max_concurrency, so more threads than that may ask. */
enum verdict check_concurrent(struct trial *t)
{
    static struct crowd_member crowd[CROWD];
    pthread_t threads[CROWD];
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    for (unsigned i = 0; i < CROWD; i++)
        member_init(t, &crowd[i], i);
    for (unsigned i = 0; i < CROWD; i++)
        CHECK(pthread_create(&threads[i], NULL, run_member, &crowd[i]) == 0);
    for (unsigned i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < CROWD && !verdict; i++)
        if (crowd[i].wrong)
            verdict = failed(t, "%d calls at once: %s", CROWD, crowd[i].why);
    return verdict;
}
