/*
 * redis.c: store/redis.h over a simulated connection, and the Redis behind it: what the scripts do,
 * by their models, on a memory that may go.
 */
#include "sim.h"
#include "store/redis.h"

#include <stdlib.h>
#include <string.h>

#define KEYS_MAX     64
#define DEADLINE_NS  (10 * MS)
#define RECONNECT_NS (250 * MS)

struct server redis_server;

static struct {
    struct gcra_heard heard;
    uint64_t born_us;
    size_t count;
    struct key {
        char name[128];
        struct gcra_state rate;
        struct places_state places;
    } keys[KEYS_MAX];
} memory;

void redis_forget(void)
{
    memory.count = 0;
    memory.born_us = 0;
    memory.heard = (struct gcra_heard){ 0 };
}

static struct key *key_of(const char *name)
{
    for (size_t i = 0; i < memory.count; i++)
        if (strcmp(memory.keys[i].name, name) == 0)
            return &memory.keys[i];
    CHECK(memory.count < KEYS_MAX);
    struct key *key = &memory.keys[memory.count++];
    memset(key, 0, sizeof(*key));
    memcpy(key->name, name, strlen(name) + 1);
    return key;
}

/* ---- requests as values */

enum { WORDS_MAX = 1 + 6 * SCRIPT_BUCKETS_MAX };
struct request {
    bool places;
    size_t keys, words;
    char key[SCRIPT_BUCKETS_MAX][128];
    char lessee[UUID_TEXT_MAX];
    uint64_t word[WORDS_MAX];
};
struct reply_of {
    size_t count;
    struct redis_reply items[2 * SCRIPT_BUCKETS_MAX];
};

static void put(struct reply_of *r, int64_t value)
{
    r->items[r->count++] = (struct redis_reply){ .kind = REDIS_INT, .integer = value };
}

static void rate(const struct request *q, size_t i, uint64_t now_us, struct reply_of *out)
{
    const uint64_t *w = &q->word[1 + 6 * i];
    const struct gcra_plan plan = { .num = w[0], .den = w[1], .cap = w[2] };
    const struct gcra_ask ask = { .want = w[4], .least = w[5], .created_us = w[3] };
    struct gcra_answer a;
    gcra_take(&key_of(q->key[i])->rate, &plan, &memory.heard, q->word[0], now_us, &ask, &a);
    put(out, a.young_us ? -1 : (int64_t)a.granted);
    put(out, (int64_t)(a.young_us ? a.young_us : a.level));
}

static void places(const struct request *q, size_t i, uint64_t now_us, struct reply_of *out)
{
    const uint64_t *w = &q->word[1 + 5 * i];
    struct places_call call = {
        .limit = w[0], .used = w[1], .want = w[2], .serial = w[3], .created_us = w[4]
    };
    struct places_answer a;
    CHECK(uuid_parse(str_of(q->lessee), &call.id));
    places_lease(&key_of(q->key[i])->places, memory.born_us ? memory.born_us : now_us, now_us,
                 &call, &a);
    put(out, a.stale ? -1 : (int64_t)a.granted);
    put(out, a.stale ? 0 : (int64_t)a.room);
}

static void *execute(const void *request)
{
    const struct request *q = request;
    struct reply_of *out = calloc(1, sizeof(*out));
    uint64_t now_us = 1767225600000000ull + sim_now_ns() / 1000; /* a wall clock of its own */
    CHECK(out);
    if (!q->places) {
        gcra_hear(&memory.heard, now_us);
        if (memory.born_us == 0)
            memory.born_us = now_us;
    }
    for (size_t i = 0; i < q->keys; i++)
        (q->places ? places : rate)(q, i, now_us, out);
    return out;
}

/* ---- the client's side */

struct redis {
    struct wire *wire;
    struct redis_script *scripts;
};
struct redis_script {
    struct redis *redis;
    bool places;
    struct redis_script *next;
};
struct waiting {
    redis_done done;
    void *arg;
};

static void answered(void *arg, maas_status status, void *answer)
{
    struct waiting w = *(struct waiting *)arg;
    struct reply_of *r = answer;
    free(arg);
    if (status) {
        w.done(w.arg, status, NULL);
        return;
    }
    const struct redis_reply reply = { .kind = REDIS_ARRAY, .items = r->items, .count = r->count };
    w.done(w.arg, MAAS_OK, &reply);
}

maas_status redis_new(struct loop *loop, const char *address, uint32_t call_timeout_ms,
                      struct redis **out, maas_error *error)
{
    (void)address, (void)call_timeout_ms, (void)error;
    struct redis *redis = calloc(1, sizeof(*redis));
    CHECK(redis);
    redis->wire = wire_new(loop, &redis_server, DEADLINE_NS, RECONNECT_NS);
    *out = redis;
    return MAAS_OK;
}

void redis_free(struct redis *redis)
{
    wire_end(redis->wire);
    while (redis->scripts) {
        struct redis_script *script = redis->scripts;
        redis->scripts = script->next;
        free(script);
    }
    free(redis);
}

bool redis_is_up(const struct redis *redis)
{
    return wire_is_up(redis->wire);
}

struct redis_script *redis_script_new(struct redis *redis, const char *lua)
{
    struct redis_script *script = calloc(1, sizeof(*script));
    CHECK(script);
    *script = (struct redis_script){ redis, lua == places_script, redis->scripts };
    redis->scripts = script;
    return script;
}

void redis_script_call(struct redis_script *script, const struct str *keys, size_t key_count,
                       const struct str *args, size_t arg_count, redis_done done, void *arg)
{
    static const struct wire_ops ops = { execute, answered };
    struct request *q = calloc(1, sizeof(*q));
    struct waiting *w = malloc(sizeof(*w));
    CHECK(q && w && key_count >= 1 && arg_count <= WORDS_MAX);
    q->places = script->places;
    q->keys = key_count - 1;
    for (size_t i = 0; i < q->keys; i++)
        memcpy(q->key[i], keys[1 + i].data, keys[1 + i].len);
    for (size_t i = 0; i < arg_count; i++)
        q->word[i] = i == 0 && q->places ? 0 : word_number(args[i]);
    if (q->places)
        memcpy(q->lessee, args[0].data, args[0].len);
    *w = (struct waiting){ done, arg };
    wire_call(script->redis->wire, &ops, q, w);
}
