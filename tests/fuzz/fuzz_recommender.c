/*
 * fuzz_recommender.c: any bytes as a recommender's file, with its checksum set right; what is read
 * is asked for every kind of list, and says only finite numbers.
 */
#include <math.h>
#include <stdlib.h>

#include "recommender/recommender.h"

enum { FILE_BYTES_MAX = 1 << 15, ASKED = 3, K = 4 };

static int32_t cancelled(const maas_host *host, const maas_request *request)
{
    (void)host;
    (void)request;
    return 0;
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
    .size = sizeof(maas_host), .cancelled = cancelled, .alloc = take, .free = give
};

static void check(const float *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!isfinite(numbers[i]))
            abort();
}

static void ask_row(struct rec_asking *a, uint32_t row)
{
    maas_str names[K], why[K * REC_BECAUSE_MAX];
    float scores[K], weights[K * REC_BECAUSE_MAX];
    maas_error error = MAAS_ERROR_INIT;
    if (rec_ask_row(a, row, names, scores, &error))
        return;
    check(scores, rec_ask_k(a));
    if (!rec_ask_why(a, why, weights, &error))
        check(weights, rec_ask_k(a) * REC_BECAUSE_MAX);
}

/* Rows: a known user, a user with a list, a list alone. */
static void ask(const struct rec_model *m, bool similar)
{
    const maas_str user = rec_name(&m->users, m->users.count - 1), none = { "", 0 },
                   first = rec_name(&m->items, 0), last = rec_name(&m->items, m->items.count - 1);
    maas_str users[ASKED] = { user, user, none },
             items[ASKED * 2] = { none, none, first, last, last, first };
    int64_t shapes[REC_INPUTS][2] = { { ASKED, 0 }, { ASKED, 2 }, { ASKED, 0 }, { ASKED, 0 } };
    maas_named inputs[REC_INPUTS] = { 0 };
    for (uint32_t i = 0; i < REC_INPUTS; i++) {
        inputs[i].tensor.ndim = i ? 2 : 1;
        inputs[i].tensor.shape = shapes[i];
    }
    inputs[REC_USER].tensor.data = users;
    inputs[REC_ITEMS].tensor.data = items;
    const maas_option params[] = { { .integer = K }, { .integer = similar }, { .integer = 0 } };
    const maas_request request = { .size = sizeof(request),
                                   .rows = ASKED,
                                   .inputs = inputs,
                                   .params = params,
                                   .input_count = REC_INPUTS,
                                   .param_count = 3 };
    struct rec_asking *a = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (rec_ask_start(&host, m, &request, &a, &error))
        return;
    for (uint32_t row = 0; row < ASKED; row++)
        ask_row(a, row);
    rec_ask_end(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec_model m;
    maas_error error = MAAS_ERROR_INIT;
    if (size < 8 || size > FILE_BYTES_MAX)
        return 0;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data, size - 8);
    const uint64_t sum = checksum_of(bytes, size - 8);
    memcpy(bytes + size - 8, &sum, 8);
    if (!rec_parse(bytes, size, &m, &error)) {
        const float some = rec_predict(&m, 0, m.items.count - 1);
        check(&some, 1);
        ask(&m, false);
        ask(&m, true);
    }
    rec_release(&m);
    free(bytes);
    return 0;
}
