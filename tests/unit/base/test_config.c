/* The configuration: defaults, file, environment, and errors that name their place. */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static void every_setting_is_documented(void **state)
{
    (void)state;
    static const char *const paths[] = {
#define TEXT(member, path, dflt, help)                path,
#define NUMBER(member, path, dflt, least, most, help) path,
#define FLAG(member, path, dflt, help)                path,
#include "base/limits.def"
#undef TEXT
#undef NUMBER
#undef FLAG
    };
    maas_error error = MAAS_ERROR_INIT;
    char *page;
    size_t len;
    assert_int_equal(
        file_read(MAAS_SOURCE_DIR "/docs/configuration.md", 1 << 20, &page, &len, &error), MAAS_OK);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char needle[128];
        snprintf(needle, sizeof(needle), "\n%s: ", paths[i]);
        if (!strstr(page, needle))
            fail_msg("docs/configuration.md lacks '%s'", paths[i]);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_file_and_environment_come_in_this_order),
        cmocka_unit_test(errors_name_the_line_and_the_key),
        cmocka_unit_test(a_bad_environment_value_names_its_variable),
        cmocka_unit_test(every_setting_is_documented),
    };
    int fd = mkstemp(path);
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
