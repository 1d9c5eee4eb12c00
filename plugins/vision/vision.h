/*
 * vision.h: the parts of the image classifier: a network, its file, data, training; plugin.c puts
 * them behind the ABI.
 *
 * Shapes: pictures are [height, width] of one channel, 0 to 1; n rows, k classes.
 */
#ifndef VISION_H
#define VISION_H

#include <maas/author.h>
#include <maas/ext/train.h>

#include <stdbool.h>

#include "kernels/conv.h"

enum {
    VISION_LABEL_MAX = 64, /* bytes, with its NUL */
    VISION_CLASSES_MAX = 1024,
    VISION_SIDE_MIN = 8,
    VISION_SIDE_MAX = 64,
    VISION_WEIGHTS_MAX = 1 << 24,
};

/* ---- net.c: two convolutions with pooling and two dense layers, or three dense layers
 *
 *   cnn: conv 3x3 filters[0], relu, max 2x2, conv 3x3 filters[1], relu, max 2x2, dense hidden,
 *        relu, dropout, dense classes
 *   mlp: dense hidden, relu, dropout, dense hidden, relu, dropout, dense classes
 */
enum vision_kind { VISION_CNN = 1, VISION_MLP = 2 };

struct vision_shape {
    uint32_t kind, width, height, filters[2], hidden, classes;
};

enum { LAYERS = 4 };

/* Where each layer's weights and biases stand in one block of floats. */
struct vision_net {
    struct vision_shape shape;
    struct conv_shape conv[2], pool[2]; /* of a cnn */
    uint32_t layers, convs;             /* convolutions are the first `convs` of the layers */
    size_t in[LAYERS], out[LAYERS];     /* dense: inputs and outputs; conv: taps and filters */
    size_t weights_at[LAYERS], biases_at[LAYERS], count;
    size_t floats;     /* work space of one row's answer */
    uint64_t products; /* multiplications of one row's answer */
};

/* False: a number is out of range. */
bool vision_net_init(struct vision_net *net, const struct vision_shape *shape);
/* He et al. 2015: normal with variance 2 / inputs; biases 0. */
void vision_net_draw(const struct vision_net *net, float *weights, uint64_t *random);

/* Dense layers packed, convolutions as they are. */
struct vision_packed {
    float *memory;
    const float *dense[LAYERS];
    const float *plain; /* the block of weights: borrowed */
};
maas_status vision_pack(const struct vision_net *net, const float *weights,
                        struct vision_packed *out, maas_error *error);
void vision_pack_release(struct vision_packed *p);
/* scores [classes] of one picture; space: net->floats. The same bits for a picture, always. */
void vision_scores(float *scores, float *space, const float *picture, const struct vision_net *net,
                   const struct vision_packed *packed);

/* ---- learn.c: forward with what backward needs, and backward, over a batch */
struct vision_tape; /* heap; one thread */
maas_status vision_tape_new(const struct vision_net *net, uint32_t batch, struct vision_tape **out,
                            maas_error *error);
void vision_tape_free(struct vision_tape *t); /* accepts NULL */
/* The summed cross-entropy of `rows` pictures (batch at most); scale times its derivative is added
 * to gradient [count]. */
double vision_gradient(struct vision_tape *t, float *gradient, const float *weights,
                       const float *pictures, const uint32_t *truth, uint32_t rows, float scale,
                       float dropout, uint64_t *random);

/* ---- model.c: the artifact's one file, vision.model */
struct vision_model {
    struct vision_net net;
    char (*labels)[VISION_LABEL_MAX];
    float *weights;
    struct vision_packed packed;
};
maas_status vision_write(const char *dir, const struct vision_model *m, maas_error *error);
maas_status vision_read(const char *dir, struct vision_model *out, maas_error *error);
void vision_release(struct vision_model *m);

/* ---- data.c: pictures with labels out of a folder */
struct vision_data {
    uint32_t rows, width, height, classes;
    uint8_t *pixels; /* rows x height x width */
    uint32_t *truth; /* rows */
    char (*labels)[VISION_LABEL_MAX];
};
/*
 * `part` is "train" or "test"; the first of these that is there:
 *   PART-images-idx3-ubyte and PART-labels-idx1-ubyte, each also with .gz ("t10k" is "test", too);
 *   PART.csv: a column `label`, all others are pixels in the order of rows, 0 to pixel_max;
 *   images/LABEL/FILE: JPEG, PNG or WebP, resized to width by height (train only).
 * MAAS_E_NOT_FOUND: none of them.
 */
struct vision_reading {
    const char *dir, *part;
    uint32_t width, height; /* 0: as the data says (28 for images) */
    double pixel_max;
};
maas_status vision_data_read(const struct vision_reading *how, struct vision_data *out,
                             const maas_host *host, const maas_request *job, maas_error *error);
void vision_data_release(struct vision_data *d);

/* ---- train.c: "maas.train/1" */
extern const maas_option_decl *const vision_train_options[];
maas_status vision_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error);
maas_status vision_evaluate(const maas_host *host, const struct vision_model *m,
                            const maas_train_spec *spec, const maas_request *job,
                            maas_error *error);

#endif
