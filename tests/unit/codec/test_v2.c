/* POST /v2/models/{m}/infer as JSON: Open Inference Protocol. */
#include "codec_test.h"

#include <math.h>

static const int64_t X_SHAPE[] = { -1, 2 }, ROWS[] = { -1 };
static const maas_port INPUTS[] = {
    { TEXT("x"), FP64, 2, X_SHAPE, NULL, 0, 0 },
    { TEXT("text"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 },
    { TEXT("flag"), { MAAS_BOOL, 8, 1 }, 1, ROWS, NULL, 0, 0 },
    { TEXT("byte"), { MAAS_INT, 8, 1 }, 1, ROWS, NULL, 0, 0 },
};
static const maas_port OUTPUTS[] = {
    { TEXT("y"), FP64, 1, ROWS, NULL, 0, 0 },
    { TEXT("label"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 }
};
static maas_signature signature;
static struct bench bench;

static int set_up(void **state)
{
    (void)state;
    signature = (maas_signature){ .size = sizeof(signature),
                                  .inputs = INPUTS,
                                  .outputs = OUTPUTS,
                                  .input_count = 1,
                                  .output_count = 2 };
    bench_init(&bench, SURFACE_V2, &signature);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bench_release(&bench);
    return 0;
}

#define X(shape, type, data)                                                                       \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":" shape ",\"datatype\":\"" type "\",\"data\":" data    \
    "}]}"

static void data_is(uint32_t rows, const double *wanted)
{
    assert_int_equal(bench.request.rows, rows);
    const maas_tensor *t = &bench.request.inputs[0].tensor;
    assert_int_equal(t->ndim, 2);
    assert_int_equal(t->shape[0], rows);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    assert_memory_equal(t->data, wanted, rows * 2 * sizeof(double));
}

static void data_may_be_flat_or_nested(void **state)
{
    (void)state;
    accept(&bench, X("[2,2]", "FP64", "[1,2,3,4.5]"));
    data_is(2, (double[]){ 1, 2, 3, 4.5 });
    accept(&bench, X("[2,2]", "FP64", "[[1,2],[3,4.5]]"));
    data_is(2, (double[]){ 1, 2, 3, 4.5 });
    accept(&bench, X("[2,2]", "FP64", "[[[1],[2]],[[3,4.5]]]"));
    data_is(2, (double[]){ 1, 2, 3, 4.5 });
}

static void the_count_must_be_the_shapes(void **state)
{
    (void)state;
    refuse(&bench, X("[2,2]", "FP64", "[1,2,3]"), "inputs[0].data", "fewer elements than the 4");
    refuse(&bench, X("[2,2]", "FP64", "[1,2,3,4,5]"), "inputs[0].data", "more elements than the 4");
    refuse(&bench, X("[1,2]", "FP64", "[]"), "inputs[0].data", "fewer");
    refuse(&bench, X("[1,2]", "FP64", "7"), "inputs[0].data", "must be a list");
}

static void shapes_are_checked_extent_by_extent(void **state)
{
    (void)state;
    refuse(&bench, X("[2,3]", "FP64", "[1,2,3,4,5,6]"), "inputs[0].shape", "extent 1 is 3");
    refuse(&bench, X("[4]", "FP64", "[1,2,3,4]"), "inputs[0].shape", "1 dimensions");
    refuse(&bench, X("[1,-2]", "FP64", "[1,2]"), "inputs[0].shape", "whole numbers");
    refuse(&bench, X("[1.5,2]", "FP64", "[1,2]"), "inputs[0].shape", "whole numbers");
    refuse(&bench, X("[]", "FP64", "[]"), "inputs[0].shape", "whole numbers");
    refuse(&bench, X("2", "FP64", "[1,2]"), "inputs[0].shape", "list of extents");
    refuse(&bench, X("[[1],2]", "FP64", "[1,2]"), "inputs[0].shape", "whole numbers");
    refuse(&bench, X("[1,1,1,1,1,1,1,1,2]", "FP64", "[1,2]"), "inputs[0].shape", "more than 8");
    refuse(&bench, X("[0,2]", "FP64", "[]"), "inputs[0].shape", "0 rows");
}

static void shapes_that_lie_cost_no_memory(void **state)
{
    (void)state;
    refuse(&bench, X("[4611686018427387904,2]", "FP64", "[1,2]"), "inputs[0].data",
           "too short for");
    refuse(&bench, X("[9223372036854775807,2]", "FP64", "[1,2]"), "inputs[0].data",
           "too short for");
    static const int64_t open_shape[] = { -1, -1, -1 };
    maas_port port = { TEXT("x"), FP64, 3, open_shape, NULL, 0, 0 };
    signature.inputs = &port;
    refuse(&bench, X("[9223372036854775807,9223372036854775807,4]", "FP64", "[1,2]"),
           "inputs[0].shape", "can be counted");
    refuse(&bench, X("[1000000,1000000,1]", "FP64", "[1,2]"), "inputs[0].data", "too short for");
}

static void rows_over_the_reservation_are_refused(void **state)
{
    (void)state;
    refuse(&bench, X("[5,2]", "FP64", "[1,2,3,4,5,6,7,8,9,10]"), "inputs[0].shape",
           "more than the 4 allowed");
}

static void the_datatype_must_be_the_models(void **state)
{
    (void)state;
    refuse(&bench, X("[1,2]", "FP32", "[1,2]"), "inputs[0].datatype", "is FP64, not FP32");
    refuse(&bench, X("[1,2]", "INT64", "[1,2]"), "inputs[0].datatype", "is FP64, not INT64");
    refuse(&bench, X("[1,2]", "double", "[1,2]"), "inputs[0].datatype", "unknown datatype");
    refuse(&bench, X("[1,2]", "FP16", "[1,2]"), "inputs[0].datatype",
           "receiving FP16 data via JSON is not supported");
    refuse(&bench, X("[1,2]", "BF16", "[1,2]"), "inputs[0].datatype", "receiving BF16");
}

static void wrong_elements_are_counted_out(void **state)
{
    (void)state;
    refuse(&bench, X("[1,2]", "FP64", "[1,\"2\"]"), "inputs[0].data", "element 1");
    refuse(&bench, X("[1,2]", "FP64", "[null,2]"), "inputs[0].data", "element 0");
    signature.inputs = &INPUTS[3];
    refuse(
        &bench,
        "{\"inputs\":[{\"name\":\"byte\",\"shape\":[2],\"datatype\":\"INT8\",\"data\":[1,200]}]}",
        "inputs[0].data", "element 1 of 'inputs[0].data' is out of the range of INT8");
}

static void all_inputs_of_the_model_must_come_once(void **state)
{
    (void)state;
    signature.input_count = 3;
    accept(&bench,
           "{\"inputs\":["
           "{\"name\":\"flag\",\"shape\":[2],\"datatype\":\"BOOL\",\"data\":[true,false]},"
           "{\"name\":\"text\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"a\\u00e9\",\"\"]},"
           "{\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP64\",\"data\":[1,2,3,4]}]}");
    const maas_str *text = bench.request.inputs[1].tensor.data;
    assert_int_equal(text[0].len, 3);
    assert_memory_equal(text[0].data, "a\xc3\xa9", 3);
    assert_int_equal(text[1].len, 0);
    assert_memory_equal(bench.request.inputs[0].tensor.data, "\1\0", 2);
    refuse(&bench, X("[1,2]", "FP64", "[1,2]"), "inputs", "input 'text' is missing");
    refuse(&bench,
           "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\",\"data\":[1,2]},"
           "{\"name\":\"flag\",\"shape\":[2],\"datatype\":\"BOOL\",\"data\":[true,true]}]}",
           "inputs[1].shape", "2 rows, but inputs[0] has 1");
    refuse(&bench,
           "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\",\"data\":[1,2]},"
           "{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\",\"data\":[1,2]}]}",
           "inputs[1].name", "twice");
    refuse(&bench, "{\"inputs\":[{\"name\":\"z\"}]}", "inputs[0].name", "no input 'z'");
    refuse(&bench, "{\"inputs\":[7]}", "inputs[0]", "must be an object");
    refuse(&bench, "{\"inputs\":{}}", "inputs", "list of tensors");
    refuse(&bench, "{}", "inputs", "list of tensors");
    refuse(&bench, "{\"inputs\":[]}", "inputs", "missing");
    refuse(&bench, "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\"}]}",
           "inputs[0].data", "missing");
}

static void members_twice_are_refused_and_unknown_ones_tolerated(void **state)
{
    (void)state;
    accept(&bench, "{\"model_name\":\"m\",\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"extra\":{},"
                   "\"datatype\":\"FP64\",\"data\":[1,2]}]}");
    refuse(&bench, "{\"inputs\":[],\"inputs\":[]}", "inputs", "twice");
    refuse(&bench, "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"shape\":[1,2]}]}",
           "inputs[0].shape", "twice");
}

static void parameters_are_scalars_and_the_protocols_own_stay_here(void **state)
{
    (void)state;
#define WITH_PARAMETERS(p)                                                                         \
    "{\"parameters\":" p ",\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\","     \
    "\"data\":[1,2]}]}"
    accept(&bench, WITH_PARAMETERS("{\"binary_data_output\":true,\"timeout\":5,\"k\":7,\"t\":0.5,"
                                   "\"s\":\"x\",\"b\":false}"));
    assert_int_equal(bench.request.param_count, 4);
    assert_true(str_eq(bench.request.params[0].name, STR("k")));
    assert_true(str_eq(bench.request.params[0].value, STR("7")));
    assert_true(str_eq(bench.request.params[1].value, STR("0.5")));
    assert_true(str_eq(bench.request.params[2].value, STR("x")));
    assert_true(str_eq(bench.request.params[3].value, STR("false")));
    refuse(&bench, WITH_PARAMETERS("{\"triton_x\":1}"), "parameters.triton_x", "reserved");
    refuse(&bench, WITH_PARAMETERS("{\"k\":[1]}"), "parameters.k", "string, a number or a boolean");
    refuse(&bench, WITH_PARAMETERS("{\"k\":1,\"k\":2}"), "parameters.k", "twice");
    refuse(&bench, WITH_PARAMETERS("7"), "parameters", "must be an object");
}

static void other_ways_to_send_data_are_refused_by_name(void **state)
{
    (void)state;
#define WITH_INPUT_PARAMETERS(p)                                                                   \
    "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],\"datatype\":\"FP64\",\"parameters\":" p "}]}"
    refuse(&bench, WITH_INPUT_PARAMETERS("{\"binary_data_size\":16}"), "inputs[0].parameters",
           "Inference-Header-Content-Length");
    refuse(&bench, WITH_INPUT_PARAMETERS("{\"shared_memory_region\":\"r\"}"),
           "inputs[0].parameters", "shared memory");
}

static void binary_bodies_are_told_to_use_json(void **state)
{
    (void)state;
    const char *body = X("[1,2]", "FP64", "[1,2]");
    bench.context.json_len = (uint32_t)strlen(body); /* the C++ client says so for JSON alone */
    accept(&bench, body);
    bench.context.json_len = 10;
    assert_int_equal(decode_text(&bench, body, strlen(body)), MAAS_E_UNIMPLEMENTED);
    bench.context.json_len = 10000;
    assert_int_equal(decode_text(&bench, body, strlen(body)), MAAS_E_INVALID);
}

static void id_and_wanted_outputs_are_kept_for_the_answer(void **state)
{
    (void)state;
#define WITH_OUTPUTS(o)                                                                            \
    "{\"id\":\"me\",\"outputs\":" o ",\"inputs\":[{\"name\":\"x\",\"shape\":[1,2],"                \
    "\"datatype\":\"FP64\",\"data\":[1,2]}]}"
    accept(&bench, WITH_OUTPUTS("[{\"name\":\"label\",\"parameters\":{\"binary_data\":true}}]"));
    assert_true(str_eq(bench.context.id, STR("me")));
    assert_int_equal(bench.context.wanted_count, 1);
    assert_true(str_eq(bench.context.wanted[0], STR("label")));
    accept(&bench, WITH_OUTPUTS("[]"));
    assert_int_equal(bench.context.wanted_count, 0);
    refuse(&bench, WITH_OUTPUTS("[{\"name\":\"z\"}]"), "outputs[0].name", "no output 'z'");
    refuse(&bench, WITH_OUTPUTS("[{\"name\":\"y\"},{\"name\":\"y\"}]"), "outputs[1].name", "twice");
    refuse(&bench, WITH_OUTPUTS("[{\"name\":\"y\",\"parameters\":{\"classification\":2}}]"),
           "outputs[0]", "classification");
    refuse(&bench, WITH_OUTPUTS("[{}]"), "outputs[0].name", "must be a string");
    refuse(&bench, "{\"id\":5}", "id", "must be a string");
}

/* ---- the answer */

static void answer_is(const maas_named *outputs, const char *wanted)
{
    struct buf out;
    maas_error error = MAAS_ERROR_INIT;
    buf_init(&out, 4096);
    if (v2_encode(&bench.context, outputs, 2, 2, &out, &error) != MAAS_OK)
        fail_msg("%s", error.text);
    buf_add(&out, "", 1);
    assert_string_equal(out.data, wanted);
    buf_release(&out);
}

static void answers_carry_id_name_version_and_flat_outputs(void **state)
{
    (void)state;
    double y[] = { 1.5, -2 };
    maas_str labels[] = { TEXT("a\"b"), TEXT("\xc3\xa9") };
    int64_t rows[] = { 2 };
    maas_named outputs[] = { { TEXT("y"), { y, 1, 0, 1, FP64, rows, NULL, 0 } },
                             { TEXT("label"),
                               { labels, 1, 0, 1, { MAAS_HANDLE, 128, 1 }, rows, NULL, 0 } } };
    answer_is(outputs,
              "{\"id\":\"req-1\",\"model_name\":\"houses\",\"model_version\":\"3\",\"outputs\":["
              "{\"name\":\"y\",\"datatype\":\"FP64\",\"shape\":[2],\"data\":[1.5,-2]},"
              "{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[2],"
              "\"data\":[\"a\\\"b\",\"\xc3\xa9\"]}]}");
    bench.context.id = STR("me");
    bench.context.wanted[0] = STR("y");
    bench.context.wanted_count = 1;
    answer_is(outputs,
              "{\"id\":\"me\",\"model_name\":\"houses\",\"model_version\":\"3\",\"outputs\":["
              "{\"name\":\"y\",\"datatype\":\"FP64\",\"shape\":[2],\"data\":[1.5,-2]}]}");
    y[1] = INFINITY;
    struct buf out;
    maas_error error = MAAS_ERROR_INIT;
    buf_init(&out, 4096);
    assert_int_equal(v2_encode(&bench.context, outputs, 2, 2, &out, &error), MAAS_E_INTERNAL);
    buf_release(&out);
}

static void every_datatype_has_its_form(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        uint8_t bytes[8];
    } cells[] = { { "BOOL", "true", { 1 } },
                  { "INT8", "-1", { 0xff } },
                  { "INT16", "-2", { 0xfe, 0xff } },
                  { "UINT8", "255", { 0xff } },
                  { "UINT16", "258", { 2, 1 } },
                  { "UINT32", "1", { 1 } },
                  { "INT32", "-1", { 255, 255, 255, 255 } },
                  { "INT64", "-1", { 255, 255, 255, 255, 255, 255, 255, 255 } },
                  { "UINT64", "18446744073709551615", { 255, 255, 255, 255, 255, 255, 255, 255 } },
                  { "FP32", "1", { 0, 0, 0x80, 0x3f } },
                  { "FP64", "1", { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f } } };
    for (size_t i = 0; i < COUNT_OF(cells); i++) {
        uint64_t aligned;
        memcpy(&aligned, cells[i].bytes, 8);
        struct buf out;
        buf_init(&out, 64);
        assert_true(cell_write(&out, datatype_named(str_of(cells[i].name)), &aligned, 0));
        assert_true(str_eq(buf_view(&out), str_of(cells[i].text)));
        buf_release(&out);
    }
    assert_null(datatype_named(STR("FP8")));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(data_may_be_flat_or_nested),
        CASE(the_count_must_be_the_shapes),
        CASE(shapes_are_checked_extent_by_extent),
        CASE(shapes_that_lie_cost_no_memory),
        CASE(rows_over_the_reservation_are_refused),
        CASE(the_datatype_must_be_the_models),
        CASE(wrong_elements_are_counted_out),
        CASE(all_inputs_of_the_model_must_come_once),
        CASE(members_twice_are_refused_and_unknown_ones_tolerated),
        CASE(parameters_are_scalars_and_the_protocols_own_stay_here),
        CASE(other_ways_to_send_data_are_refused_by_name),
        CASE(binary_bodies_are_told_to_use_json),
        CASE(id_and_wanted_outputs_are_kept_for_the_answer),
        CASE(answers_carry_id_name_version_and_flat_outputs),
        CASE(every_datatype_has_its_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
