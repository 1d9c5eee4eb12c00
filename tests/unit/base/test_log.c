/* Log lines: always JSON, never lost by what they hold, never waited for. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define LINES   500

static char path[] = "/tmp/maas-log-XXXXXX";
static int real_stderr;

static void capture(void)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static char *captured_so_far(void)
{
    char *text;
    size_t len;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(file_read(path, 8 << 20, &text, &len, &error), MAAS_OK);
    return text;
}

static char *captured(void)
{
    dup2(real_stderr, STDERR_FILENO);
    return captured_so_far();
}

static size_t count(const char *text, const char *needle)
{
    size_t n = 0;
    for (; (text = strstr(text, needle)); text += strlen(needle))
        n++;
    return n;
}

static void a_line_is_one_json_object_with_every_field(void **state)
{
    (void)state;
    capture();
    LOG(LOG_INFO, "probe", F_STR("text", "a\"b\nc"), F_INT("least", INT64_MIN), F_INT("minus", -7),
        F_UINT("most", UINT64_MAX), F_DOUBLE("half", 0.5), F_DOUBLE("none", (double)NAN),
        F_STR("null", NULL), F_STRN("some", ((struct str){ "abc", 2 })));
    char *text = captured();
    assert_memory_equal(text, "{\"ts\":\"20", 9);
    assert_non_null(strstr(text, "Z\",\"level\":\"info\",\"process\":\"maas\",\"pid\":"));
    assert_non_null(strstr(text, "\"event\":\"probe\",\"text\":\"a\\\"b\\nc\","
                                 "\"least\":-9223372036854775808,\"minus\":-7,"
                                 "\"most\":18446744073709551615,\"half\":0.5,\"none\":null,"
                                 "\"null\":\"\",\"some\":\"ab\"}\n"));
    assert_int_equal(count(text, "\n"), 1);
    free(text);
}

/* Bytes that grow sixfold by escaping fill the line: the fields behind still say who it was. */
static void a_monstrous_field_never_hides_the_line(void **state)
{
    (void)state;
    char evil[5000];
    memset(evil, 1, sizeof(evil));
    struct str s = { evil, sizeof(evil) };
    capture();
    LOG(LOG_INFO, "probe", F_STRN("path", s), F_UINT("status", 404));
    LOG(LOG_INFO, "probe", F_STR("a", "b"), F_UINT("status", 405));
    char *text = captured();
    assert_non_null(strstr(text, "\"event\":\"probe\",\"status\":404,\"cut\":true}\n"));
    assert_non_null(strstr(text, "\"event\":\"probe\",\"a\":\"b\",\"status\":405}\n"));
    free(text);
    memset(evil, 'x', sizeof(evil));
    capture();
    LOG(LOG_INFO, "probe", F_STRN("1", s), F_STRN("2", s), F_STRN("3", s), F_STRN("4", s),
        F_STRN("5", s), F_UINT("last", 1));
    text = captured();
    assert_true(strlen(text) < 4096);
    assert_non_null(strstr(text, ",\"last\":1,\"cut\":true}\n"));
    assert_int_equal(count(text, "x"), 3 * 1024);
    free(text);
}

static void what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    capture();
    log_start("probe", LOG_WARN);
    LOG(LOG_INFO, "no", F_INT("n", 1));
    LOG(LOG_WARN, "yes", F_INT("n", 1));
    log_stop();
    char *text = captured();
    assert_int_equal(count(text, "\n"), 1);
    assert_non_null(strstr(text, "\"level\":\"warn\",\"process\":\"probe\",\"pid\":"));
    free(text);
}

static void a_warning_comes_out_before_the_next_interval(void **state)
{
    (void)state;
    size_t seen = 0;
    capture();
    log_start("probe", LOG_INFO);
    for (int i = 0; i < 10; i++) {
        usleep(5000); /* the thread is waiting */
        LOG(LOG_WARN, "now", F_INT("n", i));
        usleep(15000);
        char *text = captured_so_far();
        seen += count(text, "\n") == (size_t)i + 1;
        free(text);
    }
    log_stop();
    free(captured());
    assert_true(seen >= 7); /* by chance of the 50 ms alone it would be 3 or 4 */
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        LOG(i % 50 ? LOG_INFO : LOG_ERROR, "line", F_UINT("thread", *(size_t *)arg), F_INT("n", i));
    return NULL;
}

static void lines_of_many_threads_are_whole_and_all_there(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    size_t numbers[THREADS], lines = 0;
    uint64_t dropped = log_dropped();
    capture();
    log_start("probe", LOG_INFO);
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_stop();
    char *text = captured(), *rest = text, *line;
    while ((line = strsep(&rest, "\n")) && *line) {
        assert_true(line[0] == '{' && line[strlen(line) - 1] == '}');
        assert_int_equal(count(line, "\"event\""), 1);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
    assert_int_equal(log_dropped(), dropped);
    free(text);
}

/* Nobody reads the pipe: callers go on, and what did not fit is counted. */
static void a_reader_that_stops_costs_lines_not_time(void **state)
{
    (void)state;
    int ends[2];
    char evil[1000];
    memset(evil, 'x', sizeof(evil));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    log_start("probe", LOG_INFO);
    uint64_t before = log_dropped();
    for (int i = 0; i < 5000; i++) /* 5 MB into 64 KB of pipe and 2 MB of buffers */
        LOG(LOG_INFO, "line", F_STRN("x", ((struct str){ evil, sizeof(evil) })));
    uint64_t dropped = log_dropped() - before; /* whoever waited would wait for ever */
    close(ends[0]);                            /* now the thread's writes end with EPIPE */
    log_stop();
    dup2(real_stderr, STDERR_FILENO);
    close(ends[1]);
    assert_true(dropped > 0);
}

/* A signal the program waits for must not end it by way of the log's thread. */
/* How often the thread named "log" has gone to sleep; -1: there is none. */
static long log_sleeps(void)
{
    char from[300], line[256], name[64] = "";
    long count = -1;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task; count < 0 && (task = readdir(tasks)) != NULL;) {
        snprintf(from, sizeof(from), "/proc/self/task/%.32s/status", task->d_name);
        FILE *file = fopen(from, "r");
        for (name[0] = 0; file && fgets(line, sizeof(line), file);) {
            (void)sscanf(line, "Name: %63s", name);
            if (strcmp(name, "log") == 0)
                (void)sscanf(line, "voluntary_ctxt_switches: %ld", &count);
        }
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return count;
}

static void who_logs_nothing_wakes_nobody(void **state)
{
    (void)state;
    log_start("test", LOG_INFO);
    usleep(100000);
    long before = log_sleeps();
    usleep(300000); /* six intervals */
    assert_true(before >= 0);
    assert_int_equal(log_sleeps(), before);
    log_stop();
}

static void the_thread_takes_no_signals(void **state)
{
    (void)state;
    sigset_t term, pending;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    log_start("probe", LOG_INFO); /* before the mask, as main does it */
    pthread_sigmask(SIG_BLOCK, &term, NULL);
    kill(getpid(), SIGTERM);
    usleep(20000);
    sigpending(&pending);
    assert_true(sigismember(&pending, SIGTERM));
    int got = 0;
    sigwait(&term, &got);
    assert_int_equal(got, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &term, NULL);
    log_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_json_object_with_every_field),
        cmocka_unit_test(a_monstrous_field_never_hides_the_line),
        cmocka_unit_test(what_is_below_the_level_is_not_written),
        cmocka_unit_test(a_warning_comes_out_before_the_next_interval),
        cmocka_unit_test(lines_of_many_threads_are_whole_and_all_there),
        cmocka_unit_test(a_reader_that_stops_costs_lines_not_time),
        cmocka_unit_test(who_logs_nothing_wakes_nobody),
        cmocka_unit_test(the_thread_takes_no_signals),
    };
    int fd = mkstemp(path);
    close(fd);
    signal(SIGPIPE, SIG_IGN);
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
