/*
 * conninfo.c: addresses of PostgreSQL and the meaning of its error codes, for sql.c and pg.c.
 *
 * The text is parsed by libpq into keywords and values, which are kept. Ours are added behind them:
 * statement_timeout goes in as a start-up option, so no connection is ever without it. A setting
 * the operator gives wins over ours.
 *
 * Rejected: connect_timeout, which libpq ignores when it is asked not to block; the callers hold
 * the deadline instead.
 */
#include "store/conninfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYWORDS_MAX 64

struct conninfo {
    char *keywords[KEYWORDS_MAX + 1];
    char *values[KEYWORDS_MAX + 1];
    size_t count;
    unsigned starts;
};

static const char *find(const struct conninfo *info, const char *keyword)
{
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0)
            return info->values[i];
    return NULL;
}

/* False without room or memory. */
static bool put(struct conninfo *info, const char *keyword, const char *value)
{
    size_t i = info->count;
    if (i == KEYWORDS_MAX)
        return false;
    info->keywords[i] = strdup(keyword);
    info->values[i] = strdup(value);
    if (info->keywords[i] && info->values[i]) {
        info->count++;
        return true;
    }
    free(info->keywords[i]);
    free(info->values[i]);
    info->keywords[i] = info->values[i] = NULL;
    return false;
}

static bool put_default(struct conninfo *info, const char *keyword, const char *value)
{
    return find(info, keyword) || put(info, keyword, value);
}

/* The server is told first, then TCP: both give up no later than the caller does. */
static bool put_deadlines(struct conninfo *info, uint32_t call_timeout_ms)
{
    char number[16];
    snprintf(number, sizeof number, "%u", call_timeout_ms);
    char options[512];
    const char *given = find(info, "options");
    int n = snprintf(options, sizeof options, "-c statement_timeout=%u %s", call_timeout_ms,
                     given ? given : "");
    if (n < 0 || (size_t)n >= sizeof options)
        return false;
    /* Of two values for one keyword libpq takes the last. */
    return put(info, "options", options) && put_default(info, "tcp_user_timeout", number);
}

static maas_status fill(struct conninfo *info, const PQconninfoOption *options,
                        uint32_t call_timeout_ms, maas_error *error)
{
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val)
            continue;
        if (!put(info, o->keyword, o->val))
            return fail(error, MAAS_E_EXHAUSTED, "no memory for a database address");
    }
    if (!put_default(info, "client_encoding", "UTF8") ||
        !put_default(info, "fallback_application_name", "maas") ||
        !put_deadlines(info, call_timeout_ms))
        return fail(error, MAAS_E_INVALID, "database address: too long");
    return MAAS_OK;
}

maas_status conninfo_new(const char *text, uint32_t call_timeout_ms, struct conninfo **out,
                         maas_error *error)
{
    char *reason = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &reason);
    if (!options) {
        maas_status status = fail(error, MAAS_E_INVALID, "database address: %.*s",
                                  reason ? (int)strcspn(reason, "\n") : 0, reason ? reason : "");
        PQfreemem(reason);
        return status;
    }
    maas_status status = MAAS_OK;
    struct conninfo *info = calloc(1, sizeof *info);
    if (!info)
        status = fail(error, MAAS_E_EXHAUSTED, "no memory for a database address");
    if (status == MAAS_OK)
        status = fill(info, options, call_timeout_ms, error);
    PQconninfoFree(options);
    if (status == MAAS_OK)
        *out = info;
    else
        conninfo_free(info);
    return status;
}

void conninfo_free(struct conninfo *info)
{
    if (!info)
        return;
    for (size_t i = 0; i < info->count; i++) {
        explicit_bzero(info->values[i], strlen(info->values[i])); /* one of them is the password */
        free(info->values[i]);
        free(info->keywords[i]);
    }
    free(info);
}

/* Moves the first element of a comma-separated list to its end, in place. */
static void rotate(char *list)
{
    size_t len = strlen(list);
    char *comma = strchr(list, ',');
    if (!comma)
        return;
    size_t head = (size_t)(comma - list);
    char *copy = strndup(list, head);
    if (!copy)
        return;
    memmove(list, comma + 1, len - head - 1);
    list[len - head - 1] = ',';
    memcpy(list + len - head, copy, head);
    free(copy);
}

PGconn *conninfo_start(struct conninfo *info)
{
    for (size_t i = 0; info->starts > 0 && i < info->count; i++)
        if (strcmp(info->keywords[i], "host") == 0 || strcmp(info->keywords[i], "hostaddr") == 0 ||
            strcmp(info->keywords[i], "port") == 0)
            rotate(info->values[i]);
    info->starts++;
    const char *keywords[KEYWORDS_MAX + 1] = { 0 }, *values[KEYWORDS_MAX + 1] = { 0 };
    for (size_t i = 0; i < info->count; i++) {
        keywords[i] = info->keywords[i];
        values[i] = info->values[i];
    }
    return PQconnectStartParams(keywords, values, 0);
}

/* Longest prefixes first. */
static const struct {
    const char *prefix;
    maas_status status;
} sqlstates[] = {
    { "23505", MAAS_E_EXISTS },      /* unique_violation */
    { "40001", MAAS_E_ABORTED },     /* serialization_failure */
    { "40P01", MAAS_E_ABORTED },     /* deadlock_detected */
    { "55P03", MAAS_E_ABORTED },     /* lock_not_available */
    { "42501", MAAS_E_DENIED },      /* insufficient_privilege */
    { "57014", MAAS_E_DEADLINE },    /* query_canceled: statement_timeout */
    { "25006", MAAS_E_UNAVAILABLE }, /* read_only_sql_transaction: no longer the primary */
    { "08", MAAS_E_UNAVAILABLE },    /* connection */
    { "53", MAAS_E_UNAVAILABLE },    /* out of connections, disk or memory */
    { "57P", MAAS_E_UNAVAILABLE },   /* shutting down, starting up */
    { "22", MAAS_E_INVALID },        /* a value that is not of its type */
    { "23", MAAS_E_PRECONDITION },   /* another constraint */
};

maas_status sqlstate_status(const char *sqlstate)
{
    if (!sqlstate)
        return MAAS_E_UNAVAILABLE;
    for (size_t i = 0; i < COUNT_OF(sqlstates); i++)
        if (strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
            return sqlstates[i].status;
    return MAAS_E_INTERNAL;
}
