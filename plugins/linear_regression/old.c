/*
 * old.c: reads the model file of version 1, model.txt, a word and its values a line:
 *
 *     linreg 1
 *     target Y            features 2 1 1      (features, degree, intercept)
 *     name bmi            … one line a feature
 *     rows 442            sigma2 0x1.8p+11    r2 0x1.0p-1
 *     coefficient 0x… 0x… (value, standard error; p lines)
 *     root 0x…            (p * p lines: R^-1 by columns, pivots undone, so it is no triangle)
 *     end
 *
 * It knew no means: they are 0, so contributions are coefficient x value as they were then. Read as
 * hostile input: counts are bounded before memory is taken, numbers must be finite, "end" shows
 * that nothing was cut off, and nothing may follow.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "linreg.h"

enum { OLD_NAME_MAX = 64 };

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
static bool read_name(FILE *file, const char *word, char *out)
{
    char line[OLD_NAME_MAX + 1];
    if (!read_word(file, word) || fgetc(file) != ' ' || !fgets(line, sizeof(line), file))
        return false;
    size_t len = strlen(line);
    if (len < 2 || line[len - 1] != '\n')
        return false;
    memcpy(out, line, len - 1);
    out[len - 1] = '\0';
    return true;
}

static maas_status read_head(FILE *file, struct linreg *m, maas_error *error)
{
    unsigned features, intercept;
    if (!read_word(file, "linreg") || !read_word(file, "1"))
        return damaged(error, "linreg");
    if (!read_name(file, "target", m->target))
        return damaged(error, "target");
    if (!read_word(file, "features") ||
        fscanf(file, "%u %u %u", &features, &m->degree, &intercept) != 3 || features < 1 ||
        features > LINREG_FEATURES_MAX || m->degree < 1 || m->degree > LINREG_DEGREE_MAX ||
        intercept > 1 || features * m->degree > LINREG_TERMS_MAX)
        return damaged(error, "features");
    m->intercept = intercept;
    m->columns = calloc(features, sizeof(*m->columns));
    if (!m->columns || !fit_allocate(&m->fit, features * m->degree + intercept))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u features", features);
    m->features = features;
    for (uint32_t i = 0; i < m->features; i++)
        if (!read_name(file, "name", m->columns[i].name))
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
    f->dense = true;
    f->dof = (double)(f->n - f->p);
    f->f = -1;
    char more[2];
    return read_word(file, "end") && fscanf(file, "%1s", more) == EOF ? MAAS_OK
                                                                      : damaged(error, "end");
}

maas_status linreg_read_old(FILE *file, struct linreg *out, maas_error *error)
{
    struct linreg m;
    memset(&m, 0, sizeof(m));
    maas_status status = read_head(file, &m, error);
    if (!status)
        status = read_fit(file, &m.fit, error);
    if (status)
        linreg_release(&m);
    else
        *out = m;
    return status;
}
