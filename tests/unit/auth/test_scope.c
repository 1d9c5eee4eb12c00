/* Scopes, tokens and roles: deny by default. */
#include "auth/scope.h"
#include "auth/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static struct scope_set set_of(const char *a, const char *b)
{
    struct scope_set set;
    maas_error error = MAAS_ERROR_INIT;
    memset(&set, 0, sizeof(set));
    assert_int_equal(scope_add(&set, str_of(a), &error), MAAS_OK);
    if (b)
        assert_int_equal(scope_add(&set, str_of(b), &error), MAAS_OK);
    return set;
}

static void no_scope_allows_nothing(void **state)
{
    (void)state;
    struct scope_set set;
    memset(&set, 0, sizeof(set));
    assert_false(scope_allows(&set, SCOPE_TRAIN));
    assert_false(scope_allows_infer(&set, STR("a")));
}

static void a_glob_allows_what_it_matches_and_nothing_else(void **state)
{
    (void)state;
    struct scope_set set = set_of("infer:iris-*", "infer:*-x*z");
    static const char *const yes[] = { "iris-", "iris-2", "a-xz", "a-xbbz", "-x-xz" };
    static const char *const no[] = { "iris", "aniris-2", "a-xzb", "xz", "" };
    for (size_t i = 0; i < COUNT_OF(yes); i++)
        assert_true(scope_allows_infer(&set, str_of(yes[i])));
    for (size_t i = 0; i < COUNT_OF(no); i++)
        assert_false(scope_allows_infer(&set, str_of(no[i])));
    assert_false(scope_allows(&set, SCOPE_USAGE_READ));
    set = set_of("infer:*", "usage:read");
    assert_true(scope_allows_infer(&set, STR("anything")));
    assert_true(scope_allows(&set, SCOPE_USAGE_READ));
    assert_false(scope_allows(&set, SCOPE_MODELS_WRITE));
}

static void unknown_scopes_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "infer:", "infer:A", "admin", "infer:a/b", "train " };
    struct scope_set set;
    memset(&set, 0, sizeof(set));
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(scope_add(&set, str_of(bad[i]), &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, "scope"));
    }
    assert_int_equal(set.count, 0);
}

static void tokens_hash_and_roles_have_names(void **state)
{
    (void)state;
    struct token_new token;
    uint8_t hash[TOKEN_HASH_LEN];
    token_make(&token);
    assert_true(token_hash(str_of(token.text), hash));
    assert_true(token_equal(hash, token.hash));
    assert_int_equal(role_parse(STR("owner")), ROLE_OWNER);
    assert_int_equal(role_parse(STR("none")), ROLE_NONE);
    assert_int_equal(role_parse(STR("root")), ROLE_NONE);
    assert_string_equal(role_name(ROLE_TENANT_ADMIN), "tenant-admin");
}

static void a_token_with_any_typing_error_or_length_is_refused(void **state)
{
    (void)state;
    static const char replacements[] = "aZ0_-. \n\xff";
    struct token_new token;
    uint8_t hash[TOKEN_HASH_LEN];
    token_make(&token);
    for (size_t at = 0; at < TOKEN_TEXT_LEN; at++)
        for (size_t r = 0; r < sizeof(replacements); r++) { /* the NUL too */
            char text[TOKEN_TEXT_LEN];
            memcpy(text, token.text, sizeof(text));
            text[at] = replacements[r];
            if (text[at] != token.text[at])
                assert_false(token_hash((struct str){ text, sizeof(text) }, hash));
        }
    for (size_t len = 0; len < TOKEN_TEXT_LEN; len++)
        assert_false(token_hash((struct str){ token.text, len }, hash));
    assert_false(token_hash((struct str){ token.text, TOKEN_TEXT_LEN + 1 }, hash));
    memset(hash, 0, sizeof(hash));
    assert_false(token_equal(hash, token.hash));
}

static void the_seventeenth_scope_is_one_too_many(void **state)
{
    (void)state;
    struct scope_set set;
    maas_error error = MAAS_ERROR_INIT;
    memset(&set, 0, sizeof(set));
    for (int i = 0; i < SCOPE_MAX; i++)
        assert_int_equal(scope_add(&set, STR("train"), &error), MAAS_OK);
    assert_int_equal(scope_add(&set, STR("infer:*"), &error), MAAS_E_EXHAUSTED);
    assert_false(scope_allows_infer(&set, STR("a")));
}

/* The cost of a hostile glob is bounded: 90 stars against the longest name end at once. */
static void a_glob_of_stars_does_not_hang(void **state)
{
    (void)state;
    char glob[SCOPE_TEXT_MAX] = "infer:", name[64];
    memset(name, 'a', sizeof(name));
    for (size_t i = 6; i < sizeof(glob) - 3; i += 2)
        memcpy(glob + i, "*a", 2);
    glob[sizeof(glob) - 2] = 'b';
    glob[sizeof(glob) - 1] = '\0';
    struct scope_set set = set_of(glob, NULL);
    uint64_t start = clock_mono_ns();
    assert_false(scope_allows_infer(&set, (struct str){ name, sizeof(name) }));
    assert_true(clock_mono_ns() - start < 2000000000); /* exponential: years */
}

static void a_set_covers_what_allows_nothing_beyond_it(void **state)
{
    (void)state;
    static const struct {
        const char *outer, *inner;
        bool covers;
    } cases[] = {
        { "infer:*", "infer:*", true },          { "infer:*", "infer:a-*", true },
        { "infer:a-*", "infer:a-b*", true },     { "infer:a-*", "infer:a-*-z", true },
        { "infer:a-*", "infer:*", false },       { "infer:a-*", "infer:a*", false },
        { "infer:a-*-z", "infer:a-*", false },   { "infer:house", "infer:house", true },
        { "infer:house", "infer:hous*", false }, { "infer:*house", "infer:*", false },
        { "usage:read", "usage:read", true },    { "usage:read", "keys:write", false },
        { "infer:*", "usage:read", false },      { "keys:write", "infer:a", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scope_set outer = set_of(cases[i].outer, NULL), inner = set_of(cases[i].inner, NULL);
        assert_int_equal(scope_covers(&outer, &inner), cases[i].covers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_scope_allows_nothing),
        cmocka_unit_test(a_glob_allows_what_it_matches_and_nothing_else),
        cmocka_unit_test(unknown_scopes_are_refused_by_name),
        cmocka_unit_test(tokens_hash_and_roles_have_names),
        cmocka_unit_test(a_token_with_any_typing_error_or_length_is_refused),
        cmocka_unit_test(the_seventeenth_scope_is_one_too_many),
        cmocka_unit_test(a_glob_of_stars_does_not_hang),
        cmocka_unit_test(a_set_covers_what_allows_nothing_beyond_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
