/*
 * some_model.h: a small model of each method, and a host that only counts how often it was asked
 * whether a request is cancelled.
 */
#ifndef SOME_MODEL_H
#define SOME_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recommender/recommender.h"

enum { USERS = 12, ITEMS = 9 };

static uint32_t looks, looks_max = UINT32_MAX; /* cancelled from looks_max looks on */

static maas_status emit(const maas_host *host, const maas_request *request, const maas_named *out,
                        uint32_t count)
{
    (void)host;
    (void)request;
    (void)out;
    (void)count;
    return MAAS_OK;
}

static int32_t cancelled(const maas_host *host, const maas_request *request)
{
    (void)host;
    (void)request;
    return ++looks > looks_max;
}

static void *take(const maas_host *host, size_t bytes, size_t align)
{
    (void)host;
    return aligned_alloc(align, (bytes + align) / align * align);
}

static void give(const maas_host *host, void *memory)
{
    (void)host;
    free(memory);
}

static const maas_host host = {
    .size = sizeof(maas_host), .emit = emit, .cancelled = cancelled, .alloc = take, .free = give
};
static const maas_request job = { .size = sizeof(maas_request) };

/* a, b, c ... of count / 26 letters and one more */
static struct rec_names numbered(uint32_t count)
{
    struct rec_names n = { .count = count,
                           .from = calloc((size_t)count + 1, sizeof(uint64_t)),
                           .text = calloc((size_t)count, 8) };
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        const int len = count <= 26 ? snprintf(name, sizeof(name), "%c", 'a' + (int)i)
                                    : snprintf(name, sizeof(name), "i%u", i);
        memcpy(n.text + n.from[i], name, (size_t)len);
        n.from[i + 1] = n.from[i] + (uint64_t)len;
    }
    assert_true(rec_names_sort(&n));
    return n;
}

static void learn(struct rec_model *m, uint32_t sweeps)
{
    struct rec_work work = { .host = &host, .request = &job };
    const struct rec_learning how = { .sweeps = sweeps, .random = 1 };
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(rec_complete(m, &work, &error), MAAS_OK);
    if (m->method == REC_ALS || m->neighbours)
        assert_int_equal(rec_learn_biases(m, &work, &error), MAAS_OK);
    if (m->rank)
        assert_int_equal(rec_learn_factors(m, &how, &work, &error), MAAS_OK);
    if (m->neighbours)
        assert_int_equal(rec_learn_neighbours(m, &work, &error), MAAS_OK);
}

/* Every third pair has a rating of 1 to 5. */
static struct rec_model some_model(uint32_t method, uint32_t rank, uint32_t sweeps)
{
    uint32_t user[USERS * ITEMS], item[USERS * ITEMS];
    float value[USERS * ITEMS];
    struct rec_ratings r = { .user = user, .item = item, .value = value };
    for (uint32_t u = 0; u < USERS; u++)
        for (uint32_t i = 0; i < ITEMS; i++)
            if ((u * 7 + i * 5) % 3 == 0 || (u + i) % 7 == 0) {
                user[r.count] = u;
                item[r.count] = i;
                value[r.count++] = (float)(1 + (u * i + u + 2 * i) % 5);
            }
    struct rec_model m = { .method = method,
                           .rank = rank,
                           .ridge = 0.5f,
                           .bias_ridge = 7,
                           .shrink = 2,
                           .neighbours =
                               method == REC_ITEM_COSINE || method == REC_USER_COSINE ? 4 : 0,
                           .alpha = 2,
                           .most = 5,
                           .mean = 3,
                           .users = numbered(USERS),
                           .items = numbered(ITEMS) };
    assert_true(rec_rows_make(&m.by_user, &r, USERS, false, NULL));
    learn(&m, sweeps);
    return m;
}

#endif
