/*
 * file.c: the artifact's one file, linreg.model, little-endian:
 *
 *     head       struct head
 *     columns    features x (struct column_head, name, levels x (u32 length, name))
 *     beta, error, mean     p x f64 each
 *     root       p (p + 1) / 2 x f64: R^-1 by columns
 *     sum        u64, FNV-1a over everything before
 *
 * It is read as hostile input: counts are bounded before memory is taken, names have no NUL, levels
 * ascend, numbers are finite, and nothing may be missing or left over. Files of version 1 were text
 * (old.c) and are still read.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "linreg.h"

#define MAGIC     "maaslin2"
#define FILE_NAME "linreg.model"

enum { INTERCEPT = 1, UNKNOWN_IS_REFERENCE = 2 };

struct head {
    char magic[8];
    uint32_t features, degree, flags, missing, p, target_len;
    uint64_t n;
    double ridge, sigma2, dof, r2, f;
};

struct column_head {
    uint32_t name_len, levels;
    double fill;
};

struct writer {
    uint8_t *bytes; /* NULL: bytes are only counted */
    size_t at;
};

struct reader {
    const uint8_t *bytes;
    size_t at, size;
};

/* ---- writing */

static void put(struct writer *w, const void *data, size_t size)
{
    if (w->bytes)
        memcpy(w->bytes + w->at, data, size);
    w->at += size;
}

static void put_columns(struct writer *w, const struct linreg *m)
{
    for (uint32_t i = 0; i < m->features; i++) {
        const struct column *c = &m->columns[i];
        struct column_head head = { (uint32_t)strlen(c->name), c->level_count, c->fill };
        put(w, &head, sizeof(head));
        put(w, c->name, head.name_len);
        for (uint32_t l = 0; l < c->level_count; l++) {
            uint32_t len = (uint32_t)strlen(c->levels[l]);
            put(w, &len, sizeof(len));
            put(w, c->levels[l], len);
        }
    }
}

static void put_model(struct writer *w, const struct linreg *m)
{
    const struct fit *f = &m->fit;
    struct head head = { .features = m->features,
                         .degree = m->degree,
                         .flags = (m->intercept ? INTERCEPT : 0) |
                                  (m->unknown_is_reference ? UNKNOWN_IS_REFERENCE : 0),
                         .missing = (uint32_t)m->missing,
                         .p = f->p,
                         .target_len = (uint32_t)strlen(m->target),
                         .n = f->n,
                         .ridge = m->ridge,
                         .sigma2 = f->sigma2,
                         .dof = f->dof,
                         .r2 = f->r2,
                         .f = f->f };
    memcpy(head.magic, MAGIC, sizeof(head.magic));
    put(w, &head, sizeof(head));
    put(w, m->target, head.target_len);
    put_columns(w, m);
    put(w, f->beta, f->p * sizeof(double));
    put(w, f->error, f->p * sizeof(double));
    put(w, f->mean, f->p * sizeof(double));
    for (uint32_t k = 0; k < f->p; k++)
        put(w, f->root + (size_t)k * f->p, (k + 1) * sizeof(double));
    uint64_t sum = w->bytes ? checksum_of(w->bytes, w->at) : 0;
    put(w, &sum, sizeof(sum));
}

static maas_status write_bytes(const char *dir, const struct writer *w, maas_error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(w->bytes, 1, w->at, file) == w->at;
    good = file && fclose(file) == 0 && good;
    return good ? MAAS_OK
                : maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write '" FILE_NAME "': %s",
                            strerror(errno));
}

maas_status linreg_write(const char *dir, const struct linreg *m, maas_error *error)
{
    struct writer w = { NULL, 0 };
    put_model(&w, m);
    if (w.at > LINREG_FILE_MAX)
        return maas_fail(error, MAAS_E_INVALID, "the model is larger than %d bytes",
                         LINREG_FILE_MAX);
    w.bytes = malloc(w.at);
    if (!w.bytes)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to write the model");
    w.at = 0;
    put_model(&w, m);
    maas_status status = write_bytes(dir, &w, error);
    free(w.bytes);
    return status;
}

/* ---- reading */

static maas_status damaged(maas_error *error, const char *what)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, FILE_NAME " is damaged: %s", what);
}

static bool take(struct reader *r, void *out, size_t size)
{
    if (size > r->size - r->at)
        return false;
    memcpy(out, r->bytes + r->at, size);
    r->at += size;
    return true;
}

/* out has LINREG_NAME_MAX bytes of zeros. */
static bool take_name(struct reader *r, uint32_t len, char *out)
{
    return len < LINREG_NAME_MAX && take(r, out, len) && strlen(out) == len;
}

static bool take_numbers(struct reader *r, double *out, size_t count)
{
    if (!take(r, out, count * sizeof(*out)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(out[i]))
            return false;
    return true;
}

static bool take_levels(struct reader *r, struct column *c)
{
    for (uint32_t l = 0; l < c->level_count; l++) {
        uint32_t len;
        if (!take(r, &len, sizeof(len)) || len == 0 || !take_name(r, len, c->levels[l]))
            return false;
        if (l && linreg_order(c->levels[l - 1], (maas_str){ c->levels[l], len }) >= 0)
            return false;
    }
    return true;
}

static bool good_fill(const struct column *c)
{
    return isfinite(c->fill) && (!c->level_count || (c->fill >= 0 && c->fill < c->level_count &&
                                                     c->fill == floor(c->fill)));
}

static maas_status take_column(struct reader *r, struct column *c, maas_error *error)
{
    struct column_head head;
    if (!take(r, &head, sizeof(head)) || head.name_len == 0 || head.levels == 1 ||
        head.levels > LINREG_LEVELS_MAX || !take_name(r, head.name_len, c->name))
        return damaged(error, "a column");
    c->fill = head.fill;
    if (head.levels && !(c->levels = calloc(head.levels, sizeof(*c->levels))))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u levels", head.levels);
    c->level_count = head.levels;
    return take_levels(r, c) && good_fill(c) ? MAAS_OK : damaged(error, "a column's levels");
}

static bool good_head(const struct head *h)
{
    return h->features >= 1 && h->features <= LINREG_FEATURES_MAX && h->degree >= 1 &&
           h->degree <= LINREG_DEGREE_MAX && h->flags <= (INTERCEPT | UNKNOWN_IS_REFERENCE) &&
           h->missing <= LINREG_DROP && h->p >= 1 && h->p <= LINREG_TERMS_MAX + 1 && h->n >= 2 &&
           isfinite(h->ridge) && h->ridge >= 0 && isfinite(h->sigma2) && h->sigma2 >= 0 &&
           isfinite(h->dof) && h->dof > 0 && isfinite(h->r2) && isfinite(h->f);
}

static maas_status take_head(struct reader *r, struct linreg *m, uint32_t *out_p, maas_error *error)
{
    struct head h;
    if (!take(r, &h, sizeof(h)) || memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0)
        return damaged(error, "it does not begin with " MAGIC);
    if (!good_head(&h) || !take_name(r, h.target_len, m->target))
        return damaged(error, "its head");
    m->columns = calloc(h.features, sizeof(*m->columns));
    if (!m->columns)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u features", h.features);
    m->features = h.features;
    m->degree = h.degree;
    m->intercept = h.flags & INTERCEPT;
    m->unknown_is_reference = h.flags & UNKNOWN_IS_REFERENCE;
    m->missing = (enum linreg_missing)h.missing;
    m->ridge = h.ridge;
    m->fit = (struct fit){ .n = h.n, .sigma2 = h.sigma2, .dof = h.dof, .r2 = h.r2, .f = h.f };
    *out_p = h.p;
    return MAAS_OK;
}

static maas_status take_fit(struct reader *r, struct linreg *m, uint32_t p, maas_error *error)
{
    struct fit f;
    if (linreg_terms(m) != p)
        return damaged(error, "its columns do not make the terms it has");
    if (p * sizeof(double) > r->size - r->at) /* before a matrix is made for it */
        return damaged(error, "its coefficients");
    bool there = fit_allocate(&f, p);
    bool good = there && take_numbers(r, f.beta, p) && take_numbers(r, f.error, p) &&
                take_numbers(r, f.mean, p);
    for (uint32_t k = 0; k < p && good; k++)
        good = take_numbers(r, f.root + (size_t)k * p, k + 1);
    struct fit kept = m->fit;
    m->fit = f;
    m->fit.n = kept.n;
    m->fit.sigma2 = kept.sigma2;
    m->fit.dof = kept.dof;
    m->fit.r2 = kept.r2;
    m->fit.f = kept.f;
    if (!there)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u coefficients", p);
    return good ? MAAS_OK : damaged(error, "its coefficients");
}

static maas_status take_model(struct reader *r, struct linreg *m, maas_error *error)
{
    uint32_t p = 0;
    uint64_t sum = 0;
    maas_status status = take_head(r, m, &p, error);
    for (uint32_t i = 0; i < m->features && !status; i++)
        status = take_column(r, &m->columns[i], error);
    if (!status)
        status = take_fit(r, m, p, error);
    if (status)
        return status;
    uint64_t wanted = checksum_of(r->bytes, r->at);
    if (!take(r, &sum, sizeof(sum)) || r->at != r->size || sum != wanted)
        return damaged(error, "its size or its checksum");
    return MAAS_OK;
}

maas_status linreg_parse(const uint8_t *bytes, size_t size, struct linreg *out, maas_error *error)
{
    struct reader r = { bytes, 0, size };
    struct linreg m;
    memset(&m, 0, sizeof(m));
    maas_status status = take_model(&r, &m, error);
    if (status)
        linreg_release(&m);
    else
        *out = m;
    return status;
}

static maas_status read_file(FILE *file, struct linreg *out, maas_error *error)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size < 0 || size > LINREG_FILE_MAX || fseek(file, 0, SEEK_SET) != 0)
        return damaged(error, "it is too large or cannot be read");
    uint8_t *bytes = malloc((size_t)size + 1);
    if (!bytes)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to read the model");
    maas_status status = fread(bytes, 1, (size_t)size, file) == (size_t)size
                             ? linreg_parse(bytes, (size_t)size, out, error)
                             : damaged(error, "it cannot be read");
    free(bytes);
    return status;
}

maas_status linreg_read(const char *dir, struct linreg *out, maas_error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);
    FILE *file = fopen(path, "rbe");
    bool old = !file && errno == ENOENT;
    if (old) {
        snprintf(path, sizeof(path), "%s/model.txt", dir);
        file = fopen(path, "re");
    }
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open '" FILE_NAME "': %s",
                         strerror(errno));
    maas_status status = old ? linreg_read_old(file, out, error) : read_file(file, out, error);
    fclose(file);
    return status;
}
