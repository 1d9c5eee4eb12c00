/*
 * bench_worker: what a small request costs the worker's core, without processes and wake-ups: one
 * thread plays a loop (submit, consume) and the worker (turns) on one channel. Depth: how many
 * requests wait when the worker looks, of four tenants in turn.
 *
 *     bench_worker PLUGIN.so ROOT BODY [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/serve.h"

#define BATCH 256u /* requests of a round */

static bool submit(struct channel *ch, uint32_t slot, struct str body)
{
    struct submit_frame frame = { .kind = SUBMIT_INFER,
                                  .surface = SURFACE_REGRESSION,
                                  .job = job_id(slot, 1),
                                  .tenant = { { (uint8_t)(slot % 4) } },
                                  .max_rows = 1000,
                                  .json_len = UINT32_MAX,
                                  .name_len = 5,
                                  .version_len = 1,
                                  .request_id_len = 16,
                                  .body_len = (uint32_t)body.len };
    const struct channel_part parts[] = { { &frame, sizeof(frame) },
                                          { "model", 5 },
                                          { "1", 1 },
                                          { "0123456789abcdef", 16 },
                                          { body.data, body.len } };
    return channel_submit(ch, 0, parts, 5);
}

/* Counts answers; prints the first that is no success. */
static uint32_t consume(struct channel *ch)
{
    struct complete_frame frame;
    uint32_t count = 0;
    const char *data;
    size_t len;
    while ((data = channel_peek_complete(ch, 0, &len)) != NULL) {
        memcpy(&frame, data, sizeof(frame));
        if (frame.status != MAAS_OK) {
            fprintf(stderr, "status %d: %.*s\n", frame.status, (int)(len - sizeof(frame)),
                    data + sizeof(frame));
            exit(1);
        }
        channel_consume_complete(ch, 0);
        count++;
    }
    return count;
}

/* The loop's part and the rings alone. */
static void pass(struct channel *ch, struct str body)
{
    size_t len;
    for (; channel_peek_submit(ch, 0, &len); channel_consume_submit(ch, 0))
        (void)!channel_complete(ch, 0, &(struct channel_part){ body.data, 100 }, 1);
    while (channel_peek_complete(ch, 0, &len))
        channel_consume_complete(ch, 0);
}

static double round_ns(struct channel *ch, struct server *server, struct str body, uint32_t depth)
{
    uint64_t start = clock_mono_ns();
    for (uint32_t i = 0; i < BATCH; i += depth) {
        for (uint32_t slot = i; slot < i + depth; slot++)
            if (!submit(ch, slot, body))
                exit(1);
        if (!server)
            pass(ch, body);
        for (uint32_t done = 0; server && done < depth; done += consume(ch))
            (void)server_turn(server);
    }
    return (double)(clock_mono_ns() - start) / BATCH;
}

static double best_ns(struct channel *ch, struct server *server, struct str body, uint32_t depth,
                      int rounds)
{
    double best = 1e18;
    for (int i = 0; i < rounds; i++) {
        double ns = round_ns(ch, server, body, depth);
        best = ns < best ? ns : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "usage: bench_worker PLUGIN.so ROOT BODY [ROUNDS]\n"), 2;
    maas_error error = MAAS_ERROR_INIT;
    struct channel *ch = NULL;
    struct engine_plugin *plugin = NULL;
    struct engine_model *model = NULL;
    struct server *server = NULL;
    int rounds = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 500;
    if (channel_create(1, 16 << 20, 16 << 20, &ch, &error) ||
        engine_plugin_load(argv[1], NULL, &plugin, &error) ||
        engine_model_load(plugin, argv[2], NULL, 0, &model, &error) ||
        server_new(ch, &model, 1, &server, &error))
        return fprintf(stderr, "%s\n", error.text), 1;
    static const uint32_t depths[] = { 1, 16, 64, 256 };
    for (size_t i = 0; i < COUNT_OF(depths); i++)
        printf("depth %3u: rings only %.0f ns, whole job %.0f ns a request\n", depths[i],
               best_ns(ch, NULL, str_of(argv[3]), depths[i], rounds),
               best_ns(ch, server, str_of(argv[3]), depths[i], rounds));
    server_free(server);
    engine_model_unload(model);
    channel_free(ch);
    return 0;
}
