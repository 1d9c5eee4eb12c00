/*
 * maas/status.h: outcome codes and error text, shared by plugins, the engine and the gateway.
 *
 * The codes are the canonical RPC numbers, so one table maps a plugin's outcome to HTTP. They are
 * never renumbered or reused.
 */
#ifndef MAAS_STATUS_H
#define MAAS_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t maas_status;

enum {
    MAAS_OK = 0,
    MAAS_E_CANCELLED = 1,        /* the caller left, or its deadline passed while working */
    MAAS_E_UNKNOWN = 2,          /* no better word; avoid */
    MAAS_E_INVALID = 3,          /* the input is wrong; the text is shown to the caller */
    MAAS_E_DEADLINE = 4,         /* the deadline passed */
    MAAS_E_NOT_FOUND = 5,        /* a named thing does not exist */
    MAAS_E_EXISTS = 6,           /* the thing to be made exists already */
    MAAS_E_DENIED = 7,           /* known caller, not allowed */
    MAAS_E_EXHAUSTED = 8,        /* a limit or memory is used up */
    MAAS_E_PRECONDITION = 9,     /* the system's state forbids it */
    MAAS_E_ABORTED = 10,         /* lost a race; may be tried again */
    MAAS_E_RANGE = 11,           /* past the end of a valid range */
    MAAS_E_UNIMPLEMENTED = 12,   /* not supported */
    MAAS_E_INTERNAL = 13,        /* an invariant broke */
    MAAS_E_UNAVAILABLE = 14,     /* a part is away; try again later */
    MAAS_E_DATA_LOSS = 15,       /* stored bytes are damaged */
    MAAS_E_UNAUTHENTICATED = 16, /* no or wrong credentials */
};

/*
 * Where a failing function leaves its reason. The caller owns the storage and sets `size`
 * (MAAS_ERROR_INIT does); the callee writes at most sizeof(text) bytes, NUL included. English,
 * lower case, what failed first, the subject in quotes, no trailing dot. Untouched on success.
 * Frozen: it stays 256 bytes.
 */
typedef struct maas_error {
    uint32_t size;
    char text[252];
} maas_error;

#define MAAS_ERROR_INIT                                                                            \
    {                                                                                              \
        (uint32_t)sizeof(maas_error),                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

#ifdef __cplusplus
}
#endif

#endif
