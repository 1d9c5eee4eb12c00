/*
 * folder.h: artifacts as files in memory: to be damaged and written elsewhere.
 */
#ifndef CHECK_FOLDER_H
#define CHECK_FOLDER_H

#include "base/base.h"

#define FOLDER_FILES_MAX 64
#define FOLDER_PATH_MAX  256

struct folder_file {
    char path[FOLDER_PATH_MAX]; /* below the folder */
    char *data;
    size_t len;
};

struct folder {
    struct folder_file files[FOLDER_FILES_MAX]; /* sorted by path */
    size_t count;
};

/* Reads the regular files of a folder and of the folders in it; MAAS_E_EXHAUSTED past the limits.
 */
maas_status MUST_USE folder_read(const char *dir, struct folder *out, maas_error *error);
void folder_release(struct folder *f);
/* Writes all files into `dir`, which is made; files that are there are overwritten. */
maas_status MUST_USE folder_write(const struct folder *f, const char *dir, maas_error *error);
bool folders_equal(const struct folder *a, const struct folder *b, char *why, size_t why_size);

#endif
