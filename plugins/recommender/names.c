/*
 * names.c: the names of users and items: while data is read, a table that gives each name an index
 * in the order of its first row; in a model, one text with the places of its names, found by
 * bisection.
 */
#include "recommender.h"

#include <stdlib.h>

#include <uthash.h>

struct known {
    UT_hash_handle hh;
    uint32_t index;
    uint32_t len;
    char name[];
};

struct rec_table {
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

maas_str rec_name(const struct rec_names *n, uint32_t index)
{
    return (maas_str){ n->text + n->from[index], n->from[index + 1] - n->from[index] };
}

static int compare(maas_str a, maas_str b)
{
    const size_t common = a.len < b.len ? a.len : b.len;
    const int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b, void *names)
{
    return compare(rec_name(names, *(const uint32_t *)a), rec_name(names, *(const uint32_t *)b));
}

bool rec_names_sort(struct rec_names *n)
{
    n->sorted = calloc((size_t)n->count + 1, sizeof(*n->sorted));
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

/* ---- while data is read */

struct rec_table *rec_table_new(uint32_t most)
{
    struct rec_table *t = calloc(1, sizeof(*t));
    if (t)
        t->most = most;
    return t;
}

void rec_table_free(struct rec_table *t)
{
    struct known *k, *next;
    if (!t)
        return;
    HASH_ITER(hh, t->all, k, next)
    {
        HASH_DEL(t->all, k);
        free(k);
    }
    free(t);
}

static maas_status add(struct rec_table *t, maas_str name, struct known **out, maas_error *error)
{
    if (t->count == t->most)
        return maas_fail(error, MAAS_E_EXHAUSTED, "more than %u different names", t->most);
    struct known *k = calloc(1, sizeof(*k) + name.len);
    if (!k)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u names", t->count);
    memcpy(k->name, name.data, name.len);
    k->len = (uint32_t)name.len;
    k->index = t->count++;
    t->bytes += name.len;
    HASH_ADD_KEYPTR(hh, t->all, k->name, name.len, k);
    *out = k;
    return MAAS_OK;
}

maas_status rec_table_index(struct rec_table *t, maas_str name, uint32_t *out, maas_error *error)
{
    struct known *k;
    HASH_FIND(hh, t->all, name.data, name.len, k);
    maas_status status = k ? MAAS_OK : add(t, name, &k, error);
    if (!status)
        *out = k->index;
    return status;
}

/* uthash walks in the order of adding, which is that of the indices. */
bool rec_table_names(const struct rec_table *t, struct rec_names *out)
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
