/*
 * hostile.c: "maas.hostile", a plugin that attacks the process it runs in, its parent and the
 * machine, on demand (hostile.h). It looks like a regression model (features [rows, 1] in,
 * prediction [rows] out).
 *
 * A constructor gets the program's arguments from the loader, so it can read its options before
 * anybody hands them over. Calls are made by number, past what a libc thinks of them.
 */
#include "hostile.h"

#include <maas/author.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NOBODY 65534

struct maas_model {
    const maas_host *host;
    long stage;
};

static char told[64]; /* what came of the constructor's deed */
static uint8_t *shared, *shared_end;

/* ---- deeds: each returns -1 and errno when it was denied */

static long become_owner(int how)
{
    int fds[2];
    if (pipe(fds))
        return -1;
    if (how == HOSTILE_OWNER_SIGNAL)
        return fcntl(fds[0], F_SETSIG, SIGKILL);
    int parent = getppid();
    if (how == HOSTILE_OWNER_IOCTL)
        return ioctl(fds[0], 0x8901 /* FIOSETOWN */, &parent);
    return fcntl(fds[0], F_SETOWN, parent);
}

static long touch_parent_memory(long call)
{
    char byte = 0;
    struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x400000, 1 };
    return syscall(call, getppid(), &here, 1, &there, 1, 0);
}

static long foreign_abi(int which)
{
#if defined(__x86_64__)
    long result;
    if (which == HOSTILE_X32)
        return syscall(0x40000000 | SYS_getppid);
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(64) /* getppid */ : "memory");
    return result;
#else
    (void)which;
    raise(SIGSYS);
    return -1;
#endif
}

static long signal_parent(int which)
{
    siginfo_t info = { .si_code = SI_QUEUE };
    int parent = getppid();
    switch (which) {
    case HOSTILE_KILL_PARENT:
        return kill(parent, SIGKILL);
    case HOSTILE_KILL_GROUP:
        return kill(0, SIGURG);
    case HOSTILE_KILL_ALL:
        return kill(-1, SIGURG);
    case HOSTILE_TGKILL_PARENT:
        return syscall(SYS_tgkill, parent, parent, SIGKILL);
    case HOSTILE_TKILL_PARENT:
        return syscall(SYS_tkill, parent, SIGKILL);
    case HOSTILE_QUEUE_PARENT:
        return syscall(SYS_rt_sigqueueinfo, parent, SIGKILL, &info);
    default:
        return syscall(SYS_pidfd_open, parent, 0);
    }
}

static long new_process(int which)
{
    static char *const nothing[] = { NULL };
    long pid;
    switch (which) {
    case HOSTILE_EXEC:
        return execve("/bin/true", nothing, nothing);
    case HOSTILE_EXEC_MEMORY:
        return syscall(SYS_execveat, 0, "", nothing, nothing, 0x1000 /* AT_EMPTY_PATH */);
    case HOSTILE_FORK:
        pid = syscall(SYS_fork);
        break;
    case HOSTILE_VFORK:
        pid = vfork();
        break;
    default:
        pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    }
    if (pid == 0)
        _exit(0);
    return pid;
}

static long kernel_door(int which)
{
    char zeros[256] = { 0 };
    switch (which) {
    case HOSTILE_SOCKET:
        return socket(AF_INET, SOCK_STREAM, 0);
    case HOSTILE_CONNECT:
        return connect(3, (const struct sockaddr *)(const void *)zeros, 16);
    case HOSTILE_TRACE_ME:
        return syscall(SYS_ptrace, 0, 0, 0, 0);
    case HOSTILE_TRACE_PARENT:
        return syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid(), 0, 0);
    case HOSTILE_MOVE_PAGES:
        return syscall(SYS_move_pages, getppid(), 0, NULL, NULL, NULL, 0);
    case HOSTILE_IO_URING:
        return syscall(SYS_io_uring_setup, 8, zeros);
    case HOSTILE_USERFAULTFD:
        return syscall(SYS_userfaultfd, 1);
    case HOSTILE_MOUNT:
        return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
    case HOSTILE_UNSHARE:
        return unshare(CLONE_NEWUSER | CLONE_NEWNS);
    case HOSTILE_SETNS:
        return setns(0, 0);
    case HOSTILE_CHROOT:
        return chroot("/tmp");
    case HOSTILE_KEYCTL:
        return syscall(SYS_keyctl, 0, -3, 1);
    case HOSTILE_ADD_KEY:
        return syscall(SYS_add_key, "user", "k", "v", 1, -2);
    case HOSTILE_BPF:
        return syscall(SYS_bpf, 0, zeros, 64);
    case HOSTILE_PERF:
        return syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0);
    case HOSTILE_TYPE:
        return ioctl(2, TIOCSTI, "x");
    default:
        return syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
    }
}

static long deadly(int deed)
{
    if (deed >= HOSTILE_FORK && deed <= HOSTILE_EXEC_MEMORY)
        return new_process(deed);
    if (deed >= HOSTILE_KILL_PARENT && deed <= HOSTILE_PIDFD_PARENT)
        return signal_parent(deed);
    if (deed >= HOSTILE_OWNER_PARENT && deed <= HOSTILE_OWNER_IOCTL)
        return become_owner(deed);
    if (deed == HOSTILE_READ_PARENT || deed == HOSTILE_WRITE_PARENT)
        return touch_parent_memory(deed == HOSTILE_READ_PARENT ? SYS_process_vm_readv
                                                               : SYS_process_vm_writev);
    if (deed == HOSTILE_X32 || deed == HOSTILE_I386)
        return foreign_abi(deed);
    return kernel_door(deed);
}

static long open_path(const char *path, int flags)
{
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static long files(int deed)
{
    char path[64];
    uint64_t how[3] = { O_RDONLY, 0, 0 };
    switch (deed) {
    case HOSTILE_OPEN_PASSWD:
        return open_path("/etc/passwd", O_RDONLY);
    case HOSTILE_OPEN_WRITE:
        return open_path("/tmp/maas-hostile", O_WRONLY | O_CREAT);
    case HOSTILE_OPEN_PARENT:
        snprintf(path, sizeof(path), "/proc/%d/environ", getppid());
        return open_path(path, O_RDONLY);
    case HOSTILE_OPEN_OWN_MEMORY:
        return open_path("/proc/self/mem", O_RDWR);
    case HOSTILE_OPENAT2:
        return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof(how));
    case HOSTILE_MEMFD:
        return syscall(SYS_memfd_create, "more", 0);
    case HOSTILE_TRUNCATE:
        return syscall(SYS_truncate, "/tmp/maas-hostile-none", 0);
    case HOSTILE_TRUNCATE_LOG:
        return syscall(SYS_ftruncate, 2, 0);
    case HOSTILE_LOG_FLAGS:
        return fcntl(2, F_SETFL, O_NONBLOCK);
    case HOSTILE_CHMOD:
        return syscall(SYS_fchmodat, AT_FDCWD, "/tmp", 01777);
    case HOSTILE_CHOWN:
        return syscall(SYS_fchownat, AT_FDCWD, "/tmp", -1, -1, 0);
    case HOSTILE_UTIME:
        return syscall(SYS_utimensat, AT_FDCWD, "/tmp", NULL, 0);
    case HOSTILE_XATTR:
        return syscall(SYS_setxattr, "/tmp", "user.maas", "x", 1, 0);
    case HOSTILE_UNLINK:
        return syscall(SYS_unlinkat, AT_FDCWD, "/tmp/maas-hostile-none", 0);
    case HOSTILE_RENAME:
        return syscall(SYS_renameat2, AT_FDCWD, "/tmp/maas-hostile-none", AT_FDCWD, "/tmp/x", 0);
    case HOSTILE_MKDIR:
        return syscall(SYS_mkdirat, AT_FDCWD, "/tmp/maas-hostile-none/x", 0700);
    default:
        return syscall(SYS_symlinkat, "x", AT_FDCWD, "/tmp/maas-hostile-none/x");
    }
}

static long rights(int deed)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct all[2] = { { ~0u, ~0u, 0 }, { ~0u, ~0u, 0 } };
    const struct rlimit high = { RLIM_INFINITY, RLIM_INFINITY }, low = { 3, 3 };
    const struct sched_param usual = { 0 };
    unsigned long cpu = 1;
    switch (deed) {
    case HOSTILE_SETUID:
        return syscall(SYS_setuid, NOBODY);
    case HOSTILE_SETGROUPS:
        return syscall(SYS_setgroups, 0, NULL);
    case HOSTILE_CAPSET:
        return syscall(SYS_capset, &head, all);
    case HOSTILE_RAISE_LIMIT:
        return setrlimit(RLIMIT_NOFILE, &high);
    case HOSTILE_LIMIT_PARENT:
        return syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, &low, NULL);
    case HOSTILE_AFFINITY_PARENT:
        return syscall(SYS_sched_setaffinity, getppid(), sizeof(cpu), &cpu);
    case HOSTILE_SCHEDULER_PARENT:
        return syscall(SYS_sched_setscheduler, getppid(), SCHED_OTHER, &usual);
    case HOSTILE_NICE_PARENT:
        return syscall(SYS_setpriority, PRIO_PROCESS, getppid(), 1);
    case HOSTILE_NICE_USER:
        return syscall(SYS_setpriority, PRIO_USER, 0, 1);
    case HOSTILE_IOPRIO_PARENT:
        return syscall(SYS_ioprio_set, 1, getppid(), 2 << 13 | 4);
    case HOSTILE_DUMPABLE:
        return prctl(PR_SET_DUMPABLE, 1);
    case HOSTILE_DEATH_SIGNAL:
        return prctl(PR_SET_PDEATHSIG, 0);
    case HOSTILE_TRACER:
        return prctl(PR_SET_PTRACER, getppid());
    default:
        return prctl(PR_SET_SECCOMP, 1);
    }
}

static long shared_objects(int deed)
{
    char zeros[256] = { 0 };
    switch (deed) {
    case HOSTILE_SHM:
        return syscall(SYS_shmget, 0, 4096, 01600);
    case HOSTILE_SHM_REMOVE:
        return syscall(SYS_shmctl, 0x7fffffff, 0 /* IPC_RMID */, NULL);
    case HOSTILE_SEM_REMOVE:
        return syscall(SYS_semctl, 0x7fffffff, 0, 0 /* IPC_RMID */);
    case HOSTILE_MQ:
        return syscall(SYS_mq_unlink, "maas-hostile-none");
    case HOSTILE_INOTIFY:
        return syscall(SYS_inotify_init1, 0);
    case HOSTILE_SESSION:
        return syscall(SYS_setsid);
    case HOSTILE_CLONE3:
        return syscall(SYS_clone3, zeros, 64);
    default:
        return syscall(461 /* lsm_list_modules */, NULL, NULL, 0);
    }
}

static long guess_descriptors(void)
{
    char junk[] = { 'h', 'o', 's', 't', 'i', 'l', 'e', '\n' };
    for (int fd = 0; fd < 1024; fd++) {
        struct pollfd there = { .fd = fd, .events = POLLIN | POLLOUT };
        if (poll(&there, 1, 0) != 1 || there.revents & POLLNVAL)
            continue;
        if (there.revents & POLLOUT)
            (void)!write(fd, junk, sizeof(junk));
        if (there.revents & POLLIN)
            (void)!read(fd, junk, sizeof(junk));
    }
    return 0;
}

/* Random bytes, and in between words that look like positions. */
static long scribble(void)
{
    uint64_t random = 88172645463325252;
    for (uint8_t *at = shared; at && at + 8 <= shared_end; at += 8) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t lie = random % 3 ? random : random % 65536;
        memcpy(at, &lie, sizeof(lie));
    }
    errno = ENODATA;
    return shared ? 0 : -1;
}

static long huge(void)
{
    volatile size_t size = (size_t)10 << 30;
    char *memory = malloc(size);
    if (!memory)
        return -1;
    free(memory);
    return 0;
}

/* 0 when it was done, else its errno. */
static int attempt(int deed)
{
    long result = 0;
    errno = 0;
    if (deed >= HOSTILE_SOCKET && deed < HOSTILE_KILLED)
        result = deadly(deed);
    else if (deed >= HOSTILE_OPEN_PASSWD && deed <= HOSTILE_SYMLINK)
        result = files(deed);
    else if (deed >= HOSTILE_SETUID && deed <= HOSTILE_FILTER)
        result = rights(deed);
    else if (deed >= HOSTILE_SHM && deed <= HOSTILE_UNKNOWN)
        result = shared_objects(deed);
    else if (deed == HOSTILE_DESCRIPTORS)
        result = guess_descriptors();
    else if (deed == HOSTILE_SCRIBBLE)
        result = scribble();
    else if (deed == HOSTILE_HUGE)
        result = huge();
    return result < 0 ? errno : 0;
}

/* ---- before anybody asked it anything */

static long option_of(int argc, char **argv, const char *name)
{
    const char *at = NULL;
    for (int i = 0; i < argc && !at; i++)
        at = strstr(argv[i], name);
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

/* Of the channel, from the list that is closed to it later. */
static void find_shared_memory(void)
{
    char line[512];
    unsigned long from, to;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "maas-channel") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
            shared = (uint8_t *)(uintptr_t)from;
            shared_end = (uint8_t *)(uintptr_t)to;
        }
    if (maps)
        fclose(maps);
}

__attribute__((constructor)) static void on_mapped(int argc, char **argv)
{
    find_shared_memory();
    long deed = option_of(argc, argv, "\"deed\":");
    if (option_of(argc, argv, "\"stage\":") == HOSTILE_CONSTRUCTOR)
        snprintf(told, sizeof(told), "deed %ld: errno %d", deed, attempt((int)deed));
}

/* ---- the model */

static const int64_t input_shape[] = { -1, 1 }, output_shape[] = { -1 };
static const maas_port input = {
    .name = { "features", 8 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 2, .shape = input_shape
};
static const maas_port output = {
    .name = { "prediction", 10 }, .dtype = { MAAS_FLOAT, 64, 1 }, .ndim = 1, .shape = output_shape
};
static const maas_option_decl deed_option = { .size = sizeof(maas_option_decl),
                                              .kind = MAAS_OPTION_INT,
                                              .name = "deed",
                                              .fallback = "0",
                                              .help = "hostile.h" };
static const maas_option_decl stage_option = { .size = sizeof(maas_option_decl),
                                               .kind = MAAS_OPTION_INT,
                                               .name = "stage",
                                               .fallback = "2",
                                               .help = "0 constructor, 1 load, 2 infer" };
static const maas_option_decl *const options[] = { &deed_option, &stage_option, NULL };

static maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                        maas_error *error)
{
    long stage = (long)maas_option_find(spec->options, spec->option_count, "stage")->integer;
    long deed = (long)maas_option_find(spec->options, spec->option_count, "deed")->integer;
    if (stage == HOSTILE_CONSTRUCTOR)
        return maas_fail(error, MAAS_E_ABORTED, "%s", told);
    if (stage == HOSTILE_LOAD)
        return maas_fail(error, MAAS_E_ABORTED, "deed %ld: errno %d", deed, attempt((int)deed));
    maas_model *m = calloc(1, sizeof(*m));
    if (!m)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    m->host = host;
    *out = m;
    return MAAS_OK;
}

static void unload(maas_model *m)
{
    free(m);
}

static maas_status describe(maas_model *m, maas_signature *s, maas_error *error)
{
    (void)m;
    (void)error;
    s->inputs = &input;
    s->outputs = &output;
    s->input_count = s->output_count = 1;
    s->max_concurrency = 1;
    s->task = "regression";
    return MAAS_OK;
}

static maas_status infer(maas_model *m, const maas_request *r, maas_error *error)
{
    const double *deeds = r->inputs[0].tensor.data;
    double *results = m->host->alloc(m->host, r->rows * sizeof(*results), 64);
    if (!results)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    for (uint32_t i = 0; i < r->rows; i++)
        results[i] = attempt((int)deeds[i]);
    int64_t shape[] = { r->rows };
    maas_named out = { { "prediction", 10 },
                       { .data = results,
                         .device_type = 1,
                         .ndim = 1,
                         .dtype = { MAAS_FLOAT, 64, 1 },
                         .shape = shape } };
    return maas_answer(m->host, r, &out, 1);
}

static const maas_plugin plugin = { .size = sizeof(maas_plugin),
                                    .abi = MAAS_ABI,
                                    .id = "maas.hostile",
                                    .version = "1.0",
                                    .title = "Attacks whatever it can reach",
                                    .vendor = "maas",
                                    .options = options,
                                    .load = load,
                                    .unload = unload,
                                    .describe = describe,
                                    .infer = infer };

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : NULL;
}
