/*
 * data.c: ratings out of comma-separated values, and sparse rows out of ratings.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/csv.h"
#include "dataset/random.h"

static void ratings_release(struct rec_ratings *r)
{
    free(r->user);
    free(r->item);
    free(r->value);
}

void rec_data_release(struct rec_data *d)
{
    ratings_release(&d->train);
    ratings_release(&d->test);
    rec_names_release(&d->users);
    rec_names_release(&d->items);
}

static maas_status cancelled(maas_error *error)
{
    return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
}

/* ---- ratings out of a file */

static bool grow(struct rec_ratings *r)
{
    if (r->count < r->room)
        return true;
    const uint64_t room = r->room ? r->room * 2 : 4096;
    uint32_t *user = realloc(r->user, room * sizeof(*user));
    r->user = user ? user : r->user;
    uint32_t *item = realloc(r->item, room * sizeof(*item));
    r->item = item ? item : r->item;
    float *value = realloc(r->value, room * sizeof(*value));
    r->value = value ? value : r->value;
    r->room = user && item && value ? room : r->room;
    return r->count < r->room;
}

static maas_status add(struct rec_ratings *r, uint32_t user, uint32_t item, float value,
                       maas_error *error)
{
    if (r->count >= REC_RATINGS_MAX || !grow(r))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no room for more than %llu ratings",
                         (unsigned long long)r->count);
    r->user[r->count] = user;
    r->item[r->count] = item;
    r->value[r->count++] = value;
    return MAAS_OK;
}

struct columns {
    uint32_t user, item, rating;
};

static maas_status find_columns(const struct csv *csv, const struct rec_reading *how,
                                struct columns *c, maas_error *error)
{
    maas_status status = csv_find(csv, how->user_column, &c->user, error);
    if (!status)
        status = csv_find(csv, how->item_column, &c->item, error);
    c->rating = REC_NOBODY;
    if (!status && *how->rating_column)
        status = csv_find(csv, how->rating_column, &c->rating, error);
    return status;
}

static maas_status check_name(const struct csv *csv, const struct rec_reading *how,
                              const char *column, maas_str cell, maas_error *error)
{
    if (!cell.len || cell.len > REC_NAME_MAX)
        return maas_fail(error, MAAS_E_INVALID, "'%s', line %llu: '%s' must have 1 to %d bytes",
                         how->file, (unsigned long long)csv_line(csv), column, REC_NAME_MAX);
    return MAAS_OK;
}

struct reader { /* what is held while a file is read */
    const struct rec_reading *how;
    struct csv *csv;
    struct rec_table *users, *items;
    struct columns columns;
    uint64_t row, random;
    struct rec_data data;
};

static bool is_test(struct reader *r)
{
    if (r->how->test_every)
        return r->row % r->how->test_every == 0;
    return r->how->test_fraction > 0 && random_real(&r->random) < r->how->test_fraction;
}

static maas_status read_value(const struct reader *r, const maas_str *cells, double *out,
                              maas_error *error)
{
    *out = 1;
    if (r->columns.rating != REC_NOBODY &&
        (!csv_number(cells[r->columns.rating], out) || fabs(*out) > 1e6))
        return maas_fail(error, MAAS_E_INVALID,
                         "'%s', line %llu: '%s' must be a number of at most a million",
                         r->how->file, (unsigned long long)csv_line(r->csv), r->how->rating_column);
    return MAAS_OK;
}

static maas_status read_row(struct reader *r, const maas_str *cells, maas_error *error)
{
    uint32_t user = 0, item = 0;
    double value = 1;
    const maas_str who = cells[r->columns.user], what = cells[r->columns.item];
    maas_status status = check_name(r->csv, r->how, r->how->user_column, who, error);
    if (!status)
        status = check_name(r->csv, r->how, r->how->item_column, what, error);
    if (!status)
        status = read_value(r, cells, &value, error);
    if (!status)
        status = rec_table_index(r->users, who, &user, error);
    if (!status)
        status = rec_table_index(r->items, what, &item, error);
    struct rec_ratings *to = is_test(r) ? &r->data.test : &r->data.train;
    return status ? status : add(to, user, item, (float)value, error);
}

static maas_status read_rows(struct reader *r, maas_error *error)
{
    maas_status status = find_columns(r->csv, r->how, &r->columns, error);
    for (; !status; r->row++) {
        const maas_str *cells;
        status = csv_next(r->csv, &cells, error);
        if (status || !cells)
            break;
        status = read_row(r, cells, error);
        if (!status && rec_cancelled(r->how->work, 500))
            status = cancelled(error);
    }
    if (!status && !r->data.train.count)
        status = maas_fail(error, MAAS_E_INVALID, "'%s' has no ratings", r->how->file);
    return status;
}

/* ---- sparse rows: stable counting sorts, by column and then by row */

/* The numbers of the ratings by key, of equal keys as they came. false: no memory. */
static bool order_by(const uint32_t *key, uint64_t count, uint32_t *out, struct rec_work *work)
{
    uint32_t keys = 0;
    for (uint64_t i = 0; i < count; i++)
        keys = key[i] >= keys ? key[i] + 1 : keys;
    uint64_t *next = calloc((size_t)keys + 1, sizeof(*next));
    for (uint64_t i = 0; next && i < count; i++)
        next[key[i] + 1]++;
    for (uint32_t k = 0; next && k < keys; k++)
        next[k + 1] += next[k];
    for (uint64_t i = 0; next && i < count && !rec_cancelled(work, 8); i++)
        out[next[key[i]]++] = (uint32_t)i;
    free(next);
    return next != NULL;
}

static void fill_rows(struct rec_rows *out, const struct rec_ratings *r, bool by_item,
                      const uint32_t *order, uint64_t *next, struct rec_work *work)
{
    const uint32_t *row = by_item ? r->item : r->user, *column = by_item ? r->user : r->item;
    for (uint64_t i = 0; i < r->count; i++)
        out->from[row[i] + 1]++;
    for (uint32_t i = 0; i < out->count; i++)
        out->from[i + 1] += out->from[i];
    memcpy(next, out->from, out->count * sizeof(*next));
    for (uint64_t i = 0; i < r->count && !rec_cancelled(work, 8); i++) {
        const uint64_t to = next[row[order[i]]]++;
        out->column[to] = column[order[i]];
        out->value[to] = r->value[order[i]];
    }
}

bool rec_rows_make(struct rec_rows *out, const struct rec_ratings *r, uint32_t rows, bool by_item,
                   struct rec_work *work)
{
    uint32_t *order = calloc(r->count + 1, sizeof(*order));
    uint64_t *next = calloc((size_t)rows + 1, sizeof(*next));
    *out = (struct rec_rows){ .count = rows,
                              .from = calloc((size_t)rows + 1, sizeof(uint64_t)),
                              .column = calloc(r->count + 1, sizeof(uint32_t)),
                              .value = calloc(r->count + 1, sizeof(float)) };
    bool good = order && next && out->from && out->column && out->value &&
                order_by(by_item ? r->user : r->item, r->count, order, work);
    if (good && !rec_cancelled(work, 0))
        fill_rows(out, r, by_item, order, next, work);
    free(order);
    free(next);
    good = good && !rec_cancelled(work, 0);
    if (!good)
        rec_rows_release(out);
    return good;
}

void rec_rows_release(struct rec_rows *r)
{
    free(r->column);
    free(r->from);
    free(r->value);
    memset(r, 0, sizeof(*r));
}

const float *rec_rows_find(const struct rec_rows *r, uint32_t row, uint32_t column)
{
    uint64_t low = r->from[row], high = r->from[row + 1];
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (r->column[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->from[row + 1] && r->column[low] == column ? r->value + low : NULL;
}

/* A pair that stands there again: the last value, or the sum. */
static maas_status merge(struct rec_ratings *r, uint32_t users, const struct rec_reading *how,
                         maas_error *error)
{
    struct rec_rows rows;
    uint64_t kept = 0;
    if (!rec_rows_make(&rows, r, users, false, how->work))
        return rec_cancelled(how->work, 0)
                   ? cancelled(error)
                   : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu ratings",
                               (unsigned long long)r->count);
    for (uint32_t u = 0; u < users; u++)
        for (uint64_t i = rows.from[u]; i < rows.from[u + 1]; i++) {
            const bool again = kept && i > rows.from[u] && r->item[kept - 1] == rows.column[i];
            kept -= again;
            r->value[kept] = rows.value[i] + (again && how->sum ? r->value[kept] : 0);
            r->user[kept] = u;
            r->item[kept++] = rows.column[i];
        }
    r->count = kept;
    rec_rows_release(&rows);
    return MAAS_OK;
}

static maas_status read_all(struct reader *r, maas_error *error)
{
    if (!r->users || !r->items)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for names");
    maas_status status = read_rows(r, error);
    if (!status &&
        (!rec_table_names(r->users, &r->data.users) || !rec_table_names(r->items, &r->data.items)))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the names");
    return status ? status : merge(&r->data.train, r->data.users.count, r->how, error);
}

maas_status rec_data_read(const struct rec_reading *how, struct rec_data *out, maas_error *error)
{
    struct reader r = { .how = how, .random = how->random };
    maas_status status = csv_open(how->dir, how->file, &r.csv, error);
    if (status)
        return status;
    r.users = rec_table_new(REC_USERS_MAX);
    r.items = rec_table_new(REC_ITEMS_MAX);
    status = read_all(&r, error);
    csv_close(r.csv);
    rec_table_free(r.users);
    rec_table_free(r.items);
    if (status)
        rec_data_release(&r.data);
    else
        *out = r.data;
    return status;
}
