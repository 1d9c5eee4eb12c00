/*
 * data.c: ratings out of comma-separated values, and names with their indices. Names get indices in
 * the order of their first row.
 */
#include "recommender.h"

#include <math.h>
#include <stdlib.h>

#include <uthash.h>

#include "dataset/csv.h"

struct known {
    UT_hash_handle hh;
    uint32_t index;
    uint32_t len;
    char name[];
};

struct table { /* while reading */
    struct known *all;
    uint32_t count, most;
    uint64_t bytes;
};

void rec_names_release(struct rec_names *n)
{
    free(n->from);
    free(n->text);
    free(n->sorted);
    memset(n, 0, sizeof(*n));
}

void rec_rows_release(struct rec_rows *r)
{
    free(r->column);
    free(r->from);
    free(r->value);
    memset(r, 0, sizeof(*r));
}

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

/* ---- names */

maas_str rec_name(const struct rec_names *n, uint32_t index)
{
    return (maas_str){ n->text + n->from[index], n->from[index + 1] - n->from[index] };
}

static int compare(maas_str a, maas_str b)
{
    const int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b, void *names)
{
    return compare(rec_name(names, *(const uint32_t *)a), rec_name(names, *(const uint32_t *)b));
}

bool rec_names_sort(struct rec_names *n)
{
    n->sorted = calloc(n->count + 1, sizeof(*n->sorted));
    for (uint32_t i = 0; n->sorted && i < n->count; i++)
        n->sorted[i] = i;
    if (n->sorted)
        qsort_r(n->sorted, n->count, sizeof(*n->sorted), by_name, n);
    return n->sorted != NULL;
}

uint32_t rec_find(const struct rec_names *n, maas_str name)
{
    uint32_t low = 0, high = n->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (compare(rec_name(n, n->sorted[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n->count && compare(rec_name(n, n->sorted[low]), name) == 0 ? n->sorted[low]
                                                                             : REC_NOBODY;
}

static maas_status index_of(struct table *t, maas_str name, uint32_t *out, maas_error *error)
{
    struct known *k;
    HASH_FIND(hh, t->all, name.data, name.len, k);
    if (!k) {
        if (t->count == t->most)
            return maas_fail(error, MAAS_E_EXHAUSTED, "more than %u different names", t->most);
        k = calloc(1, sizeof(*k) + name.len);
        if (!k)
            return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u names", t->count);
        memcpy(k->name, name.data, name.len);
        k->len = (uint32_t)name.len;
        k->index = t->count++;
        t->bytes += name.len;
        HASH_ADD_KEYPTR(hh, t->all, k->name, name.len, k);
    }
    *out = k->index;
    return MAAS_OK;
}

static void table_release(struct table *t)
{
    struct known *k, *next;
    HASH_ITER(hh, t->all, k, next)
    {
        HASH_DEL(t->all, k);
        free(k);
    }
}

/* uthash walks in the order of adding, which is that of the indices. */
static bool take_names(struct rec_names *out, const struct table *t)
{
    uint64_t at = 0;
    out->count = t->count;
    out->from = calloc((size_t)t->count + 1, sizeof(*out->from));
    out->text = malloc(t->bytes + 1);
    if (!out->from || !out->text)
        return false;
    for (const struct known *k = t->all; k; k = k->hh.next) {
        memcpy(out->text + at, k->name, k->len);
        at += k->len;
        out->from[k->index + 1] = at;
    }
    return rec_names_sort(out);
}

/* ---- ratings */

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

static maas_status read_row(const struct csv *csv, const struct rec_reading *how,
                            const struct columns *c, const maas_str *cells, struct table *users,
                            struct table *items, uint64_t row, struct rec_data *out,
                            maas_error *error)
{
    uint32_t user = 0, item = 0;
    double value = 1;
    maas_status status = check_name(csv, how, how->user_column, cells[c->user], error);
    if (!status)
        status = check_name(csv, how, how->item_column, cells[c->item], error);
    if (!status && c->rating != REC_NOBODY &&
        (!csv_number(cells[c->rating], &value) || fabs(value) > 1e6))
        status = maas_fail(error, MAAS_E_INVALID,
                           "'%s', line %llu: '%s' must be a number of at most a million", how->file,
                           (unsigned long long)csv_line(csv), how->rating_column);
    if (!status)
        status = index_of(users, cells[c->user], &user, error);
    if (!status)
        status = index_of(items, cells[c->item], &item, error);
    if (status)
        return status;
    const bool test = how->test_every && row % how->test_every == 0;
    return add(test ? &out->test : &out->train, user, item, (float)value, error);
}

static maas_status read_rows(struct csv *csv, const struct rec_reading *how, struct table *users,
                             struct table *items, struct rec_data *out, maas_error *error)
{
    struct columns c;
    maas_status status = find_columns(csv, how, &c, error);
    for (uint64_t row = 0; !status; row++) {
        const maas_str *cells;
        status = csv_next(csv, &cells, error);
        if (status || !cells)
            break;
        status = read_row(csv, how, &c, cells, users, items, row, out, error);
    }
    if (!status && !out->train.count)
        status = maas_fail(error, MAAS_E_INVALID, "'%s' has no ratings", how->file);
    return status;
}

/* ---- sparse rows: counting sort by row, then each row by column */

struct entry {
    uint32_t column;
    float value;
    uint32_t order;
};

static int by_column(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

bool rec_rows_make(struct rec_rows *out, const struct rec_ratings *r, uint32_t rows, bool by_item)
{
    const uint32_t *row = by_item ? r->item : r->user, *column = by_item ? r->user : r->item;
    struct entry *all = calloc(r->count + 1, sizeof(*all));
    uint64_t *next = calloc((size_t)rows + 1, sizeof(*next));
    *out = (struct rec_rows){ .count = rows,
                              .from = calloc((size_t)rows + 1, sizeof(uint64_t)),
                              .column = calloc(r->count + 1, sizeof(uint32_t)),
                              .value = calloc(r->count + 1, sizeof(float)) };
    const bool good = all && next && out->from && out->column && out->value;
    for (uint64_t i = 0; good && i < r->count; i++)
        out->from[row[i] + 1]++;
    for (uint32_t i = 0; good && i < rows; i++)
        out->from[i + 1] += out->from[i];
    if (good)
        memcpy(next, out->from, rows * sizeof(*next));
    for (uint64_t i = 0; good && i < r->count; i++)
        all[next[row[i]]++] = (struct entry){ column[i], r->value[i], (uint32_t)i };
    for (uint32_t i = 0; good && i < rows; i++)
        qsort(all + out->from[i], out->from[i + 1] - out->from[i], sizeof(*all), by_column);
    for (uint64_t i = 0; good && i < r->count; i++) {
        out->column[i] = all[i].column;
        out->value[i] = all[i].value;
    }
    free(all);
    free(next);
    if (!good)
        rec_rows_release(out);
    return good;
}

/* A pair that stands there again: the last value, or the sum. */
static maas_status merge(struct rec_ratings *r, uint32_t users, bool sum, maas_error *error)
{
    struct rec_rows rows;
    uint64_t kept = 0;
    if (!rec_rows_make(&rows, r, users, false))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu ratings",
                         (unsigned long long)r->count);
    for (uint32_t u = 0; u < users; u++)
        for (uint64_t i = rows.from[u]; i < rows.from[u + 1]; i++) {
            const bool again = kept && i > rows.from[u] && r->item[kept - 1] == rows.column[i];
            kept -= again;
            r->value[kept] = rows.value[i] + (again && sum ? r->value[kept] : 0);
            r->user[kept] = u;
            r->item[kept++] = rows.column[i];
        }
    r->count = kept;
    rec_rows_release(&rows);
    return MAAS_OK;
}

maas_status rec_data_read(const struct rec_reading *how, struct rec_data *out, maas_error *error)
{
    struct csv *csv;
    struct rec_data d = { .train = { 0 } };
    struct table users = { .most = REC_USERS_MAX }, items = { .most = REC_ITEMS_MAX };
    maas_status status = csv_open(how->dir, how->file, &csv, error);
    if (status)
        return status;
    status = read_rows(csv, how, &users, &items, &d, error);
    if (!status && (!take_names(&d.users, &users) || !take_names(&d.items, &items)))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the names");
    if (!status)
        status = merge(&d.train, d.users.count, how->sum, error);
    csv_close(csv);
    table_release(&users);
    table_release(&items);
    if (status)
        rec_data_release(&d);
    else
        *out = d;
    return status;
}
