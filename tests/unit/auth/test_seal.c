/* Sealed bytes: what was closed opens with the same credential and place, and with nothing else. */
#include "auth/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static const struct key_pepper peppers[] = { { 1, "first pepper of thirty-two bytes" },
                                             { 7, "second pepper of 32 bytes, no: _" } };
static const char text[] = "{\"key\": \"maas_live_secret\"}";
#define PLAIN   STR(text)
#define CONTEXT STR("the row")

static struct key_ring *ring_of(size_t first, size_t count)
{
    struct key_ring *ring = NULL;
    assert_int_equal(key_ring_new(peppers[0].secret, peppers + first, count, &ring, NULL), MAAS_OK);
    return ring;
}

struct sealed {
    uint8_t bytes[sizeof(text) - 1 + SEAL_OVERHEAD];
};

static struct str view(const struct sealed *s)
{
    return (struct str){ (const char *)s->bytes, sizeof(s->bytes) };
}

static struct sealed closed(const struct key_ring *ring, struct str credential)
{
    struct seal_key key;
    struct sealed s;
    seal_key_make(ring, credential, &key);
    seal(&key, CONTEXT, PLAIN, s.bytes);
    seal_key_wipe(&key);
    return s;
}

static bool opens(const struct key_ring *ring, struct str credential, struct str context,
                  struct str sealed)
{
    struct seal_key key;
    uint8_t out[sizeof(text)];
    if (!seal_key_for(ring, sealed, credential, &key))
        return false;
    bool good = seal_open(&key, context, sealed, out);
    assert_true(!good || (sealed.len == sizeof(text) - 1 + SEAL_OVERHEAD &&
                          memcmp(out, text, sizeof(text) - 1) == 0));
    return good;
}

static void what_was_closed_opens_and_does_not_show(void **state)
{
    (void)state;
    struct key_ring *ring = ring_of(0, 2);
    struct sealed a = closed(ring, STR("token")), b = closed(ring, STR("token"));
    assert_true(opens(ring, STR("token"), CONTEXT, view(&a)));
    assert_null(memmem(a.bytes, sizeof(a.bytes), "secret", 6));
    assert_memory_not_equal(a.bytes, b.bytes, sizeof(a.bytes)); /* a nonce is never used twice */
    key_ring_free(ring);
}

static void no_flipped_bit_and_no_cut_opens(void **state)
{
    (void)state;
    struct key_ring *ring = ring_of(0, 2);
    struct sealed whole = closed(ring, STR("token"));
    for (size_t bit = 0; bit < sizeof(whole.bytes) * 8; bit++) {
        struct sealed s = whole;
        s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(opens(ring, STR("token"), CONTEXT, view(&s)));
    }
    for (size_t len = 0; len < sizeof(whole.bytes); len++)
        assert_false(opens(ring, STR("token"), CONTEXT, (struct str){ view(&whole).data, len }));
    key_ring_free(ring);
}

static void nobody_else_opens_it_and_not_in_another_place(void **state)
{
    (void)state;
    struct key_ring *ring = ring_of(0, 2), *other = ring_of(0, 1);
    struct sealed s = closed(ring, STR("token"));
    assert_false(opens(ring, STR("tokem"), CONTEXT, view(&s)));
    assert_false(opens(ring, STR("token"), STR("the raw"), view(&s)));
    assert_false(opens(other, STR("token"), CONTEXT, view(&s))); /* its pepper is not there */
    key_ring_free(ring);
    key_ring_free(other);
}

static void a_new_pepper_leaves_what_the_old_one_sealed(void **state)
{
    (void)state;
    struct key_ring *before = ring_of(0, 1), *after = ring_of(0, 2), *later = ring_of(1, 1);
    struct sealed s = closed(before, STR("token"));
    assert_true(opens(after, STR("token"), CONTEXT, view(&s)));
    assert_false(opens(later, STR("token"), CONTEXT, view(&s)));
    key_ring_free(before);
    key_ring_free(after);
    key_ring_free(later);
}

static void nothing_can_be_sealed_too(void **state)
{
    (void)state;
    struct key_ring *ring = ring_of(0, 1);
    struct seal_key key;
    uint8_t sealed[SEAL_OVERHEAD], out[1];
    seal_key_make(ring, STR(""), &key);
    seal(&key, STR(""), STR(""), sealed);
    assert_true(
        seal_open(&key, STR(""), (struct str){ (const char *)sealed, sizeof(sealed) }, out));
    key_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_closed_opens_and_does_not_show),
        cmocka_unit_test(no_flipped_bit_and_no_cut_opens),
        cmocka_unit_test(nobody_else_opens_it_and_not_in_another_place),
        cmocka_unit_test(a_new_pepper_leaves_what_the_old_one_sealed),
        cmocka_unit_test(nothing_can_be_sealed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
