/*
 * embedding.h: rows of a table, summed by bags: a word stands for itself, its stem and the runs
 * that end with it. Pure functions, outputs first. [any]
 */
#ifndef KERNELS_EMBEDDING_H
#define KERNELS_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

/* y [bags, width]: of each bag the sum of its rows of table [rows, width] over the square root of
 * their number, in the order of the ids. Bag b holds ids [ends[b - 1], ends[b]), the first from 0;
 * an empty one gives zeros. Ids are below the table's rows: the caller sees to that. */
void embedding_bags(float *y, const float *table, const uint32_t *ids, const uint32_t *ends,
                    size_t bags, size_t width);
/* Adds to dtable [rows, width]. */
void embedding_bags_backward(float *dtable, const float *dy, const uint32_t *ids,
                             const uint32_t *ends, size_t bags, size_t width);

#endif
