/*
 * numbers.c: errors of numbers, and of lists; the spread of the truth in one pass, without
 * cancellation (Welford 1962).
 */
#include "evaluation/evaluation.h"

#include <math.h>

void regression_add(struct regression *r, double predicted, double truth)
{
    double error = predicted - truth, before = truth - r->mean;
    r->rows++;
    r->mean += before / (double)r->rows;
    r->spread += before * (truth - r->mean);
    r->squares += error * error;
    r->absolutes += fabs(error);
}

static void emit(const maas_host *host, const maas_request *job, const char *part, const char *what,
                 double value)
{
    char name[64];
    snprintf(name, sizeof(name), "%s_%s", part, what);
    maas_emit_scalar(host, job, name, value);
}

void regression_emit(const struct regression *r, const maas_host *host, const maas_request *job,
                     const char *part)
{
    double n = (double)r->rows;
    if (r->rows == 0)
        return;
    emit(host, job, part, "mse", r->squares / n);
    emit(host, job, part, "rmse", sqrt(r->squares / n));
    emit(host, job, part, "mae", r->absolutes / n);
    emit(host, job, part, "r2",
         r->spread > 0    ? 1 - r->squares / r->spread
         : r->squares > 0 ? 0
                          : 1);
    emit(host, job, part, "rows", n);
}

void ranking_add(struct ranking *r, const unsigned char *hit, uint32_t k, uint32_t relevant)
{
    double hits = 0, dcg = 0, ideal = 0, precisions = 0;
    uint32_t most = k < relevant ? k : relevant;
    for (uint32_t i = 0; i < k; i++) {
        ideal += i < most ? 1 / log2(i + 2.0) : 0;
        if (!hit[i])
            continue;
        hits++;
        dcg += 1 / log2(i + 2.0);
        precisions += hits / (i + 1.0);
    }
    r->users++;
    r->precision += hits / k;
    r->recall += hits / relevant;
    r->ndcg += dcg / ideal;
    r->map += precisions / most;
}

void ranking_emit(const struct ranking *r, const maas_host *host, const maas_request *job,
                  const char *part)
{
    double n = (double)r->users;
    if (r->users == 0)
        return;
    emit(host, job, part, "precision_at_k", r->precision / n);
    emit(host, job, part, "recall_at_k", r->recall / n);
    emit(host, job, part, "ndcg_at_k", r->ndcg / n);
    emit(host, job, part, "map_at_k", r->map / n);
    emit(host, job, part, "users", n);
}
