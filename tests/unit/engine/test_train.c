/*
 * Training, evaluation and serving of maas.linreg through the engine, as `maas-worker train` does
 * them: on data made here, and on scikit-learn's diabetes example where MAAS_TEST_DATA is set.
 */
#include "engine_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/train_cli.h"

#define LINREG PLUGINS "maas.linreg.so"

static char dir[] = "/tmp/maas-train-XXXXXX";

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % COUNT_OF(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void shell(const char *command)
{
    char line[1024];
    snprintf(line, sizeof(line), "cd '%s' && %s", dir, command);
    assert_int_equal(system(line), 0);
}

static char *slurp(const char *path)
{
    char *data;
    size_t len;
    maas_error error = MAAS_ERROR_INIT;
    if (file_read(path, 1 << 20, &data, &len, &error))
        fail_msg("%s", error.text);
    return data;
}

/* y = 3 + 2 a - b + noise; `id` is text. */
static void write_data(const char *name)
{
    FILE *file = fopen(in_dir(name), "w");
    assert_non_null(file);
    fprintf(file, "id,a,b,y\n");
    for (int i = 0; i < 200; i++) {
        double a = sin(i), b = cos(3 * i);
        fprintf(file, "p%d,%.17g,%.17g,%.17g\n", i, a, b, 3 + 2 * a - b + 0.01 * sin(99 * i));
    }
    fclose(file);
}

static int train_to(const char *out, const char *seed, const char *option)
{
    char *argv[] = { "train",
                     "--plugin",
                     LINREG,
                     "--data",
                     (char *)(uintptr_t)in_dir("data"),
                     "--out",
                     (char *)(uintptr_t)in_dir(out),
                     "--seed",
                     (char *)(uintptr_t)seed,
                     "--option",
                     "features=a,b",
                     option ? "--option" : NULL,
                     (char *)(uintptr_t)option,
                     NULL };
    int argc = 0;
    while (argv[argc])
        argc++;
    return engine_train_main(argc, argv);
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    assert_int_equal(train_to("one", "7", NULL), 0);
    assert_int_equal(train_to("two", "7", NULL), 0);
    assert_int_equal(train_to("three", "8", NULL), 0);
    shell("diff -r one two");
    shell("! cmp -s one/linreg.model three/linreg.model");
    shell("/usr/bin/python3 -m json.tool one/manifest.json > /dev/null");
}

static void the_manifest_says_what_was_trained_and_from_what(void **state)
{
    (void)state;
    assert_int_equal(train_to("one", "7", NULL), 0);
    char *text = slurp(in_dir("one/manifest.json"));
    static const char *const parts[] = {
        "\"format\": 1",
        "\"plugin\": {\"id\": \"maas.linreg\", \"version\": ",
        "\"seed\": 7",
        "\"task\": \"regression\"",
        "\"options\": {\"features\": \"a,b\"}",
        "\"labels\": [\"a\", \"b\"], \"name\": \"features\", \"shape\": [-1, 2]",
        "\"rows_independent\": true",
        "\"test_r2\": 0.99",
        "{\"path\": \"linreg.model\", \"sha256\": \"",
        "\"data\": {\"files\": 1, \"sha256\": \"",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("no %s in\n%s", parts[i], text);
    free(text);
    /* keys sorted, digest as sha256sum gives it */
    shell("/usr/bin/python3 -c \"import json; t=open('one/manifest.json').read(); d=json.loads(t);"
          "assert json.dumps(d, sort_keys=True) == json.dumps(d)\"");
    shell(
        "grep -q $(cd data && sha256sum train.csv | sha256sum | cut -d' ' -f1) one/manifest.json");
}

static void what_cannot_be_trained_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *option, *says;
    } cases[] = {
        { "target=z", "train.csv has no column 'z'" },
        { "target=id", "line 2: column 'id' is not one finite number" },
        { "target=a", "column 'a' is the target, not a feature" },
        { "degree=21", "option 'degree' cannot be '21': it is one of 1..20" },
        { "test_fraction=0.95", "0..0.9" },
        { "speed=1", "unknown option 'speed'" },
    };
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *equals = strchr(cases[i].option, '=');
        struct engine_option options[] = {
            { { cases[i].option, (size_t)(equals - cases[i].option) }, str_of(equals + 1) },
            { STR("features"), STR("a,b") },
        };
        struct engine_train train = {
            .data_dir = in_dir("data"), .out_dir = dir, .options = options, .option_count = 2
        };
        maas_error error = MAAS_ERROR_INIT;
        assert_int_equal(engine_train_run(plugin, NULL, &train, &error), MAAS_E_INVALID);
        if (!strstr(error.text, cases[i].says))
            fail_msg("%s says '%s'", cases[i].option, error.text);
    }
    engine_plugin_retire(plugin);
    assert_int_equal(train_to("four", "x", NULL), 2);
    assert_int_equal(train_to("four", "-1", NULL), 2);
    assert_int_equal(train_to("four", "1", "a"), 2);
    assert_int_equal(train_to("four", "1", "degree=x"), 1);
}

struct found {
    double mse, r2, rows;
};

static void keep_metric(void *arg, const char *name, double value)
{
    struct found *found = arg;
    if (strcmp(name, "test_mse") == 0)
        found->mse = value;
    if (strcmp(name, "test_r2") == 0)
        found->r2 = value;
    if (strcmp(name, "test_rows") == 0)
        found->rows = value;
}

static void a_model_is_evaluated_by_its_columns_names(void **state)
{
    (void)state;
    struct found found = { 0 };
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(train_to("one", "7", NULL), 0);
    shell("mkdir -p other && awk -F, '{print $3\",\"$4\",\"$2}' data/train.csv > other/test.csv");
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    struct engine_model *model = model_or_fail(plugin, in_dir("one"), NULL, NULL);
    struct engine_train train = { .data_dir = in_dir("other"),
                                  .on_scalar = keep_metric,
                                  .arg = &found };
    if (engine_train_run(plugin, model, &train, &error))
        fail_msg("%s", error.text);
    assert_true(found.rows == 200 && found.r2 > 0.9999 && found.mse < 1e-3);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

/* ---- serving */

enum { ROWS = 1500, FEATURES = 2 };

static void predict(struct engine_model *model, struct engine_job *job, const double *x,
                    uint32_t rows, double *y, double *interval)
{
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    engine_job_reset(job);
    struct engine_request request = features_request(job, x, rows, FEATURES);
    if (engine_infer(model, job, &request, &param, &error))
        fail_msg("%s", error.text);
    memcpy(y, output_values(job, 0), rows * sizeof(double));
    memcpy(interval, output_values(job, 1), 2 * rows * sizeof(double));
}

static void a_row_alone_gives_the_bits_of_the_row_in_any_batch(void **state)
{
    (void)state;
    static double x[ROWS * FEATURES], y[ROWS], interval[2 * ROWS];
    static double part_y[ROWS], part_interval[2 * ROWS];
    static const uint32_t sizes[] = { 1, 2, 3, 7, 8, 64, 255, 256, 257, 1000 };
    assert_int_equal(train_to("one", "7", "degree=3"), 0);
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    struct engine_model *model = model_or_fail(plugin, in_dir("one"), NULL, NULL);
    struct engine_job *job = job_or_fail(1 << 20);
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin((double)i * 1.7) * pow(10, (double)(i % 7) - 3);
    predict(model, job, x, ROWS, y, interval);
    for (size_t s = 0; s < COUNT_OF(sizes); s++)
        for (uint32_t at = 0; at < ROWS; at += sizes[s]) {
            uint32_t rows = ROWS - at < sizes[s] ? ROWS - at : sizes[s];
            predict(model, job, x + at * FEATURES, rows, part_y, part_interval);
            assert_memory_equal(part_y, y + at, rows * sizeof(double));
            assert_memory_equal(part_interval, interval + 2 * at, 2 * rows * sizeof(double));
        }
    for (size_t i = 0; i < ROWS; i++)
        assert_true(interval[2 * i] < y[i] && y[i] < interval[2 * i + 1]);
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

static void an_explanation_sums_up_to_the_prediction(void **state)
{
    (void)state;
    enum { N = 3 };
    static const double x[N * FEATURES] = { 1, 2, -0.5, 0.25, 7, -3 };
    double y[N], interval[2 * N];
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(train_to("one", "7", "degree=3"), 0);
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    struct engine_model *model = model_or_fail(plugin, in_dir("one"), NULL, NULL);
    struct engine_job *job = job_or_fail(1 << 20);
    const maas_signature *s = engine_explain_signature(model);
    assert_non_null(s);
    assert_string_equal(s->outputs[1].name.data, "contribution");
    assert_string_equal(s->outputs[1].labels[1].data, "b");
    predict(model, job, x, N, y, interval);
    engine_job_reset(job);
    struct engine_request request = features_request(job, x, N, FEATURES);
    if (engine_explain(model, job, &request, &param, &error))
        fail_msg("%s", error.text);
    const double *base = output_values(job, 0), *parts = output_values(job, 1);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs(base[i] + parts[2 * i] + parts[2 * i + 1] - y[i]) < 1e-9);
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

static void a_plugin_that_does_not_explain_says_so(void **state)
{
    (void)state;
    static const double x = 2000;
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_plugin *plugin = plugin_or_fail(PLUGINS "maas.faulty.so");
    struct engine_model *model = model_or_fail(plugin, "/", NULL, NULL);
    struct engine_job *job = job_or_fail(1 << 20);
    struct engine_request request = features_request(job, &x, 1, 1);
    assert_null(engine_explain_signature(model));
    assert_int_equal(engine_explain(model, job, &request, &param, &error), MAAS_E_UNIMPLEMENTED);
    assert_string_equal(error.text, "plugin 'maas.faulty' does not explain");
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

static void a_feature_that_is_no_number_is_named(void **state)
{
    (void)state;
    static const double x[] = { 1, 2, 1, NAN }, huge[] = { 1e308, -1e308 };
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(train_to("one", "7", NULL), 0);
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    struct engine_model *model = model_or_fail(plugin, in_dir("one"), NULL, NULL);
    struct engine_job *job = job_or_fail(1 << 20);
    struct engine_request request = features_request(job, x, 2, 2);
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "row 1: feature 'b' is not finite");
    request = features_request(job, huge, 1, 2);
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "row 0 is too large to predict");
    engine_job_free(job);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

static void a_damaged_artifact_does_not_load(void **state)
{
    (void)state;
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    assert_int_equal(train_to("one", "7", NULL), 0);
    shell("mkdir -p cut empty && head -c 200 one/linreg.model > cut/linreg.model");
    assert_int_equal(engine_model_load(plugin, in_dir("cut"), NULL, 0, &model, &error),
                     MAAS_E_DATA_LOSS);
    assert_int_equal(engine_model_load(plugin, in_dir("empty"), NULL, 0, &model, &error),
                     MAAS_E_NOT_FOUND);
    engine_plugin_retire(plugin);
}

/* ---- scikit-learn's example: BMI alone, the last 20 patients as the test */

static void need_diabetes(void)
{
    if (!getenv("MAAS_TEST_DATA")) {
        print_message("skipped: MAAS_TEST_DATA is not set\n");
        skip();
    }
    shell("mkdir -p diabetes && from=$MAAS_TEST_DATA/regression/diabetes && "
          "gzip -dc \"$from/diabetes_data_raw.csv.gz\" > x.txt && "
          "gzip -dc \"$from/diabetes_target.csv.gz\" | awk '{print $1 + 0}' > y.txt && "
          "{ echo age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progression; "
          "paste -d ' ' x.txt y.txt | tr -s ' ' ','; } > diabetes/train.csv && "
          "test $(wc -l < diabetes/train.csv) = 443");
}

static struct found train_diabetes(const char *features, const char *fraction)
{
    struct found found = { 0 };
    struct engine_option options[] = { { STR("features"), str_of(features) },
                                       { STR("test_fraction"), str_of(fraction) },
                                       { STR("shuffle"), STR("false") } };
    struct engine_train train = { .data_dir = in_dir("diabetes"),
                                  .out_dir = in_dir("model"),
                                  .options = options,
                                  .option_count = 3,
                                  .on_scalar = keep_metric,
                                  .arg = &found };
    maas_error error = MAAS_ERROR_INIT;
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    shell("mkdir -p model");
    if (engine_train_run(plugin, NULL, &train, &error))
        fail_msg("%s", error.text);
    engine_plugin_retire(plugin);
    return found;
}

static void sklearns_example_comes_out_the_same(void **state)
{
    (void)state;
    need_diabetes();
    struct found found = train_diabetes("bmi", "0.0453");
    assert_true(found.rows == 20);
    print_message("MSE %.4f (2548.0724), R2 %.5f (0.47258)\n", found.mse, found.r2);
    assert_true(fabs(found.mse - 2548.0724) < 5e-4 && fabs(found.r2 - 0.47258) < 5e-5);
    train_diabetes("", "0");
    struct found all = { 0 };
    struct engine_plugin *plugin = plugin_or_fail(LINREG);
    struct engine_model *model = model_or_fail(plugin, in_dir("model"), NULL, NULL);
    struct engine_train evaluate = { .data_dir = in_dir("diabetes"),
                                     .on_scalar = keep_metric,
                                     .arg = &all };
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_train_run(plugin, model, &evaluate, &error), MAAS_OK);
    print_message("all columns: R2 %.10f (0.5177484222)\n", all.r2);
    assert_true(fabs(all.r2 - 0.5177484222) < 1e-9);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(the_manifest_says_what_was_trained_and_from_what),
        cmocka_unit_test(what_cannot_be_trained_says_why),
        cmocka_unit_test(a_model_is_evaluated_by_its_columns_names),
        cmocka_unit_test(a_row_alone_gives_the_bits_of_the_row_in_any_batch),
        cmocka_unit_test(an_explanation_sums_up_to_the_prediction),
        cmocka_unit_test(a_plugin_that_does_not_explain_says_so),
        cmocka_unit_test(a_feature_that_is_no_number_is_named),
        cmocka_unit_test(a_damaged_artifact_does_not_load),
        cmocka_unit_test(sklearns_example_comes_out_the_same),
    };
    if (!mkdtemp(dir))
        return 1;
    shell("mkdir data");
    write_data("data/train.csv");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shell("rm -r \"$PWD\"");
    return failed;
}
