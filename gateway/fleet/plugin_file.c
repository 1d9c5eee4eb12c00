/*
 * plugin_file.c: the gateway's half of the allow list. It only reads the file; loading is the
 * worker's, which hashes its own sealed copy once more (gateway/engine/plugin.c).
 *
 * Rejected: handing the worker the whole list (then only the worker would know what it runs, and it
 * runs the plugin); remembering digests by inode and time of change (a start is rare, and a file
 * system's clock is no proof).
 */
#include "fleet/plugin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A device or a pipe would be read for ever, or block the control thread. */
static maas_status open_regular(const char *path, int *out_fd, maas_error *error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(error, MAAS_E_NOT_FOUND, "cannot open plugin '%s': %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail(error, MAAS_E_INVALID, "plugin '%s' is no regular file", path);
    }
    *out_fd = fd;
    return MAAS_OK;
}

static maas_status hash_all(int fd, EVP_MD_CTX *hash, uint8_t out[32], maas_error *error)
{
    char block[65536];
    ssize_t n;
    bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
    while (good && (n = read(fd, block, sizeof(block))) != 0)
        good = n > 0 && EVP_DigestUpdate(hash, block, (size_t)n) == 1;
    if (!good || EVP_DigestFinal_ex(hash, out, NULL) != 1)
        return fail(error, MAAS_E_UNAVAILABLE, "cannot read a plugin: %s", strerror(errno));
    return MAAS_OK;
}

maas_status plugin_file_digest(const char *path, uint8_t out_sha256[32], maas_error *error)
{
    int fd = -1;
    maas_status status = open_regular(path, &fd, error);
    if (status)
        return status;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    status = hash_all(fd, hash, out_sha256, error);
    EVP_MD_CTX_free(hash);
    close(fd);
    return status;
}

maas_status plugin_file_find(const char *plugins_dir, const struct snapshot *allowed,
                             const char *id, char *out_path, size_t out_size,
                             uint8_t out_sha256[32], maas_error *error)
{
    char hex[65];
    if ((size_t)snprintf(out_path, out_size, "%s/%s.so", plugins_dir, id) >= out_size)
        return fail(error, MAAS_E_INVALID, "the path of plugin '%s' is too long", id);
    maas_status status = plugin_file_digest(out_path, out_sha256, error);
    if (status || snapshot_allows(allowed, id, out_sha256))
        return status;
    hex_encode(out_sha256, 32, hex);
    return fail(error, MAAS_E_DENIED, "the file of plugin '%s' has sha256 %s, which is not allowed",
                id, hex);
}
