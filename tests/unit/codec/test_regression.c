/* POST /v1/regression: every form of "features", every refusal, the answer. */
#include "codec_test.h"

#include <math.h>

static const int64_t SHAPE[] = { -1, 3 };
static const maas_str LABELS[] = { TEXT("age"), TEXT("rooms"), TEXT("area") };
static const maas_port NAMED = { TEXT("features"), FP64, 2, SHAPE, LABELS, 3, 0 };
static const maas_port NAMELESS = { TEXT("features"), FP64, 2, SHAPE, NULL, 0, 0 };
static const maas_port FLOATS = { TEXT("features"), { MAAS_FLOAT, 32, 1 }, 2, SHAPE, NULL, 0, 0 };
static maas_signature signature;
static struct bench bench;

static int set_up(void **state)
{
    (void)state;
    signature = (maas_signature){
        .size = sizeof(signature), .inputs = &NAMED, .input_count = 1, .task = "regression"
    };
    bench_init(&bench, SURFACE_REGRESSION, &signature);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bench_release(&bench);
    return 0;
}

static void rows_are(uint32_t rows, const double *wanted)
{
    assert_int_equal(bench.request.rows, rows);
    assert_int_equal(bench.request.input_count, 1);
    const maas_tensor *t = &bench.request.inputs[0].tensor;
    assert_int_equal(t->shape[0], rows);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_memory_equal(t->data, wanted, rows * 3 * sizeof(double));
}

static void a_list_of_numbers_is_one_row(void **state)
{
    (void)state;
    accept(&bench, "{\"features\": [1, 2.5, -3e2]}");
    rows_are(1, (double[]){ 1, 2.5, -300 });
    assert_true(bench.context.single);
}

static void lists_of_lists_are_rows(void **state)
{
    (void)state;
    accept(&bench, "{\"features\": [[1,2,3],[4,5,6]]}");
    rows_are(2, (double[]){ 1, 2, 3, 4, 5, 6 });
    assert_false(bench.context.single);
    accept(&bench, "{\"features\": [[1,2,3]]}");
    rows_are(1, (double[]){ 1, 2, 3 });
    assert_false(bench.context.single);
}

static void named_features_are_put_in_the_models_order(void **state)
{
    (void)state;
    accept(&bench, "{\"features\": {\"area\": 3, \"age\": 1, \"rooms\": 2}}");
    rows_are(1, (double[]){ 1, 2, 3 });
    assert_true(bench.context.single);
    accept(&bench, "{\"features\": [{\"age\":1,\"rooms\":2,\"area\":3},[4,5,6],"
                   "{\"rooms\":8,\"area\":9,\"age\":7}]}");
    rows_are(3, (double[]){ 1, 2, 3, 4, 5, 6, 7, 8, 9 });
}

static void the_model_member_must_be_the_one_of_the_route(void **state)
{
    (void)state;
    accept(&bench, "{\"model\": \"houses\", \"features\": [1,2,3]}");
    refuse(&bench, "{\"model\": \"boats\", \"features\": [1,2,3]}", "model", "went to 'houses'");
    refuse(&bench, "{\"model\": 7, \"features\": [1,2,3]}", "model", "must be a string");
}

static void unknown_and_double_members_are_named(void **state)
{
    (void)state;
    refuse(&bench, "{\"feature\": [1,2,3]}", "feature", "unknown member");
    refuse(&bench, "{\"features\": [1,2,3], \"top_k\": 3}", "top_k", "unknown member");
    refuse(&bench, "{\"features\": [1,2,3], \"features\": [1,2,3]}", "features", "twice");
    refuse(&bench, "{\"features\": {\"age\":1,\"age\":1,\"area\":3}}", "features.age", "twice");
    refuse(&bench, "{\"features\": {\"age\":1,\"rooms\":2,\"size\":3}}", "features.size",
           "no feature 'size'");
    refuse(&bench, "{\"features\": [{\"age\":1,\"area\":2}]}", "features[0].rooms", "missing");
    refuse(&bench, "{}", "features", "missing");
}

static void wrong_values_are_named_by_their_place(void **state)
{
    (void)state;
    refuse(&bench, "{\"features\": [1,2,\"3\"]}", "features[2]", "must be a number");
    refuse(&bench, "{\"features\": [1,null,3]}", "features[1]", "must be a number");
    refuse(&bench, "{\"features\": [[1,2,3],[1,true,3]]}", "features[1][1]", "must be a number");
    refuse(&bench, "{\"features\": [[1,2,3],[1,[2],3]]}", "features[1][1]", "must be a number");
    refuse(&bench, "{\"features\": [[1,2,3],4]}", "features[1]", "must be a list");
    refuse(&bench, "{\"features\": {\"age\":\"x\"}}", "features.age", "must be a number");
    refuse(&bench, "{\"features\": {\"age\":[1]}}", "features.age", "must be a number");
    refuse(&bench, "{\"features\": 5}", "features", "must be a list");
}

static void wrong_counts_say_what_the_model_takes(void **state)
{
    (void)state;
    refuse(&bench, "{\"features\": [1,2]}", "features", "fewer than the 3");
    refuse(&bench, "{\"features\": [1,2,3,4]}", "features", "more than the 3");
    refuse(&bench, "{\"features\": [[1,2,3],[1]]}", "features[1]", "fewer than the 3");
    refuse(&bench, "{\"features\": []}", "features", "empty");
    refuse(&bench, "{\"features\": {}}", "features.age", "missing");
}

static void more_rows_than_reserved_are_refused(void **state)
{
    (void)state;
    refuse(&bench, "{\"features\": [[1,2,3],[1,2,3],[1,2,3],[1,2,3],[1,2,3]]}", "features",
           "more than the 4 allowed");
}

static void names_need_a_model_with_names(void **state)
{
    (void)state;
    signature.inputs = &NAMELESS;
    refuse(&bench, "{\"features\": {\"age\":1}}", "features", "have no names");
    accept(&bench, "{\"features\": [1,2,3]}");
}

static void numbers_must_fit_the_models_type(void **state)
{
    (void)state;
    signature.inputs = &FLOATS;
    accept(&bench, "{\"features\": [1,2,0.1]}");
    assert_true(((const float *)bench.request.inputs[0].tensor.data)[2] == 0.1f);
    refuse(&bench, "{\"features\": [1,2,1e39]}", "features[2]", "range of FP32");
}

static const maas_port TEXTS = {
    TEXT("features"), { MAAS_HANDLE, 128, 1 }, 2, SHAPE, LABELS, 3, 0
};

static void texts_are(uint32_t row, const char *const wanted[3])
{
    const maas_str *cells = bench.request.inputs[0].tensor.data;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(cells[3 * row + i].len, strlen(wanted[i]));
        assert_memory_equal(cells[3 * row + i].data, wanted[i], strlen(wanted[i]));
    }
}

static void a_model_of_texts_takes_numbers_strings_and_null(void **state)
{
    (void)state;
    signature.inputs = &TEXTS;
    accept(&bench, "{\"features\": [[1, \"two rooms\", null], {\"area\": \"\", \"rooms\": -0.5, "
                   "\"age\": 1e3}]}");
    assert_int_equal(bench.request.rows, 2);
    texts_are(0, (const char *const[]){ "1", "two rooms", "" });
    texts_are(1, (const char *const[]){ "1000", "-0.5", "" });
    refuse(&bench, "{\"features\": [1,true,3]}", "features[1]", "a number, a string or null");
    refuse(&bench, "{\"features\": [1,[2],3]}", "features[1]", "a number, a string or null");
    refuse(&bench, "{\"features\": [1,2,3,4]}", "features", "more than the 3");
    refuse(&bench, "{\"features\": [1,\"2\"]}", "features", "fewer than the 3");
    refuse(&bench, "{\"features\": {\"age\":{}}}", "features.age", "a number, a string or null");
    refuse(&bench, "{\"features\": {\"age\":null}}", "features.rooms", "missing");
}

static void interval_and_level_are_parameters_of_the_model(void **state)
{
    (void)state;
    static const maas_option_decl level = { .size = sizeof(level), .name = "level" };
    static const maas_option_decl *const params[] = { &level, NULL };
    refuse(&bench, "{\"features\": [1,2,3], \"level\": 0.9}", "level", "has no 'level'");
    signature.params = params;
    accept(&bench, "{\"features\": [1,2,3], \"level\": 0.9}");
    assert_int_equal(bench.request.param_count, 1);
    assert_true(str_eq(bench.request.params[0].value, STR("0.9")));
    refuse(&bench, "{\"features\": [1,2,3], \"interval\": \"none\"}", "interval",
           "has no 'interval'");
}

static void a_model_of_another_task_is_refused(void **state)
{
    (void)state;
    signature.task = "text-classification";
    refuse(&bench, "{\"features\": [1,2,3]}", "model", "not a regression model");
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    refuse(&bench, "[1,2,3]", "", "must be an object");
    refuse(&bench, "", "", "not valid JSON");
    refuse(&bench, "{\"features\": [1,2,3]", "", "not valid JSON");
}

static void wide_models_with_shuffled_names_decode_in_linear_time(void **state)
{
    (void)state;
    enum { WIDE = 5000 };
    static maas_str labels[WIDE];
    static char names[WIDE][8];
    int64_t shape[] = { -1, WIDE };
    maas_port port = { TEXT("x"), FP64, 2, shape, labels, WIDE, 0 };
    struct buf body;
    buf_init(&body, 1 << 20);
    for (int i = 0; i < WIDE; i++)
        labels[i] = (maas_str){ names[i], (uint64_t)snprintf(names[i], 8, "f%d", i) };
    signature.inputs = &port;
    for (int row = 0; row < 4; row++) {
        buf_fmt(&body, "%s{", row ? "," : "{\"features\":[");
        for (int i = WIDE - 1; i >= 0; i--)
            buf_fmt(&body, "\"f%d\":%d%s", i, i, i ? "," : "}");
    }
    buf_fmt(&body, "]}%c", 0);
    uint64_t start = clock_mono_ns();
    for (int i = 0; i < 10; i++)
        accept(&bench, body.data);
    assert_true(clock_mono_ns() - start < 2000000000); /* quadratic: half a minute */
    const double *data = bench.request.inputs[0].tensor.data;
    assert_true(data[0] == 0 && data[WIDE - 1] == WIDE - 1 && data[4 * WIDE - 1] == WIDE - 1);
    buf_release(&body);
}

/* ---- the answer */

static void answer_is(const maas_named *outputs, uint32_t count, uint32_t rows, const char *wanted)
{
    struct buf out;
    maas_error error = MAAS_ERROR_INIT;
    buf_init(&out, 4096);
    if (regression_encode(&bench.context, outputs, count, rows, &out, &error) != MAAS_OK)
        fail_msg("%s", error.text);
    buf_add(&out, "", 1);
    assert_string_equal(out.data, wanted);
    buf_release(&out);
}

static void answers_name_model_and_version(void **state)
{
    (void)state;
    double y[] = { 0.1, 2 }, interval[] = { -1, 1.5, 1, 1e30 };
    int64_t rows[] = { 1 }, pairs[] = { 1, 2 };
    maas_named outputs[] = { { TEXT("interval"), { interval, 1, 0, 2, FP64, pairs, NULL, 0 } },
                             { TEXT("prediction"), { y, 1, 0, 1, FP64, rows, NULL, 0 } } };
    bench.context.single = true;
    answer_is(outputs, 2, 1,
              "{\"model\":\"houses\",\"version\":\"3\",\"prediction\":0.1,\"interval\":[-1,1.5]}");
    rows[0] = pairs[0] = 2;
    bench.context.single = false;
    answer_is(
        outputs, 2, 2,
        "{\"model\":\"houses\",\"version\":\"3\",\"results\":["
        "{\"prediction\":0.1,\"interval\":[-1,1.5]},{\"prediction\":2,\"interval\":[1,1e+30]}]}");
    answer_is(outputs + 1, 1, 2,
              "{\"model\":\"houses\",\"version\":\"3\",\"results\":["
              "{\"prediction\":0.1,\"interval\":null},{\"prediction\":2,\"interval\":null}]}");
}

static void a_prediction_that_is_no_number_is_the_models_fault(void **state)
{
    (void)state;
    double y[] = { NAN };
    int64_t rows[] = { 1 };
    maas_named output = { TEXT("prediction"), { y, 1, 0, 1, FP64, rows, NULL, 0 } };
    struct buf out;
    maas_error error = MAAS_ERROR_INIT;
    buf_init(&out, 4096);
    bench.context.single = true;
    assert_int_equal(regression_encode(&bench.context, &output, 1, 1, &out, &error),
                     MAAS_E_INTERNAL);
    assert_int_equal(regression_encode(&bench.context, &output, 0, 1, &out, &error),
                     MAAS_E_INTERNAL);
    buf_release(&out);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_list_of_numbers_is_one_row),
        CASE(lists_of_lists_are_rows),
        CASE(named_features_are_put_in_the_models_order),
        CASE(the_model_member_must_be_the_one_of_the_route),
        CASE(unknown_and_double_members_are_named),
        CASE(wrong_values_are_named_by_their_place),
        CASE(wrong_counts_say_what_the_model_takes),
        CASE(more_rows_than_reserved_are_refused),
        CASE(names_need_a_model_with_names),
        CASE(numbers_must_fit_the_models_type),
        CASE(a_model_of_texts_takes_numbers_strings_and_null),
        CASE(interval_and_level_are_parameters_of_the_model),
        CASE(a_model_of_another_task_is_refused),
        CASE(what_is_no_object_is_refused),
        CASE(wide_models_with_shuffled_names_decode_in_linear_time),
        CASE(answers_name_model_and_version),
        CASE(a_prediction_that_is_no_number_is_the_models_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
