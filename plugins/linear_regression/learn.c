/*
 * learn.c: what a column's levels are, and what its empty cells become: of the training rows alone.
 *
 * Levels are counted in a sorted list. Means are sums. A median is exact and needs no row in
 * memory: doubles, read as integers whose order is theirs, are found by their digits of 11 bits,
 * the highest first: a pass counts how many values have each digit behind those that are known, and
 * so finds the next one (radix selection). Of an even count the two in the middle are sought
 * together.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "dataset/csv.h"
#include "linreg.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

struct level {
    char name[LINREG_NAME_MAX];
    uint64_t count;
};

struct middle { /* the value of one rank */
    uint64_t prefix, rank;
    uint64_t counts[DIGITS];
};

struct learnt { /* of a column */
    struct level *levels;
    uint32_t level_count, room;
    uint64_t numbers;
    long double sum;
    struct middle *middles; /* 2, or NULL */
};

static maas_status no_memory(maas_error *error)
{
    return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to learn the columns");
}

/* ---- levels */

/* Where the cell stands or would stand. */
static uint32_t place_of(const struct learnt *l, maas_str cell, bool *out_there)
{
    uint32_t low = 0, high = l->level_count;
    *out_there = false;
    while (low < high && !*out_there) {
        uint32_t middle = (low + high) / 2;
        int order = linreg_order(l->levels[middle].name, cell);
        *out_there = order == 0;
        *(order < 0 ? &low : &high) = middle + (order < 0);
        low = order ? low : middle;
    }
    return low;
}

static maas_status add_level(struct learnt *l, maas_str cell, const char *column, uint64_t line,
                             maas_error *error)
{
    bool there;
    uint32_t at = place_of(l, cell, &there);
    if (there) {
        l->levels[at].count++;
        return MAAS_OK;
    }
    if (l->level_count == LINREG_LEVELS_MAX || cell.len >= LINREG_NAME_MAX)
        return maas_fail(error, MAAS_E_INVALID,
                         "train.csv, line %llu: column '%.96s' has %s: is it a category?",
                         (unsigned long long)line, column,
                         cell.len >= LINREG_NAME_MAX ? "a level of more than 255 bytes"
                                                     : "more than 256 levels");
    if (l->level_count == l->room) {
        uint32_t room = l->room ? 2 * l->room : 8;
        struct level *more = realloc(l->levels, room * sizeof(*more));
        if (!more)
            return no_memory(error);
        l->levels = more;
        l->room = room;
    }
    memmove(&l->levels[at + 1], &l->levels[at], (l->level_count++ - at) * sizeof(*l->levels));
    memset(&l->levels[at], 0, sizeof(*l->levels));
    memcpy(l->levels[at].name, cell.data, cell.len);
    l->levels[at].count = 1;
    return MAAS_OK;
}

static maas_status keep_levels(const struct learnt *l, struct column *c, maas_error *error)
{
    uint32_t most = 0;
    if (l->level_count < 2)
        return maas_fail(error, MAAS_E_INVALID,
                         "column '%.96s' has one level only in the training rows: leave it out",
                         c->name);
    c->levels = calloc(l->level_count, sizeof(*c->levels));
    if (!c->levels)
        return no_memory(error);
    c->level_count = l->level_count;
    for (uint32_t i = 0; i < l->level_count; i++) {
        memcpy(c->levels[i], l->levels[i].name, LINREG_NAME_MAX);
        most = l->levels[i].count > l->levels[most].count ? i : most;
    }
    c->fill = most;
    return MAAS_OK;
}

/* ---- the pass for levels and means */

static maas_status learn_cell(struct learnt *l, bool category, const struct data_row *row,
                              uint32_t feature, const char *name, maas_error *error)
{
    double value;
    maas_str cell = row->cells[feature];
    if (linreg_cell_is_empty(cell))
        return MAAS_OK;
    if (category)
        return add_level(l, cell, name, row->line, error);
    if (csv_number(cell, &value)) {
        l->numbers++;
        l->sum += value;
    }
    return MAAS_OK;
}

static maas_status learn_rows(struct data *d, const struct linreg *m, const bool *categorical,
                              struct learnt *learnt, maas_error *error)
{
    struct data_row row;
    maas_status status = data_rewind(d, error);
    while (!status && !(status = data_next(d, &row, error)) && !row.end)
        for (uint32_t i = 0; i < m->features && !status && row.part == DATA_TRAIN; i++)
            status = learn_cell(&learnt[i], categorical[i], &row, i, m->columns[i].name, error);
    return status;
}

/* ---- medians */

/* Doubles as integers of the same order, and back. */
static uint64_t key_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits >> 63 ? ~bits : bits ^ (1ull << 63);
}

static double value_of(uint64_t key)
{
    uint64_t bits = key >> 63 ? key ^ (1ull << 63) : ~key;
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Counts the values' digits at `shift`, `bits` wide, of those that begin with the prefix. */
static void count_digit(struct middle *m, uint64_t key, int shift, int bits)
{
    uint64_t above = shift + bits < 64 ? key >> (shift + bits) : 0;
    if (above == m->prefix)
        m->counts[key >> shift & ((1u << bits) - 1)]++;
}

static void next_digit(struct middle *m, int bits)
{
    uint64_t digit = 0;
    while (m->rank >= m->counts[digit])
        m->rank -= m->counts[digit++];
    m->prefix = m->prefix << bits | digit;
    memset(m->counts, 0, sizeof(m->counts));
}

static maas_status median_pass(struct data *d, uint32_t features, struct learnt *learnt, int shift,
                               int bits, maas_error *error)
{
    struct data_row row;
    double value;
    maas_status status = data_rewind(d, error);
    while (!status && !(status = data_next(d, &row, error)) && !row.end)
        for (uint32_t i = 0; i < features && row.part == DATA_TRAIN; i++)
            for (int k = 0; k < 2 && learnt[i].middles && csv_number(row.cells[i], &value); k++)
                count_digit(&learnt[i].middles[k], key_of(value), shift, bits);
    for (uint32_t i = 0; i < features && !status; i++)
        for (int k = 0; k < 2 && learnt[i].middles; k++)
            next_digit(&learnt[i].middles[k], bits);
    return status;
}

static maas_status learn_medians(struct data *d, struct linreg *m, struct learnt *learnt,
                                 maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < m->features; i++) {
        struct learnt *l = &learnt[i];
        if (!l->numbers)
            continue;
        if (!(l->middles = calloc(2, sizeof(*l->middles))))
            return no_memory(error);
        l->middles[0].rank = (l->numbers - 1) / 2;
        l->middles[1].rank = l->numbers / 2;
    }
    for (int shift = 64; shift > 0 && !status;) {
        int bits = shift < DIGIT_BITS ? shift : DIGIT_BITS;
        shift -= bits;
        status = median_pass(d, m->features, learnt, shift, bits, error);
    }
    for (uint32_t i = 0; i < m->features && !status; i++)
        if (learnt[i].middles)
            m->columns[i].fill = value_of(learnt[i].middles[0].prefix) / 2 +
                                 value_of(learnt[i].middles[1].prefix) / 2;
    return status;
}

/* ---- the whole */

static maas_status keep(struct data *d, struct linreg *m, const bool *categorical,
                        struct learnt *learnt, maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < m->features && !status; i++) {
        struct column *c = &m->columns[i];
        if (categorical[i])
            status = keep_levels(&learnt[i], c, error);
        else if (linreg_fills(m) && !learnt[i].numbers)
            status = maas_fail(error, MAAS_E_INVALID,
                               "column '%.96s' is empty in all training rows", c->name);
        else if (linreg_fills(m))
            c->fill = (double)(learnt[i].sum / (long double)learnt[i].numbers);
    }
    return !status && m->missing == LINREG_MEDIAN ? learn_medians(d, m, learnt, error) : status;
}

maas_status learn_columns(struct data *d, struct linreg *m, const bool *categorical,
                          maas_error *error)
{
    bool wanted = linreg_fills(m);
    for (uint32_t i = 0; i < m->features; i++)
        wanted = wanted || categorical[i];
    if (!wanted)
        return MAAS_OK;
    struct learnt *learnt = calloc(m->features, sizeof(*learnt));
    maas_status status = learnt ? learn_rows(d, m, categorical, learnt, error) : no_memory(error);
    if (!status)
        status = keep(d, m, categorical, learnt, error);
    for (uint32_t i = 0; learnt && i < m->features; i++) {
        free(learnt[i].levels);
        free(learnt[i].middles);
    }
    free(learnt);
    return status;
}
