/*
 * check_size.c: hosts of other minor versions. Every growing struct begins with its size: a longer
 * one must be no trouble, and behind the end of one that is exactly as long as in 1.0 nothing may
 * be written. The plugin's own table is wrapped here, so that each call sees such structs.
 */
#include <stdio.h>
#include <string.h>

#include "check_list.h"
#include "sample.h"
#include "wrap.h"

#define MORE   64 /* bytes of members that are not known yet */
#define CANARY 0x5a
/* Where the structs of ABI 1.0 end: for ever these numbers, whatever is appended. */
#define SIGNATURE_1_0 (offsetof(maas_signature, params) + sizeof(const void *))
#define SPEC_1_0      (offsetof(maas_model_spec, options) + sizeof(const void *))

static maas_plugin theirs;
static uint32_t more;           /* what `size` says beyond the struct of 1.0 */
static const char *overwritten; /* the struct whose canary is gone, or whose size was changed */

struct guarded_signature {
    maas_signature signature;
    unsigned char behind[MORE];
};
struct guarded_spec {
    maas_model_spec spec;
    unsigned char behind[MORE];
};
struct guarded_error {
    maas_error error;
    unsigned char behind[MORE];
};

static bool intact(const unsigned char behind[MORE])
{
    for (size_t i = 0; i < MORE; i++)
        if (behind[i] != (more ? 0 : CANARY))
            return false;
    return true;
}

static void guard(unsigned char behind[MORE])
{
    memset(behind, more ? 0 : CANARY, MORE); /* an appended member's zero means "as before" */
}

static maas_status give_error(const struct guarded_error *from, maas_status status, maas_error *to)
{
    if (!intact(from->behind))
        overwritten = "maas_error";
    if (status && to)
        memcpy(to->text, from->error.text, sizeof(to->text));
    return status;
}

static struct guarded_error error_init(void)
{
    struct guarded_error e = { .error = MAAS_ERROR_INIT };
    e.error.size += more;
    guard(e.behind);
    return e;
}

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    static struct guarded_spec longer; /* borrowed until unload */
    struct guarded_error e = error_init();
    longer.spec = *spec;
    longer.spec.size = (uint32_t)SPEC_1_0 + more;
    guard(longer.behind);
    maas_status status = theirs.load(host, &longer.spec, out, &e.error);
    if (!intact(longer.behind))
        overwritten = "maas_model_spec";
    return give_error(&e, status, error);
}

static maas_status describe(maas_model *model, maas_signature *signature, maas_error *error)
{
    struct guarded_error e = error_init();
    struct guarded_signature longer = { .signature = *signature };
    longer.signature.size = (uint32_t)SIGNATURE_1_0 + more;
    guard(longer.behind);
    maas_status status = theirs.describe(model, &longer.signature, &e.error);
    if (!intact(longer.behind) || longer.signature.size != SIGNATURE_1_0 + more)
        overwritten = "maas_signature";
    longer.signature.size = signature->size;
    *signature = longer.signature;
    return give_error(&e, status, error);
}

static maas_status infer(maas_model *model, const maas_request *request, maas_error *error)
{
    struct guarded_error e = error_init();
    maas_request *mine = (maas_request *)(uintptr_t)request; /* its address is its identity */
    mine->size += more;
    return give_error(&e, theirs.infer(model, request, &e.error), error);
}

static enum verdict ask_some(struct trial *t)
{
    struct answer a = answer_new();
    for (unsigned i = 0; i < t->target->samples; i++) {
        struct sample *s = sample_new(engine_signature(t->model), 1, i, t->flavour);
        maas_status status = ask(t->model, s, NULL, &a);
        sample_free(s);
        if (status && status != MAAS_E_INVALID)
            return failed(t, "infer: %s", a.error.text);
    }
    answer_free(&a);
    return VERDICT_OK;
}

static enum verdict run(struct trial *t, uint32_t bytes)
{
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    wrap.grown = more = bytes;
    enum verdict verdict = trial_load_plugin(t);
    if (verdict)
        return verdict;
    maas_plugin *table = engine_plugin_border(t->plugin);
    theirs = *table;
    table->load = load;
    table->describe = describe;
    table->infer = infer;
    if (trial_model(t, trial_root(t), &model, &error))
        return t->target->model ? failed(t, "load: %s", error.text)
                                : skipped(t, "it needs a model; give --model DIR");
    t->model = model;
    verdict = ask_some(t);
    engine_model_unload(model);
    if (!verdict && overwritten)
        return failed(t, "it writes into '%s' where the host has no member, or changes its size",
                      overwritten);
    return verdict;
}

enum verdict check_longer(struct trial *t)
{
    return run(t, MORE);
}

enum verdict check_shorter(struct trial *t)
{
    return run(t, 0);
}
