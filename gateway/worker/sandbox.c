/*
 * sandbox.c: the order in which a worker gives up its rights (the reasons are in the order: each
 * step must still be allowed by the ones before it).
 *
 *     descriptors → not dumpable → die with the parent → environment → limits → capabilities
 *     → no_new_privs → files (Landlock) → system calls (seccomp)      then the plugin's copy
 *     → no more memory files (admit)                                  then the plugin
 *     → no more files, threads, code (seal)                           then the first request
 *
 * Rejected: user and mount namespaces (needs rights that many installations do not give, and
 * Landlock covers the files); a fork of a prepared process (never after a library is loaded).
 */
#include "worker/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "engine/arithmetic.h"
#include "worker/landlock.h"
#include "worker/syscalls.h"

#define FILES_MAX     256
#define FILE_SIZE_MAX (4ULL << 30) /* of a job's output, and of a plugin's copy in memory */

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Closes everything from 3 up except the kept ones: the gaps between them. */
static maas_status close_others(const struct sandbox_plan *plan, maas_error *error)
{
    int keep[FILES_MAX];
    if (plan->keep_count > COUNT_OF(keep))
        return fail(error, MAAS_E_INVALID, "%zu descriptors to keep", plan->keep_count);
    if (plan->keep_count)
        memcpy(keep, plan->keep, plan->keep_count * sizeof(*keep));
    qsort(keep, plan->keep_count, sizeof(*keep), by_number);
    unsigned from = STDERR_FILENO + 1;
    for (size_t i = 0; i <= plan->keep_count; i++) {
        unsigned to = i < plan->keep_count ? (unsigned)keep[i] : UINT32_MAX;
        if (to > from && close_range(from, i < plan->keep_count ? to - 1 : to, 0))
            return fail(error, MAAS_E_PRECONDITION, "closing descriptors: %s", strerror(errno));
        if (to >= from)
            from = to + 1;
    }
    return MAAS_OK;
}

static maas_status tie_to_parent(const struct sandbox_plan *plan, maas_error *error)
{
    if (prctl(PR_SET_DUMPABLE, 0) || (plan->parent && prctl(PR_SET_PDEATHSIG, SIGKILL)))
        return fail(error, MAAS_E_PRECONDITION, "tying to the parent: %s", strerror(errno));
    if (plan->parent && getppid() != plan->parent) /* it died before the signal was set */
        return fail(error, MAAS_E_ABORTED, "parent %d is gone", (int)plan->parent);
    return MAAS_OK;
}

/* Whatever the parent had in its environment stays there. BLAS and OpenMP read theirs when a plugin
 * loads them, which is later. */
static maas_status fix_environment(maas_error *error)
{
    const bool good = clearenv() == 0 && setenv("LC_ALL", "C.UTF-8", 1) == 0 &&
                      setenv("TZ", "UTC", 1) == 0 && arithmetic_environment();
    return good ? MAAS_OK : fail(error, MAAS_E_EXHAUSTED, "no memory for the environment");
}

static bool limit(int resource, rlim_t most)
{
    struct rlimit old;
    if (getrlimit(resource, &old))
        return false;
    if (old.rlim_max < most)
        most = old.rlim_max;
    return setrlimit(resource, &(struct rlimit){ most, most }) == 0;
}

static maas_status set_limits(const struct sandbox_plan *plan, maas_error *error)
{
    bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, FILES_MAX) &&
              limit(RLIMIT_FSIZE, FILE_SIZE_MAX);
    if (!MAAS_SANITIZED && plan->memory_max) /* sanitizers reserve terabytes of shadow */
        ok = ok && limit(RLIMIT_AS, plan->memory_max);
    return ok ? MAAS_OK : fail(error, MAAS_E_PRECONDITION, "setting limits: %s", strerror(errno));
}

/* Root without capabilities is a user among others; glibc has no wrapper for capset. */
static maas_status drop_rights(maas_error *error)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2];
    memset(none, 0, sizeof(none));
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
        syscall(SYS_capset, &head, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fail(error, MAAS_E_PRECONDITION, "dropping capabilities: %s", strerror(errno));
    return MAAS_OK;
}

maas_status sandbox_enter(const struct sandbox_plan *plan, unsigned *out_steps, maas_error *error)
{
    bool landlock = false;
    maas_status status = close_others(plan, error);
    if (status == MAAS_OK)
        status = tie_to_parent(plan, error);
    if (status == MAAS_OK)
        status = fix_environment(error);
    if (status == MAAS_OK)
        status = set_limits(plan, error);
    if (status == MAAS_OK)
        status = drop_rights(error);
    if (status == MAAS_OK)
        status = landlock_enter(plan, &landlock, error);
    if (status == MAAS_OK)
        status = syscalls_confine(plan->write[0] != NULL, error);
    if (status == MAAS_OK)
        *out_steps = SANDBOX_RLIMITS | SANDBOX_SECCOMP | (landlock ? SANDBOX_LANDLOCK : 0u);
    return status;
}

/* The limit on file sizes also hits a log that stderr was redirected to: then it stays as it was
 * (no other file can be opened any more). */
static bool logs_to_a_file(void)
{
    struct stat st;
    return fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
}

maas_status sandbox_admit(maas_error *error)
{
    if (!logs_to_a_file() && !limit(RLIMIT_FSIZE, 0))
        return fail(error, MAAS_E_PRECONDITION, "limiting file sizes: %s", strerror(errno));
    return syscalls_admit(error);
}

maas_status sandbox_seal(unsigned *steps, maas_error *error)
{
    if (MAAS_SANITIZED) /* their reports open /proc files and symbolizers */
        return MAAS_OK;
    maas_status status = syscalls_seal(error);
    if (status == MAAS_OK)
        *steps |= SANDBOX_SEALED;
    return status;
}

void sandbox_format(unsigned steps, char *out, size_t size)
{
    static const struct {
        unsigned step;
        const char *name;
    } names[] = { { SANDBOX_RLIMITS, "rlimits" },
                  { SANDBOX_LANDLOCK, "landlock" },
                  { SANDBOX_SECCOMP, "seccomp" },
                  { SANDBOX_SEALED, "sealed" } };
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < COUNT_OF(names) && len < size; i++)
        if (steps & names[i].step)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? "," : "", names[i].name);
}
