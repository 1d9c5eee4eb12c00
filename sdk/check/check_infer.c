/*
 * check_infer.c: what the model says of itself, and what it answers.
 */
#include <stdio.h>
#include <string.h>

#include "check_list.h"
#include "sample.h"
#include "wrap.h"

#define ROWS_MOST 256

static maas_plugin theirs; /* the functions behind a wrapped table */

/* ---- describe */

static bool ports_equal(const maas_port *a, const maas_port *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (a[i].name.len != b[i].name.len ||
            memcmp(a[i].name.data, b[i].name.data, a[i].name.len) != 0 || a[i].ndim != b[i].ndim ||
            memcmp(&a[i].dtype, &b[i].dtype, sizeof(a[i].dtype)) != 0 ||
            memcmp(a[i].shape, b[i].shape, (size_t)a[i].ndim * sizeof(int64_t)) != 0 ||
            a[i].label_count != b[i].label_count)
            return false;
    return true;
}

static bool signatures_equal(const maas_signature *a, const maas_signature *b)
{
    return a->input_count == b->input_count && a->output_count == b->output_count &&
           a->max_rows == b->max_rows && a->max_concurrency == b->max_concurrency &&
           a->rows_independent == b->rows_independent && a->flags == b->flags &&
           a->resident_bytes == b->resident_bytes &&
           ports_equal(a->inputs, b->inputs, a->input_count) &&
           ports_equal(a->outputs, b->outputs, a->output_count);
}

static maas_status described_twice; /* what the second describe of one model gave */
static bool described_same;

static maas_status describe_twice(maas_model *model, maas_signature *signature, maas_error *error)
{
    maas_signature again = { .size = sizeof(again), .abi = MAAS_ABI };
    maas_status status = theirs.describe(model, signature, error);
    if (status)
        return status;
    described_twice = theirs.describe(model, &again, error);
    described_same = !described_twice && signatures_equal(signature, &again);
    return status;
}

enum verdict check_signature(struct trial *t)
{
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load_plugin(t);
    if (verdict)
        return verdict;
    theirs = *engine_plugin_border(t->plugin);
    engine_plugin_border(t->plugin)->describe = describe_twice;
    if (trial_model(t, trial_root(t), &t->model, &error)) /* the real host says what is not sane */
        return t->target->model ? failed(t, "%s", error.text)
                                : skipped(t, "it needs a model; give --model DIR");
    const maas_signature *s = engine_signature(t->model);
    if (described_twice || !described_same)
        return failed(t, "describe says something else the second time");
    if (s->rows_independent > 1 || s->flags)
        return failed(t, "rows_independent is 0 or 1 and flags is 0");
    if (s->resident_bytes > (uint64_t)1 << 46)
        return failed(t, "resident_bytes says %llu", (unsigned long long)s->resident_bytes);
    return VERDICT_OK;
}

/* ---- answers */

static enum verdict look_at(struct trial *t, const struct answer *a)
{
    char why[WHY_MAX / 2];
    if (a->status == MAAS_E_INVALID && a->error.text[0])
        return VERDICT_OK; /* the random row meant nothing to it, and it says why */
    if (a->status)
        return failed(t, "%u rows: status %d: %s", a->rows, a->status, a->error.text);
    return answer_finite(a, why, sizeof(why)) ? VERDICT_OK : failed(t, "%u rows: %s", a->rows, why);
}

static uint32_t rows_of_turn(const struct trial *t, unsigned turn, uint64_t *state)
{
    uint32_t max = trial_rows_max(t, ROWS_MOST);
    if (turn == 0)
        return 1;
    return turn == 1 ? max : 1 + (uint32_t)(random_next(state) % max);
}

enum verdict check_answers(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    uint64_t state = t->target->seed;
    if (t->refuses) /* elsewhere that is a reason to skip */
        return VERDICT_FAIL;
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        uint32_t rows = rows_of_turn(t, i, &state);
        struct sample *s = sample_new(engine_signature(t->model), rows, state, t->flavour);
        (void)ask(t->model, s, NULL, &a);
        verdict = look_at(t, &a);
        sample_free(s);
    }
    if (!verdict && engine_model_misbehaved(t->model))
        verdict = failed(t, "the host complained %llu times of misbehaviour",
                         (unsigned long long)engine_model_misbehaved(t->model));
    answer_free(&a);
    return verdict;
}

/* ---- the ends of the types: an answer, or a refusal that says why */

static enum verdict ask_ends(struct trial *t, struct answer *a, int flavour, uint64_t seed)
{
    char why[WHY_MAX / 2];
    struct sample *s = sample_new(engine_signature(t->model), trial_rows_max(t, 2), seed, flavour);
    enum verdict verdict = VERDICT_OK;
    (void)ask(t->model, s, NULL, a);
    sample_free(s);
    if (a->status && (a->status != MAAS_E_INVALID || !a->error.text[0]))
        verdict = failed(t, "extreme values: status %d: %s", a->status, a->error.text);
    else if (!a->status && flavour == FLAVOUR_HUGE && !answer_finite(a, why, sizeof(why)))
        verdict = failed(t, "extreme values: %s; refuse such a row", why);
    return verdict;
}

enum verdict check_extremes(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    sample_from(NULL); /* rows of a file are no extremes */
    struct answer a = answer_new();
    for (unsigned i = 0; i < 5 * t->target->samples && !verdict; i++) {
        verdict = ask_ends(t, &a, FLAVOUR_HUGE, i);
        if (!verdict)
            verdict = ask_ends(t, &a, FLAVOUR_STRANGE, i);
    }
    answer_free(&a);
    return verdict;
}

/* ---- explanations */

static enum verdict explain_one(struct trial *t, const struct sample *s, struct answer *first,
                                struct answer *again)
{
    char why[WHY_MAX / 2];
    const struct manner how = { .explain = true };
    wrap_reset();
    (void)ask(t->model, s, &how, first);
    (void)ask(t->model, s, &how, again);
    enum verdict verdict = look_at(t, first);
    if (verdict || first->status)
        return verdict;
    if (again->status || !answers_agree(first, 0, again, 0, first->rows, why, sizeof(why)))
        return failed(t, "explained again: %s", again->status ? again->error.text : why);
    if (atomic_load(&wrap.dones) != 2 || atomic_load(&wrap.held) != 0)
        return failed(t, "it did not end each explanation once, or kept memory of host->alloc");
    return VERDICT_OK;
}

enum verdict check_explain(struct trial *t)
{
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    if (!engine_explain_signature(t->model))
        return skipped(t, "it has no maas.explain/1");
    struct answer first = answer_new(), again = answer_new();
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        struct sample *s =
            sample_new(engine_signature(t->model), trial_rows_max(t, i + 1), i, t->flavour);
        verdict = explain_one(t, s, &first, &again);
        sample_free(s);
    }
    answer_free(&first);
    answer_free(&again);
    return verdict;
}

/* ---- what must not come through */

static unsigned reached; /* calls that came to the plugin */

static maas_status count_validate(maas_model *model, const maas_request *request, maas_error *error)
{
    reached++;
    return theirs.validate(model, request, error);
}

static maas_status count_infer(maas_model *model, const maas_request *request, maas_error *error)
{
    reached++;
    return theirs.infer(model, request, error);
}

static void wrong_shape(struct sample *s)
{
    s->inputs[0].tensor.shape[s->inputs[0].tensor.ndim - 1] += 1;
}

static void wrong_dimensions(struct sample *s)
{
    s->inputs[0].tensor.ndim -= 1;
}

static void wrong_dtype(struct sample *s)
{
    s->inputs[0].tensor.dtype.lanes = 2;
}

static void wrong_name(struct sample *s)
{
    s->inputs[0].name = (maas_str){ "no such input", 13 };
}

static void no_rows(struct sample *s)
{
    s->rows = 0;
    s->inputs[0].tensor.shape[0] = 0;
}

enum verdict check_wrong_inputs(struct trial *t)
{
    static void (*const spoil[])(struct sample *) = { wrong_shape, wrong_dimensions, wrong_dtype,
                                                      wrong_name, no_rows };
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    const maas_signature *s = engine_signature(t->model);
    const maas_port *port = &s->inputs[0];
    struct answer a = answer_new();
    theirs = *engine_plugin_border(t->plugin);
    engine_plugin_border(t->plugin)->validate = count_validate;
    engine_plugin_border(t->plugin)->infer = count_infer;
    for (size_t i = 0; i < COUNT_OF(spoil) && !verdict; i++) {
        if (spoil[i] == wrong_shape && port->ndim > 1 && port->shape[port->ndim - 1] < 0)
            continue; /* that extent is free */
        struct sample *good = sample_new(s, 1, 1, t->flavour), bad = *good;
        for (uint32_t j = 0; j < bad.input_count; j++)
            bad.inputs[j].tensor.shape = bad.shapes[j];
        spoil[i](&bad);
        (void)ask(t->model, &bad, NULL, &a);
        if (reached || a.status != MAAS_E_INVALID)
            verdict = failed(t, "wrong input %zu came through (status %d)", i, a.status);
        sample_free(good);
    }
    answer_free(&a);
    return verdict;
}

/* ---- the same again, and rows alone */

enum verdict check_repeatable(struct trial *t)
{
    char why[WHY_MAX / 2];
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    struct answer first = answer_new(), again = answer_new();
    for (unsigned i = 0; i < t->target->samples && !verdict; i++) {
        struct sample *s =
            sample_new(engine_signature(t->model), trial_rows_max(t, 9), i, t->flavour);
        (void)ask(t->model, s, NULL, &first);
        for (int turn = 0; turn < 2 && !verdict; turn++) {
            (void)ask(t->model, s, NULL, &again);
            if (first.status != again.status)
                verdict = failed(t, "status %d, then %d", first.status, again.status);
            else if (!first.status &&
                     !answers_agree(&first, 0, &again, 0, first.rows, why, sizeof(why)))
                verdict = failed(t, "asked again: %s", why);
        }
        sample_free(s);
    }
    answer_free(&first);
    answer_free(&again);
    return verdict;
}

/* A part of a batch against the batch. */
static enum verdict compare_part(struct trial *t, const struct sample *whole,
                                 const struct answer *batch, uint32_t first, uint32_t count)
{
    char why[WHY_MAX / 2];
    enum verdict verdict = VERDICT_OK;
    struct answer part = answer_new();
    struct sample *s = sample_slice(whole, first, count);
    (void)ask(t->model, s, NULL, &part);
    if (part.status)
        verdict = failed(t, "row %u alone: status %d: %s", first, part.status, part.error.text);
    else if (!answers_agree(batch, first, &part, 0, count, why, sizeof(why)))
        verdict = failed(t, "rows %u to %u of %u: %s", first, first + count - 1, whole->rows, why);
    sample_free(s);
    answer_free(&part);
    return verdict;
}

static enum verdict compare_rows(struct trial *t, uint32_t rows, uint64_t seed, unsigned *answered)
{
    enum verdict verdict = VERDICT_OK;
    struct answer batch = answer_new();
    struct sample *whole = sample_new(engine_signature(t->model), rows, seed, t->flavour);
    *answered += ask(t->model, whole, NULL, &batch) == MAAS_OK;
    for (uint32_t i = 0; i < rows && !verdict && !batch.status; i++)
        verdict = compare_part(t, whole, &batch, i, 1);
    for (uint32_t i = 0; i < 4 && !verdict && !batch.status; i++) {
        uint32_t first = (uint32_t)(random_next(&seed) % rows);
        uint32_t count = 1 + (uint32_t)(random_next(&seed) % (rows - first));
        verdict = compare_part(t, whole, &batch, first, count);
    }
    if (batch.status && batch.status != MAAS_E_INVALID)
        verdict = failed(t, "%u rows: status %d: %s", rows, batch.status, batch.error.text);
    sample_free(whole);
    answer_free(&batch);
    return verdict;
}

enum verdict check_rows(struct trial *t)
{
    static const uint32_t sizes[] = { 2, 3, 4, 8, 17, 33, 64 };
    unsigned answered = 0;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    if (!engine_signature(t->model)->rows_independent)
        return skipped(t, "it does not say rows_independent");
    for (size_t i = 0; i < COUNT_OF(sizes) && !verdict; i++)
        verdict = compare_rows(t, trial_rows_max(t, sizes[i]), i, &answered);
    return verdict || answered ? verdict : skipped(t, "it refuses every random batch");
}
