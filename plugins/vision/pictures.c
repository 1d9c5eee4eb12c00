/*
 * pictures.c: one file at a time is in memory, at most as large as a request's may be.
 */
#include "pictures.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { NAME = 4096 };

struct walk {
    const char *dir;
    picture_fn *fn;
    void *arg;
    const maas_host *host;
    const maas_request *job;
};

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

bool pictures_exist(const char *dir)
{
    char path[NAME];
    struct stat what;
    snprintf(path, sizeof(path), "%s/images", dir);
    return stat(path, &what) == 0 && S_ISDIR(what.st_mode);
}

maas_status picture_prepare(float *out, maas_str file, const struct prepare *p, maas_error *error)
{
    struct image_info info;
    struct image image;
    float *space = NULL;
    uint8_t *pixels = NULL;
    maas_status status = image_probe(file.data, file.len, &image_limits_usual, &info, error);
    if (!status && !(pixels = malloc(image_bytes(&info))))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for its pixels");
    if (!status)
        status = image_decode(file.data, file.len, &info, p->background, pixels, &image, error);
    if (!status && !(space = malloc(prepare_space(p, image.width, image.height) * sizeof(float))))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory to resize it");
    if (!status)
        prepare(out, space, &image, p);
    free(pixels);
    free(space);
    return status;
}

/* The bytes of a file, the caller's to free; NULL: it cannot be read, or is too large. */
static void *load(const char *path, size_t *out_len)
{
    FILE *file = fopen(path, "re");
    long len = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    void *bytes =
        len >= 0 && (uint64_t)len <= image_limits_usual.bytes_max ? malloc((size_t)len + 1) : NULL;
    if (bytes) {
        rewind(file);
        if (fread(bytes, 1, (size_t)len, file) != (size_t)len) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (file)
        fclose(file);
    *out_len = (size_t)len;
    return bytes;
}

static maas_status visit(const struct walk *w, const char *label, const char *name,
                         maas_error *error)
{
    char path[NAME + 600];
    size_t len;
    maas_error why = MAAS_ERROR_INIT;
    if (w->host->cancelled(w->host, w->job))
        return maas_fail(error, MAAS_E_CANCELLED, "cancelled while reading");
    snprintf(path, sizeof(path), "%s/images/%s/%s", w->dir, label, name);
    void *bytes = load(path, &len);
    maas_status status = bytes ? w->fn(w->arg, label, (maas_str){ bytes, len }, &why)
                               : maas_fail(&why, MAAS_E_INVALID, "it cannot be read");
    free(bytes);
    return status ? maas_fail(error, status, "images/%.60s/%.60s: %.300s", label, name, why.text)
                  : MAAS_OK;
}

static maas_status visit_label(const struct walk *w, const char *label, maas_error *error)
{
    struct dirent **files = NULL;
    char path[NAME + 600];
    maas_status status = MAAS_OK;
    snprintf(path, sizeof(path), "%s/images/%s", w->dir, label);
    const int count = scandir(path, &files, visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (!status)
            status = visit(w, label, files[i]->d_name, error);
        free(files[i]);
    }
    free(files);
    return status;
}

maas_status pictures_walk(const char *dir, picture_fn *fn, void *arg, const maas_host *host,
                          const maas_request *job, maas_error *error)
{
    const struct walk walk = { dir, fn, arg, host, job };
    struct dirent **labels = NULL;
    char path[NAME];
    maas_status status = MAAS_OK;
    snprintf(path, sizeof(path), "%s/images", dir);
    const int count = scandir(path, &labels, visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (!status)
            status = visit_label(&walk, labels[i]->d_name, error);
        free(labels[i]);
    }
    free(labels);
    return status;
}
