/* linreg_rows.h: rows in memory as the fit wants them, for the tests of linear regression. */
#ifndef LINREG_ROWS_H
#define LINREG_ROWS_H

#include <math.h>
#include <stdlib.h>

#include "linear_regression/linreg.h"

struct array { /* x: n x p row-major; w NULL: weights of 1 */
    const double *x, *y, *w;
    uint64_t n, at;
    uint32_t p;
};

static inline maas_status array_rewind(void *from, maas_error *error)
{
    (void)error;
    ((struct array *)from)->at = 0;
    return MAAS_OK;
}

static inline maas_status array_next(void *from, double *x, double *y, double *weight,
                                     bool *out_end, maas_error *error)
{
    struct array *a = from;
    (void)error;
    *out_end = a->at == a->n;
    if (*out_end)
        return MAAS_OK;
    memcpy(x, a->x + a->at * a->p, a->p * sizeof(*x));
    *y = a->y[a->at];
    *weight = a->w ? a->w[a->at] : 1;
    a->at++;
    return MAAS_OK;
}

static inline maas_status fit_array(struct array *a, bool intercept, double ridge, struct fit *out,
                                    uint32_t *out_dependent, maas_error *error)
{
    struct rows rows = { a, array_rewind, array_next };
    double *largest = calloc(a->p, sizeof(*largest));
    struct fit_plan plan = { .p = a->p,
                             .intercept = intercept,
                             .ridge = ridge,
                             .largest = largest,
                             .largest_weight = a->w ? 0 : 1 };
    for (uint64_t i = 0; i < a->n; i++) {
        for (uint32_t j = 0; j < a->p; j++)
            largest[j] = fmax(largest[j], fabs(a->x[i * a->p + j]));
        plan.largest_y = fmax(plan.largest_y, fabs(a->y[i]));
        plan.largest_weight = fmax(plan.largest_weight, a->w ? a->w[i] : 1);
    }
    maas_status status = fit_least_squares(&rows, &plan, out, out_dependent, error);
    free(largest);
    return status;
}

#endif
