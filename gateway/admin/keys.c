/*
 * keys.c: the admin API of API keys. The key itself is in the answer that makes it, and nowhere
 * else: not in the database, not in the audit log, not in ours.
 */
#include <stdio.h>
#include <string.h>

#include "admin/call.h"
#include "api/key_wish.h"

#define OVERLAP_MOST 2592000
#define KEY                                                                                        \
    "json_build_object('id', k.id, 'key_id', k.key_id, 'tenant', (SELECT t.slug FROM "             \
    "maas.tenants t WHERE t.id = k.tenant_id), 'name', k.name, 'scopes', k.scopes, 'allow', "      \
    "k.allow, 'state', k.state, 'not_before', k.not_before, 'expires_at', k.expires_at, "          \
    "'created_at', k.created_at, 'revoked_at', k.revoked_at, 'last_used', k.last_used, "           \
    "'pepper_version', k.pepper_version)"

struct new_key {
    struct key_new key;
    char mac[2 + 2 * KEY_MAC_LEN + 1], pepper[8];
};

static void new_key(struct admin_call *call, struct new_key *out)
{
    *out = (struct new_key){ .mac = "\\x" };
    key_make(call->app->keys, &out->key);
    hex_encode(out->key.mac, KEY_MAC_LEN, out->mac + 2);
    snprintf(out->pepper, sizeof(out->pepper), "%u", out->key.pepper_version);
}

/* The row with the key in it, for the answer only. */
static void reply_with_key(struct admin_call *call, int status, struct buf *row,
                           const struct new_key *made)
{
    row->len--; /* the closing brace */
    buf_fmt(row, ", \"key\" : \"%s\"}", made->key.text);
    admin_reply(call, status, buf_view(row));
    explicit_bzero(row->data, row->len);
}

/* False after a problem was set. */
static bool read_wish(struct admin_call *call, bool whole, struct key_wish *out)
{
    char field[64], why[160];
    bool good = key_wish_read(call->json, whole, out, field, why);
    if (!good)
        admin_problem(call, 422, field, "%s", why);
    return good;
}

static void insert_key(struct admin_call *call, const struct key_wish *wish)
{
    struct new_key made;
    struct buf row;
    new_key(call, &made);
    const struct str v[] = { str_of(call->name), str_of(made.key.id), wish->name,
                             str_of(made.mac),   str_of(made.pepper), key_wish_scopes(wish),
                             wish->not_before,   wish->expires_at,    key_wish_allow(wish) };
    buf_init(&row, 1 << 20);
    if (admin_change(call,
                     "INSERT INTO maas.api_keys AS k (tenant_id, key_id, name, mac, "
                     "pepper_version, scopes, not_before, expires_at, allow) SELECT id, $2, $3, "
                     "$4::bytea, $5::int, $6::text[], $7::timestamptz, $8::timestamptz, "
                     "coalesce($9::cidr[], '{}') FROM maas.tenants WHERE slug = $1 RETURNING " KEY,
                     v, COUNT_OF(v), "key.create", "tenant", "such a key exists", &row))
        reply_with_key(call, 201, &row, &made);
    explicit_bzero(&made, sizeof(made));
    buf_release(&row);
}

void admin_create_key(struct admin_call *call)
{
    struct key_wish wish;
    if (read_wish(call, true, &wish))
        insert_key(call, &wish);
    key_wish_release(&wish);
}

void admin_list_keys(struct admin_call *call)
{
    struct str name = str_of(call->name);
    admin_reply_rows(call,
                     "SELECT json_build_object('data', coalesce(json_agg(r.row), '[]')) FROM "
                     "(SELECT " KEY " AS row FROM maas.api_keys k JOIN maas.tenants o ON o.id = "
                     "k.tenant_id WHERE o.slug = $1 ORDER BY k.created_at, k.key_id "
                     "LIMIT " ADMIN_ROWS_MAX ") r",
                     &name, 1);
}

void admin_get_key(struct admin_call *call)
{
    struct str name = str_of(call->name);
    struct buf row;
    buf_init(&row, 1 << 20);
    if (admin_ask(call, "SELECT " KEY " FROM maas.api_keys k WHERE k.key_id = $1", &name, 1, "key",
                  &row))
        admin_reply(call, 200, buf_view(&row));
    buf_release(&row);
}

void admin_change_key(struct admin_call *call)
{
    struct key_wish wish;
    if (read_wish(call, false, &wish)) {
        const struct str v[] = { str_of(call->name), wish.name,       key_wish_scopes(&wish),
                                 wish.not_before,    wish.expires_at, key_wish_allow(&wish) };
        admin_reply_change(
            call, 200,
            "UPDATE maas.api_keys k SET name = coalesce($2, k.name), scopes = coalesce($3::text[], "
            "k.scopes), not_before = coalesce($4::timestamptz, k.not_before), expires_at = "
            "coalesce($5::timestamptz, k.expires_at), allow = coalesce($6::cidr[], k.allow) WHERE "
            "k.key_id = $1 RETURNING " KEY,
            v, COUNT_OF(v), "key.change", "key", "not_before must come before expires_at");
    }
    key_wish_release(&wish);
}

void admin_revoke_key(struct admin_call *call)
{
    struct str name = str_of(call->name);
    admin_reply_change(call, 200,
                       "UPDATE maas.api_keys k SET state = 'revoked', revoked_at = coalesce("
                       "revoked_at, now()) WHERE key_id = $1 RETURNING " KEY,
                       &name, 1, "key.revoke", "key", NULL);
}

void admin_rotate_key(struct admin_call *call)
{
    static const char *const known[] = { "overlap_s" };
    char overlap[24];
    struct new_key made;
    struct buf row;
    if (!admin_fields(call, known, COUNT_OF(known)) ||
        !admin_number(call, "overlap_s", 0, OVERLAP_MOST, 86400, overlap))
        return;
    new_key(call, &made);
    const struct str v[] = { str_of(call->actor), str_of(call->request_id), str_of(call->name),
                             str_of(made.key.id), str_of(made.mac),         str_of(made.pepper),
                             str_of(overlap) };
    buf_init(&row, 1 << 20);
    if (admin_ask(
            call,
            "SELECT maas.key_rotate(NULL, $1, $2, $3, $4, $5::bytea, $6::int, $7::int, NULL) -> "
            "'key'",
            v, COUNT_OF(v), "active key", &row))
        reply_with_key(call, 201, &row, &made);
    explicit_bzero(&made, sizeof(made));
    buf_release(&row);
}

/* Which versions still have keys: one that has none may leave the file. */
void admin_list_peppers(struct admin_call *call)
{
    admin_reply_rows(call,
                     "SELECT json_build_object('data', coalesce(json_agg(r), '[]')) FROM (SELECT "
                     "k.pepper_version AS version, count(*) AS active_keys FROM maas.api_keys k "
                     "WHERE k.state = 'active' GROUP BY 1 ORDER BY 1) r",
                     NULL, 0);
}
