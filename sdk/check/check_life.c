/*
 * check_life.c: models come and go, and the process stays as it was.
 */
#include <dirent.h>
#include <fenv.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check_list.h"
#include "sample.h"

#define TURNS        100
#define WARM_UP      10
#define NOISE        1600 /* bytes over all turns: what is under 16 a turn is the allocator's */
#define THREAD_EXITS 1000 /* milliseconds that threads may take to be gone */

extern char **environ;

/* ---- two models */

static enum verdict same_as(struct trial *t, struct engine_model *model, const struct sample *s,
                            const struct answer *right, const char *what)
{
    char why[WHY_MAX / 2];
    enum verdict verdict = VERDICT_OK;
    struct answer a = answer_new();
    (void)ask(model, s, NULL, &a);
    if (a.status != right->status)
        verdict = failed(t, "%s: status %d: %s", what, a.status, a.error.text);
    else if (!a.status && !answers_agree(&a, 0, right, 0, right->rows, why, sizeof(why)))
        verdict = failed(t, "%s: %s", what, why);
    answer_free(&a);
    return verdict;
}

/* Outputs are read by the signature of their model, so what outlives the first comes from the
 * second. */
static enum verdict outlives(struct trial *t, struct engine_model *second, const struct sample *s)
{
    struct answer right = answer_new();
    (void)ask(second, s, NULL, &right);
    engine_model_unload(t->model);
    enum verdict verdict =
        same_as(t, second, s, &right, "the second model after the first's unload");
    answer_free(&right);
    if (!verdict)
        engine_model_unload(second);
    return verdict;
}

static enum verdict interleave(struct trial *t, struct engine_model *second, const struct sample *s,
                               const struct answer *right)
{
    enum verdict verdict = same_as(t, second, s, right, "the second model");
    if (!verdict)
        verdict = same_as(t, t->model, s, right, "the first model beside the second");
    if (!verdict)
        verdict = same_as(t, second, s, right, "the second model, again");
    return verdict ? verdict : outlives(t, second, s);
}

enum verdict check_two_models(struct trial *t)
{
    struct engine_model *second;
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    struct answer right = answer_new();
    struct sample *s =
        sample_new(engine_signature(t->model), trial_rows_max(t, 7), t->target->seed, t->flavour);
    (void)ask(t->model, s, NULL, &right);
    if (trial_model(t, trial_root(t), &second, &error))
        return failed(t, "a second model does not load: %s", error.text);
    verdict = interleave(t, second, s, &right);
    sample_free(s);
    answer_free(&right);
    return verdict;
}

/* ---- memory */

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static enum verdict grown(struct trial *t, size_t before, const char *what)
{
    size_t after = heap_bytes();
    if (after <= before + NOISE)
        return VERDICT_OK;
    return failed(t, "%d times %s left %zu bytes behind", TURNS, what, after - before);
}

enum verdict check_growth(struct trial *t)
{
    size_t before = 0;
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    for (int i = 0; i < WARM_UP + TURNS; i++) {
        if (i == WARM_UP)
            before = heap_bytes();
        if (trial_model(t, trial_root(t), &model, &error))
            return failed(t, "load %d: %s", i, error.text);
        engine_model_unload(model);
    }
    return grown(t, before, "load and unload");
}

enum verdict check_growth_infer(struct trial *t)
{
    size_t before = 0;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    struct answer a = answer_new();
    struct sample *s =
        sample_new(engine_signature(t->model), trial_rows_max(t, 7), t->target->seed, t->flavour);
    for (int i = 0; i < WARM_UP + TURNS; i++) {
        if (i == WARM_UP)
            before = heap_bytes();
        (void)ask(t->model, s, NULL, &a);
    }
    return grown(t, before, "infer");
}

/* ---- the state of the process */

struct state {
    struct sigaction actions[65];
    sigset_t mask;
    char locale[256], folder[1024];
    uint64_t environment;
    mode_t umask;
    int rounding;
    unsigned fp_mode; /* without the sticky flags */
};

static void state_read(struct state *s)
{
    memset(s, 0, sizeof(*s));
    for (int i = 1; i < 65; i++)
        sigaction(i, NULL, &s->actions[i]);
    sigprocmask(SIG_SETMASK, NULL, &s->mask);
    snprintf(s->locale, sizeof(s->locale), "%s", setlocale(LC_ALL, NULL));
    if (!getcwd(s->folder, sizeof(s->folder)))
        s->folder[0] = '\0';
    for (char **at = environ; at && *at; at++)
        s->environment = s->environment * 31 + hash_bytes(*at, strlen(*at));
    s->umask = umask(0);
    umask(s->umask);
    s->rounding = fegetround();
#if defined(__x86_64__)
    s->fp_mode = _mm_getcsr() & ~0x3fu;
#endif
}

static bool actions_equal(const struct state *a, const struct state *b, int *out_signal)
{
    for (int i = 1; i < 65; i++)
        if (a->actions[i].sa_handler != b->actions[i].sa_handler) {
            *out_signal = i;
            return false;
        }
    return true;
}

static enum verdict state_compare(struct trial *t, const struct state *before, const char *when)
{
    struct state now;
    int number = 0;
    state_read(&now);
    if (!actions_equal(before, &now, &number))
        return failed(t, "after %s signal %d has another handler", when, number);
    if (memcmp(&before->mask, &now.mask, sizeof(now.mask)) != 0)
        return failed(t, "after %s other signals are blocked", when);
    if (strcmp(before->locale, now.locale) != 0)
        return failed(t, "after %s the locale is '%.80s'", when, now.locale);
    if (strcmp(before->folder, now.folder) != 0)
        return failed(t, "after %s the working folder is '%.200s'", when, now.folder);
    if (before->environment != now.environment)
        return failed(t, "after %s the environment is another", when);
    if (before->umask != now.umask)
        return failed(t, "after %s the umask is %o", when, now.umask);
    if (before->rounding != now.rounding || before->fp_mode != now.fp_mode)
        return failed(t, "after %s the floating-point mode or rounding is another", when);
    return VERDICT_OK;
}

static enum verdict ask_once(struct trial *t)
{
    struct answer a = answer_new();
    struct sample *s =
        sample_new(engine_signature(t->model), trial_rows_max(t, 7), t->target->seed, t->flavour);
    (void)ask(t->model, s, NULL, &a);
    sample_free(s);
    answer_free(&a);
    return VERDICT_OK;
}

enum verdict check_process(struct trial *t)
{
    struct state before;
    state_read(&before);
    enum verdict verdict = trial_load(t);
    if (!verdict)
        verdict = state_compare(t, &before, "load");
    if (!verdict)
        verdict = ask_once(t);
    if (!verdict)
        verdict = state_compare(t, &before, "infer");
    if (!verdict)
        engine_model_unload(t->model);
    return verdict ? verdict : state_compare(t, &before, "unload");
}

/* ---- threads and descriptors */

static unsigned entries(const char *folder)
{
    unsigned count = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static enum verdict nothing_left(struct trial *t, unsigned threads, unsigned descriptors)
{
    unsigned now = entries("/proc/self/task");
    for (int ms = 0; now > threads && ms < THREAD_EXITS; ms += 10) {
        usleep(10000);
        now = entries("/proc/self/task");
    }
    if (now > threads)
        return failed(t, "%u threads are left after unload", now - threads);
    now = entries("/proc/self/fd");
    if (now != descriptors)
        return failed(t, "%d descriptors more are open after unload", (int)(now - descriptors));
    return VERDICT_OK;
}

enum verdict check_leftovers(struct trial *t)
{
    enum verdict verdict = trial_load_plugin(t);
    maas_error error = MAAS_ERROR_INIT;
    if (verdict)
        return verdict;
    unsigned threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
    for (int i = 0; i < 2; i++) {
        if (trial_model(t, trial_root(t), &t->model, &error))
            return t->target->model ? failed(t, "load: %s", error.text)
                                    : skipped(t, "it needs a model; give --model DIR");
        (void)ask_once(t);
        engine_model_unload(t->model);
    }
    return nothing_left(t, threads, descriptors);
}
