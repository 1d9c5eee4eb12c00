/*
 * train.c: training by mini-batches on cross-entropy, and evaluation.
 *
 * Rows are shuffled by the seed and divided: test, validation, training. A batch is taken in pieces
 * whose gradients are added up, so that there is a look at `cancelled` about every 10 ms. The rate
 * falls along half a cosine (Loshchilov and Hutter 2017). After each epoch the validation rows are
 * scored; the epoch that got most of them right is the model, and `patience` epochs without a
 * better one end it. Same data, options and seed: same bytes.
 */
#include "vision.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "evaluation/evaluation.h"
#include "kernels/optim.h"

#define PIECE_PRODUCTS ((uint64_t)60000000) /* forwards; about 10 ms with all that is backwards */

const maas_option_decl *const vision_train_options[] = {
    MAAS_OPTION("network", MAAS_OPTION_TEXT, "cnn", "cnn|mlp",
                "two convolutions with pooling, or three dense layers"),
    MAAS_OPTION("optimiser", MAAS_OPTION_TEXT, "adam", "adam|momentum|sgd",
                "how weights are learnt"),
    MAAS_OPTION("learning_rate", MAAS_OPTION_FLOAT, "0.001", "0.000001..10",
                "at first; it falls to a hundredth"),
    MAAS_OPTION("momentum", MAAS_OPTION_FLOAT, "0.9", "0..0.999", "of the optimiser momentum"),
    MAAS_OPTION("weight_decay", MAAS_OPTION_FLOAT, "0.0001", "0..1", "pull of weights towards 0"),
    MAAS_OPTION("dropout", MAAS_OPTION_FLOAT, "0.3", "0..0.9", "of the hidden dense layers"),
    MAAS_OPTION("batch", MAAS_OPTION_INT, "64", "1..4096", "pictures a step"),
    MAAS_OPTION("epochs", MAAS_OPTION_INT, "10", "1..1000", "passes over the pictures at most"),
    MAAS_OPTION("patience", MAAS_OPTION_INT, "5", "1..1000",
                "epochs without a better validation before it ends"),
    MAAS_OPTION("filters1", MAAS_OPTION_INT, "32", "1..256", "of the first convolution"),
    MAAS_OPTION("filters2", MAAS_OPTION_INT, "64", "1..256", "of the second convolution"),
    MAAS_OPTION("hidden", MAAS_OPTION_INT, "128", "1..4096", "width of the hidden dense layers"),
    MAAS_OPTION("rows", MAAS_OPTION_INT, "0", "0..4000000",
                "pictures that are used, drawn by the seed; 0: all"),
    MAAS_OPTION("validation_fraction", MAAS_OPTION_FLOAT, "0.05", "0..0.5",
                "share of the pictures that says when to stop"),
    MAAS_OPTION("test_fraction", MAAS_OPTION_FLOAT, "0.1", "0..0.9",
                "share of the pictures kept for the test metrics"),
    MAAS_OPTION("width", MAAS_OPTION_INT, "0", "0..64", "of pictures; 0: as the data says, or 28"),
    MAAS_OPTION("height", MAAS_OPTION_INT, "0", "0..64", "of pictures; 0: as the data says, or 28"),
    MAAS_OPTION("pixel_max", MAAS_OPTION_FLOAT, "255", "0.001..1000000", "white in train.csv"),
    NULL,
};

static const maas_option *option(const maas_train_spec *spec, const char *name)
{
    return maas_option_find(spec->options, spec->option_count, name);
}

struct learner {
    const struct vision_data *data;
    struct vision_model model; /* labels are the data's */
    struct vision_tape *tape;
    uint32_t *order; /* rows: test, validation, training */
    uint32_t test, validation, train, piece, batch;
    float *weights, *gradient, *m, *v, *pictures;
    uint32_t *truth;
    uint64_t random, step, steps;
    double rate, decay, beta, dropout;
    char optimiser; /* a, m, s */
};

static void learner_release(struct learner *l)
{
    vision_tape_free(l->tape);
    l->model.labels = NULL;
    vision_release(&l->model);
    free(l->order);
    free(l->weights);
    free(l->gradient);
    free(l->m);
    free(l->v);
    free(l->pictures);
    free(l->truth);
}

static void picture_of(const struct vision_data *d, uint32_t row, float *out)
{
    const size_t size = (size_t)d->width * d->height;
    for (size_t i = 0; i < size; i++)
        out[i] = d->pixels[row * size + i] * (1 / 255.f);
}

/* ---- preparations */

static void divide_rows(struct learner *l, const maas_train_spec *spec)
{
    uint32_t rows = l->data->rows, wanted = (uint32_t)option(spec, "rows")->integer;
    for (uint32_t i = 0; i < rows; i++)
        l->order[i] = i;
    random_shuffle(&l->random, l->order, rows);
    rows = wanted && wanted < rows ? wanted : rows;
    l->test = (uint32_t)(rows * option(spec, "test_fraction")->real);
    l->validation = (uint32_t)((rows - l->test) * option(spec, "validation_fraction")->real);
    l->train = rows - l->test - l->validation;
}

static bool take_memory(struct learner *l)
{
    const struct vision_net *n = &l->model.net;
    const size_t bytes = n->count * sizeof(float);
    l->weights = malloc(bytes);
    l->model.weights = malloc(bytes);
    l->gradient = malloc(bytes);
    l->m = calloc(1, bytes);
    l->v = calloc(1, bytes);
    l->pictures = malloc((size_t)l->piece * l->data->width * l->data->height * sizeof(float));
    l->truth = malloc(l->piece * sizeof(*l->truth));
    return l->weights && l->model.weights && l->gradient && l->m && l->v && l->pictures && l->truth;
}

static maas_status learner_init(struct learner *l, const struct vision_data *d,
                                const maas_train_spec *spec, maas_error *error)
{
    const struct vision_shape shape = { .kind = option(spec, "network")->text.data[0] == 'c'
                                                    ? VISION_CNN
                                                    : VISION_MLP,
                                        .width = d->width,
                                        .height = d->height,
                                        .filters = { (uint32_t)option(spec, "filters1")->integer,
                                                     (uint32_t)option(spec, "filters2")->integer },
                                        .hidden = (uint32_t)option(spec, "hidden")->integer,
                                        .classes = d->classes };
    *l = (struct learner){ .data = d,
                           .random = spec->seed,
                           .batch = (uint32_t)option(spec, "batch")->integer,
                           .decay = option(spec, "weight_decay")->real,
                           .beta = option(spec, "momentum")->real,
                           .dropout = option(spec, "dropout")->real,
                           .optimiser = option(spec, "optimiser")->text.data[0] };
    if (!vision_net_init(&l->model.net, &shape))
        return maas_fail(error, MAAS_E_INVALID, "the network has more than %d weights",
                         VISION_WEIGHTS_MAX);
    l->model.labels = d->labels;
    const uint64_t piece = PIECE_PRODUCTS / l->model.net.products;
    l->piece = piece < 1 ? 1 : piece < l->batch ? (uint32_t)piece : l->batch;
    l->order = malloc(d->rows * sizeof(*l->order));
    if (!l->order || !take_memory(l))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu weights", l->model.net.count);
    divide_rows(l, spec);
    if (l->train == 0)
        return maas_fail(error, MAAS_E_INVALID, "%u pictures leave none to learn from", d->rows);
    vision_net_draw(&l->model.net, l->weights, &l->random);
    return vision_tape_new(&l->model.net, l->piece, &l->tape, error);
}

/* ---- learning */

static void update(struct learner *l)
{
    const size_t count = l->model.net.count;
    const double done = (double)l->step / (double)l->steps;
    const float rate = (float)(l->rate * (0.01 + 0.99 * (1 + cos(M_PI * done)) / 2));
    const float decay = (float)l->decay;
    l->step++;
    if (l->optimiser == 'a')
        optim_adam(l->weights, l->m, l->v, l->gradient, rate, decay, l->step, count);
    else if (l->optimiser == 'm')
        optim_momentum(l->weights, l->v, l->gradient, rate, (float)l->beta, decay, count);
    else
        optim_sgd(l->weights, l->gradient, rate, decay, count);
}

/* The loss of a batch, summed; MAAS_E_CANCELLED between two pieces. */
static maas_status learn_batch(struct learner *l, const uint32_t *rows, uint32_t count,
                               double *loss, const maas_host *host, const maas_request *job,
                               maas_error *error)
{
    const size_t size = (size_t)l->data->width * l->data->height;
    memset(l->gradient, 0, l->model.net.count * sizeof(float));
    for (uint32_t at = 0; at < count; at += l->piece) {
        const uint32_t some = count - at < l->piece ? count - at : l->piece;
        for (uint32_t i = 0; i < some; i++) {
            picture_of(l->data, rows[at + i], l->pictures + i * size);
            l->truth[i] = l->data->truth[rows[at + i]];
        }
        *loss += vision_gradient(l->tape, l->gradient, l->weights, l->pictures, l->truth, some,
                                 1 / (float)count, (float)l->dropout, &l->random);
        if (host->cancelled(host, job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled while learning");
    }
    update(l);
    return MAAS_OK;
}

static maas_status learn_epoch(struct learner *l, const maas_host *host, const maas_request *job,
                               maas_error *error)
{
    uint32_t *rows = l->order + l->test + l->validation;
    double loss = 0;
    maas_status status = MAAS_OK;
    random_shuffle(&l->random, rows, l->train);
    for (uint32_t at = 0; at < l->train && !status; at += l->batch) {
        const uint32_t count = l->train - at < l->batch ? l->train - at : l->batch;
        status = learn_batch(l, rows + at, count, &loss, host, job, error);
        if (l->step % 32 == 0)
            maas_emit_scalar(host, job, "progress", (double)l->step / (double)l->steps);
    }
    if (!status && !isfinite(loss))
        return maas_fail(error, MAAS_E_INVALID, "learning diverged; lower 'learning_rate'");
    maas_emit_scalar(host, job, "train_loss", loss / l->train);
    return status;
}

/* ---- scoring rows of a set with a packed model */

struct scored {
    const struct vision_model *model;
    const struct vision_data *data;
    const uint32_t *rows;    /* NULL: all in order */
    const uint32_t *classes; /* of the data's classes, the model's; NULL: the same */
    uint32_t count;
};

static maas_status score_rows(const struct scored *s, struct classification *c,
                              const maas_host *host, const maas_request *job, maas_error *error)
{
    const struct vision_net *n = &s->model->net;
    const size_t size = (size_t)n->shape.width * n->shape.height;
    float *space = malloc((n->floats + size + n->shape.classes) * sizeof(float));
    maas_status status =
        space ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory to score a picture");
    for (uint32_t i = 0; i < s->count && !status; i++) {
        const uint32_t row = s->rows ? s->rows[i] : i, truth = s->data->truth[row];
        float *picture = space + n->floats, *scores = picture + size;
        picture_of(s->data, row, picture);
        vision_scores(scores, space, picture, n, &s->model->packed);
        status = classification_add(c, scores, s->classes ? s->classes[truth] : truth, error);
        if (!status && i % 8 == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled while scoring");
    }
    free(space);
    return status;
}

/* Metrics of rows; part NULL: none are told. */
static maas_status measure(const struct scored *s, const char *part,
                           struct classification_metrics *out, const maas_host *host,
                           const maas_request *job, maas_error *error)
{
    struct classification *c = NULL;
    maas_status status = classification_new(s->model->net.shape.classes, &c, error);
    if (!status)
        status = score_rows(s, c, host, job, error);
    if (!status && part)
        classification_emit(c, host, job, part);
    if (!status && out)
        classification_metrics(c, out);
    classification_free(c);
    return status;
}

static maas_status measure_part(const struct learner *l, uint32_t from, uint32_t count,
                                const char *part, struct classification_metrics *out,
                                const maas_host *host, const maas_request *job, maas_error *error)
{
    const struct scored s = { &l->model, l->data, l->order + from, NULL, count };
    return count ? measure(&s, part, out, host, job, error) : MAAS_OK;
}

/* The model is what was learnt so far. */
static maas_status settle(struct learner *l, const float *weights, maas_error *error)
{
    memmove(l->model.weights, weights, l->model.net.count * sizeof(float));
    vision_pack_release(&l->model.packed);
    return vision_pack(&l->model.net, l->model.weights, &l->model.packed, error);
}

static bool is_better(const struct classification_metrics *a,
                      const struct classification_metrics *b)
{
    return a->accuracy > b->accuracy || (a->accuracy == b->accuracy && a->log_loss < b->log_loss);
}

static maas_status learn(struct learner *l, const maas_train_spec *spec, float *best,
                         const maas_host *host, const maas_request *job, maas_error *error)
{
    const uint32_t epochs = (uint32_t)option(spec, "epochs")->integer;
    const uint32_t patience = (uint32_t)option(spec, "patience")->integer;
    struct classification_metrics top = { .accuracy = -1 }, now = top;
    maas_status status = MAAS_OK;
    l->rate = option(spec, "learning_rate")->real;
    l->steps = (uint64_t)epochs * ((l->train + l->batch - 1) / l->batch);
    for (uint32_t epoch = 0, since = 0; epoch < epochs && since < patience && !status; epoch++) {
        maas_emit_scalar(host, job, "epoch", epoch + 1);
        status = learn_epoch(l, host, job, error);
        if (!status)
            status = settle(l, l->weights, error);
        if (!status)
            status = measure_part(l, l->test, l->validation, NULL, &now, host, job, error);
        if (!status && l->validation)
            maas_emit_scalar(host, job, "validation_accuracy", now.accuracy);
        since++;
        if (!l->validation || is_better(&now, &top)) {
            memcpy(best, l->weights, l->model.net.count * sizeof(float));
            top = now;
            since = 0;
        }
    }
    return status ? status : settle(l, best, error);
}

/* ---- the jobs */

static maas_status train_on(struct learner *l, const maas_train_spec *spec, const maas_host *host,
                            const maas_request *job, maas_error *error)
{
    float *best = malloc(l->model.net.count * sizeof(*best));
    maas_status status = best ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    if (!status)
        status = learn(l, spec, best, host, job, error);
    free(best);
    if (!status)
        status = measure_part(l, l->test, l->validation, "validation", NULL, host, job, error);
    if (!status)
        status = measure_part(l, 0, l->test, "test", NULL, host, job, error);
    return status ? status : vision_write(spec->out, &l->model, error);
}

static struct vision_reading reading_of(const maas_train_spec *spec, const char *part)
{
    return (struct vision_reading){ .dir = spec->data,
                                    .part = part,
                                    .width = (uint32_t)option(spec, "width")->integer,
                                    .height = (uint32_t)option(spec, "height")->integer,
                                    .pixel_max = option(spec, "pixel_max")->real };
}

maas_status vision_train(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error)
{
    struct vision_data data;
    struct learner l;
    const struct vision_reading how = reading_of(spec, "train");
    maas_status status = vision_data_read(&how, &data, host, job, error);
    if (status)
        return status;
    status = learner_init(&l, &data, spec, error);
    if (!status)
        status = train_on(&l, spec, host, job, error);
    learner_release(&l);
    vision_data_release(&data);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static maas_status match_classes(const struct vision_model *m, const struct vision_data *d,
                                 uint32_t *out, maas_error *error)
{
    for (uint32_t i = 0; i < d->classes; i++) {
        uint32_t k = 0;
        while (k < m->net.shape.classes && strcmp(m->labels[k], d->labels[i]) != 0)
            k++;
        if (k == m->net.shape.classes)
            return maas_fail(error, MAAS_E_INVALID, "the model has no class '%s'", d->labels[i]);
        out[i] = k;
    }
    return MAAS_OK;
}

maas_status vision_evaluate(const maas_host *host, const struct vision_model *m,
                            const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    struct vision_data d;
    uint32_t classes[VISION_CLASSES_MAX];
    const struct vision_shape *s = &m->net.shape;
    struct vision_reading how = reading_of(spec, "test");
    how.width = s->width;
    how.height = s->height;
    maas_status status = vision_data_read(&how, &d, host, job, error);
    how.part = "train";
    if (status == MAAS_E_NOT_FOUND)
        status = vision_data_read(&how, &d, host, job, error);
    if (status)
        return status;
    if (d.width != s->width || d.height != s->height)
        status = maas_fail(error, MAAS_E_INVALID, "pictures are %u by %u, the model's %u by %u",
                           d.width, d.height, s->width, s->height);
    if (!status)
        status = match_classes(m, &d, classes, error);
    const struct scored all = { m, &d, NULL, classes, d.rows };
    if (!status)
        status = measure(&all, "test", NULL, host, job, error);
    vision_data_release(&d);
    if (!status)
        host->done(host, job, MAAS_OK, NULL);
    return status;
}
