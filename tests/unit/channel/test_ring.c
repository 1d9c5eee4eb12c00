/*
 * The ring alone, on plain heap memory so that ASan sees every byte outside of it.
 */
#include "channel/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
    struct ring_shared *shared;
    uint8_t *data;
    struct ring ring;
};

static void fixture_init(struct fixture *f, uint32_t size)
{
    f->shared = aligned_alloc(CACHE_LINE, sizeof(*f->shared));
    f->data = aligned_alloc(CACHE_LINE, size);
    assert_non_null(f->shared);
    assert_non_null(f->data);
    memset(f->shared, 0, sizeof(*f->shared));
    memset(f->data, 0, size);
    ring_init(&f->ring, f->shared, f->data, size);
}

static void fixture_release(struct fixture *f)
{
    free(f->shared);
    free(f->data);
}

static enum ring_result put(struct ring *r, const void *data, size_t len)
{
    const struct channel_part part = { data, len };
    return ring_write(r, &part, 1);
}

static uint32_t random_step(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void parts_become_one_record(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4096);
    const struct channel_part parts[] = { { "ab", 2 }, { NULL, 0 }, { "cde", 3 } };
    assert_int_equal(ring_write(&f.ring, parts, 3), RING_DONE);
    const void *data;
    size_t len;
    assert_int_equal(ring_peek(&f.ring, &data, &len), RING_DONE);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "abcde", 5);
    ring_consume(&f.ring);
    assert_int_equal(ring_peek(&f.ring, &data, &len), RING_NO);
    fixture_release(&f);
}

static void a_peek_without_consume_shows_the_same_record_again(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4096);
    const void *first, *second;
    size_t len;
    assert_int_equal(put(&f.ring, "x", 1), RING_DONE);
    assert_int_equal(put(&f.ring, "y", 1), RING_DONE);
    assert_int_equal(ring_peek(&f.ring, &first, &len), RING_DONE);
    assert_int_equal(ring_peek(&f.ring, &second, &len), RING_DONE);
    assert_ptr_equal(first, second);
    fixture_release(&f);
}

static void a_full_ring_says_no_and_takes_again_after_a_consume(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4096);
    char body[100] = { 0 };
    int records = 0;
    while (put(&f.ring, body, sizeof(body)) == RING_DONE)
        records++;
    assert_int_equal(records, 4096 / 128);
    const void *data;
    size_t len;
    assert_int_equal(ring_peek(&f.ring, &data, &len), RING_DONE);
    ring_consume(&f.ring);
    assert_int_equal(put(&f.ring, body, sizeof(body)), RING_DONE);
    assert_int_equal(put(&f.ring, body, sizeof(body)), RING_NO);
    fixture_release(&f);
}

static void the_largest_record_fits_wherever_the_empty_ring_stands(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4096);
    size_t max = ring_record_max(&f.ring);
    uint8_t *body = malloc(max);
    assert_non_null(body);
    const void *data;
    size_t len;
    for (int turn = 0; turn < 200; turn++) {
        memset(body, turn, max);
        assert_int_equal(put(&f.ring, body, 1 + (size_t)turn % 90), RING_DONE);
        assert_int_equal(ring_peek(&f.ring, &data, &len), RING_DONE);
        ring_consume(&f.ring);
        assert_int_equal(put(&f.ring, body, max), RING_DONE);
        assert_int_equal(ring_peek(&f.ring, &data, &len), RING_DONE);
        assert_int_equal(len, max);
        assert_memory_equal(data, body, max);
        ring_consume(&f.ring);
    }
    const struct channel_part two[] = { { body, max }, { "x", 1 } };
    assert_int_equal(ring_write(&f.ring, two, 2), RING_NO);
    free(body);
    fixture_release(&f);
}

/* Writes and reads at random, checks each record's bytes and order. */
static void wrap_around_at(uint32_t size, uint32_t longest, int turns)
{
    struct fixture f;
    fixture_init(&f, size);
    uint8_t *body = malloc(longest);
    assert_non_null(body);
    uint32_t lens[8192], random = 1, seen = 0, written = 0;
    for (int i = 0; i < turns; i++) {
        uint32_t len = random_step(&random) % longest;
        memset(body, (int)(written & 0xff), len);
        if (random_step(&random) % 2 && written - seen < COUNT_OF(lens) &&
            put(&f.ring, body, len) == RING_DONE)
            lens[written++ % COUNT_OF(lens)] = len;
        const void *data;
        size_t got;
        if (random_step(&random) % 2 && ring_peek(&f.ring, &data, &got) == RING_DONE) {
            assert_int_equal(got, lens[seen % COUNT_OF(lens)]);
            memset(body, (int)(seen & 0xff), got);
            assert_memory_equal(data, body, got);
            ring_consume(&f.ring);
            seen++;
        }
    }
    assert_true(seen > (uint32_t)turns / 8);
    assert_true(f.ring.in.tail > 4 * (uint64_t)size);
    free(body);
    fixture_release(&f);
}

static void records_keep_order_and_bytes_around_the_end(void **state)
{
    (void)state;
    wrap_around_at(4096, 1500, 100000);
    wrap_around_at(1u << 20, 20000, 20000); /* with the short lap of large rings */
}

static void small_traffic_stays_at_the_start_of_a_large_ring(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4u << 20);
    char body[200] = { 1 };
    for (int i = 0; i < 50000; i++) {
        const void *data;
        size_t len;
        assert_int_equal(put(&f.ring, body, sizeof(body)), RING_DONE);
        assert_int_equal(ring_peek(&f.ring, &data, &len), RING_DONE);
        assert_true((const uint8_t *)data < f.data + (300u << 10));
        ring_consume(&f.ring);
    }
    fixture_release(&f);
}

static void a_position_beyond_the_ring_breaks_it(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4096);
    const void *data;
    size_t len;
    atomic_store(&f.shared->tail, 4096 + 64);
    assert_int_equal(ring_peek(&f.ring, &data, &len), RING_BROKEN);
    atomic_store(&f.shared->tail, 0);
    atomic_store(&f.shared->head, 64); /* ahead of the producer */
    char body[2000] = { 0 };
    assert_int_equal(put(&f.ring, body, sizeof(body)), RING_DONE);
    assert_int_equal(put(&f.ring, body, sizeof(body)), RING_DONE);
    atomic_store(&f.shared->head, 1u << 20);
    assert_int_equal(put(&f.ring, body, sizeof(body)), RING_BROKEN);
    fixture_release(&f);
}

static void heads_that_lie_break_the_ring(void **state)
{
    (void)state;
    static const struct {
        uint32_t len, kind;
        uint64_t tail;
    } lies[] = {
        { 0xffffffff, 1, 64 }, /* length past everything */
        { 100, 1, 64 },        /* longer than what was published */
        { 2048, 1, 4096 },     /* above the largest record */
        { 10, 3, 64 },         /* unknown kind */
        { 4096 - 8, 2, 4096 }, /* a pad at the start */
        { 10, 1, 8 },          /* a position in the middle of a line */
    };
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        struct fixture f;
        fixture_init(&f, 4096);
        memcpy(f.data, &lies[i], 8);
        atomic_store(&f.shared->tail, lies[i].tail);
        const void *data;
        size_t len;
        assert_int_equal(ring_peek(&f.ring, &data, &len), RING_BROKEN);
        fixture_release(&f);
    }
}

/* Whatever the peer writes, the bytes handed out lie inside of the ring: the sum reads them all. */
static void scribbled_memory_never_leads_outside(void **state)
{
    (void)state;
    uint32_t random = 7, handed_out = 0, sum = 0;
    for (int round = 0; round < 20000; round++) {
        struct fixture f;
        fixture_init(&f, 4096);
        for (int i = 0; i < 40; i++) {
            uint32_t at = random_step(&random) % 64 * 64, len = random_step(&random) % 2300;
            uint32_t lie[2] = { random_step(&random) % 16 ? len : random_step(&random),
                                1 + random_step(&random) % 2 };
            memcpy(f.data + at, lie, sizeof(lie));
        }
        for (int i = 0; i < 20; i++) {
            if (random_step(&random) % 4 == 0)
                atomic_store(&f.shared->head, random_step(&random) % 8192);
            if (random_step(&random) % 2)
                atomic_store(&f.shared->tail, random_step(&random) % 130 * 64);
            const void *data;
            size_t len;
            if (ring_peek(&f.ring, &data, &len) == RING_DONE) {
                for (size_t b = 0; b < len; b++)
                    sum += ((const uint8_t *)data)[b];
                ring_consume(&f.ring);
                handed_out++;
            }
            char body[600] = { 1 };
            (void)!put(&f.ring, body, random_step(&random) % sizeof(body));
        }
        fixture_release(&f);
    }
    assert_true(handed_out > 1000);
    assert_true(sum > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_become_one_record),
        cmocka_unit_test(a_peek_without_consume_shows_the_same_record_again),
        cmocka_unit_test(a_full_ring_says_no_and_takes_again_after_a_consume),
        cmocka_unit_test(the_largest_record_fits_wherever_the_empty_ring_stands),
        cmocka_unit_test(records_keep_order_and_bytes_around_the_end),
        cmocka_unit_test(small_traffic_stays_at_the_start_of_a_large_ring),
        cmocka_unit_test(a_position_beyond_the_ring_breaks_it),
        cmocka_unit_test(heads_that_lie_break_the_ring),
        cmocka_unit_test(scribbled_memory_never_leads_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
