/*
 * file.c: what both kinds of text.model are checked for, as hostile input.
 */
#include "text.h"

#include <math.h>
#include <stdlib.h>

#define WEIGHT_MAX 1e6f

maas_status file_damaged(maas_error *error, const char *what)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "text.model is damaged: %s", what);
}

bool file_shape_good(const struct shape *shape)
{
    return shape->word_ngrams >= 1 && shape->word_ngrams <= TEXT_NGRAM_MAX &&
           shape->char_ngrams <= TEXT_NGRAM_MAX && shape->stem <= TEXT_STEM_MAX &&
           shape->negation <= TEXT_NEGATION_MAX;
}

bool file_table_good(const struct table *table)
{
    for (uint32_t i = 0; i < table->slots; i++)
        if (table->keys[i] == 0)
            return true;
    return false;
}

static bool labels_are_good(const struct text_model *m)
{
    for (uint32_t i = 0; i < m->classes; i++)
        if (!memchr(m->labels[i], 0, TEXT_LABEL_MAX) || !m->labels[i][0] ||
            (i && strcmp(m->labels[i - 1], m->labels[i]) >= 0))
            return false;
    return true;
}

bool file_labels(struct text_model *m, const char *at)
{
    m->labels = malloc((size_t)m->classes * TEXT_LABEL_MAX);
    if (!m->labels)
        return false;
    memcpy(m->labels, at, (size_t)m->classes * TEXT_LABEL_MAX);
    return labels_are_good(m);
}

bool file_all_small(const float *numbers, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!(fabsf(numbers[i]) <= WEIGHT_MAX))
            return false;
    return true;
}

size_t file_aligned(size_t size)
{
    return (size + 63) / 64 * 64;
}

maas_status file_pad(FILE *file, size_t written)
{
    static const char zeros[64];
    const size_t more = file_aligned(written) - written;
    return fwrite(zeros, 1, more, file) == more ? MAAS_OK : MAAS_E_UNAVAILABLE;
}
