/*
 * landlock.c: the file rules of the sandbox: libraries may be read and executed, the artifact read,
 * a job's out folder written, nothing else opened. On kernels that know it, signals to processes
 * outside and TCP are denied here too, as a second net under the system-call filter.
 *
 * glibc has no wrappers, and the header of an older kernel lacks newer rights: the struct and the
 * bits are spelled here and cut to what the running kernel says it knows.
 */
#include "worker/landlock.h"
#include "worker/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

struct ruleset { /* the kernel's landlock_ruleset_attr of ABI 6 */
    uint64_t fs, net, scoped;
};

#define FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#define FS_IOCTL    (1ULL << 15) /* ABI 5 */
#define NET_TCP     3ULL         /* ABI 4: bind and connect */
#define SCOPED_ALL  3ULL         /* ABI 6: abstract sockets and signals */

#define RIGHTS_READ    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_EXECUTE (RIGHTS_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define RIGHTS_WRITE                                                                               \
    (RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                 \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |  \
     LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE)
#define RIGHTS_OF_FILES                                                                            \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |   \
     FS_TRUNCATE)

static const struct {
    const char *path;
    uint64_t rights;
} SYSTEM[] = {
    { "/lib", RIGHTS_EXECUTE },
    { "/lib64", RIGHTS_EXECUTE },
    { "/usr/lib", RIGHTS_EXECUTE },
    { "/usr/lib64", RIGHTS_EXECUTE },
    { "/usr/local/lib", RIGHTS_EXECUTE },
    { "/etc/ld.so.cache", RIGHTS_READ },
    { "/etc/localtime", RIGHTS_READ },
    { "/etc/ssl/openssl.cnf", RIGHTS_READ },
    { "/proc/self", RIGHTS_READ },
    { "/proc/cpuinfo", RIGHTS_READ },
    { "/proc/meminfo", RIGHTS_READ },
    { "/sys/devices/system", RIGHTS_READ },
    { "/dev/null", RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE },
    { "/dev/urandom", RIGHTS_READ },
};

static uint64_t fs_rights(long abi)
{
    uint64_t rights = (1ULL << 13) - 1;
    if (abi >= 2)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        rights |= FS_TRUNCATE;
    if (abi >= 5)
        rights |= FS_IOCTL;
    return rights;
}

static long make_ruleset(long abi, uint64_t fs)
{
    struct ruleset set = { .fs = fs,
                           .net = abi >= 4 ? NET_TCP : 0,
                           .scoped = abi >= 6 ? SCOPED_ALL : 0 };
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    return syscall(SYS_landlock_create_ruleset, &set, size, 0);
}

/* False with errno when the path cannot be opened or the rule is refused. */
static bool allow(int ruleset, const char *path, uint64_t rights)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct stat st;
    bool ok = fstat(fd, &st) == 0;
    if (ok && !S_ISDIR(st.st_mode))
        rights &= RIGHTS_OF_FILES;
    struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
    ok = ok && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return ok;
}

static maas_status allow_all(int ruleset, const char *const *paths, uint64_t rights,
                             maas_error *error)
{
    for (size_t i = 0; i < SANDBOX_PATHS_MAX && paths[i]; i++)
        if (!allow(ruleset, paths[i], rights))
            return fail(error, MAAS_E_PRECONDITION, "allowing '%s': %s", paths[i], strerror(errno));
    return MAAS_OK;
}

static maas_status restrict_to(int ruleset, const struct sandbox_plan *plan, uint64_t fs,
                               maas_error *error)
{
    for (size_t i = 0; i < COUNT_OF(SYSTEM); i++)
        if (!allow(ruleset, SYSTEM[i].path, SYSTEM[i].rights & fs) && errno != ENOENT)
            return fail(error, MAAS_E_PRECONDITION, "allowing '%s': %s", SYSTEM[i].path,
                        strerror(errno));
    maas_status status = allow_all(ruleset, plan->read, RIGHTS_READ & fs, error);
    if (status == MAAS_OK)
        status = allow_all(ruleset, plan->write, RIGHTS_WRITE & fs, error);
    if (status == MAAS_OK && syscall(SYS_landlock_restrict_self, ruleset, 0))
        status = fail(error, MAAS_E_PRECONDITION, "entering landlock: %s", strerror(errno));
    return status;
}

maas_status landlock_enter(const struct sandbox_plan *plan, bool *out_active, maas_error *error)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) { /* not built in, or switched off at boot */
        *out_active = false;
        return MAAS_OK;
    }
    uint64_t fs = fs_rights(abi);
    int ruleset = (int)make_ruleset(abi, fs);
    if (ruleset < 0)
        return fail(error, MAAS_E_PRECONDITION, "landlock ABI %ld: %s", abi, strerror(errno));
    maas_status status = restrict_to(ruleset, plan, fs, error);
    close(ruleset);
    if (status == MAAS_OK)
        *out_active = true;
    return status;
}
