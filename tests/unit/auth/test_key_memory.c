/* Keys and memory: a check allocates nothing, and a freed ring leaves no secret behind. */
#include "auth/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* The linker sends auth's own calls here (--wrap); OpenSSL's come by CRYPTO_set_mem_functions. */
void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

static size_t allocations;
static struct {
    void *block;
    bool zero;
} watched;

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void __wrap_free(void *p)
{
    if (p && p == watched.block) {
        watched.zero = true;
        for (size_t i = 0; i < malloc_usable_size(p); i++)
            watched.zero &= ((const uint8_t *)p)[i] == 0;
    }
    __real_free(p);
}

static void *count_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    allocations++;
    return malloc(size);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    allocations++;
    return realloc(p, size);
}

static void count_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    __real_free(p);
}

static struct key_ring *ring_made(void)
{
    static const uint8_t id_key[32] = { 3 };
    static const struct key_pepper peppers[2] = { { 1, { 1 } }, { 2, { 2 } } };
    struct key_ring *ring = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(key_ring_new(id_key, peppers, 2, &ring, &error), MAAS_OK);
    return ring;
}

static void parsing_and_verifying_allocate_nothing(void **state)
{
    (void)state;
    struct key_ring *ring = ring_made();
    struct key_checker *checker = key_checker_new(ring);
    struct key_new key;
    char id[KEY_ID_LEN];
    key_make(ring, &key);
    struct str text = { key.text, KEY_TEXT_LEN };
    assert_true(allocations > 0); /* the counting works */
    size_t before = allocations;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(key_parse(ring, text, id), KEY_OK);
        assert_true(key_verify(checker, text, key.pepper_version, key.mac));
        assert_false(key_verify(checker, text, key.pepper_version, NULL));
        assert_false(key_verify(checker, text, 9, key.mac));
    }
    assert_int_equal(allocations, before);
    key_checker_free(checker);
    key_ring_free(ring);
}

static void a_freed_ring_is_wiped_first(void **state)
{
    (void)state;
    struct key_ring *ring = ring_made();
    watched.block = ring;
    watched.zero = false;
    key_ring_free(ring);
    assert_true(watched.zero);
    watched.block = NULL;
    key_ring_free(NULL);
    key_checker_free(NULL);
}

int main(void)
{
    CHECK(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) == 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_and_verifying_allocate_nothing),
        cmocka_unit_test(a_freed_ring_is_wiped_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
