/*
 * test_models.c: whole models: that a plan gives what onnxruntime gives, fused and plain, float32
 * and bfloat16. Data by MAAS_TEST_DATA.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>
#include <zlib.h>

#include <math.h>

#include "graph/graph.h"

enum { IMAGES = 10000, SIDE = 28, IDX_HEAD = 16, IDX_LABELS_HEAD = 8 };

static const char *data_file(const char *name, char *path, size_t room)
{
    snprintf(path, room, "%s/%s", getenv("MAAS_TEST_DATA"), name);
    return path;
}

static void need_data(void)
{
    if (!getenv("MAAS_TEST_DATA")) {
        print_message("MAAS_TEST_DATA is not set\n");
        skip();
    }
}

static struct graph *model(const char *name)
{
    char path[512];
    struct graph *g = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (graph_read(data_file(name, path, sizeof(path)), &g, &error))
        fail_msg("%s", error.text);
    return g;
}

static struct plan *planned(const struct graph *g, const struct plan_options *options)
{
    struct plan *p = NULL;
    maas_error error = MAAS_ERROR_INIT;
    struct tensor in = { .type = T_F32, .shape = graph_input(g, 0)->shape };
    for (uint32_t d = 0; d < in.shape.rank; d++)
        in.shape.dim[d] = in.shape.dim[d] < 0 ? 1 : in.shape.dim[d];
    if (plan_new(g, &in, options, &p, &error))
        fail_msg("%s", error.text);
    return p;
}

static const float *answer(struct plan *p)
{
    maas_error error = MAAS_ERROR_INIT;
    if (plan_run(p, &error))
        fail_msg("%s", error.text);
    return plan_output(p, 0)->data;
}

static void unzip(const char *name, void *out, size_t size)
{
    char path[512];
    gzFile f = gzopen(data_file(name, path, sizeof(path)), "rb");
    assert_non_null(f);
    assert_int_equal(gzread(f, out, (unsigned)size), (int)size);
    gzclose(f);
}

static uint32_t count_right(const struct graph *g, const struct plan_options *options,
                            const uint8_t *images, const uint8_t *labels)
{
    struct plan *p = planned(g, options);
    float *x = plan_input(p, 0)->data;
    uint32_t right = 0;
    for (uint32_t i = 0; i < IMAGES; i++) {
        uint32_t best = 0;
        for (uint32_t k = 0; k < SIDE * SIDE; k++)
            x[k] = images[i * SIDE * SIDE + k];
        const float *scores = answer(p);
        for (uint32_t c = 1; c < 10; c++)
            best = scores[c] > scores[best] ? c : best;
        right += best == labels[i];
    }
    plan_free(p);
    return right;
}

static void mnist_is_right_9891_times_of_10000(void **state)
{
    (void)state;
    need_data();
    static const struct plan_options plain = { .plain = true }, bf16 = { .bf16 = true };
    const size_t size = IDX_HEAD + (size_t)IMAGES * SIDE * SIDE;
    uint8_t *images = malloc(size), *labels = malloc(IDX_LABELS_HEAD + IMAGES);
    assert_non_null(images);
    assert_non_null(labels);
    unzip("vision/mnist/t10k-images-idx3-ubyte.gz", images, size);
    unzip("vision/mnist/t10k-labels-idx1-ubyte.gz", labels, IDX_LABELS_HEAD + IMAGES);
    struct graph *g = model("onnx/mnist.onnx");
    const uint32_t fast = count_right(g, NULL, images + IDX_HEAD, labels + IDX_LABELS_HEAD);
    const uint32_t slow = count_right(g, &plain, images + IDX_HEAD, labels + IDX_LABELS_HEAD);
    const uint32_t half = count_right(g, &bf16, images + IDX_HEAD, labels + IDX_LABELS_HEAD);
    print_message("mnist.onnx: %u right, plain %u, bfloat16 %u\n", fast, slow, half);
    assert_in_range(fast, 9890, 9892);
    assert_in_range(slow, 9890, 9892);
    assert_in_range(half, 9880, 9900);
    graph_free(g);
    free(images);
    free(labels);
}

static double largest_error(const struct graph *g, const struct plan_options *options,
                            const json_t *logits)
{
    struct plan *p = planned(g, options);
    float *x = plan_input(p, 0)->data;
    double most = 0;
    for (size_t i = 0; i < tensor_count(plan_input(p, 0)); i++)
        x[i] = (float)((double)((i * 7 + 3) % 256) / 255 * 4 - 2);
    const float *y = answer(p);
    assert_int_equal(tensor_count(plan_output(p, 0)), json_array_size(logits));
    for (size_t i = 0; i < json_array_size(logits); i++)
        most = fmax(most, fabs((double)y[i] - json_real_value(json_array_get(logits, i))));
    plan_free(p);
    return most;
}

static void a_residual_network_gives_the_logits_of_onnxruntime(void **state)
{
    (void)state;
    need_data();
    static const struct plan_options plain = { .plain = true }, bf16 = { .bf16 = true };
    char path[512];
    json_t *expected = json_load_file(data_file("onnx/expected.json", path, sizeof(path)), 0, NULL);
    const json_t *logits = json_object_get(json_object_get(expected, "cifar10_resnet20"), "logits");
    assert_non_null(logits);
    struct graph *g = model("onnx/cifar10_resnet20.onnx");
    const double fast = largest_error(g, NULL, logits), slow = largest_error(g, &plain, logits);
    const double half = largest_error(g, &bf16, logits);
    print_message("cifar10_resnet20.onnx: off by %.2g at most, plain %.2g, bfloat16 %.2g\n", fast,
                  slow, half);
    assert_true(fast < 1e-4 && slow < 1e-4);
    assert_true(half < 1);
    graph_free(g);
    json_decref(expected);
}

static void deep_networks_run_and_fuse(void **state)
{
    (void)state;
    need_data();
    static const char *const names[] = { "resnet50", "squeezenet", "shufflenet" };
    for (size_t n = 0; n < 3; n++) {
        char name[64];
        snprintf(name, sizeof(name), "onnx/light/light_%s.onnx", names[n]);
        struct graph *g = model(name);
        struct plan *p = planned(g, NULL);
        struct plan_facts facts;
        float *x = plan_input(p, 0)->data;
        const size_t count = tensor_count(plan_input(p, 0));
        for (size_t i = 0; i < count; i++)
            x[i] = (float)i / (float)count;
        const float *y = answer(p);
        for (size_t i = 0; i < tensor_count(plan_output(p, 0)); i++)
            assert_true(fabsf(y[i] - 0.001f) < 1e-5f);
        plan_facts(p, &facts);
        print_message("%s: %u nodes, %u folded, %u fused, %.1f MB of values\n", names[n],
                      facts.nodes, facts.folded, facts.fused, (double)facts.arena_bytes / 1e6);
        assert_true(facts.fused > 20);
        plan_free(p);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mnist_is_right_9891_times_of_10000),
        cmocka_unit_test(a_residual_network_gives_the_logits_of_onnxruntime),
        cmocka_unit_test(deep_networks_run_and_fuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
