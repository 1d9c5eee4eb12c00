/*
 * arguments.c: a table of what `serve` takes, each with the function that reads its value. Each
 * --root begins a model, and the --options behind it are that model's. Options come as one JSON
 * object (from the registry) or as name=value (from a person); both end as text, which the engine
 * checks against the plugin's declarations.
 */
#include "worker/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"

static bool number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || value > most)
        return false;
    *out = value;
    return true;
}

static bool descriptor(const char *text, int *out)
{
    uint64_t value;
    if (!number(text, 1 << 20, &value) || value < 3)
        return false;
    *out = (int)value;
    return true;
}

static bool take_loop_events(struct serve_arguments *a, const char *text)
{
    char copy[CHANNEL_LOOPS_MAX * 8];
    char *rest = copy, *item;
    uint32_t count = 0;
    if (strlen(text) >= sizeof(copy))
        return false;
    memcpy(copy, text, strlen(text) + 1);
    while ((item = strsep(&rest, ",")) != NULL) {
        if (count == CHANNEL_LOOPS_MAX || !descriptor(item, &a->loop_events[count]))
            return false;
        count++;
    }
    bool agrees = a->loops == 0 || a->loops == count;
    a->loops = count;
    return agrees;
}

static bool take_loops(struct serve_arguments *a, const char *text)
{
    uint64_t loops;
    if (!number(text, CHANNEL_LOOPS_MAX, &loops) || loops == 0 || (a->loops && a->loops != loops))
        return false;
    a->loops = (uint32_t)loops;
    return true;
}

static bool add_option(struct serve_arguments *a, struct str name, struct str value)
{
    struct model_arguments *m = a->model_count ? &a->models[a->model_count - 1] : NULL;
    if (!m || m->option_count == OPTIONS_MAX || !name.len)
        return false;
    m->options[m->option_count++] = (struct engine_option){ name, value };
    return true;
}

/* A scalar's text, kept for the life of the process. */
static bool keep_text(struct json_value value, struct str *out)
{
    struct str text;
    char number_text[JSON_NUMBER_MAX];
    bool flag;
    int64_t integer;
    double real;
    if (json_bool(value, &flag))
        text = flag ? STR("true") : STR("false");
    else if (json_int64(value, &integer))
        text = (struct str){ number_text, json_format_i64(integer, number_text) };
    else if (json_double(value, &real))
        text = (struct str){ number_text, json_format_f64(real, number_text) };
    else if (!json_string(value, &text))
        return false;
    char *copy = strndup(text.data, text.len);
    *out = (struct str){ copy, text.len };
    return copy != NULL;
}

static bool take_object(struct serve_arguments *a, struct json_reader *reader, const char *text)
{
    struct json_value root, value;
    struct str key;
    if (json_parse(reader, str_of(text), 0, 1 << 20, &root, NULL) != MAAS_OK ||
        json_type(root) != JSON_OBJECT)
        return false;
    struct json_iter iter = json_children(root);
    while (json_next(&iter, &key, &value)) {
        struct str name = { strndup(key.data, key.len), key.len }, kept;
        if (!name.data || !keep_text(value, &kept) || !add_option(a, name, kept))
            return false;
    }
    return true;
}

static bool take_options(struct serve_arguments *a, const char *text)
{
    const char *equals = strchr(text, '=');
    if (text[0] != '{' && text[0])
        return equals &&
               add_option(a, (struct str){ text, (size_t)(equals - text) }, str_of(equals + 1));
    if (!text[0])
        return true;
    struct json_reader *reader = json_reader_new();
    bool ok = reader && take_object(a, reader, text);
    json_reader_free(reader);
    return ok;
}

static bool take_root(struct serve_arguments *a, const char *root)
{
    if (a->model_count == CHANNEL_MODELS_MAX)
        return false;
    a->models[a->model_count++].root = root;
    return true;
}

static bool take(struct serve_arguments *a, const char *name, const char *value)
{
    uint64_t n = 0;
    if (strcmp(name, "--memfd") == 0)
        return descriptor(value, &a->memfd);
    if (strcmp(name, "--event") == 0)
        return descriptor(value, &a->event);
    if (strcmp(name, "--ready") == 0)
        return descriptor(value, &a->ready);
    if (strcmp(name, "--loops") == 0)
        return take_loops(a, value);
    if (strcmp(name, "--loop-events") == 0)
        return take_loop_events(a, value);
    if (strcmp(name, "--plugin") == 0)
        return (a->plugin = value) != NULL;
    if (strcmp(name, "--root") == 0)
        return take_root(a, value);
    if (strcmp(name, "--sha256") == 0)
        return a->has_sha256 = hex_decode(str_of(value), a->sha256, sizeof(a->sha256));
    if (strcmp(name, "--options") == 0)
        return take_options(a, value);
    if (strcmp(name, "--memory-max") == 0)
        return number(value, UINT64_MAX, &a->memory_max);
    if (strcmp(name, "--parent") == 0 && number(value, INT32_MAX, &n))
        return (a->parent = (pid_t)n) > 0;
    return false;
}

maas_status arguments_parse(int argc, char **argv, struct serve_arguments *out, maas_error *error)
{
    memset(out, 0, sizeof(*out));
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return fail(error, MAAS_E_INVALID, "'%s' lacks its value", argv[i]);
        if (!take(out, argv[i], argv[i + 1]))
            return fail(error, MAAS_E_INVALID, "'%s %s' is not understood", argv[i], argv[i + 1]);
    }
    if (!out->memfd || !out->event || !out->ready || !out->loop_events[0] || !out->plugin ||
        !out->model_count || !out->parent || !out->has_sha256)
        return fail(error, MAAS_E_INVALID,
                    "serve needs --memfd --event --loop-events --ready --plugin --sha256 --root "
                    "--parent");
    return MAAS_OK;
}
