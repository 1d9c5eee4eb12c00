/*
 * classification.c: the confusion matrix counts as rows come; only the curves need all scores. Of
 * two classes one column of scores says everything.
 */
#include "evaluation/evaluation.h"

#include <math.h>
#include <stdlib.h>

struct classification {
    uint32_t classes, columns; /* columns of scores that are kept: 1 of two classes */
    uint64_t rows, room;
    double loss;
    uint64_t *confusion; /* classes x classes: truth, predicted */
    float *scores;       /* rows x columns */
    uint32_t *truth;     /* rows */
};

maas_status classification_new(uint32_t classes, struct classification **out, maas_error *error)
{
    if (classes < 2 || classes > EVALUATION_CLASSES_MAX)
        return maas_fail(error, MAAS_E_INVALID, "%u classes; 2 to %d can be evaluated", classes,
                         EVALUATION_CLASSES_MAX);
    struct classification *c = calloc(1, sizeof(*c));
    if (c) {
        c->classes = classes;
        c->columns = classes == 2 ? 1 : classes;
        c->confusion = calloc((size_t)classes * classes, sizeof(*c->confusion));
    }
    if (!c || !c->confusion) {
        classification_free(c);
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to evaluate %u classes", classes);
    }
    *out = c;
    return MAAS_OK;
}

void classification_free(struct classification *c)
{
    if (!c)
        return;
    free(c->confusion);
    free(c->scores);
    free(c->truth);
    free(c);
}

static maas_status grow(struct classification *c, maas_error *error)
{
    if (c->rows < c->room)
        return MAAS_OK;
    uint64_t room = c->room ? c->room * 2 : 1024;
    float *scores = realloc(c->scores, room * c->columns * sizeof(*scores));
    if (scores)
        c->scores = scores;
    uint32_t *truth = realloc(c->truth, room * sizeof(*truth));
    if (truth)
        c->truth = truth;
    if (!scores || !truth)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to evaluate %llu rows",
                         (unsigned long long)room);
    c->room = room;
    return MAAS_OK;
}

maas_status classification_add(struct classification *c, const float *scores, uint32_t truth,
                               maas_error *error)
{
    uint32_t best = 0;
    if (truth >= c->classes)
        return maas_fail(error, MAAS_E_INTERNAL, "class %u of %u", truth, c->classes);
    maas_status status = grow(c, error);
    if (status)
        return status;
    for (uint32_t k = 1; k < c->classes; k++)
        if (scores[k] > scores[best])
            best = k;
    c->confusion[(size_t)truth * c->classes + best]++;
    c->loss -= log(fmax(scores[truth], 1e-15));
    c->truth[c->rows] = truth;
    memcpy(c->scores + c->rows * c->columns, c->columns == 1 ? scores + 1 : scores,
           c->columns * sizeof(*scores));
    c->rows++;
    return MAAS_OK;
}

uint64_t classification_confusion(const struct classification *c, uint32_t truth,
                                  uint32_t predicted)
{
    return c->confusion[(size_t)truth * c->classes + predicted];
}

/* ---- the curve */

struct scored {
    float score;
    unsigned char positive;
};

static int by_score(const void *a, const void *b)
{
    float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x > y) - (x < y);
}

/* P(a positive scores higher) + P(they tie) / 2, by ranks; a run of ties has its mean rank. */
static double auc_of_sorted(const struct scored *all, uint64_t n)
{
    double rank_sum = 0, positives = 0;
    for (uint64_t i = 0, end; i < n; i = end) {
        double here = 0;
        for (end = i; end < n && all[end].score == all[i].score; end++)
            here += all[end].positive;
        rank_sum += here * ((double)(i + end + 1) / 2);
        positives += here;
    }
    double negatives = (double)n - positives;
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives); /* 0 / 0: NaN */
}

static double auc_of_class(const struct classification *c, uint32_t class, struct scored *space)
{
    for (uint64_t i = 0; i < c->rows; i++) {
        space[i].score = c->scores[i * c->columns + (c->columns == 1 ? 0 : class)];
        space[i].positive = c->truth[i] == class;
    }
    qsort(space, c->rows, sizeof(*space), by_score);
    return auc_of_sorted(space, c->rows);
}

static double roc_auc(const struct classification *c)
{
    struct scored *space = malloc((c->rows + 1) * sizeof(*space));
    double sum = 0, count = 0;
    if (!space)
        return (double)NAN;
    for (uint32_t k = c->columns == 1; k < c->classes; k++) {
        double auc = auc_of_class(c, k, space);
        if (!isnan(auc)) {
            sum += auc;
            count++;
        }
    }
    free(space);
    return sum / count;
}

/* ---- the metrics */

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

void classification_metrics(const struct classification *c, struct classification_metrics *out)
{
    double right = 0, seen = 0, n = (double)c->rows;
    *out = (struct classification_metrics){ .rows = c->rows };
    for (uint32_t k = 0; k < c->classes; k++) {
        double tp = (double)classification_confusion(c, k, k), truths = 0, taken = 0;
        for (uint32_t j = 0; j < c->classes; j++) {
            truths += (double)classification_confusion(c, k, j);
            taken += (double)classification_confusion(c, j, k);
        }
        right += tp;
        seen += truths + taken > 0;
        out->precision_macro += ratio(tp, taken);
        out->recall_macro += ratio(tp, truths);
        out->f1_macro += ratio(2 * tp, truths + taken);
    }
    out->precision_macro = ratio(out->precision_macro, seen);
    out->recall_macro = ratio(out->recall_macro, seen);
    out->f1_macro = ratio(out->f1_macro, seen);
    out->accuracy = out->f1_micro = ratio(right, n);
    out->log_loss = ratio(c->loss, n);
    out->roc_auc = roc_auc(c);
}

static void emit_confusion(const struct classification *c, const maas_host *host,
                           const maas_request *job, const char *part)
{
    char name[64];
    for (uint32_t i = 0; i < c->classes && c->classes <= EVALUATION_TOLD_MAX; i++)
        for (uint32_t j = 0; j < c->classes; j++) {
            snprintf(name, sizeof(name), "%s_confusion_%u_%u", part, i, j);
            maas_emit_scalar(host, job, name, (double)classification_confusion(c, i, j));
        }
}

void classification_emit(const struct classification *c, const maas_host *host,
                         const maas_request *job, const char *part)
{
    struct classification_metrics m;
    classification_metrics(c, &m);
    const struct {
        const char *name;
        double value;
    } all[] = { { "rows", (double)m.rows },
                { "accuracy", m.accuracy },
                { "precision_macro", m.precision_macro },
                { "recall_macro", m.recall_macro },
                { "f1_macro", m.f1_macro },
                { "f1_micro", m.f1_micro },
                { "log_loss", m.log_loss },
                { "roc_auc", m.roc_auc } };
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s_%s", part, all[i].name);
        if (!isnan(all[i].value))
            maas_emit_scalar(host, job, name, all[i].value);
    }
    emit_confusion(c, host, job, part);
}
