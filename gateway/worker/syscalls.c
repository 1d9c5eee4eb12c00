/*
 * syscalls.c: which system calls a worker may make, through libseccomp.
 *
 * A list of what is refused, not of what is allowed: plugins bring libraries of their own, and a
 * list of allowed calls breaks with each new libc. What is refused is everything that reaches
 * another process, the network, the kernel's configuration or a new program. Such a call has no
 * innocent reason, so it kills the process; calls that libraries try and do without get an error.
 *
 * Signals to oneself stay: abort() and raise() need them. The filter compares the target with this
 * process's id, so it is built in the process that it confines.
 */
#include "worker/syscalls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static const int KILLED[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kcmp),
    SCMP_SYS(process_madvise),
    SCMP_SYS(process_mrelease),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(tkill),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(personality),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
};

/* Shared objects between processes, and other users' rights: libraries can do without. */
static const int REFUSED[] = {
    SCMP_SYS(shmget),   SCMP_SYS(shmat),     SCMP_SYS(msgget),    SCMP_SYS(semget),
    SCMP_SYS(mq_open),  SCMP_SYS(setuid),    SCMP_SYS(setgid),    SCMP_SYS(setreuid),
    SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups),
    SCMP_SYS(capset),   SCMP_SYS(setpgid),   SCMP_SYS(setsid),
};

static const int SEALED[] = {
    SCMP_SYS(open),         SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat),
    SCMP_SYS(memfd_create), SCMP_SYS(clone),  SCMP_SYS(prctl),   SCMP_SYS(seccomp),
};

static int add_list(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(filter, action, calls[i], 0);
    return rc;
}

/* The first argument (a process) is somebody else; only the low half counts for the kernel. */
static int kill_if_aimed_elsewhere(scmp_filter_ctx filter, int call)
{
    scmp_datum_t self = (scmp_datum_t)getpid();
    int rc = 0;
    for (int bit = 0; rc == 0 && bit < 32; bit++) { /* "not equal" under a mask, a bit at a time */
        scmp_datum_t mask = 1ULL << bit;
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, call, 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, mask, ~self & mask));
    }
    return rc;
}

static int add_signals(scmp_filter_ctx filter)
{
    static const int calls[] = { SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo),
                                 SCMP_SYS(rt_tgsigqueueinfo) };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < COUNT_OF(calls); i++)
        rc = kill_if_aimed_elsewhere(filter, calls[i]);
    return rc;
}

/* What the sandbox set must stay set. */
static int add_prctl(scmp_filter_ctx filter)
{
    static const unsigned options[] = { PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_PTRACER,
                                        PR_SET_MM, PR_SET_SECCOMP };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < COUNT_OF(options); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, options[i]));
    return rc;
}

static int add_clone(scmp_filter_ctx filter)
{
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

static int add_confinement(scmp_filter_ctx filter)
{
    int rc = add_list(filter, SCMP_ACT_KILL_PROCESS, KILLED, COUNT_OF(KILLED));
    if (rc == 0)
        rc = add_list(filter, SCMP_ACT_ERRNO(EPERM), REFUSED, COUNT_OF(REFUSED));
    if (rc == 0)
        rc = add_clone(filter);
    if (rc == 0)
        rc = add_signals(filter);
    if (rc == 0)
        rc = add_prctl(filter);
    if (rc == 0) /* typing into the operator's terminal */
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, TIOCSTI));
    return rc;
}

static int add_seal(scmp_filter_ctx filter)
{
    static const int mappings[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect) };
    int rc = add_list(filter, SCMP_ACT_ERRNO(EPERM), SEALED, COUNT_OF(SEALED));
    for (size_t i = 0; rc == 0 && i < COUNT_OF(mappings); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), mappings[i], 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    return rc;
}

static maas_status load(int (*add)(scmp_filter_ctx), const char *name, maas_error *error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for a system-call filter");
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0) /* a balanced tree: twenty comparisons a call would be felt */
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = add(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc)
        return fail(error, MAAS_E_PRECONDITION, "system-call filter '%s': %s", name, strerror(-rc));
    return MAAS_OK;
}

maas_status syscalls_confine(maas_error *error)
{
    return load(add_confinement, "confine", error);
}

maas_status syscalls_seal(maas_error *error)
{
    return load(add_seal, "seal", error);
}
