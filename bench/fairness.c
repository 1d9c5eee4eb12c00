/*
 * fairness.c: one tenant sends twenty times its share to a worker; what do the nine others notice?
 *
 * A real maas-worker on CPU 1 runs a model whose rows cost 100 us each. Its capacity is measured
 * first; a tenth of it is a tenant's fair share. Nine tenants then ask for 97 % of theirs at steady
 * intervals, first alone, then beside the tenth, which asks for twenty times its own. The same
 * schedule both times, so that the difference is the flood's.
 *
 * usage: maas-bench-fairness BUILD_DIR [--quick]     prints "name value" a line
 *
 *     fairness.others_refused          requests of the nine that were refused
 *     fairness.least_share             of the nine: what it got, as a part of its fair share
 *     fairness.added_wait_batches      99th percentile of their waits, beside the flood minus
 * alone, in lengths of the longest batch fairness.flood_share             what the flood got, in
 * fair shares
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker.h"

enum { TENANTS = 10, FLOOD = TENANTS - 1, SLOTS = 4096, ROW_US = 100, TIMES = 20 };
#define DEMAND 0.97

struct tenant {
    uint64_t next_ns, interval_ns;
    size_t sent, served, refused;
};

struct trial {
    struct bench_worker worker;
    struct tenant tenants[TENANTS];
    struct {
        uint64_t sent_ns;
        uint8_t tenant;
        bool used;
    } slots[SLOTS];
    uint32_t next_slot;
    double *waits; /* us, of the nine */
    size_t wait_count, wait_room;
    uint32_t longest_us; /* compute of a batch */
};

static const char text[] =
    "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP64\",\"shape\":[1,1],\"data\":[1]}]}";
static const struct str body = { text, sizeof(text) - 1 };

static bool send_of(struct trial *t, uint8_t tenant, uint64_t now)
{
    for (uint32_t i = 0; i < SLOTS; i++, t->next_slot = (t->next_slot + 1) % SLOTS)
        if (!t->slots[t->next_slot].used) {
            if (!bench_send(&t->worker, t->next_slot, tenant, body))
                return false;
            t->slots[t->next_slot].used = true;
            t->slots[t->next_slot].tenant = tenant;
            t->slots[t->next_slot].sent_ns = now;
            return true;
        }
    return false;
}

static void note_answer(struct trial *t, const struct complete_frame *frame, uint64_t now)
{
    uint32_t slot = (uint32_t)frame->job % SLOTS;
    struct tenant *tenant = &t->tenants[t->slots[slot].tenant];
    t->slots[slot].used = false;
    if (frame->status != MAAS_OK) {
        tenant->refused++;
        return;
    }
    tenant->served++;
    t->longest_us = frame->compute_us > t->longest_us ? frame->compute_us : t->longest_us;
    if (t->slots[slot].tenant != FLOOD && t->wait_count < t->wait_room)
        t->waits[t->wait_count++] = (double)(now - t->slots[slot].sent_ns) / 1000;
}

static size_t take_all(struct trial *t)
{
    struct complete_frame frame;
    size_t count = 0;
    for (; bench_take_any(&t->worker, &frame); count++)
        note_answer(t, &frame, clock_mono_ns());
    return count;
}

static void drain(struct trial *t)
{
    uint64_t end = clock_mono_ns() + 1000000000;
    while (clock_mono_ns() < end)
        (void)take_all(t);
}

/* Rows a second, with enough waiting to fill each batch. */
static double capacity(struct trial *t, uint64_t ns)
{
    size_t done = 0;
    uint64_t start = clock_mono_ns(), now = start;
    for (uint32_t i = 0; i < 128; i++)
        (void)send_of(t, (uint8_t)(i % TENANTS), now);
    channel_wake_worker(t->worker.channel);
    for (; now - start < ns; now = clock_mono_ns()) {
        size_t took = take_all(t);
        for (size_t i = 0; i < took; i++)
            (void)send_of(t, (uint8_t)((done + i) % TENANTS), now);
        done += took;
        channel_wake_worker(t->worker.channel);
    }
    drain(t);
    return (double)done * 1e9 / (double)ns;
}

static void start_over(struct trial *t, double share, bool flooded, uint64_t now)
{
    t->wait_count = 0;
    t->longest_us = 0;
    for (uint8_t i = 0; i < TENANTS; i++) {
        double rate = i != FLOOD ? share * DEMAND : flooded ? share * TIMES : 0;
        t->tenants[i] = (struct tenant){ .interval_ns = rate > 0 ? (uint64_t)(1e9 / rate) : 0 };
        /* not all at the same moment */
        t->tenants[i].next_ns = now + t->tenants[i].interval_ns * i / TENANTS;
    }
}

static void run(struct trial *t, double share, bool flooded, uint64_t ns)
{
    uint64_t start = clock_mono_ns(), now = start;
    start_over(t, share, flooded, now);
    for (; now - start < ns; now = clock_mono_ns()) {
        for (uint8_t i = 0; i < TENANTS; i++) {
            struct tenant *tenant = &t->tenants[i];
            for (; tenant->interval_ns && tenant->next_ns <= now;
                 tenant->next_ns += tenant->interval_ns) {
                bool taken = send_of(t, i, now);
                tenant->sent += taken;
                tenant->refused += !taken;
            }
        }
        channel_wake_worker(t->worker.channel);
        (void)take_all(t);
    }
}

static double least_share(const struct trial *t, double share, double seconds)
{
    double least = 1e9;
    for (uint8_t i = 0; i < FLOOD; i++) {
        double part = (double)t->tenants[i].served / seconds / share;
        least = part < least ? part : least;
    }
    return least;
}

static size_t others_refused(const struct trial *t)
{
    size_t refused = 0;
    for (uint8_t i = 0; i < FLOOD; i++)
        refused += t->tenants[i].refused;
    return refused;
}

int main(int argc, char **argv)
{
    static struct trial t;
    char options[64];
    if (argc < 2)
        return fprintf(stderr, "usage: maas-bench-fairness BUILD_DIR [--quick]\n"), 2;
    const double seconds = argc > 2 ? 2 : 6;
    const uint64_t ns = (uint64_t)(seconds * 1e9);
    t.wait_room = 1000000;
    t.waits = malloc(t.wait_room * sizeof(*t.waits));
    snprintf(options, sizeof(options), "{\"burn_row_us\":\"%d\"}", ROW_US);
    bench_pin(0);
    bench_worker_start(&t.worker, argv[1], options, 1);
    double rate = capacity(&t, 1000000000), share = rate / TENANTS;
    run(&t, share, false, ns);
    double alone = bench_quantile(t.waits, t.wait_count, 0.99);
    drain(&t);
    run(&t, share, true, ns);
    double beside = bench_quantile(t.waits, t.wait_count, 0.99), batch = t.longest_us;
    printf("fairness.capacity_rows_per_s %.0f\n", rate);
    printf("fairness.longest_batch_us %.0f\n", batch);
    printf("fairness.others_refused %zu\n", others_refused(&t));
    printf("fairness.least_share %.4f\n", least_share(&t, share, seconds));
    printf("fairness.wait_p99_alone_us %.0f\n", alone);
    printf("fairness.wait_p99_beside_us %.0f\n", beside);
    printf("fairness.added_wait_batches %.3f\n", (beside - alone) / batch);
    printf("fairness.flood_share %.3f\n", (double)t.tenants[FLOOD].served / seconds / share);
    printf("fairness.flood_refused %zu\n", t.tenants[FLOOD].refused);
    bench_worker_stop(&t.worker);
    return 0;
}
