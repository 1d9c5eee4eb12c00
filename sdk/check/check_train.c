/*
 * check_train.c: training is a function of data, options and seed.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "check_list.h"
#include "folder.h"

static maas_status train_into(struct trial *t, const char *name, struct folder *out,
                              maas_error *error)
{
    char dir[PATH_BYTES];
    snprintf(dir, sizeof(dir), "%s/%s", t->scratch, name);
    const struct engine_train train = { .data_dir = t->target->data,
                                        .out_dir = dir,
                                        .seed = t->target->seed };
    if (mkdir(dir, 0700))
        return fail(error, MAAS_E_UNAVAILABLE, "cannot make '%s'", dir);
    maas_status status = engine_train_run(t->plugin, NULL, &train, error);
    return status ? status : folder_read(dir, out, error);
}

/* What was trained is a model that loads. */
static enum verdict loads(struct trial *t, const char *name)
{
    char dir[PATH_BYTES];
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    snprintf(dir, sizeof(dir), "%s/%s", t->scratch, name);
    if (trial_model(t, dir, &model, &error))
        return failed(t, "what was trained does not load: %s", error.text);
    engine_model_unload(model);
    return VERDICT_OK;
}

enum verdict check_train(struct trial *t)
{
    static struct folder one, two;
    char why[WHY_MAX / 2];
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load_plugin(t);
    if (verdict)
        return verdict;
    if (!engine_plugin_table(t->plugin)->extension("maas.train/1"))
        return skipped(t, "it has no maas.train/1");
    if (!t->target->data)
        return skipped(t, "it trains; give --data DIR");
    if (train_into(t, "one", &one, &error) || train_into(t, "two", &two, &error))
        return failed(t, "%s", error.text);
    if (!folders_equal(&one, &two, why, sizeof(why)))
        return failed(t, "trained twice with seed %llu: %s", (unsigned long long)t->target->seed,
                      why);
    return loads(t, "one");
}
