/*
 * redis.c: one pipelined Redis connection, hiredis 0.14 behind it.
 *
 * The state:   WAITING --timer--> CONNECTING --PONG--> UP <--late answer-- SUSPECT
 *                 ^____________________|________________|____missed deadline_^ |
 *                 |_____________________________________________silence________|
 *
 * hiredis has no deadlines of its own: calls stand in a list in the order of theirs, one timer for
 * the first. A call that missed its deadline was told so and stays with hiredis as a husk until its
 * answer comes or the connection goes. Before a deadline counts as missed the socket is read once
 * more: the answer may lie there while it was this loop that was late.
 *
 * hiredis runs pending callbacks with a nil answer from inside redisAsyncFree; we call that from
 * timers and redis_free only. Whatever ends a connection ends in ev_cleanup(), the one place that
 * forgets it. The descriptor is watched through a dup (watch.c), so each side closes its own.
 *
 * Rejected: asking hiredis to reconnect (0.14 cannot in async mode); a queue of calls while the
 * connection is away (an old answer is worth less than a prompt refusal); SHA-1 here (SCRIPT LOAD
 * tells it).
 */
#include "store/redis.h"

#include <fcntl.h>
#include <hiredis/async.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/resp.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 250 /* limits count on all being back within GCRA_GRACE_US */
#define HANDSHAKE_MS   500 /* connect and PING */
#define SILENCE_MS     500
#define STRIKES_MAX    3
#define CALLS_MAX      4096
#define SHA_HEX        40

enum redis_state { STATE_WAITING, STATE_CONNECTING, STATE_UP, STATE_SUSPECT, STATE_CLOSED };

struct call { /* lives until hiredis gives it back, or from `refused` until the next turn */
    struct call *next, *prev;
    struct redis *redis;
    redis_done done; /* NULL: was told already */
    void *arg;
    uint64_t deadline_ns;
    const struct redis_script *script; /* else NULL: a plain call */
    char *text;                        /* a script's command, kept for the repetition */
    size_t len, tail;                  /* its length; where the number of keys stands */
};

struct redis_script {
    struct redis_script *next;
    struct redis *redis;
    struct str lua;
    char sha[SHA_HEX + 1]; /* empty: not told yet */
};

struct redis {
    struct loop *loop;
    enum redis_state state;
    redisAsyncContext *ac; /* NULL in WAITING */
    struct watch *watch;
    struct redis_script *scripts;
    struct call pending, refused; /* rings through a call that only marks the ends */
    size_t pending_count;
    struct timer state_timer, deadline_timer, refuse_timer;
    uint32_t call_timeout_ms, attempts, strikes, random;
    bool away_told; /* in the log */
    unsigned in_done;
    char *host; /* or the path of a Unix socket, port 0 */
    int port;
    _Atomic uint64_t calls;
};

#define OWNER_OF(timer, member) ((struct redis *)((char *)(timer)-offsetof(struct redis, member)))

static void state_set(struct redis *r, enum redis_state next)
{
    static const uint8_t legal[] = {
        [STATE_WAITING] = 1 << STATE_CONNECTING | 1 << STATE_CLOSED,
        [STATE_CONNECTING] = 1 << STATE_WAITING | 1 << STATE_UP | 1 << STATE_CLOSED,
        [STATE_UP] = 1 << STATE_SUSPECT | 1 << STATE_WAITING | 1 << STATE_CLOSED,
        [STATE_SUSPECT] = 1 << STATE_UP | 1 << STATE_WAITING | 1 << STATE_CLOSED,
        [STATE_CLOSED] = 0,
    };
    CHECK(legal[r->state] >> next & 1);
    r->state = next;
}

/* ---- calls */

static void call_push(struct call *ends, struct call *c)
{
    c->prev = ends->prev;
    c->next = ends;
    c->prev->next = c->next->prev = c;
}

static void call_unlink(struct call *c)
{
    c->next->prev = c->prev;
    c->prev->next = c->next;
}

static void call_free(struct call *c)
{
    free(c->text);
    free(c);
}

/* Tells the caller, once. */
static void call_tell(struct call *c, maas_status status, const struct redis_reply *reply)
{
    redis_done done = c->done;
    c->done = NULL;
    c->redis->in_done++;
    done(c->arg, status, reply);
    c->redis->in_done--;
}

static void pending_remove(struct call *c)
{
    call_unlink(c);
    c->redis->pending_count--;
}

static void deadline_start(struct redis *r)
{
    const struct call *first = r->pending.next;
    uint64_t now_ns = loop_now_ns(r->loop);
    if (first == &r->pending)
        timer_stop(&r->deadline_timer);
    else
        timer_start(r->loop, &r->deadline_timer,
                    first->deadline_ns > now_ns ? (first->deadline_ns - now_ns + 999999) / 1000000
                                                : 0);
}

static void refused_tell_all(struct redis *r)
{
    while (r->refused.next != &r->refused) {
        struct call *c = r->refused.next;
        call_unlink(c);
        call_tell(c, MAAS_E_UNAVAILABLE, NULL);
        call_free(c);
    }
}

static void on_refuse(struct timer *timer)
{
    refused_tell_all(OWNER_OF(timer, refuse_timer));
}

static void call_refuse(struct call *c)
{
    struct redis *r = c->redis;
    call_push(&r->refused, c);
    if (r->state != STATE_CLOSED)
        timer_start(r->loop, &r->refuse_timer, 0);
}

static const struct redis_reply *answer_convert(const redisReply *reply, struct resp_tree *tree)
{
    resp_tree_init(tree);
    return resp_tree_of(tree, reply);
}

static void on_reply(redisAsyncContext *ac, void *reply_any, void *call_any);

/* True when the script went out whole because Redis did not know it. */
static bool call_repeat(struct call *c, const redisReply *reply)
{
    if (!c->script || !c->done || !c->text || reply->type != REDIS_REPLY_ERROR ||
        strncmp(reply->str, "NOSCRIPT", 8) != 0 || c->redis->state != STATE_UP)
        return false;
    struct str head[] = { STR("EVAL"), c->script->lua };
    size_t head_len, words = resp_count(c->text);
    char *text = resp_format(words, head, COUNT_OF(head), c->len - c->tail, &head_len);
    if (!text)
        return false;
    memcpy(text + head_len, c->text + c->tail, c->len - c->tail);
    int rc =
        redisAsyncFormattedCommand(c->redis->ac, on_reply, c, text, head_len + c->len - c->tail);
    free(text);
    free(c->text);
    c->text = NULL; /* once */
    atomic_fetch_add_explicit(&c->redis->calls, 1, memory_order_relaxed);
    return rc == REDIS_OK;
}

/* An answer, punctual or late, shows that Redis lives; after the last strike it comes too late. */
static void note_answer(struct redis *r, bool punctual)
{
    if (punctual)
        r->strikes = 0;
    if (r->state == STATE_SUSPECT && r->strikes < STRIKES_MAX) {
        state_set(r, STATE_UP);
        timer_stop(&r->state_timer);
    }
}

static void on_reply(redisAsyncContext *ac, void *reply_any, void *call_any)
{
    (void)ac;
    struct call *c = call_any;
    struct redis *r = c->redis;
    const redisReply *reply = reply_any;
    if (reply) {
        note_answer(r, c->done != NULL);
        if (call_repeat(c, reply))
            return;
    } else if (r->state == STATE_UP || r->state == STATE_SUSPECT) {
        state_set(r, STATE_WAITING); /* the connection is going; ev_cleanup follows */
    }
    if (c->done) {
        struct resp_tree tree;
        const struct redis_reply *answer = reply ? answer_convert(reply, &tree) : NULL;
        pending_remove(c);
        call_tell(c, answer ? MAAS_OK : MAAS_E_UNAVAILABLE, answer);
        if (reply)
            resp_tree_release(&tree);
    }
    call_free(c);
}

static void call_submit(struct call *c, const char *text, size_t len)
{
    struct redis *r = c->redis;
    if (r->state != STATE_UP || r->pending_count >= CALLS_MAX || !text ||
        redisAsyncFormattedCommand(r->ac, on_reply, c, text, len) != REDIS_OK) {
        call_refuse(c);
        return;
    }
    atomic_fetch_add_explicit(&r->calls, 1, memory_order_relaxed);
    c->deadline_ns = loop_now_ns(r->loop) + 1000000ull * r->call_timeout_ms;
    call_push(&r->pending, c);
    if (r->pending_count++ == 0)
        deadline_start(r);
}

static struct call *call_new(struct redis *r, redis_done done, void *arg)
{
    struct call *c = calloc(1, sizeof(*c));
    CHECK(c); /* there is nowhere to tell it */
    c->redis = r;
    c->done = done;
    c->arg = arg;
    return c;
}

void redis_call(struct redis *redis, const struct str *words, size_t count, redis_done done,
                void *arg)
{
    size_t len = 0;
    char *text = resp_format(count, words, count, 0, &len);
    call_submit(call_new(redis, done, arg), text, len);
    free(text);
}

void redis_script_call(struct redis_script *script, const struct str *keys, size_t key_count,
                       const struct str *args, size_t arg_count, redis_done done, void *arg)
{
    struct call *c = call_new(script->redis, done, arg);
    struct str by_sha[] = { STR("EVALSHA"), { script->sha, SHA_HEX } };
    struct str whole[] = { STR("EVAL"), script->lua };
    char number[24];
    struct str key_number = { number, (size_t)snprintf(number, sizeof(number), "%zu", key_count) };
    size_t tail_size =
        resp_size(&key_number, 1) + resp_size(keys, key_count) + resp_size(args, arg_count);
    c->script = script;
    c->text = resp_format(3 + key_count + arg_count, script->sha[0] ? by_sha : whole, 2, tail_size,
                          &c->tail);
    if (c->text) {
        char *end = resp_put(c->text + c->tail, &key_number, 1);
        end = resp_put(end, keys, key_count);
        end = resp_put(end, args, arg_count);
        c->len = (size_t)(end - c->text);
    }
    call_submit(c, c->text, c->len);
}

/* ---- the event library's five hooks, over a watch */

static void ev_add_read(void *arg)
{
    watch_want_read(((struct redis *)arg)->watch, true);
}

static void ev_del_read(void *arg)
{
    watch_want_read(((struct redis *)arg)->watch, false);
}

static void ev_add_write(void *arg)
{
    watch_want_write(((struct redis *)arg)->watch, true);
}

static void ev_del_write(void *arg)
{
    watch_want_write(((struct redis *)arg)->watch, false);
}

static void retry_start(struct redis *r)
{
    uint32_t ms = r->attempts < 5 ? BACKOFF_MIN_MS << r->attempts++ : BACKOFF_MAX_MS;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    r->random = r->random * 1664525u + 1013904223u;
    timer_start(r->loop, &r->state_timer, ms / 2 + (r->random >> 8) % (ms / 2 + 1));
    if (!r->away_told)
        LOG(LOG_WARN, "redis.away", F_STR("address", r->host), F_INT("port", r->port));
    r->away_told = true;
}

/* The context is going; hiredis has told all calls. */
static void ev_cleanup(void *arg)
{
    struct redis *r = arg;
    watch_free(r->watch);
    r->watch = NULL;
    r->ac = NULL;
    if (r->state == STATE_CLOSED)
        return;
    if (r->state != STATE_WAITING)
        state_set(r, STATE_WAITING);
    retry_start(r);
}

static void on_readable(void *arg)
{
    redisAsyncHandleRead(((struct redis *)arg)->ac);
}

static void on_writable(void *arg)
{
    redisAsyncHandleWrite(((struct redis *)arg)->ac);
}

/* ---- connecting */

static void on_loaded(redisAsyncContext *ac, void *reply_any, void *script_any)
{
    (void)ac;
    const redisReply *reply = reply_any;
    struct redis_script *script = script_any;
    if (reply && reply->type == REDIS_REPLY_STRING && reply->len == SHA_HEX)
        memcpy(script->sha, reply->str, SHA_HEX);
}

static void script_load(struct redis_script *script)
{
    const char *words[] = { "SCRIPT", "LOAD", script->lua.data };
    const size_t sizes[] = { 6, 4, script->lua.len };
    (void)redisAsyncCommandArgv(script->redis->ac, on_loaded, script, 3, words, sizes);
}

/* Anything but PONG (Redis loads its data, wants a password) leaves it to the handshake's timer. */
static void on_pong(redisAsyncContext *ac, void *reply_any, void *redis_any)
{
    (void)ac;
    const redisReply *reply = reply_any;
    struct redis *r = redis_any;
    if (!reply || reply->type != REDIS_REPLY_STATUS || r->state != STATE_CONNECTING)
        return;
    state_set(r, STATE_UP);
    timer_stop(&r->state_timer);
    r->attempts = 0;
    r->strikes = 0;
    r->away_told = false;
    LOG(LOG_INFO, "redis.up", F_STR("address", r->host), F_INT("port", r->port));
}

static void on_connected(const redisAsyncContext *ac, int status)
{
    struct redis *r = ac->data;
    if (status != REDIS_OK)
        return; /* ev_cleanup follows */
    for (struct redis_script *script = r->scripts; script; script = script->next)
        script_load(script);
    (void)redisAsyncCommand(r->ac, on_pong, r, "PING");
}

static void connect_start(struct redis *r)
{
    static const struct watch_ops ops = { on_readable, on_writable };
    redisAsyncContext *ac =
        r->port ? redisAsyncConnect(r->host, r->port) : redisAsyncConnectUnix(r->host);
    if (!ac || ac->err || fcntl(ac->c.fd, F_SETFD, FD_CLOEXEC) != 0 ||
        watch_new(r->loop, ac->c.fd, &ops, r, &r->watch, NULL) != MAAS_OK) {
        if (ac)
            redisAsyncFree(ac);
        retry_start(r);
        return;
    }
    state_set(r, STATE_CONNECTING);
    r->ac = ac;
    ac->data = r;
    ac->ev.data = r;
    ac->ev.addRead = ev_add_read;
    ac->ev.delRead = ev_del_read;
    ac->ev.addWrite = ev_add_write;
    ac->ev.delWrite = ev_del_write;
    ac->ev.cleanup = ev_cleanup;
    redisAsyncSetConnectCallback(ac, on_connected);
    timer_start(r->loop, &r->state_timer, HANDSHAKE_MS);
}

/* From timers only, never from inside hiredis. */
static void connection_drop(struct redis *r)
{
    state_set(r, STATE_WAITING);
    redisAsyncFree(r->ac);
}

static void on_state(struct timer *timer)
{
    struct redis *r = OWNER_OF(timer, state_timer);
    if (r->state == STATE_WAITING)
        connect_start(r);
    else
        connection_drop(r); /* the handshake took too long, or Redis stayed silent */
}

/* ---- deadlines */

static bool missed(const struct redis *r)
{
    return r->pending.next != &r->pending && r->pending.next->deadline_ns <= loop_now_ns(r->loop);
}

static void suspect_start(struct redis *r)
{
    if (r->state != STATE_UP)
        return;
    state_set(r, STATE_SUSPECT);
    timer_start(r->loop, &r->state_timer, ++r->strikes < STRIKES_MAX ? SILENCE_MS : 0);
    if (r->strikes >= STRIKES_MAX)
        r->attempts = 4; /* try again in about a second */
}

static void on_deadline(struct timer *timer)
{
    struct redis *r = OWNER_OF(timer, deadline_timer);
    if (missed(r) && r->ac)
        redisAsyncHandleRead(r->ac);
    while (missed(r)) {
        struct call *c = r->pending.next;
        pending_remove(c);
        suspect_start(r);
        call_tell(c, MAAS_E_DEADLINE, NULL);
    }
    deadline_start(r);
}

/* ---- life */

static bool address_parse(struct redis *r, const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) {
        r->host = strdup(address + 5);
        return r->host && r->host[0];
    }
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (port == 0 || port > UINT16_MAX || *end)
        return false;
    r->port = (int)port;
    r->host = strndup(address, (size_t)(colon - address));
    return r->host && r->host[0];
}

maas_status redis_new(struct loop *loop, const char *address, uint32_t call_timeout_ms,
                      struct redis **out, maas_error *error)
{
    struct redis *r = calloc(1, sizeof(*r));
    if (!r)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a redis connection");
    if (!address_parse(r, address)) {
        free(r->host);
        free(r);
        return fail(error, MAAS_E_INVALID, "redis address '%s' is not unix:/path or host:port",
                    address);
    }
    r->loop = loop;
    r->call_timeout_ms = call_timeout_ms;
    r->pending.next = r->pending.prev = &r->pending;
    r->refused.next = r->refused.prev = &r->refused;
    r->state_timer.fire = on_state;
    r->deadline_timer.fire = on_deadline;
    r->refuse_timer.fire = on_refuse;
    random_bytes(&r->random, sizeof(r->random));
    timer_start(loop, &r->state_timer, 0);
    *out = r;
    return MAAS_OK;
}

bool redis_is_up(const struct redis *redis)
{
    return redis->state == STATE_UP;
}

uint64_t redis_calls(const struct redis *redis)
{
    return atomic_load_explicit(&redis->calls, memory_order_relaxed);
}

struct redis_script *redis_script_new(struct redis *redis, const char *lua)
{
    struct redis_script *script = calloc(1, sizeof(*script));
    if (!script)
        return NULL;
    script->redis = redis;
    script->lua = str_of(lua);
    script->next = redis->scripts;
    redis->scripts = script;
    if (redis->state == STATE_UP)
        script_load(script);
    return script;
}

void redis_free(struct redis *redis)
{
    if (!redis)
        return;
    CHECK(redis->in_done == 0);
    timer_stop(&redis->state_timer);
    state_set(redis, STATE_CLOSED);
    if (redis->ac)
        redisAsyncFree(redis->ac);
    refused_tell_all(redis);
    timer_stop(&redis->deadline_timer);
    timer_stop(&redis->refuse_timer);
    while (redis->scripts) {
        struct redis_script *script = redis->scripts;
        redis->scripts = script->next;
        free(script);
    }
    free(redis->host);
    free(redis);
}
