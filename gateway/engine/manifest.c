/*
 * manifest.c: writes manifest.json beside a trained model. Everything that could differ between two
 * runs of the same training (order of a directory, time, paths) is kept out, so the same seed gives
 * the same bytes.
 */
#include "engine/manifest.h"

#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/internal.h"

#define MANIFEST_MAX  ((size_t)8 << 20)
#define MANIFEST_NAME "manifest.json"

/* ---- digests */

static maas_status digest_file(const char *path, EVP_MD_CTX *hash, char out[65], maas_error *error)
{
    char block[65536];
    uint8_t digest[32];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(error, MAAS_E_NOT_FOUND, "cannot open '%s': %s", path, strerror(errno));
    CHECK(EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        EVP_DigestUpdate(hash, block, n);
    bool bad = ferror(file);
    fclose(file);
    if (bad)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot read '%s'", path);
    EVP_DigestFinal_ex(hash, digest, NULL);
    hex_encode(digest, sizeof(digest), out);
    return MAAS_OK;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

struct folder {
    struct buf list; /* JSON array of the files */
    EVP_MD_CTX *hash, *file_hash;
    uint64_t files;
    char sha256[65]; /* of the lines "<sha256>  <path>\n", as sha256sum writes them */
};

static maas_status add_file(struct folder *f, const char *path, const char *relative, off_t size,
                            maas_error *error)
{
    char digest[65];
    maas_status status = digest_file(path, f->file_hash, digest, error);
    if (status)
        return status;
    EVP_DigestUpdate(f->hash, digest, 64);
    EVP_DigestUpdate(f->hash, "  ", 2);
    EVP_DigestUpdate(f->hash, relative, strlen(relative));
    EVP_DigestUpdate(f->hash, "\n", 1);
    buf_str(&f->list, f->files++ ? STR(", {\"path\": ") : STR("{\"path\": "));
    buf_json(&f->list, str_of(relative));
    buf_fmt(&f->list, ", \"sha256\": \"%s\", \"size\": %lld}", digest, (long long)size);
    return MAAS_OK;
}

static maas_status walk(struct folder *f, const char *dir, maas_error *error)
{
    char *const roots[] = { (char *)(uintptr_t)dir, NULL };
    maas_status status = MAAS_OK;
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (!tree)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot list '%s': %s", dir, strerror(errno));
    for (FTSENT *e = fts_read(tree); e && !status; e = status ? e : fts_read(tree)) {
        if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR || e->fts_info == FTS_NS)
            status = fail(error, MAAS_E_UNAVAILABLE, "cannot read '%s': %s", e->fts_path,
                          strerror(e->fts_errno));
        if (e->fts_info != FTS_F || (e->fts_level == 1 && !strcmp(e->fts_name, MANIFEST_NAME)))
            continue;
        status =
            add_file(f, e->fts_path, e->fts_path + strlen(dir) + 1, e->fts_statp->st_size, error);
    }
    fts_close(tree);
    return status;
}

static void folder_release(struct folder *f)
{
    buf_release(&f->list);
    EVP_MD_CTX_free(f->hash);
    EVP_MD_CTX_free(f->file_hash);
}

static maas_status folder_read(struct folder *f, const char *dir, maas_error *error)
{
    uint8_t digest[32];
    char root[1024];
    size_t len = (size_t)snprintf(root, sizeof(root), "%s", dir);
    if (len >= sizeof(root))
        return fail(error, MAAS_E_INVALID, "the path '%.60s...' is too long", dir);
    while (len > 1 && root[len - 1] == '/')
        root[--len] = '\0';
    CHECK(f->hash && f->file_hash && EVP_DigestInit_ex(f->hash, EVP_sha256(), NULL) == 1);
    maas_status status = walk(f, root, error);
    EVP_DigestFinal_ex(f->hash, digest, NULL);
    hex_encode(digest, sizeof(digest), f->sha256);
    return status;
}

static void folder_init(struct folder *f)
{
    buf_init(&f->list, MANIFEST_MAX);
    f->hash = EVP_MD_CTX_new();
    f->file_hash = EVP_MD_CTX_new();
    f->files = 0;
}

/* ---- text */

static void add_number(struct buf *b, double value)
{
    if (isfinite(value))
        buf_fmt(b, "%.17g", value);
    else
        buf_str(b, STR("null"));
}

static int metrics_by_name(const void *a, const void *b)
{
    return strcmp(((const struct metric *)a)->name, ((const struct metric *)b)->name);
}

static void add_metrics(struct buf *b, const struct manifest *m)
{
    struct metric sorted[METRICS_MAX];
    memcpy(sorted, m->metrics, m->metric_count * sizeof(*sorted));
    qsort(sorted, m->metric_count, sizeof(*sorted), metrics_by_name);
    for (size_t i = 0; i < m->metric_count; i++) {
        buf_str(b, i ? STR(", ") : STR(""));
        buf_json(b, str_of(sorted[i].name));
        buf_str(b, STR(": "));
        add_number(b, sorted[i].value);
    }
}

static int options_by_name(const void *a, const void *b)
{
    const struct engine_option *x = a, *y = b;
    size_t least = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, least);
    return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

/* What was given; the defaults are the plugin version's. */
static void add_options(struct buf *b, const struct manifest *m)
{
    struct engine_option *sorted = calloc(m->option_count + 1, sizeof(*sorted));
    CHECK(sorted);
    memcpy(sorted, m->options, m->option_count * sizeof(*sorted));
    qsort(sorted, m->option_count, sizeof(*sorted), options_by_name);
    for (size_t i = 0; i < m->option_count; i++) {
        buf_str(b, i ? STR(", ") : STR(""));
        buf_json(b, sorted[i].name);
        buf_str(b, STR(": "));
        buf_json(b, sorted[i].value);
    }
    free(sorted);
}

static void add_port(struct buf *b, const maas_port *port)
{
    buf_fmt(b, "{\"datatype\": \"%s\", ", dtype_name(port->dtype));
    if (port->labels)
        buf_str(b, STR("\"labels\": ["));
    for (uint64_t i = 0; i < port->label_count; i++) {
        buf_str(b, i ? STR(", ") : STR(""));
        buf_json(b, (struct str){ port->labels[i].data, port->labels[i].len });
    }
    buf_str(b, port->labels ? STR("], \"name\": ") : STR("\"name\": "));
    buf_json(b, (struct str){ port->name.data, port->name.len });
    buf_str(b, STR(", \"shape\": ["));
    for (int32_t i = 0; i < port->ndim; i++)
        buf_fmt(b, "%s%lld", i ? ", " : "", (long long)port->shape[i]);
    buf_str(b, STR("]}"));
}

static void add_ports(struct buf *b, const char *name, const maas_port *ports, uint32_t count)
{
    buf_fmt(b, "\"%s\": [", name);
    for (uint32_t i = 0; i < count; i++) {
        buf_str(b, i ? STR(", ") : STR(""));
        add_port(b, &ports[i]);
    }
    buf_str(b, STR("]"));
}

static void add_signature(struct buf *b, const maas_signature *s)
{
    buf_str(b, STR("{"));
    add_ports(b, "inputs", s->inputs, s->input_count);
    buf_fmt(b, ", \"max_rows\": %u, ", s->max_rows);
    add_ports(b, "outputs", s->outputs, s->output_count);
    buf_fmt(b, ", \"rows_independent\": %s}", s->rows_independent ? "true" : "false");
}

static void add_all(struct buf *b, const struct manifest *m, const struct folder *data,
                    const struct folder *out)
{
    buf_fmt(b, "{\n  \"data\": {\"files\": %" PRIu64 ", \"sha256\": \"%s\"},\n  \"files\": [",
            data->files, data->sha256);
    buf_str(b, buf_view(&out->list));
    buf_str(b, STR("],\n  \"format\": 1,\n  \"metrics\": {"));
    add_metrics(b, m);
    buf_str(b, STR("},\n  \"options\": {"));
    add_options(b, m);
    buf_str(b, STR("},\n  \"plugin\": {\"id\": "));
    buf_json(b, str_of(m->plugin->id));
    buf_str(b, STR(", \"version\": "));
    buf_json(b, str_of(m->plugin->version));
    buf_fmt(b, "},\n  \"seed\": %" PRIu64 ",\n  \"signature\": ", m->seed);
    add_signature(b, m->signature);
    buf_str(b, STR(",\n  \"task\": "));
    if (m->signature->task)
        buf_json(b, str_of(m->signature->task));
    else
        buf_str(b, STR("null"));
    buf_str(b, STR("\n}\n"));
}

static maas_status write_whole(const char *dir, struct str text, maas_error *error)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/" MANIFEST_NAME, dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot create '%s': %s", path, strerror(errno));
    bool bad = fwrite(text.data, 1, text.len, file) != text.len;
    if (fclose(file) || bad)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno));
    return MAAS_OK;
}

maas_status manifest_write(const struct manifest *m, maas_error *error)
{
    struct folder data, out;
    struct buf b;
    folder_init(&data);
    folder_init(&out);
    buf_init(&b, MANIFEST_MAX);
    maas_status status = folder_read(&data, m->data_dir, error);
    if (!status)
        status = folder_read(&out, m->out_dir, error);
    if (!status) {
        add_all(&b, m, &data, &out);
        status = b.failed || out.list.failed
                     ? fail(error, MAAS_E_EXHAUSTED, "the manifest is larger than %zu bytes",
                            MANIFEST_MAX)
                     : write_whole(m->out_dir, buf_view(&b), error);
    }
    buf_release(&b);
    folder_release(&data);
    folder_release(&out);
    return status;
}
