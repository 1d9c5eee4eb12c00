/*
 * data.c: a file of rows as a regression sees it: which columns, which rows, which of them train.
 *
 * Nothing is kept of the rows here (kept.c may); each pass reads the file again and sees the same
 * rows in the same order. The first pass (survey) counts them and finds out what each column holds.
 * Then the test rows are drawn as the rows go by: of the `left` rows that come each is taken with
 * probability test_left / left, which gives exactly as many as were asked for (Knuth, TAOCP
 * 2, 3.4.2, algorithm S).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "dataset/csv.h"
#include "dataset/random.h"
#include "linreg.h"

enum { NO_COLUMN = UINT32_MAX, LOOK_EVERY = 1024 };

struct survey { /* of a column, over all rows that count */
    uint64_t numbers, texts, text_line;
    char text[32];  /* the first that is no number */
    double largest; /* magnitude */
};

struct data {
    struct csv *csv;
    struct linreg *m;
    const char *file;
    struct data_watch watch;                    /* host NULL: none */
    uint32_t target, weight, *at;               /* columns of the file; at: features */
    maas_str *cells;                            /* features */
    double *values;                             /* features */
    struct survey *survey;                      /* features */
    double *largest, largest_y, largest_weight; /* of the terms, for the fit */
    uint64_t read;
    /* The split. */
    bool split, drawn;
    uint64_t kept, tests, seed;
    uint64_t left, tests_left, random; /* of this pass */
};

#define FAIL_AT(d, error, fmt, ...)                                                                \
    maas_fail(error, MAAS_E_INVALID, "%s, line %llu: " fmt, (d)->file,                             \
              (unsigned long long)csv_line((d)->csv), __VA_ARGS__)

static maas_status no_memory(maas_error *error)
{
    return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the columns");
}

/* ---- rows */

maas_status data_rewind(struct data *d, maas_error *error)
{
    d->left = d->kept;
    d->tests_left = d->tests;
    d->random = d->seed;
    return csv_rewind(d->csv, error);
}

static enum data_part draw_part(struct data *d)
{
    if (!d->split || d->left == 0)
        return DATA_TEST;
    bool test =
        d->drawn ? random_below(&d->random, d->left) < d->tests_left : d->left <= d->tests_left;
    d->left--;
    d->tests_left -= test;
    return test ? DATA_TEST : DATA_TRAIN;
}

static maas_status read_weight(struct data *d, const maas_str *cells, double *out,
                               maas_error *error)
{
    *out = 1;
    if (d->weight == NO_COLUMN)
        return MAAS_OK;
    maas_str name = csv_name(d->csv, d->weight);
    if (!csv_number(cells[d->weight], out))
        return FAIL_AT(d, error, "column '%.*s' is not one finite number", (int)name.len,
                       name.data);
    if (*out < 0)
        return FAIL_AT(d, error, "the weight '%.*s' is negative", (int)name.len, name.data);
    return MAAS_OK;
}

/* *out_keep: nothing that is wanted is empty. */
static maas_status check_empty(struct data *d, const maas_str *cells, bool *out_keep,
                               maas_error *error)
{
    *out_keep = !linreg_cell_is_empty(cells[d->target]) || d->m->missing != LINREG_DROP;
    for (uint32_t i = 0; i < d->m->features; i++) {
        d->cells[i] = cells[d->at[i]];
        if (linreg_fills(d->m) || !linreg_cell_is_empty(d->cells[i]))
            continue;
        if (d->m->missing == LINREG_REFUSE)
            return FAIL_AT(d, error,
                           "column '%.96s' is empty (option 'missing' says what that "
                           "means)",
                           d->m->columns[i].name);
        *out_keep = false;
    }
    return MAAS_OK;
}

static maas_status read_row(struct data *d, const maas_str *cells, struct data_row *out,
                            bool *out_keep, maas_error *error)
{
    maas_status status = read_weight(d, cells, &out->weight, error);
    *out_keep = out->weight > 0;
    if (status || !*out_keep)
        return status;
    status = check_empty(d, cells, out_keep, error);
    if (status || !*out_keep)
        return status;
    if (!csv_number(cells[d->target], &out->y))
        return FAIL_AT(d, error, "column '%.96s' is not one finite number", d->m->target);
    out->cells = d->cells;
    out->line = csv_line(d->csv);
    return MAAS_OK;
}

maas_status data_next(struct data *d, struct data_row *out, maas_error *error)
{
    const maas_str *cells;
    bool keep = false;
    memset(out, 0, sizeof(*out));
    while (!keep) {
        if (d->read++ % LOOK_EVERY == 0 && d->watch.host &&
            d->watch.host->cancelled(d->watch.host, d->watch.job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled");
        maas_status status = csv_next(d->csv, &cells, error);
        if (status)
            return status;
        if (!cells) {
            out->end = true;
            return MAAS_OK;
        }
        status = read_row(d, cells, out, &keep, error);
        if (status)
            return status;
    }
    out->part = draw_part(d);
    return MAAS_OK;
}

maas_status data_values(const struct data *d, const struct data_row *row, double *values,
                        bool *out_known, maas_error *error)
{
    *out_known = true;
    for (uint32_t i = 0; i < d->m->features; i++) {
        enum linreg_cell is = linreg_read_cell(d->m, i, row->cells[i], &values[i]);
        char at[64];
        if (is == LINREG_CELL_UNKNOWN)
            *out_known = false;
        if (is == LINREG_CELL_OK || is == LINREG_CELL_UNKNOWN)
            continue;
        snprintf(at, sizeof(at), "%s, line %llu", d->file, (unsigned long long)row->line);
        return linreg_cell_refused(d->m, i, row->cells[i], is, at, error);
    }
    return MAAS_OK;
}

/* ---- which columns */

static maas_status add_feature(struct data *d, const char *name, size_t len, maas_error *error)
{
    struct linreg *m = d->m;
    char text[LINREG_NAME_MAX];
    uint32_t at;
    snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text) - 1), name);
    maas_status status = csv_find(d->csv, text, &at, error);
    if (status)
        return status;
    if (at == d->target || at == d->weight)
        return maas_fail(error, MAAS_E_INVALID, "column '%.96s' is the %s, not a feature", text,
                         at == d->target ? "target" : "weight");
    if (m->features == LINREG_FEATURES_MAX || m->features == csv_columns(d->csv))
        return maas_fail(error, MAAS_E_INVALID, "more features than %d, or than columns",
                         LINREG_FEATURES_MAX);
    memcpy(m->columns[m->features].name, text, LINREG_NAME_MAX);
    d->at[m->features++] = at;
    return MAAS_OK;
}

static maas_status add_features(struct data *d, const char *list, maas_error *error)
{
    maas_status status = MAAS_OK;
    for (uint32_t i = 0; i < csv_columns(d->csv) && !*list && !status; i++) {
        maas_str name = csv_name(d->csv, i);
        if (i != d->target && i != d->weight)
            status = add_feature(d, name.data, name.len, error);
    }
    while (*list && !status) {
        size_t len = strcspn(list, ",");
        status = add_feature(d, list, len, error);
        list += len + (list[len] == ',');
    }
    if (!status && !d->m->features)
        status = maas_fail(error, MAAS_E_INVALID, "%s has no column beside the target", d->file);
    return status;
}

/* The target is the last column that is not the weight, unless it is named. */
static maas_status choose_columns(struct data *d, const struct data_options *o, maas_error *error)
{
    maas_status status = MAAS_OK;
    d->weight = NO_COLUMN;
    if (*o->weight)
        status = csv_find(d->csv, o->weight, &d->weight, error);
    d->target = csv_columns(d->csv) - 1;
    if (d->target == d->weight && d->target > 0)
        d->target--;
    if (!status && *o->target)
        status = csv_find(d->csv, o->target, &d->target, error);
    if (status)
        return status;
    if (d->target == d->weight)
        return maas_fail(error, MAAS_E_INVALID, "column '%.96s' is the target and the weight",
                         o->weight);
    maas_str name = csv_name(d->csv, d->target);
    memcpy(d->m->target, name.data, name.len); /* shorter: CSV_NAME_MAX; zeros behind */
    return add_features(d, o->features, error);
}

_Static_assert((int)CSV_NAME_MAX <= (int)LINREG_NAME_MAX, "a column's name fits");

/* ---- the first pass */

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == len && memcmp(at, name, len) == 0)
            return true;
    return false;
}

/* "nan", "inf", "1e999": a number that is not finite, rather than the name of a level. */
static bool is_not_finite(maas_str cell)
{
    char text[64], *end;
    if (cell.len >= sizeof(text))
        return false;
    memcpy(text, cell.data, cell.len);
    text[cell.len] = '\0';
    double value = strtod(text, &end);
    return end != text && end[strspn(end, " ")] == '\0' && !isfinite(value);
}

static maas_status survey_cell(struct data *d, uint32_t i, const char *categories,
                               maas_error *error)
{
    struct survey *s = &d->survey[i];
    maas_str cell = d->cells[i];
    const char *name = d->m->columns[i].name;
    double value;
    if (linreg_cell_is_empty(cell))
        return MAAS_OK;
    if (csv_number(cell, &value)) {
        s->numbers++;
        s->largest = fmax(s->largest, fabs(value));
        return MAAS_OK;
    }
    if (is_not_finite(cell) || strcmp(categories, "auto") != 0)
        return FAIL_AT(d, error, "column '%.96s' is not one finite number", name);
    if (s->texts++ == 0) {
        s->text_line = csv_line(d->csv);
        snprintf(s->text, sizeof(s->text), "%.*s", cell.len < 31 ? (int)cell.len : 31, cell.data);
    }
    return MAAS_OK;
}

static maas_status survey_rows(struct data *d, const char *categories, const bool *listed,
                               maas_error *error)
{
    struct data_row row;
    maas_status status;
    while (!(status = data_next(d, &row, error)) && !row.end) {
        for (uint32_t i = 0; i < d->m->features && !status; i++)
            if (!listed[i])
                status = survey_cell(d, i, categories, error);
        if (status)
            return status;
        d->largest_y = fmax(d->largest_y, fabs(row.y));
        d->largest_weight = fmax(d->largest_weight, row.weight);
        d->kept++;
    }
    if (!status && d->kept == 0)
        status = maas_fail(error, MAAS_E_INVALID, "%s has not one row%s", d->file,
                           d->read > 1 ? " that counts: a cell is empty or the weight is 0 in each"
                                       : "");
    return status;
}

/* Texts make a category; texts among numbers are more likely a slip. */
static maas_status judge_columns(const struct data *d, bool *categorical, maas_error *error)
{
    for (uint32_t i = 0; i < d->m->features; i++) {
        const struct survey *s = &d->survey[i];
        const char *name = d->m->columns[i].name;
        if (categorical[i])
            continue;
        if (s->texts && s->numbers)
            return maas_fail(error, MAAS_E_INVALID,
                             "%s, line %llu: column '%.96s' holds '%s' where other rows hold "
                             "numbers; if it is a category, list it in 'categories'",
                             d->file, (unsigned long long)s->text_line, name, s->text);
        if (!s->texts && !s->numbers)
            return maas_fail(error, MAAS_E_INVALID, "%s: column '%.96s' is empty in all rows",
                             d->file, name);
        categorical[i] = s->texts > 0;
    }
    return MAAS_OK;
}

static maas_status list_categories(const struct data *d, const char *categories, bool *listed,
                                   maas_error *error)
{
    if (strcmp(categories, "auto") == 0 || strcmp(categories, "refuse") == 0)
        return MAAS_OK;
    uint32_t found = 0, names = 1;
    for (uint32_t i = 0; i < d->m->features; i++)
        found += listed[i] = is_listed(categories, d->m->columns[i].name);
    for (const char *at = categories; *at; at++)
        names += *at == ',';
    return found == names ? MAAS_OK
                          : maas_fail(error, MAAS_E_INVALID,
                                      "option 'categories' is auto, refuse or features of the "
                                      "model, not '%.128s'",
                                      categories);
}

static maas_status survey(struct data *d, const struct data_options *o, bool *categorical,
                          maas_error *error)
{
    maas_status status = list_categories(d, o->categories, categorical, error);
    if (!status)
        status = survey_rows(d, o->categories, categorical, error);
    if (!status)
        status = judge_columns(d, categorical, error);
    if (status)
        return status;
    d->split = true;
    d->drawn = o->seed;
    d->seed = o->seed ? *o->seed : 0;
    d->tests = (uint64_t)((double)d->kept * o->test_fraction);
    return learn_columns(d, d->m, categorical, error);
}

/* ---- opening */

static maas_status open_file(const char *dir, const char *file, const struct data_watch *watch,
                             struct linreg *m, struct data **out, maas_error *error)
{
    struct data *d = calloc(1, sizeof(*d));
    if (!d)
        return no_memory(error);
    *out = d;
    d->m = m;
    d->file = file;
    d->watch = watch ? *watch : (struct data_watch){ NULL, NULL };
    maas_status status = csv_open(dir, file, &d->csv, error);
    if (status)
        return status;
    uint32_t room = csv_columns(d->csv);
    room = room < LINREG_FEATURES_MAX ? LINREG_FEATURES_MAX : room;
    d->at = calloc(room, sizeof(*d->at));
    d->cells = calloc(room, sizeof(*d->cells));
    d->values = calloc(room, sizeof(*d->values));
    d->survey = calloc(room, sizeof(*d->survey));
    d->largest = calloc(LINREG_TERMS_MAX + 1, sizeof(*d->largest));
    return d->at && d->cells && d->values && d->survey && d->largest ? MAAS_OK : no_memory(error);
}

static maas_status prepare(struct data *d, const struct data_options *o, maas_error *error)
{
    struct linreg *m = d->m;
    m->columns = calloc(csv_columns(d->csv), sizeof(*m->columns));
    bool *categorical = calloc(LINREG_FEATURES_MAX, sizeof(*categorical));
    maas_status status = m->columns && categorical ? choose_columns(d, o, error) : no_memory(error);
    if (!status)
        status = survey(d, o, categorical, error);
    free(categorical);
    if (!status && linreg_terms(m) - m->intercept > LINREG_TERMS_MAX)
        status = maas_fail(error, MAAS_E_INVALID,
                           "%u features, with their powers and levels, make more than %d terms",
                           m->features, LINREG_TERMS_MAX);
    return status;
}

maas_status data_open(const char *dir, const struct data_options *options,
                      const struct data_watch *watch, struct linreg *m, struct data **out,
                      maas_error *error)
{
    struct data *d = NULL;
    maas_status status = open_file(dir, "train.csv", watch, m, &d, error);
    if (!status)
        status = prepare(d, options, error);
    if (status)
        data_close(d);
    else
        *out = d;
    return status;
}

maas_status data_open_for(const char *dir, const char *file, const struct data_watch *watch,
                          struct linreg *m, struct data **out, maas_error *error)
{
    struct data *d = NULL;
    maas_status status = open_file(dir, file, watch, m, &d, error);
    if (!status) {
        d->weight = NO_COLUMN;
        status = csv_find(d->csv, m->target, &d->target, error);
    }
    for (uint32_t i = 0; i < m->features && !status; i++)
        status = csv_find(d->csv, m->columns[i].name, &d->at[i], error);
    if (status)
        data_close(d);
    else
        *out = d;
    return status;
}

void data_close(struct data *d)
{
    if (!d)
        return;
    csv_close(d->csv);
    free(d->at);
    free(d->cells);
    free(d->values);
    free(d->survey);
    free(d->largest);
    free(d);
}

/* ---- as rows of a fit */

static maas_status plan_rewind(void *from, maas_error *error)
{
    return data_rewind(from, error);
}

static maas_status check_terms(const struct data *d, const double *x, maas_error *error)
{
    const struct linreg *m = d->m;
    uint32_t j = m->intercept;
    for (uint32_t i = 0; i < m->features; i++) {
        uint32_t levels = m->columns[i].level_count;
        for (uint32_t end = j + (levels ? levels - 1 : m->degree); j < end; j++)
            if (!isfinite(x[j]))
                return FAIL_AT(d, error, "a power of column '%.96s' is not finite",
                               m->columns[i].name);
    }
    return MAAS_OK;
}

static maas_status plan_next(void *from, double *x, double *y, double *weight, bool *out_end,
                             maas_error *error)
{
    struct data *d = from;
    struct data_row row;
    bool known;
    maas_status status;
    do
        status = data_next(d, &row, error);
    while (!status && !row.end && row.part != DATA_TRAIN);
    *out_end = row.end;
    if (!status && !row.end)
        status = data_values(d, &row, d->values, &known, error);
    if (status || row.end)
        return status;
    linreg_expand(d->m, d->values, x);
    *y = row.y;
    *weight = row.weight;
    return check_terms(d, x, error);
}

void data_plan(struct data *d, struct rows *out_rows, struct fit_plan *out_plan)
{
    const struct linreg *m = d->m;
    for (uint32_t i = 0; i < m->features; i++)
        d->values[i] = m->columns[i].level_count ? 0 : d->survey[i].largest;
    linreg_expand(m, d->values, d->largest);
    for (uint32_t j = 0, p = linreg_terms(m); j < p; j++)
        d->largest[j] = d->largest[j] > 0 && isfinite(d->largest[j]) ? d->largest[j] : 1;
    *out_rows = (struct rows){ .from = d, .rewind = plan_rewind, .next = plan_next };
    *out_plan = (struct fit_plan){ .p = linreg_terms(m),
                                   .intercept = m->intercept,
                                   .ridge = m->ridge,
                                   .largest = d->largest,
                                   .largest_y = d->largest_y,
                                   .largest_weight = d->largest_weight };
}
