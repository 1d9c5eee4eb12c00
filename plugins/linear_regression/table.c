/*
 * table.c: reads train.csv. The file is read line by line; every cell must be a finite number.
 */
#include "linreg.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

static maas_status read_header(struct table *t, char *line, maas_error *error)
{
    for (char *at = line; at; t->columns++) {
        char *comma = strchr(at, ',');
        size_t len = comma ? (size_t)(comma - at) : strlen(at);
        if (t->columns == LINREG_COLUMNS_MAX)
            return maas_fail(error, MAAS_E_INVALID, "train.csv has more than %d columns",
                             LINREG_COLUMNS_MAX);
        if (len == 0 || len >= LINREG_NAME_MAX)
            return maas_fail(error, MAAS_E_INVALID,
                             "train.csv: the name of column %u is empty or too long",
                             t->columns + 1);
        void *names = realloc(t->names, (t->columns + 1) * sizeof(*t->names));
        if (!names)
            return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u columns", t->columns + 1);
        t->names = names;
        memcpy(t->names[t->columns], at, len);
        t->names[t->columns][len] = '\0';
        at = comma ? comma + 1 : NULL;
    }
    return MAAS_OK;
}

static maas_status read_row(const struct table *t, const char *line, double *row, maas_error *error)
{
    const char *at = line;
    for (uint32_t c = 0; c < t->columns; c++) {
        char *end;
        row[c] = strtod(at, &end);
        bool last = c + 1 == t->columns;
        if (end == at || !isfinite(row[c]) || *end != (last ? '\0' : ','))
            return maas_fail(error, MAAS_E_INVALID,
                             "train.csv line %llu: column '%s' is not one finite number",
                             (unsigned long long)(t->rows + 2), t->names[c]);
        at = end + 1;
    }
    return MAAS_OK;
}

static maas_status grow(struct table *t, uint64_t *room, maas_error *error)
{
    if (t->rows < *room)
        return MAAS_OK;
    *room = *room ? *room * 2 : 1024;
    double *values = realloc(t->values, *room * t->columns * sizeof(*values));
    if (!values)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu rows",
                         (unsigned long long)*room);
    t->values = values;
    return MAAS_OK;
}

maas_status table_read(const char *dir, struct table *out, maas_error *error)
{
    struct table t;
    char path[1024], *line = NULL;
    size_t size = 0;
    uint64_t room = 0;
    maas_status status = MAAS_OK;
    ssize_t len;
    memset(&t, 0, sizeof(t));
    snprintf(path, sizeof(path), "%s/train.csv", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'train.csv': %s", strerror(errno));
    while (!status && (len = getline(&line, &size, file)) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!t.columns) {
            status = read_header(&t, line, error);
            continue;
        }
        if (!*line)
            continue;
        status = grow(&t, &room, error);
        if (!status)
            status = read_row(&t, line, t.values + t.rows * t.columns, error);
        t.rows += !status;
    }
    free(line);
    fclose(file);
    if (!status && (t.columns < 2 || t.rows == 0))
        status =
            maas_fail(error, MAAS_E_INVALID, "train.csv needs two columns and one row at least");
    if (status)
        table_release(&t);
    else
        *out = t;
    return status;
}

void table_release(struct table *t)
{
    free(t->names);
    free(t->values);
    memset(t, 0, sizeof(*t));
}
