/* POST /v1/text-classification, /v1/image-classification, /v1/recommendations: every form of a
 * request, every refusal with its field, the answers. */
#include "codec_test.h"

#define BYTES                                                                                      \
    {                                                                                              \
        MAAS_HANDLE, 128, 1                                                                        \
    }
#define FP32                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 32, 1                                                                          \
    }

static const int64_t ONE[] = { -1 }, TWO[] = { -1, -1 };
static const maas_port TEXT_IN = { TEXT("text"), BYTES, 1, ONE, NULL, 0, 0 };
static const maas_port IMAGE_IN = { TEXT("image"), BYTES, 1, ONE, NULL, 0, 0 };
static const maas_port LISTS_IN[] = {
    { TEXT("user"), BYTES, 1, ONE, NULL, 0, MAAS_PORT_OPTIONAL },
    { TEXT("items"), BYTES, 2, TWO, NULL, 0, MAAS_PORT_OPTIONAL },
    { TEXT("allow"), BYTES, 2, TWO, NULL, 0, MAAS_PORT_OPTIONAL },
    { TEXT("deny"), BYTES, 2, TWO, NULL, 0, MAAS_PORT_OPTIONAL },
};
#define PARAM(n, k)                                                                                \
    {                                                                                              \
        .size = sizeof(maas_option_decl), .kind = (k), .name = (n), .fallback = "1"                \
    }
static const maas_option_decl TOP_K = PARAM("top_k", MAAS_OPTION_INT);
static const maas_option_decl K = PARAM("k", MAAS_OPTION_INT);
static const maas_option_decl *const TOP[] = { &TOP_K, NULL };
static const maas_option_decl *const LIST[] = { &K, NULL };

static maas_signature text = { .size = sizeof(text),
                               .inputs = &TEXT_IN,
                               .input_count = 1,
                               .task = "text-classification",
                               .params = TOP };
static maas_signature image = { .size = sizeof(image),
                                .inputs = &IMAGE_IN,
                                .input_count = 1,
                                .task = "image-classification",
                                .params = TOP };
static maas_signature lists = { .size = sizeof(lists),
                                .inputs = LISTS_IN,
                                .input_count = 4,
                                .task = "recommendation",
                                .params = LIST };
static struct bench bench;

static void use(uint16_t surface, const maas_signature *signature)
{
    bench.context.surface = surface;
    bench.context.signature = signature;
    bench.context.explains = NULL;
    bench.context.json_len = UINT32_MAX;
}

static int set_up(void **state)
{
    (void)state;
    bench_init(&bench, SURFACE_TEXT, &text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bench_release(&bench);
    return 0;
}

/* Input `at` has this name and shape, and these texts with bars between. */
static void input_is(uint32_t at, const char *name, int64_t rows, int64_t width, const char *wanted)
{
    char got[256] = "";
    assert_true(at < bench.request.input_count);
    const maas_named *input = &bench.request.inputs[at];
    assert_true(str_eq(str_from(input->name), str_of(name)));
    assert_int_equal(input->tensor.ndim, width < 0 ? 1 : 2);
    assert_int_equal(input->tensor.shape[0], rows);
    if (width >= 0)
        assert_int_equal(input->tensor.shape[1], width);
    const maas_str *texts = input->tensor.data;
    for (int64_t i = 0; i < rows * (width < 0 ? 1 : width); i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%.*s", i ? "|" : "",
                 (int)texts[i].len, texts[i].data);
    assert_string_equal(got, wanted);
}

static void parameter_is(uint32_t at, const char *name, const char *value)
{
    assert_true(at < bench.request.param_count);
    assert_true(str_eq(bench.request.params[at].name, str_of(name)));
    assert_true(str_eq(bench.request.params[at].value, str_of(value)));
}

static void a_text_or_a_list_of_texts(void **state)
{
    (void)state;
    use(SURFACE_TEXT, &text);
    accept(&bench, "{\"text\":\"很棒 a\\\"b\",\"top_k\":3,\"model\":\"houses\"}");
    assert_true(bench.context.single);
    input_is(0, "text", 1, -1, "很棒 a\"b");
    parameter_is(0, "top_k", "3");
    accept(&bench, "{\"text\":[\"a\",\"\",\"c\"]}");
    assert_false(bench.context.single);
    assert_int_equal(bench.request.rows, 3);
    assert_int_equal(bench.request.param_count, 0);
    input_is(0, "text", 3, -1, "a||c");
}

static void a_wrong_text_is_refused_with_its_field(void **state)
{
    (void)state;
    use(SURFACE_TEXT, &text);
    refuse(&bench, "{}", "text", "is missing");
    refuse(&bench, "{\"text\":[]}", "text", "is empty");
    refuse(&bench, "{\"text\":7}", "text", "must be a string");
    refuse(&bench, "{\"text\":[\"a\",7]}", "text[1]", "must be a string");
    refuse(&bench, "{\"text\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "text", "more than the 4 allowed");
    refuse(&bench, "{\"text\":\"a\",\"top_k\":[1]}", "top_k", "must be a string, a number");
    refuse(&bench, "{\"text\":\"a\",\"explain\":1}", "explain", "must be true or false");
    refuse(&bench, "{\"text\":\"a\",\"explain\":true}", "explain", "does not explain");
    refuse(&bench, "{\"text\":\"a\",\"k\":3}", "k", "unknown member 'k'");
    refuse(&bench, "{\"text\":\"a\",\"model\":\"boats\"}", "model", "went to 'houses'");
    use(SURFACE_IMAGE, &text);
    refuse(&bench, "{\"image\":\"aGk=\"}", "model", "is not an image classifier");
}

static void an_engines_field_is_the_surfaces_own(void **state)
{
    (void)state;
    use(SURFACE_TEXT, &text);
    assert_true(str_eq(codec_field(&bench.context, STR("parameters.top_k")), STR("top_k")));
    assert_true(str_eq(codec_field(&bench.context, STR("text")), STR("text")));
    use(SURFACE_V2, &text);
    assert_true(
        str_eq(codec_field(&bench.context, STR("parameters.top_k")), STR("parameters.top_k")));
}

static void a_picture_is_base64_or_a_data_url(void **state)
{
    (void)state;
    use(SURFACE_IMAGE, &image);
    accept(&bench, "{\"image\":\"aGk=\"}");
    input_is(0, "image", 1, -1, "hi");
    accept(&bench, "{\"image\":[\"aGk\",\"data:image/png;base64,Zm9v\"]}");
    input_is(0, "image", 2, -1, "hi|foo");
    refuse(&bench, "{\"image\":\"a\"}", "image", "is not base64");
    refuse(&bench, "{\"image\":[\"aGk=\",\"!\"]}", "image[1]", "is not base64");
}

static void a_picture_stands_behind_its_head(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"houses\",\"top_k\":2}\x89PNG";
    use(SURFACE_IMAGE, &image);
    bench.context.json_len = sizeof(body) - 5;
    assert_int_equal(decode_text(&bench, body, sizeof(body) - 1), MAAS_OK);
    assert_true(bench.context.single);
    assert_int_equal(bench.request.rows, 1);
    parameter_is(0, "top_k", "2");
    assert_int_equal(((const maas_str *)bench.request.inputs[0].tensor.data)->len, 4);
    bench.context.json_len = sizeof(body);
    assert_int_equal(decode_text(&bench, body, sizeof(body) - 1), MAAS_E_INVALID);
    use(SURFACE_TEXT, &text);
    bench.context.json_len = sizeof(body) - 5;
    assert_int_equal(decode_text(&bench, body, sizeof(body) - 1), MAAS_E_UNIMPLEMENTED);
}

static void users_and_items_are_rows(void **state)
{
    (void)state;
    use(SURFACE_RECOMMENDATION, &lists);
    accept(&bench, "{\"user\":42,\"k\":5}");
    assert_true(bench.context.single);
    assert_int_equal(bench.request.input_count, 1);
    input_is(0, "user", 1, -1, "42");
    parameter_is(0, "k", "5");
    accept(&bench, "{\"user\":[\"a\",7],\"deny\":[\"x\",\"y\"]}");
    assert_false(bench.context.single);
    input_is(0, "user", 2, -1, "a|7");
    input_is(1, "deny", 2, 2, "x|y|x|y");
    accept(&bench, "{\"items\":[\"p\",2]}");
    assert_true(bench.context.single);
    input_is(0, "items", 1, 2, "p|2");
    accept(&bench, "{\"items\":[[\"p\"],[],[\"q\",\"r\"]],\"allow\":[]}");
    assert_false(bench.context.single);
    input_is(0, "items", 3, 2, "p||||q|r");
    input_is(1, "allow", 3, 0, "");
    accept(&bench, "{\"user\":\"u\",\"items\":[\"p\"]}");
    assert_true(bench.context.single);
    assert_int_equal(bench.request.input_count, 2);
}

static void wrong_lists_are_refused_with_their_field(void **state)
{
    (void)state;
    use(SURFACE_RECOMMENDATION, &lists);
    refuse(&bench, "{}", "user", "name a 'user', or 'items'");
    refuse(&bench, "{\"user\":1.5}", "user", "a string or a whole number");
    refuse(&bench, "{\"user\":[]}", "user", "is empty");
    refuse(&bench, "{\"items\":\"p\"}", "items", "must be a list");
    refuse(&bench, "{\"items\":[[\"p\"],\"q\"]}", "items[1]", "must be a list of ids");
    refuse(&bench, "{\"items\":[[\"p\",{}]]}", "items[0][1]", "a string or a whole number");
    refuse(&bench, "{\"user\":[\"a\",\"b\"],\"items\":[\"p\"]}", "items", "one for each user");
    refuse(&bench, "{\"user\":[\"a\",\"b\"],\"items\":[[\"p\"]]}", "items",
           "has 1 rows, 'user' has 2");
    refuse(&bench, "{\"user\":\"a\",\"deny\":\"x\"}", "deny", "must be a list");
    refuse(&bench, "{\"items\":[[],[],[],[],[]]}", "items", "more than the 4 allowed");
    refuse(&bench, "{\"user\":\"a\",\"similar\":true}", "similar", "has no 'similar'");
}

static void answer_is(encode_fn *encode, const char *name, uint32_t rows, int64_t width,
                      maas_str *names, float *scores, const char *wanted)
{
    struct buf out;
    maas_error error = MAAS_ERROR_INIT;
    int64_t shape[] = { rows, width };
    const maas_named outputs[] = {
        { { name, strlen(name) },
          { .data = names, .device_type = 1, .ndim = 2, .dtype = BYTES, .shape = shape } },
        { TEXT("score"),
          { .data = scores, .device_type = 1, .ndim = 2, .dtype = FP32, .shape = shape } },
    };
    buf_init(&out, 4096);
    maas_status status = encode(&bench.context, outputs, 2, rows, &out, &error);
    buf_add(&out, "", 1);
    if (wanted)
        assert_string_equal(out.data, wanted);
    assert_int_equal(status, wanted ? MAAS_OK : MAAS_E_INTERNAL);
    buf_release(&out);
}

static void labels_come_best_first(void **state)
{
    (void)state;
    maas_str names[] = { TEXT("good"), TEXT("bad"), TEXT("bad"), TEXT("good") };
    float scores[] = { 0.75f, 0.25f, 0.5f, 0.5f };
    bench.context.single = true;
    answer_is(
        classification_encode, "label", 1, 2, names, scores,
        "{\"model\":\"houses\",\"version\":\"3\",\"label\":\"good\",\"score\":0.75,\"labels\":["
        "{\"label\":\"good\",\"score\":0.75},{\"label\":\"bad\",\"score\":0.25}]}");
    bench.context.single = false;
    answer_is(
        classification_encode, "label", 2, 1, names, scores,
        "{\"model\":\"houses\",\"version\":\"3\",\"results\":["
        "{\"label\":\"good\",\"score\":0.75,\"labels\":[{\"label\":\"good\",\"score\":0.75}]},"
        "{\"label\":\"bad\",\"score\":0.25,\"labels\":[{\"label\":\"bad\",\"score\":0.25}]}]}");
    answer_is(classification_encode, "verdict", 2, 1, names, scores, NULL);
    answer_is(classification_encode, "label", 1, 0, names, scores, NULL);
    scores[1] = 0.0f / 0.0f;
    answer_is(classification_encode, "label", 2, 2, names, scores, NULL);
}

static void items_end_at_the_first_empty_one(void **state)
{
    (void)state;
    maas_str names[] = { TEXT("p"), TEXT("q"), TEXT("r"), TEXT("") };
    float scores[] = { 2, 1, 3, 0 };
    bench.context.single = false;
    answer_is(recommendation_encode, "item", 2, 2, names, scores,
              "{\"model\":\"houses\",\"version\":\"3\",\"results\":[{\"items\":["
              "{\"id\":\"p\",\"score\":2},{\"id\":\"q\",\"score\":1}]},"
              "{\"items\":[{\"id\":\"r\",\"score\":3}]}]}");
}

static void a_v2_request_may_leave_out_what_is_optional(void **state)
{
    (void)state;
    use(SURFACE_V2, &lists);
    accept(
        &bench,
        "{\"inputs\":[{\"name\":\"user\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"u\"]}]}");
    assert_int_equal(bench.request.input_count, 1);
    use(SURFACE_V2, &text);
    refuse(&bench, "{\"inputs\":[]}", "inputs", "'text' is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_or_a_list_of_texts),
        cmocka_unit_test(a_wrong_text_is_refused_with_its_field),
        cmocka_unit_test(an_engines_field_is_the_surfaces_own),
        cmocka_unit_test(a_picture_is_base64_or_a_data_url),
        cmocka_unit_test(a_picture_stands_behind_its_head),
        cmocka_unit_test(users_and_items_are_rows),
        cmocka_unit_test(wrong_lists_are_refused_with_their_field),
        cmocka_unit_test(labels_come_best_first),
        cmocka_unit_test(items_end_at_the_first_empty_one),
        cmocka_unit_test(a_v2_request_may_leave_out_what_is_optional),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
