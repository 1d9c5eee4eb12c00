/*
 * ranked.h: outputs that are lists of names with scores, best first: labels of a classifier, items
 * of a recommender. Private to the codec layer.
 */
#ifndef MAAS_CODEC_RANKED_H
#define MAAS_CODEC_RANKED_H

#include "codec/task.h"

struct ranked {
    const maas_str *names; /* rows x width */
    const maas_named *scores;
    const struct datatype *score_type;
    size_t width;
};

/* The output `name`, [rows, k] of strings, and "score" of the same shape; false: they are not. */
bool ranked_find(const maas_named *outputs, uint32_t count, const char *name, uint32_t rows,
                 struct ranked *out);
/* "key":[{"name_key":…,"score":…} …], up to the first empty name; false: a score is not finite. */
bool ranked_write(struct buf *out, const struct ranked *r, uint32_t row, const char *key,
                  const char *name_key);
bool ranked_write_score(struct buf *out, const struct ranked *r, size_t at);

#endif
