/*
 * train_cli.c: training and evaluation from a command line: one plugin, one folder of data, one
 * folder out. Progress and metrics are printed as they come, one "name value" a line; at the end
 * the model is loaded as a server would load it and described in manifest.json.
 *
 * BLAS runs with one thread, as in a worker, so that the same seed gives the same bytes.
 */
#include "engine/train_cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/arithmetic.h"
#include "engine/manifest.h"

#define OPTIONS_MAX 64

struct command {
    bool evaluate;
    const char *plugin, *data, *out, *model;
    uint64_t seed;
    struct engine_option options[OPTIONS_MAX];
    size_t option_count;
    struct metric metrics[METRICS_MAX];
    size_t metric_count;
};

static int usage(const char *why)
{
    fprintf(stderr,
            "maas-worker: %s\n"
            "usage: maas-worker train --plugin FILE.so --data DIR --out DIR [--seed N] [--option "
            "name=value ...]\n"
            "       maas-worker evaluate --plugin FILE.so --data DIR --model DIR [--seed N] "
            "[--option name=value ...]\n",
            why);
    return 2;
}

static bool take_option(struct command *c, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || c->option_count == OPTIONS_MAX)
        return false;
    c->options[c->option_count++] =
        (struct engine_option){ { text, (size_t)(equals - text) }, str_of(equals + 1) };
    return true;
}

static bool take_seed(struct command *c, const char *text)
{
    char *end;
    errno = 0;
    c->seed = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static const char *parse(struct command *c, int argc, char **argv)
{
    c->evaluate = strcmp(argv[0], "evaluate") == 0;
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            return "an argument lacks its value";
        if (strcmp(name, "--plugin") == 0)
            c->plugin = value;
        else if (strcmp(name, "--data") == 0)
            c->data = value;
        else if (strcmp(name, "--out") == 0 && !c->evaluate)
            c->out = value;
        else if (strcmp(name, "--model") == 0 && c->evaluate)
            c->model = value;
        else if (strcmp(name, "--seed") == 0) {
            if (!take_seed(c, value))
                return "--seed is not a whole number";
        } else if (strcmp(name, "--option") != 0 || !take_option(c, value))
            return "an argument is unknown or an option is not name=value";
    }
    return c->plugin && c->data && (c->out || c->model) ? NULL : "an argument is missing";
}

static void print_scalar(const char *name, double value)
{
    if (strcmp(name, "progress") == 0)
        printf("progress %3.0f %%\n", value * 100);
    else
        printf("%s %.9g\n", name, value);
    fflush(stdout);
}

/* A metric that comes again (a loss, epoch by epoch) is kept as it came last. */
static void on_scalar(void *arg, const char *name, double value)
{
    struct command *c = arg;
    size_t at = 0;
    print_scalar(name, value);
    if (strcmp(name, "progress") == 0)
        return;
    while (at < c->metric_count && strcmp(c->metrics[at].name, name) != 0)
        at++;
    if (at == METRICS_MAX)
        return;
    snprintf(c->metrics[at].name, sizeof(c->metrics[at].name), "%s", name);
    c->metrics[at].value = value;
    c->metric_count += at == c->metric_count;
}

/* Loads what was trained, as a server would: a model that does not load is not written off as done.
 */
static maas_status describe_trained(const struct command *c, struct engine_plugin *plugin,
                                    maas_error *error)
{
    struct engine_model *model = NULL;
    maas_status status = engine_model_load(plugin, c->out, NULL, 0, &model, error);
    if (status)
        return status;
    struct manifest manifest = { .data_dir = c->data,
                                 .out_dir = c->out,
                                 .plugin = engine_plugin_table(plugin),
                                 .signature = engine_signature(model),
                                 .options = c->options,
                                 .option_count = c->option_count,
                                 .metrics = c->metrics,
                                 .metric_count = c->metric_count,
                                 .seed = c->seed };
    status = manifest_write(&manifest, error);
    engine_model_unload(model);
    return status;
}

static maas_status run(struct command *c, maas_error *error)
{
    struct engine_plugin *plugin;
    struct engine_model *model = NULL;
    struct engine_train train = { .data_dir = c->data,
                                  .out_dir = c->out,
                                  .seed = c->seed,
                                  .options = c->options,
                                  .option_count = c->option_count,
                                  .on_scalar = on_scalar,
                                  .arg = c };
    maas_status status = engine_plugin_load(c->plugin, NULL, &plugin, error);
    if (status)
        return status;
    if (c->out && mkdir(c->out, 0755) && errno != EEXIST)
        status = fail(error, MAAS_E_UNAVAILABLE, "cannot create '%s': %s", c->out, strerror(errno));
    if (c->evaluate)
        status = engine_model_load(plugin, c->model, NULL, 0, &model, error);
    if (!status)
        status = engine_train_run(plugin, model, &train, error);
    if (!status && c->out)
        status = describe_trained(c, plugin, error);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
    return status;
}

int engine_train_main(int argc, char **argv)
{
    struct command command;
    maas_error error = MAAS_ERROR_INIT;
    memset(&command, 0, sizeof(command));
    if (!arithmetic_environment()) /* before the plugin brings OpenBLAS in */
        return usage("no memory for the environment");
    const char *why = parse(&command, argc, argv);
    if (why)
        return usage(why);
    if (run(&command, &error) == MAAS_OK)
        return 0;
    fprintf(stderr, "maas-worker: %s: %s\n", argv[0], error.text);
    return 1;
}
