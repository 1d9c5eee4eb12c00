/*
 * redis.h: one pipelined Redis connection on an event loop (hiredis async behind it). [loop]
 *
 * Reconnects for ever with backoff and jitter (50 ms to 1 s); each command has a deadline; a
 * breaker opens after 3 timeouts in a row and half-opens on reconnect, so a hanging Redis costs
 * nobody more than one deadline. hiredis.h appears behind this module only. Callbacks are never run
 * from inside the call that submits.
 */
#ifndef MAAS_STORE_REDIS_H
#define MAAS_STORE_REDIS_H

#include "base/base.h"
#include "net/loop.h"

struct redis;

struct redis_reply { /* borrowed during the callback */
    enum { REDIS_NIL, REDIS_INT, REDIS_STR, REDIS_ARRAY, REDIS_ERROR } kind;
    int64_t integer;
    struct str text;
    const struct redis_reply *items;
    size_t count;
};
/* status: MAAS_OK with a reply (which may be REDIS_ERROR), MAAS_E_DEADLINE, or MAAS_E_UNAVAILABLE;
 * reply is NULL then. */
typedef void (*redis_done)(void *arg, maas_status status, const struct redis_reply *reply);

/* address: "unix:/path" or "host:port"; resolved on connect. Returns at once; the connection comes
 * in its time. */
maas_status MUST_USE redis_new(struct loop *loop, const char *address, uint32_t call_timeout_ms,
                               struct redis **out, maas_error *error);
void redis_free(struct redis *redis);        /* pending calls are told MAAS_E_UNAVAILABLE first */
bool redis_is_up(const struct redis *redis); /* connected and the breaker is closed */
uint64_t redis_calls(const struct redis *redis); /* [any] commands sent, for metrics */

/* Loads the script on every connect and calls it by its SHA-1; a NOSCRIPT answer reloads and
 * repeats once. */
struct redis_script;
struct redis_script *redis_script_new(struct redis *redis, const char *lua);
void redis_script_call(struct redis_script *script, const struct str *keys, size_t key_count,
                       const struct str *args, size_t arg_count, redis_done done, void *arg);
void redis_call(struct redis *redis, const struct str *words, size_t count, redis_done done,
                void *arg);

#endif
