/*
 * call.h: one admin request. Private to admin/. Made on the admin loop, worked on by the control
 * thread, answered on the loop again.
 */
#ifndef MAAS_ADMIN_CALL_H
#define MAAS_ADMIN_CALL_H

#include <jansson.h>

#include "admin/admin.h"
#include "auth/token.h"
#include "base/buf.h"
#include "store/sql.h"

#define ADMIN_NAME_MAX 128 /* of a parameter in a path, with its NUL */

struct admin_call;
typedef void (*admin_handler)(struct admin_call *call);

struct admin_route {
    const char *method, *path; /* "{}" stands for one segment: call->name, then call->second */
    enum admin_role least;     /* the role it needs */
    uint32_t body_max;
    admin_handler run;
};
extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

struct admin_once; /* once.h */

struct admin_call {
    struct loop_post post; /* back to the loop */
    struct admin_call *next;
    struct admin *admin;
    struct exchange *ex; /* [loop] NULL when the client left */
    const struct admin_route *route;
    uint8_t token[TOKEN_HASH_LEN];
    char request_id[UUID_TEXT_MAX];
    char name[ADMIN_NAME_MAX], second[ADMIN_NAME_MAX]; /* the path's parameters */
    char query[1024];                                  /* raw */
    char *body;
    size_t body_len;
    struct admin_once *once; /* NULL: sent without an Idempotency-Key */
    /* [control] */
    struct sql *sql;
    struct app *app;
    json_t *json; /* the body as an object; NULL for routes that take bytes */
    char actor[160];
    int status;
    const char *type; /* of a good answer; NULL: application/json */
    struct buf out;
    bool replayed;                              /* out was kept from an earlier sending */
    void (*committed)(struct admin_call *call); /* NULL, or what follows the commit */
    struct uuid object;                         /* that it is about */
};

/* ---- plugins.c */
void admin_allow_plugin(struct admin_call *call);
void admin_list_plugins(struct admin_call *call);
void admin_revoke_plugin(struct admin_call *call);

/* ---- tenants.c: tenants and plans */
void admin_create_tenant(struct admin_call *call);
void admin_list_tenants(struct admin_call *call);
void admin_get_tenant(struct admin_call *call);
void admin_change_tenant(struct admin_call *call);
void admin_create_plan(struct admin_call *call);
void admin_list_plans(struct admin_call *call);
void admin_get_plan(struct admin_call *call);
void admin_change_plan(struct admin_call *call);
void admin_delete_plan(struct admin_call *call);

/* ---- keys.c */
void admin_create_key(struct admin_call *call);
void admin_list_keys(struct admin_call *call);
void admin_get_key(struct admin_call *call);
void admin_change_key(struct admin_call *call);
void admin_revoke_key(struct admin_call *call);
void admin_rotate_key(struct admin_call *call);
void admin_list_peppers(struct admin_call *call);

/* ---- limits.c: a list per owner */
void admin_get_limits(struct admin_call *call);
void admin_put_limits(struct admin_call *call);
void admin_extra_quota(struct admin_call *call);

/* ---- usage.c */
void admin_list_usage(struct admin_call *call);
void admin_reconcile(struct admin_call *call);
void admin_rebuild_totals(struct admin_call *call);
void admin_list_reconciliations(struct admin_call *call);
void admin_get_reconciliation(struct admin_call *call);

/* ---- answers: once a call. JSON text as it is, or a problem that names the field. */
void admin_reply(struct admin_call *call, int status, struct str json);
void admin_problem(struct admin_call *call, int status, const char *field, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The problem of a failed statement: `exists` and `missing` say what a unique or foreign key
 * violation means here. */
void admin_sql_problem(struct admin_call *call, maas_status status, const maas_error *error,
                       const char *conflict);

/* ---- reading the body: false after a problem was set */
bool admin_fields(struct admin_call *call, const char *const *known, size_t count);
bool admin_text(struct admin_call *call, const char *name,
                const char *fallback /* NULL: required */, struct str *out);
bool admin_number(struct admin_call *call, const char *name, int64_t least, int64_t most,
                  int64_t fallback /* < least: required */, char out[24]);
/* "true" or "false"; false when it is not there. */
bool admin_flag(struct admin_call *call, const char *name, struct str *out);
struct str admin_query(const struct admin_call *call, const char *name);

/* ---- SQL: one cell of JSON text. False after a problem was set; an empty result is 404 "there is
 * no such <what>". */
bool admin_ask(struct admin_call *call, const char *sql, const struct str *values, size_t count,
               const char *what, struct buf *out);
/* A change: runs `sql`, audits it as `action` on `object`, replies with the row. Within the call's
 * transaction. */
bool admin_change(struct admin_call *call, const char *sql, const struct str *values, size_t count,
                  const char *action, const char *object, const char *conflict, struct buf *out);

/* The two above, answered: a change with its row, a query with its one cell of JSON text. */
void admin_reply_change(struct admin_call *call, int status, const char *sql,
                        const struct str *values, size_t count, const char *action,
                        const char *object, const char *conflict);
void admin_reply_rows(struct admin_call *call, const char *sql, const struct str *values,
                      size_t count);
#define ADMIN_ROWS_MAX "1000"

#endif
