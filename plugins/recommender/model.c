/*
 * model.c: recommender.model: a head, then arrays one behind the other, then a checksum of all.
 *
 *   head     struct head, "maasrec2"; "maasrec1" without its last 8 bytes is read as well
 *   names    users: from [users + 1] u64, text; items: the same
 *   ratings  by user: from [users + 1] u64, column [ratings] u32, value [ratings] f32
 *   factors  als: user and item biases f32; als, ials: user and item factors f32
 *   sum      u64, FNV-1a over everything before
 *
 * What follows from these (rows by item, norms, popularity) is made when it is read.
 */
#include "recommender.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     "maasrec2"
#define OLD_MAGIC "maasrec1" /* its head ends before bias_ridge */
#define FILE_NAME "recommender.model"
#define OLD_RIDGE 2.0f /* the option's default then */

struct head {
    char magic[8];
    uint32_t method, rank, users, items;
    uint64_t ratings, user_text, item_text;
    float mean, most, alpha, ridge;
    float bias_ridge;
    uint32_t zero;
};
enum { OLD_HEAD = offsetof(struct head, bias_ridge) };

struct stream {          /* a file in memory: what is written, or what is read */
    uint8_t *bytes;      /* writing */
    const uint8_t *from; /* reading */
    size_t at, size;
    bool writing, bad;
};

uint64_t rec_sum(const uint8_t *bytes, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3u;
    return sum;
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
        memcpy(s->bytes + s->at, *at, bytes);
    else if (bytes)
        memcpy(*at, s->from + s->at, bytes);
    s->at += bytes;
}

static void move_all(struct stream *s, struct rec_model *m, const struct head *h)
{
    move(s, &m->users.from, (size_t)h->users + 1, sizeof(uint64_t));
    move(s, &m->users.text, h->user_text, 1);
    move(s, &m->items.from, (size_t)h->items + 1, sizeof(uint64_t));
    move(s, &m->items.text, h->item_text, 1);
    move(s, &m->by_user.from, (size_t)h->users + 1, sizeof(uint64_t));
    move(s, &m->by_user.column, h->ratings, sizeof(uint32_t));
    move(s, &m->by_user.value, h->ratings, sizeof(float));
    if (h->method == REC_ALS) {
        move(s, &m->user_bias, h->users, sizeof(float));
        move(s, &m->item_bias, h->items, sizeof(float));
    }
    if (h->method == REC_ALS || h->method == REC_IALS) {
        move(s, &m->user_factors, (size_t)h->users * h->rank, sizeof(float));
        move(s, &m->item_factors, (size_t)h->items * h->rank, sizeof(float));
    }
}

static size_t body_size(const struct head *h)
{
    const size_t people = (size_t)h->users + h->items,
                 factors = h->method <= REC_IALS ? h->rank : 0;
    return ((size_t)h->users * 2 + h->items + 3) * sizeof(uint64_t) + h->user_text + h->item_text +
           h->ratings * 8 + people * (factors + (h->method == REC_ALS)) * sizeof(float);
}

maas_status rec_write(const char *dir, const struct rec_model *m, maas_error *error)
{
    struct head h = { .method = m->method,
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
                      .bias_ridge = m->bias_ridge };
    const size_t size = sizeof(h) + body_size(&h);
    struct rec_model copy = *m; /* its pointers alone are read */
    struct stream s = { .bytes = malloc(size + 8), .at = sizeof(h), .size = size, .writing = true };
    char path[4096];
    if (!s.bytes)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu bytes", size);
    memcpy(h.magic, MAGIC, 8);
    memcpy(s.bytes, &h, sizeof(h));
    move_all(&s, &copy, &h);
    const uint64_t sum = rec_sum(s.bytes, size);
    memcpy(s.bytes + size, &sum, 8);
    snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    FILE *f = fopen(path, "wb");
    bool good = f && !s.bad && fwrite(s.bytes, 1, size + 8, f) == size + 8;
    good = f && fclose(f) == 0 && good;
    free(s.bytes);
    return good ? MAAS_OK
                : maas_fail(error, MAAS_E_INTERNAL, "cannot write '%s': %s", path, strerror(errno));
}

/* ---- reading */

static bool good_head(const struct head *h)
{
    const bool factors = h->method == REC_ALS || h->method == REC_IALS;
    return h->zero == 0 && h->method >= REC_ALS && h->method <= REC_POPULARITY && h->users &&
           h->users <= REC_USERS_MAX && h->items && h->items <= REC_ITEMS_MAX &&
           h->ratings <= REC_RATINGS_MAX && h->user_text <= (uint64_t)h->users * REC_NAME_MAX &&
           h->item_text <= (uint64_t)h->items * REC_NAME_MAX &&
           (factors ? h->rank >= 1 && h->rank <= REC_RANK_MAX : h->rank == 0) &&
           isfinite(h->mean) && isfinite(h->most) && h->alpha >= 0 && isfinite(h->alpha) &&
           h->ridge > 0 && isfinite(h->ridge) && h->bias_ridge >= 0 && isfinite(h->bias_ridge);
}

static bool good_names(const struct rec_names *n, uint64_t text)
{
    bool good = n->from[0] == 0 && n->from[n->count] == text;
    for (uint32_t i = 0; good && i < n->count; i++)
        good = n->from[i + 1] > n->from[i] && n->from[i + 1] - n->from[i] <= REC_NAME_MAX;
    return good;
}

static bool good_rows(const struct rec_rows *r, uint32_t columns, uint64_t count)
{
    bool good = r->from[0] == 0 && r->from[r->count] == count;
    for (uint32_t i = 0; good && i < r->count; i++)
        good = r->from[i] <= r->from[i + 1] && r->from[i + 1] <= count;
    for (uint32_t i = 0; good && i < r->count; i++)
        for (uint64_t k = r->from[i]; good && k < r->from[i + 1]; k++)
            good = r->column[k] < columns && (k == r->from[i] || r->column[k - 1] < r->column[k]) &&
                   isfinite(r->value[k]);
    return good;
}

static bool all_finite(const float *values, size_t count)
{
    for (size_t i = 0; values && i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool good_model(const struct rec_model *m, const struct head *h)
{
    return good_names(&m->users, h->user_text) && good_names(&m->items, h->item_text) &&
           good_rows(&m->by_user, h->items, h->ratings) && all_finite(m->user_bias, h->users) &&
           all_finite(m->item_bias, h->items) &&
           all_finite(m->user_factors, (size_t)h->users * h->rank) &&
           all_finite(m->item_factors, (size_t)h->items * h->rank);
}

static maas_status damaged(maas_error *error)
{
    return maas_fail(error, MAAS_E_DATA_LOSS, "'%s' is damaged, or no recommender", FILE_NAME);
}

/* The head's size; 0: it is none. */
static size_t read_head(const uint8_t *bytes, size_t len, struct head *out)
{
    const bool old = len >= OLD_HEAD && memcmp(bytes, OLD_MAGIC, 8) == 0;
    const size_t size = old ? OLD_HEAD : sizeof(*out);
    *out = (struct head){ .bias_ridge = OLD_RIDGE };
    if (len < size || (!old && memcmp(bytes, MAGIC, 8) != 0))
        return 0;
    memcpy(out, bytes, size);
    return good_head(out) ? size : 0;
}

static maas_status complete(struct rec_model *m, maas_error *error)
{
    return rec_names_sort(&m->users) && rec_names_sort(&m->items) && rec_complete(m)
               ? MAAS_OK
               : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the model");
}

static maas_status read_body(const uint8_t *bytes, size_t from, size_t to, const struct head *h,
                             struct rec_model *m, maas_error *error)
{
    struct stream s = { .from = bytes, .at = from, .size = to };
    *m = (struct rec_model){ .method = h->method,
                             .rank = h->rank,
                             .mean = h->mean,
                             .most = h->most,
                             .alpha = h->alpha,
                             .ridge = h->ridge,
                             .bias_ridge = h->bias_ridge };
    move_all(&s, m, h);
    m->users.count = m->by_user.count = h->users;
    m->items.count = h->items;
    return s.bad || !good_model(m, h) ? damaged(error) : complete(m, error);
}

maas_status rec_parse(const uint8_t *bytes, size_t len, struct rec_model *out, maas_error *error)
{
    struct head h;
    struct rec_model m = { .method = 0 };
    uint64_t sum;
    const size_t head = read_head(bytes, len, &h);
    if (!head || len != head + body_size(&h) + sizeof(sum))
        return damaged(error);
    memcpy(&sum, bytes + len - sizeof(sum), sizeof(sum));
    if (sum != rec_sum(bytes, len - sizeof(sum)))
        return damaged(error);
    maas_status status = read_body(bytes, head, len - sizeof(sum), &h, &m, error);
    if (status)
        rec_release(&m);
    else
        *out = m;
    return status;
}

maas_status rec_read(const char *dir, struct rec_model *out, maas_error *error)
{
    char path[4096];
    struct stat what;
    snprintf(path, sizeof(path), "%s/%s", dir, FILE_NAME);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return maas_fail(error, errno == ENOENT ? MAAS_E_NOT_FOUND : MAAS_E_INTERNAL,
                         "cannot open '%s': %s", FILE_NAME, strerror(errno));
    if (fstat(fd, &what) || !S_ISREG(what.st_mode) || what.st_size > (off_t)1 << 34) {
        close(fd);
        return damaged(error);
    }
    const size_t len = (size_t)what.st_size;
    uint8_t *bytes = malloc(len + 1);
    size_t got = 0;
    for (ssize_t n = 1; bytes && got < len && n > 0; got += n > 0 ? (size_t)n : 0)
        n = read(fd, bytes + got, len - got);
    close(fd);
    maas_status status = !bytes ? maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %zu bytes", len)
                         : got < len ? damaged(error)
                                     : rec_parse(bytes, len, out, error);
    free(bytes);
    return status;
}

/* ---- what follows from the ratings */

static void measure(const struct rec_rows *r, float *norms)
{
    for (uint32_t i = 0; i < r->count; i++) {
        double sum = 0;
        for (uint64_t k = r->from[i]; k < r->from[i + 1]; k++)
            sum += (double)r->value[k] * (double)r->value[k];
        norms[i] = (float)sqrt(sum);
    }
}

/* How many rated an item, of the most; its mean decides between equals. */
static void measure_popularity(struct rec_model *m)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < m->items.count; i++)
        most = m->by_item.from[i + 1] - m->by_item.from[i] > most
                   ? m->by_item.from[i + 1] - m->by_item.from[i]
                   : most;
    for (uint32_t i = 0; i < m->items.count; i++)
        m->popularity[i] = (float)(m->by_item.from[i + 1] - m->by_item.from[i]) / (float)most;
}

static bool turn(struct rec_model *m)
{
    const uint64_t count = m->by_user.from[m->users.count];
    struct rec_ratings r = { .count = count,
                             .user = calloc(count + 1, sizeof(uint32_t)),
                             .item = m->by_user.column,
                             .value = m->by_user.value };
    for (uint32_t u = 0; r.user && u < m->users.count; u++)
        for (uint64_t k = m->by_user.from[u]; k < m->by_user.from[u + 1]; k++)
            r.user[k] = u;
    const bool good = r.user && rec_rows_make(&m->by_item, &r, m->items.count, true);
    free(r.user);
    return good;
}

bool rec_complete(struct rec_model *m)
{
    if (!m->by_item.from && !turn(m))
        return false;
    m->user_norm = calloc((size_t)m->users.count + 1, sizeof(float));
    m->item_norm = calloc((size_t)m->items.count + 1, sizeof(float));
    m->popularity = calloc((size_t)m->items.count + 1, sizeof(float));
    if (m->method == REC_IALS && !m->gram)
        m->gram = calloc((size_t)m->rank * m->rank + 1, sizeof(double));
    if (!m->user_norm || !m->item_norm || !m->popularity || (m->method == REC_IALS && !m->gram))
        return false;
    measure(&m->by_user, m->user_norm);
    measure(&m->by_item, m->item_norm);
    measure_popularity(m);
    if (m->method == REC_IALS)
        rec_gram(m->gram, m->item_factors, m->items.count, m->rank);
    return (m->method != REC_ITEM_COSINE && m->method != REC_USER_COSINE) || rec_learn_biases(m);
}

void rec_release(struct rec_model *m)
{
    rec_names_release(&m->users);
    rec_names_release(&m->items);
    rec_rows_release(&m->by_user);
    rec_rows_release(&m->by_item);
    free(m->user_bias);
    free(m->item_bias);
    free(m->user_factors);
    free(m->item_factors);
    free(m->gram);
    free(m->popularity);
    free(m->item_norm);
    free(m->user_norm);
    memset(m, 0, sizeof(*m));
}
