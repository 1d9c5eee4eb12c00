/* The configuration: defaults, file, environment, and errors that name their place. */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/maas-config-XXXXXX";

static maas_status load(const char *yaml, struct config **out, maas_error *error)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
    return config_load(path, out, error);
}

static void defaults_file_and_environment_come_in_this_order(void **state)
{
    (void)state;
    struct config *c;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(config_load(NULL, &c, &error), MAAS_OK);
    assert_string_equal(c->listen, "127.0.0.1:8443");
    assert_int_equal(c->body_max, 8 << 20);
    config_free(c);
    setenv("MAAS_LOOPS", "3", 1);
    assert_int_equal(
        load("loops: 2\ntls:\n  cert: a.pem\nrequests.body_max: 16M\nlog: {access: false}\n", &c,
             &error),
        MAAS_OK);
    assert_int_equal(c->loops, 3);
    assert_string_equal(c->tls_cert, "a.pem");
    assert_int_equal(c->body_max, 16 << 20);
    assert_false(c->log_access);
    config_free(c);
    unsetenv("MAAS_LOOPS");
}

static void errors_name_the_line_and_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        { "loops: 2\nlop: 1\n", ":2: unknown key 'lop'" },
        { "loops: 65\n", "'loops' must be 0 to 64" },
        { "loops: -1\n", "whole number" },
        { "loops: 1\nloops: 2\n", "'loops' stands twice" },
        { "log: {access: maybe}\n", "true or false" },
        { "loops: [1]\n", "lists" },
        { "just text\n", "a map of settings" },
        { "a: {b: {c: {d: {e: 1}}}}\n", "too deep" },
        { "loops: {\n", ":2:" },
        { "log.level: debug\nlog:\n  level: info\n", ":3: 'log.level' stands twice" },
        { "loops:\n", "'loops' has no value" },
        { "tls.cert: ~\n", "'tls.cert' has no value" },
        { "tls.cert: \"a\\0b\"\n", "NUL" },
        { "? {a: b}\n: c\n", "plain text" },
        { "loops: *other\n", "aliases" },
        { "tls: none\n", "unknown key 'tls'" },
        { "tls.cert: {x: 1}\n", "unknown key 'tls.cert.x'" },
        { "requests.body_max: 16m\n", "whole number" },
        { "requests.body_max: 99999999999G\n", "whole number" },
        { "requests.body_max: 1G\n", "must be 1024 to 67108864" },
        { "loops: 0x2\n", "whole number" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct config *c;
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(load(bad[i].yaml, &c, &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, bad[i].says));
    }
}

static void a_bad_environment_value_names_its_variable(void **state)
{
    (void)state;
    struct config *c;
    maas_error error = MAAS_ERROR_INIT;
    setenv("MAAS_REQUESTS_BODY_MAX", "lots", 1);
    assert_int_equal(config_load(NULL, &c, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "MAAS_REQUESTS_BODY_MAX"));
    unsetenv("MAAS_REQUESTS_BODY_MAX");
}

/* What the scripts put into the environment beside the settings is nobody's setting. */
static void foreign_variables_are_ignored(void **state)
{
    (void)state;
    static const char *const names[] = { "MAAS_URL",         "MAAS_ADMIN_URL", "MAAS_CA",
                                         "MAAS_API_KEY",     "MAAS_TENANT",    "MAAS_",
                                         "MAAS_ADMIN_TOKEN", "MAAS_TLS_",      "MAAS_tls_cert" };
    struct config *c;
    maas_error error = MAAS_ERROR_INIT;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        setenv(names[i], "x", 1);
    assert_int_equal(config_load(NULL, &c, &error), MAAS_OK);
    assert_string_equal(c->tls_cert, "");
    config_free(c);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    struct config *c = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(config_load("/nowhere/x.yaml", &c, &error), MAAS_E_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nowhere/x.yaml"));
    assert_null(c);
}

/* config_print's output as a text to free; goes through a file because it prints to stdout. */
static char *printed(const struct config *c)
{
    char *text;
    size_t len;
    maas_error error = MAAS_ERROR_INIT;
    fflush(stdout);
    int before = dup(STDOUT_FILENO),
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(before >= 0 && fd >= 0);
    dup2(fd, STDOUT_FILENO);
    config_print(c);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    close(fd);
    assert_int_equal(file_read(path, 1 << 20, &text, &len, &error), MAAS_OK);
    return text;
}

static void what_is_printed_reads_back_the_same(void **state)
{
    (void)state;
    struct config *c, *again;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(load("postgres.conninfo: 'password=\"a\\b'' #c\t%s'\nloops: 7\n"
                          "requests.body_max: 1K\nlog.access: false\n",
                          &c, &error),
                     MAAS_OK);
    assert_string_equal(c->pg, "password=\"a\\b' #c\t%s");
    char *text = printed(c);
    assert_int_equal(config_load(path, &again, &error), MAAS_OK);
    assert_string_equal(again->pg, c->pg);
    assert_int_equal(again->loops, 7);
    assert_int_equal(again->body_max, 1024);
    assert_false(again->log_access);
    char *text_again = printed(again);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    config_free(c);
    config_free(again);
}

static void the_page_shows_what_print_config_prints(void **state)
{
    (void)state;
    struct config *c;
    char *page;
    size_t len;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(config_load(NULL, &c, &error), MAAS_OK);
    char *text = printed(c);
    config_free(c);
    assert_int_equal(
        file_read(MAAS_SOURCE_DIR "/docs/configuration.md", 1 << 20, &page, &len, &error), MAAS_OK);
    if (!strstr(page, text))
        fail_msg("docs/configuration.md is not what the settings say: run scripts/gen-config-doc");
    free(text);
    free(page);
}

static void every_setting_has_one_variable_and_a_sound_default(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        uint64_t number, least, most;
    } all[] = {
#define TEXT(member, path, dflt, help)                { path, 0, 0, 0 },
#define NUMBER(member, path, dflt, least, most, help) { path, dflt, least, most },
#define FLAG(member, path, dflt, help)                { path, dflt, 0, 1 },
#include "base/limits.def"
#undef TEXT
#undef NUMBER
#undef FLAG
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_in_range(all[i].number, all[i].least, all[i].most);
        assert_true(strlen(all[i].path) < 64);
        for (size_t j = 0; j < i; j++) {
            const char *a = all[i].path, *b = all[j].path;
            while (*a && (*a == *b || (strchr("._", *a) && *b && strchr("._", *b)))) {
                a++;
                b++;
            }
            assert_true(*a || *b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_file_and_environment_come_in_this_order),
        cmocka_unit_test(errors_name_the_line_and_the_key),
        cmocka_unit_test(a_bad_environment_value_names_its_variable),
        cmocka_unit_test(foreign_variables_are_ignored),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(what_is_printed_reads_back_the_same),
        cmocka_unit_test(the_page_shows_what_print_config_prints),
        cmocka_unit_test(every_setting_has_one_variable_and_a_sound_default),
    };
    int fd = mkstemp(path);
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
