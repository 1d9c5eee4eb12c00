/*
 * exam.c: what an ONNX model is worth: on images/LABEL/FILE of any size, one after the other, each
 * prepared as a request's is, or on IDX files and rows of numbers (data.c), as pictures of grey.
 */
#include <stdlib.h>

#include "evaluation/evaluation.h"
#include "pictures.h"
#include "scorer.h"

enum { LOOK_ROWS = 16 };

struct exam {
    const struct scorer *scorer;
    struct classification *tally;
    float *picture, *scores, *work;
};

static maas_status class_of(const struct scorer *s, const char *label, uint32_t *out,
                            maas_error *error)
{
    for (*out = 0; *out < s->classes; ++*out)
        if (s->labels[*out].len == strlen(label) &&
            memcmp(s->labels[*out].data, label, s->labels[*out].len) == 0)
            return MAAS_OK;
    return maas_fail(error, MAAS_E_INVALID, "the model has no class '%.64s'", label);
}

/* Scores what stands in e->picture. */
static maas_status judge(const struct exam *e, const char *label, maas_error *error)
{
    uint32_t class;
    maas_status status = class_of(e->scorer, label, &class, error);
    if (!status)
        status = scorer_score(e->scorer, e->scores, e->work, e->picture, error);
    return status ? status : classification_add(e->tally, e->scores, class, error);
}

static maas_status judge_file(void *arg, const char *label, maas_str file, maas_error *error)
{
    const struct exam *e = arg;
    maas_status status = picture_prepare(e->picture, file, &e->scorer->prepare, error);
    return status ? status : judge(e, label, error);
}

/* ---- rows of numbers: bytes of grey */

static maas_status judge_row(const struct exam *e, const struct vision_data *d, uint32_t row,
                             uint8_t *colours, float *space, maas_error *error)
{
    const size_t size = (size_t)d->width * d->height;
    const uint8_t *grey = d->pixels + row * size;
    const struct image image = { colours, 3, (ptrdiff_t)3 * d->width, d->width, d->height };
    for (size_t i = 0; i < size; i++)
        colours[3 * i] = colours[3 * i + 1] = colours[3 * i + 2] = grey[i];
    prepare(e->picture, space, &image, &e->scorer->prepare);
    return judge(e, d->labels[d->truth[row]], error);
}

static maas_status judge_rows(const struct exam *e, const struct vision_data *d,
                              const maas_host *host, const maas_request *job, maas_error *error)
{
    uint8_t *colours = malloc((size_t)3 * d->width * d->height);
    float *space = malloc(prepare_space(&e->scorer->prepare, d->width, d->height) * sizeof(float));
    maas_status status =
        colours && space ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a picture");
    for (uint32_t i = 0; i < d->rows && !status; i++) {
        status = judge_row(e, d, i, colours, space, error);
        if (!status && i % LOOK_ROWS == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    free(colours);
    free(space);
    return status;
}

static maas_status judge_part(const struct exam *e, const struct vision_reading *how,
                              const maas_host *host, const maas_request *job, maas_error *error)
{
    struct vision_data d;
    maas_status status = vision_data_read(how, &d, host, job, error);
    if (status)
        return status;
    status = judge_rows(e, &d, host, job, error);
    vision_data_release(&d);
    return status;
}

/* ---- the whole */

static maas_status take(struct exam *e, maas_error *error)
{
    const struct scorer *s = e->scorer;
    e->picture = malloc(prepare_count(&s->prepare) * sizeof(float));
    e->scores = malloc(s->classes * sizeof(float));
    e->work = malloc(s->work * sizeof(float) + 1);
    return e->picture && e->scores && e->work
               ? classification_new(s->classes, &e->tally, error)
               : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the scores");
}

static maas_status examine(struct exam *e, const maas_host *host, const maas_train_spec *spec,
                           const maas_request *job, maas_error *error)
{
    struct vision_reading how = {
        .dir = spec->data,
        .part = "test",
        .pixel_max = maas_option_find(spec->options, spec->option_count, "pixel_max")->real
    };
    maas_status status = judge_part(e, &how, host, job, error);
    how.part = "train";
    if (status == MAAS_E_NOT_FOUND)
        status = pictures_exist(spec->data)
                     ? pictures_walk(spec->data, judge_file, e, host, job, error)
                     : judge_part(e, &how, host, job, error);
    return status;
}

maas_status scorer_examine(const struct scorer *s, const maas_host *host,
                           const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    struct exam e = { .scorer = s };
    maas_status status = take(&e, error);
    if (!status)
        status = examine(&e, host, spec, job, error);
    if (!status) {
        classification_emit(e.tally, host, job, "test");
        host->done(host, job, MAAS_OK, NULL);
    }
    classification_free(e.tally);
    free(e.picture);
    free(e.scores);
    free(e.work);
    return status;
}
