/*
 * Bodies mutated at random, decoded on both surfaces: never a byte out of bounds (the sanitizers
 * watch), and what is accepted is sound. Bounded; the fuzz target goes on where this stops.
 */
#include "codec_test.h"

static const int64_t SHAPE[] = { -1, 3 }, ROWS[] = { -1 };
static const maas_str LABELS[] = { TEXT("age"), TEXT("rooms"), TEXT("area") };
static const maas_port INPUTS[] = {
    { TEXT("features"), FP64, 2, SHAPE, LABELS, 3, 0 },
    { TEXT("text"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 }
};
static const maas_port OUTPUT = { TEXT("y"), FP64, 1, ROWS, NULL, 0, 0 };

static const char *const SEEDS[] = {
    "{\"features\":[1,2.5,-3e2],\"model\":\"houses\"}",
    "{\"features\":[{\"age\":1,\"rooms\":2,\"area\":3},[4,5,6]]}",
    "{\"features\":{\"area\":3,\"age\":1,\"rooms\":2}}",
    "{\"id\":\"a\",\"parameters\":{\"k\":1,\"timeout\":true},\"outputs\":[{\"name\":\"y\"}],"
    "\"inputs\":[{\"name\":\"features\",\"shape\":[1,3],\"datatype\":\"FP64\",\"data\":[[1,2,3]]},"
    "{\"name\":\"text\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"\\u00e9\"]}]}",
};
static const char *const PIECES[] = {
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "1e308",
    "-0",
    "1e400",
    "\\u0000",
    "\\ud800",
    "\xff",
    "\"features\"",
    "\"age\"",
    "[[[[[[[[",
    "9223372036854775807",
    "18446744073709551616",
    "\"inputs\"",
    "\"data\"",
    "\"shape\"",
    "0",
};

static uint32_t random_step(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* One of: a byte changed, a range cut out, a piece put in, a range doubled. */
static size_t mutate(char *body, size_t len, size_t room, uint32_t *random)
{
    size_t at = len ? random_step(random) % len : 0;
    const char *piece = PIECES[random_step(random) % COUNT_OF(PIECES)];
    size_t size = strlen(piece);
    switch (random_step(random) % 4) {
    case 0:
        if (len)
            body[at] = (char)random_step(random);
        return len;
    case 1:
        size = len - at < 12 ? len - at : random_step(random) % 12;
        memmove(body + at, body + at + size, len - at - size);
        return len - size;
    case 2:
        if (len + size > room)
            return len;
        memmove(body + at + size, body + at, len - at);
        memcpy(body + at, piece, size);
        return len + size;
    default:
        size = (len - at) / 2;
        if (len + size > room)
            return len;
        memmove(body + at + size, body + at, len - at);
        return len + size;
    }
}

static void what_was_accepted_is_sound(const struct bench *b)
{
    assert_in_range(b->request.rows, 1, b->context.max_rows);
    for (uint32_t i = 0; i < b->request.input_count; i++) {
        const maas_tensor *t = &b->request.inputs[i].tensor;
        assert_int_equal(t->shape[0], b->request.rows);
        if (t->dtype.code == MAAS_HANDLE)
            continue;
        for (size_t k = 0; k < b->request.rows * 3; k++)
            assert_true(((const double *)t->data)[k] - ((const double *)t->data)[k] == 0);
    }
}

static void mutated_bodies_never_lead_out_of_bounds(void **state)
{
    (void)state;
    maas_signature signature = { .inputs = INPUTS, .outputs = &OUTPUT, .output_count = 1 };
    struct bench b;
    bench_init(&b, SURFACE_V2, &signature);
    uint32_t random = 20240607, accepted = 0;
    for (int turn = 0; turn < 150000; turn++) {
        char body[1024];
        const char *seed = SEEDS[random_step(&random) % COUNT_OF(SEEDS)];
        size_t len = strlen(seed);
        memcpy(body, seed, len);
        for (uint32_t n = random_step(&random) % 4; n > 0; n--)
            len = mutate(body, len, sizeof(body), &random);
        b.context.surface = turn % 2 ? SURFACE_V2 : SURFACE_REGRESSION;
        signature.input_count = turn % 2 ? 2 : 1;
        if (decode_text(&b, body, len) != MAAS_OK)
            continue;
        what_was_accepted_is_sound(&b);
        accepted++;
    }
    assert_in_range(accepted, 10000, 100000);
    bench_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutated_bodies_never_lead_out_of_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
