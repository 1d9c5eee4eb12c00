/*
 * maas-plugin-check against plugins that break one rule each (broken.c): the check that is meant
 * for it says FAIL, and why; and a plugin that breaks none passes all of them.
 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/maas-abi-XXXXXX";
static char output[65536];

/* The runner's exit status; what it printed is in `output`. */
static int check(const char *arguments)
{
    char command[4096], path[256];
    size_t len;
    char *text = NULL;
    maas_error error = MAAS_ERROR_INIT;
    snprintf(path, sizeof(path), "%s/out", folder);
    snprintf(command, sizeof(command), CHECKER " %s > %s 2> %s/err", arguments, path, folder);
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(file_read(path, sizeof(output) - 1, &text, &len, &error), MAAS_OK);
    memcpy(output, text, len + 1);
    free(text);
    return WEXITSTATUS(status);
}

static int check_broken(const char *variant, const char *fault, const char *more)
{
    char arguments[2048];
    snprintf(arguments, sizeof(arguments),
             PLUGINS "broken_%s.so --model %s/model --data %s --option fault=%s %s", variant,
             folder, folder, fault, more);
    return check(arguments);
}

static const struct row {
    const char *check, *variant, *fault, *text;
} rows[] = {
    { "exports", "export", "none", "'broken_helper' first" },
    { "major", "major", "none", "a table for major" },
    { "major", "minor", "none", "looks at the minor version" },
    { "table", "table", "none", "its size is" },
    { "table", "id", "none", "id, load, unload, describe or infer is missing" },
    { "no_artifact", "good", "silent", "an error without a text" },
    { "no_artifact", "good", "no_file_check", "SIGABRT" },
    { "truncated", "good", "accepts_cut", "load accepts it and infer answers otherwise" },
    { "damaged", "good", "trusts_count", "the plugin ended the process with SIG" },
    { "longer", "good", "exact_size", "another version" },
    { "shorter", "good", "writes_past", "it writes into 'maas_signature'" },
    { "signature", "good", "changing", "something else the second time" },
    { "signature", "good", "no_output", "0 inputs or outputs" },
    { "answers", "good", "wrong_shape", "must have" },
    { "answers", "good", "nan", "NaN or infinity" },
    { "answers", "good", "exit", "exit status 0" },
    { "answers", "good", "crash", "the plugin ended the process with SIG" },
    { "answers", "good", "hang", "it did not end within 2 s" },
    { "answers", "good", "picky", "it refuses all random input; give --input FILE.json" },
    { "extremes", "good", "overflows", "output 'y' holds NaN or infinity" },
    { "rows", "good", "forgets", "output 'y' differs" },
    { "concurrent", "good", "static", "4 calls at once: output 'y' differs" },
    { "threads", "good", "thread_local", "the plugin ended the process with SIG" },
    { "repeatable", "good", "counter", "asked again: output 'y' differs" },
    { "rows", "good", "neighbours", "output 'y' differs" },
    { "cancel", "good", "cancel_internal", "cancelled at look 1: status 13" },
    { "cancel", "good", "cancel_spoils", "a wrong answer: output 'y' differs" },
    { "cancel_soon", "good", "deaf", "look at host->cancelled" },
    { "deadline", "good", "late_abort", "SIGABRT" },
    { "alloc_load", "good", "load_no_null", "the plugin ended the process with SIG" },
    { "alloc", "good", "no_null", "the plugin ended the process with SIG" },
    { "balance", "good", "keeps", "1 blocks of host->alloc are not freed" },
    { "balance", "good", "frees_twice", "are freed more than once" },
    { "done", "good", "done_twice", "done was called 2 times" },
    { "done", "good", "emit_late", "after the request's end" },
    { "done", "good", "never_done", "it did not end within 2 s" },
    { "two_models", "good", "global", "the plugin ended the process with SIG" },
    { "growth", "good", "leak_load", "100 times load and unload left" },
    { "growth_infer", "good", "leak_infer", "100 times infer left" },
    { "process", "good", "signal", "after load signal 10 has another handler" },
    { "process", "good", "locale", "the locale is" },
    { "process", "good", "chdir", "the working folder is '/'" },
    { "process", "good", "setenv", "the environment is another" },
    { "process", "good", "umask", "the umask is 123" },
    { "process", "good", "rounding", "floating-point mode or rounding" },
    { "leftovers", "good", "descriptor", "2 descriptors more are open" },
    { "leftovers", "good", "thread", "2 threads are left" },
    { "explain", "good", "explains_anew", "explained again: output 'y' differs" },
    { "explain", "good", "explains_other_rows", "must have" },
    { "train", "clock", "none", "trained twice with seed 1: 'bias.txt' differs" },
};

static void each_broken_rule_is_found_by_its_check(void **state)
{
    (void)state;
    unsigned missed = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char more[128], line[128];
        snprintf(more, sizeof(more), "--seconds %d --only %s",
                 strstr(rows[i].text, "within 2 s") ? 2 : 30, rows[i].check);
        snprintf(line, sizeof(line), "FAIL %s: ", rows[i].check);
        int status = check_broken(rows[i].variant, rows[i].fault, more);
        if (status == 1 && strstr(output, line) == output && strstr(output, rows[i].text))
            continue;
        print_error("%s %s: want \"%s\", have %s", rows[i].variant, rows[i].fault, rows[i].text,
                    output);
        missed++;
    }
    assert_int_equal(missed, 0);
}

static void a_plugin_that_breaks_no_rule_passes_every_check(void **state)
{
    (void)state;
    int status = check_broken("good", "none", "--seconds 20");
    if (status || !strstr(output, " ok, 0 failed, 0 skipped\n"))
        fail_msg("%s", output);
}

static void a_plugin_that_answers_from_its_own_thread_passes_every_check(void **state)
{
    (void)state;
    int status = check_broken("good", "async", "--seconds 30");
    if (status || !strstr(output, " ok, 0 failed, 0 skipped\n"))
        fail_msg("%s", output);
}

/* The leak checker traces its process, which the sandbox of a training answers with death. */
#define TRAIN "ASAN_OPTIONS=detect_leaks=0 " WORKER " train"

static void linear_regression_passes_every_check(void **state)
{
    (void)state;
    char command[2048];
    snprintf(
        command, sizeof(command),
        "cd %s && mkdir data && awk 'BEGIN { srand(7); print \"a,b,y\"; for (i = 0; i < 90; i++) "
        "{ a = rand(); b = rand(); print a \",\" b \",\" 3 * a - b + rand() / 9 } }' "
        "> data/train.csv && " TRAIN " --plugin " SHIPPED "maas.linreg.so --data data "
        "--out linreg > train.log 2>&1",
        folder);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof(command), SHIPPED "maas.linreg.so --model %s/linreg --data %s/data",
             folder, folder);
    if (check(command) || !strstr(output, " ok, 0 failed, 0 skipped\n"))
        fail_msg("%s", output);
}

/* wrong_inputs is the host's own promise: no plugin can break it. */
static void every_check_has_a_fault_that_it_finds(void **state)
{
    (void)state;
    assert_int_equal(check("list"), 0);
    for (char *line = output, *end; (end = strchr(line, '\n')); line = end + 1) {
        size_t len = strcspn(line, " "), at = 0;
        while (at < COUNT_OF(rows) &&
               (strlen(rows[at].check) != len || memcmp(rows[at].check, line, len) != 0))
            at++;
        if (at == COUNT_OF(rows) && memcmp(line, "wrong_inputs", len) != 0)
            fail_msg("no fault for %.*s", (int)len, line);
    }
}

static void without_what_they_need_checks_are_skipped_and_say_so(void **state)
{
    (void)state;
    assert_int_equal(check(PLUGINS "broken_good.so --only answers --only train --only exports"), 0);
    assert_string_equal(output, "ok exports\n"
                                "skip answers: it needs a model; give --model DIR (no bias.txt)\n"
                                "skip train: it trains; give --data DIR\n"
                                "1 ok, 0 failed, 2 skipped\n");
}

static void what_is_no_plugin_fails_and_usage_is_status_2(void **state)
{
    (void)state;
    assert_int_equal(check("/nowhere.so --only exports"), 1);
    assert_non_null(strstr(output, "FAIL exports: cannot open '/nowhere.so'"));
    assert_int_equal(check(CHECKER " --only exports"), 1);
    assert_int_equal(check(""), 2);
    assert_int_equal(check(PLUGINS "broken_good.so --only nothing"), 2);
    assert_int_equal(check(PLUGINS "broken_good.so --samples 0"), 2);
    assert_int_equal(check("run " PLUGINS "broken_good.so"), 2);
}

static void run_answers_a_request_as_a_worker_would(void **state)
{
    (void)state;
    char path[256], arguments[1024];
    snprintf(path, sizeof(path), "%s/in.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP64\",\"data\":[1,2,3,4]}]}",
        file);
    fclose(file);
    snprintf(arguments, sizeof(arguments),
             "run " PLUGINS "broken_good.so --model %s/model --input %s", folder, path);
    assert_int_equal(check(arguments), 0);
    assert_string_equal(output, "{\"id\":\"run\",\"model_name\":\"test.broken\",\"model_version\":"
                                "\"0\",\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP64\","
                                "\"shape\":[2],\"data\":[4.5,8.5]}]}\n");
    snprintf(arguments, sizeof(arguments), "run " PLUGINS "broken_good.so --model %s --input %s",
             folder, path);
    assert_int_equal(check(arguments), 1); /* no bias.txt there */
}

static void rows_that_a_model_takes_can_be_given(void **state)
{
    (void)state;
    char path[256], more[512];
    snprintf(path, sizeof(path), "%s/picky.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"inputs\":[{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP64\",\"data\":[77,2,77,4]}"
          "]}",
          file);
    fclose(file);
    snprintf(more, sizeof(more), "--input %s", path);
    int status = check_broken("good", "picky", more);
    if (status || !strstr(output, " ok, 0 failed, 0 skipped\n"))
        fail_msg("%s", output);
    assert_int_equal(check_broken("good", "picky", "--only rows"), 0);
    assert_non_null(strstr(output, "skip rows: it refuses all random input"));
}

static int make_folder(void **state)
{
    (void)state;
    char command[512];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command),
             "mkdir %s/model && echo 'bias 1.5 count 3 end' > %s/model/bias.txt", folder, folder);
    return system(command);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_that_breaks_no_rule_passes_every_check),
        cmocka_unit_test(a_plugin_that_answers_from_its_own_thread_passes_every_check),
        cmocka_unit_test(linear_regression_passes_every_check),
        cmocka_unit_test(each_broken_rule_is_found_by_its_check),
        cmocka_unit_test(every_check_has_a_fault_that_it_finds),
        cmocka_unit_test(without_what_they_need_checks_are_skipped_and_say_so),
        cmocka_unit_test(what_is_no_plugin_fails_and_usage_is_status_2),
        cmocka_unit_test(rows_that_a_model_takes_can_be_given),
        cmocka_unit_test(run_answers_a_request_as_a_worker_would),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
