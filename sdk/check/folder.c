/*
 * folder.c: a small tree of files (folder.h).
 */
#include "folder.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX ((size_t)1 << 30)

static maas_status add(struct folder *f, const char *path, const char *below, maas_error *error)
{
    if (f->count == FOLDER_FILES_MAX || strlen(below) >= FOLDER_PATH_MAX)
        return fail(error, MAAS_E_EXHAUSTED, "the folder has more than %d files, or longer names",
                    FOLDER_FILES_MAX);
    struct folder_file *file = &f->files[f->count];
    maas_status status = file_read(path, FILE_MAX, &file->data, &file->len, error);
    if (status)
        return status;
    snprintf(file->path, sizeof(file->path), "%s", below);
    f->count++;
    return MAAS_OK;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

maas_status folder_read(const char *dir, struct folder *out, maas_error *error)
{
    char root[1024];
    char *const roots[] = { root, NULL };
    maas_status status = MAAS_OK;
    memset(out, 0, sizeof(*out));
    snprintf(root, sizeof(root), "%s", dir);
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (!tree)
        return fail(error, MAAS_E_NOT_FOUND, "cannot read '%s': %s", dir, strerror(errno));
    for (FTSENT *at; !status && (at = fts_read(tree));)
        if (at->fts_info == FTS_F)
            status = add(out, at->fts_path, at->fts_path + strlen(root) + 1, error);
    fts_close(tree);
    if (status)
        folder_release(out);
    return status;
}

void folder_release(struct folder *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->files[i].data);
    f->count = 0;
}

static maas_status write_one(const struct folder_file *file, const char *dir, maas_error *error)
{
    char path[1400];
    int root = snprintf(path, sizeof(path), "%s/", dir);
    snprintf(path + root, sizeof(path) - (size_t)root, "%s", file->path);
    for (char *slash = strchr(path + root, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *out = fopen(path, "we");
    bool bad = !out || fwrite(file->data, 1, file->len, out) != file->len;
    if (out && fclose(out))
        bad = true;
    return bad ? fail(error, MAAS_E_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno))
               : MAAS_OK;
}

maas_status folder_write(const struct folder *f, const char *dir, maas_error *error)
{
    maas_status status = MAAS_OK;
    if (mkdir(dir, 0700) && errno != EEXIST)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot make '%s': %s", dir, strerror(errno));
    for (size_t i = 0; i < f->count && !status; i++)
        status = write_one(&f->files[i], dir, error);
    return status;
}

bool folders_equal(const struct folder *a, const struct folder *b, char *why, size_t why_size)
{
    if (a->count != b->count) {
        snprintf(why, why_size, "%zu files and %zu", a->count, b->count);
        return false;
    }
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->files[i].path, b->files[i].path) != 0 || a->files[i].len != b->files[i].len ||
            memcmp(a->files[i].data, b->files[i].data, a->files[i].len) != 0) {
            snprintf(why, why_size, "'%.100s' differs", a->files[i].path);
            return false;
        }
    return true;
}
