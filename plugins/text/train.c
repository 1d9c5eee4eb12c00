/*
 * train.c: the frame of training, and evaluation.
 *
 * After each epoch the rows kept for validation are scored; the best epoch's weights are the model,
 * and training ends when `patience` epochs brought nothing better. Same data, options and seed:
 * same bytes.
 */
#include "train.h"

#include <math.h>
#include <stdlib.h>

#include "dataset/random.h"
#include "dataset/records.h"
#include "evaluation/evaluation.h"

const maas_option_decl *const text_train_options[] = {
    MAAS_OPTION("text_column", MAAS_OPTION_TEXT, "text", NULL, "the column with the texts"),
    MAAS_OPTION("label_column", MAAS_OPTION_TEXT, "label", NULL, "the column with the classes"),
    MAAS_OPTION("network", MAAS_OPTION_TEXT, "ngrams", "ngrams|lstm",
                "a linear head over n-grams, or over an LSTM that reads the words in their order"),
    MAAS_OPTION("features", MAAS_OPTION_INT, "4000000", "1000..50000000",
                "different features that are learnt at most"),
    MAAS_OPTION("least", MAAS_OPTION_INT, "0", "0..1000",
                "how often a feature must come to be learnt; 0: 1 of ngrams, 3 of lstm"),
    MAAS_OPTION("word_ngrams", MAAS_OPTION_INT, "2", "1..5", "runs of 1 to so many words"),
    MAAS_OPTION("char_ngrams", MAAS_OPTION_INT, "0", "0..5",
                "runs of 3 to so many characters inside of words; 0: none"),
    MAAS_OPTION("stem", MAAS_OPTION_INT, "5", "0..16",
                "the first characters of longer words are a feature; 0: not"),
    MAAS_OPTION("negation", MAAS_OPTION_INT, "3", "0..8",
                "words behind not, never and the like that are words of their own; 0: none"),
    MAAS_OPTION("nb", MAAS_OPTION_BOOL, "true", NULL, "weigh features by their log-count ratios"),
    MAAS_OPTION("prior", MAAS_OPTION_FLOAT, "0.25", "0..10",
                "with nb: learning starts from so much of the log-count ratios"),
    MAAS_OPTION("optimiser", MAAS_OPTION_TEXT, "adam", "adam|sgd",
                "ngrams: how weights are learnt"),
    MAAS_OPTION("width", MAAS_OPTION_INT, "64", "1..1024", "lstm: numbers of an embedding"),
    MAAS_OPTION("hidden", MAAS_OPTION_INT, "64", "4..1024",
                "lstm: cells of a direction; rounded down to a multiple of 4"),
    MAAS_OPTION("both_ways", MAAS_OPTION_BOOL, "true", NULL, "lstm: read from both ends"),
    MAAS_OPTION("words", MAAS_OPTION_INT, "256", "1..1024", "lstm: words that are read of a text"),
    MAAS_OPTION("dropout", MAAS_OPTION_FLOAT, "0.7", "0..0.95",
                "lstm: share of the embeddings' and of the head's numbers left out in learning"),
    MAAS_OPTION("word_dropout", MAAS_OPTION_FLOAT, "0.5", "0..0.95",
                "lstm: share of the features left out in learning"),
    MAAS_OPTION("batch", MAAS_OPTION_INT, "32", "1..1024", "lstm: rows of a step"),
    MAAS_OPTION("learning_rate", MAAS_OPTION_FLOAT, "0", "0..100",
                "of the first epoch; it falls to a tenth; 0: 0.02 of ngrams, 0.002 of lstm"),
    MAAS_OPTION("l2", MAAS_OPTION_FLOAT, "0.00002", "0..10", "weight decay"),
    MAAS_OPTION("epochs", MAAS_OPTION_INT, "20", "1..1000", "passes over the rows at most"),
    MAAS_OPTION("patience", MAAS_OPTION_INT, "3", "1..1000",
                "epochs without a better validation before it ends"),
    MAAS_OPTION("validation_fraction", MAAS_OPTION_FLOAT, "0.05", "0..0.5",
                "share of the rows that says when to stop"),
    MAAS_OPTION("test_fraction", MAAS_OPTION_FLOAT, "0.1", "0..0.9",
                "share of the rows kept for the test metrics"),
    NULL,
};

/* ---- lessons */

const maas_option *lesson_option(const struct lesson *l, const char *name)
{
    return maas_option_find(l->spec->options, l->spec->option_count, name);
}

uint32_t *lesson_rows(const struct lesson *l)
{
    return l->order + l->test + l->validation;
}

static maas_status lesson_init(struct lesson *l, const struct corpus *c, maas_error *error)
{
    l->corpus = c;
    l->random = l->spec->seed;
    l->test = (uint32_t)(c->rows * lesson_option(l, "test_fraction")->real);
    l->validation = (uint32_t)((c->rows - l->test) * lesson_option(l, "validation_fraction")->real);
    l->train = c->rows - l->test - l->validation;
    l->order = malloc(c->rows * sizeof(*l->order));
    if (!l->order)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", c->rows);
    if (l->train == 0)
        return maas_fail(error, MAAS_E_INVALID, "%u rows leave none to learn from", c->rows);
    for (uint32_t i = 0; i < c->rows; i++)
        l->order[i] = i;
    random_shuffle(&l->random, l->order, c->rows);
    return MAAS_OK;
}

/* ---- epochs */

/* Mean cross-entropy of the rows kept for validation. */
static double validate(const struct method *method, void *self, const struct lesson *l, float *p)
{
    double loss = 0;
    for (uint32_t i = 0; i < l->validation; i++) {
        const uint32_t row = l->order[l->test + i];
        method->score(self, row, false, p);
        loss -= log(fmax(p[l->corpus->truth[row]], 1e-15));
    }
    return l->validation ? loss / l->validation : 0;
}

static maas_status learn(const struct method *method, void *self, struct lesson *l, float *p,
                         maas_error *error)
{
    const uint32_t epochs = (uint32_t)lesson_option(l, "epochs")->integer;
    const uint32_t patience = (uint32_t)lesson_option(l, "patience")->integer;
    const double asked = lesson_option(l, "learning_rate")->real;
    double best = INFINITY;
    maas_status status = MAAS_OK;
    for (uint32_t epoch = 0, since = 0; epoch < epochs && since < patience && !status; epoch++) {
        l->rate = (asked > 0 ? asked : method->rate) * (1 - 0.9 * epoch / epochs);
        status = method->epoch(self, l, (double)epoch / epochs, 1.0 / epochs, error);
        double loss = validate(method, self, l, p);
        maas_emit_scalar(l->host, l->job, "epoch", epoch + 1);
        if (l->validation)
            maas_emit_scalar(l->host, l->job, "validation_log_loss", loss);
        since = l->validation && loss >= best ? since + 1 : 0;
        if (since == 0) {
            best = loss;
            method->keep(self);
        }
    }
    return status;
}

static maas_status tell(const struct method *method, void *self, const struct lesson *l,
                        const uint32_t *rows, uint32_t count, const char *part, float *p,
                        maas_error *error)
{
    struct classification *c = NULL;
    if (count == 0)
        return MAAS_OK;
    maas_status status = classification_new(l->corpus->labels.count, &c, error);
    for (uint32_t i = 0; i < count && !status; i++) {
        method->score(self, rows[i], true, p);
        status = classification_add(c, p, l->corpus->truth[rows[i]], error);
        if (!status && i % LESSON_LOOK == 0 && l->host->cancelled(l->host, l->job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    if (!status)
        classification_emit(c, l->host, l->job, part);
    classification_free(c);
    return status;
}

/* ---- the jobs */

static maas_status teach(const struct method *method, struct lesson *l, float *p, maas_error *error)
{
    void *self = NULL;
    maas_status status = method->begin(l, &self, error);
    if (!status)
        status = learn(method, self, l, p, error);
    if (!status)
        status = tell(method, self, l, lesson_rows(l), l->train, "train", p, error);
    if (!status)
        status = tell(method, self, l, l->order, l->test, "test", p, error);
    if (!status)
        status = method->write(self, l->spec->out, error);
    method->release(self);
    return status;
}

static maas_status train_on(struct corpus *c, struct lesson *l, bool lstm, maas_error *error)
{
    maas_status status = corpus_read(c, l->spec, l->host, l->job, error);
    if (!status)
        status = lesson_init(l, c, error);
    if (status)
        return status;
    float *p = malloc(c->labels.count * sizeof(*p));
    status = p ? teach(lstm ? &learn_lstm : &learn_ngrams, l, p, error)
               : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the scores");
    free(p);
    return status;
}

maas_status text_train(const maas_host *host, const maas_train_spec *spec, const maas_request *job,
                       maas_error *error)
{
    struct corpus c;
    struct lesson l = { .spec = spec, .host = host, .job = job };
    const bool lstm = lesson_option(&l, "network")->text.data[0] == 'l';
    memset(&c, 0, sizeof(c));
    c.shape = (struct shape){ (uint32_t)lesson_option(&l, "word_ngrams")->integer,
                              (uint32_t)lesson_option(&l, "char_ngrams")->integer,
                              (uint32_t)lesson_option(&l, "stem")->integer,
                              (uint32_t)lesson_option(&l, "negation")->integer };
    c.distinct_max = (uint32_t)lesson_option(&l, "features")->integer;
    c.least = (uint32_t)lesson_option(&l, "least")->integer;
    if (c.least == 0)
        c.least = lstm ? 3 : 1;
    c.words = lstm ? (uint32_t)lesson_option(&l, "words")->integer : 0;
    maas_status status = train_on(&c, &l, lstm, error);
    free(l.order);
    corpus_release(&c);
    if (status)
        return status;
    maas_emit_scalar(host, job, "progress", 1);
    host->done(host, job, MAAS_OK, NULL);
    return MAAS_OK;
}

/* ---- evaluation */

struct exam {
    const struct text_model *model;
    struct records *records;
    struct classification *tally;
    float *scores, *scratch; /* one block */
};

static maas_status examine_row(const struct exam *e, const maas_str *values, maas_error *error)
{
    const struct text_model *m = e->model;
    const maas_str label = values[1];
    const int64_t truth = labels_find(m->labels, m->classes, label);
    if (truth < 0)
        return maas_fail(error, MAAS_E_INVALID, "line %llu: the model has no class '%.*s'",
                         (unsigned long long)records_line(e->records),
                         (int)(label.len < 64 ? label.len : 64), label.data);
    text_scores(m, values[0], e->scratch, e->scores);
    return classification_add(e->tally, e->scores, (uint32_t)truth, error);
}

static maas_status examine(const struct exam *e, const maas_host *host, const maas_request *job,
                           maas_error *error)
{
    const maas_str *values = NULL;
    maas_status status = MAAS_OK;
    for (uint64_t row = 0;
         !status && !(status = records_next(e->records, &values, error)) && values; row++) {
        status = examine_row(e, values, error);
        if (!status && row % LESSON_LOOK == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled");
    }
    return status;
}

maas_status text_evaluate(const maas_host *host, const struct text_model *m,
                          const maas_train_spec *spec, const maas_request *job, maas_error *error)
{
    const size_t scratch = file_aligned(text_scratch(m, false) * sizeof(float));
    struct exam e = { .model = m };
    const char *part = records_exist(spec->data, "test") ? "test" : "train";
    e.scratch = aligned_alloc(64, scratch + file_aligned(m->classes * sizeof(float)));
    if (!e.scratch)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the scores");
    e.scores = e.scratch + scratch / sizeof(float);
    maas_status status = corpus_open(spec, part, &e.records, error);
    if (!status)
        status = classification_new(m->classes, &e.tally, error);
    if (!status)
        status = examine(&e, host, job, error);
    if (!status) {
        classification_emit(e.tally, host, job, "test");
        host->done(host, job, MAAS_OK, NULL);
    }
    classification_free(e.tally);
    records_close(e.records);
    free(e.scratch);
    return status;
}
