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
    token.text[20] = token.text[20] == 'a' ? 'b' : 'a';
    assert_false(token_hash(str_of(token.text), hash));
    assert_int_equal(role_parse(STR("owner")), ROLE_OWNER);
    assert_int_equal(role_parse(STR("none")), ROLE_NONE);
    assert_int_equal(role_parse(STR("root")), ROLE_NONE);
    assert_string_equal(role_name(ROLE_TENANT_ADMIN), "tenant-admin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_scope_allows_nothing),
        cmocka_unit_test(a_glob_allows_what_it_matches_and_nothing_else),
        cmocka_unit_test(unknown_scopes_are_refused_by_name),
        cmocka_unit_test(tokens_hash_and_roles_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
