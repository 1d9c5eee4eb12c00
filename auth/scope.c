/*
 * scope.c: scopes and their globs. The glob is matched with one point of return, so its cost is
 * bounded by the product of the two lengths.
 */
#include "auth/scope.h"

#include <string.h>

static const struct {
    const char *text;
    enum scope_kind kind;
} plain_scopes[] = {
    { "train", SCOPE_TRAIN },
    { "models:write", SCOPE_MODELS_WRITE },
    { "usage:read", SCOPE_USAGE_READ },
    { "keys:write", SCOPE_KEYS_WRITE },
};

static bool glob_is_sane(struct str glob)
{
    for (size_t i = 0; i < glob.len; i++) {
        char c = glob.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
              c == '-' || c == '*'))
            return false;
    }
    return glob.len > 0;
}

static bool kind_of(struct str text, enum scope_kind *out)
{
    if (str_prefix(text, STR("infer:"))) {
        *out = SCOPE_INFER;
        return glob_is_sane((struct str){ text.data + 6, text.len - 6 });
    }
    for (size_t i = 0; i < COUNT_OF(plain_scopes); i++)
        if (str_eq(text, str_of(plain_scopes[i].text))) {
            *out = plain_scopes[i].kind;
            return true;
        }
    return false;
}

maas_status scope_add(struct scope_set *set, struct str text, maas_error *error)
{
    enum scope_kind kind;
    if (text.len >= SCOPE_TEXT_MAX || !kind_of(text, &kind))
        return fail(error, MAAS_E_INVALID,
                    "scope '%.*s' is not one of infer:<glob>, train, models:write, usage:read, "
                    "keys:write",
                    (int)(text.len < 64 ? text.len : 64), text.data);
    if (set->count == SCOPE_MAX)
        return fail(error, MAAS_E_EXHAUSTED, "more than %d scopes", SCOPE_MAX);
    memcpy(set->text[set->count], text.data, text.len);
    set->text[set->count++][text.len] = '\0';
    set->kinds = (uint8_t)(set->kinds | (1u << kind));
    set->infer_all |= str_eq(text, STR("infer:*"));
    return MAAS_OK;
}

bool scope_allows(const struct scope_set *set, enum scope_kind kind)
{
    return (set->kinds >> kind) & 1;
}

static bool glob_match(struct str glob, struct str name)
{
    size_t g = 0, n = 0, star = SIZE_MAX, back = 0;
    while (n < name.len) {
        if (g < glob.len && glob.data[g] == '*') {
            star = g++;
            back = n;
        } else if (g < glob.len && glob.data[g] == name.data[n]) {
            g++;
            n++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            n = ++back;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.data[g] == '*')
        g++;
    return g == glob.len;
}

bool scope_allows_infer(const struct scope_set *set, struct str deployment)
{
    if (set->infer_all)
        return true;
    for (uint32_t i = 0; i < set->count; i++) {
        struct str text = str_of(set->text[i]);
        if (str_prefix(text, STR("infer:")) &&
            glob_match((struct str){ text.data + 6, text.len - 6 }, deployment))
            return true;
    }
    return false;
}

static bool glob_is_covered(const struct scope_set *outer, struct str glob)
{
    for (uint32_t i = 0; i < outer->count; i++) {
        struct str text = str_of(outer->text[i]);
        /* A star of the inner glob is a letter like any other here, which only a star of the outer
         * one stands for: then so does it for whatever the inner star stands for. */
        if (str_prefix(text, STR("infer:")) &&
            glob_match((struct str){ text.data + 6, text.len - 6 }, glob))
            return true;
    }
    return false;
}

bool scope_covers(const struct scope_set *outer, const struct scope_set *inner)
{
    for (uint32_t i = 0; i < inner->count; i++) {
        struct str text = str_of(inner->text[i]);
        if (str_prefix(text, STR("infer:")) &&
            !glob_is_covered(outer, (struct str){ text.data + 6, text.len - 6 }))
            return false;
    }
    uint8_t plain = (uint8_t)(inner->kinds & ~(1u << SCOPE_INFER));
    return (plain & ~outer->kinds) == 0;
}
