/*
 * Samples of a manifest: what is a list of them, what fits a signature, and when an answer agrees.
 */
#include "codec_test.h"

#include "codec/sample.h"
#include "engine/internal.h"

#include <math.h>

static const int64_t two[] = { -1, 2 }, one[] = { -1 };
static const maas_port inputs[] = {
    { .name = TEXT("features"), .dtype = FP64, .ndim = 2, .shape = two }
};
static const maas_port outputs[] = {
    { .name = TEXT("prediction"), .dtype = FP64, .ndim = 1, .shape = one },
    { .name = TEXT("label"), .dtype = { MAAS_HANDLE, 128, 1 }, .ndim = 1, .shape = one },
};
static const maas_signature signature = { .size = sizeof(signature),
                                          .inputs = inputs,
                                          .outputs = outputs,
                                          .input_count = 1,
                                          .output_count = 2,
                                          .max_rows = 8 };

#define INPUT                                                                                      \
    "\"inputs\":[{\"name\":\"features\",\"datatype\":\"FP64\",\"shape\":[1,2],\"data\":[3,4]}]"

/* The status of decoding the one sample and comparing it with this answer of the model. */
static maas_status judge(const char *sample, double prediction, const char *label)
{
    char manifest[1024];
    struct samples *samples = NULL;
    struct engine_job *job = NULL;
    struct engine_request request;
    maas_error error = MAAS_ERROR_INIT;
    int64_t rows = 1;
    maas_str text = { label, strlen(label) };
    snprintf(manifest, sizeof(manifest), "{\"format\":1,\"samples\":[{%s}]}", sample);
    assert_int_equal(samples_new(str_of(manifest), &samples, &error), MAAS_OK);
    assert_int_equal(samples_count(samples), 1);
    assert_int_equal(engine_job_new(1 << 20, &job, &error), MAAS_OK);
    maas_status status = sample_decode(samples, 0, &signature, job, &request, &error);
    if (status == MAAS_OK) {
        assert_int_equal(request.rows, 1);
        job->signature = &signature;
        job->emitted = 3;
        job->outputs[0] = (maas_named){
            outputs[0].name,
            { .data = &prediction, .ndim = 1, .dtype = outputs[0].dtype, .shape = &rows }
        };
        job->outputs[1] =
            (maas_named){ outputs[1].name,
                          { .data = &text, .ndim = 1, .dtype = outputs[1].dtype, .shape = &rows } };
        status = sample_compare(samples, 0, job, &error);
    }
    engine_job_free(job);
    samples_free(samples);
    return status;
}

static void a_manifest_without_samples_has_none(void **state)
{
    (void)state;
    static const char *const texts[] = { "{}", "{\"samples\":[]}", "[1]",
                                         "{\"x\":{\"samples\":1}}" };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct samples *samples = NULL;
        assert_int_equal(samples_new(str_of(texts[i]), &samples, NULL), MAAS_OK);
        assert_int_equal(samples_count(samples), 0);
        samples_free(samples);
    }
    assert_int_equal(samples_count(NULL), 0);
}

static void a_manifest_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = { "{", "", "{\"samples\":1}", "{\"samples\":[1]}" };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct samples *samples = NULL;
        assert_int_equal(samples_new(str_of(texts[i]), &samples, NULL), MAAS_E_INVALID);
        assert_null(samples);
    }
}

static void numbers_agree_within_the_tolerance_and_texts_when_they_are_equal(void **state)
{
    (void)state;
    static const struct {
        const char *expected;
        double prediction;
        const char *label;
        maas_status status;
    } cases[] = {
        { "", 7, "a", MAAS_OK }, /* nothing is expected */
        { ",\"outputs\":[{\"name\":\"prediction\",\"data\":[7]}]", 7, "a", MAAS_OK },
        { ",\"outputs\":[{\"name\":\"prediction\",\"data\":[7]}]", 7.000001, "a", MAAS_OK },
        { ",\"outputs\":[{\"name\":\"prediction\",\"data\":[7]}]", 7.00001, "a", MAAS_E_DATA_LOSS },
        { ",\"outputs\":[{\"name\":\"prediction\",\"data\":[7]}]", NAN, "a", MAAS_E_DATA_LOSS },
        { ",\"tolerance\":0.5,\"outputs\":[{\"name\":\"prediction\",\"data\":[100]}]", 149, "a",
          MAAS_OK },
        { ",\"tolerance\":0.5,\"outputs\":[{\"name\":\"prediction\",\"data\":[100]}]", 151, "a",
          MAAS_E_DATA_LOSS },
        { ",\"tolerance\":0,\"outputs\":[{\"name\":\"prediction\",\"data\":[0.1]}]", 0.1, "a",
          MAAS_OK },
        { ",\"tolerance\":-1", 7, "a", MAAS_E_INVALID },
        { ",\"outputs\":[{\"name\":\"prediction\",\"data\":[7,7]}]", 7, "a", MAAS_E_DATA_LOSS },
        { ",\"outputs\":[{\"name\":\"label\",\"data\":[\"a\"]}]", 7, "a", MAAS_OK },
        { ",\"outputs\":[{\"name\":\"label\",\"data\":[\"a\"]}]", 7, "b", MAAS_E_DATA_LOSS },
        { ",\"outputs\":[{\"name\":\"verdict\",\"data\":[7]}]", 7, "a", MAAS_E_INVALID },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char sample[512];
        snprintf(sample, sizeof(sample), INPUT "%s", cases[i].expected);
        maas_status status = judge(sample, cases[i].prediction, cases[i].label);
        if (status != cases[i].status)
            fail_msg("%s: status %d", cases[i].expected, (int)status);
    }
}

static void a_sample_that_does_not_fit_the_signature_is_invalid(void **state)
{
    (void)state;
    assert_int_equal(judge("\"outputs\":[]", 0, ""), MAAS_E_INVALID);
    assert_int_equal(judge("\"inputs\":[{\"name\":\"features\",\"datatype\":\"FP64\",\"shape\":[1,"
                           "3],\"data\":[1,2,3]}]",
                           0, ""),
                     MAAS_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_without_samples_has_none),
        cmocka_unit_test(a_manifest_that_makes_no_sense_is_refused),
        cmocka_unit_test(numbers_agree_within_the_tolerance_and_texts_when_they_are_equal),
        cmocka_unit_test(a_sample_that_does_not_fit_the_signature_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
