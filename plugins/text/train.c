/*
 * train.c: training and evaluation of the linear head.
 *
 * A feature's weight is learnt as w[c][f] = r[c][f] u[c][f]: r is the log-count ratio of the class
 * against the rest (Wang and Manning, Baselines and Bigrams, 2012; 1 without the option `nb`), u is
 * what cross-entropy with L2 makes of it by SGD or Adam (Kingma and Ba, 2014), row by row in a
 * shuffled order. Adam's moments are kept lazily: a feature that is not in the row is not touched.
 *
 * After each epoch the rows kept for validation are scored; the best epoch's weights are the model,
 * and training ends when `patience` epochs brought nothing better. Same data, options and seed:
 * same bytes.
 *
 * A row is kept as the list of its features' numbers, in the order in which they first came: 4
 * bytes a feature, FEATURES_MAX in all. Of different features only the first `features` are learnt.
 */
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataset/csv.h"
#include "dataset/random.h"
#include "evaluation/evaluation.h"

#define FEATURES_MAX ((uint64_t)1 << 28)
#define ROWS_MAX     ((uint64_t)1 << 26)
enum { LOOK_ROWS = 64 }; /* between two looks at cancelled */

#define OPTION(n, k, f, c, h)                                                                      \
    &(const maas_option_decl)                                                                      \
    {                                                                                              \
        .size = sizeof(maas_option_decl), .kind = (k), .name = (n), .fallback = (f),               \
        .choices = (c), .help = (h)                                                                \
    }

const maas_option_decl *const text_train_options[] = {
    OPTION("text_column", MAAS_OPTION_TEXT, "text", NULL, "the column with the texts"),
    OPTION("label_column", MAAS_OPTION_TEXT, "label", NULL, "the column with the classes"),
    OPTION("features", MAAS_OPTION_INT, "4000000", "1000..50000000",
           "different features that are learnt at most"),
    OPTION("word_ngrams", MAAS_OPTION_INT, "2", "1..5", "runs of 1 to so many words"),
    OPTION("char_ngrams", MAAS_OPTION_INT, "0", "0..5",
           "runs of 3 to so many characters inside of words; 0: none"),
    OPTION("stem", MAAS_OPTION_INT, "5", "0..16",
           "the first characters of longer words are a feature; 0: not"),
    OPTION("negation", MAAS_OPTION_INT, "3", "0..8",
           "words behind not, never and the like that are words of their own; 0: none"),
    OPTION("nb", MAAS_OPTION_BOOL, "true", NULL, "weigh features by their log-count ratios"),
    OPTION("prior", MAAS_OPTION_FLOAT, "0.25", "0..10",
           "with nb: learning starts from so much of the log-count ratios"),
    OPTION("optimiser", MAAS_OPTION_TEXT, "adam", "adam|sgd", "how weights are learnt"),
    OPTION("learning_rate", MAAS_OPTION_FLOAT, "0.02", "0.000001..100",
           "of the first epoch; it falls to a tenth"),
    OPTION("l2", MAAS_OPTION_FLOAT, "0.00002", "0..10", "weight decay"),
    OPTION("epochs", MAAS_OPTION_INT, "20", "1..1000", "passes over the rows at most"),
    OPTION("patience", MAAS_OPTION_INT, "3", "1..1000",
           "epochs without a better validation before it ends"),
    OPTION("validation_fraction", MAAS_OPTION_FLOAT, "0.05", "0..0.5",
           "share of the rows that says when to stop"),
    OPTION("test_fraction", MAAS_OPTION_FLOAT, "0.1", "0..0.9",
           "share of the rows kept for the test metrics"),
    NULL,
};

static const maas_option *option(const maas_train_spec *spec, const char *name)
{
    return maas_option_find(spec->options, spec->option_count, name);
}

/* ---- rows */

struct corpus {
    struct shape shape;
    uint32_t *features; /* numbers, of all rows, one behind the other */
    uint64_t count, room;
    uint64_t *ends; /* rows: where each row's features end */
    uint32_t *labels;
    uint32_t rows, row_room;
    char (*names)[TEXT_LABEL_MAX]; /* classes in the order in which they came, later sorted */
    uint32_t classes, class_room;
    uint32_t *keys, *numbers, slots; /* table.c's table, and the number of each key */
    uint32_t distinct, distinct_max;
    bool full;
};

static void corpus_release(struct corpus *c)
{
    free(c->features);
    free(c->ends);
    free(c->labels);
    free(c->names);
    free(c->keys);
    free(c->numbers);
}

/* ---- which features there are */

static bool table_grow(struct corpus *c)
{
    uint32_t slots = c->slots ? c->slots * 2 : 4096;
    uint32_t *keys = calloc(slots, sizeof(*keys)), *numbers = malloc(slots * sizeof(*numbers));
    if (!keys || !numbers) {
        free(keys);
        free(numbers);
        return false;
    }
    const struct table table = { keys, slots };
    for (uint32_t i = 0; i < c->slots; i++)
        if (c->keys[i]) {
            uint32_t at = table_slot(&table, c->keys[i]);
            keys[at] = c->keys[i];
            numbers[at] = c->numbers[i];
        }
    free(c->keys);
    free(c->numbers);
    c->keys = keys;
    c->numbers = numbers;
    c->slots = slots;
    return true;
}

/* The key's number, a new one when there is none; UINT32_MAX: there are enough. */
static uint32_t number_of(struct corpus *c, uint32_t key)
{
    if (2ull * (c->distinct + 1) > c->slots && !table_grow(c)) {
        c->full = true;
        return UINT32_MAX;
    }
    const struct table table = { c->keys, c->slots };
    uint32_t at = table_slot(&table, key);
    if (c->keys[at])
        return c->numbers[at];
    if (c->distinct == c->distinct_max)
        return UINT32_MAX;
    c->keys[at] = key;
    return c->numbers[at] = c->distinct++;
}

/* ---- what stands in a row */

static void *grown(void *old, uint64_t *room, uint64_t need, size_t size)
{
    uint64_t more = *room ? *room * 2 : 1024;
    if (need <= *room)
        return old;
    void *memory = realloc(old, (more > need ? more : need) * size);
    if (memory)
        *room = more > need ? more : need;
    return memory;
}

static void keep_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct corpus *c = arg;
    (void)first;
    (void)last;
    uint32_t number = c->full ? UINT32_MAX : number_of(c, key);
    if (number == UINT32_MAX)
        return;
    uint32_t *features = c->count < FEATURES_MAX
                             ? grown(c->features, &c->room, c->count + 1, sizeof(*features))
                             : NULL;
    c->full = !features;
    if (!features)
        return;
    c->features = features;
    c->features[c->count++] = number;
}

/* The class of that name, a new one when there is none; UINT32_MAX: no room. */
static uint32_t class_of(struct corpus *c, maas_str name)
{
    for (uint32_t i = 0; i < c->classes; i++)
        if (strlen(c->names[i]) == name.len && memcmp(c->names[i], name.data, name.len) == 0)
            return i;
    uint64_t room = c->class_room;
    void *names = c->classes < TEXT_CLASSES_MAX
                      ? grown(c->names, &room, c->classes + 1, sizeof(*c->names))
                      : NULL;
    if (!names)
        return UINT32_MAX;
    c->names = names;
    c->class_room = (uint32_t)room;
    memset(c->names[c->classes], 0, TEXT_LABEL_MAX);
    memcpy(c->names[c->classes], name.data, name.len);
    return c->classes++;
}

static maas_status add_row(struct corpus *c, uint64_t line, maas_str text, maas_str label,
                           maas_error *error)
{
    if (label.len == 0 || label.len >= TEXT_LABEL_MAX)
        return maas_fail(error, MAAS_E_INVALID, "line %llu: a label of %llu bytes",
                         (unsigned long long)line, (unsigned long long)label.len);
    uint32_t class = class_of(c, label);
    if (class == UINT32_MAX)
        return maas_fail(error, MAAS_E_INVALID, "line %llu: more than %d classes",
                         (unsigned long long)line, TEXT_CLASSES_MAX);
    uint64_t row_room = c->row_room, end_room = c->row_room;
    uint64_t *ends = grown(c->ends, &end_room, c->rows + 1ull, sizeof(*ends));
    if (ends)
        c->ends = ends;
    uint32_t *labels = grown(c->labels, &row_room, c->rows + 1ull, sizeof(*labels));
    if (labels)
        c->labels = labels;
    if (!ends || !labels || c->rows == ROWS_MAX)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", c->rows + 1);
    c->row_room = (uint32_t)row_room;
    (void)features_of(&c->shape, text, keep_feature, c);
    if (c->full)
        return maas_fail(error, MAAS_E_EXHAUSTED, "line %llu: more than %llu features in all",
                         (unsigned long long)line, (unsigned long long)FEATURES_MAX);
    c->ends[c->rows] = c->count;
    c->labels[c->rows++] = class;
    return MAAS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Classes sorted by name, so that their order does not hang on the rows'. */
static maas_status sort_classes(struct corpus *c, maas_error *error)
{
    uint32_t *place = malloc(c->classes * sizeof(*place));
    char(*sorted)[TEXT_LABEL_MAX] = malloc((size_t)c->classes * sizeof(*sorted));
    if (place && sorted) {
        memcpy(sorted, c->names, (size_t)c->classes * sizeof(*sorted));
        qsort(sorted, c->classes, sizeof(*sorted), by_name);
        for (uint32_t i = 0; i < c->classes; i++)
            place[i] = (uint32_t)((char(*)[TEXT_LABEL_MAX])bsearch(c->names[i], sorted, c->classes,
                                                                   sizeof(*sorted), by_name) -
                                  sorted);
        for (uint32_t i = 0; i < c->rows; i++)
            c->labels[i] = place[c->labels[i]];
        memcpy(c->names, sorted, (size_t)c->classes * sizeof(*sorted));
    }
    bool good = place && sorted;
    free(place);
    free(sorted);
    return good ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the classes");
}

static maas_status read_rows(struct corpus *c, const maas_train_spec *spec, const maas_host *host,
                             const maas_request *job, maas_error *error)
{
    struct csv *csv = NULL;
    const maas_str *cells = NULL;
    uint32_t text = 0, label = 0;
    maas_status status = csv_open(spec->data, "train.csv", &csv, error);
    if (!status)
        status = csv_find(csv, option(spec, "text_column")->text.data, &text, error);
    if (!status)
        status = csv_find(csv, option(spec, "label_column")->text.data, &label, error);
    while (!status && !(status = csv_next(csv, &cells, error)) && cells) {
        status = add_row(c, csv_line(csv), cells[text], cells[label], error);
        if (!status && c->rows % LOOK_ROWS == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled while reading");
    }
    csv_close(csv);
    if (!status && c->classes < 2)
        status = maas_fail(error, MAAS_E_INVALID, "two classes at least are needed");
    return status ? status : sort_classes(c, error);
}

/* ---- learning */

struct learner {
    const struct corpus *corpus;
    uint32_t classes, *order;         /* rows: test, validation, training */
    uint32_t test, validation, train; /* how many of each */
    float *ratio;                     /* weights: r; NULL: 1 */
    float *u, *m, *v;                 /* weights; m, v: Adam's moments, or NULL */
    float *weights, *bias, *z;        /* what is scored with: r u */
    float *best, *best_bias;
    double l2, rate;
    uint64_t steps;
    bool adam;
};

static void learner_release(struct learner *l)
{
    free(l->order);
    free(l->ratio);
    free(l->u);
    free(l->m);
    free(l->v);
    free(l->weights);
    free(l->bias);
    free(l->z);
    free(l->best);
    free(l->best_bias);
}

static uint64_t weight_count(const struct learner *l)
{
    return (uint64_t)l->corpus->distinct * l->classes;
}

/* The features of a row. */
static const uint32_t *row_of(const struct corpus *c, uint32_t row, uint64_t *out_count)
{
    uint64_t from = row ? c->ends[row - 1] : 0;
    *out_count = c->ends[row] - from;
    return c->features + from;
}

/* z = the class probabilities of a row. */
static void score_row(const struct learner *l, const float *weights, const float *bias,
                      uint32_t row)
{
    uint64_t n;
    const uint32_t *f = row_of(l->corpus, row, &n);
    float most = -INFINITY, total = 0, scale = n ? 1 / sqrtf((float)n) : 0;
    memset(l->z, 0, l->classes * sizeof(*l->z));
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < l->classes; c++)
            l->z[c] += weights[(size_t)f[i] * l->classes + c];
    for (uint32_t c = 0; c < l->classes; c++) {
        l->z[c] = l->z[c] * scale + bias[c];
        most = l->z[c] > most ? l->z[c] : most;
    }
    for (uint32_t c = 0; c < l->classes; c++)
        total += l->z[c] = expf(l->z[c] - most);
    for (uint32_t c = 0; c < l->classes; c++)
        l->z[c] /= total;
}

/* r[c][f] = log of (1 + n[c][f]) / (2 + rows[c]) over the same of all other classes, n counting how
 * often rows of the class have the feature. */
static bool learn_ratios(struct learner *l)
{
    const struct corpus *c = l->corpus;
    double *rows = calloc(l->classes, sizeof(*rows));
    l->ratio = calloc(weight_count(l), sizeof(*l->ratio));
    if (!rows || !l->ratio) {
        free(rows);
        return false;
    }
    for (uint32_t i = 0; i < l->train; i++) {
        uint32_t row = l->order[l->test + l->validation + i];
        uint64_t n;
        const uint32_t *f = row_of(c, row, &n);
        for (uint64_t k = 0; k < n; k++)
            l->ratio[(size_t)f[k] * l->classes + c->labels[row]] += 1;
        rows[c->labels[row]]++;
    }
    for (uint64_t f = 0; f < c->distinct; f++) {
        float *r = l->ratio + f * l->classes;
        double all = 0;
        for (uint32_t k = 0; k < l->classes; k++)
            all += r[k];
        for (uint32_t k = 0; k < l->classes; k++)
            r[k] = (float)log((1 + r[k]) / (2 + rows[k]) * (2 + l->train - rows[k]) /
                              (1 + all - r[k]));
    }
    free(rows);
    return true;
}

static void update(struct learner *l, size_t at, float gradient, float correct_m, float correct_v)
{
    float r = l->ratio ? l->ratio[at] : 1, rate = (float)l->rate;
    gradient = gradient * r + (float)l->l2 * l->u[at];
    if (l->adam) {
        l->m[at] = 0.9f * l->m[at] + 0.1f * gradient;
        l->v[at] = 0.999f * l->v[at] + 0.001f * gradient * gradient;
        l->u[at] -= rate * (l->m[at] * correct_m) / (sqrtf(l->v[at] * correct_v) + 1e-8f);
    } else {
        l->u[at] -= rate * gradient;
    }
    l->weights[at] = r * l->u[at];
}

static void learn_row(struct learner *l, uint32_t row)
{
    uint64_t n;
    const uint32_t *f = row_of(l->corpus, row, &n);
    float scale = n ? 1 / sqrtf((float)n) : 0;
    double step = (double)++l->steps;
    float correct_m = (float)(1 / (1 - pow(0.9, step))),
          correct_v = (float)(1 / (1 - pow(0.999, step)));
    score_row(l, l->weights, l->bias, row);
    l->z[l->corpus->labels[row]] -= 1; /* the gradient of cross-entropy by the scores */
    for (uint32_t c = 0; c < l->classes; c++)
        l->bias[c] -= (float)l->rate * 0.1f * l->z[c];
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < l->classes; c++)
            update(l, (size_t)f[i] * l->classes + c, l->z[c] * scale, correct_m, correct_v);
}

/* Mean cross-entropy of rows [from, from + count) of the order. */
static double loss_of(const struct learner *l, uint32_t from, uint32_t count)
{
    double loss = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = l->order[from + i];
        score_row(l, l->weights, l->bias, row);
        loss -= log(fmax(l->z[l->corpus->labels[row]], 1e-15));
    }
    return count ? loss / count : 0;
}

static void keep_best(struct learner *l)
{
    memcpy(l->best, l->weights, weight_count(l) * sizeof(*l->best));
    memcpy(l->best_bias, l->bias, l->classes * sizeof(*l->best_bias));
}

static maas_status learner_init(struct learner *l, const struct corpus *c,
                                const maas_train_spec *spec, uint64_t *random, maas_error *error)
{
    uint64_t weights = (uint64_t)c->distinct * c->classes;
    *l = (struct learner){ .corpus = c,
                           .classes = c->classes,
                           .adam = option(spec, "optimiser")->text.data[0] == 'a',
                           .l2 = option(spec, "l2")->real };
    l->test = (uint32_t)(c->rows * option(spec, "test_fraction")->real);
    l->validation = (uint32_t)((c->rows - l->test) * option(spec, "validation_fraction")->real);
    l->train = c->rows - l->test - l->validation;
    if ((uint64_t)c->slots * c->classes > TEXT_WEIGHTS_MAX)
        return maas_fail(error, MAAS_E_INVALID,
                         "%u classes of %u features are too many weights; set 'features'",
                         c->classes, c->distinct);
    l->order = malloc(c->rows * sizeof(*l->order));
    l->u = malloc(weights * sizeof(float));
    l->m = l->adam ? calloc(weights, sizeof(float)) : NULL;
    l->v = l->adam ? calloc(weights, sizeof(float)) : NULL;
    l->weights = malloc(weights * sizeof(float));
    l->best = malloc(weights * sizeof(float));
    l->bias = calloc(c->classes, sizeof(float));
    l->best_bias = calloc(c->classes, sizeof(float));
    l->z = malloc(c->classes * sizeof(float));
    if (!l->order || !l->u || (l->adam && (!l->m || !l->v)) || !l->weights || !l->best ||
        !l->bias || !l->best_bias || !l->z)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %llu weights",
                         (unsigned long long)weights);
    for (uint32_t i = 0; i < c->rows; i++)
        l->order[i] = i;
    random_shuffle(random, l->order, c->rows);
    if (option(spec, "nb")->integer && !learn_ratios(l))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the ratios");
    const float prior = (float)option(spec, "prior")->real;
    for (uint64_t i = 0; i < weights; i++) {
        l->u[i] = l->ratio ? prior : 0;
        l->weights[i] = l->ratio ? l->ratio[i] * l->u[i] : 0;
    }
    return MAAS_OK;
}

static maas_status learn_epoch(struct learner *l, uint32_t epoch, uint32_t epochs, uint64_t *random,
                               const maas_host *host, const maas_request *job, maas_error *error)
{
    uint32_t *rows = l->order + l->test + l->validation;
    random_shuffle(random, rows, l->train);
    for (uint32_t i = 0; i < l->train; i++) {
        learn_row(l, rows[i]);
        if (i % LOOK_ROWS == 0 && host->cancelled(host, job))
            return maas_fail(error, MAAS_E_CANCELLED, "cancelled in epoch %u", epoch + 1);
        if (i % 4096 == 0)
            maas_emit_scalar(host, job, "progress", (epoch + (double)i / l->train) / epochs);
    }
    return MAAS_OK;
}

static maas_status learn(struct learner *l, const maas_train_spec *spec, uint64_t *random,
                         const maas_host *host, const maas_request *job, maas_error *error)
{
    uint32_t epochs = (uint32_t)option(spec, "epochs")->integer, since = 0;
    uint32_t patience = (uint32_t)option(spec, "patience")->integer;
    double best = INFINITY, first = option(spec, "learning_rate")->real;
    maas_status status = MAAS_OK;
    for (uint32_t epoch = 0; epoch < epochs && since < patience && !status; epoch++) {
        l->rate = first * (1 - 0.9 * epoch / epochs);
        status = learn_epoch(l, epoch, epochs, random, host, job, error);
        double loss = loss_of(l, l->test, l->validation);
        maas_emit_scalar(host, job, "epoch", epoch + 1);
        if (l->validation)
            maas_emit_scalar(host, job, "validation_log_loss", loss);
        since = l->validation && loss >= best ? since + 1 : 0;
        if (since == 0) {
            best = loss;
            keep_best(l);
        }
    }
    return status;
}

/* ---- the jobs */

static maas_status tell(const struct learner *l, uint32_t from, uint32_t count, const char *part,
                        const maas_host *host, const maas_request *job, maas_error *error)
{
    struct classification *c = NULL;
    if (count == 0)
        return MAAS_OK;
    maas_status status = classification_new(l->classes, &c, error);
    for (uint32_t i = 0; i < count && !status; i++) {
        uint32_t row = l->order[from + i];
        score_row(l, l->best, l->best_bias, row);
        status = classification_add(c, l->z, l->corpus->labels[row], error);
    }
    if (!status)
        classification_emit(c, host, job, part);
    classification_free(c);
    return status;
}

/* The weights in the order of the table's slots. */
static maas_status write_model(const struct corpus *c, const struct learner *l, const char *dir,
                               maas_error *error)
{
    float *weights = calloc((size_t)c->slots * c->classes, sizeof(*weights));
    if (!weights)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to write %u features", c->distinct);
    for (uint32_t i = 0; i < c->slots; i++)
        if (c->keys[i])
            memcpy(weights + (size_t)i * c->classes, l->best + (size_t)c->numbers[i] * c->classes,
                   c->classes * sizeof(*weights));
    const struct text_model model = { .shape = c->shape,
                                      .classes = c->classes,
                                      .labels = c->names,
                                      .bias = l->best_bias,
                                      .table = { c->keys, c->slots },
                                      .weights = weights };
    maas_status status = text_write(dir, &model, error);
    free(weights);
    return status;
}

static maas_status train_on(struct corpus *c, struct learner *l, const maas_train_spec *spec,
                            const maas_host *host, const maas_request *job, maas_error *error)
{
    uint64_t random = spec->seed;
    maas_status status = read_rows(c, spec, host, job, error);
    if (!status)
        status = learner_init(l, c, spec, &random, error);
    if (!status && l->train == 0)
        status = maas_fail(error, MAAS_E_INVALID, "%u rows leave none to learn from", c->rows);
    if (!status)
        status = learn(l, spec, &random, host, job, error);
    if (!status)
        status = tell(l, l->test + l->validation, l->train, "train", host, job, error);
    if (!status)
        status = tell(l, 0, l->test, "test", host, job, error);
    return status ? status : write_model(c, l, spec->out, error);
}

maas_status text_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                       maas_error *error)
{
    struct corpus c;
    struct learner l;
    memset(&c, 0, sizeof(c));
    memset(&l, 0, sizeof(l));
    c.shape = (struct shape){ (uint32_t)option(spec, "word_ngrams")->integer,
                              (uint32_t)option(spec, "char_ngrams")->integer,
                              (uint32_t)option(spec, "stem")->integer,
                              (uint32_t)option(spec, "negation")->integer };
    c.distinct_max = (uint32_t)option(spec, "features")->integer;
    maas_status status = train_on(&c, &l, spec, host, job, error);
    learner_release(&l);
    corpus_release(&c);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

static maas_status find_label(const struct text_model *m, uint64_t line, maas_str label,
                              uint32_t *out, maas_error *error)
{
    for (uint32_t i = 0; i < m->classes; i++)
        if (strlen(m->labels[i]) == label.len && memcmp(m->labels[i], label.data, label.len) == 0) {
            *out = i;
            return MAAS_OK;
        }
    return maas_fail(error, MAAS_E_INVALID, "line %llu: the model has no class '%.*s'",
                     (unsigned long long)line, (int)(label.len < 64 ? label.len : 64), label.data);
}

static maas_status evaluate_rows(const struct text_model *m, struct csv *csv, uint32_t text,
                                 uint32_t label, struct classification *c, float *scores,
                                 const maas_host *host, const maas_request *job, maas_error *error)
{
    const maas_str *cells = NULL;
    maas_status status = MAAS_OK;
    for (uint64_t row = 0; !status && !(status = csv_next(csv, &cells, error)) && cells; row++) {
        uint32_t truth = 0;
        status = find_label(m, csv_line(csv), cells[label], &truth, error);
        if (status)
            break;
        text_scores(m, cells[text], scores);
        status = classification_add(c, scores, truth, error);
        if (!status && row % LOOK_ROWS == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return status;
}

maas_status text_evaluate(const maas_host *host, const struct text_model *m,
                          const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    char path[4096];
    struct csv *csv = NULL;
    struct classification *c = NULL;
    uint32_t text = 0, label = 0;
    float *scores = malloc(m->classes * sizeof(*scores));
    snprintf(path, sizeof(path), "%s/test.csv", spec->data);
    maas_status status =
        scores ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the scores");
    if (!status)
        status =
            csv_open(spec->data, access(path, R_OK) == 0 ? "test.csv" : "train.csv", &csv, error);
    if (!status)
        status = csv_find(csv, option(spec, "text_column")->text.data, &text, error);
    if (!status)
        status = csv_find(csv, option(spec, "label_column")->text.data, &label, error);
    if (!status)
        status = classification_new(m->classes, &c, error);
    if (!status)
        status = evaluate_rows(m, csv, text, label, c, scores, host, job, error);
    if (!status) {
        classification_emit(c, host, job, "test");
        host->done(host, job, MAAS_OK, NULL);
    }
    classification_free(c);
    csv_close(csv);
    free(scores);
    return status;
}
