/*
 * scorer.h: what stands behind the plugin: a network trained here (vision.model), or any classifier
 * as an ONNX file (model.onnx with labels.txt and, where its defaults do not fit, preprocess.txt).
 */
#ifndef VISION_SCORER_H
#define VISION_SCORER_H

#include "vision.h"

#include "graph/graph.h"
#include "image/prepare.h"

struct scorer {
    struct prepare prepare; /* from a picture to the numbers that score takes */
    uint32_t classes;
    maas_str *labels;   /* classes */
    size_t work;        /* floats of space of one call of score */
    bool one_at_a_time; /* score keeps its values in the scorer */
    uint64_t resident_bytes;
    struct vision_model own; /* of vision.model */
    struct graph *graph;     /* of model.onnx, else NULL */
    struct plan *plan;
    bool softmax;
    char *label_text;
};

/* What the artifact's folder holds. bf16: products in bfloat16; only of model.onnx.
 * MAAS_E_INVALID, MAAS_E_UNIMPLEMENTED: says what is wrong, with file, line and key. */
maas_status scorer_load(const char *root, bool bf16, struct scorer *out, maas_error *error);
void scorer_release(struct scorer *s);
/* scores [classes] of one prepared picture; the same bits for a picture, always. */
maas_status scorer_score(const struct scorer *s, float *scores, float *work, const float *picture,
                         maas_error *error);
/* Channels and the place of channel c of pixel (y, x) in a prepared picture. */
uint32_t scorer_channels(const struct scorer *s);
size_t scorer_at(const struct scorer *s, uint32_t c, uint32_t y, uint32_t x);
/* How bright that pixel was, 0 to 1. */
float scorer_grey(const struct scorer *s, const float *picture, uint32_t y, uint32_t x);

/* ---- exam.c: the metrics of a model on labelled pictures; answers done. */
maas_status scorer_examine(const struct scorer *s, const maas_host *host,
                           const maas_train_spec *spec, const maas_request *job, maas_error *error);

/* ---- manifest.c: preprocess.txt, a key and its values a line, at last the word `end`, so that a
 * cut file is none; what stands there replaces what `p` and `softmax` hold. A file that is not
 * there changes nothing. */
maas_status manifest_read(const char *root, struct prepare *p, bool *softmax, maas_error *error);
/* labels.txt, a name a line: exactly `classes`; *text holds what *labels point into. */
maas_status labels_read(const char *root, uint32_t classes, maas_str **labels, char **text,
                        maas_error *error);

#endif
