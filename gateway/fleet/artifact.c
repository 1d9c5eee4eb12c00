/*
 * artifact.c: the disk cache of artifacts.
 *
 * An artifact is a tar of plain files, named by the SHA-256 of its bytes, so a cached folder is
 * never stale: it is made under another name and renamed when whole. libarchive reads the tar (tar
 * format only); we decide what may come out: at most FILES_MAX regular files and folders, relative
 * names without "..", no links, no devices, at most BYTES_MAX unpacked. Files are made read-only.
 */
#include "fleet/artifact.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX  1024
#define BYTES_MAX  ((uint64_t)2 << 30)
#define PATH_BYTES 1024

void artifact_digest(const void *data, size_t size, uint8_t out[32])
{
    unsigned n = 32;
    CHECK(EVP_Digest(data, size, out, &n, EVP_sha256(), NULL) == 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void artifact_remove(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool name_is_safe(const char *name)
{
    if (!name || name[0] == '/' || name[0] == '\0' || strlen(name) > 255 || strchr(name, '\\'))
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static bool make_parents(char *path, size_t root_len)
{
    for (char *p = path + root_len + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        bool good = mkdir(path, 0755) == 0 || errno == EEXIST;
        *p = '/';
        if (!good)
            return false;
    }
    return true;
}

static maas_status write_file(struct archive *in, const char *path, uint64_t *budget,
                              maas_error *error)
{
    maas_status status = MAAS_OK;
    char block[65536];
    la_ssize_t n = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0)
        return fail(error, MAAS_E_INVALID, "artifact: cannot create '%s': %s", path,
                    strerror(errno));
    while (!status && (n = archive_read_data(in, block, sizeof(block))) > 0) {
        if ((uint64_t)n > *budget)
            status = fail(error, MAAS_E_EXHAUSTED, "artifact: more than %llu bytes unpacked",
                          (unsigned long long)BYTES_MAX);
        else if (write(fd, block, (size_t)n) != n)
            status = fail(error, MAAS_E_UNAVAILABLE, "artifact: cannot write '%s': %s", path,
                          strerror(errno));
        else
            *budget -= (uint64_t)n;
    }
    if (!status && n < 0)
        status = fail(error, MAAS_E_INVALID, "artifact: the tar is damaged: %s",
                      archive_error_string(in));
    close(fd);
    return status;
}

static maas_status unpack_entry(struct archive *in, struct archive_entry *entry, const char *folder,
                                uint64_t *budget, maas_error *error)
{
    const char *name = archive_entry_pathname(entry);
    char path[PATH_BYTES];
    if (!name_is_safe(name))
        return fail(error, MAAS_E_INVALID, "artifact: the name '%s' leaves the folder",
                    name ? name : "");
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    if (name[0] == '\0' || strcmp(name, ".") == 0)
        return MAAS_OK;
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return fail(error, MAAS_E_INVALID, "artifact: '%s' is a link", name);
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return fail(error, MAAS_E_INVALID, "artifact: the name '%s' is too long", name);
    if (!make_parents(path, strlen(folder)))
        return fail(error, MAAS_E_INVALID, "artifact: cannot create the folders of '%s'", name);
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return MAAS_OK;
    if (archive_entry_filetype(entry) != AE_IFREG)
        return fail(error, MAAS_E_INVALID, "artifact: '%s' is not a regular file", name);
    return write_file(in, path, budget, error);
}

maas_status artifact_unpack(const void *tar, size_t size, const char *folder, maas_error *error)
{
    struct archive *in = archive_read_new();
    struct archive_entry *entry;
    uint64_t budget = BYTES_MAX;
    uint32_t files = 0;
    maas_status status = MAAS_OK;
    int rc = ARCHIVE_FATAL;
    if (!in)
        return fail(error, MAAS_E_EXHAUSTED, "no memory to read an artifact");
    archive_read_support_format_tar(in);
    if (archive_read_open_memory(in, tar, size) != ARCHIVE_OK)
        status = fail(error, MAAS_E_INVALID, "artifact: not a tar: %s", archive_error_string(in));
    while (!status && (rc = archive_read_next_header(in, &entry)) == ARCHIVE_OK) {
        if (++files > FILES_MAX)
            status = fail(error, MAAS_E_INVALID, "artifact: more than %d files", FILES_MAX);
        else
            status = unpack_entry(in, entry, folder, &budget, error);
    }
    if (!status && rc != ARCHIVE_EOF)
        status = fail(error, MAAS_E_INVALID, "artifact: the tar is damaged: %s",
                      archive_error_string(in));
    if (!status && files == 0)
        status = fail(error, MAAS_E_INVALID, "artifact: the tar holds no file");
    archive_read_free(in);
    return status;
}

static maas_status read_from_database(struct sql *sql, const uint8_t sha256[32], uint8_t **out,
                                      size_t *out_len, maas_error *error)
{
    char hex[67] = "\\x";
    struct sql_result *result = NULL;
    uint8_t digest[32];
    hex_encode(sha256, 32, hex + 2);
    maas_status status = sql_exec(sql, "SELECT maas.artifact_read($1::bytea)",
                                  &(struct str){ hex, 66 }, 1, &result, error);
    if (status)
        return status;
    if (sql_rows(result) != 1 || sql_is_null(result, 0, 0))
        status = fail(error, MAAS_E_NOT_FOUND, "artifact %s is not in the database", hex + 2);
    else
        status = sql_cell_bytes(result, 0, 0, out, out_len);
    sql_result_free(result);
    if (status)
        return status;
    artifact_digest(*out, *out_len, digest);
    if (memcmp(digest, sha256, 32) == 0)
        return MAAS_OK;
    free(*out);
    return fail(error, MAAS_E_DATA_LOSS, "artifact %s does not match its digest", hex + 2);
}

maas_status artifact_fetch(struct sql *sql, const char *cache_dir, const uint8_t sha256[32],
                           char *out_path, size_t out_size, maas_error *error)
{
    char hex[65], made[PATH_BYTES];
    struct stat st;
    uint8_t *tar = NULL;
    size_t size = 0;
    hex_encode(sha256, 32, hex);
    int n = snprintf(out_path, out_size, "%s/%s", cache_dir, hex);
    int m = snprintf(made, sizeof(made), "%s/%s.XXXXXX", cache_dir, hex);
    if (n < 0 || (size_t)n >= out_size || m < 0 || (size_t)m >= sizeof(made))
        return fail(error, MAAS_E_INVALID, "workers.cache_dir: the path is too long");
    if (stat(out_path, &st) == 0)
        return MAAS_OK;
    if (mkdir(cache_dir, 0755) && errno != EEXIST)
        return fail(error, MAAS_E_UNAVAILABLE, "workers.cache_dir: cannot create '%s': %s",
                    cache_dir, strerror(errno));
    maas_status status = read_from_database(sql, sha256, &tar, &size, error);
    if (status)
        return status;
    if (!mkdtemp(made) || chmod(made, 0755))
        status = fail(error, MAAS_E_UNAVAILABLE, "workers.cache_dir: cannot create '%s': %s", made,
                      strerror(errno));
    if (!status)
        status = artifact_unpack(tar, size, made, error);
    if (!status && rename(made, out_path) && errno != EEXIST && errno != ENOTEMPTY)
        status = fail(error, MAAS_E_UNAVAILABLE, "workers.cache_dir: cannot rename to '%s': %s",
                      out_path, strerror(errno));
    if (status)
        artifact_remove(made);
    free(tar);
    return status;
}
