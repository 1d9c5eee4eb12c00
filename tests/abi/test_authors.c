/*
 * Plugins as others write them: each passes maas-plugin-check and is served by a real worker in its
 * sandbox. text.c takes strings and gives labels and scores; kernel.cc is C++11.
 */
#include "served.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MODELS MAAS_SOURCE_DIR "/tests/abi/models/"

static const struct author {
    const char *name;
    uint16_t surface;
    const char *body, *answer; /* answer: a part of it */
    const char *wrong, *refusal;
} authors[] = {
    { "text", SURFACE_V2,
      "{\"inputs\":[{\"name\":\"text\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":["
      "\"hello, good morning\",\"my order is broken and nobody answers\"]}]}",
      "\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"greeting\",\"complaint\"]",
      "{\"inputs\":[{\"name\":\"text\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[1]}]}",
      "BYTES" },
    { "kernel", SURFACE_REGRESSION, "{\"features\":[[0,0],[100,100]]}",
      "{\"prediction\":5.5,\"interval\":null}]}", "{\"features\":[1,2,3]}",
      "'features' has more than the 2 features of the model" },
};

static void authors_plugins_pass_every_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(authors); i++) {
        char command[1024];
        snprintf(command, sizeof(command), CHECKER " " PLUGINS "%s.so --model " MODELS "%s",
                 authors[i].name, authors[i].name);
        assert_int_equal(system(command), 0);
    }
}

static void authors_plugins_are_served_by_a_worker(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(authors); i++) {
        const struct author *a = &authors[i];
        char plugin[512], root[512], line[512], answer[8192];
        snprintf(plugin, sizeof(plugin), PLUGINS "%s.so", a->name);
        snprintf(root, sizeof(root), MODELS "%s", a->name);
        struct served *s = served_start(plugin, root, line, sizeof(line));
        if (!s)
            fail_msg("%s: %s", a->name, line);
        assert_int_equal(served_ask(s, a->surface, a->body, answer, sizeof(answer)), MAAS_OK);
        if (!strstr(answer, a->answer))
            fail_msg("%s: %s", a->name, answer);
        assert_int_equal(served_ask(s, a->surface, a->wrong, answer, sizeof(answer)),
                         MAAS_E_INVALID);
        if (!strstr(answer, a->refusal))
            fail_msg("%s: %s", a->name, answer);
        served_stop(s);
    }
}

static void a_model_that_does_not_load_says_why(void **state)
{
    (void)state;
    char line[512];
    assert_null(served_start(PLUGINS "kernel.so", MODELS "text", line, sizeof(line)));
    assert_string_equal(line, "failed cannot open 'points.txt'\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authors_plugins_pass_every_check),
        cmocka_unit_test(authors_plugins_are_served_by_a_worker),
        cmocka_unit_test(a_model_that_does_not_load_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
