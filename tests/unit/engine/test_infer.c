/*
 * Inference: requests against the signature, and each rule of the contract broken by maas.faulty on
 * demand. A fault costs its own request; the one after it, in the same job, is answered.
 */
#include "engine_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faulty.h"

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

static maas_status infer_one(double value, maas_error *error)
{
    struct str param;
    engine_job_reset(job);
    struct engine_request request = features_request(job, &value, 1, 1);
    return engine_infer(model, job, &request, &param, error);
}

static void still_answers(void)
{
    maas_error error = MAAS_ERROR_INIT;
    if (infer_one(-2.5, &error))
        fail_msg("%s", error.text);
    assert_true(output_values(job, 0)[0] == -2.5);
}

static void a_batch_is_answered_in_order(void **state)
{
    (void)state;
    double values[1000];
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    for (int i = 0; i < 1000; i++)
        values[i] = -i - 0.25;
    engine_job_reset(job);
    struct engine_request request = features_request(job, values, 1000, 1);
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_OK);
    assert_memory_equal(output_values(job, 0), values, sizeof(values));
    uint32_t count;
    const maas_named *out = engine_job_outputs(job, &count);
    assert_int_equal(count, 1);
    assert_int_equal(out[0].tensor.shape[0], 1000);
    assert_int_equal((uintptr_t)out[0].tensor.data % 64, 0);
}

/* ---- requests that do not fit */

static void wrong(struct engine_request *request, const char *says, const char *names)
{
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_infer(model, job, request, &param, &error), MAAS_E_INVALID);
    if (!strstr(error.text, says))
        fail_msg("wanted '%s', got '%s'", says, error.text);
    if (!str_eq(param, str_of(names)))
        fail_msg("wanted '%s', got '%.*s'", names, (int)param.len, param.data);
}

static void inputs_that_do_not_fit_are_named(void **state)
{
    (void)state;
    static const double values[] = { 1, 2, 3, 4, 5, 6 };
    int64_t wide[] = { 2, 3 }, flat[] = { 2 }, more[] = { 3, 1 }, negative[] = { -2, 1 };
    engine_job_reset(job);
    struct engine_request good = features_request(job, values, 2, 1), bad = good;
    maas_named input = good.inputs[0], two[2] = { input, input };
    bad.inputs = &input;
    input.tensor.shape = wide;
    wrong(&bad, "'features' must have extent 1 in dimension 1, not 3", "features");
    input.tensor.shape = more;
    wrong(&bad, "'features' must have 2 rows, not 3", "features");
    input.tensor.shape = negative;
    wrong(&bad, "'features' must have 2 rows, not -2", "features");
    input.tensor.shape = flat;
    input.tensor.ndim = 1;
    wrong(&bad, "'features' must have 2 dimensions, not 1", "features");
    input = good.inputs[0];
    input.tensor.dtype.bits = 32;
    wrong(&bad, "'features' must be FP64, not FP32", "features");
    input = good.inputs[0];
    input.tensor.strides = wide;
    wrong(&bad, "not compact", "features");
    input = good.inputs[0];
    input.name = (maas_str){ "Features", 8 };
    wrong(&bad, "the model has no input 'Features'", "Features");
    bad.input_count = 0;
    wrong(&bad, "input 'features' is missing", "features");
    bad = good;
    bad.inputs = two;
    bad.input_count = 2;
    wrong(&bad, "input 'features' is given twice", "features");
}

static void too_many_rows_and_none_are_refused(void **state)
{
    (void)state;
    double *values = calloc(4097, sizeof(*values));
    engine_job_reset(job);
    struct engine_request request = features_request(job, values, 4097, 1);
    wrong(&request, "4097 rows; this model takes 1 to 4096", "features");
    request = features_request(job, values, 0, 1);
    wrong(&request, "0 rows", "features");
    free(values);
}

static void parameters_are_checked_and_defaulted(void **state)
{
    (void)state;
    static const double value = -3;
    struct engine_option scale = { STR("scale"), STR("2") };
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    engine_job_reset(job);
    struct engine_request request = features_request(job, &value, 1, 1);
    request.params = &scale;
    request.param_count = 1;
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_OK);
    assert_true(output_values(job, 0)[0] == -6);
    scale.value = STR("1001");
    wrong(&request, "option 'scale' cannot be '1001'", "parameters.scale");
    scale.name = STR("speed");
    wrong(&request, "unknown option 'speed'", "parameters.speed");
    still_answers();
}

static void validate_refuses_before_infer(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(infer_one(FAULTY_INVALID, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "row 0 means nothing");
    still_answers();
}

/* ---- the contract */

static void faults_cost_their_own_request_only(void **state)
{
    (void)state;
    static const struct {
        int fault;
        maas_status status;
        const char *says;
        int misbehaved;
    } cases[] = {
        { FAULTY_WRONG_SHAPE, MAAS_E_INTERNAL, "'prediction' must have 1 rows, not 2", 1 },
        { FAULTY_WRONG_DTYPE, MAAS_E_INTERNAL, "'prediction' must be FP64, not INT64", 1 },
        { FAULTY_UNKNOWN_OUTPUT, MAAS_E_INTERNAL, "signature does not have", 1 },
        { FAULTY_EMIT_NOTHING, MAAS_E_INTERNAL, "without emitting 'prediction'", 1 },
        { FAULTY_EMIT_TWICE, MAAS_E_INTERNAL, "emitted 'prediction' twice", 1 },
        { FAULTY_STATUS_OUT_OF_RANGE, MAAS_E_INTERNAL, "no reason", 0 },
        { FAULTY_HUGE_ALLOC, MAAS_E_EXHAUSTED, "no 1 TiB", 0 },
        { FAULTY_ALLOC_ALL, MAAS_E_EXHAUSTED, "", 0 },
        { FAULTY_ERROR_WITHOUT_NUL, MAAS_E_INTERNAL, "eeee", 0 },
        { FAULTY_DONE_AND_ERROR, MAAS_E_UNAVAILABLE, "an error after done", 1 },
        { FAULTY_DONE_TWICE, MAAS_OK, "", 1 },
        { FAULTY_EMIT_AFTER_DONE, MAAS_OK, "", 1 },
        { FAULTY_FREE_STRANGE, MAAS_OK, "", 1 },
        { FAULTY_OTHER_THREAD, MAAS_OK, "", 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t before = engine_model_misbehaved(model);
        maas_error error = MAAS_ERROR_INIT;
        maas_status status = infer_one(cases[i].fault, &error);
        if (status != cases[i].status || !strstr(error.text, cases[i].says))
            fail_msg("fault %d gives %d '%s'", cases[i].fault, status, error.text);
        if (!status)
            assert_true(output_values(job, 0)[0] == cases[i].fault);
        assert_int_equal(engine_model_misbehaved(model) - before, cases[i].misbehaved);
        still_answers();
    }
}

/* A plugin ends an old request again: the request under way must not take it for its own. */
static void a_late_done_does_not_end_the_next_request(void **state)
{
    (void)state;
    maas_error error = MAAS_ERROR_INIT;
    still_answers();
    uint64_t before = engine_model_misbehaved(model);
    if (infer_one(FAULTY_DONE_FOR_ANOTHER, &error))
        fail_msg("%s", error.text);
    assert_true(output_values(job, 0)[0] == FAULTY_DONE_FOR_ANOTHER);
    assert_int_equal(engine_model_misbehaved(model) - before, 1);
}

static bool cancel_after_some_looks(void *arg)
{
    int *looks = arg;
    return ++*looks > 5;
}

static void a_plugin_sees_cancel_and_deadline(void **state)
{
    (void)state;
    static const double value = FAULTY_UNTIL_CANCELLED;
    int looks = 0;
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    engine_job_reset(job);
    struct engine_request request = features_request(job, &value, 1, 1);
    request.cancelled = cancel_after_some_looks;
    request.cancelled_arg = &looks;
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_E_CANCELLED);
    assert_string_equal(error.text, "saw that it was cancelled");
    assert_int_equal(looks, 6);
    request.cancelled = NULL;
    request.deadline_ns = clock_mono_ns() + 20000000;
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_E_CANCELLED);
    assert_true(clock_mono_ns() >= request.deadline_ns);
    still_answers();
}

static void outputs_of_a_cancelled_request_are_not_copied(void **state)
{
    (void)state;
    static const double value = -1;
    int looks = 100;
    uint32_t count;
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    engine_job_reset(job);
    struct engine_request request = features_request(job, &value, 1, 1);
    request.cancelled = cancel_after_some_looks;
    request.cancelled_arg = &looks;
    assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_E_CANCELLED);
    engine_job_outputs(job, &count);
    assert_int_equal(count, 0);
}

static void outputs_larger_than_the_arena_are_an_error(void **state)
{
    (void)state;
    static const double values[4096];
    struct engine_job *small = job_or_fail(80 << 10); /* holds inputs and outputs, not the copy */
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    struct engine_request request = features_request(small, values, 4096, 1);
    assert_int_equal(engine_infer(model, small, &request, &param, &error), MAAS_E_EXHAUSTED);
    engine_job_free(small);
}

static void *count_calls(void *arg)
{
    static const double value = FAULTY_COUNT;
    struct engine_model *shared = arg;
    struct engine_job *own = job_or_fail(1 << 20);
    double most = 0;
    for (int i = 0; i < 5; i++) {
        struct str param;
        maas_error error = MAAS_ERROR_INIT;
        engine_job_reset(own);
        struct engine_request request = features_request(own, &value, 1, 1);
        if (engine_infer(shared, own, &request, &param, &error) == MAAS_OK)
            most = *(const double *)output_values(own, 0);
    }
    engine_job_free(own);
    return (void *)(uintptr_t)most;
}

static unsigned most_at_once(const char *concurrency)
{
    struct engine_model *shared = model_or_fail(plugin, "/", "concurrency", concurrency);
    pthread_t threads[4];
    unsigned most = 0;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_calls, shared), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *seen;
        pthread_join(threads[i], &seen);
        most = (uintptr_t)seen > most ? (unsigned)(uintptr_t)seen : most;
    }
    engine_model_unload(shared);
    return most;
}

static void max_concurrency_bounds_the_calls_at_once(void **state)
{
    (void)state;
    assert_int_equal(most_at_once("1"), 1);
    assert_int_equal(most_at_once("2"), 2);
    assert_true(most_at_once("0") > 2);
}

static void a_request_without_done_keeps_its_job_waiting(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        maas_error error = MAAS_ERROR_INIT;
        alarm(1);
        _exit(infer_one(FAULTY_NEVER_DONE, &error) == MAAS_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

/* ---- steady state */

/* After a first request of the same size, a job takes no memory from the system. */
static void a_job_reaches_a_steady_state(void **state)
{
    (void)state;
    static const double values[512];
    const void *first = NULL;
    for (int i = 0; i < 100; i++) {
        struct str param;
        maas_error error = MAAS_ERROR_INIT;
        engine_job_reset(job);
        struct engine_request request = features_request(job, values, 512, 1);
        assert_int_equal(engine_infer(model, job, &request, &param, &error), MAAS_OK);
        const void *at = output_values(job, 0);
        if (i == 1)
            first = at;
        if (i > 1)
            assert_ptr_equal(at, first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_answered_in_order),
        cmocka_unit_test(inputs_that_do_not_fit_are_named),
        cmocka_unit_test(too_many_rows_and_none_are_refused),
        cmocka_unit_test(parameters_are_checked_and_defaulted),
        cmocka_unit_test(validate_refuses_before_infer),
        cmocka_unit_test(faults_cost_their_own_request_only),
        cmocka_unit_test(a_late_done_does_not_end_the_next_request),
        cmocka_unit_test(a_plugin_sees_cancel_and_deadline),
        cmocka_unit_test(outputs_of_a_cancelled_request_are_not_copied),
        cmocka_unit_test(outputs_larger_than_the_arena_are_an_error),
        cmocka_unit_test(max_concurrency_bounds_the_calls_at_once),
        cmocka_unit_test(a_request_without_done_keeps_its_job_waiting),
        cmocka_unit_test(a_job_reaches_a_steady_state),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
