/*
 * records.h: named values row by row, from PART.csv (csv.h) or from PART.jsonl, a JSON object a
 * line (https://jsonlines.org), whichever the folder has. Written for hostile files, as csv.h.
 */
#ifndef DATASET_RECORDS_H
#define DATASET_RECORDS_H

#include <maas/author.h>

#include <stdbool.h>

enum { RECORDS_NAMES_MAX = 8 };

struct records; /* open data. [one thread] */

/* Whether DIR has PART.csv or PART.jsonl. */
bool records_exist(const char *dir, const char *part);
/* The values of the members, or columns, `names` will be given, in that order; at most
 * RECORDS_NAMES_MAX. MAAS_E_NOT_FOUND: there is neither file; MAAS_E_INVALID: there are both, or
 * the columns are not there. */
maas_status records_open(const char *dir, const char *part, const char *const *names,
                         uint32_t count, struct records **out, maas_error *error);
void records_close(struct records *r); /* accepts NULL */

/* The next row's values, borrowed until the next call; NULL: the end. Numbers, true and false of
 * JSON are given as they are written. MAAS_E_INVALID, with the line: a row that is no row, or lacks
 * a value. */
maas_status records_next(struct records *r, const maas_str **out, maas_error *error);
uint64_t records_line(const struct records *r); /* of the row that was read last, from 1 */

#endif
