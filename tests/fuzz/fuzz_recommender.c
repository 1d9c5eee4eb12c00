/*
 * fuzz_recommender.c: any bytes as a recommender's file, with a checksum made to fit; what is read
 * scores a user, a list and what is like an item.
 */
#include <stdlib.h>

#include "recommender.h"

enum { FILE_BYTES_MAX = 1 << 16, SIZE_MAX_TRIED = 1 << 14, BEST = 8 };

static void ask(const struct rec_model *m)
{
    const size_t items = m->items.count, users = m->users.count;
    float *scores = calloc(items + 1, sizeof(float)), *space = calloc(users + 1, sizeof(float));
    float *parts = calloc(items + 1, sizeof(float)), vector[REC_RANK_MAX], bias;
    double *work = calloc(rec_work(m->rank, items), sizeof(*work));
    uint32_t best[BEST];
    if (!scores || !space || !parts || !work)
        abort();
    struct rec_person who = rec_person_of(m, (uint32_t)users - 1);
    rec_scores(m, &who, scores, space);
    if (rec_top(m, scores, BEST, best) > BEST)
        abort();
    rec_because(m, &who, 0, work, parts);
    if (m->rank && rec_fold(m, who.items, who.values, who.count, work, vector, &bias))
        rec_scores(m, &(struct rec_person){ who.items, who.values, who.count, vector, bias },
                   scores, space);
    rec_near(m, (uint32_t)items - 1, scores);
    (void)rec_predict(m, 0, 0);
    free(scores);
    free(space);
    free(parts);
    free(work);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec_model m;
    maas_error error = MAAS_ERROR_INIT;
    uint8_t *bytes = size <= FILE_BYTES_MAX ? malloc(size + sizeof(uint64_t)) : NULL;
    if (!bytes)
        return 0;
    const uint64_t sum = rec_sum(data, size);
    memcpy(bytes, data, size);
    memcpy(bytes + size, &sum, sizeof(sum));
    if (rec_parse(bytes, size + sizeof(sum), &m, &error) == MAAS_OK) {
        if (m.users.count < SIZE_MAX_TRIED && m.items.count < SIZE_MAX_TRIED)
            ask(&m);
        rec_release(&m);
    }
    free(bytes);
    return 0;
}
