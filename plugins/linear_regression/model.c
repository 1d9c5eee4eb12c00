/*
 * model.c: the model file, model.txt, a word and its values a line:
 *
 *     linreg 1
 *     target Y            features 2 1 1      (features, degree, intercept)
 *     name bmi            … one line a feature
 *     rows 442            sigma2 0x1.8p+11    r2 0x1.0p-1
 *     coefficient 0x… 0x… (value, standard error; p lines)
 *     root 0x…            (p * p lines: R^-1 by columns, for the prediction interval)
 *     end
 *
 * It is read as hostile input: counts are bounded before memory is taken, numbers must be finite,
 * "end" shows that nothing was cut off, and nothing may follow.
 */
#include "linreg.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

maas_status linreg_write(const char *dir, const struct linreg *m, maas_error *error)
{
    char path[1024];
    const struct fit *f = &m->fit;
    snprintf(path, sizeof(path), "%s/model.txt", dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot create 'model.txt': %s",
                         strerror(errno));
    fprintf(file, "linreg 1\ntarget %s\nfeatures %u %u %u\n", m->target, m->features, m->degree,
            m->intercept);
    for (uint32_t i = 0; i < m->features; i++)
        fprintf(file, "name %s\n", m->names[i]);
    fprintf(file, "rows %" PRIu64 "\nsigma2 %a\nr2 %a\n", f->n, f->sigma2, f->r2);
    for (uint32_t j = 0; j < f->p; j++)
        fprintf(file, "coefficient %a %a\n", f->beta[j], f->error[j]);
    for (size_t j = 0; j < (size_t)f->p * f->p; j++)
        fprintf(file, "root %a\n", f->root[j]);
    fprintf(file, "end\n");
    bool bad = ferror(file);
    return fclose(file) || bad ? maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write 'model.txt'")
                               : MAAS_OK;
}

static maas_status damaged(maas_error *error, const char *what)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "model.txt is damaged at '%s'", what);
}

static bool read_number(FILE *file, double *out)
{
    char word[64], *end;
    if (fscanf(file, "%63s", word) != 1)
        return false;
    *out = strtod(word, &end);
    return !*end && isfinite(*out);
}

static bool read_word(FILE *file, const char *word)
{
    char have[32];
    return fscanf(file, "%31s", have) == 1 && strcmp(have, word) == 0;
}

/* A name is the rest of its line: it may hold spaces. */
static bool read_name(FILE *file, const char *word, char out[LINREG_NAME_MAX])
{
    char line[LINREG_NAME_MAX + 1];
    if (!read_word(file, word) || fgetc(file) != ' ' || !fgets(line, sizeof(line), file))
        return false;
    size_t len = strlen(line);
    if (len < 2 || line[len - 1] != '\n')
        return false;
    memset(out, 0, LINREG_NAME_MAX);
    memcpy(out, line, len - 1);
    return true;
}

static maas_status read_head(FILE *file, struct linreg *m, maas_error *error)
{
    unsigned intercept;
    if (!read_word(file, "linreg") || !read_word(file, "1"))
        return damaged(error, "linreg");
    if (!read_name(file, "target", m->target))
        return damaged(error, "target");
    if (!read_word(file, "features") ||
        fscanf(file, "%u %u %u", &m->features, &m->degree, &intercept) != 3 || m->features < 1 ||
        m->features > LINREG_COLUMNS_MAX || m->degree < 1 || m->degree > 20 || intercept > 1 ||
        m->features * m->degree > LINREG_COLUMNS_MAX)
        return damaged(error, "features");
    m->intercept = intercept;
    m->fit.p = m->features * m->degree + intercept;
    m->names = calloc(m->features, sizeof(*m->names));
    m->fit.beta = calloc(m->fit.p, sizeof(double));
    m->fit.error = calloc(m->fit.p, sizeof(double));
    m->fit.root = calloc((size_t)m->fit.p * m->fit.p, sizeof(double));
    if (!m->names || !m->fit.beta || !m->fit.error || !m->fit.root)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u coefficients", m->fit.p);
    for (uint32_t i = 0; i < m->features; i++)
        if (!read_name(file, "name", m->names[i]))
            return damaged(error, "name");
    return MAAS_OK;
}

static maas_status read_fit(FILE *file, struct fit *f, maas_error *error)
{
    if (!read_word(file, "rows") || fscanf(file, "%" SCNu64, &f->n) != 1 || f->n <= f->p)
        return damaged(error, "rows");
    if (!read_word(file, "sigma2") || !read_number(file, &f->sigma2) || f->sigma2 < 0)
        return damaged(error, "sigma2");
    if (!read_word(file, "r2") || !read_number(file, &f->r2))
        return damaged(error, "r2");
    for (uint32_t j = 0; j < f->p; j++)
        if (!read_word(file, "coefficient") || !read_number(file, &f->beta[j]) ||
            !read_number(file, &f->error[j]))
            return damaged(error, "coefficient");
    for (size_t j = 0; j < (size_t)f->p * f->p; j++)
        if (!read_word(file, "root") || !read_number(file, &f->root[j]))
            return damaged(error, "root");
    char more[2];
    return read_word(file, "end") && fscanf(file, "%1s", more) == EOF ? MAAS_OK
                                                                      : damaged(error, "end");
}

maas_status linreg_read(const char *dir, struct linreg *out, maas_error *error)
{
    char path[1024];
    struct linreg m;
    memset(&m, 0, sizeof(m));
    snprintf(path, sizeof(path), "%s/model.txt", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'model.txt': %s", strerror(errno));
    maas_status status = read_head(file, &m, error);
    if (!status)
        status = read_fit(file, &m.fit, error);
    fclose(file);
    if (status)
        linreg_release(&m);
    else
        *out = m;
    return status;
}

void linreg_release(struct linreg *m)
{
    free(m->names);
    fit_release(&m->fit);
    memset(m, 0, sizeof(*m));
}

void linreg_expand(const struct linreg *m, const double *raw, double *out)
{
    if (m->intercept)
        *out++ = 1;
    for (uint32_t i = 0; i < m->features; i++) {
        double power = 1;
        for (uint32_t d = 0; d < m->degree; d++)
            *out++ = power *= raw[i];
    }
}

void linreg_contributions(const struct linreg *m, const double *raw, double *out_base, double *out)
{
    const double *beta = m->fit.beta;
    *out_base = m->intercept ? *beta++ : 0;
    for (uint32_t i = 0; i < m->features; i++) {
        double power = 1;
        out[i] = 0;
        for (uint32_t d = 0; d < m->degree; d++)
            out[i] += (power *= raw[i]) * *beta++;
    }
}

double linreg_predict(const struct linreg *m, const double *row, double t975, double *out_half)
{
    const struct fit *f = &m->fit;
    double sum = 0, leverage = 0;
    for (uint32_t j = 0; j < f->p; j++)
        sum += row[j] * f->beta[j];
    for (uint32_t k = 0; k < f->p; k++) {
        double inner = 0;
        for (uint32_t j = 0; j < f->p; j++)
            inner += row[j] * f->root[(size_t)k * f->p + j];
        leverage += inner * inner;
    }
    *out_half = t975 * sqrt(f->sigma2 * (1 + leverage));
    return sum;
}
