/*
 * trial.c: a child for each check. The child leads a process group of its own, so that what a
 * plugin may have started ends with it; its verdict comes over a pipe, and a child that ends
 * without one has failed, whatever its exit status says.
 */
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "payload.h"
#include "sample.h"
#include "wrap.h"

#define SHOWN_MAX 4096 /* bytes of a failed check's output */

struct message { /* child to parent */
    enum verdict verdict;
    char why[WHY_MAX];
};

enum verdict failed(struct trial *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->why, sizeof(t->why), fmt, args);
    va_end(args);
    return VERDICT_FAIL;
}

enum verdict skipped(struct trial *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->why, sizeof(t->why), fmt, args);
    va_end(args);
    return VERDICT_SKIP;
}

/* ---- the child */

static _Noreturn void child(const struct check *check, const struct target *target,
                            const char *scratch, int result, int output)
{
    struct trial t = { .target = target, .scratch = scratch };
    struct message message;
    const struct rlimit none = { 0, 0 };
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &none);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    wrap_install();
    memset(&message, 0, sizeof(message));
    message.verdict = check->run(&t);
    memcpy(message.why, t.why, sizeof(message.why));
    _exit(write(result, &message, sizeof(message)) != sizeof(message));
}

/* ---- the parent */

/* Waits for the verdict or the end of the time; false: neither came as it should. */
static bool await(int result, unsigned seconds, struct message *out, bool *out_late)
{
    struct pollfd fd = { .fd = result, .events = POLLIN };
    uint64_t end = clock_mono_ns() + seconds * 1000000000ull, now;
    int ready = 0;
    while ((now = clock_mono_ns()) < end && (ready = poll(&fd, 1, (int)((end - now) / 1000000)))) {
        if (ready > 0 || errno != EINTR)
            break;
    }
    *out_late = ready <= 0;
    return ready > 0 && read(result, out, sizeof(*out)) == sizeof(*out);
}

static const char *signal_name(int number)
{
    static char text[16];
    const char *name = sigabbrev_np(number);
    snprintf(text, sizeof(text), "SIG%s", name ? name : "?");
    return text;
}

static void describe_end(int status, bool late, unsigned seconds, char why[WHY_MAX])
{
    if (late)
        snprintf(why, WHY_MAX, "it did not end within %u s", seconds);
    else if (WIFSIGNALED(status))
        snprintf(why, WHY_MAX, "the plugin ended the process with %s",
                 signal_name(WTERMSIG(status)));
    else
        snprintf(why, WHY_MAX, "the plugin ended the process with exit status %d",
                 WEXITSTATUS(status));
}

static void show_output(int output)
{
    char text[SHOWN_MAX];
    off_t size = lseek(output, 0, SEEK_END);
    ssize_t n = pread(output, text, sizeof(text), size > SHOWN_MAX ? size - SHOWN_MAX : 0);
    if (n > 0)
        fprintf(stderr, "%s%.*s%s", size > SHOWN_MAX ? "[...]" : "", (int)n, text,
                text[n - 1] == '\n' ? "" : "\n");
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static enum verdict watch(pid_t pid, int result, int output, const struct target *target,
                          char why[WHY_MAX])
{
    struct message message;
    bool late = false;
    int status = 0;
    bool good = await(result, target->seconds, &message, &late);
    if (!good && !late)
        usleep(20000); /* a crash is told by its own signal, not by ours */
    if (late)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-pid, SIGKILL);
    if (good)
        memcpy(why, message.why, WHY_MAX);
    else
        describe_end(status, late, target->seconds, why);
    enum verdict verdict = good ? message.verdict : VERDICT_FAIL;
    if (verdict == VERDICT_FAIL)
        show_output(output);
    return verdict;
}

enum verdict trial_run(const struct check *check, const struct target *target,
                       char out_why[WHY_MAX])
{
    char scratch[] = "/tmp/maas-check-XXXXXX";
    int pipe_fds[2], output = memfd_create("output", MFD_CLOEXEC);
    enum verdict verdict = VERDICT_FAIL;
    snprintf(out_why, WHY_MAX, "the runner has no pipe or no folder: %s", strerror(errno));
    if (output < 0 || pipe2(pipe_fds, O_CLOEXEC) || !mkdtemp(scratch))
        return VERDICT_FAIL;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child(check, target, scratch, pipe_fds[1], output);
    close(pipe_fds[1]);
    if (pid > 0)
        verdict = watch(pid, pipe_fds[0], output, target, out_why);
    close(pipe_fds[0]);
    close(output);
    nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return verdict;
}

/* ---- for checks */

const char *trial_root(const struct trial *t)
{
    return t->target->model ? t->target->model : t->scratch;
}

maas_status trial_model(struct trial *t, const char *root, struct engine_model **out,
                        maas_error *error)
{
    return engine_model_load(t->plugin, root, t->target->options, t->target->option_count, out,
                             error);
}

enum verdict trial_load_plugin(struct trial *t)
{
    maas_error error = MAAS_ERROR_INIT;
    if (engine_plugin_load(t->target->plugin, NULL, &t->plugin, &error))
        return failed(t, "%s", error.text);
    return VERDICT_OK;
}

/* The rows of --input are asked from now on. */
static enum verdict read_input(struct trial *t)
{
    struct payload payload;
    struct str param;
    struct answer a = answer_new();
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = payload_read(t->target->input, t->model, a.job, &payload, &param, &error);
    if (!status)
        sample_from(sample_of(&payload.request)); /* for the rest of the process */
    payload_release(&payload);
    enum verdict verdict =
        status ? failed(t, "--input: %s (%.*s)", error.text, (int)param.len, param.data)
               : VERDICT_OK;
    answer_free(&a);
    return verdict;
}

/* The first flavour of numbers of which the model takes one row. */
static enum verdict find_flavour(struct trial *t)
{
    struct answer a = answer_new();
    maas_status status = MAAS_E_INVALID;
    int flavour = 0;
    for (; flavour < FLAVOUR_COUNT && status == MAAS_E_INVALID; flavour++) {
        struct sample *one =
            sample_new(engine_signature(t->model), 1, t->target->seed, t->flavour = flavour);
        status = ask(t->model, one, NULL, &a);
        sample_free(one);
    }
    t->refuses = status == MAAS_E_INVALID; /* other errors are for the check to find */
    enum verdict verdict =
        t->refuses
            ? skipped(t, "it refuses all random input; give --input FILE.json (%s)", a.error.text)
            : VERDICT_OK;
    answer_free(&a);
    return verdict;
}

enum verdict trial_load(struct trial *t)
{
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load_plugin(t);
    if (verdict)
        return verdict;
    if (trial_model(t, trial_root(t), &t->model, &error) && !t->target->model)
        return skipped(t, "it needs a model; give --model DIR (%s)", error.text);
    if (!t->model)
        return failed(t, "load: %s", error.text);
    verdict = t->target->input ? read_input(t) : VERDICT_OK;
    if (!verdict)
        verdict = find_flavour(t);
    wrap_reset();
    return verdict;
}

uint32_t trial_rows_max(const struct trial *t, uint32_t most)
{
    uint32_t max = engine_signature(t->model)->max_rows;
    return max && max < most ? max : most;
}
