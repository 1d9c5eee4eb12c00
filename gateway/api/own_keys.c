/*
 * own_keys.c: /v1/keys: tenants keep their own API keys, with a key that has the scope keys:write.
 *
 *     GET    /v1/keys[/{id}]        what there is, never a secret
 *     POST   /v1/keys               a new one; its text is in this answer and nowhere else
 *     PATCH  /v1/keys/{id}          name, scopes, allow, expires_at
 *     DELETE /v1/keys/{id}          revokes
 *     POST   /v1/keys/{id}/rotate   a successor; this one ends after {"overlap_s": 86400}
 *
 * Nobody hands on more than he has: scopes, addresses and expiry of what is made or touched must
 * lie within those of the key that asks. So what is touched is read first and compared; the change
 * then says what was read, and does nothing when that is not so any more. The database writes the
 * change and its audit row in one function (migrations/0013_keys.sql), for the tenant of the
 * transaction, so a key of another tenant is not found.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/key_wish.h"
#include "base/instant.h"

#define BODY_MOST    16384
#define ANSWER_MOST  ((size_t)4 << 20)
#define OVERLAP_MOST 2592000
#define OVERLAP_S    86400

enum deed { DEED_LIST, DEED_GET, DEED_CREATE, DEED_CHANGE, DEED_REVOKE, DEED_ROTATE };

/* One request about keys, from its first step to its answer. */
struct key_call {
    struct call *call;
    enum deed deed;
    json_t *body;
    struct key_wish wish;
    char id[KEY_ID_LEN + 1], overlap[24], actor[32];
    struct key_new made; /* create and rotate */
};

static void key_call_free(struct key_call *k)
{
    json_decref(k->body);
    key_wish_release(&k->wish);
    explicit_bzero(&k->made, sizeof(k->made));
    free(k);
}

/* Every ending: the call was answered. */
static enum step_result over(struct key_call *k, enum step_result result)
{
    key_call_free(k);
    return result;
}

static enum step_result no_such_key(struct key_call *k)
{
    return over(k, call_fail(k->call, 404, "key_not_found", STR("id"), "there is no such key"));
}

static enum step_result too_much(struct key_call *k, const char *param)
{
    return over(k, call_fail(k->call, 403, "beyond_own_rights", str_of(param),
                             "a key cannot give rights that it does not have itself"));
}

/* ---- answers */

static enum step_result reply_list(struct key_call *k, const struct pg_result *rows)
{
    struct buf b;
    buf_init(&b, ANSWER_MOST);
    buf_str(&b, STR("{\"object\":\"list\",\"data\":["));
    for (int i = 0; i < rows->rows; i++) {
        buf_str(&b, i ? STR(",") : STR(""));
        buf_str(&b, pg_cell(rows, i, 0));
    }
    buf_str(&b, STR("]}"));
    enum step_result result = call_reply_json(k->call, 200, buf_view(&b));
    buf_release(&b);
    return over(k, result);
}

/* The row, and the key's text when it was made just now. */
static enum step_result reply_key(struct key_call *k, struct str row)
{
    struct buf b;
    bool made = k->deed == DEED_CREATE || k->deed == DEED_ROTATE;
    buf_init(&b, ANSWER_MOST);
    buf_add(&b, row.data, row.len - (made ? 1 : 0));
    if (made)
        buf_fmt(&b, ",\"key\":\"%s\"}", k->made.text);
    exchange_header(k->call->ex, STR("cache-control"), STR("no-store"));
    enum step_result result = call_reply_json(k->call, made ? 201 : 200, buf_view(&b));
    explicit_bzero(b.data, b.len);
    buf_release(&b);
    return over(k, result);
}

/* False after the call was answered or is over: the client left, or the database is away. */
static bool has_answer(struct key_call *k, maas_status status)
{
    k->call->has_query = false;
    if (k->call->ex && status == MAAS_OK)
        return true;
    if (k->call->ex)
        call_fail(k->call, 503, "keys_unavailable", STR(""),
                  "keys cannot be kept now; whether this was done, the list of keys tells");
    else
        call_over(k->call);
    key_call_free(k);
    return false;
}

static void on_list(void *arg, maas_status status, const struct pg_result *rows)
{
    struct key_call *k = arg;
    if (!has_answer(k, status))
        return;
    if (k->deed == DEED_LIST)
        reply_list(k, rows);
    else if (rows->rows == 0)
        no_such_key(k);
    else
        reply_key(k, pg_cell(rows, 0, 0));
}

static void on_created(void *arg, maas_status status, const struct pg_result *rows)
{
    struct key_call *k = arg;
    if (!has_answer(k, status))
        return;
    if (pg_is_null(rows, 0, 0))
        over(k, call_fail(k->call, 422, "too_many_keys", STR(""),
                          "there are as many active keys as your plan allows; revoke one first"));
    else
        reply_key(k, pg_cell(rows, 0, 0));
}

static void on_changed(void *arg, maas_status status, const struct pg_result *rows)
{
    struct key_call *k = arg;
    if (!has_answer(k, status))
        return;
    if (pg_is_null(rows, 0, 0))
        over(k, call_fail(k->call, 409, "key_changed", STR("id"),
                          "the key was changed at the same time; look at it and try again"));
    else
        reply_key(k, pg_cell(rows, 0, 0));
}

/* ---- the statements */

static void query(struct key_call *k, const char *sql, const struct str *values, size_t count,
                  pg_done done)
{
    k->call->has_query = true;
    pg_query(k->call->at->pg, &k->call->who->tenant, sql, values, count, done, k);
}

static enum step_result look_up(struct key_call *k, pg_done done)
{
    static const char sql[] = "SELECT maas.own_keys($1)";
    const struct str id = { k->id[0] ? k->id : NULL, k->id[0] ? KEY_ID_LEN : 0 };
    query(k, sql, &id, 1, done);
    return STEP_WAIT;
}

static void make_key(struct key_call *k, char mac[2 + 2 * KEY_MAC_LEN + 1], char pepper[8])
{
    key_make(k->call->at->app->keys, &k->made);
    memcpy(mac, "\\x", 2);
    hex_encode(k->made.mac, KEY_MAC_LEN, mac + 2);
    snprintf(pepper, 8, "%u", k->made.pepper_version);
}

static enum step_result create(struct key_call *k)
{
    static const char sql[] =
        "SELECT maas.own_key_create($1, $2, $3, $4, $5::bytea, $6::int, $7::text[], "
        "$8::timestamptz, coalesce($9::timestamptz, to_timestamp(nullif($11::bigint, 0) / "
        "1000000.0::double precision)), coalesce($10::cidr[], (SELECT k.allow FROM maas.api_keys k "
        "WHERE k.key_id = $12::bpchar)))";
    char mac[2 + 2 * KEY_MAC_LEN + 1], pepper[8], own_end[24];
    make_key(k, mac, pepper);
    *text_uint(own_end, k->call->who->expires_us) = '\0';
    const struct str values[] = { str_of(k->actor),
                                  str_of(k->call->request_id),
                                  str_of(k->made.id),
                                  k->wish.name,
                                  str_of(mac),
                                  str_of(pepper),
                                  key_wish_scopes(&k->wish),
                                  k->wish.not_before,
                                  k->wish.expires_at,
                                  key_wish_allow(&k->wish),
                                  str_of(own_end),
                                  str_of(k->call->who->key_id) };
    query(k, sql, values, COUNT_OF(values), on_created);
    return STEP_WAIT;
}

static enum step_result change(struct key_call *k, struct str seen)
{
    static const char sql[] =
        "SELECT maas.own_key_change($1, $2, $3, $4, $5::text[], $6::timestamptz, $7::cidr[], "
        "$8::boolean, $9)";
    const struct str values[] = { str_of(k->actor),
                                  str_of(k->call->request_id),
                                  str_of(k->id),
                                  k->wish.name,
                                  key_wish_scopes(&k->wish),
                                  k->wish.expires_at,
                                  key_wish_allow(&k->wish),
                                  k->deed == DEED_REVOKE ? STR("true") : STR("false"),
                                  seen };
    query(k, sql, values, COUNT_OF(values), on_changed);
    return STEP_WAIT;
}

static enum step_result rotate(struct key_call *k, struct str seen)
{
    static const char sql[] =
        "SELECT maas.own_key_rotate($1, $2, $3, $4, $5::bytea, $6::int, $7::int, $8) -> 'key'";
    char mac[2 + 2 * KEY_MAC_LEN + 1], pepper[8];
    make_key(k, mac, pepper);
    const struct str values[] = { str_of(k->actor),   str_of(k->call->request_id),
                                  str_of(k->id),      str_of(k->made.id),
                                  str_of(mac),        str_of(pepper),
                                  str_of(k->overlap), seen };
    query(k, sql, values, COUNT_OF(values), on_changed);
    return STEP_WAIT;
}

/* ---- rights */

static const struct allow_set everywhere;

static bool allow_lies_within(const struct key_call *k, const struct allow_set *allow)
{
    const struct allow_set *own = k->call->who->allow ? k->call->who->allow : &everywhere;
    return allow_covers(own, allow);
}

/* What is wished lies within what the caller's key may: the member that does not, or NULL. */
static const char *beyond(const struct key_call *k)
{
    const struct principal *who = k->call->who;
    if (k->wish.has_scopes && !scope_covers(&who->scopes, &k->wish.scopes))
        return "scopes";
    if (k->wish.has_allow && !allow_lies_within(k, &k->wish.allow))
        return "allow";
    if (k->wish.expires_at.data && who->expires_us && k->wish.expires_us > who->expires_us)
        return "expires_at";
    return NULL;
}

/* The key that is touched, as the database tells it: nothing of it is beyond the caller's. */
static bool is_within(const struct key_call *k, struct str row)
{
    const struct principal *who = k->call->who;
    struct scope_set scopes = { 0 };
    struct allow_set allow = { 0 };
    uint64_t ends_us = 0;
    json_t *key = json_loadb(row.data, row.len, 0, NULL), *one;
    size_t i;
    bool good = key != NULL;
    json_array_foreach(json_object_get(key, "scopes"), i, one) good =
        good && scope_add(&scopes, str_of(json_string_value(one)), NULL) == MAAS_OK;
    json_array_foreach(json_object_get(key, "allow"), i, one) good =
        good && allow_add(&allow, str_of(json_string_value(one)), NULL) == MAAS_OK;
    const char *end = json_string_value(json_object_get(key, "expires_at"));
    good = good && (!end || instant_parse(str_of(end), &ends_us));
    json_decref(key);
    return good && scope_covers(&who->scopes, &scopes) && allow_lies_within(k, &allow) &&
           (!who->expires_us || (ends_us && ends_us <= who->expires_us));
}

static void on_seen(void *arg, maas_status status, const struct pg_result *rows)
{
    struct key_call *k = arg;
    if (!has_answer(k, status))
        return;
    if (rows->rows == 0)
        no_such_key(k);
    else if (!is_within(k, pg_cell(rows, 0, 0)))
        too_much(k, "id");
    else if (k->deed == DEED_ROTATE)
        rotate(k, pg_cell(rows, 0, 0));
    else
        change(k, pg_cell(rows, 0, 0));
}

/* ---- the bodies; false after the call was answered and k was freed */

static bool refuse_body(struct key_call *k, int http_status, const char *param, const char *why)
{
    over(k, call_fail(k->call, http_status, "invalid_request", str_of(param), "%s", why));
    return false;
}

static bool read_body(struct key_call *k)
{
    struct str body = exchange_request(k->call->ex)->body;
    json_error_t error;
    if (body.len > BODY_MOST)
        return refuse_body(k, 413, "", "the body is too long");
    k->body =
        body.len ? json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, &error) : json_object();
    if (k->body && json_is_object(k->body))
        return true;
    return refuse_body(k, 400, "", "the body must be a JSON object");
}

static bool read_wish(struct key_call *k)
{
    char field[64], why[160];
    if (!read_body(k))
        return false;
    return key_wish_read(k->body, k->deed == DEED_CREATE, &k->wish, field, why) ||
           refuse_body(k, 400, field, why);
}

static bool read_overlap(struct key_call *k)
{
    if (!read_body(k))
        return false;
    const json_t *value = json_object_get(k->body, "overlap_s");
    json_int_t n = value ? json_integer_value(value) : OVERLAP_S;
    if (json_object_size(k->body) != (value ? 1 : 0))
        return refuse_body(k, 400, "overlap_s", "nothing but overlap_s is known here");
    if ((value && !json_is_integer(value)) || n < 0 || n > OVERLAP_MOST)
        return refuse_body(k, 400, "overlap_s", "a whole number from 0 to 2592000 is expected");
    *text_uint(k->overlap, (uint64_t)n) = '\0';
    return true;
}

/* ---- the steps */

/* NULL after the call was answered. */
static struct key_call *key_call_new(struct call *call, enum deed deed)
{
    struct str id = call->model; /* the path's parameter */
    if (!scope_allows(&call->who->scopes, SCOPE_KEYS_WRITE)) {
        call_fail(call, 403, "scope_missing", STR(""), "this API key lacks the scope keys:write");
        return NULL;
    }
    struct key_call *k = calloc(1, sizeof(*k));
    if (!k) {
        call_fail(call, 503, "keys_unavailable", STR(""), "no memory for the answer");
        return NULL;
    }
    k->call = call;
    k->deed = deed;
    snprintf(k->actor, sizeof(k->actor), "key:%s", call->who->key_id);
    if (id.len == KEY_ID_LEN)
        memcpy(k->id, id.data, id.len);
    if (id.len == 0 || id.len == KEY_ID_LEN)
        return k;
    no_such_key(k);
    return NULL;
}

enum step_result own_keys_list(struct call *call)
{
    struct key_call *k = key_call_new(call, call->model.len ? DEED_GET : DEED_LIST);
    return k ? look_up(k, on_list) : STEP_DONE;
}

enum step_result own_keys_create(struct call *call)
{
    struct key_call *k = key_call_new(call, DEED_CREATE);
    if (!k || !read_wish(k))
        return STEP_DONE;
    const char *member = beyond(k);
    return member ? too_much(k, member) : create(k);
}

enum step_result own_keys_change(struct call *call)
{
    struct key_call *k = key_call_new(call, DEED_CHANGE);
    if (!k || !read_wish(k))
        return STEP_DONE;
    if (k->wish.not_before.data)
        return over(k, call_fail(call, 400, "invalid_request", STR("not_before"),
                                 "it cannot be changed; make a new key"));
    const char *member = beyond(k);
    return member ? too_much(k, member) : look_up(k, on_seen);
}

enum step_result own_keys_revoke(struct call *call)
{
    struct key_call *k = key_call_new(call, DEED_REVOKE);
    return k ? look_up(k, on_seen) : STEP_DONE;
}

enum step_result own_keys_rotate(struct call *call)
{
    struct key_call *k = key_call_new(call, DEED_ROTATE);
    if (!k || !read_overlap(k))
        return STEP_DONE;
    return look_up(k, on_seen);
}
