/*
 * labels.h: the names of classes, numbered as they come, and sorted when all are known, so that the
 * order of the rows does not number the classes. [one thread]
 */
#ifndef DATASET_LABELS_H
#define DATASET_LABELS_H

#include <maas/author.h>

enum { LABEL_MAX = 256 /* bytes, with the NUL */, LABELS_MAX = 4096 };

struct labels {
    char (*names)[LABEL_MAX];
    uint32_t count, room;
};

void labels_release(struct labels *l);
/* The number of that name, a new one when there is none. MAAS_E_INVALID, naming the line: it is
 * empty, too long, or one too many. */
maas_status labels_add(struct labels *l, maas_str name, uint64_t line, uint32_t *out,
                       maas_error *error);
/* Sorts the names, and renumbers what rows [count] say. */
maas_status labels_sort(struct labels *l, uint32_t *rows, uint64_t count, maas_error *error);
/* The number of a name among `count` sorted ones; -1: it is none of them. */
int64_t labels_find(char (*names)[LABEL_MAX], uint32_t count, maas_str name);

#endif
