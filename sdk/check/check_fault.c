/*
 * check_fault.c: a host that says no: cancelled at the n-th look, no memory at the n-th alloc, for
 * every n until the plugin does not come that far any more.
 */
#include <stdio.h>
#include <unistd.h>

#include "check_list.h"
#include "sample.h"
#include "wrap.h"

#define POINTS_MAX 2000u /* a plugin that looks more often is not followed further */
#define SOON_NS    1000000000ull
#define LATE_US    100000u /* what comes later than this after an answer is not waited for */

/* The right answer to a request of some rows; its sample is `*out`. */
static enum verdict reference(struct trial *t, uint32_t rows, struct sample **out, struct answer *a)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    *a = answer_new();
    for (uint64_t seed = t->target->seed; seed < t->target->seed + 20; seed++) {
        *out = sample_new(engine_signature(t->model), trial_rows_max(t, rows), seed, t->flavour);
        if (ask(t->model, *out, NULL, a) != MAAS_E_INVALID)
            break;
        sample_free(*out);
        *out = NULL;
    }
    if (!*out || a->status)
        return failed(t, "status %d: %s", a->status, a->error.text);
    wrap_reset();
    return VERDICT_OK;
}

/* A right answer, or the one status that the fault may have. */
static enum verdict right_or(struct trial *t, const struct answer *got, const struct answer *right,
                             maas_status allowed, const char *what, uint64_t n)
{
    char why[WHY_MAX / 4];
    if (got->status == allowed)
        return VERDICT_OK;
    if (got->status)
        return failed(t, "%s %llu: status %d: %s", what, (unsigned long long)n, got->status,
                      got->error.text);
    return answers_agree(got, 0, right, 0, right->rows, why, sizeof(why))
               ? VERDICT_OK
               : failed(t, "%s %llu: a wrong answer: %s", what, (unsigned long long)n, why);
}

/* ---- cancel */

struct looks {
    _Atomic uint64_t seen;
    uint64_t at; /* true from this look on */
};

static bool true_from(void *arg)
{
    struct looks *l = arg;
    return atomic_fetch_add(&l->seen, 1) + 1 >= l->at;
}

enum verdict check_cancel(struct trial *t)
{
    struct sample *s;
    struct answer right, a;
    enum verdict verdict = reference(t, 600, &s, &right);
    if (verdict)
        return verdict;
    a = answer_new();
    for (uint64_t n = 1; n <= POINTS_MAX && !verdict; n++) {
        struct looks looks = { .at = n };
        const struct manner how = { .cancelled = true_from, .arg = &looks };
        (void)ask(t->model, s, &how, &a);
        verdict = right_or(t, &a, &right, MAAS_E_CANCELLED, "cancelled at look", n);
        if (looks.seen < n)
            break;
    }
    if (!verdict && ask(t->model, s, NULL, &a)) /* and it is well again */
        verdict = failed(t, "after cancels: status %d: %s", a.status, a.error.text);
    return verdict ? verdict : right_or(t, &a, &right, MAAS_OK, "after cancels", 0);
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

enum verdict check_cancel_soon(struct trial *t)
{
    struct sample *s;
    struct answer a;
    enum verdict verdict = reference(t, 4096, &s, &a);
    if (verdict)
        return verdict;
    const struct manner how = { .cancelled = always };
    uint64_t begin = clock_mono_ns();
    (void)ask(t->model, s, &how, &a);
    uint64_t ns = clock_mono_ns() - begin;
    if (ns > SOON_NS)
        return failed(t, "%u rows that nobody wants took %llu ms: look at host->cancelled", s->rows,
                      (unsigned long long)(ns / 1000000));
    return VERDICT_OK;
}

enum verdict check_deadline(struct trial *t)
{
    struct sample *s;
    struct answer right;
    enum verdict verdict = reference(t, 600, &s, &right);
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    const struct manner how = { .deadline_ns = clock_mono_ns() - 1000000000 };
    (void)ask(t->model, s, &how, &a);
    if (a.status == MAAS_E_DEADLINE)
        return VERDICT_OK;
    return right_or(t, &a, &right, MAAS_E_CANCELLED, "deadline passed", 0);
}

/* ---- memory */

static enum verdict balanced(struct trial *t, const char *what, uint64_t n)
{
    for (unsigned us = 0; atomic_load(&wrap.held) > 0 && us < LATE_US; us += 1000)
        usleep(1000); /* a thread of the plugin's own may be behind */
    int64_t held = atomic_load(&wrap.held);
    if (held == 0)
        return VERDICT_OK;
    return failed(t, "%s %llu: %lld blocks of host->alloc %s", what, (unsigned long long)n,
                  (long long)(held < 0 ? -held : held),
                  held > 0 ? "are not freed" : "are freed more than once");
}

/* One point: the n-th alloc fails, alone or with all that follow. */
static enum verdict fail_infer(struct trial *t, const struct sample *s, const struct answer *right,
                               struct answer *a, uint64_t n, uint64_t to)
{
    wrap_reset();
    wrap.fail_at = n;
    wrap.fail_to = to;
    (void)ask(t->model, s, NULL, a);
    enum verdict verdict = right_or(t, a, right, MAAS_E_EXHAUSTED, "without memory at alloc", n);
    return verdict ? verdict : balanced(t, "without memory at alloc", n);
}

enum verdict check_alloc(struct trial *t)
{
    struct sample *s;
    struct answer right;
    enum verdict verdict = reference(t, 40, &s, &right);
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    for (uint64_t n = 1; n <= POINTS_MAX && !verdict; n++) {
        verdict = fail_infer(t, s, &right, &a, n, n);
        if (!verdict)
            verdict = fail_infer(t, s, &right, &a, n, UINT64_MAX);
        if (atomic_load(&wrap.allocs) < n)
            break;
    }
    return verdict ? verdict : fail_infer(t, s, &right, &a, 0, 0);
}

static enum verdict fail_load(struct trial *t, uint64_t n, uint64_t to)
{
    struct engine_model *model = NULL;
    maas_error error = MAAS_ERROR_INIT;
    wrap_reset();
    wrap.fail_at = n;
    wrap.fail_to = to;
    maas_status status = trial_model(t, trial_root(t), &model, &error);
    if (status && status != MAAS_E_EXHAUSTED)
        return failed(t, "without memory at alloc %llu load gives status %d, not EXHAUSTED",
                      (unsigned long long)n, status);
    if (!status)
        engine_model_unload(model);
    return balanced(t, "load without memory at alloc", n);
}

enum verdict check_alloc_load(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    for (uint64_t n = 1; n <= POINTS_MAX && !verdict; n++) {
        verdict = fail_load(t, n, n);
        if (!verdict)
            verdict = fail_load(t, n, UINT64_MAX);
        if (atomic_load(&wrap.allocs) < n)
            break;
    }
    return verdict;
}

enum verdict check_balance(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        struct sample *s =
            sample_new(engine_signature(t->model), trial_rows_max(t, i + 1), i, t->flavour);
        wrap_reset();
        (void)ask(t->model, s, NULL, &a);
        verdict = balanced(t, "request", i);
        sample_free(s);
    }
    return verdict;
}

/* ---- the end of a request */

static enum verdict ended_well(struct trial *t, const struct answer *a)
{
    uint64_t dones = atomic_load(&wrap.dones);
    bool refused = a->status && dones == 0; /* infer or validate returned an error */
    if (dones != 1 && !refused)
        return failed(t, "done was called %llu times (status %d)", (unsigned long long)dones,
                      a->status);
    if (a->status == MAAS_E_INTERNAL)
        return failed(t, "%s", a->error.text);
    if (engine_model_misbehaved(t->model))
        return failed(t, "it used the host after the request's end, or freed foreign memory");
    return VERDICT_OK;
}

/* With and without a cancel, and with what comes too late. */
enum verdict check_done(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    const struct manner ways[] = { { 0 }, { .cancelled = always } };
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        struct sample *s =
            sample_new(engine_signature(t->model), trial_rows_max(t, i + 1), i, t->flavour);
        wrap_reset();
        (void)ask(t->model, s, &ways[i % 2], &a);
        if (i < 2)
            usleep(LATE_US);
        verdict = ended_well(t, &a);
        sample_free(s);
    }
    return verdict;
}
