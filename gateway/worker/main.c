/*
 * main.c: maas-worker, the process that runs plugin code. Started fresh by the gateway (never a
 * fork of it), with its descriptors passed by number:
 *
 *     maas-worker serve --memfd N --event N --loops N --loop-events N,N,... --ready N
 *                       --plugin FILE.so --sha256 HEX --memory-max BYTES --parent PID
 *                       --root DIR [--options '{"name": value}' | --options name=value ...]
 *                       [--root DIR ...]          a further model of the same plugin
 *     maas-worker train|evaluate ...      (gateway/engine/train_cli.h)
 *     maas-worker inspect --plugin FILE.so      loads it, prints its id and version
 *
 * When all models are loaded and have passed their self-tests, it writes "ready sandbox=..." to the
 * ready pipe, else "failed why", one line, and closes it. With several models a line "at N" goes
 * before: it is the N-th's turn, so that whoever reads knows which one failed, crashed or hangs.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/train_cli.h"
#include "worker/arguments.h"
#include "worker/sandbox.h"
#include "worker/selftest.h"
#include "worker/serve.h"

#if MAAS_SANITIZED
/* The leak checker forks and traces, which the sandbox kills; the parent may still say otherwise.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static maas_status enter_sandbox(const struct serve_arguments *a, unsigned *out_steps,
                                 maas_error *error)
{
    int keep[CHANNEL_LOOPS_MAX + 3] = { a->memfd, a->event, a->ready };
    memcpy(keep + 3, a->loop_events, a->loops * sizeof(*keep));
    struct sandbox_plan plan = { .parent = a->parent,
                                 .keep = keep,
                                 .keep_count = a->loops + 3,
                                 .memory_max = a->memory_max,
                                 .read = { a->plugin } };
    _Static_assert(CHANNEL_MODELS_MAX + 2 <= SANDBOX_PATHS_MAX, "all roots and a NULL");
    for (uint32_t i = 0; i < a->model_count; i++)
        plan.read[1 + i] = a->models[i].root;
    return sandbox_enter(&plan, out_steps, error);
}

/* Large bodies come and go: kept by the allocator instead of mapped and unmapped each time. */
static void keep_large_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

/* The copy is made and checked before the sandbox forbids what it takes; then the plugin runs. */
static maas_status load_plugin(const char *path, const uint8_t *sha256, struct engine_plugin **out,
                               maas_error *error)
{
    int fd = -1;
    maas_status status = engine_plugin_copy(path, sha256, &fd, error);
    if (status == MAAS_OK)
        status = sandbox_admit(error);
    return status == MAAS_OK ? engine_plugin_load_copy(fd, path, out, error) : status;
}

struct models { /* in the order of the command line */
    struct engine_model *all[CHANNEL_MODELS_MAX];
    struct selftest *tests[CHANNEL_MODELS_MAX];
};

/* Whose turn it is. The pipe has room for all such lines. */
static void tell_turn(const struct serve_arguments *a, uint32_t model)
{
    char line[16];
    int len = snprintf(line, sizeof(line), "at %u\n", model);
    if (a->model_count > 1 && write(a->ready, line, (size_t)len) != len)
        LOG(LOG_WARN, "worker.turn", F_STR("reason", strerror(errno)));
}

static maas_status load_models(const struct serve_arguments *a, struct engine_plugin *plugin,
                               struct models *out, maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < a->model_count && status == MAAS_OK; i++) {
        const struct model_arguments *m = &a->models[i];
        tell_turn(a, i);
        status =
            engine_model_load(plugin, m->root, m->options, m->option_count, &out->all[i], error);
        if (status == MAAS_OK)
            status = selftest_new(m->root, &out->tests[i], error);
    }
    return status;
}

static maas_status test_models(const struct serve_arguments *a, const struct models *m,
                               maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < a->model_count && status == MAAS_OK; i++) {
        tell_turn(a, i);
        status = selftest_run(m->tests[i], m->all[i], error);
    }
    return status;
}

/* All that may fail before the first request, in its order. */
static maas_status prepare(const struct serve_arguments *a, unsigned *out_steps,
                           struct server **out, maas_error *error)
{
    struct channel *channel = NULL;
    struct engine_plugin *plugin = NULL;
    struct models models = { 0 };
    maas_status status = enter_sandbox(a, out_steps, error);
    if (status == MAAS_OK)
        status = channel_attach(a->memfd, a->event, a->loop_events, a->loops, &channel, error);
    if (status == MAAS_OK)
        status = load_plugin(a->plugin, a->sha256, &plugin, error);
    if (status == MAAS_OK)
        status = load_models(a, plugin, &models, error);
    if (status == MAAS_OK)
        status = server_new(channel, models.all, a->model_count, out, error);
    if (status == MAAS_OK)
        status = sandbox_seal(out_steps, error);
    if (status == MAAS_OK) /* sealed, as when it serves */
        status = test_models(a, &models, error);
    for (uint32_t i = 0; i < a->model_count; i++)
        selftest_free(models.tests[i]);
    return status;
}

static void report(int ready, maas_status status, unsigned steps, maas_error *error)
{
    char names[64], line[512];
    sandbox_format(steps, names, sizeof(names));
    for (char *c = error->text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    int len = status == MAAS_OK ? snprintf(line, sizeof(line), "ready sandbox=%s\n", names)
                                : snprintf(line, sizeof(line), "failed %s\n", error->text);
    if (write(ready, line, (size_t)len) != len)
        LOG(LOG_WARN, "worker.ready", F_STR("reason", strerror(errno)));
    close(ready);
}

static int serve_main(int argc, char **argv)
{
    static struct serve_arguments arguments;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = arguments_parse(argc, argv, &arguments, &error);
    if (status != MAAS_OK) {
        fprintf(stderr, "maas-worker: %s\n", error.text);
        return 2;
    }
    struct server *server = NULL;
    unsigned steps = 0;
    keep_large_blocks();
    log_start("maas-worker", LOG_INFO);
    status = prepare(&arguments, &steps, &server, &error);
    if (status != MAAS_OK)
        LOG(LOG_ERROR, "worker.failed", F_STR("plugin", arguments.plugin),
            F_STR("reason", error.text));
    report(arguments.ready, status, steps, &error);
    if (status == MAAS_OK && !server_run(server))
        LOG(LOG_ERROR, "worker.channel", F_STR("reason", "the channel is broken"));
    log_stop();
    _exit(1); /* no destructors of libraries: a plugin's must not run a second life */
}

static int usage(void)
{
    fprintf(stderr, "usage: maas-worker serve|train|evaluate|inspect ...\n");
    return 2;
}

/* The same sandbox around a job, with its out folder writable. */
static int train_main(int argc, char **argv)
{
    struct sandbox_plan plan = { 0 };
    maas_error error = MAAS_ERROR_INIT;
    unsigned steps = 0;
    size_t reads = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        bool out = strcmp(argv[i], "--out") == 0;
        if (out && mkdir(argv[i + 1], 0755) && errno != EEXIST)
            fprintf(stderr, "maas-worker: making '%s': %s\n", argv[i + 1], strerror(errno));
        if (out)
            plan.write[0] = argv[i + 1];
        else if (reads < SANDBOX_PATHS_MAX - 1 &&
                 (strcmp(argv[i], "--plugin") == 0 || strcmp(argv[i], "--data") == 0 ||
                  strcmp(argv[i], "--model") == 0))
            plan.read[reads++] = argv[i + 1];
    }
    if (sandbox_enter(&plan, &steps, &error) != MAAS_OK) {
        fprintf(stderr, "maas-worker: %s\n", error.text);
        return 1;
    }
    return engine_train_main(argc, argv);
}

static int inspect_main(int argc, char **argv)
{
    maas_error error = MAAS_ERROR_INIT;
    unsigned steps = 0;
    struct engine_plugin *plugin = NULL;
    if (argc != 3 || strcmp(argv[1], "--plugin") != 0)
        return usage();
    const struct sandbox_plan plan = { .read = { argv[2] } };
    maas_status status = sandbox_enter(&plan, &steps, &error);
    if (status == MAAS_OK)
        status = load_plugin(argv[2], NULL, &plugin, &error);
    if (status != MAAS_OK) {
        fprintf(stderr, "maas-worker: %s\n", error.text);
        return 1;
    }
    const maas_plugin *table = engine_plugin_table(plugin);
    printf("%s %s\n", table->id, table->version ? table->version : "");
    return 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "serve") == 0)
        return serve_main(argc - 1, argv + 1);
    if (strcmp(command, "train") == 0 || strcmp(command, "evaluate") == 0)
        return train_main(argc - 1, argv + 1);
    if (strcmp(command, "inspect") == 0)
        return inspect_main(argc - 1, argv + 1);
    return usage();
}
