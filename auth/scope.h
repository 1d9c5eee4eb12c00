/*
 * scope.h: what a key may do. A scope is `infer:<glob>`, `train`, `models:write`, `usage:read`
 * or `keys:write`; a glob knows `*` only (any run of characters) and is matched against a
 * deployment's name. Deny by default: no scope, no right. [any] pure.
 */
#ifndef MAAS_AUTH_SCOPE_H
#define MAAS_AUTH_SCOPE_H

#include "base/base.h"

#define SCOPE_MAX      16
#define SCOPE_TEXT_MAX 96

enum scope_kind {
    SCOPE_INFER,
    SCOPE_TRAIN,
    SCOPE_MODELS_WRITE,
    SCOPE_USAGE_READ,
    SCOPE_KEYS_WRITE
};

struct scope_set {
    uint32_t count;
    uint8_t infer_all; /* 1 when `infer:*` is among them: the common case costs one load */
    uint8_t kinds;     /* bit per enum scope_kind */
    char text[SCOPE_MAX][SCOPE_TEXT_MAX];
};

/* Adds one scope from its text. MAAS_E_INVALID names what is wrong; MAAS_E_EXHAUSTED past
 * SCOPE_MAX. */
maas_status MUST_USE scope_add(struct scope_set *set, struct str text, maas_error *error);
bool scope_allows(const struct scope_set *set, enum scope_kind kind);
bool scope_allows_infer(const struct scope_set *set, struct str deployment);
/* Whatever `inner` allows, `outer` allows. In doubt false: each glob of inner must be covered by
 * one of outer. */
bool scope_covers(const struct scope_set *outer, const struct scope_set *inner);

#endif
