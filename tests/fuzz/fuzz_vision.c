/*
 * fuzz_vision.c: any bytes as vision.model; where it loads, a picture is scored. Others as
 * preprocess.txt and labels.txt.
 */
#include "scorer.h"
#include "scratch.h"

enum { FILE_BYTES_MAX = 1 << 16, FLOATS_MAX = 1 << 20, LABELS = 3 };

static void score(const struct vision_model *m)
{
    const struct vision_shape *s = &m->net.shape;
    float *space = calloc(m->net.floats + 1, sizeof(float));
    float *picture = calloc((size_t)s->width * s->height, sizeof(float));
    float *scores = calloc(s->classes, sizeof(float));
    if (!space || !picture || !scores)
        abort();
    vision_scores(scores, space, picture, &m->net, &m->packed);
    free(space);
    free(picture);
    free(scores);
}

static void read_texts(const uint8_t *data, size_t size)
{
    struct prepare prepare = { 0 };
    bool softmax = true;
    maas_str *labels = NULL;
    char *text = NULL;
    maas_error error = MAAS_ERROR_INIT;
    store("preprocess.txt", data, size);
    (void)manifest_read(folder, &prepare, &softmax, &error);
    store("labels.txt", data, size);
    if (labels_read(folder, LABELS, &labels, &text, &error) == MAAS_OK)
        for (size_t i = 0; i < LABELS; i++)
            if (labels[i].len == 0 || memchr(labels[i].data, '\n', labels[i].len))
                abort();
    free(labels);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vision_model m;
    maas_error error = MAAS_ERROR_INIT;
    if (size > FILE_BYTES_MAX)
        return 0;
    if (size < 8 || memcmp(data, "maasvis1", 8) != 0) {
        read_texts(data, size);
        return 0;
    }
    store("vision.model", data, size);
    if (vision_read(folder, &m, &error))
        return 0;
    if (m.net.floats < FLOATS_MAX)
        score(&m);
    vision_release(&m);
    return 0;
}
