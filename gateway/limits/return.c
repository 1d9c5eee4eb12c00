/*
 * return.c: at the end of a process its unspent units go back to their pots: what it holds of each
 * becomes what it spent, and the lessee is closed.
 */
#include "limits/bucket.h"

#include "store/sql.h"

static maas_status return_one(struct limiter *limiter, struct bucket *b, struct sql *sql,
                              maas_error *error)
{
    char id[2][UUID_TEXT_MAX], text[4][WORD_MAX];
    struct quota *q = &b->quota;
    if (b->kind != BUCKET_QUOTA || !q->known)
        return MAAS_OK;
    const uint64_t numbers[] = { b->limit.scope, b->limit.measure, atomic_load(&q->start_us),
                                 quota_put_away(q) };
    struct str words[COUNT_OF(numbers)];
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        words[i] = word_of(text[i], numbers[i]);
    uuid_format(&b->limit.id, id[0]);
    uuid_format(&b->limit.id2, id[1]);
    const struct str values[] = { str_of(limiter->lessee_text),
                                  words[0],
                                  str_of(id[0]),
                                  str_of(id[1]),
                                  words[1],
                                  words[2],
                                  words[3] };
    return sql_exec(sql,
                    "SELECT maas.quota_return($1::uuid, $2::integer, $3::uuid, $4::uuid,"
                    " $5::integer, $6::bigint, $7::bigint)",
                    values, COUNT_OF(values), NULL, error);
}

static maas_status return_all(struct limiter *limiter, struct sql *sql, maas_error *error)
{
    const struct str lessee = str_of(limiter->lessee_text);
    maas_status status = /* first, so that locks are taken in the order of quota_lease */
        sql_exec(sql, "SELECT maas.quota_end($1::uuid)", &lessee, 1, NULL, error);
    for (struct bucket *b = limiter->newest; b && !status; b = b->lru_older)
        status = return_one(limiter, b, sql, error);
    return status;
}

maas_status limits_return(struct limiter *limiter, struct sql *sql, maas_error *error)
{
    maas_status status = sql_begin(sql, NULL, error);
    if (status)
        return status;
    status = return_all(limiter, sql, error);
    if (!status)
        return sql_commit(sql, error);
    sql_rollback(sql);
    return status;
}
