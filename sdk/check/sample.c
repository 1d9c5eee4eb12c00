/*
 * sample.c: random requests. Every input and every string gets memory of exactly its size, so that
 * under ASan a plugin that reads past its input is found.
 */
#include "sample.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct sample *base; /* where rows come from, if any */

#define FREE_EXTENT_MAX 8
#define EMPTY_EVERY     7 /* of so many seeds one makes free extents 0 */
#define WORDS_MAX       12
#define LONG_TEXT       70000

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* The ends of a type: reals of the largest and the smallest size, and what is no number. */
static double draw_end(int flavour, unsigned bits, uint64_t *state)
{
    const double most = bits == 64 ? DBL_MAX : bits == 32 ? (double)FLT_MAX : 65504;
    const double ends[] = { most,     -most, most / 3, 0,        -0.0, most * DBL_EPSILON,
                            1 / most, NAN,   INFINITY, -INFINITY };
    return ends[random_next(state) % (flavour == FLAVOUR_STRANGE ? COUNT_OF(ends) : 7)];
}

static double draw_real(int flavour, uint64_t *state)
{
    switch (flavour) {
    case FLAVOUR_SIGNED:
        return random_unit(state) * 4 - 2;
    case FLAVOUR_UNIT:
        return random_unit(state);
    case FLAVOUR_COUNTS:
        return (double)(1 + random_next(state) % 100);
    default:
        return 0;
    }
}

static uint64_t draw_integer(int flavour, uint64_t *state)
{
    static const uint64_t bounds[FLAVOUR_COUNT] = { 10, 2, 100, 1 };
    static const uint64_t ends[] = { 0, 1, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, INT32_MAX };
    if (flavour > FLAVOUR_COUNT)
        return ends[random_next(state) % COUNT_OF(ends)];
    uint64_t least = flavour == FLAVOUR_COUNTS;
    return least + random_next(state) % bounds[flavour];
}

/* ---- one element of each dtype */

static void *text_copy(const void *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    CHECK(copy);
    if (len)
        memcpy(copy, text, len);
    return copy;
}

static void put_long_text(maas_str *out, int flavour, uint64_t *state)
{
    size_t len = random_next(state) % LONG_TEXT;
    char *text = malloc(len + 1);
    CHECK(text);
    memset(text, 'a' + (int)(random_next(state) % 26), len);
    if (flavour == FLAVOUR_STRANGE && len)
        text[random_next(state) % len] = '\0';
    *out = (maas_str){ text, len };
}

static void put_text(maas_str *out, uint64_t *state)
{
    static const char *const words[] = { "the",    "model", "très", "bon",  "answer", "42",
                                         "naïve",  "row",   "雪",   "free", "offer",  "!",
                                         "signal", "noise", "a",    "—" };
    char text[WORDS_MAX * 10];
    size_t len = 0, count = random_next(state) % (WORDS_MAX + 1); /* the empty string, too */
    for (size_t i = 0; i < count; i++) {
        const char *word = words[random_next(state) % COUNT_OF(words)];
        size_t bytes = strlen(word);
        memcpy(text + len, word, bytes);
        len += bytes;
        text[len++] = ' ';
    }
    *out = (maas_str){ text_copy(text, len), len };
}

static void put_half(void *at, bool brain, double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    /* bfloat16 is the upper half of a float; as IEEE half, something between 0.5 and 1 */
    uint16_t half = brain ? (uint16_t)(bits >> 16) : (uint16_t)(0x3800 | (bits >> 13 & 0x3ff));
    memcpy(at, &half, sizeof(half));
}

static void put_element(void *at, maas_dtype dtype, int flavour, uint64_t *state)
{
    if (dtype.code == MAAS_HANDLE && flavour > FLAVOUR_COUNT) {
        put_long_text(at, flavour, state);
    } else if (dtype.code == MAAS_HANDLE) {
        put_text(at, state);
    } else if (dtype.code == MAAS_FLOAT || dtype.code == MAAS_BFLOAT) {
        double value = flavour > FLAVOUR_COUNT ? draw_end(flavour, dtype.bits, state)
                                               : draw_real(flavour, state);
        float small = (float)value;
        if (dtype.bits == 16)
            put_half(at, dtype.code == MAAS_BFLOAT, value);
        else
            memcpy(at, dtype.bits == 64 ? (void *)&value : (void *)&small, dtype.bits / 8);
    } else {
        uint64_t value = draw_integer(dtype.code == MAAS_BOOL ? FLAVOUR_UNIT : flavour, state);
        memcpy(at, &value, dtype.bits / 8); /* little-endian, as the whole ABI's targets */
    }
}

/* ---- whole requests */

size_t row_elements(const maas_tensor *t)
{
    size_t count = 1;
    for (int32_t i = 1; i < t->ndim; i++)
        count *= (size_t)t->shape[i];
    return count;
}

static void *block(size_t bytes)
{
    void *memory = NULL;
    CHECK(posix_memalign(&memory, 64, bytes ? bytes : 1) == 0);
    return memory;
}

static struct sample *sample_like(const struct sample *from, uint32_t rows, uint32_t input_count)
{
    struct sample *sample = calloc(1, sizeof(*sample));
    CHECK(sample);
    if (from)
        *sample = *from;
    sample->rows = rows;
    sample->input_count = input_count;
    for (uint32_t i = 0; i < input_count; i++) {
        sample->shapes[i][0] = rows;
        sample->inputs[i].tensor.shape = sample->shapes[i];
        sample->inputs[i].name.data = sample->names[i];
    }
    return sample;
}

static void own_strings(maas_tensor *t, size_t count)
{
    maas_str *strings = t->data;
    for (size_t i = 0; t->dtype.code == MAAS_HANDLE && i < count; i++)
        strings[i].data = text_copy(strings[i].data, strings[i].len);
}

/* Rows of `from` by their numbers. */
static struct sample *pick(const struct sample *from, const uint32_t *which, uint32_t count)
{
    struct sample *sample = sample_like(from, count, from->input_count);
    for (uint32_t i = 0; i < from->input_count; i++) {
        const maas_tensor *old = &from->inputs[i].tensor;
        size_t elements = row_elements(old), row = elements * (old->dtype.bits / 8u);
        char *data = sample->inputs[i].tensor.data = block(count * row);
        for (uint32_t j = 0; j < count; j++)
            memcpy(data + j * row, (const char *)old->data + which[j] * row, row);
        own_strings(&sample->inputs[i].tensor, count * elements);
    }
    return sample;
}

static struct sample *draw(const struct sample *from, uint32_t rows, uint64_t seed)
{
    uint32_t *which = malloc(rows * sizeof(*which));
    CHECK(which && from->rows);
    for (uint32_t i = 0; i < rows; i++)
        which[i] = (uint32_t)(random_next(&seed) % from->rows);
    struct sample *sample = pick(from, which, rows);
    free(which);
    return sample;
}

void sample_from(const struct sample *rows)
{
    base = rows;
}

static void take_input(struct sample *sample, uint32_t at, const maas_named *from)
{
    maas_named *to = &sample->inputs[at];
    CHECK(from->name.len < SAMPLE_NAME_MAX);
    memcpy(sample->names[at], from->name.data, from->name.len);
    memcpy(sample->shapes[at], from->tensor.shape, (size_t)from->tensor.ndim * sizeof(int64_t));
    *to = *from;
    to->name.data = sample->names[at];
    to->tensor.shape = sample->shapes[at];
    size_t elements = sample->rows * row_elements(&to->tensor);
    size_t bytes = elements * (to->tensor.dtype.bits / 8u);
    to->tensor.data = block(bytes);
    memcpy(to->tensor.data, from->tensor.data, bytes);
    own_strings(&to->tensor, elements);
}

struct sample *sample_of(const struct engine_request *r)
{
    CHECK(r->input_count <= SAMPLE_PORTS_MAX);
    struct sample *sample = sample_like(NULL, r->rows, r->input_count);
    for (uint32_t i = 0; i < r->input_count; i++)
        take_input(sample, i, &r->inputs[i]);
    return sample;
}

static int64_t draw_extent(bool empty, uint64_t *state)
{
    return empty ? 0 : (int64_t)(1 + random_next(state) % FREE_EXTENT_MAX);
}

static void fill_input(struct sample *sample, uint32_t at, const maas_port *port, int flavour,
                       bool empty, uint64_t *state)
{
    maas_tensor *t = &sample->inputs[at].tensor;
    size_t bytes = port->dtype.bits / 8u;
    CHECK(port->name.len < SAMPLE_NAME_MAX);
    memcpy(sample->names[at], port->name.data, port->name.len);
    sample->inputs[at].name.len = port->name.len;
    t->device_type = 1;
    t->ndim = port->ndim;
    t->dtype = port->dtype;
    for (int32_t i = 1; i < port->ndim; i++)
        t->shape[i] = port->shape[i] > 0 ? port->shape[i] : draw_extent(empty, state);
    size_t count = sample->rows * row_elements(t);
    char *data = t->data = block(count * bytes);
    for (size_t i = 0; i < count; i++)
        put_element(data + i * bytes, port->dtype, flavour, state);
}

struct sample *sample_new(const maas_signature *s, uint32_t rows, uint64_t seed, int flavour)
{
    CHECK(s->input_count <= SAMPLE_PORTS_MAX);
    if (base)
        return draw(base, rows, seed);
    struct sample *sample = sample_like(NULL, rows, s->input_count);
    bool empty = seed % EMPTY_EVERY == EMPTY_EVERY - 1;
    for (uint32_t i = 0; i < s->input_count; i++)
        fill_input(sample, i, &s->inputs[i], flavour, empty, &seed);
    return sample;
}

struct sample *sample_slice(const struct sample *from, uint32_t first, uint32_t count)
{
    uint32_t *which = malloc(count * sizeof(*which));
    CHECK(which);
    for (uint32_t i = 0; i < count; i++)
        which[i] = first + i;
    struct sample *sample = pick(from, which, count);
    free(which);
    return sample;
}

static void strings_free(const maas_tensor *t, size_t count)
{
    union {
        const char *borrowed;
        char *owned;
    } text;
    const maas_str *strings = t->data;
    for (size_t i = 0; t->dtype.code == MAAS_HANDLE && i < count; i++) {
        text.borrowed = strings[i].data;
        free(text.owned);
    }
}

void sample_free(struct sample *sample)
{
    for (uint32_t i = 0; sample && i < sample->input_count; i++) {
        maas_tensor *t = &sample->inputs[i].tensor;
        strings_free(t, sample->rows * row_elements(t));
        free(t->data);
    }
    free(sample);
}
