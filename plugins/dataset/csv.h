/*
 * csv.h: comma-separated values, row by row, in memory that does not grow with the file. RFC 4180:
 * a cell may stand in quotes and then hold commas, line ends and doubled quotes. The first row
 * names the columns. Written for hostile files: names, columns, cells and rows have bounds, and
 * errors name file, line and column.
 */
#ifndef DATASET_CSV_H
#define DATASET_CSV_H

#include <maas/author.h>

#include <stdbool.h>

enum {
    CSV_COLUMNS_MAX = 4096,
    CSV_NAME_MAX = 256,          /* bytes of a column's name */
    CSV_ROW_MAX_BYTES = 1 << 20, /* of one row as it stands in the file */
};

struct csv; /* an open file. [one thread] */

/* Opens DIR/FILE and reads the names: MAAS_E_NOT_FOUND when there is no such file, MAAS_E_INVALID
 * when its first row cannot name columns (empty, twice, too long, too many). */
maas_status csv_open(const char *dir, const char *file, struct csv **out, maas_error *error);
void csv_close(struct csv *csv); /* accepts NULL */

uint32_t csv_columns(const struct csv *csv);
maas_str csv_name(const struct csv *csv, uint32_t column);
/* MAAS_E_INVALID when the data has no such column. */
maas_status csv_find(const struct csv *csv, const char *name, uint32_t *out, maas_error *error);

/* The next row; *out_cells has csv_columns cells, borrowed until the next call; empty lines are
 * skipped. *out_cells NULL: the end. MAAS_E_INVALID: a row that is too long, or has other columns
 * than the first, or a quote that does not end. */
maas_status csv_next(struct csv *csv, const maas_str **out_cells, maas_error *error);
/* The line in which the row that was read last begins, from 1. */
uint64_t csv_line(const struct csv *csv);
/* Back to the first row behind the names. */
maas_status csv_rewind(struct csv *csv, maas_error *error);

/* One finite number, spaces around it allowed; false: something else stands there. */
bool csv_number(maas_str cell, double *out);

#endif
