/*
 * options.c: parses and checks options against a plugin's declarations. Every declared option gets
 * a value (given or default); an unknown or doubled one, a wrong kind, or a value out of its
 * choices is refused with its name.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

#define VALUE_MAX   4096
#define OPTIONS_MAX 64

static bool choice_has(const char *choices, struct str value)
{
    for (const char *at = choices; at;) {
        const char *bar = strchr(at, '|');
        struct str one = { at, bar ? (size_t)(bar - at) : strlen(at) };
        if (str_eq(one, value))
            return true;
        at = bar ? bar + 1 : NULL;
    }
    return false;
}

/* "least..most". The dots are looked for first: strtod would take one of them for a decimal point.
 */
static bool range_has(const char *range, double value)
{
    char least[32];
    const char *dots = strstr(range, "..");
    if (!dots || (size_t)(dots - range) >= sizeof(least))
        return false;
    memcpy(least, range, (size_t)(dots - range));
    least[dots - range] = '\0';
    return value >= strtod(least, NULL) && value <= strtod(dots + 2, NULL);
}

static bool parse_value(const maas_option_decl *decl, const char *text, maas_option *option)
{
    char *end;
    errno = 0;
    switch (decl->kind) {
    case MAAS_OPTION_INT:
        option->integer = strtoll(text, &end, 10);
        return end != text && !*end && !errno &&
               (!decl->choices || range_has(decl->choices, (double)option->integer));
    case MAAS_OPTION_FLOAT:
        option->real = strtod(text, &end);
        return end != text && !*end && isfinite(option->real) &&
               (!decl->choices || range_has(decl->choices, option->real));
    case MAAS_OPTION_BOOL:
        option->integer = strcmp(text, "true") == 0;
        return option->integer || strcmp(text, "false") == 0;
    case MAAS_OPTION_TEXT:
        option->text = (maas_str){ text, strlen(text) };
        return !decl->choices || choice_has(decl->choices, str_of(text));
    }
    return false;
}

static bool declared_well(const maas_option_decl *decl)
{
    maas_option option;
    return decl->size >= sizeof(*decl) && decl->name && *decl->name &&
           decl->kind >= MAAS_OPTION_INT && decl->kind <= MAAS_OPTION_TEXT &&
           (!decl->fallback || parse_value(decl, decl->fallback, &option));
}

maas_status options_declared_well(const maas_option_decl *const *decls, maas_error *error)
{
    for (uint32_t n = 0; decls && decls[n]; n++) {
        if (n == OPTIONS_MAX)
            return fail(error, MAAS_E_INVALID, "more than %d options are declared", OPTIONS_MAX);
        if (!declared_well(decls[n]))
            return fail(error, MAAS_E_INVALID,
                        "option %u has no proper size, name or kind, or its default is not one "
                        "of its values",
                        n);
    }
    return MAAS_OK;
}

static const struct engine_option *find_given(const struct engine_option *given, size_t count,
                                              const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(given[i].name, str_of(name)))
            return &given[i];
    return NULL;
}

/* given[at] is declared, is the only one of its name, and its value can be a text. */
static maas_status check_given(const maas_option_decl *const *decls,
                               const struct engine_option *given, size_t at, maas_error *error)
{
    const struct engine_option *option = &given[at];
    size_t d = 0;
    while (decls && decls[d] && !str_eq(option->name, str_of(decls[d]->name)))
        d++;
    if (!decls || !decls[d])
        return fail(error, MAAS_E_INVALID, "unknown option '%.*s'",
                    (int)(option->name.len < 64 ? option->name.len : 64), option->name.data);
    if (find_given(given, at, decls[d]->name))
        return fail(error, MAAS_E_INVALID, "option '%s' is given twice", decls[d]->name);
    if (option->value.len > VALUE_MAX || memchr(option->value.data, 0, option->value.len))
        return fail(error, MAAS_E_INVALID, "option '%s' is longer than %d bytes or holds a NUL",
                    decls[d]->name, VALUE_MAX);
    return MAAS_OK;
}

static maas_status fill(struct arena *arena, const maas_option_decl *decl,
                        const struct engine_option *given, maas_option *option, maas_error *error)
{
    struct str value = given ? given->value : str_of(decl->fallback);
    if (!given && !decl->fallback)
        return fail(error, MAAS_E_INVALID, "option '%s' is required: %s", decl->name,
                    decl->help ? decl->help : "");
    maas_str copy = { value.data, value.len };
    if (!arena_text(arena, &copy))
        return fail(error, MAAS_E_EXHAUSTED, "no memory for options");
    const char *text = copy.data;
    *option = (maas_option){ .name = { decl->name, strlen(decl->name) },
                             .kind = decl->kind,
                             .given = given != NULL };
    if (parse_value(decl, text, option))
        return MAAS_OK;
    return fail(error, MAAS_E_INVALID, "option '%s' cannot be '%.60s'%s%s", decl->name, text,
                decl->choices ? ": it is one of " : "", decl->choices ? decl->choices : "");
}

maas_status options_parse(struct arena *arena, const maas_option_decl *const *decls,
                          const struct engine_option *given, size_t count, const maas_option **out,
                          uint32_t *out_count, struct str *out_wrong, maas_error *error)
{
    uint32_t n = 0;
    while (decls && decls[n])
        n++;
    maas_option *options = arena_alloc(arena, (n + 1) * sizeof(*options), 8);
    if (!options)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for options");
    maas_status status = MAAS_OK;
    for (size_t i = 0; i < count && !status; i++)
        if ((status = check_given(decls, given, i, error)) != MAAS_OK)
            *out_wrong = given[i].name;
    for (uint32_t i = 0; i < n && !status; i++)
        if ((status = fill(arena, decls[i], find_given(given, count, decls[i]->name), &options[i],
                           error)) != MAAS_OK)
            *out_wrong = str_of(decls[i]->name);
    if (status)
        return status;
    *out = options;
    *out_count = n;
    return MAAS_OK;
}
