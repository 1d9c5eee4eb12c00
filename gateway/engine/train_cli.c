/*
 * train_cli.c: runs a plugin's training from a command line and writes manifest.json beside what
 * the plugin wrote: format, plugin, task, metrics, seed and the SHA-256 of the training data, keys
 * in a fixed order, so the same seed gives the same bytes.
 */
#include "engine/train_cli.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "engine/internal.h"

#define OPTIONS_MAX  64
#define METRICS_MAX  64
#define MANIFEST_MAX 65536

struct command {
    bool evaluate;
    const char *plugin, *data, *out, *model;
    uint64_t seed;
    struct engine_option options[OPTIONS_MAX];
    size_t option_count;
    struct metric {
        char name[64];
        double value;
    } metrics[METRICS_MAX];
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
        else if (strcmp(name, "--seed") == 0)
            c->seed = strtoull(value, NULL, 10);
        else if (strcmp(name, "--option") != 0 || !take_option(c, value))
            return "an argument is unknown or an option is not name=value";
    }
    return c->plugin && c->data && (c->out || c->model) ? NULL : "an argument is missing";
}

static void on_scalar(void *arg, const char *name, double value)
{
    struct command *c = arg;
    if (strcmp(name, "progress") == 0) {
        printf("progress %3.0f %%\n", value * 100);
        fflush(stdout);
        return;
    }
    printf("%s %.9g\n", name, value);
    if (c->metric_count == METRICS_MAX)
        return;
    struct metric *m = &c->metrics[c->metric_count++];
    snprintf(m->name, sizeof(m->name), "%s", name);
    m->value = value;
}

/* The digest of DIR/train.csv, hex. */
static maas_status data_digest(const char *dir, char out[65], maas_error *error)
{
    char path[1024], block[65536];
    uint8_t digest[32];
    size_t n;
    snprintf(path, sizeof(path), "%s/train.csv", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(error, MAAS_E_NOT_FOUND, "cannot open '%s': %s", path, strerror(errno));
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    CHECK(hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        EVP_DigestUpdate(hash, block, n);
    EVP_DigestFinal_ex(hash, digest, NULL);
    EVP_MD_CTX_free(hash);
    fclose(file);
    hex_encode(digest, sizeof(digest), out);
    return MAAS_OK;
}

static void manifest_text(struct buf *b, const struct command *c,
                          const struct engine_plugin *plugin, const maas_signature *signature,
                          const char *digest)
{
    buf_fmt(b, "{\n  \"data_sha256\": \"%s\",\n  \"format\": 1,\n  \"metrics\": {", digest);
    for (size_t i = 0; i < c->metric_count; i++) {
        buf_str(b, i ? STR(", ") : STR(""));
        buf_json(b, str_of(c->metrics[i].name));
        buf_fmt(b, ": %.17g", c->metrics[i].value);
    }
    buf_str(b, STR("},\n  \"plugin\": "));
    buf_json(b, str_of(plugin->table.id));
    buf_str(b, STR(",\n  \"plugin_version\": "));
    buf_json(b, str_of(plugin->table.version));
    buf_fmt(b, ",\n  \"seed\": %" PRIu64 ",\n  \"task\": ", c->seed);
    buf_json(b, str_of(signature->task));
    buf_str(b, STR("\n}\n"));
}

/* Loads what was trained, as a server would: a model that does not load is not written off as done.
 */
static maas_status write_manifest(const struct command *c, struct engine_plugin *plugin,
                                  maas_error *error)
{
    char path[1024], digest[65];
    struct engine_model *model = NULL;
    struct buf b;
    maas_status status = data_digest(c->data, digest, error);
    if (!status)
        status = engine_model_load(plugin, c->out, NULL, 0, &model, error);
    if (status)
        return status;
    buf_init(&b, MANIFEST_MAX);
    manifest_text(&b, c, plugin, engine_signature(model), digest);
    engine_model_unload(model);
    snprintf(path, sizeof(path), "%s/manifest.json", c->out);
    FILE *file = fopen(path, "we");
    if (b.failed || !file || fwrite(b.data, 1, b.len, file) != b.len)
        status = fail(error, MAAS_E_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno));
    if (file && fclose(file) && !status)
        status = fail(error, MAAS_E_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno));
    buf_release(&b);
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
        return fail(error, MAAS_E_UNAVAILABLE, "cannot create '%s': %s", c->out, strerror(errno));
    if (c->evaluate)
        status = engine_model_load(plugin, c->model, NULL, 0, &model, error);
    if (!status)
        status = engine_train_run(plugin, model, &train, error);
    if (!status && c->out)
        status = write_manifest(c, plugin, error);
    engine_model_unload(model);
    return status;
}

int engine_train_main(int argc, char **argv)
{
    struct command command;
    maas_error error = MAAS_ERROR_INIT;
    memset(&command, 0, sizeof(command));
    const char *why = parse(&command, argc, argv);
    if (why)
        return usage(why);
    if (run(&command, &error) == MAAS_OK)
        return 0;
    fprintf(stderr, "maas-worker: %s: %s\n", argv[0], error.text);
    return 1;
}
