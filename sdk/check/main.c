/*
 * main.c: maas-plugin-check, for authors of plugins.
 *
 *     maas-plugin-check FILE.so [--model DIR] [--option name=value ...] [--data DIR] [--samples N]
 *                       [--input FILE.json] [--seed N] [--seconds N] [--only NAME ...]
 *     maas-plugin-check run FILE.so --model DIR --input FILE.json [--option name=value ...]
 *     maas-plugin-check list
 *
 * Checks ask with random numbers and texts, or, for models that take only some values, with rows of
 * FILE.json in a random order.
 *
 * A line a check: "ok NAME", "FAIL NAME: why" or "skip NAME: why"; the last line sums up. What the
 * plugin printed in a failed check goes to stderr. Exit status 1 when a check failed, 2 for usage.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arithmetic.h"
#include "run.h"
#include "trial.h"

#define ONLY_MAX 32

#if MAAS_SANITIZED
/* A child that fails dies by a signal; leaks are measured by the checks themselves. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1:detect_leaks=0:allocator_may_return_null=1";
}
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}
#endif

struct command {
    struct target target;
    const char *only[ONLY_MAX];
    size_t only_count;
};

static int usage(const char *why)
{
    fprintf(
        stderr,
        "maas-plugin-check: %s\n"
        "usage: maas-plugin-check FILE.so [--model DIR] [--option name=value ...] [--data DIR]\n"
        "                         [--input FILE.json] [--samples N] [--seed N] [--seconds N]\n"
        "                         [--only NAME ...]\n"
        "       maas-plugin-check run FILE.so --model DIR --input FILE.json [--option "
        "name=value ...]\n"
        "       maas-plugin-check list\n",
        why);
    return 2;
}

/* ---- arguments */

static bool take_option(struct target *t, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || t->option_count == TARGET_OPTIONS_MAX)
        return false;
    t->options[t->option_count++] =
        (struct engine_option){ { text, (size_t)(equals - text) }, str_of(equals + 1) };
    return true;
}

static bool take_number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n > max)
        return false;
    *out = n;
    return true;
}

static bool take_count(const char *text, unsigned *out)
{
    uint64_t n;
    if (!take_number(text, 100000, &n) || n == 0)
        return false;
    *out = (unsigned)n;
    return true;
}

static bool take_only(struct command *c, const char *name)
{
    const struct check *check = checks;
    while (check->name && strcmp(check->name, name) != 0)
        check++;
    if (!check->name || c->only_count == ONLY_MAX)
        return false;
    c->only[c->only_count++] = name;
    return true;
}

static bool take(struct command *c, const char *name, const char *value)
{
    struct target *t = &c->target;
    if (strcmp(name, "--model") == 0)
        return (t->model = value) != NULL;
    if (strcmp(name, "--data") == 0)
        return (t->data = value) != NULL;
    if (strcmp(name, "--input") == 0)
        return (t->input = value) != NULL;
    if (strcmp(name, "--option") == 0)
        return take_option(t, value);
    if (strcmp(name, "--samples") == 0)
        return take_count(value, &t->samples);
    if (strcmp(name, "--seconds") == 0)
        return take_count(value, &t->seconds);
    if (strcmp(name, "--seed") == 0)
        return take_number(value, UINT64_MAX, &t->seed);
    return strcmp(name, "--only") == 0 && take_only(c, value);
}

/* NULL, or what is wrong. */
static const char *parse(struct command *c, int argc, char **argv)
{
    static char why[128];
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-' && !c->target.plugin) {
            c->target.plugin = argv[i];
            continue;
        }
        if (i + 1 == argc || !take(c, argv[i], argv[i + 1])) {
            snprintf(why, sizeof(why), "'%.60s' is not understood, or its value is not", argv[i]);
            return why;
        }
        i++;
    }
    return c->target.plugin ? NULL : "no FILE.so is given";
}

/* ---- the checks */

static bool wanted(const struct command *c, const char *name)
{
    for (size_t i = 0; i < c->only_count; i++)
        if (strcmp(c->only[i], name) == 0)
            return true;
    return c->only_count == 0;
}

static void print(enum verdict verdict, const char *name, const char *why)
{
    static const char *const words[] = { "ok", "FAIL", "skip" };
    if (verdict == VERDICT_OK)
        printf("%s %s\n", words[verdict], name);
    else
        printf("%s %s: %s\n", words[verdict], name, why);
    fflush(stdout);
}

static int check_main(const struct command *c)
{
    unsigned counts[3] = { 0 };
    char why[WHY_MAX];
    for (const struct check *check = checks; check->name; check++) {
        if (!wanted(c, check->name))
            continue;
        enum verdict verdict = trial_run(check, &c->target, why);
        print(verdict, check->name, why);
        counts[verdict]++;
    }
    printf("%u ok, %u failed, %u skipped\n", counts[VERDICT_OK], counts[VERDICT_FAIL],
           counts[VERDICT_SKIP]);
    return counts[VERDICT_FAIL] > 0;
}

static int list_main(void)
{
    for (const struct check *check = checks; check->name; check++)
        printf("%-13s %s\n", check->name, check->what);
    return 0;
}

int main(int argc, char **argv)
{
    struct command c = { .target = { .samples = 20, .seconds = 60, .seed = 1 } };
    bool run = argc > 1 && strcmp(argv[1], "run") == 0;
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list_main();
    const char *why = parse(&c, argc - 1 - run, argv + 1 + run);
    if (!why && run && (!c.target.model || !c.target.input))
        why = "run needs --model and --input";
    if (why)
        return usage(why);
    if (!arithmetic_environment()) /* as in a worker */
        return usage("no memory for the environment");
    return run ? run_main(&c.target) : check_main(&c);
}
