/*
 * idempotency.c: the two statements of a request that is done once, and what their answers mean.
 *
 *     step_once → idempotency_begin → (the rest of the way) → once_finish → idempotency_finish
 *                     └ done, reused, running: answered here
 *     once_end  → idempotency_release, when the call ended in anything but a kept answer
 *
 * Exactly once rests on the database: whoever's attempt stands in the row may finish it, and the
 * bill is inserted in the transaction that does. Here nothing has to be right for that but one
 * rule: no 200 leaves before `done` was heard. A finish in doubt is asked again, as it is the same
 * for the same attempt; one that stays in doubt is answered 503 and its row given back, which
 * either finds it finished (and leaves it: the client's next try is a replay) or takes it from the
 * late commit.
 *
 * The statements go over a connection of their own: an answer of some megabytes must not stand
 * before another tenant's key look-up.
 *
 * Rejected: the local spool for these bills. It is written before the answer is stored or after it,
 * and a kill between the two would bill twice or not at all.
 */
#include "api/idempotency.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/idempotency_key.h"
#include "auth/seal.h"
#include "base/buf.h"
#include "base/log.h"

#define SLACK_MS      5000              /* of a row beyond its request's deadline */
#define SENT_MAX      ((size_t)8 << 20) /* bytes of answers on their way, per loop */
#define ASK_AGAIN_MS  50
#define RELEASES_MAX  4096 /* in flight or to be repeated, per loop */
#define RELEASE_TRIES 100  /* then the row's own end frees it */
#define RELEASE_MS    200

enum once_state {
    ONCE_ASKED, /* begin was sent: a row of ours may be there */
    ONCE_BEGUN, /* it is */
    ONCE_OVER,  /* there is none to give back */
};

struct once {
    struct call *call;
    enum once_state state;
    uint8_t scope[IDEMPOTENCY_HASH], fingerprint[IDEMPOTENCY_HASH];
    struct seal_key seal;
    struct once_answer answer; /* body: malloc'ed */
    uint64_t number, give_up_ns;
    struct timer again;
};

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- bytea, as text */

#define BYTEA_TEXT(bytes) (2 + 2 * (bytes) + 1)

static struct str bytea(const uint8_t *bytes, size_t len, char *out)
{
    out[0] = '\\';
    out[1] = 'x';
    hex_encode(bytes, len, out + 2);
    return (struct str){ out, 2 + 2 * len };
}

struct row_name { /* the texts that name a row and the attempt at it */
    char scope[BYTEA_TEXT(IDEMPOTENCY_HASH)], attempt[UUID_TEXT_MAX], owner[UUID_TEXT_MAX];
};

static void name_row(const struct app_loop *at, const uint8_t scope[IDEMPOTENCY_HASH],
                     const struct uuid *attempt, struct row_name *out)
{
    struct uuid owner = meter_spool(at->app->meter);
    bytea(scope, IDEMPOTENCY_HASH, out->scope);
    uuid_format(attempt, out->attempt);
    uuid_format(&owner, out->owner);
}

/* ---- giving a row back, until the database says that it heard */

struct release {
    struct app_loop *at;
    struct uuid attempt;
    uint8_t scope[IDEMPOTENCY_HASH];
    uint32_t tries;
    struct timer again;
};

static void release_send(struct release *r);

static void on_release_again(struct timer *timer)
{
    release_send((struct release *)(void *)((char *)timer - offsetof(struct release, again)));
}

static void on_released(void *arg, maas_status status, const struct pg_result *result)
{
    struct release *r = arg;
    (void)result;
    if (status && ++r->tries < RELEASE_TRIES && !atomic_load(&r->at->app->draining)) {
        timer_start(r->at->loop, &r->again, RELEASE_MS);
        return;
    }
    r->at->releases--;
    free(r);
}

static void release_send(struct release *r)
{
    struct row_name name;
    name_row(r->at, r->scope, &r->attempt, &name);
    const struct str values[] = { str_of(name.scope), str_of(name.attempt) };
    pg_query(r->at->once_pg, NULL, "SELECT maas.idempotency_release($1, $2)", values,
             COUNT_OF(values), on_released, r);
}

static void release(const struct once *once)
{
    struct app_loop *at = once->call->at;
    struct release *r = at->releases < RELEASES_MAX ? calloc(1, sizeof(*r)) : NULL;
    if (!r)
        return; /* the row ends by itself */
    r->at = at;
    r->attempt = once->call->request;
    memcpy(r->scope, once->scope, sizeof(r->scope));
    r->again.fire = on_release_again;
    at->releases++;
    release_send(r);
}

void once_end(struct call *call)
{
    struct once *once = call->once;
    if (!once)
        return;
    call->once = NULL;
    if (once->state != ONCE_OVER)
        release(once);
    seal_key_wipe(&once->seal);
    if (once->answer.body.data) {
        explicit_bzero((void *)(uintptr_t)once->answer.body.data, once->answer.body.len);
        free((void *)(uintptr_t)once->answer.body.data);
    }
    free(once);
}

/* ---- what an answer is bound to */

#define CONTEXT_LEN (2 * IDEMPOTENCY_HASH + sizeof(uint32_t))

static struct str context_of(const struct once *once, uint32_t status, char out[CONTEXT_LEN])
{
    memcpy(out, once->scope, IDEMPOTENCY_HASH);
    memcpy(out + IDEMPOTENCY_HASH, once->fingerprint, IDEMPOTENCY_HASH);
    memcpy(out + 2 * IDEMPOTENCY_HASH, &status, sizeof(status));
    return (struct str){ out, CONTEXT_LEN };
}

/* ---- begin */

static enum step_result refuse_unknown(struct call *call)
{
    exchange_header(call->ex, STR("retry-after"), STR("1"));
    return call_fail(call, 503, "idempotency_unavailable", STR(""),
                     "whether this request was done cannot be known now; send it again with the "
                     "same Idempotency-Key");
}

static enum step_result refuse_running(struct call *call)
{
    exchange_header(call->ex, STR("retry-after"), STR("1"));
    return call_fail(call, 409, "idempotency_running", STR("Idempotency-Key"),
                     "a request with this Idempotency-Key is being worked on; send it again for "
                     "its answer");
}

static enum step_result refuse_not_kept(struct call *call)
{
    return call_fail(call, 409, "idempotency_answer_not_kept", STR("Idempotency-Key"),
                     "the request with this Idempotency-Key was done, but its answer was not kept");
}

/* Sealed bytes as PostgreSQL writes them → the answer, or NULL. */
static uint8_t *unseal(struct call *call, uint32_t status, struct str text, size_t *out_len)
{
    char context[CONTEXT_LEN];
    struct seal_key key;
    const size_t len = text.len < 2 ? 0 : (text.len - 2) / 2;
    uint8_t *sealed = malloc(len + 1), *plain = malloc(len + 1);
    bool good = sealed && plain && len >= SEAL_OVERHEAD &&
                hex_decode((struct str){ text.data + 2, text.len - 2 }, sealed, len);
    const struct str view = { (const char *)sealed, len };
    if (good && (good = seal_key_for(call->at->app->keys, view, call_credential(call), &key))) {
        good = seal_open(&key, context_of(call->once, status, context), view, plain);
        seal_key_wipe(&key);
    }
    free(sealed);
    if (good) {
        *out_len = len - SEAL_OVERHEAD;
        return plain;
    }
    free(plain);
    LOG(LOG_ERROR, "idempotency.unreadable", F_STR("key", call->who->key_id));
    return NULL;
}

static void replay(struct call *call, const struct pg_result *result)
{
    size_t len = 0;
    if (pg_is_null(result, 0, 2)) {
        refuse_not_kept(call);
        return;
    }
    const uint32_t status = (uint32_t)strtoul(pg_cell(result, 0, 1).data, NULL, 10);
    uint8_t *plain = unseal(call, status, pg_cell(result, 0, 2), &len);
    if (!plain) {
        refuse_not_kept(call);
        return;
    }
    count(&call->at->replayed);
    exchange_header(call->ex, STR("idempotency-replayed"), STR("true"));
    call_reply_json(call, (int)status, (struct str){ (const char *)plain, len });
    explicit_bzero(plain, len);
    free(plain);
}

static void take_verdict(struct call *call, const struct pg_result *result)
{
    const struct str verdict = pg_cell(result, 0, 0);
    const bool begun = str_eq(verdict, STR("begun"));
    call->once->state = begun ? ONCE_BEGUN : ONCE_OVER;
    if (!call->ex)
        call_over(call);
    else if (begun)
        call_walk(call);
    else if (str_eq(verdict, STR("done")))
        replay(call, result);
    else if (str_eq(verdict, STR("reused")))
        call_fail(call, 422, "idempotency_key_reused", STR("Idempotency-Key"),
                  "this Idempotency-Key was used with another request");
    else
        refuse_running(call);
}

static void on_begun(void *arg, maas_status status, const struct pg_result *result)
{
    struct call *call = arg;
    call->has_query = false;
    if (!status)
        take_verdict(call, result);
    else if (call->ex)
        refuse_unknown(call);
    else
        call_over(call);
}

static uint64_t patience_ms(const struct config *c)
{
    return c->request_timeout_ms + 2 * c->sql_timeout_ms + SLACK_MS;
}

static void begin(struct call *call)
{
    struct once *once = call->once;
    struct row_name name;
    char fingerprint[BYTEA_TEXT(IDEMPOTENCY_HASH)], tenant[UUID_TEXT_MAX], patience[24];
    name_row(call->at, once->scope, &call->request, &name);
    uuid_format(&call->who->tenant, tenant);
    snprintf(patience, sizeof(patience), "%" PRIu64, patience_ms(call->at->app->config));
    const struct str values[] = { str_of(name.scope),
                                  str_of(tenant),
                                  bytea(once->fingerprint, IDEMPOTENCY_HASH, fingerprint),
                                  str_of(name.owner),
                                  str_of(name.attempt),
                                  str_of(patience) };
    call->has_query = true;
    pg_query(call->at->once_pg, NULL,
             "SELECT verdict, status, answer FROM maas.idempotency_begin($1, $2, $3, $4, $5, $6)",
             values, COUNT_OF(values), on_begun, call);
}

/* Whose key it is, and everything that makes another request of it. */
static void identify(struct call *call, const struct idempotency_key *key)
{
    struct once *once = call->once;
    struct exchange *ex = call->ex;
    const struct http_request *r = exchange_request(ex);
    const struct uuid holder[] = { call->who->tenant, call->who->key };
    const struct str traits[] = { r->method,
                                  r->path,
                                  r->query,
                                  exchange_known(ex, HDR_CONTENT_TYPE),
                                  exchange_known(ex, HDR_CONTENT_ENCODING),
                                  exchange_find(ex, STR("inference-header-content-length")),
                                  r->body };
    idempotency_scope(STR("key"), (struct str){ (const char *)holder, sizeof(holder) }, key,
                      once->scope);
    idempotency_fingerprint(traits, COUNT_OF(traits), once->fingerprint);
    seal_key_make(call->at->app->keys, call_credential(call), &once->seal);
}

static void on_ask_again(struct timer *timer);

enum step_result step_once(struct call *call)
{
    struct idempotency_key key;
    struct str field = exchange_find(call->ex, STR("idempotency-key"));
    if (!field.data || !call->who || !str_eq(exchange_request(call->ex)->method, STR("POST")))
        return STEP_NEXT;
    if (call->route->surface == SURFACE_NONE) /* what is changed is not kept here: say so */
        return call_fail(call, 400, "idempotency_not_supported", STR("Idempotency-Key"),
                         "an Idempotency-Key works with requests to models; this one is done anew "
                         "each time it is sent");
    if (!idempotency_key_parse(field, &key))
        return call_fail(call, 400, "invalid_idempotency_key", STR("Idempotency-Key"),
                         "an Idempotency-Key is 1 to %d visible ASCII characters, bare or in "
                         "quotes",
                         IDEMPOTENCY_KEY_MAX);
    call->once = calloc(1, sizeof(*call->once));
    if (!call->once)
        return refuse_unknown(call);
    call->once->call = call;
    call->once->again.fire = on_ask_again;
    identify(call, &key);
    begin(call);
    return STEP_WAIT;
}

/* ---- finish */

enum { FINISH_NUMBERS = 11, FINISH_VALUES = 19 };

static void on_finished(void *arg, maas_status status, const struct pg_result *result);

/* The sealed answer as text, malloc'ed; NULL when it is too large to be kept. */
static char *sealed_text(const struct once *once, struct str *out)
{
    char context[CONTEXT_LEN];
    const struct str body = once->answer.body;
    const size_t len = body.len + SEAL_OVERHEAD;
    *out = (struct str){ NULL, 0 };
    if (body.len > ONCE_ANSWER_MAX)
        return NULL;
    uint8_t *sealed = malloc(len);
    char *text = malloc(BYTEA_TEXT(len));
    if (sealed && text) {
        seal(&once->seal, context_of(once, once->answer.event.http_status, context), body, sealed);
        *out = bytea(sealed, len, text);
    }
    free(sealed);
    return text;
}

static int64_t clamped(uint32_t value)
{
    return value > INT32_MAX ? INT32_MAX : value;
}

static void finish(struct once *once)
{
    struct call *call = once->call;
    const struct usage_event *e = &once->answer.event;
    struct row_name name;
    struct str sealed;
    char *text = sealed_text(once, &sealed);
    char ids[4][UUID_TEXT_MAX], numbers[FINISH_NUMBERS][24];
    const struct uuid *const uuids[] = { &e->tenant, &e->key, &e->model, &e->deployment };
    const int64_t of[FINISH_NUMBERS] = {
        e->http_status,         -1 - (int64_t)loop_index(call->at->loop),
        (int64_t)once->number,  (int64_t)e->at_us,
        clamped(e->version),    clamped(e->rows),
        (int64_t)e->units,      clamped(e->compute_us),
        clamped(e->latency_us), e->surface,
        (int64_t)e->admitted_us
    };
    name_row(call->at, once->scope, &call->request, &name);
    for (size_t i = 0; i < COUNT_OF(uuids); i++)
        uuid_format(uuids[i], ids[i]);
    for (size_t i = 0; i < FINISH_NUMBERS; i++)
        snprintf(numbers[i], sizeof(numbers[i]), "%" PRId64, of[i]);
    const struct str values[FINISH_VALUES] = { str_of(name.scope),
                                               str_of(name.owner),
                                               str_of(name.attempt),
                                               str_of(numbers[0]),
                                               sealed,
                                               str_of(numbers[1]),
                                               str_of(numbers[2]),
                                               str_of(numbers[3]),
                                               str_of(ids[0]),
                                               str_of(ids[1]),
                                               str_of(ids[2]),
                                               str_of(ids[3]),
                                               str_of(numbers[4]),
                                               str_of(numbers[5]),
                                               str_of(numbers[6]),
                                               str_of(numbers[7]),
                                               str_of(numbers[8]),
                                               str_of(numbers[9]),
                                               str_of(numbers[10]) };
    pg_query(call->at->once_pg, NULL,
             "SELECT maas.idempotency_finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
             "$13, $14, $15, $16, $17, $18, $19)",
             values, FINISH_VALUES, on_finished, once);
    free(text);
}

/* Sends it, or looks again later while too much is on its way: a database that is slow must not
 * fill the memory with answers as text. */
static void finish_in_turn(struct once *once)
{
    struct app_loop *at = once->call->at;
    once->call->has_query = true;
    if (at->once_bytes >= SENT_MAX) {
        timer_start(at->loop, &once->again, ASK_AGAIN_MS);
        return;
    }
    at->once_bytes += once->answer.body.len;
    finish(once);
}

static void on_ask_again(struct timer *timer)
{
    finish_in_turn((struct once *)(void *)((char *)timer - offsetof(struct once, again)));
}

/* In doubt, or the row is locked. While there is time the call stays in flight for a next look. */
static bool ask_again(struct once *once)
{
    struct app_loop *at = once->call->at;
    if (loop_now_ns(at->loop) >= once->give_up_ns || atomic_load(&at->app->draining))
        return false;
    once->call->has_query = true;
    timer_start(at->loop, &once->again, ASK_AGAIN_MS);
    return true;
}

static void reply_kept(struct call *call)
{
    const struct once_answer *answer = &call->once->answer;
    meter_count(call->at->tap);
    if (!call->ex) {
        call_over(call);
        return;
    }
    call_timing(call, answer->queue_us, answer->compute_us);
    call_reply_json(call, answer->event.http_status, answer->body);
}

static void on_finished(void *arg, maas_status status, const struct pg_result *result)
{
    struct once *once = arg;
    struct call *call = once->call;
    const struct str verdict = status ? STR("") : pg_cell(result, 0, 0);
    call->has_query = false;
    call->at->once_bytes -= once->answer.body.len;
    if (str_eq(verdict, STR("done"))) {
        once->state = ONCE_OVER;
        reply_kept(call);
    } else if (str_eq(verdict, STR("lost"))) {
        once->state = ONCE_OVER;
        call->units = 0;
        count(&call->at->lost);
        call->ex ? (void)refuse_running(call) : call_over(call);
    } else if (!ask_again(once)) {
        call->ex ? (void)refuse_unknown(call) : call_over(call);
    }
}

void once_finish(struct call *call, const struct once_answer *answer)
{
    struct once *once = call->once;
    const struct config *c = call->at->app->config;
    const uint64_t now = loop_now_ns(call->at->loop),
                   due = call->started_ns + c->request_timeout_ms * 1000000,
                   least = now + 2 * c->sql_timeout_ms * 1000000;
    char *body = malloc(answer->body.len + 1);
    if (!body) {
        if (call->ex)
            refuse_unknown(call);
        return;
    }
    memcpy(body, answer->body.data, answer->body.len);
    once->answer = *answer;
    once->answer.body = (struct str){ body, answer->body.len };
    once->number = meter_number(call->at->tap);
    call->units = answer->event.units; /* as long as it may be billed */
    once->give_up_ns = due > least ? due : least;
    finish_in_turn(once);
}
