/*
 * table.c: reads comma-separated values: a header line with the columns' names, then one row a
 * line. Written for hostile files: every line, name, column and cell has a bound, and errors name
 * line and column. Quotes are stripped from names; numbers have none. Text columns are tolerated
 * until somebody uses them, so that an id need not be cut out of a file first.
 */
#include "linreg.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 128 * 1024 };

static maas_status add_name(struct table *t, const char *name, size_t len, maas_error *error)
{
    if (len >= 2 && name[0] == '"' && name[len - 1] == '"') {
        name++;
        len -= 2;
    }
    if (len == 0 || len >= LINREG_NAME_MAX)
        return maas_fail(error, MAAS_E_INVALID, "line 1: column %u has a name of %zu bytes",
                         t->columns + 1, len);
    for (uint32_t c = 0; c < t->columns; c++)
        if (strlen(t->names[c]) == len && memcmp(t->names[c], name, len) == 0)
            return maas_fail(error, MAAS_E_INVALID, "line 1: two columns are named '%s'",
                             t->names[c]);
    memcpy(t->names[t->columns++], name, len); /* the rest is zero */
    return MAAS_OK;
}

static maas_status read_header(struct table *t, const char *line, maas_error *error)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (strncmp(line, byte_order_mark, 3) == 0)
        line += 3;
    t->names = calloc(LINREG_COLUMNS_MAX, sizeof(*t->names));
    t->bad_line = calloc(LINREG_COLUMNS_MAX, sizeof(*t->bad_line));
    if (!t->names || !t->bad_line)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the columns");
    for (const char *at = line; at;) {
        size_t len = strcspn(at, ",");
        if (t->columns == LINREG_COLUMNS_MAX)
            return maas_fail(error, MAAS_E_INVALID, "line 1: more than %d columns",
                             LINREG_COLUMNS_MAX);
        maas_status status = add_name(t, at, len, error);
        if (status)
            return status;
        at = at[len] ? at + len + 1 : NULL;
    }
    return MAAS_OK;
}

/* One cell that ends at `end`; NaN when it is not one finite number. */
static double read_cell(const char *at, const char *end)
{
    char *stop;
    double value = strtod(at, &stop);
    while (stop < end && *stop == ' ')
        stop++;
    return stop == end && at != end && isfinite(value) ? value : (double)NAN;
}

static maas_status read_row(struct table *t, const char *line, uint64_t number, maas_error *error)
{
    double *row = t->values + t->rows * t->columns;
    const char *at = line;
    for (uint32_t c = 0; c < t->columns; c++) {
        const char *end = at + strcspn(at, ",");
        if ((*end == ',') != (c + 1 < t->columns))
            return maas_fail(error, MAAS_E_INVALID, "line %llu does not have %u columns",
                             (unsigned long long)number, t->columns);
        row[c] = read_cell(at, end);
        if (isnan(row[c]) && !t->bad_line[c])
            t->bad_line[c] = number;
        at = end + 1;
    }
    t->rows++;
    return MAAS_OK;
}

static maas_status grow(struct table *t, uint64_t *room, maas_error *error)
{
    if (t->rows < *room)
        return MAAS_OK;
    uint64_t more = *room ? *room * 2 : 1024;
    double *values = realloc(t->values, more * t->columns * sizeof(*values));
    if (!values)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu rows",
                         (unsigned long long)more);
    t->values = values;
    *room = more;
    return MAAS_OK;
}

static maas_status read_lines(FILE *file, char *line, struct table *t, maas_error *error)
{
    uint64_t room = 0;
    maas_status status = MAAS_OK;
    for (uint64_t number = 1; !status && fgets(line, LINE_MAX_BYTES, file); number++) {
        size_t len = strcspn(line, "\n");
        if (line[len] != '\n' && len == LINE_MAX_BYTES - 1)
            return maas_fail(error, MAAS_E_INVALID, "line %llu is longer than %d bytes",
                             (unsigned long long)number, LINE_MAX_BYTES - 2);
        line[strcspn(line, "\r\n")] = '\0';
        if (number == 1) {
            status = read_header(t, line, error);
        } else if (*line) {
            status = grow(t, &room, error);
            if (!status)
                status = read_row(t, line, number, error);
        }
    }
    if (!status && (t->columns < 2 || t->rows == 0))
        status = maas_fail(error, MAAS_E_INVALID, "two columns and one row at least are needed");
    return status;
}

maas_status table_read(const char *dir, const char *name, struct table *out, maas_error *error)
{
    struct table t;
    char path[1024];
    maas_error why = MAAS_ERROR_INIT;
    memset(&t, 0, sizeof(t));
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open '%s': %s", name, strerror(errno));
    char *line = malloc(LINE_MAX_BYTES);
    maas_status status = line ? read_lines(file, line, &t, &why)
                              : maas_fail(&why, MAAS_E_EXHAUSTED, "no memory for a line");
    free(line);
    fclose(file);
    if (status) {
        table_release(&t);
        return maas_fail(error, status, "%s: %.200s", name, why.text);
    }
    *out = t;
    return MAAS_OK;
}

maas_status table_column(const struct table *t, const char *name, size_t len, uint32_t *out,
                         maas_error *error)
{
    for (uint32_t c = 0; c < t->columns; c++) {
        if (strlen(t->names[c]) != len || memcmp(t->names[c], name, len) != 0)
            continue;
        if (t->bad_line[c])
            return maas_fail(error, MAAS_E_INVALID,
                             "line %llu: column '%s' is not one finite number",
                             (unsigned long long)t->bad_line[c], t->names[c]);
        *out = c;
        return MAAS_OK;
    }
    return maas_fail(error, MAAS_E_INVALID, "the data has no column '%.*s'",
                     (int)(len < 64 ? len : 64), name);
}

void table_release(struct table *t)
{
    free(t->names);
    free(t->bad_line);
    free(t->values);
    memset(t, 0, sizeof(*t));
}
