/*
 * scan.c: a scanner of one pass and no recursion. It walks the members of the top-level object,
 * compares each key with `model`, and steps over the values by counting brackets outside of
 * strings. A body longer than the window is read up to the window only: if the member was found
 * there it is taken (a second one further on is found by the worker's decoder, which refuses
 * duplicates).
 *
 * A key written with escapes (mod\u0065l) is not recognised here; the worker's decoder unescapes
 * keys and refuses such a "model" as different from the route, so the two cannot disagree
 * unnoticed.
 */
#include "api/scan.h"

#include <string.h>

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

/* At an opening quote: gives the raw inside and steps behind the closing quote. */
static bool read_string(struct cursor *c, struct str *out, bool *out_escaped)
{
    const char *from = ++c->at;
    *out_escaped = false;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            *out_escaped = true;
            c->at++;
        }
        c->at++;
    }
    if (c->at >= c->end)
        return false;
    *out = (struct str){ from, (size_t)(c->at - from) };
    c->at++;
    return true;
}

/* Steps over one value; false when the text ends inside of it. */
static bool skip_value(struct cursor *c)
{
    size_t depth = 0;
    struct str inside;
    bool escaped;
    while (c->at < c->end) {
        char ch = *c->at;
        if (ch == '"') {
            if (!read_string(c, &inside, &escaped))
                return false;
            if (depth == 0)
                return true;
            continue;
        }
        if (depth == 0 && (ch == ',' || ch == '}' || ch == ']'))
            return true;
        if (ch == '{' || ch == '[')
            depth++;
        else if (ch == '}' || ch == ']')
            depth--;
        c->at++;
        if (depth == 0 && (ch == '}' || ch == ']'))
            return true;
    }
    return false;
}

enum member { MEMBER_OTHER, MEMBER_MODEL, MEMBER_END, MEMBER_CUT, MEMBER_BAD };

static enum member read_member(struct cursor *c, struct str *out_value)
{
    struct str key;
    bool escaped;
    skip_space(c);
    if (c->at >= c->end)
        return MEMBER_CUT;
    if (*c->at == '}')
        return MEMBER_END;
    if (*c->at != '"')
        return MEMBER_BAD;
    if (!read_string(c, &key, &escaped))
        return MEMBER_CUT;
    skip_space(c);
    if (c->at >= c->end)
        return MEMBER_CUT;
    if (*c->at++ != ':')
        return MEMBER_BAD;
    skip_space(c);
    if (escaped || !str_eq(key, STR("model")))
        return skip_value(c) ? MEMBER_OTHER : MEMBER_CUT;
    if (c->at >= c->end)
        return MEMBER_CUT;
    if (*c->at != '"')
        return MEMBER_BAD;
    if (!read_string(c, out_value, &escaped))
        return MEMBER_CUT;
    return escaped ? MEMBER_BAD : MEMBER_MODEL;
}

enum scan_result scan_model(struct str body, struct str *out_value)
{
    bool cut = body.len > SCAN_WINDOW, found = false;
    struct cursor c = { body.data, body.data + (cut ? SCAN_WINDOW : body.len) };
    skip_space(&c);
    if (c.at >= c.end || *c.at++ != '{')
        return SCAN_BAD;
    for (;;) {
        struct str value;
        enum member m = read_member(&c, &value);
        if (m == MEMBER_CUT)
            return found ? SCAN_FOUND : cut ? SCAN_TOO_FAR : SCAN_BAD;
        if (m == MEMBER_END)
            return found ? SCAN_FOUND : SCAN_ABSENT;
        if (m == MEMBER_BAD)
            return SCAN_BAD;
        if (m == MEMBER_MODEL) {
            if (found)
                return SCAN_DUPLICATE;
            found = true;
            *out_value = value;
        }
        skip_space(&c);
        if (c.at < c.end && *c.at == ',')
            c.at++;
        else if (c.at < c.end && *c.at != '}')
            return SCAN_BAD;
    }
}
