/*
 * model.c: the model file, vision.model, little-endian:
 *
 *     "maasvis1", kind, width, height, filters[2], hidden, classes   (u32 each)
 *     labels: classes x VISION_LABEL_MAX bytes, each ends with NUL
 *     weights: f32, layer by layer, weights then biases (net.c)
 *
 * Read as hostile input: the head is bounded by vision_net_init, the size must be exactly what it
 * says, and no weight may be so large that a sum overflows.
 */
#include "vision.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define WEIGHT_MAX 1e6f

static const char magic[8] = "maasvis1";

maas_status vision_write(const char *dir, const struct vision_model *m, maas_error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/vision.model", dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot create 'vision.model': %s",
                         strerror(errno));
    fwrite(magic, sizeof(magic), 1, file);
    fwrite(&m->net.shape, sizeof(m->net.shape), 1, file);
    fwrite(m->labels, VISION_LABEL_MAX, m->net.shape.classes, file);
    fwrite(m->weights, sizeof(float), m->net.count, file);
    bool bad = ferror(file);
    return fclose(file) || bad ? maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write 'vision.model'")
                               : MAAS_OK;
}

static maas_status damaged(maas_error *error, const char *what)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "vision.model is damaged: %s", what);
}

static bool labels_are_good(const struct vision_model *m)
{
    for (uint32_t i = 0; i < m->net.shape.classes; i++)
        if (!memchr(m->labels[i], 0, VISION_LABEL_MAX) || !m->labels[i][0])
            return false;
    return true;
}

static bool weights_are_good(const struct vision_model *m)
{
    for (size_t i = 0; i < m->net.count; i++)
        if (!(fabsf(m->weights[i]) <= WEIGHT_MAX))
            return false;
    return true;
}

static maas_status read_file(FILE *file, struct vision_model *m, maas_error *error)
{
    char head[sizeof(magic)], more;
    struct vision_shape shape;
    if (fread(head, sizeof(head), 1, file) != 1 || memcmp(head, magic, sizeof(magic)) != 0 ||
        fread(&shape, sizeof(shape), 1, file) != 1)
        return damaged(error, "it is no model of this plugin");
    if (!vision_net_init(&m->net, &shape))
        return damaged(error, "a number in its head is out of range");
    m->labels = malloc(shape.classes * sizeof(*m->labels));
    m->weights = malloc(m->net.count * sizeof(*m->weights));
    if (!m->labels || !m->weights)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    if (fread(m->labels, sizeof(*m->labels), shape.classes, file) != shape.classes ||
        fread(m->weights, sizeof(float), m->net.count, file) != m->net.count ||
        fread(&more, 1, 1, file) == 1)
        return damaged(error, "its size is not what its head says");
    if (!labels_are_good(m))
        return damaged(error, "a label is empty or does not end");
    if (!weights_are_good(m))
        return damaged(error, "a weight is too large or no number");
    return vision_pack(&m->net, m->weights, &m->packed, error);
}

maas_status vision_read(const char *dir, struct vision_model *out, maas_error *error)
{
    char path[4096];
    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/vision.model", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'vision.model': %s",
                         strerror(errno));
    maas_status status = read_file(file, out, error);
    fclose(file);
    if (status)
        vision_release(out);
    return status;
}

void vision_release(struct vision_model *m)
{
    vision_pack_release(&m->packed);
    free(m->labels);
    free(m->weights);
    memset(m, 0, sizeof(*m));
}
