/*
 * config.c: reads the configuration. Defaults, then the YAML file, then the environment, each
 * through one setter that knows the table of limits.def: names, kinds and bounds stand there once.
 *
 * The YAML is walked as libyaml's events with a path of keys, so "tls: {cert: x}" and "tls.cert: x"
 * are the same. Only maps of scalars are accepted; a key that stands twice is refused.
 */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define PATH_MAX_BYTES 128
#define DEPTH_MAX      4
#define FILE_MAX_BYTES ((size_t)1 << 20)

enum kind { KIND_TEXT, KIND_NUMBER, KIND_FLAG };

static const struct setting {
    const char *path, *help;
    enum kind kind;
    size_t offset;
    const char *text;
    uint64_t number, least, most;
} settings[] = {
#define TEXT(member, path, dflt, help)                                                             \
    { path, help, KIND_TEXT, offsetof(struct config, member), dflt, 0, 0, 0 },
#define NUMBER(member, path, dflt, least, most, help)                                              \
    { path, help, KIND_NUMBER, offsetof(struct config, member), NULL, dflt, least, most },
#define FLAG(member, path, dflt, help)                                                             \
    { path, help, KIND_FLAG, offsetof(struct config, member), NULL, dflt, 0, 1 },
#include "base/limits.def"
#undef TEXT
#undef NUMBER
#undef FLAG
};

static void *member_of(struct config *config, const struct setting *s)
{
    return (char *)config + s->offset;
}

/* ---- values */

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)text[0]))
        return false;
    uint64_t n = strtoull(text, &end, 10), unit = 1;
    if (*end == 'K' || *end == 'M' || *end == 'G') {
        unit = *end == 'K' ? 1u << 10 : *end == 'M' ? 1u << 20 : 1u << 30;
        end++;
    }
    if (*end || errno || n > UINT64_MAX / unit)
        return false;
    *out = n * unit;
    return true;
}

static maas_status set_number(uint64_t *at, const struct setting *s, const char *text,
                              maas_error *error)
{
    uint64_t n;
    if (!parse_number(text, &n))
        return fail(error, MAAS_E_INVALID,
                    "'%s' must be a whole number (K, M, G allowed), not '%.40s'", s->path, text);
    if (n < s->least || n > s->most)
        return fail(error, MAAS_E_INVALID, "'%s' must be %" PRIu64 " to %" PRIu64 ", not %.40s",
                    s->path, s->least, s->most, text);
    *at = n;
    return MAAS_OK;
}

static maas_status set_flag(bool *at, const struct setting *s, const char *text, maas_error *error)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return fail(error, MAAS_E_INVALID, "'%s' must be true or false, not '%.40s'", s->path,
                    text);
    *at = yes;
    return MAAS_OK;
}

static maas_status set_text(char **at, const char *text, maas_error *error)
{
    char *copy = strdup(text);
    if (!copy)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the configuration");
    free(*at);
    *at = copy;
    return MAAS_OK;
}

static maas_status set(struct config *config, const struct setting *s, const char *text,
                       maas_error *error)
{
    switch (s->kind) {
    case KIND_NUMBER:
        return set_number(member_of(config, s), s, text, error);
    case KIND_FLAG:
        return set_flag(member_of(config, s), s, text, error);
    case KIND_TEXT:
        break;
    }
    return set_text(member_of(config, s), text, error);
}

static maas_status set_defaults(struct config *config, maas_error *error)
{
    maas_status status = MAAS_OK;
    for (size_t i = 0; i < COUNT_OF(settings) && !status; i++) {
        const struct setting *s = &settings[i];
        if (s->kind == KIND_TEXT)
            status = set_text(member_of(config, s), s->text, error);
        else if (s->kind == KIND_NUMBER)
            *(uint64_t *)member_of(config, s) = s->number;
        else
            *(bool *)member_of(config, s) = s->number != 0;
    }
    return status;
}

/* ---- the environment: MAAS_ and the path in upper case, dots as underscores */

static maas_status set_from_environment(struct config *config, maas_error *error)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        char name[PATH_MAX_BYTES] = "MAAS_";
        size_t at = 5;
        for (const char *p = settings[i].path; *p && at < sizeof(name) - 1; p++)
            name[at++] = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        maas_status status = value ? set(config, &settings[i], value, error) : MAAS_OK;
        if (status) {
            char why[sizeof(error->text)];
            snprintf(why, sizeof(why), "%s", error ? error->text : "");
            return fail(error, status, "environment %s: %.150s", name, why);
        }
    }
    return MAAS_OK;
}

/* ---- YAML: reading */

struct reader {
    struct config *config;
    const char *file;
    char path[PATH_MAX_BYTES];
    size_t lengths[DEPTH_MAX + 1]; /* of the path at each depth */
    size_t depth;                  /* open maps */
    bool have_key;
    bool seen[COUNT_OF(settings)];
};

static maas_status refuse(const struct reader *r, const yaml_event_t *e, const char *what,
                          maas_error *error)
{
    return fail(error, MAAS_E_INVALID, "%s:%zu: %s", r->file, e->start_mark.line + 1, what);
}

static maas_status take_key(struct reader *r, const yaml_event_t *e, const char *key,
                            maas_error *error)
{
    size_t base = r->lengths[r->depth - 1];
    int n = snprintf(r->path + base, sizeof(r->path) - base, "%s%s", base ? "." : "", key);
    if (n < 0 || (size_t)n >= sizeof(r->path) - base)
        return refuse(r, e, "the key is too long", error);
    r->lengths[r->depth] = base + (size_t)n;
    r->have_key = true;
    return MAAS_OK;
}

static maas_status take_value(struct reader *r, const yaml_event_t *e, const char *value,
                              maas_error *error)
{
    char what[220];
    maas_error inner = MAAS_ERROR_INIT;
    r->have_key = false;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        if (strcmp(settings[i].path, r->path) != 0)
            continue;
        if (r->seen[i]) {
            snprintf(what, sizeof(what), "'%s' stands twice", r->path);
            return refuse(r, e, what, error);
        }
        r->seen[i] = true;
        return set(r->config, &settings[i], value, &inner) ? refuse(r, e, inner.text, error)
                                                           : MAAS_OK;
    }
    snprintf(what, sizeof(what), "unknown key '%s'", r->path);
    return refuse(r, e, what, error);
}

static bool is_null(const yaml_event_t *e, const char *text)
{
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (strcmp(text, "") == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static maas_status take_scalar(struct reader *r, const yaml_event_t *e, maas_error *error)
{
    char what[PATH_MAX_BYTES + 64];
    const char *text = (const char *)e->data.scalar.value;
    if (r->depth == 0)
        return refuse(r, e, "a map of settings is expected", error);
    if (strlen(text) != e->data.scalar.length)
        return refuse(r, e, "a NUL character is not accepted", error);
    if (!r->have_key)
        return take_key(r, e, text, error);
    if (!is_null(e, text))
        return take_value(r, e, text, error);
    snprintf(what, sizeof(what), "'%s' has no value (\"\" is the empty text)", r->path);
    return refuse(r, e, what, error);
}

static maas_status take_event(struct reader *r, const yaml_event_t *e, maas_error *error)
{
    switch (e->type) {
    case YAML_MAPPING_START_EVENT:
        if (r->depth > 0 && !r->have_key)
            return refuse(r, e, "a key must be plain text", error);
        if (r->depth == DEPTH_MAX)
            return refuse(r, e, "maps nest too deep", error);
        r->depth++;
        r->have_key = false;
        return MAAS_OK;
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return MAAS_OK;
    case YAML_SCALAR_EVENT:
        return take_scalar(r, e, error);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_ALIAS_EVENT:
        return refuse(r, e, "lists and aliases are not accepted", error);
    default:
        return MAAS_OK;
    }
}

static maas_status read_events(struct reader *r, yaml_parser_t *parser, maas_error *error)
{
    bool over = false;
    while (!over) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return fail(error, MAAS_E_INVALID, "%s:%zu: %s", r->file, parser->problem_mark.line + 1,
                        parser->problem ? parser->problem : "not YAML");
        maas_status status = take_event(r, &event, error);
        over = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (status)
            return status;
    }
    return MAAS_OK;
}

static maas_status read_file(struct config *config, const char *file, maas_error *error)
{
    struct reader reader = { .config = config, .file = file };
    yaml_parser_t parser;
    char *text;
    size_t len;
    maas_status status = file_read(file, FILE_MAX_BYTES, &text, &len, error);
    if (status)
        return status;
    if (!yaml_parser_initialize(&parser)) {
        free(text);
        return fail(error, MAAS_E_EXHAUSTED, "no memory to read '%s'", file);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    status = read_events(&reader, &parser, error);
    yaml_parser_delete(&parser);
    free(text);
    return status;
}

maas_status config_load(const char *file, struct config **out, maas_error *error)
{
    struct config *config = calloc(1, sizeof(*config));
    if (!config)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the configuration");
    maas_status status = set_defaults(config, error);
    if (!status && file)
        status = read_file(config, file, error);
    if (!status)
        status = set_from_environment(config, error);
    if (status) {
        config_free(config);
        return status;
    }
    *out = config;
    return MAAS_OK;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (settings[i].kind == KIND_TEXT)
            free(*(char **)member_of(config, &settings[i]));
    free(config);
}

/* ---- YAML: writing */

static void print_text(const char *path, const char *text)
{
    printf("\n%s: \"", path);
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            printf("\\x%02x", (unsigned)*text);
        else
            printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    printf("\"\n");
}

void config_print(const struct config *config)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const struct setting *s = &settings[i];
        const char *at = (const char *)config + s->offset;
        printf("# %s", s->help);
        if (s->kind == KIND_NUMBER)
            printf(" (%" PRIu64 " to %" PRIu64 ")\n%s: %" PRIu64 "\n", s->least, s->most, s->path,
                   *(const uint64_t *)(const void *)at);
        else if (s->kind == KIND_FLAG)
            printf("\n%s: %s\n", s->path, *(const bool *)(const void *)at ? "true" : "false");
        else
            print_text(s->path, *(char *const *)(const void *)at);
    }
}
