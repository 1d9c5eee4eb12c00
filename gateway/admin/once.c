/*
 * once.c: see the header. Unlike on the public listener (api/idempotency.c) no state `running` is
 * ever committed: the insertion of the row is the lock.
 *
 * Rejected: answering 409 while another is at work. The work is a transaction with a statement
 * timeout, so waiting is short, and a script that sent a request twice gets its answer at once.
 */
#include "admin/once.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/idempotency.h"
#include "api/idempotency_key.h"
#include "auth/seal.h"

#define BYTEA    17 /* the oid */
#define TEXT_OID 25

struct admin_once {
    uint8_t scope[IDEMPOTENCY_HASH], fingerprint[IDEMPOTENCY_HASH];
    char credential[TOKEN_TEXT_LEN]; /* wiped */
    char content_type[128];
};

void admin_once_free(struct admin_once *once)
{
    if (once)
        explicit_bzero(once, sizeof(*once));
    free(once);
}

static bool changes(struct str method)
{
    return !str_eq(method, STR("GET")) && !str_eq(method, STR("HEAD"));
}

bool admin_once_take(struct admin_call *call)
{
    struct idempotency_key key;
    const struct str field = exchange_find(call->ex, STR("idempotency-key"));
    const struct str type = exchange_known(call->ex, HDR_CONTENT_TYPE);
    const struct str token = bearer_of(exchange_known(call->ex, HDR_AUTHORIZATION));
    if (!field.data || !changes(str_of(call->route->method)))
        return true;
    if (!idempotency_key_parse(field, &key)) {
        admin_problem(call, 400, "Idempotency-Key",
                      "1 to %d visible ASCII characters are expected, bare or in quotes",
                      IDEMPOTENCY_KEY_MAX);
        return false;
    }
    struct admin_once *once = call->once = calloc(1, sizeof(*once));
    if (!once) {
        admin_problem(call, 503, NULL, "no memory for the request");
        return false;
    }
    CHECK(token.len == TOKEN_TEXT_LEN); /* token_hash has seen it */
    memcpy(once->credential, token.data, token.len);
    snprintf(once->content_type, sizeof(once->content_type), "%.*s",
             (int)(type.len < 127 ? type.len : 127), type.len ? type.data : "");
    idempotency_scope(STR("token"), (struct str){ (const char *)call->token, TOKEN_HASH_LEN }, &key,
                      once->scope);
    return true;
}

static void fingerprint(struct admin_call *call)
{
    const struct str traits[] = {
        str_of(call->route->method),   str_of(call->route->path), str_of(call->name),
        str_of(call->second),          str_of(call->query),       str_of(call->once->content_type),
        { call->body, call->body_len }
    };
    idempotency_fingerprint(traits, COUNT_OF(traits), call->once->fingerprint);
}

static struct sql_param binary(const void *bytes, size_t len)
{
    return (struct sql_param){ BYTEA, true, { bytes, len } };
}

static struct sql_param text(struct str value)
{
    return (struct sql_param){ TEXT_OID, false, value };
}

static bool ask(struct admin_call *call, const char *statement, const struct sql_param *params,
                size_t count, struct sql_result **out)
{
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec_params(call->sql, statement, params, count, out, &error);
    if (status)
        admin_sql_problem(call, status, &error, NULL);
    return status == MAAS_OK;
}

/* ---- what an answer is bound to */

static struct str context_of(const struct admin_once *once, char out[2 * IDEMPOTENCY_HASH])
{
    memcpy(out, once->scope, IDEMPOTENCY_HASH);
    memcpy(out + IDEMPOTENCY_HASH, once->fingerprint, IDEMPOTENCY_HASH);
    return (struct str){ out, 2 * IDEMPOTENCY_HASH };
}

static struct str credential_of(const struct admin_once *once)
{
    return (struct str){ once->credential, sizeof(once->credential) };
}

static bool open_answer(struct admin_call *call, struct str sealed)
{
    char context[2 * IDEMPOTENCY_HASH];
    struct seal_key key;
    if (!seal_key_for(call->app->keys, sealed, credential_of(call->once), &key))
        return false;
    buf_clear(&call->out);
    char *room = buf_space(&call->out, sealed.len - SEAL_OVERHEAD);
    bool good = room && seal_open(&key, context_of(call->once, context), sealed, (uint8_t *)room);
    if (good)
        buf_take(&call->out, sealed.len - SEAL_OVERHEAD);
    seal_key_wipe(&key);
    return good;
}

static void replay(struct admin_call *call, const struct sql_result *row)
{
    uint8_t *sealed = NULL;
    size_t len = 0;
    if (!sql_is_null(row, 0, 3) && sql_cell_bytes(row, 0, 3, &sealed, &len))
        sealed = NULL;
    if (sealed && open_answer(call, (struct str){ (const char *)sealed, len })) {
        call->status = (int)strtol(sql_cell(row, 0, 2).data, NULL, 10);
        call->replayed = true;
    } else {
        admin_problem(call, 409, "Idempotency-Key",
                      "the request with this key was done, but its answer was not kept");
    }
    free(sealed);
}

static void answer_from(struct admin_call *call, const struct sql_result *row)
{
    if (sql_rows(row) == 1 && str_eq(sql_cell(row, 0, 0), STR("f")))
        admin_problem(call, 422, "Idempotency-Key", "this key was used with another request");
    else if (sql_rows(row) == 1 && str_eq(sql_cell(row, 0, 1), STR("done")))
        replay(call, row);
    else
        admin_problem(call, 409, "Idempotency-Key", "a request with this key is being worked on");
}

/* Whether the row is ours now. */
static bool insert(struct admin_call *call, bool *out_begun)
{
    const struct admin_once *once = call->once;
    struct uuid spool = meter_spool(call->app->meter);
    char owner[UUID_TEXT_MAX];
    struct sql_result *row = NULL;
    uuid_format(&spool, owner);
    const struct sql_param params[] = { binary(once->scope, IDEMPOTENCY_HASH),
                                        binary(once->fingerprint, IDEMPOTENCY_HASH),
                                        text(str_of(owner)), text(str_of(call->request_id)) };
    if (!ask(call,
             "DELETE FROM maas.idempotency WHERE scope = $1 AND expires_at <= clock_timestamp()",
             params, 1, NULL) ||
        !ask(call,
             "INSERT INTO maas.idempotency (scope, fingerprint, state, owner, attempt, expires_at)"
             " VALUES ($1, $2, 'running', $3::uuid, $4::uuid, clock_timestamp() + interval '1 h')"
             " ON CONFLICT DO NOTHING RETURNING 1",
             params, COUNT_OF(params), &row))
        return false;
    *out_begun = sql_rows(row) == 1;
    sql_result_free(row);
    return true;
}

bool admin_once_begin(struct admin_call *call)
{
    bool begun = false;
    struct sql_result *row = NULL;
    if (!call->once)
        return true;
    fingerprint(call);
    if (!insert(call, &begun) || begun)
        return begun;
    const struct sql_param params[] = { binary(call->once->scope, IDEMPOTENCY_HASH),
                                        binary(call->once->fingerprint, IDEMPOTENCY_HASH) };
    if (!ask(
            call,
            "SELECT fingerprint = $2, state, status, answer FROM maas.idempotency WHERE scope = $1",
            params, COUNT_OF(params), &row))
        return false;
    answer_from(call, row);
    sql_result_free(row);
    return false;
}

void admin_once_finish(struct admin_call *call)
{
    char context[2 * IDEMPOTENCY_HASH], status[16];
    struct seal_key key;
    struct admin_once *once = call->once;
    const size_t len = call->out.len + SEAL_OVERHEAD;
    if (!once || call->status < 200 || call->status > 299)
        return;
    uint8_t *sealed = call->out.len <= ONCE_ANSWER_MAX ? malloc(len) : NULL;
    if (sealed) {
        seal_key_make(call->app->keys, credential_of(once), &key);
        seal(&key, context_of(once, context), buf_view(&call->out), sealed);
        seal_key_wipe(&key);
    }
    snprintf(status, sizeof(status), "%d", call->status);
    const struct sql_param params[] = { binary(once->scope, IDEMPOTENCY_HASH), text(str_of(status)),
                                        binary(sealed, sealed ? len : 0) };
    (void)ask(call,
              "UPDATE maas.idempotency SET state = 'done', status = $2::integer, answer = $3,"
              " expires_at = clock_timestamp() + interval '24 h' WHERE scope = $1",
              params, COUNT_OF(params), NULL);
    free(sealed);
}
