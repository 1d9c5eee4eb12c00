/*
 * hostile.h: what "maas.hostile" tries. In which moment: option `stage`; what: option `deed`, or
 * when the stage is infer the first feature of each row.
 *
 * In the constructor and in load the model then fails to load with the text "deed N: errno E"; E is
 * 0 when the deed was done. In infer the prediction of a row is that errno. Of the killed ones
 * nothing is heard.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

enum hostile_stage { HOSTILE_CONSTRUCTOR, HOSTILE_LOAD, HOSTILE_INFER };

enum hostile_deed {
    HOSTILE_NOTHING, /* as the self-test of a worker asks, before anybody else does */

    /* the process dies of SIGSYS */
    HOSTILE_SOCKET,
    HOSTILE_CONNECT, /* with a descriptor that it has */
    HOSTILE_FORK,
    HOSTILE_VFORK,
    HOSTILE_CLONE, /* a process in a user namespace of its own */
    HOSTILE_EXEC,
    HOSTILE_EXEC_MEMORY, /* execveat of a descriptor */
    HOSTILE_TRACE_ME,
    HOSTILE_TRACE_PARENT,
    HOSTILE_KILL_PARENT,
    HOSTILE_KILL_GROUP,
    HOSTILE_KILL_ALL,
    HOSTILE_TGKILL_PARENT,
    HOSTILE_TKILL_PARENT,
    HOSTILE_QUEUE_PARENT,
    HOSTILE_PIDFD_PARENT,
    HOSTILE_OWNER_PARENT, /* a pipe whose news are SIGKILL for the parent */
    HOSTILE_OWNER_SIGNAL,
    HOSTILE_OWNER_IOCTL,
    HOSTILE_READ_PARENT, /* process_vm_readv */
    HOSTILE_WRITE_PARENT,
    HOSTILE_MOVE_PAGES,
    HOSTILE_IO_URING,
    HOSTILE_USERFAULTFD,
    HOSTILE_MOUNT,
    HOSTILE_UNSHARE,
    HOSTILE_SETNS,
    HOSTILE_CHROOT,
    HOSTILE_KEYCTL,
    HOSTILE_ADD_KEY,
    HOSTILE_BPF,
    HOSTILE_PERF,
    HOSTILE_TYPE, /* TIOCSTI */
    HOSTILE_PERSONALITY,
    HOSTILE_X32, /* the same calls under other numbers */
    HOSTILE_I386,
    HOSTILE_KILLED, /* behind the last */

    /* an error */
    HOSTILE_OPEN_PASSWD = 100,
    HOSTILE_OPEN_WRITE,
    HOSTILE_OPEN_PARENT, /* /proc/<parent>/environ */
    HOSTILE_OPEN_OWN_MEMORY,
    HOSTILE_OPENAT2,
    HOSTILE_MEMFD,
    HOSTILE_TRUNCATE,
    HOSTILE_TRUNCATE_LOG,
    HOSTILE_LOG_FLAGS,
    HOSTILE_CHMOD,
    HOSTILE_CHOWN,
    HOSTILE_UTIME,
    HOSTILE_XATTR,
    HOSTILE_UNLINK,
    HOSTILE_RENAME,
    HOSTILE_MKDIR,
    HOSTILE_SYMLINK,
    HOSTILE_SETUID,
    HOSTILE_SETGROUPS,
    HOSTILE_CAPSET,
    HOSTILE_RAISE_LIMIT,
    HOSTILE_LIMIT_PARENT,
    HOSTILE_AFFINITY_PARENT,
    HOSTILE_SCHEDULER_PARENT,
    HOSTILE_NICE_PARENT,
    HOSTILE_NICE_USER,
    HOSTILE_IOPRIO_PARENT,
    HOSTILE_DUMPABLE,
    HOSTILE_DEATH_SIGNAL,
    HOSTILE_TRACER,
    HOSTILE_FILTER, /* prctl(PR_SET_SECCOMP) */
    HOSTILE_SHM,
    HOSTILE_SHM_REMOVE,
    HOSTILE_SEM_REMOVE,
    HOSTILE_MQ,
    HOSTILE_INOTIFY,
    HOSTILE_SESSION,
    HOSTILE_CLONE3,
    HOSTILE_UNKNOWN, /* a call newer than the filter */
    HOSTILE_REFUSED, /* 100 + how many */

    /* not to be denied: done to its own channel, and to whoever reads it */
    HOSTILE_DESCRIPTORS = 200, /* writes to and reads from 0 to 1023 */
    HOSTILE_SCRIBBLE,          /* over everything that it shares with the gateway */
    HOSTILE_HUGE,              /* 10 GB: ENOMEM, unless sanitizers need the address space */
};

#endif
