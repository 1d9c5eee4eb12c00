/*
 * syscalls.c: which system calls a worker may make, through libseccomp. docs/isolation.md has the
 * list in words.
 *
 * A list of what is refused, not of what is allowed: plugins bring libraries of their own, and a
 * list of allowed calls breaks with each new libc. What is refused is everything that reaches
 * another process, the network, the kernel's configuration or a new program. Such a call has no
 * innocent reason, so it kills the process; calls that libraries try and do without get an error.
 *
 * Calls that are newer than this list do not exist here: they answer ENOSYS until somebody has
 * thought about them.
 *
 * Plugin code runs from its constructor on, so a hostile one never lets us come to the seal: what
 * must hold against it is in the first filter. The seal is for a sound plugin that is taken over by
 * a request.
 *
 * Signals to oneself stay: abort() and raise() need them. The filter compares the target with this
 * process's id, so it is built in the process that it confines.
 */
#include "worker/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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
    SCMP_SYS(migrate_pages),
    SCMP_SYS(move_pages),
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
    SCMP_SYS(quotactl_fd),
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

/* Libraries can do without: objects that processes share (they are the user's, so those of others
 * can be reached and removed), other users' rights, and what Landlock does not know of files: their
 * modes, owners, times and attributes. */
static const int REFUSED[] = {
    SCMP_SYS(shmget),    SCMP_SYS(shmat),        SCMP_SYS(shmctl),        SCMP_SYS(msgget),
    SCMP_SYS(msgctl),    SCMP_SYS(msgsnd),       SCMP_SYS(msgrcv),        SCMP_SYS(semget),
    SCMP_SYS(semctl),    SCMP_SYS(semop),        SCMP_SYS(semtimedop),    SCMP_SYS(mq_open),
    SCMP_SYS(mq_unlink), SCMP_SYS(inotify_init), SCMP_SYS(inotify_init1), SCMP_SYS(setuid),
    SCMP_SYS(setgid),    SCMP_SYS(setreuid),     SCMP_SYS(setregid),      SCMP_SYS(setresuid),
    SCMP_SYS(setresgid), SCMP_SYS(setfsuid),     SCMP_SYS(setfsgid),      SCMP_SYS(setgroups),
    SCMP_SYS(capset),    SCMP_SYS(setpgid),      SCMP_SYS(setsid),        SCMP_SYS(chmod),
    SCMP_SYS(fchmod),    SCMP_SYS(fchmodat),     SCMP_SYS(chown),         SCMP_SYS(fchown),
    SCMP_SYS(lchown),    SCMP_SYS(fchownat),     SCMP_SYS(utime),         SCMP_SYS(utimes),
    SCMP_SYS(futimesat), SCMP_SYS(utimensat),    SCMP_SYS(setxattr),      SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr), SCMP_SYS(removexattr),  SCMP_SYS(lremovexattr),  SCMP_SYS(fremovexattr),
};

/* For a worker that has nothing to write: a second net under Landlock, and the only one where the
 * kernel has none. Truncating is Landlock's only since Linux 6.2. */
static const int WRITES[] = {
    SCMP_SYS(creat),     SCMP_SYS(truncate), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
    SCMP_SYS(unlink),    SCMP_SYS(unlinkat), SCMP_SYS(rename),    SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(link),     SCMP_SYS(linkat),    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat), SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),   SCMP_SYS(rmdir),
};

/* Memory that no limit counts. */
static const int MEMORY_FILES[] = { SCMP_SYS(memfd_create), SCMP_SYS(memfd_secret) };

static const int SEALED[] = {
    SCMP_SYS(open),  SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat),
    SCMP_SYS(clone), SCMP_SYS(prctl),  SCMP_SYS(seccomp),
};

/* An argument of a call that must have this value: else EPERM. 0 is the caller itself. Libraries
 * that name a thread of their own by its number do without. */
static const struct {
    int call;
    unsigned argument;
    scmp_datum_t value;
} OWN_ONLY[] = {
    { SCMP_SYS(prlimit64), 0, 0 },          { SCMP_SYS(sched_setaffinity), 0, 0 },
    { SCMP_SYS(sched_setscheduler), 0, 0 }, { SCMP_SYS(sched_setparam), 0, 0 },
    { SCMP_SYS(sched_setattr), 0, 0 },      { SCMP_SYS(setpriority), 0, PRIO_PROCESS },
    { SCMP_SYS(setpriority), 1, 0 },        { SCMP_SYS(ioprio_set), 0, 1 }, /* IOPRIO_WHO_PROCESS */
    { SCMP_SYS(ioprio_set), 1, 0 },
};

#define FIRST_UNKNOWN 451 /* the list above was written for Linux 5.17 */

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

/* What is asked of one call by a number in an argument (prctl, fcntl, ioctl). */
static int add_requests(scmp_filter_ctx filter, uint32_t action, int call, unsigned argument,
                        const unsigned *requests, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(
            filter, action, call, 1,
            SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)requests[i]));
    return rc;
}

/* What the sandbox set must stay set. */
static int add_prctl(scmp_filter_ctx filter)
{
    static const unsigned options[] = { PR_SET_DUMPABLE, PR_SET_PDEATHSIG, PR_SET_PTRACER,
                                        PR_SET_MM, PR_SET_SECCOMP };
    return add_requests(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 0, options,
                        COUNT_OF(options));
}

/* The owner of a pipe is sent a signal, any signal, when something happens on it: kill() by another
 * name. And flags belong to the open file: those of stderr are the gateway's, too. */
static int add_descriptors(scmp_filter_ctx filter)
{
    static const unsigned owner[] = { F_SETOWN, F_SETOWN_EX, F_SETSIG };
    static const unsigned flags[] = { F_SETFL, F_SETLEASE, F_NOTIFY };
    static const unsigned terminal[] = { TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP };
    static const unsigned modes[] = { FIOASYNC, FIONBIO };
    const uint32_t kill = SCMP_ACT_KILL_PROCESS, refuse = SCMP_ACT_ERRNO(EPERM);
    int rc = add_requests(filter, kill, SCMP_SYS(fcntl), 1, owner, COUNT_OF(owner));
    if (rc == 0)
        rc = add_requests(filter, refuse, SCMP_SYS(fcntl), 1, flags, COUNT_OF(flags));
    if (rc == 0) /* typing into the operator's terminal, and owners once more */
        rc = add_requests(filter, kill, SCMP_SYS(ioctl), 1, terminal, COUNT_OF(terminal));
    if (rc == 0)
        rc = add_requests(filter, refuse, SCMP_SYS(ioctl), 1, modes, COUNT_OF(modes));
    return rc;
}

static int add_own_only(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < COUNT_OF(OWN_ONLY); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), OWN_ONLY[i].call, 1,
                              SCMP_CMP(OWN_ONLY[i].argument, SCMP_CMP_NE, OWN_ONLY[i].value));
    return rc;
}

/* openat2 has its flags in memory, where a filter cannot look: who gets ENOSYS takes openat. */
static int add_read_only(scmp_filter_ctx filter)
{
    static const struct {
        unsigned mask, value;
    } writing[] = { { O_ACCMODE, O_WRONLY },
                    { O_ACCMODE, O_RDWR },
                    { O_ACCMODE, O_ACCMODE },
                    { O_CREAT, O_CREAT },
                    { O_TRUNC, O_TRUNC } };
    const uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
    int rc = add_list(filter, SCMP_ACT_ERRNO(EPERM), WRITES, COUNT_OF(WRITES));
    for (size_t i = 0; rc == 0 && i < COUNT_OF(writing); i++) {
        const scmp_datum_t mask = writing[i].mask, value = writing[i].value;
        rc = seccomp_rule_add(filter, refuse, SCMP_SYS(open), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, mask, value));
        if (rc == 0)
            rc = seccomp_rule_add(filter, refuse, SCMP_SYS(openat), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, mask, value));
    }
    return rc ? rc : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
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
    if (rc == 0)
        rc = add_descriptors(filter);
    if (rc == 0)
        rc = add_own_only(filter);
    return rc;
}

static int add_reader(scmp_filter_ctx filter)
{
    int rc = add_confinement(filter);
    return rc ? rc : add_read_only(filter);
}

static int add_admission(scmp_filter_ctx filter)
{
    return add_list(filter, SCMP_ACT_ERRNO(EPERM), MEMORY_FILES, COUNT_OF(MEMORY_FILES));
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

/* libseccomp compares with the names it knows only. Numbers of other ABIs (x32: above 2^30) kill by
 * the filters above, which wins. */
static maas_status refuse_unknown(maas_error *error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_UNKNOWN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { COUNT_OF(code), code };
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
        return fail(error, MAAS_E_PRECONDITION, "system-call filter 'unknown': %s",
                    strerror(errno));
    return MAAS_OK;
}

maas_status syscalls_confine(bool writes, maas_error *error)
{
    maas_status status = refuse_unknown(error); /* first: the next one forbids nothing it needs */
    return status ? status : load(writes ? add_confinement : add_reader, "confine", error);
}

maas_status syscalls_admit(maas_error *error)
{
    return load(add_admission, "admit", error);
}

maas_status syscalls_seal(maas_error *error)
{
    return load(add_seal, "seal", error);
}
