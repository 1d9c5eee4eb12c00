/*
 * key_wish.c: one function a member. Lists become PostgreSQL's array text here: neither a scope nor
 * a range that was read holds a quote, a comma or a backslash.
 */
#include "api/key_wish.h"

#include <stdio.h>
#include <string.h>

#include "base/instant.h"

#define NAME_MAX_BYTES 200
#define LIST_TEXT_MAX  4096

struct reader {
    const json_t *body;
    struct key_wish *wish;
    char *field, *why;
};

static bool refuse(struct reader *r, const char *field, const char *why)
{
    snprintf(r->field, 64, "%s", field);
    snprintf(r->why, 160, "%s", why);
    return false;
}

static bool members_are_known(struct reader *r)
{
    static const char *const known[] = { "name", "scopes", "allow", "not_before", "expires_at" };
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)r->body, name, value)
    {
        size_t i = 0;
        while (i < COUNT_OF(known) && strcmp(known[i], name) != 0)
            i++;
        if (i == COUNT_OF(known))
            return refuse(r, name, "unknown field");
    }
    return true;
}

static bool text_of(struct reader *r, const char *name, size_t most, struct str *out)
{
    const json_t *value = json_object_get(r->body, name);
    *out = (struct str){ NULL, 0 };
    if (!value)
        return true;
    size_t len = json_string_length(value);
    const char *text = json_string_value(value);
    if (!text || len == 0 || len > most || strlen(text) != len)
        return refuse(r, name, "a text is expected, neither empty nor too long");
    *out = (struct str){ text, len };
    return true;
}

static bool moment_of(struct reader *r, const char *name, struct str *out, uint64_t *out_us)
{
    if (!text_of(r, name, 40, out))
        return false;
    if (out->data && !instant_parse(*out, out_us))
        return refuse(r, name, "a moment is expected, as 2026-01-31T12:00:00Z");
    return true;
}

static struct str item_of(const json_t *one)
{
    return json_is_string(one) ? (struct str){ json_string_value(one), json_string_length(one) }
                               : (struct str){ "", 0 };
}

static void add_item(struct buf *text, size_t i, struct str item)
{
    buf_str(text, i ? STR(",\"") : STR("{\""));
    buf_str(text, item);
    buf_str(text, STR("\""));
}

static bool read_scopes(struct reader *r)
{
    const json_t *list = json_object_get(r->body, "scopes"), *one;
    maas_error error = MAAS_ERROR_INIT;
    size_t i;
    if (!list)
        return true;
    if (json_array_size(list) == 0)
        return refuse(r, "scopes", "a list of one scope at least is expected");
    json_array_foreach(list, i, one)
    {
        if (scope_add(&r->wish->scopes, item_of(one), &error))
            return refuse(r, "scopes", error.text);
        add_item(&r->wish->scopes_text, i, item_of(one));
    }
    buf_str(&r->wish->scopes_text, STR("}"));
    r->wish->has_scopes = true;
    return true;
}

static bool read_allow(struct reader *r)
{
    const json_t *list = json_object_get(r->body, "allow"), *one;
    maas_error error = MAAS_ERROR_INIT;
    size_t i;
    if (!list)
        return true;
    if (!json_is_array(list))
        return refuse(r, "allow", "a list of addresses or ranges is expected");
    json_array_foreach(list, i, one)
    {
        if (allow_add(&r->wish->allow, item_of(one), &error))
            return refuse(r, "allow", error.text);
        add_item(&r->wish->allow_text, i, item_of(one));
    }
    buf_str(&r->wish->allow_text, i ? STR("}") : STR("{}"));
    r->wish->has_allow = true;
    return true;
}

bool key_wish_read(const json_t *body, bool whole, struct key_wish *out, char field[64],
                   char why[160])
{
    struct reader r = { body, out, field, why };
    memset(out, 0, sizeof(*out));
    buf_init(&out->scopes_text, LIST_TEXT_MAX);
    buf_init(&out->allow_text, LIST_TEXT_MAX);
    if (!members_are_known(&r) || !text_of(&r, "name", NAME_MAX_BYTES, &out->name) ||
        !read_scopes(&r) || !read_allow(&r) ||
        !moment_of(&r, "not_before", &out->not_before, &out->not_before_us) ||
        !moment_of(&r, "expires_at", &out->expires_at, &out->expires_us))
        return false;
    if (whole && !out->name.data)
        return refuse(&r, "name", "it is required");
    if (whole && !out->has_scopes)
        return refuse(&r, "scopes", "a list of one scope at least is expected");
    if (out->not_before.data && out->expires_at.data && out->not_before_us >= out->expires_us)
        return refuse(&r, "expires_at", "it must come after not_before");
    return true;
}

void key_wish_release(struct key_wish *wish)
{
    buf_release(&wish->scopes_text);
    buf_release(&wish->allow_text);
}

struct str key_wish_scopes(const struct key_wish *wish)
{
    return wish->has_scopes ? buf_view(&wish->scopes_text) : (struct str){ NULL, 0 };
}

struct str key_wish_allow(const struct key_wish *wish)
{
    return wish->has_allow ? buf_view(&wish->allow_text) : (struct str){ NULL, 0 };
}
