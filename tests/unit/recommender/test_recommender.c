/*
 * test_recommender.c: the mathematics without the ABI: solving, folding in, cosines, damaged files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <math.h>

#include "equations.h"
#include "recommender.h"

static maas_status emit(const maas_host *host, const maas_request *request, const maas_named *out,
                        uint32_t count)
{
    (void)host;
    (void)request;
    (void)out;
    (void)count;
    return MAAS_OK;
}

static int32_t cancelled(const maas_host *host, const maas_request *request)
{
    (void)host;
    (void)request;
    return 0;
}

static const maas_host host = { .size = sizeof(maas_host), .emit = emit, .cancelled = cancelled };
static const maas_request job = { .size = sizeof(maas_request) };

enum { USERS = 12, ITEMS = 9 };

static struct rec_names numbered(uint32_t count)
{
    struct rec_names n = { .count = count,
                           .from = calloc(count + 1, sizeof(uint64_t)),
                           .text = calloc(count, 1) };
    for (uint32_t i = 0; i < count; i++) {
        n.text[i] = (char)('a' + i);
        n.from[i + 1] = i + 1;
    }
    assert_true(rec_names_sort(&n));
    return n;
}

/* Every third pair has a rating of 1 to 5. */
static struct rec_model some_model(uint32_t method, uint32_t rank, float ridge)
{
    uint32_t user[USERS * ITEMS], item[USERS * ITEMS];
    float value[USERS * ITEMS];
    struct rec_ratings r = { .user = user, .item = item, .value = value };
    for (uint32_t u = 0; u < USERS; u++)
        for (uint32_t i = 0; i < ITEMS; i++)
            if ((u * 7 + i * 5) % 3 == 0) {
                user[r.count] = u;
                item[r.count] = i;
                value[r.count++] = (float)(1 + (u * i + u + 2 * i) % 5);
            }
    struct rec_model m = { .method = method,
                           .rank = rank,
                           .ridge = ridge,
                           .alpha = 2,
                           .bias_ridge = 3,
                           .most = 5,
                           .mean = 3,
                           .users = numbered(USERS),
                           .items = numbered(ITEMS) };
    const struct rec_learning how = { .sweeps = 20, .random = 1 };
    maas_error error = MAAS_ERROR_INIT;
    assert_true(rec_rows_make(&m.by_user, &r, USERS, false) &&
                rec_rows_make(&m.by_item, &r, ITEMS, true));
    if (rank)
        assert_int_equal(rec_learn(&m, &how, &host, &job, &error), MAAS_OK);
    assert_true(rec_complete(&m));
    return m;
}

static void cholesky_solves_what_it_was_given(void **state)
{
    (void)state;
    double a[] = { 4, 2, -2, 0, 10, 5, 0, 0, 9 }, b[3], x[] = { 1, -2, 3 };
    const double full[3][3] = { { 4, 2, -2 }, { 2, 10, 5 }, { -2, 5, 9 } };
    for (int i = 0; i < 3; i++)
        b[i] = full[i][0] * x[0] + full[i][1] * x[1] + full[i][2] * x[2];
    assert_true(equations_solve(a, b, 3));
    for (int i = 0; i < 3; i++)
        assert_true(fabs(b[i] - x[i]) < 1e-12);
    double wrong[] = { 1, 2, 0, 1 };
    assert_false(equations_solve(wrong, b, 2)); /* not positive definite */
}

/* For any number of entries, and with weights: the sums of the definition. */
static void outer_products_are_summed(void **state)
{
    (void)state;
    enum { N = 5, ENTRIES = 11 };
    static const uint32_t columns[ENTRIES] = { 3, 0, 2, 2, 1, 0, 3, 1, 1, 2, 0 };
    float factors[4 * N], weights[ENTRIES];
    for (int i = 0; i < 4 * N; i++)
        factors[i] = (float)((i * 7) % 11 - 5) / 4;
    for (int i = 0; i < ENTRIES; i++)
        weights[i] = (float)(i + 1) / 2;
    for (uint32_t count = 0; count <= ENTRIES; count++) {
        double a[N * N] = { 0 };
        equations_add(a, factors, columns, weights, count, N);
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t j = i; j < N; j++) {
                double sum = 0;
                for (uint32_t e = 0; e < count; e++)
                    sum += (double)(weights[e] * factors[columns[e] * N + i] *
                                    factors[columns[e] * N + j]);
                assert_true(fabs(sum - a[i * N + j]) < 1e-5);
            }
    }
}

static void folding_in_a_user_gives_its_own_factors(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_IALS; method++) {
        struct rec_model m = some_model(method, 3, 0.5f);
        double work[64];
        float vector[3], bias;
        assert_true(rec_work(3, ITEMS) <= 64);
        for (uint32_t u = 0; u < USERS; u++) {
            const struct rec_person who = rec_person_of(&m, u);
            assert_true(rec_fold(&m, who.items, who.values, who.count, work, vector, &bias));
            assert_true(bias == who.bias);
            for (uint32_t k = 0; k < 3; k++)
                assert_true(fabsf(vector[k] - who.vector[k]) < 1e-5f);
        }
        rec_release(&m);
    }
}

/* ---- lists */

static const float *compared, *rarer;

static int by_score(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (compared[x] != compared[y])
        return compared[x] > compared[y] ? -1 : 1;
    if (rarer[x] != rarer[y])
        return rarer[x] > rarer[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static void the_best_are_those_of_a_sort(void **state)
{
    (void)state;
    enum { MANY = 500 };
    float scores[MANY], popularity[MANY];
    uint32_t order[MANY], best[MANY];
    const struct rec_model m = { .items = { .count = MANY }, .popularity = popularity };
    uint32_t draw = 1, good = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        draw = draw * 1664525u + 1013904223u;
        scores[i] = draw >> 28 == 3 ? -HUGE_VALF : (float)(draw >> 27);
        popularity[i] = (float)(draw >> 20 & 3);
        order[i] = i;
        good += scores[i] > -HUGE_VALF;
    }
    compared = scores;
    rarer = popularity;
    qsort(order, MANY, sizeof(*order), by_score);
    for (uint32_t k = 0; k <= MANY; k += k < 20 ? 1 : 60) {
        assert_int_equal(rec_top(&m, scores, k, best), k < good ? k : good);
        assert_memory_equal(best, order, (k < good ? k : good) * sizeof(*best));
    }
}

static void reasons_add_up_to_the_score(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_IALS, 3, 0.5f);
    double work[64];
    float vector[3], bias, scores[ITEMS], parts[ITEMS];
    const uint64_t from = m.by_user.from[1];
    struct rec_person who = { m.by_user.column + from, m.by_user.value + from,
                              (uint32_t)(m.by_user.from[2] - from), vector, 0 };
    assert_true(rec_fold(&m, who.items, who.values, who.count, work, vector, &bias));
    rec_scores(&m, &who, scores, NULL);
    for (uint32_t i = 0; i < ITEMS; i++) {
        float sum = 0;
        rec_because(&m, &who, i, work, parts);
        for (uint32_t k = 0; k < who.count; k++)
            sum += parts[k];
        assert_true(fabsf(sum - scores[i]) < 1e-4f);
    }
    rec_release(&m);
}

static double rating(const struct rec_model *m, uint32_t u, uint32_t i)
{
    for (uint64_t k = m->by_user.from[u]; k < m->by_user.from[u + 1]; k++)
        if (m->by_user.column[k] == i)
            return (double)m->by_user.value[k];
    return 0;
}

static double cosine(const struct rec_model *m, uint32_t a, uint32_t b)
{
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t u = 0; u < USERS; u++) {
        ab += rating(m, u, a) * rating(m, u, b);
        aa += rating(m, u, a) * rating(m, u, a);
        bb += rating(m, u, b) * rating(m, u, b);
    }
    return ab / sqrt(aa * bb);
}

static void neighbours_are_those_of_the_definition(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_ITEM_COSINE, 0, 1);
    float scores[ITEMS], space[USERS];
    const uint64_t from = m.by_user.from[0];
    const struct rec_person who = { m.by_user.column + from, m.by_user.value + from,
                                    (uint32_t)m.by_user.from[1], NULL, 0 };
    rec_scores(&m, &who, scores, space);
    for (uint32_t i = 0; i < ITEMS; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < ITEMS; j++)
            sum += rating(&m, 0, j) * cosine(&m, i, j);
        assert_true(fabs(sum - (double)scores[i]) < 1e-4);
        assert_true(fabs(cosine(&m, 0, i) - (double)rec_overlap(&m, 0, i)) < 1e-5);
    }
    rec_release(&m);
}

/* What neighbours leave beside the baselines moves a guess: none does where a user has rated
 * nothing alike. */
static void neighbours_guess_around_the_baseline(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_ITEM_COSINE, 0, 1);
    for (uint32_t u = 0; u < USERS; u++)
        for (uint32_t i = 0; i < ITEMS; i++) {
            const double base = (double)(m.mean + m.user_bias[u] + m.item_bias[i]);
            double sum = 0, weights = 1;
            for (uint32_t j = 0; j < ITEMS; j++) {
                if (rating(&m, u, j) == 0)
                    continue;
                sum += cosine(&m, i, j) *
                       (rating(&m, u, j) - (double)(m.mean + m.user_bias[u] + m.item_bias[j]));
                weights += fabs(cosine(&m, i, j));
            }
            assert_true(fabs(base + sum / weights - (double)rec_predict(&m, u, i)) < 1e-4);
        }
    rec_release(&m);
}

/* A file of the first version: its head had no bias_ridge. */
static void a_file_of_the_first_version_is_read(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_IALS, 2, 1), read;
    char folder[] = "/tmp/test-recommender-XXXXXX", path[64];
    maas_error error = MAAS_ERROR_INIT;
    uint8_t bytes[1 << 14];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/recommender.model", folder);
    assert_int_equal(rec_write(folder, &m, &error), MAAS_OK);
    FILE *f = fopen(path, "rb");
    size_t len = fread(bytes, 1, sizeof(bytes), f) - 8;
    fclose(f);
    memcpy(bytes, "maasrec1", 8);
    memmove(bytes + 64, bytes + 72, len - 72);
    const uint64_t sum = rec_sum(bytes, len -= 8);
    memcpy(bytes + len, &sum, 8);
    assert_int_equal(rec_parse(bytes, len + 8, &read, &error), MAAS_OK);
    assert_memory_equal(read.user_factors, m.user_factors, USERS * 2 * sizeof(float));
    assert_true(read.bias_ridge == 2);
    rec_release(&read);
    rec_release(&m);
    unlink(path);
    rmdir(folder);
}

/* Every byte that is changed, and every length, is noticed. */
static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_ALS, 2, 1), read;
    char folder[] = "/tmp/test-recommender-XXXXXX", path[64];
    maas_error error = MAAS_ERROR_INIT;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/recommender.model", folder);
    assert_int_equal(rec_write(folder, &m, &error), MAAS_OK);
    assert_int_equal(rec_read(folder, &read, &error), MAAS_OK);
    assert_memory_equal(read.item_factors, m.item_factors, ITEMS * 2 * sizeof(float));
    rec_release(&read);
    FILE *f = fopen(path, "rb");
    uint8_t bytes[1 << 14];
    const size_t len = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    for (size_t i = 0; i < 2 * len; i++) {
        f = fopen(path, "wb");
        bytes[i % len] ^= i < len ? 0x55 : 0;
        fwrite(bytes, 1, i < len ? len : i - len, f);
        fclose(f);
        bytes[i % len] ^= i < len ? 0x55 : 0;
        assert_int_not_equal(rec_read(folder, &read, &error), MAAS_OK);
    }
    unlink(path);
    rmdir(folder);
    rec_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cholesky_solves_what_it_was_given),
        cmocka_unit_test(outer_products_are_summed),
        cmocka_unit_test(the_best_are_those_of_a_sort),
        cmocka_unit_test(folding_in_a_user_gives_its_own_factors),
        cmocka_unit_test(reasons_add_up_to_the_score),
        cmocka_unit_test(neighbours_are_those_of_the_definition),
        cmocka_unit_test(neighbours_guess_around_the_baseline),
        cmocka_unit_test(a_file_of_the_first_version_is_read),
        cmocka_unit_test(a_damaged_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
