/*
 * evaluation.h: what a model is worth: classification, regression, ranking. Accumulators take a row
 * at a time; *_emit sends the metrics of a job as named scalars, each with `part` in front
 * ("train", "test"): test_accuracy, test_rmse … [one thread]
 */
#ifndef EVALUATION_H
#define EVALUATION_H

#include <maas/author.h>

enum { EVALUATION_CLASSES_MAX = 4096, EVALUATION_TOLD_MAX = 16 };

/* ---- classification */

struct classification; /* heap: the confusion matrix, and the scores for the curves */

/* MAAS_E_EXHAUSTED without memory: classes^2 counts, and 4 bytes a row and class for the curves. */
maas_status classification_new(uint32_t classes, struct classification **out, maas_error *error);
void classification_free(struct classification *c); /* accepts NULL */
/* One row: a probability for each class, and the class that is true. The prediction is the first of
 * the largest. */
maas_status classification_add(struct classification *c, const float *scores, uint32_t truth,
                               maas_error *error);

/* With tp, fp, fn of each class: precision = tp / (tp + fp), recall = tp / (tp + fn), f1 = 2 tp /
 * (2 tp + fp + fn), each 0 where it is 0 / 0; macro: the mean over the classes that are true or
 * predicted anywhere; f1_micro, of single labels, equals accuracy. log_loss = -mean(log p(truth)),
 * p at least 1e-15. roc_auc: of two classes that of the second; of more the mean over all classes
 * that have both (one against the rest); ties count half (Mann and Whitney's U). Source:
 * scikit-learn, user guide 3.3.2. NaN where it is not defined. */
struct classification_metrics {
    uint64_t rows;
    double accuracy, precision_macro, recall_macro, f1_macro, f1_micro, log_loss, roc_auc;
};
void classification_metrics(const struct classification *c, struct classification_metrics *out);
/* How often class `truth` was taken for class `predicted`. */
uint64_t classification_confusion(const struct classification *c, uint32_t truth,
                                  uint32_t predicted);
/* All of them; the confusion matrix, too, of at most EVALUATION_TOLD_MAX classes. */
void classification_emit(const struct classification *c, const maas_host *host,
                         const maas_request *job, const char *part);

/* ---- regression */

struct regression { /* zero at first */
    uint64_t rows;
    double mean, spread; /* of the truth: its mean and the sum of squares around it (Welford) */
    double squares, absolutes; /* of the errors */
};
void regression_add(struct regression *r, double predicted, double truth);
/* mse, rmse, mae, r2 = 1 - squares / spread (1 where both are 0). */
void regression_emit(const struct regression *r, const maas_host *host, const maas_request *job,
                     const char *part);

/* ---- ranking */

struct ranking { /* zero at first; sums over users */
    uint64_t users;
    double precision, recall, ndcg, map;
};
/* One user's list of k: hit[i] says whether the i-th is relevant, of `relevant` (1 at least) in
 * all. With hits h: precision = h / k, recall = h / relevant, dcg = sum of 1 / log2(i + 2) over
 * hits, ndcg = dcg / that of min(k, relevant) hits in front, map = the sum of precision up to each
 * hit / min(k, relevant). Source: Manning, Raghavan, Schuetze, Introduction to Information
 * Retrieval, ch. 8; Jarvelin and Kekalainen 2002. */
void ranking_add(struct ranking *r, const unsigned char *hit, uint32_t k, uint32_t relevant);
/* precision_at_k, recall_at_k, ndcg_at_k, map_at_k, users. */
void ranking_emit(const struct ranking *r, const maas_host *host, const maas_request *job,
                  const char *part);

#endif
