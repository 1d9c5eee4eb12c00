/*
 * test_recommender.c: the mathematics without the ABI: solving, folding in, cosines, reasons, the
 * best of many.
 */
#include "some_model.h"

#include <math.h>

static void cholesky_solves_what_it_was_given(void **state)
{
    (void)state;
    double a[] = { 4, 2, -2, 0, 10, 5, 0, 0, 9 }, b[3], x[] = { 1, -2, 3 };
    const double full[3][3] = { { 4, 2, -2 }, { 2, 10, 5 }, { -2, 5, 9 } };
    for (int i = 0; i < 3; i++)
        b[i] = full[i][0] * x[0] + full[i][1] * x[1] + full[i][2] * x[2];
    assert_true(rec_root(a, 3));
    rec_root_forward(a, b, 3);
    rec_root_backward(a, b, 3);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(b[i] - x[i]) < 1e-12);
    double wrong[] = { 1, 2, 0, 1 };
    assert_false(rec_root(wrong, 2)); /* not positive definite */
}

static struct rec_side side_of(const struct rec_model *m, double *space)
{
    return (struct rec_side){ .m = m,
                              .factors = m->item_factors,
                              .biases = m->item_bias,
                              .gram = m->gram,
                              .root = m->root,
                              .space = space };
}

/* The largest left side - right side of the equations of a user's vector. */
static double off_by(const struct rec_side *s, const struct rec_row *row, const float *x)
{
    const uint32_t n = s->m->rank;
    double a[32 * 32], most = 0;
    assert_true(rec_left_side(s, row, a));
    for (uint32_t i = 0; i < n; i++) {
        double left = 0;
        for (uint32_t j = 0; j < n; j++)
            left += a[i < j ? i * n + j : j * n + i] * (double)x[j];
        for (uint64_t e = 0; e < row->count; e++)
            left -= rec_target(s, row, e) * (double)s->factors[row->columns[e] * n + i];
        most = fmax(most, fabs(left));
    }
    return most;
}

/* All users of this model have more ratings than half of rank 3, and fewer than half of rank 16. */
static void few_ratings_are_solved_as_many_are(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_IALS; method++)
        for (uint32_t rank = 3; rank <= 16; rank += 13) {
            struct rec_model m = some_model(method, rank, 3);
            double space[REC_SOLVE_DOUBLES(16)];
            const struct rec_side side = side_of(&m, space);
            for (uint32_t u = 0; u < USERS; u++) {
                const struct rec_person who = rec_person_of(&m, u);
                assert_true(off_by(&side, &who.row, who.vector) < 1e-4);
            }
            rec_release(&m);
        }
}

/* Not only at rest: users are the last that a sweep solves. */
static void folding_in_a_user_gives_its_own_factors_and_bias(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_IALS; method++)
        for (uint32_t sweeps = 1; sweeps <= 201; sweeps += 200) {
            struct rec_model m = some_model(method, 3, sweeps);
            double space[REC_SOLVE_DOUBLES(3)];
            float vector[3];
            for (uint32_t u = 0; u < USERS; u++) {
                const struct rec_person own = rec_person_of(&m, u);
                struct rec_row row = own.row;
                row.bias = rec_fold_bias(&m, &row);
                assert_true(fabsf(row.bias - own.row.bias) < 1e-3f);
                assert_true(rec_fold(&m, &row, space, NULL, vector));
                for (uint32_t k = 0; k < 3; k++)
                    assert_true(fabsf(vector[k] - own.vector[k]) < 1e-3f);
            }
            rec_release(&m);
        }
}

static void reasons_add_up_to_the_score(void **state)
{
    (void)state;
    for (uint32_t method = REC_IALS; method <= REC_USER_COSINE; method++) {
        struct rec_model m = some_model(method, method == REC_IALS ? 3 : 0, 20);
        double space[REC_SOLVE_DOUBLES(3)];
        float scores[ITEMS], parts[ITEMS];
        const struct rec_person who = rec_person_of(&m, 1);
        assert_true(rec_scores(&m, &who, scores, NULL));
        assert_true(rec_because_start(&m, &who, space, NULL));
        for (uint32_t i = 0; i < ITEMS; i++) {
            float sum = 0;
            assert_true(rec_because(&m, &who, i, space, parts, NULL));
            for (uint32_t k = 0; k < who.row.count; k++)
                sum += parts[k];
            assert_true(fabsf(sum - scores[i]) < 1e-4f);
        }
        rec_release(&m);
    }
}

/* ---- neighbours */

static double rating(const struct rec_model *m, bool items, uint32_t row, uint32_t column)
{
    const float *found = rec_rows_find(items ? &m->by_item : &m->by_user, row, column);
    return found ? (double)*found : 0;
}

/* By the definition, over all columns. */
static double similarity(const struct rec_model *m, bool items, uint32_t a, uint32_t b)
{
    double ab = 0, aa = 0, bb = 0, common = 0;
    for (uint32_t c = 0; c < (items ? USERS : ITEMS); c++) {
        const double x = rating(m, items, a, c), y = rating(m, items, b, c);
        ab += x * y;
        aa += x * x;
        bb += y * y;
        common += x * y > 0;
    }
    return ab / sqrt(aa * bb) * common / (common + (double)m->shrink);
}

static void the_nearest_are_kept_as_the_definition_says(void **state)
{
    (void)state;
    for (uint32_t method = REC_ITEM_COSINE; method <= REC_USER_COSINE; method++) {
        struct rec_model m = some_model(method, 0, 0);
        const bool items = method == REC_ITEM_COSINE;
        const uint32_t count = items ? ITEMS : USERS;
        for (uint32_t a = 0; a < count; a++) {
            uint32_t better = 0;
            double least = 2;
            for (uint64_t k = m.near.from[a]; k < m.near.from[a + 1]; k++) {
                const double near = similarity(&m, items, a, m.near.column[k]);
                assert_true(fabs(near - (double)m.near.value[k]) < 1e-6);
                least = fmin(least, near);
            }
            for (uint32_t b = 0; b < count; b++)
                better += b != a && similarity(&m, items, a, b) > least + 1e-6;
            assert_int_equal(m.near.from[a + 1] - m.near.from[a], 4);
            assert_true(better < 4);
        }
        rec_release(&m);
    }
}

static void scores_of_items_are_sums_over_kept_neighbours(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_ITEM_COSINE, 0, 0);
    const struct rec_person who = rec_person_of(&m, 0);
    float scores[ITEMS];
    assert_true(rec_scores(&m, &who, scores, NULL));
    for (uint32_t i = 0; i < ITEMS; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < ITEMS; j++)
            if (rec_rows_find(&m.near, j, i))
                sum += rating(&m, false, 0, j) * similarity(&m, true, j, i);
        assert_true(fabs(sum - (double)scores[i]) < 1e-4);
    }
    rec_release(&m);
}

static void somebody_new_with_a_users_ratings_has_its_neighbours(void **state)
{
    (void)state;
    struct rec_model m = some_model(REC_USER_COSINE, 0, 0);
    struct rec_meeting meeting;
    struct rec_scored best[4];
    void *space = calloc(1, rec_meeting_bytes(USERS));
    rec_meeting_place(&meeting, space, USERS);
    for (uint32_t u = 0; u < USERS; u++) {
        const struct rec_person own = rec_person_of(&m, u);
        struct rec_top top = { .best = best, .most = 4 };
        assert_true(rec_find_neighbours(&m, &own.row, u, &meeting, &top, NULL));
        assert_int_equal(top.count, own.near_count);
        for (uint32_t i = 0; i < top.count; i++) {
            assert_int_equal(best[i].index, own.near[i]);
            assert_true(fabsf(best[i].score - own.nearness[i]) < 1e-6f);
        }
    }
    free(space);
    rec_release(&m);
}

static void similar_to_several_is_the_mean_of_similar_to_each(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_POPULARITY; method++) {
        struct rec_model m = some_model(method, method <= REC_IALS ? 3 : 0, 5);
        struct rec_meeting meeting;
        const uint32_t two[] = { 2, 5 };
        float both[ITEMS], one[ITEMS], other[ITEMS];
        void *space = calloc(1, rec_meeting_bytes(USERS));
        rec_meeting_place(&meeting, space, USERS);
        assert_true(rec_similar(&m, two, 2, both, &meeting, NULL));
        assert_true(rec_similar(&m, two, 1, one, &meeting, NULL));
        assert_true(rec_similar(&m, two + 1, 1, other, &meeting, NULL));
        for (uint32_t i = 0; i < ITEMS; i++) {
            assert_true(fabsf(both[i] - (one[i] + other[i]) / 2) < 1e-6f);
            assert_true(fabsf(both[i]) < 1.0001f);
        }
        free(space);
        rec_release(&m);
    }
}

/* ---- the best of many */

static bool is_before(const float *scores, const float *popularity, uint32_t a, uint32_t b)
{
    if (scores[a] != scores[b])
        return scores[a] > scores[b];
    return popularity[a] != popularity[b] ? popularity[a] > popularity[b] : a < b;
}

/* Few different scores, so nearly all are equals. */
static void the_best_are_those_of_a_full_sort(void **state)
{
    enum { MANY = 500 };
    (void)state;
    float scores[MANY], popularity[MANY];
    struct rec_scored best[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        scores[i] = (float)(i * 7919 % 13);
        popularity[i] = (float)(i * 104729 % 5);
    }
    for (uint32_t k = 0; k <= MANY; k += 1 + k / 3) {
        struct rec_top top = { .best = best, .most = k, .popularity = popularity };
        for (uint32_t i = 0; i < MANY; i++)
            rec_top_offer(&top, i * 3 % MANY, scores[i * 3 % MANY]);
        rec_top_sort(&top);
        assert_int_equal(top.count, k);
        for (uint32_t r = 0; r < k; r++) {
            uint32_t before = 0;
            for (uint32_t i = 0; i < MANY; i++)
                before += is_before(scores, popularity, i, best[r].index);
            assert_int_equal(before, r);
        }
    }
}

/* ---- cancelling */

static void learning_ends_soon_after_it_was_cancelled(void **state)
{
    (void)state;
    for (uint32_t method = REC_ALS; method <= REC_IALS; method++) {
        struct rec_model m = some_model(method, 16, 1);
        struct rec_work work = { .host = &host, .request = &job };
        const struct rec_learning how = { .sweeps = 1000000, .random = 1 };
        maas_error error = MAAS_ERROR_INIT;
        free(m.user_factors);
        free(m.item_factors);
        free(m.gram);
        free(m.root);
        m.gram = m.root = NULL;
        looks = 0;
        looks_max = 3;
        assert_int_equal(rec_learn_factors(&m, &how, &work, &error), MAAS_E_CANCELLED);
        assert_in_range(looks, 4, 6);
        looks_max = UINT32_MAX;
        rec_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cholesky_solves_what_it_was_given),
        cmocka_unit_test(few_ratings_are_solved_as_many_are),
        cmocka_unit_test(folding_in_a_user_gives_its_own_factors_and_bias),
        cmocka_unit_test(reasons_add_up_to_the_score),
        cmocka_unit_test(the_nearest_are_kept_as_the_definition_says),
        cmocka_unit_test(scores_of_items_are_sums_over_kept_neighbours),
        cmocka_unit_test(somebody_new_with_a_users_ratings_has_its_neighbours),
        cmocka_unit_test(similar_to_several_is_the_mean_of_similar_to_each),
        cmocka_unit_test(the_best_are_those_of_a_full_sort),
        cmocka_unit_test(learning_ends_soon_after_it_was_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
