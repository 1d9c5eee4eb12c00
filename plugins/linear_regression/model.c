/*
 * model.c: a model in memory: what a cell means to it, the terms of a row, predictions and what
 * they are made of.
 */
#include <math.h>
#include <stdlib.h>

#include "dataset/csv.h"
#include "linreg.h"

void linreg_release(struct linreg *m)
{
    for (uint32_t i = 0; m->columns && i < m->features; i++)
        free(m->columns[i].levels);
    free(m->columns);
    fit_release(&m->fit);
    memset(m, 0, sizeof(*m));
}

/* Of one column. */
static uint32_t terms_of(const struct linreg *m, uint32_t feature)
{
    uint32_t levels = m->columns[feature].level_count;
    return levels ? levels - 1 : m->degree;
}

uint32_t linreg_terms(const struct linreg *m)
{
    uint32_t terms = m->intercept;
    for (uint32_t i = 0; i < m->features; i++)
        terms += terms_of(m, i);
    return terms;
}

bool linreg_fills(const struct linreg *m)
{
    return m->missing == LINREG_MEAN || m->missing == LINREG_MEDIAN;
}

bool linreg_takes_text(const struct linreg *m)
{
    bool text = linreg_fills(m);
    for (uint32_t i = 0; i < m->features; i++)
        text = text || m->columns[i].level_count;
    return text;
}

/* ---- cells */

bool linreg_cell_is_empty(maas_str cell)
{
    uint64_t at = 0;
    while (at < cell.len && cell.data[at] == ' ')
        at++;
    return at == cell.len;
}

int linreg_order(const char *level, maas_str cell)
{
    uint64_t len = strlen(level);
    int order = memcmp(level, cell.data, len < cell.len ? len : cell.len);
    return order ? order : (len > cell.len) - (len < cell.len);
}

/* The index of the level, or level_count. */
static uint32_t find_level(const struct column *c, maas_str cell)
{
    uint32_t low = 0, high = c->level_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = linreg_order(c->levels[middle], cell);
        if (order == 0)
            return middle;
        *(order < 0 ? &low : &high) = middle + (order < 0);
    }
    return c->level_count;
}

enum linreg_cell linreg_read_cell(const struct linreg *m, uint32_t feature, maas_str cell,
                                  double *out)
{
    const struct column *c = &m->columns[feature];
    if (linreg_cell_is_empty(cell)) {
        *out = c->fill;
        return linreg_fills(m) ? LINREG_CELL_OK : LINREG_CELL_EMPTY;
    }
    if (!c->level_count)
        return csv_number(cell, out) ? LINREG_CELL_OK : LINREG_CELL_NO_NUMBER;
    uint32_t level = find_level(c, cell);
    *out = level < c->level_count ? (double)level : -1.0;
    return *out >= 0 || m->unknown_is_reference ? LINREG_CELL_OK : LINREG_CELL_UNKNOWN;
}

maas_status linreg_cell_refused(const struct linreg *m, uint32_t feature, maas_str cell,
                                enum linreg_cell why, const char *at, maas_error *error)
{
    const char *name = m->columns[feature].name;
    int len = cell.len < 48 ? (int)cell.len : 48;
    if (why == LINREG_CELL_EMPTY)
        return maas_fail(error, MAAS_E_INVALID,
                         "%s: feature '%.96s' is missing, and the model was trained without empty "
                         "cells",
                         at, name);
    if (why == LINREG_CELL_NO_NUMBER)
        return maas_fail(error, MAAS_E_INVALID,
                         "%s: feature '%.96s' is not one finite number: '%.*s'", at, name, len,
                         cell.data);
    return maas_fail(error, MAAS_E_INVALID, "%s: feature '%.96s' has no level '%.*s'", at, name,
                     len, cell.data);
}

/* ---- predictions */

void linreg_expand(const struct linreg *m, const double *values, double *out)
{
    if (m->intercept)
        *out++ = 1;
    for (uint32_t i = 0; i < m->features; i++) {
        uint32_t levels = m->columns[i].level_count;
        double power = 1;
        for (uint32_t l = 1; l < levels; l++)
            *out++ = values[i] == l;
        for (uint32_t d = 0; d < m->degree && !levels; d++)
            *out++ = power *= values[i];
    }
}

double linreg_predict(const struct linreg *m, const double *row, double *out_leverage)
{
    const struct fit *f = &m->fit;
    double sum = 0, leverage = 0;
    for (uint32_t j = 0; j < f->p; j++)
        sum += row[j] * f->beta[j];
    for (uint32_t k = 0; k < f->p && out_leverage; k++) {
        const double *root = f->root + (size_t)k * f->p;
        uint32_t length = fit_root_length(f, k);
        double inner = 0;
        for (uint32_t j = 0; j < length; j++)
            inner += row[j] * root[j];
        leverage += inner * inner;
    }
    if (out_leverage)
        *out_leverage = leverage;
    return sum;
}

double linreg_base(const struct linreg *m)
{
    double base = m->intercept ? m->fit.beta[0] : 0;
    for (uint32_t j = m->intercept; j < m->fit.p; j++)
        base += m->fit.beta[j] * m->fit.mean[j];
    return base;
}

void linreg_contributions(const struct linreg *m, const double *row, double *out)
{
    uint32_t j = m->intercept;
    for (uint32_t i = 0; i < m->features; i++) {
        out[i] = 0;
        for (uint32_t end = j + terms_of(m, i); j < end; j++)
            out[i] += m->fit.beta[j] * (row[j] - m->fit.mean[j]);
    }
}
