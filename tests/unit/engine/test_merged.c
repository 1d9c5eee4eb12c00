/*
 * Requests merged into one call, below the worker: checks alone, likeness, rows gathered and shown
 * member by member, and what a merged call cannot do.
 */
#include "engine_test.h"

#include "faulty.h"

#define COUNT 5u

static struct engine_plugin *plugin;
static struct engine_model *model;
static struct engine_job *job;

static int set_up(void **state)
{
    (void)state;
    plugin = plugin_or_fail(PLUGINS "maas.faulty.so");
    model = model_or_fail(plugin, "/", "concurrency", "1");
    job = job_or_fail((size_t)4 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    engine_job_reset(job);
    return 0;
}

static struct engine_checked check_with(const double *values, uint32_t rows,
                                        struct engine_option *scale)
{
    struct engine_checked checked;
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_request request = features_request(job, values, rows, 1);
    request.params = scale;
    request.param_count = scale != NULL;
    if (engine_check(model, job, &request, &checked, &param, &error))
        fail_msg("%s", error.text);
    return checked;
}

static maas_status merged(const struct engine_checked *checked, uint32_t count, maas_error *error)
{
    const struct engine_request call = { 0 };
    return engine_infer_merged(model, job, checked, count, &call, error);
}

static void each_member_sees_its_own_rows(void **state)
{
    (void)state;
    double values[COUNT * (COUNT + 1) / 2];
    struct engine_checked checked[COUNT];
    maas_error error = MAAS_ERROR_INIT;
    for (size_t i = 0; i < COUNT_OF(values); i++)
        values[i] = -1.5 - (double)i;
    for (uint32_t i = 0, at = 0; i < COUNT; at += ++i)
        checked[i] = check_with(values + at, i + 1, NULL);
    assert_int_equal(merged(checked, COUNT, &error), MAAS_OK);
    for (uint32_t i = 0, at = 0; i < COUNT; at += ++i) {
        uint32_t count;
        engine_job_next_rows(job, i + 1);
        const maas_named *out = engine_job_outputs(job, &count);
        assert_int_equal(count, 1);
        assert_int_equal(out[0].tensor.shape[0], i + 1);
        assert_memory_equal(out[0].tensor.data, values + at, (i + 1) * sizeof(double));
    }
}

static void parameters_decide_who_is_alike(void **state)
{
    (void)state;
    static const double value = -1;
    struct engine_option two = { STR("scale"), STR("2") }, same = { STR("scale"), STR("2.0") };
    struct engine_option one = { STR("scale"), STR("1") }, zero = { STR("scale"), STR("0") },
                         minus = { STR("scale"), STR("-0") };
    struct engine_checked plain = check_with(&value, 1, NULL),
                          doubled = check_with(&value, 1, &two),
                          again = check_with(&value, 1, &same), given = check_with(&value, 1, &one),
                          nought = check_with(&value, 1, &zero),
                          negative = check_with(&value, 1, &minus);
    assert_true(engine_alike(&plain, &given) && engine_alike(&doubled, &again));
    assert_int_equal(engine_likeness(&plain), engine_likeness(&given));
    assert_int_equal(engine_likeness(&doubled), engine_likeness(&again));
    assert_false(engine_alike(&plain, &doubled));
    assert_false(engine_alike(&nought, &negative)); /* to the bit */
    assert_int_not_equal(engine_likeness(&plain), engine_likeness(&doubled));
}

static void a_check_names_what_is_wrong_and_validates(void **state)
{
    (void)state;
    static const double good[] = { -1, -2 }, bad = FAULTY_INVALID;
    struct engine_checked checked;
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_request request = features_request(job, good, 1, 2);
    assert_int_equal(engine_check(model, job, &request, &checked, &param, &error), MAAS_E_INVALID);
    assert_true(str_eq(param, STR("features")));
    request = features_request(job, &bad, 1, 1);
    assert_int_equal(engine_check(model, job, &request, &checked, &param, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "row 0 means nothing");
    struct engine_checked next = check_with(good, 2, NULL); /* the check's slot is free again */
    assert_int_equal(merged(&next, 1, &error), MAAS_OK);
    assert_memory_equal(output_values(job, 0), good, sizeof(good));
}

static void a_call_that_fails_tells_why_and_leaves_the_job_usable(void **state)
{
    (void)state;
    static const double wrong = FAULTY_WRONG_SHAPE, good = -7;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_checked checked[] = { check_with(&wrong, 1, NULL), check_with(&good, 1, NULL) };
    assert_int_equal(merged(checked, 2, &error), MAAS_E_INTERNAL);
    assert_string_equal(error.text, "'prediction' must have 2 rows, not 3");
    assert_int_equal(merged(&checked[1], 1, &error), MAAS_OK);
    assert_true(output_values(job, 0)[0] == -7);
}

static void rows_that_find_no_memory_together_are_refused(void **state)
{
    (void)state;
    static double values[2048];
    struct engine_job *large = job;
    struct engine_checked checked[3];
    maas_error error = MAAS_ERROR_INIT;
    values[0] = -1;
    job = job_or_fail(80 << 10); /* holds three times 16 KiB once, not twice */
    for (int i = 0; i < 3; i++)
        checked[i] = check_with(values, 2048, NULL);
    assert_int_equal(merged(checked, 3, &error), MAAS_E_EXHAUSTED);
    assert_string_equal(error.text, "no memory for the rows of 3 requests");
    engine_job_free(job);
    job = large;
}

static void signatures_say_whether_requests_merge(void **state)
{
    (void)state;
    uint32_t rows;
    assert_true(engine_merges(model, &rows));
    assert_int_equal(rows, 4096);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, fresh)
    const struct CMUnitTest tests[] = {
        CASE(each_member_sees_its_own_rows),
        CASE(parameters_decide_who_is_alike),
        CASE(a_check_names_what_is_wrong_and_validates),
        CASE(a_call_that_fails_tells_why_and_leaves_the_job_usable),
        CASE(rows_that_find_no_memory_together_are_refused),
        CASE(signatures_say_whether_requests_merge),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
