/*
 * test_evaluation.c: metrics against those of scikit-learn 1.2 on the same numbers (accuracy_score,
 * precision_score, recall_score, f1_score, log_loss, roc_auc_score, ndcg_score …).
 */
#include "evaluation/evaluation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

static void near(double have, double want)
{
    if (!(fabs(have - want) <= 2e-7))
        fail_msg("%.12g, wanted %.12g", have, want);
}

static void three_classes_as_scikit_learn(void **state)
{
    (void)state;
    static const uint32_t truth[] = { 0, 1, 2, 2, 1, 0, 1, 2, 0, 1 };
    static const float scores[][3] = { { .7f, .2f, .1f }, { .3f, .4f, .3f }, { .1f, .2f, .7f },
                                       { .4f, .3f, .3f }, { .2f, .5f, .3f }, { .25f, .5f, .25f },
                                       { .2f, .3f, .5f }, { .1f, .3f, .6f }, { .5f, .3f, .2f },
                                       { .3f, .4f, .3f } };
    struct classification *c = NULL;
    struct classification_metrics m;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(classification_new(3, &c, &error), MAAS_OK);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(classification_add(c, scores[i], truth[i], &error), MAAS_OK);
    assert_int_equal(classification_add(c, scores[0], 3, &error), MAAS_E_INTERNAL);
    classification_metrics(c, &m);
    assert_int_equal(m.rows, 10);
    near(m.accuracy, 0.7);
    near(m.precision_macro, 0.6944444444444443);
    near(m.recall_macro, 0.6944444444444443);
    near(m.f1_macro, 0.6944444444444443);
    near(m.f1_micro, 0.7);
    near(m.log_loss, 0.8237291306283419);
    near(m.roc_auc, 0.8432539682539683);
    assert_int_equal(classification_confusion(c, 2, 0), 1);
    assert_int_equal(classification_confusion(c, 1, 1), 3);
    classification_free(c);
}

static void two_classes_with_ties_as_scikit_learn(void **state)
{
    (void)state;
    static const uint32_t truth[] = { 0, 0, 1, 1, 0, 1, 1, 0 };
    static const float second[] = { .1f, .4f, .35f, .8f, .4f, .4f, .9f, .2f };
    struct classification *c = NULL;
    struct classification_metrics m;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(classification_new(2, &c, &error), MAAS_OK);
    for (size_t i = 0; i < 8; i++) {
        const float scores[] = { 1 - second[i], second[i] };
        assert_int_equal(classification_add(c, scores, truth[i], &error), MAAS_OK);
    }
    classification_metrics(c, &m);
    near(m.accuracy, 0.75);
    near(m.precision_macro, 0.8333333333333333);
    near(m.recall_macro, 0.75);
    near(m.f1_macro, 0.7333333333333334);
    near(m.log_loss, 0.45559652973111076);
    near(m.roc_auc, 0.8125);
    classification_free(c);
}

static void one_class_alone_has_no_curve(void **state)
{
    (void)state;
    static const float scores[] = { 1, 0 };
    struct classification *c = NULL;
    struct classification_metrics m;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(classification_new(2, &c, &error), MAAS_OK);
    for (int i = 0; i < 3000; i++) /* grows */
        assert_int_equal(classification_add(c, scores, 0, &error), MAAS_OK);
    classification_metrics(c, &m);
    assert_true(isnan(m.roc_auc));
    near(m.accuracy, 1);
    near(m.f1_macro, 1); /* the other class is nowhere */
    classification_free(c);
    assert_int_equal(classification_new(1, &c, &error), MAAS_E_INVALID);
    assert_int_equal(classification_new(5000, &c, &error), MAAS_E_INVALID);
}

static void errors_of_numbers_as_scikit_learn(void **state)
{
    (void)state;
    static const double truth[] = { 3, -.5, 2, 7.25 }, predicted[] = { 2.5, 0, 2, 8 };
    struct regression r = { 0 };
    for (size_t i = 0; i < 4; i++)
        regression_add(&r, predicted[i], truth[i]);
    near(r.squares / 4, 0.265625);
    near(r.absolutes / 4, 0.4375);
    near(1 - r.squares / r.spread, 0.9660509236145781);
}

static void a_large_mean_does_not_cancel_the_spread(void **state)
{
    (void)state;
    struct regression r = { 0 };
    for (int i = 0; i < 1000; i++)
        regression_add(&r, 0, 1e9 + i % 2);
    near(r.spread / 1000, 0.25);
}

static void lists_as_scikit_learn_and_by_hand(void **state)
{
    (void)state;
    static const unsigned char hit[] = { 1, 0, 1, 1 }, none[] = { 0, 0, 0, 0 };
    struct ranking r = { 0 };
    ranking_add(&r, hit, 4, 4);
    near(r.ndcg, 0.75369761125927);
    near(r.precision, 0.75);
    near(r.recall, 0.75);
    near(r.map, (1 + 2.0 / 3 + 3.0 / 4) / 4);
    ranking_add(&r, none, 4, 2);
    near(r.ndcg, 0.75369761125927);
    assert_int_equal(r.users, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_classes_as_scikit_learn),
        cmocka_unit_test(two_classes_with_ties_as_scikit_learn),
        cmocka_unit_test(one_class_alone_has_no_curve),
        cmocka_unit_test(errors_of_numbers_as_scikit_learn),
        cmocka_unit_test(a_large_mean_does_not_cancel_the_spread),
        cmocka_unit_test(lists_as_scikit_learn_and_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
