/*
 * scorer.c: a network of our own is packed and scored by net.c. An ONNX file is planned once, for
 * one picture; rows run one by one, so that the batch is not in their bits.
 */
#include "scorer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels/activation.h"

enum { CLASSES_MAX = 65536 };

/* ---- networks of our own */

static maas_status load_own(const char *root, struct scorer *s, maas_error *error)
{
    maas_status status = vision_read(root, &s->own, error);
    if (status)
        return status;
    const struct vision_shape *shape = &s->own.net.shape;
    s->classes = shape->classes;
    s->work = s->own.net.floats;
    s->resident_bytes = s->own.net.count * 2 * sizeof(float);
    s->prepare = (struct prepare){ .width = shape->width,
                                   .height = shape->height,
                                   .antialias = true,
                                   .grey = true,
                                   .scale = 1 / 255.f,
                                   .deviation = { 1, 1, 1 } };
    s->labels = calloc(s->classes, sizeof(*s->labels));
    if (!s->labels)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u labels", s->classes);
    for (uint32_t c = 0; c < s->classes; c++)
        s->labels[c] = maas_text(s->own.labels[c]);
    return MAAS_OK;
}

/* ---- ONNX files */

/* [1, channels, height, width] or [1, height, width, channels]; free extents are the manifest's. */
static maas_status read_layout(struct scorer *s, maas_error *error)
{
    const struct graph_port *in = graph_input(s->graph, 0);
    struct prepare *p = &s->prepare;
    char text[100];
    if (graph_input_count(s->graph) != 1 || in->type != T_F32 || in->any_shape ||
        in->shape.rank != 4 || in->shape.dim[0] > 1)
        return maas_fail(error, MAAS_E_UNIMPLEMENTED,
                         "the model must take one float32 of [1, channels, height, width] or [1, "
                         "height, width, channels]");
    const int64_t *d = in->shape.dim;
    p->nhwc = d[1] != 1 && d[1] != 3 && (d[3] == 1 || d[3] == 3);
    const int64_t channels = p->nhwc ? d[3] : d[1], height = p->nhwc ? d[1] : d[2],
                  width = p->nhwc ? d[2] : d[3];
    if ((channels != 1 && channels != 3) || height > PREPARE_SIDE_MAX || width > PREPARE_SIDE_MAX)
        return maas_fail(
            error, MAAS_E_UNIMPLEMENTED,
            "the model takes %s; 1 or 3 channels and sides of at most %d are supported",
            shape_text(&in->shape, text, sizeof(text)), PREPARE_SIDE_MAX);
    p->grey = channels == 1;
    p->height = height > 0 ? (uint32_t)height : 0;
    p->width = width > 0 ? (uint32_t)width : 0;
    return MAAS_OK;
}

static maas_status make_plan(struct scorer *s, bool bf16, maas_error *error)
{
    const struct plan_options options = { .bf16 = bf16 };
    const int64_t channels = s->prepare.grey ? 1 : 3, height = s->prepare.height,
                  width = s->prepare.width;
    const struct tensor in = { .type = T_F32,
                               .shape = { 4,
                                          { 1, s->prepare.nhwc ? height : channels,
                                            s->prepare.nhwc ? width : height,
                                            s->prepare.nhwc ? channels : width } } };
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = plan_new(s->graph, &in, &options, &s->plan, &why);
    if (status) /* what a plan calls a precondition is a fault of the file here */
        return maas_fail(error, status == MAAS_E_PRECONDITION ? MAAS_E_INVALID : status,
                         "'model.onnx': %s", why.text);
    const struct tensor *out = plan_output(s->plan, 0);
    if (graph_output_count(s->graph) != 1 || out->type != T_F32 || !tensor_count(out) ||
        tensor_count(out) > CLASSES_MAX)
        return maas_fail(error, MAAS_E_UNIMPLEMENTED,
                         "the model must give one float32 with a score for each class, at most %d",
                         CLASSES_MAX);
    s->classes = (uint32_t)tensor_count(out);
    return MAAS_OK;
}

static maas_status load_graph(const char *root, const char *path, bool bf16, struct scorer *s,
                              maas_error *error)
{
    maas_error why = MAAS_ERROR_INIT;
    s->prepare =
        (struct prepare){ .antialias = true, .scale = 1 / 255.f, .deviation = { 1, 1, 1 } };
    s->softmax = s->one_at_a_time = true;
    maas_status status = graph_read(path, &s->graph, &why);
    if (status)
        return maas_fail(error, status, "'model.onnx': %s", why.text);
    status = read_layout(s, error);
    if (!status)
        status = manifest_read(root, &s->prepare, &s->softmax, error);
    if (!status && !prepare_valid(&s->prepare))
        status = maas_fail(error, MAAS_E_INVALID,
                           "width and height of the pictures are neither in 'model.onnx' nor in "
                           "'preprocess.txt', or 'resize' is less");
    if (!status)
        status = make_plan(s, bf16, error);
    if (!status)
        status = labels_read(root, s->classes, &s->labels, &s->label_text, error);
    if (status)
        return status;
    struct plan_facts facts;
    plan_facts(s->plan, &facts);
    s->resident_bytes =
        graph_weights_bytes(s->graph) * 2 + facts.arena_bytes + facts.constant_bytes;
    return MAAS_OK;
}

/* ---- both */

maas_status scorer_load(const char *root, bool bf16, struct scorer *out, maas_error *error)
{
    char path[4096];
    struct scorer s = { .graph = NULL };
    snprintf(path, sizeof(path), "%s/model.onnx", root);
    const bool onnx = access(path, F_OK) == 0;
    maas_status status = onnx   ? load_graph(root, path, bf16, &s, error)
                         : bf16 ? maas_fail(error, MAAS_E_INVALID,
                                            "option 'precision' of bf16 is for 'model.onnx' alone")
                                : load_own(root, &s, error);
    if (status)
        scorer_release(&s);
    else
        *out = s;
    return status;
}

void scorer_release(struct scorer *s)
{
    plan_free(s->plan);
    graph_free(s->graph);
    if (!s->graph)
        vision_release(&s->own);
    free(s->labels);
    free(s->label_text);
}

maas_status scorer_score(const struct scorer *s, float *scores, float *work, const float *picture,
                         maas_error *error)
{
    if (!s->plan) {
        vision_scores(scores, work, picture, &s->own.net, &s->own.packed);
        return MAAS_OK;
    }
    memcpy(plan_input(s->plan, 0)->data, picture, prepare_count(&s->prepare) * sizeof(*picture));
    maas_status status = plan_run(s->plan, error);
    if (status)
        return status;
    const float *out = plan_output(s->plan, 0)->data;
    if (s->softmax)
        softmax(scores, out, 1, s->classes);
    else
        memcpy(scores, out, s->classes * sizeof(*scores));
    return MAAS_OK;
}

uint32_t scorer_channels(const struct scorer *s)
{
    return s->prepare.grey ? 1 : 3;
}

size_t scorer_at(const struct scorer *s, uint32_t c, uint32_t y, uint32_t x)
{
    const size_t pixel = (size_t)y * s->prepare.width + x;
    return s->prepare.nhwc ? pixel * scorer_channels(s) + c
                           : (size_t)c * s->prepare.width * s->prepare.height + pixel;
}

float scorer_grey(const struct scorer *s, const float *picture, uint32_t y, uint32_t x)
{
    const struct prepare *p = &s->prepare;
    const uint32_t channels = scorer_channels(s);
    float sum = 0;
    for (uint32_t c = 0; c < channels; c++)
        sum += (picture[scorer_at(s, c, y, x)] * p->deviation[c] + p->mean[c]) / p->scale / 255;
    return sum / (float)channels;
}
