/*
 * test_ask.c: requests without a process around them: bounds of lists, ids given again, cancelling
 * in the middle of a row, rows alone and in a batch; and the model's file.
 */
#include "some_model.h"

#include <math.h>
#include <unistd.h>

struct question { /* one or two rows */
    maas_named inputs[REC_INPUTS];
    int64_t shapes[REC_INPUTS][2];
    maas_option params[3];
    maas_request request;
};

static void question_init(struct question *q, uint32_t rows, int64_t k, bool similar)
{
    *q = (struct question){ .params = {
                                { .integer = k }, { .integer = similar }, { .integer = 1 } } };
    for (uint32_t i = 0; i < REC_INPUTS; i++) {
        q->shapes[i][0] = rows;
        q->inputs[i].tensor.ndim = i ? 2 : 1;
        q->inputs[i].tensor.shape = q->shapes[i];
    }
    q->request = (maas_request){ .size = sizeof(q->request),
                                 .rows = rows,
                                 .inputs = q->inputs,
                                 .params = q->params,
                                 .input_count = REC_INPUTS,
                                 .param_count = 3 };
}

static void give_list(struct question *q, uint32_t input, maas_str *names, int64_t width)
{
    q->inputs[input].tensor.data = names;
    q->shapes[input][1] = width;
}

/* The answer to row 0, of k; MAAS_OK or the error. */
static maas_status ask(const struct rec_model *m, const struct question *q, uint32_t row,
                       maas_str *names, float *scores, maas_error *error)
{
    struct rec_asking *a = NULL;
    maas_status status = rec_ask_start(&host, m, &q->request, &a, error);
    if (!status)
        status = rec_ask_row(a, row, names, scores, error);
    if (!status) {
        maas_str why[ITEMS * REC_BECAUSE_MAX];
        float weights[ITEMS * REC_BECAUSE_MAX];
        status = rec_ask_k(a) > ITEMS ? MAAS_OK : rec_ask_why(a, why, weights, error);
    }
    rec_ask_end(a);
    return status;
}

static void a_list_that_is_too_long_is_refused_by_its_name(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_ITEM_COSINE, 0, 0);
    maas_str *many = calloc(REC_LIST_MAX + 1, sizeof(*many)), names[3];
    const char *const fields[] = { "", "'items'", "'allow'", "'deny'" };
    float scores[3];
    for (uint32_t i = 0; i <= REC_LIST_MAX; i++)
        many[i] = (maas_str){ "a", 1 };
    for (uint32_t input = REC_ITEMS; input < REC_INPUTS; input++) {
        struct question q;
        maas_error error = MAAS_ERROR_INIT;
        question_init(&q, 1, 3, false);
        give_list(&q, input, many, REC_LIST_MAX);
        assert_int_equal(ask(&m, &q, 0, names, scores, &error), MAAS_OK);
        give_list(&q, input, many, REC_LIST_MAX + 1);
        assert_int_equal(ask(&m, &q, 0, names, scores, &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, fields[input]));
    }
    free(many);
    rec_release(&m);
}

static void an_id_that_is_given_again_counts_once(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_POPULARITY; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 3 : 0, 5);
        maas_str once[] = { { "a", 1 }, { "d", 1 } }, again[] = { { "a", 1 }, { "d", 1 },
                                                                  { "a", 1 }, { "?", 1 },
                                                                  { "d", 1 }, { "a", 1 } },
                 names[2][ITEMS];
        float scores[2][ITEMS];
        struct question q;
        maas_error error = MAAS_ERROR_INIT;
        for (int similar = 0; similar < 2; similar++) {
            question_init(&q, 1, ITEMS, similar);
            give_list(&q, REC_ITEMS, once, 2);
            assert_int_equal(ask(&m, &q, 0, names[0], scores[0], &error), MAAS_OK);
            give_list(&q, REC_ITEMS, again, 6);
            assert_int_equal(ask(&m, &q, 0, names[1], scores[1], &error), MAAS_OK);
            assert_memory_equal(scores[0], scores[1], sizeof(scores[0]));
            for (uint32_t i = 0; i < ITEMS; i++)
                assert_ptr_equal(names[0][i].data, names[1][i].data);
            give_list(&q, REC_ALLOW, again, 6); /* what is allowed is listed, so left out */
            assert_int_equal(ask(&m, &q, 0, names[1], scores[1], &error), MAAS_OK);
            assert_int_equal(names[1][0].len, 0);
        }
        rec_release(&m);
    }
}

static void a_row_has_the_same_bits_alone_and_behind_another(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_POPULARITY; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 3 : 0, 5);
        maas_str lists[] = { { "a", 1 }, { "b", 1 }, { "c", 1 }, { "h", 1 } };
        maas_str names[2][ITEMS];
        float alone[ITEMS], both[2][ITEMS];
        struct question q;
        struct rec_asking *a;
        maas_error error = MAAS_ERROR_INIT;
        question_init(&q, 1, ITEMS, false);
        give_list(&q, REC_ITEMS, lists + 2, 2);
        assert_int_equal(ask(&m, &q, 0, names[0], alone, &error), MAAS_OK);
        question_init(&q, 2, ITEMS, false);
        give_list(&q, REC_ITEMS, lists, 2);
        assert_int_equal(rec_ask_start(&host, &m, &q.request, &a, &error), MAAS_OK);
        for (uint32_t row = 0; row < 2; row++)
            assert_int_equal(rec_ask_row(a, row, names[row], both[row], &error), MAAS_OK);
        assert_memory_equal(alone, both[1], sizeof(alone));
        rec_ask_end(a);
        rec_release(&m);
    }
}

static struct rec_model wide_model(uint32_t items)
{
    uint32_t user = 0, item = 0;
    float value = 5;
    const struct rec_ratings r = { .user = &user, .item = &item, .value = &value, .count = 1 };
    struct rec_model m = { .method = REC_IALS,
                           .rank = 32,
                           .ridge = 1,
                           .most = 5,
                           .users = numbered(1),
                           .items = numbered(items) };
    assert_true(rec_rows_make(&m.by_user, &r, 1, false, NULL));
    learn(&m, 1);
    return m;
}

/* 100,000 items of rank 32 are 3.2 million operations, which is 16 looks. */
static void a_row_is_cancelled_in_its_middle(void **state)
{
    (void)state;
    struct rec_model m = wide_model(100000);
    maas_str list[] = { { "i7", 2 } }, names[10];
    float scores[10];
    struct question q;
    maas_error error = MAAS_ERROR_INIT;
    question_init(&q, 1, 10, false);
    give_list(&q, REC_ITEMS, list, 1);
    looks = 0;
    assert_int_equal(ask(&m, &q, 0, names, scores, &error), MAAS_OK);
    assert_in_range(looks, 16, 24);
    looks = 0;
    looks_max = 5;
    assert_int_equal(ask(&m, &q, 0, names, scores, &error), MAAS_E_CANCELLED);
    assert_int_equal(looks, 6);
    looks_max = UINT32_MAX;
    rec_release(&m);
}

/* ---- the file */

static size_t write_model(const struct rec_model *m, uint8_t *bytes, size_t room)
{
    char folder[] = "/tmp/test-recommender-XXXXXX", path[64];
    maas_error error = MAAS_ERROR_INIT;
    struct rec_model read;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/recommender.model", folder);
    assert_int_equal(rec_read(folder, &read, &error), MAAS_E_NOT_FOUND);
    assert_int_equal(rec_write(folder, m, &error), MAAS_OK);
    assert_int_equal(rec_read(folder, &read, &error), MAAS_OK);
    rec_release(&read);
    FILE *f = fopen(path, "rb");
    const size_t len = fread(bytes, 1, room, f);
    fclose(f);
    unlink(path);
    rmdir(folder);
    return len;
}

static maas_status parse(const uint8_t *bytes, size_t len)
{
    struct rec_model m;
    maas_error error = MAAS_ERROR_INIT;
    uint8_t *copy = malloc(len + 1); /* so that reading beyond it is seen */
    memcpy(copy, bytes, len);
    maas_status status = rec_parse(copy, len, &m, &error);
    rec_release(&m);
    free(copy);
    return status;
}

/* Every byte that is changed, and every length, is noticed. */
static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_POPULARITY; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 2 : 0, 2);
        uint8_t bytes[1 << 13];
        const size_t len = write_model(&m, bytes, sizeof(bytes));
        assert_int_equal(parse(bytes, len), MAAS_OK);
        for (size_t i = 0; i < len; i++) {
            assert_int_not_equal(parse(bytes, i), MAAS_OK);
            bytes[i] ^= 0x55;
            assert_int_not_equal(parse(bytes, len), MAAS_OK);
            bytes[i] ^= 0x55;
        }
        rec_release(&m);
    }
}

static void sign(uint8_t *bytes, size_t len)
{
    const uint64_t sum = checksum_of(bytes, len - 8);
    memcpy(bytes + len - 8, &sum, 8);
}

/* The last floats of the file: near of the cosines, of at most 1; factors. */
static void a_number_beyond_its_bounds_is_refused(void **state)
{
    (void)state;
    const float wrong[] = { NAN, INFINITY, -INFINITY, 2e15f };
    for (uint32_t method = REC_ALS; method <= REC_USER_COSINE; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 2 : 0, 2);
        uint8_t bytes[1 << 13];
        const size_t len = write_model(&m, bytes, sizeof(bytes));
        for (uint32_t i = 0; i < 4; i++) {
            memcpy(bytes + len - 12, &wrong[i], 4);
            sign(bytes, len);
            assert_int_equal(parse(bytes, len), MAAS_E_DATA_LOSS);
        }
        rec_release(&m);
    }
}

static size_t as_version_1(uint8_t *bytes, size_t len)
{
    memmove(bytes + 64, bytes + 96, len - 96);
    memcpy(bytes, "maasrec1", 8);
    sign(bytes, len - 32);
    return len - 32;
}

static void a_file_of_version_1_is_read_unless_it_lacks_neighbours(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_POPULARITY; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 2 : 0, 2), read;
        uint8_t bytes[1 << 13];
        const size_t len = as_version_1(bytes, write_model(&m, bytes, sizeof(bytes)));
        maas_error error = MAAS_ERROR_INIT;
        const maas_status status = rec_parse(bytes, len, &read, &error);
        if (m.neighbours) {
            assert_int_equal(status, MAAS_E_PRECONDITION);
        } else {
            assert_int_equal(status, MAAS_OK);
            assert_true(fabsf(read.bias_ridge - 3) < 1e-6f);
            assert_int_equal(read.rank, m.rank);
        }
        rec_release(&read);
        rec_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_is_too_long_is_refused_by_its_name),
        cmocka_unit_test(an_id_that_is_given_again_counts_once),
        cmocka_unit_test(a_row_has_the_same_bits_alone_and_behind_another),
        cmocka_unit_test(a_row_is_cancelled_in_its_middle),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(a_number_beyond_its_bounds_is_refused),
        cmocka_unit_test(a_file_of_version_1_is_read_unless_it_lacks_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
