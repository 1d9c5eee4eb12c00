/*
 * plugin.c: loads a plugin. The file is copied into a sealed memfd, hashed there, and loaded from
 * there, so what was checked is what runs. Then its table is copied into ours, at most as long as
 * either side knows, and missing optional members become stubs: past this file nothing in the
 * gateway knows of ABI history. A plugin is never unloaded: the process' end is the unload.
 *
 * The memfd stays open as long: the loader knows objects by name, and a second plugin loaded from
 * the same descriptor number would be taken for the first.
 *
 * Rejected: RTLD_DEEPBIND (sanitizers abort), RTLD_LAZY (missing symbols found in production),
 * loading by path (the file may change between the check and the load).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/border.h"
#include "engine/internal.h"

#define PLUGIN_BYTES_MAX ((off_t)1 << 30)
#define ID_MAX           64

/* ---- stubs of optional members */

static maas_status no_init(const maas_host *host, maas_error *error)
{
    (void)host;
    (void)error;
    return MAAS_OK;
}

static void no_deinit(void)
{
}

static maas_status no_validate(maas_model *model, const maas_request *request, maas_error *error)
{
    (void)model;
    (void)request;
    (void)error;
    return MAAS_OK;
}

static const void *no_extension(const char *id)
{
    (void)id;
    return NULL;
}

/* ---- the sealed copy */

static maas_status copy(int from, int to, const char *path, maas_error *error)
{
    char block[65536];
    ssize_t n;
    off_t total = 0;
    while ((n = read(from, block, sizeof(block))) > 0) {
        total += n;
        if (total > PLUGIN_BYTES_MAX || write(to, block, (size_t)n) != n)
            return fail(error, MAAS_E_EXHAUSTED, "cannot copy plugin '%s'", path);
    }
    return n < 0 ? fail(error, MAAS_E_UNAVAILABLE, "cannot read plugin '%s': %s", path,
                        strerror(errno))
                 : MAAS_OK;
}

static bool digest_of(int fd, uint8_t digest[32])
{
    char block[65536];
    ssize_t n = 0;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
    for (off_t at = 0; good && (n = pread(fd, block, sizeof(block), at)) != 0; at += n)
        good = n > 0 && EVP_DigestUpdate(hash, block, (size_t)n) == 1;
    good = good && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return good;
}

/* Sealed first, hashed then: what is compared is what nobody can change any more. */
static maas_status seal_and_check(int fd, const char *path, const uint8_t *sha256,
                                  maas_error *error)
{
    uint8_t digest[32];
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return fail(error, MAAS_E_INTERNAL, "cannot seal plugin '%s': %s", path, strerror(errno));
    if (sha256 && !digest_of(fd, digest))
        return fail(error, MAAS_E_INTERNAL, "cannot hash plugin '%s'", path);
    if (sha256 && memcmp(digest, sha256, sizeof(digest)) != 0)
        return fail(error, MAAS_E_DENIED, "plugin '%s' does not have the sha256 that is allowed",
                    path);
    return MAAS_OK;
}

maas_status engine_plugin_copy(const char *path, const uint8_t *sha256, int *out_fd,
                               maas_error *error)
{
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return fail(error, MAAS_E_NOT_FOUND, "cannot open plugin '%s': %s", path, strerror(errno));
    int fd = memfd_create("plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    maas_status status = fd < 0 ? fail(error, MAAS_E_EXHAUSTED, "no memory for plugin '%s'", path)
                                : copy(from, fd, path, error);
    close(from);
    if (!status)
        status = seal_and_check(fd, path, sha256, error);
    if (status && fd >= 0)
        close(fd);
    else
        *out_fd = fd;
    return status;
}

/* ---- the border */

static maas_status take_train(struct engine_plugin *plugin, maas_error *error)
{
    const maas_train *theirs = plugin->table.extension(MAAS_EXT_TRAIN);
    maas_train *t = &plugin->train;
    if (!theirs)
        return MAAS_OK;
    memcpy(t, theirs, theirs->size < sizeof(*t) ? theirs->size : sizeof(*t));
    t->size = sizeof(*t);
    return options_declared_well(t->options, error);
}

static maas_status take_explain(struct engine_plugin *plugin, maas_error *error)
{
    const maas_explain *theirs = plugin->table.extension(MAAS_EXT_EXPLAIN);
    maas_explain *e = &plugin->explain;
    if (!theirs)
        return MAAS_OK;
    memcpy(e, theirs, theirs->size < sizeof(*e) ? theirs->size : sizeof(*e));
    e->size = sizeof(*e);
    return e->describe && e->explain
               ? MAAS_OK
               : fail(error, MAAS_E_INVALID,
                      "describe or explain of " MAAS_EXT_EXPLAIN " is missing");
}

static bool good_id(const char *id)
{
    size_t len = strnlen(id, ID_MAX + 1);
    return len > 0 && len <= ID_MAX && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* Their table cut or filled up to ours; past this, every function may be called. */
static maas_status normalise(struct engine_plugin *plugin, const maas_plugin *theirs,
                             maas_error *error)
{
    maas_plugin *t = &plugin->table;
    if (theirs->abi >> 16 != MAAS_ABI_MAJOR)
        return fail(error, MAAS_E_UNIMPLEMENTED, "its table is of ABI %u.%u", theirs->abi >> 16,
                    theirs->abi & 0xffff);
    memcpy(t, theirs, theirs->size < sizeof(*t) ? theirs->size : sizeof(*t));
    t->size = sizeof(*t);
    if (!t->id || !t->load || !t->unload || !t->describe || !t->infer)
        return fail(error, MAAS_E_INVALID, "id, load, unload, describe or infer is missing");
    if (!good_id(t->id))
        return fail(error, MAAS_E_INVALID, "its id is not 1 to %d of a-z 0-9 . _ -", ID_MAX);
    t->version = t->version ? t->version : "0";
    t->title = t->title ? t->title : t->id;
    t->vendor = t->vendor ? t->vendor : "";
    t->init = t->init ? t->init : no_init;
    t->deinit = t->deinit ? t->deinit : no_deinit;
    t->validate = t->validate ? t->validate : no_validate;
    t->extension = t->extension ? t->extension : no_extension;
    maas_status status = options_declared_well(t->options, error);
    if (!status)
        status = take_train(plugin, error);
    return status ? status : take_explain(plugin, error);
}

static maas_status find_table(const char *file, const maas_plugin **out, maas_error *error)
{
    union {
        void *object;
        const maas_plugin *(*entry)(uint32_t);
    } symbol;
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return fail(error, MAAS_E_INVALID, "%s", dlerror());
    symbol.object = dlsym(handle, "maas_plugin_entry");
    if (!symbol.object)
        return fail(error, MAAS_E_INVALID, "it does not export maas_plugin_entry");
    *out = symbol.entry(MAAS_ABI);
    return *out ? MAAS_OK
                : fail(error, MAAS_E_UNIMPLEMENTED, "it does not speak ABI %u.%u", MAAS_ABI_MAJOR,
                       MAAS_ABI_MINOR);
}

static maas_status load_from(int fd, struct engine_plugin *plugin, maas_error *error)
{
    char file[64];
    const maas_plugin *theirs = NULL;
    snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
    maas_status status = find_table(file, &theirs, error);
    if (!status)
        status = normalise(plugin, theirs, error);
    if (status)
        return status;
    host_init(&plugin->host, plugin->table.id);
    status = plugin->table.init(&plugin->host.table, error);
    return status ? status_of_plugin(status) : MAAS_OK;
}

maas_status engine_plugin_load_copy(int fd, const char *path, struct engine_plugin **out,
                                    maas_error *error)
{
    maas_error why = MAAS_ERROR_INIT;
    struct engine_plugin *plugin = calloc(1, sizeof(*plugin));
    if (!plugin) {
        close(fd);
        return fail(error, MAAS_E_EXHAUSTED, "no memory for plugin '%s'", path);
    }
    maas_status status = load_from(fd, plugin, &why);
    if (status) { /* what was mapped stays mapped, and so does its descriptor's name */
        free(plugin);
        why.text[sizeof(why.text) - 1] = '\0';
        return fail(error, status, "plugin '%.80s': %.160s", path, why.text);
    }
    *out = plugin;
    return MAAS_OK;
}

maas_status engine_plugin_load(const char *path, const uint8_t *sha256, struct engine_plugin **out,
                               maas_error *error)
{
    int fd = -1;
    maas_status status = engine_plugin_copy(path, sha256, &fd, error);
    return status ? status : engine_plugin_load_copy(fd, path, out, error);
}

const maas_plugin *engine_plugin_table(const struct engine_plugin *plugin)
{
    return &plugin->table;
}

maas_plugin *engine_plugin_border(struct engine_plugin *plugin)
{
    return &plugin->table;
}

void engine_plugin_retire(struct engine_plugin *plugin)
{
    if (!plugin)
        return;
    plugin->table.deinit();
    free(plugin);
}
