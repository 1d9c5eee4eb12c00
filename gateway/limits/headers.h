/*
 * headers.h: a verdict as response headers: the IETF draft's RateLimit fields, the x-ratelimit-*
 * family of the OpenAI clients, and Retry-After. Pure; no allocation, no printf. [any]
 *
 *     ratelimit-policy: "key";q=100;w=60        x-ratelimit-limit-requests: 100
 *     ratelimit: "key";r=50;t=30                x-ratelimit-remaining-requests: 50
 *     retry-after: 3           (on NO)          x-ratelimit-reset-requests: 1m4.5s
 *     x-should-retry: true     (on NO)
 *
 * The name is followed by what is counted when that is not requests ("tenant-units",
 * "key-concurrency", "tenant-day"); units are told as x-ratelimit-*-tokens. `t` is when the limit
 * is whole again; on NO, when the request would pass: then Retry-After says the same. A request
 * that can never pass has no Retry-After and x-should-retry: false.
 */
#ifndef MAAS_LIMITS_HEADERS_H
#define MAAS_LIMITS_HEADERS_H

#include "limits/limits.h"

#define LIMITS_HEADERS_MAX   7
#define LIMITS_HEADERS_BYTES 256

struct limits_header {
    struct str name, value; /* static; in the buffer */
};
/* Returns how many; 0 for a verdict without a limit. */
size_t limits_headers(const struct limits_verdict *verdict, char buffer[LIMITS_HEADERS_BYTES],
                      struct limits_header out[LIMITS_HEADERS_MAX]);

#endif
