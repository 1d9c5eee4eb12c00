/*
 * redis.h: one pipelined Redis connection on an event loop (hiredis async behind it). [loop]
 *
 * Reconnects for ever with backoff and jitter (50 to 250 ms). Each call has a deadline. The
 * breaker: a missed deadline opens it at once (calls fail without waiting, so a hanging Redis costs
 * nobody more than one deadline); a late answer closes it again, so a hiccup costs no reconnect;
 * 500 ms of silence, or three missed deadlines without a punctual answer between them, drop the
 * connection. A new one counts as up only when Redis has answered a PING on it. hiredis.h appears
 * behind this module only. Callbacks are never run from inside the call that submits.
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

/* address: "unix:/path" or "host:port", copied; resolved on connect, blocking, so a host should be
 * a number or stand in /etc/hosts. Returns at once; the connection comes in its time. */
maas_status MUST_USE redis_new(struct loop *loop, const char *address, uint32_t call_timeout_ms,
                               struct redis **out, maas_error *error);
/* Pending calls are told MAAS_E_UNAVAILABLE first. Not from inside a callback. */
void redis_free(struct redis *redis);
bool redis_is_up(const struct redis *redis);     /* connected and the breaker is closed */
uint64_t redis_calls(const struct redis *redis); /* [any] commands sent, for metrics */

/*
 * Loads the script on every connect and calls it by its SHA-1; a NOSCRIPT answer sends it whole,
 * once. `lua` is borrowed and outlives the connection, which owns the script. NULL: no memory.
 * Words are copied before the call returns; a list may be NULL when its count is 0.
 */
struct redis_script;
struct redis_script *redis_script_new(struct redis *redis, const char *lua);
void redis_script_call(struct redis_script *script, const struct str *keys, size_t key_count,
                       const struct str *args, size_t arg_count, redis_done done, void *arg);
void redis_call(struct redis *redis, const struct str *words, size_t count, redis_done done,
                void *arg);

#endif
