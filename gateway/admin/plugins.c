/*
 * plugins.c: which files may run as plugins. Allowing one is the owner's: it decides what code
 * runs, where an operator decides which models do. Revoking is an operator's, who must not wait for
 * it.
 */
#include <string.h>

#include "admin/call.h"

#define ID_MAX     63
#define DIGEST_LEN 64 /* in hex */

/* A row as it is stored, audited and answered; of the table under the name p. */
#define ROW                                                                                        \
    "json_build_object('id', p.id, 'sha256', encode(p.sha256, 'hex'), 'version', p.version,"       \
    " 'state', p.state, 'installed_by', p.installed_by, 'installed_at', p.installed_at,"           \
    " 'revoked_at', p.revoked_at)"

static bool take_id(struct admin_call *call, struct str id)
{
    size_t good = 0;
    while (good < id.len && id.data[good] &&
           strchr("abcdefghijklmnopqrstuvwxyz0123456789._-", id.data[good]) &&
           (good || !strchr("._-", id.data[good])))
        good++;
    if (id.len && id.len <= ID_MAX && good == id.len)
        return true;
    admin_problem(call, 422, "id", "a plugin's id is [a-z0-9][a-z0-9._-]{0,62}");
    return false;
}

static bool take_digest(struct admin_call *call, struct str text)
{
    uint8_t digest[DIGEST_LEN / 2];
    if (hex_decode(text, digest, sizeof(digest)))
        return true;
    admin_problem(call, 422, "sha256", "the file's SHA-256 is expected: 64 hexadecimal digits");
    return false;
}

static bool take_version(struct admin_call *call, struct str *out)
{
    if (!admin_text(call, "version", "", out))
        return false;
    if (out->len <= 64)
        return true;
    admin_problem(call, 422, "version", "a text of 1 to 64 bytes is expected");
    return false;
}

/* True when a reply or a problem was set: the digest is allowed already, and nothing changes. */
static bool is_allowed_already(struct admin_call *call, const struct str v[3])
{
    static const char sql[] =
        "SELECT " ROW " FROM maas.plugins p WHERE p.id = $1 AND p.sha256 = decode($2, 'hex')"
        " AND p.state = 'allowed' AND ($3 = '' OR p.version = $3)";
    struct sql_result *rows = NULL;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = sql_exec(call->sql, sql, v, 3, &rows, &error);
    if (status) {
        admin_sql_problem(call, status, &error, NULL);
        return true;
    }
    bool there = sql_rows(rows) > 0;
    if (there)
        admin_reply(call, 200, sql_cell(rows, 0, 0));
    sql_result_free(rows);
    return there;
}

static void change(struct admin_call *call, int status, const char *sql, const struct str *values,
                   size_t count, const char *action)
{
    struct buf row;
    buf_init(&row, 65536);
    if (admin_change(call, sql, values, count, action, "plugin", NULL, &row))
        admin_reply(call, status, buf_view(&row));
    buf_release(&row);
}

void admin_allow_plugin(struct admin_call *call)
{
    static const char *const known[] = { "id", "sha256", "version" };
    struct str v[4];
    if (!admin_fields(call, known, COUNT_OF(known)) || !admin_text(call, "id", NULL, &v[0]) ||
        !take_id(call, v[0]) || !admin_text(call, "sha256", NULL, &v[1]) ||
        !take_digest(call, v[1]) || !take_version(call, &v[2]) || is_allowed_already(call, v))
        return;
    v[3] = str_of(call->actor);
    change(call, 201,
           "INSERT INTO maas.plugins AS p (id, sha256, version, installed_by)"
           " VALUES ($1, decode($2, 'hex'), $3, $4) ON CONFLICT (id, sha256) DO UPDATE SET"
           " state = 'allowed', revoked_at = NULL, installed_at = now(),"
           " version = coalesce(nullif(excluded.version, ''), p.version),"
           " installed_by = excluded.installed_by RETURNING " ROW,
           v, COUNT_OF(v), "plugin.allow");
}

void admin_list_plugins(struct admin_call *call)
{
    struct buf rows;
    buf_init(&rows, 1 << 20);
    if (admin_ask(call,
                  "SELECT json_build_object('data', coalesce(json_agg(r), '[]')) FROM (SELECT " ROW
                  " AS r FROM maas.plugins p ORDER BY p.id, p.installed_at LIMIT 1000) t",
                  NULL, 0, "list", &rows))
        admin_reply(call, 200, buf_view(&rows));
    buf_release(&rows);
}

void admin_revoke_plugin(struct admin_call *call)
{
    const struct str v[] = { str_of(call->name), str_of(call->second) };
    if (!take_id(call, v[0]) || !take_digest(call, v[1]))
        return;
    change(call, 200,
           "UPDATE maas.plugins p SET state = 'revoked', revoked_at = coalesce(revoked_at, now())"
           " WHERE p.id = $1 AND p.sha256 = decode($2, 'hex') RETURNING " ROW,
           v, COUNT_OF(v), "plugin.revoke");
}
