/*
 * corpus.c: a row is kept as the list of its features' numbers, in the order in which they first
 * came. Of different features only the first `distinct_max` have a number.
 */
#include "train.h"

#include <stdlib.h>

#include "dataset/records.h"

#define FEATURES_MAX ((uint64_t)1 << 28)
#define ROWS_MAX     ((uint64_t)1 << 26)

void corpus_release(struct corpus *c)
{
    free(c->features);
    free(c->places);
    free(c->ends);
    free(c->truth);
    labels_release(&c->labels);
    free(c->keys);
    free(c->numbers);
}

const uint32_t *corpus_row(const struct corpus *c, uint32_t row, uint64_t *out_count)
{
    uint64_t from = row ? c->ends[row - 1] : 0;
    *out_count = c->ends[row] - from;
    return c->features + from;
}

/* ---- which features there are */

static bool table_grow(struct corpus *c)
{
    uint32_t slots = c->slots ? c->slots * 2 : 4096;
    uint32_t *keys = calloc(slots, sizeof(*keys)), *numbers = calloc(slots, sizeof(*numbers));
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

/* Room for one more number in an array. */
static bool make_room(uint32_t **array, uint64_t *room, uint64_t count)
{
    uint32_t *larger =
        count < FEATURES_MAX ? grown(*array, room, count + 1, sizeof(**array)) : NULL;
    if (larger)
        *array = larger;
    return larger;
}

static void keep_feature(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct corpus *c = arg;
    (void)first;
    if (c->full || (c->words && last >= c->words))
        return;
    uint32_t number = number_of(c, key);
    if (number == UINT32_MAX)
        return;
    c->full = !make_room(&c->features, &c->room, c->count) ||
              (c->words && !make_room(&c->places, &c->place_room, c->count));
    if (c->full)
        return;
    if (c->words)
        c->places[c->count] = last;
    c->features[c->count++] = number;
}

static maas_status add_row(struct corpus *c, uint64_t line, const maas_str *values,
                           maas_error *error)
{
    uint32_t class = 0;
    uint64_t row_room = c->row_room, end_room = c->row_room;
    maas_status status = labels_add(&c->labels, values[1], line, &class, error);
    if (status)
        return status;
    uint64_t *ends = grown(c->ends, &end_room, c->rows + 1ull, sizeof(*ends));
    if (ends)
        c->ends = ends;
    uint32_t *truth = grown(c->truth, &row_room, c->rows + 1ull, sizeof(*truth));
    if (truth)
        c->truth = truth;
    if (!ends || !truth || c->rows == ROWS_MAX)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u rows", c->rows + 1);
    c->row_room = (uint32_t)row_room;
    (void)features_of(&c->shape, values[0], keep_feature, c);
    if (c->full)
        return maas_fail(error, MAAS_E_EXHAUSTED, "line %llu: more than %llu features in all",
                         (unsigned long long)line, (unsigned long long)FEATURES_MAX);
    c->ends[c->rows] = c->count;
    c->truth[c->rows++] = class;
    return MAAS_OK;
}

/* ---- features that are too rare */

/* The new number of each feature; UINT32_MAX: it is left out. NULL: no memory. */
static uint32_t *renumber(const struct corpus *c, uint32_t *out_kept)
{
    uint32_t *number = calloc(c->distinct + 1ull, sizeof(*number));
    for (uint64_t i = 0; number && i < c->count; i++)
        number[c->features[i]]++;
    *out_kept = 0;
    for (uint32_t f = 0; number && f < c->distinct; f++)
        number[f] = number[f] < c->least ? UINT32_MAX : (*out_kept)++;
    return number;
}

static void compact_rows(struct corpus *c, const uint32_t *number)
{
    uint64_t from = 0, to = 0;
    for (uint32_t row = 0; row < c->rows; row++) {
        for (; from < c->ends[row]; from++) {
            if (number[c->features[from]] == UINT32_MAX)
                continue;
            c->features[to] = number[c->features[from]];
            if (c->places)
                c->places[to] = c->places[from];
            to++;
        }
        c->ends[row] = to;
    }
    c->count = to;
}

/* A new table of what is left, as small as it may be. */
static maas_status leave_out_rare(struct corpus *c, maas_error *error)
{
    struct corpus old = { .keys = c->keys, .numbers = c->numbers, .slots = c->slots };
    uint32_t kept, *number = renumber(c, &kept);
    bool good = number;
    if (good) {
        compact_rows(c, number);
        c->keys = c->numbers = NULL;
        c->slots = c->distinct = 0;
        while (good && (c->slots == 0 || 2ull * (kept + 1) > c->slots))
            good = table_grow(c);
    }
    const struct table table = { c->keys, c->slots };
    for (uint32_t i = 0; good && i < old.slots; i++)
        if (old.keys[i] && number[old.numbers[i]] != UINT32_MAX) {
            uint32_t at = table_slot(&table, old.keys[i]);
            c->keys[at] = old.keys[i];
            c->numbers[at] = number[old.numbers[i]];
        }
    c->distinct = kept;
    if (number) {
        free(old.keys);
        free(old.numbers);
    }
    free(number);
    return good ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the features");
}

/* ---- reading */

static maas_status read_rows(struct corpus *c, struct records *records, const maas_host *host,
                             const maas_request *job, maas_error *error)
{
    const maas_str *values = NULL;
    maas_status status;
    while (!(status = records_next(records, &values, error)) && values) {
        status = add_row(c, records_line(records), values, error);
        if (!status && c->rows % LESSON_LOOK == 0 && host->cancelled(host, job))
            status = maas_fail(error, MAAS_E_CANCELLED, "cancelled while reading");
        if (status)
            break;
    }
    return status;
}

maas_status corpus_open(const maas_train_spec *spec, const char *part, struct records **out,
                        maas_error *error)
{
    const char *columns[] = {
        maas_option_find(spec->options, spec->option_count, "text_column")->text.data,
        maas_option_find(spec->options, spec->option_count, "label_column")->text.data
    };
    return records_open(spec->data, part, columns, 2, out, error);
}

maas_status corpus_read(struct corpus *c, const maas_train_spec *spec, const maas_host *host,
                        const maas_request *job, maas_error *error)
{
    struct records *records = NULL;
    maas_status status = corpus_open(spec, "train", &records, error);
    if (!status)
        status = read_rows(c, records, host, job, error);
    records_close(records);
    if (!status && c->labels.count < 2)
        status = maas_fail(error, MAAS_E_INVALID, "two classes at least are needed");
    if (!status && c->least > 1)
        status = leave_out_rare(c, error);
    return status ? status : labels_sort(&c->labels, c->truth, c->rows, error);
}
