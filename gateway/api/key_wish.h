/*
 * key_wish.h: what somebody wants of an API key, read from a control body: the same members and the
 * same checks for tenants and for operators. [any] pure.
 *
 *     {"name": "…", "scopes": ["infer:*", …], "allow": ["192.0.2.0/24", …],
 *      "not_before": "2026-01-31T12:00:00Z", "expires_at": "…"}
 */
#ifndef MAAS_API_KEY_WISH_H
#define MAAS_API_KEY_WISH_H

#include <jansson.h>

#include "auth/allow.h"
#include "auth/scope.h"
#include "base/buf.h"

struct key_wish { /* texts are the body's; data NULL: not mentioned */
    struct str name, not_before, expires_at;
    uint64_t not_before_us, expires_us;
    bool has_scopes, has_allow;
    struct scope_set scopes;
    struct allow_set allow;
    struct buf scopes_text, allow_text; /* as PostgreSQL writes arrays */
};

/* False with the member that is wrong and why. `whole`: name and scopes are required. Release the
 * wish in either case. */
bool key_wish_read(const json_t *body, bool whole, struct key_wish *out, char field[64],
                   char why[160]);
void key_wish_release(struct key_wish *wish);
/* The texts of a wish for SQL: NULL where nothing was mentioned. */
struct str key_wish_scopes(const struct key_wish *wish);
struct str key_wish_allow(const struct key_wish *wish);

#endif
