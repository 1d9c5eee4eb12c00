/*
 * file.c: recommender.model: a head, then arrays one behind the other, then a checksum of all.
 * Little-endian, nothing between.
 *
 *   head      struct head, 96 bytes
 *   names     users: from [users + 1] u64, text; items: the same
 *   ratings   by user: from [users + 1] u64, column [ratings] u32, value [ratings] f32
 *   biases    als, cosines: of users, of items f32
 *   factors   als, ials: of users, of items [rank] f32
 *   near      cosines: from [items (item-cosine) or users + 1] u64, column [near] u32, value f32
 *   sum       u64, FNV-1a over everything before
 *
 * Version 1 ends its head behind `ridge` (64 bytes), has no biases of cosines and no near; what of
 * it needs none is still read, with the bias ridge of 3 by which it folded in. A file is believed
 * only when its length is what its head says, to the byte, and every number is within its bounds.
 */
#include "recommender.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     "maasrec2"
#define MAGIC_1   "maasrec1"
#define FILE_NAME "recommender.model"
#define FILE_MAX  ((off_t)1 << 35)

struct head {
    char magic[8];
    uint32_t method, rank, users, items;
    uint64_t ratings, user_text, item_text;
    float mean, most, alpha, ridge;
    float bias_ridge, shrink;
    uint32_t neighbours, zero;
    uint64_t near, zeros;
};
enum { HEAD_1_BYTES = 64 };
_Static_assert(sizeof(struct head) == 96, "the head of the file is frozen");
_Static_assert(offsetof(struct head, bias_ridge) == HEAD_1_BYTES, "so is that of version 1");

struct stream { /* a file in memory: what is written, or what is read */
    uint8_t *out;
    const uint8_t *in;
    size_t at, size;
    bool writing, bad;
};

static bool is_cosine(uint32_t method)
{
    return method == REC_ITEM_COSINE || method == REC_USER_COSINE;
}

static bool has_factors(uint32_t method)
{
    return method == REC_ALS || method == REC_IALS;
}

static bool has_biases(uint32_t method)
{
    return method == REC_ALS || is_cosine(method);
}

static uint32_t subjects_of(const struct head *h)
{
    return h->method == REC_ITEM_COSINE ? h->items : h->users;
}

/* Moves count elements between memory and stream; reading takes the memory. */
static void move(struct stream *s, void *memory, size_t count, size_t size)
{
    void **at = memory;
    const size_t bytes = count * size;
    if (s->bad || bytes > s->size - s->at) {
        s->bad = true;
        return;
    }
    if (!s->writing && !(*at = calloc(count + 1, size)))
        s->bad = true;
    else if (bytes && s->writing)
        memcpy(s->out + s->at, *at, bytes);
    else if (bytes)
        memcpy(*at, s->in + s->at, bytes);
    s->at += bytes;
}

static void move_names(struct stream *s, struct rec_names *n, uint32_t count, uint64_t text)
{
    move(s, &n->from, (size_t)count + 1, sizeof(uint64_t));
    move(s, &n->text, text, 1);
}

static void move_rows(struct stream *s, struct rec_rows *r, uint32_t count, uint64_t entries)
{
    move(s, &r->from, (size_t)count + 1, sizeof(uint64_t));
    move(s, &r->column, entries, sizeof(uint32_t));
    move(s, &r->value, entries, sizeof(float));
}

static void move_all(struct stream *s, struct rec_model *m, const struct head *h)
{
    move_names(s, &m->users, h->users, h->user_text);
    move_names(s, &m->items, h->items, h->item_text);
    move_rows(s, &m->by_user, h->users, h->ratings);
    if (has_biases(h->method)) {
        move(s, &m->user_bias, h->users, sizeof(float));
        move(s, &m->item_bias, h->items, sizeof(float));
    }
    if (has_factors(h->method)) {
        move(s, &m->user_factors, (size_t)h->users * h->rank, sizeof(float));
        move(s, &m->item_factors, (size_t)h->items * h->rank, sizeof(float));
    }
    if (is_cosine(h->method))
        move_rows(s, &m->near, subjects_of(h), h->near);
}

static size_t body_size(const struct head *h)
{
    const size_t people = (size_t)h->users + h->items;
    return ((size_t)h->users * 2 + h->items + 3) * sizeof(uint64_t) + h->user_text + h->item_text +
           h->ratings * 8 + people * (h->rank + has_biases(h->method)) * sizeof(float) +
           (is_cosine(h->method) ? ((size_t)subjects_of(h) + 1) * sizeof(uint64_t) + h->near * 8
                                 : 0);
}

/* ---- what may stand there */

static bool is_within(float value, float least, float most)
{
    return value >= least && value <= most; /* never of a NaN */
}

static bool good_counts(const struct head *h)
{
    return h->method >= REC_ALS && h->method <= REC_POPULARITY && h->users &&
           h->users <= REC_USERS_MAX && h->items && h->items <= REC_ITEMS_MAX &&
           h->ratings <= REC_RATINGS_MAX && h->user_text <= (uint64_t)h->users * REC_NAME_MAX &&
           h->item_text <= (uint64_t)h->items * REC_NAME_MAX &&
           (has_factors(h->method) ? h->rank >= 1 && h->rank <= REC_RANK_MAX : h->rank == 0) &&
           (is_cosine(h->method) ? h->neighbours >= 1 && h->neighbours <= REC_NEIGHBOURS_MAX &&
                                       h->near <= REC_NEAR_MAX
                                 : h->neighbours == 0 && h->near == 0);
}

static bool good_head(const struct head *h)
{
    return good_counts(h) && is_within(h->mean, -REC_VALUE_MAX, REC_VALUE_MAX) &&
           is_within(h->most, -REC_VALUE_MAX, REC_VALUE_MAX) && is_within(h->alpha, 0, 1e6f) &&
           is_within(h->ridge, 1e-5f, 1e6f) && is_within(h->bias_ridge, 0, 1e6f) &&
           is_within(h->shrink, 0, 1e6f) && !h->zero && !h->zeros;
}

static bool good_names(const struct rec_names *n, uint64_t text)
{
    bool good = n->from[0] == 0 && n->from[n->count] == text;
    for (uint32_t i = 0; good && i < n->count; i++)
        good = n->from[i + 1] > n->from[i] && n->from[i + 1] - n->from[i] <= REC_NAME_MAX;
    return good;
}

static bool good_values(const float *values, size_t count, float least, float most)
{
    bool good = true;
    for (size_t i = 0; values && good && i < count; i++)
        good = is_within(values[i], least, most);
    return good;
}

static bool good_columns(const struct rec_rows *r, uint32_t row, uint32_t columns, bool others)
{
    bool good = true;
    for (uint64_t k = r->from[row]; good && k < r->from[row + 1]; k++)
        good = r->column[k] < columns && !(others && r->column[k] == row) &&
               (k == r->from[row] || r->column[k - 1] < r->column[k]);
    return good;
}

/* longest: of a row; others: a row may not name itself */
static bool good_rows(const struct rec_rows *r, uint32_t columns, uint64_t count, uint64_t longest,
                      bool others)
{
    bool good = r->from[0] == 0 && r->from[r->count] == count;
    for (uint32_t i = 0; good && i < r->count; i++)
        good = r->from[i] <= r->from[i + 1] && r->from[i + 1] <= count &&
               r->from[i + 1] - r->from[i] <= longest;
    for (uint32_t i = 0; good && i < r->count; i++)
        good = good_columns(r, i, columns, others);
    return good;
}

static bool good_numbers(const struct rec_model *m, const struct head *h)
{
    const float most = REC_VALUE_MAX;
    return good_values(m->by_user.value, h->ratings, -most, most) &&
           good_values(m->user_bias, h->users, -most, most) &&
           good_values(m->item_bias, h->items, -most, most) &&
           good_values(m->user_factors, (size_t)h->users * h->rank, -most, most) &&
           good_values(m->item_factors, (size_t)h->items * h->rank, -most, most) &&
           good_values(m->near.value, h->near, 0, 1);
}

static bool good_model(const struct rec_model *m, const struct head *h)
{
    return good_names(&m->users, h->user_text) && good_names(&m->items, h->item_text) &&
           good_rows(&m->by_user, h->items, h->ratings, h->items, false) &&
           (!m->near.from || good_rows(&m->near, m->near.count, h->near, h->neighbours, true)) &&
           good_numbers(m, h);
}

/* ---- writing */

static struct head head_of(const struct rec_model *m)
{
    return (struct head){ .magic = MAGIC,
                          .method = m->method,
                          .rank = m->rank,
                          .users = m->users.count,
                          .items = m->items.count,
                          .ratings = m->by_user.from[m->users.count],
                          .user_text = m->users.from[m->users.count],
                          .item_text = m->items.from[m->items.count],
                          .mean = m->mean,
                          .most = m->most,
                          .alpha = m->alpha,
                          .ridge = m->ridge,
                          .bias_ridge = m->bias_ridge,
                          .shrink = m->shrink,
                          .neighbours = m->neighbours,
                          .near = m->near.from ? m->near.from[m->near.count] : 0 };
}

static maas_status save(const char *dir, const uint8_t *bytes, size_t len, maas_error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(bytes, 1, len, f) == len;
    good = f && fclose(f) == 0 && good;
    return good ? MAAS_OK
                : maas_fail(error, MAAS_E_INTERNAL, "cannot write '%s': %s", path, strerror(errno));
}

maas_status rec_write(const char *dir, const struct rec_model *m, maas_error *error)
{
    const struct head h = head_of(m);
    const size_t size = sizeof(h) + body_size(&h);
    struct rec_model copy = *m; /* its pointers alone are read */
    if (!good_head(&h) || !good_model(m, &h))
        return maas_fail(error, MAAS_E_INVALID,
                         "the model has numbers beyond %g; choose a larger 'ridge'",
                         (double)REC_VALUE_MAX);
    struct stream s = { .out = malloc(size + 8), .at = sizeof(h), .size = size, .writing = true };
    if (!s.out)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu bytes", size);
    memcpy(s.out, &h, sizeof(h));
    move_all(&s, &copy, &h);
    const uint64_t sum = checksum_of(s.out, size);
    memcpy(s.out + size, &sum, 8);
    maas_status status = save(dir, s.out, size + 8, error);
    free(s.out);
    return status;
}

/* ---- reading */

static maas_status damaged(maas_error *error)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "'%s' is damaged, or no recommender", FILE_NAME);
}

/* Gives the length of the head; 0: it is none. */
static size_t read_head(const uint8_t *bytes, size_t len, struct head *h)
{
    const bool first = len >= 8 && memcmp(bytes, MAGIC_1, 8) == 0;
    const size_t size = first ? HEAD_1_BYTES : sizeof(*h);
    *h = (struct head){ .bias_ridge = 3 };
    if (len < size + 8 || (!first && memcmp(bytes, MAGIC, 8) != 0))
        return 0;
    memcpy(h, bytes, size);
    return size;
}

static struct rec_model model_of(const struct head *h)
{
    return (struct rec_model){ .method = h->method,
                               .rank = h->rank,
                               .mean = h->mean,
                               .most = h->most,
                               .alpha = h->alpha,
                               .ridge = h->ridge,
                               .bias_ridge = h->bias_ridge,
                               .shrink = h->shrink,
                               .neighbours = h->neighbours,
                               .users.count = h->users,
                               .items.count = h->items,
                               .by_user.count = h->users,
                               .near.count = is_cosine(h->method) ? subjects_of(h) : 0 };
}

maas_status rec_parse(const uint8_t *bytes, size_t len, struct rec_model *out, maas_error *error)
{
    struct head h;
    uint64_t sum;
    const size_t head = read_head(bytes, len, &h);
    *out = (struct rec_model){ .method = 0 };
    if (head == HEAD_1_BYTES && is_cosine(h.method))
        return maas_fail(error, MAAS_E_PRECONDITION,
                         "'%s' is of version 1, which kept no neighbours: train it again",
                         FILE_NAME);
    if (!head || !good_head(&h) || len != head + body_size(&h) + 8)
        return damaged(error);
    memcpy(&sum, bytes + len - 8, 8);
    if (sum != checksum_of(bytes, len - 8))
        return damaged(error);
    *out = model_of(&h);
    struct stream s = { .in = bytes, .at = head, .size = len - 8 };
    move_all(&s, out, &h);
    if (s.bad)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    if (!good_model(out, &h))
        return damaged(error);
    if (!rec_names_sort(&out->users) || !rec_names_sort(&out->items))
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
    if (out->method == REC_IALS && !rec_prepare_fold(out, NULL))
        return damaged(error);
    return rec_complete(out, NULL, error);
}

static maas_status load(int fd, uint8_t **out, size_t *len, maas_error *error)
{
    struct stat what;
    if (fstat(fd, &what) || !S_ISREG(what.st_mode) || what.st_size > FILE_MAX)
        return damaged(error);
    *len = (size_t)what.st_size;
    *out = malloc(*len + 1);
    if (!*out)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu bytes", *len);
    size_t got = 0;
    for (ssize_t n = 1; got < *len && n > 0; got += n > 0 ? (size_t)n : 0)
        n = read(fd, *out + got, *len - got);
    return got < *len ? damaged(error) : MAAS_OK;
}

maas_status rec_read(const char *dir, struct rec_model *out, maas_error *error)
{
    char path[4096];
    struct rec_model m = { .method = 0 };
    uint8_t *bytes = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return maas_fail(error, errno == ENOENT ? MAAS_E_NOT_FOUND : MAAS_E_INTERNAL,
                         "cannot open '%s': %s", FILE_NAME, strerror(errno));
    maas_status status = load(fd, &bytes, &len, error);
    close(fd);
    if (!status)
        status = rec_parse(bytes, len, &m, error);
    free(bytes);
    if (status)
        rec_release(&m);
    else
        *out = m;
    return status;
}
