/*
 * ask.h: one row of a request: whose ratings count, the scores of all items, the best of them, and
 * why. plugin.c has the ports.
 */
#ifndef RECOMMENDER_ASK_H
#define RECOMMENDER_ASK_H

#include "recommender.h"

enum { ASK_USER = 0, ASK_ITEMS, ASK_ALLOW, ASK_DENY, ASK_INPUTS };

/* What a request is computed in: one block of the host's. */
struct space {
    double *work;
    float *scores, *users, *values, *vector, *weights;
    uint32_t *items;
    uint8_t *marks; /* by item; 0 between two uses */
};

struct row {
    struct rec_person who;
    bool similar, exclude_seen;
    uint32_t k;
};

/* MAAS_E_INVALID: a list has more than REC_IDS_MAX ids. */
maas_status ask_check(const maas_request *r, maas_error *error);
bool ask_space_take(const struct rec_model *m, const maas_host *host, struct space *out);
struct row ask_row(const struct rec_model *m, const maas_request *r);
/* Scores of all items for a row of the request, in s->scores; what may not be recommended has
 * -HUGE_VALF. w->who borrows from s. */
maas_status ask_score(const struct rec_model *m, const maas_request *r, uint32_t row,
                      const struct space *s, struct row *w, maas_error *error);
/* The ratings that gave an item most of its score: `count` names and weights, "" and 0 where there
 * are fewer. */
void ask_because(const struct rec_model *m, const struct row *w, uint32_t item,
                 const struct space *s, uint32_t count, maas_str *names, float *weights);

#endif
