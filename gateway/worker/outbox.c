/*
 * outbox.c: see the header. An answer is never dropped: the gateway counts on one for each job. How
 * much may wait is bounded by the caller, who takes no new job while `waiting_bytes` is high.
 */
#include "worker/outbox.h"

#include <stdlib.h>
#include <string.h>

struct waiting {
    struct waiting *next;
    size_t len;
    unsigned char data[];
};

void outbox_init(struct outbox *box, struct channel *channel)
{
    *box = (struct outbox){ .channel = channel };
}

void outbox_release(struct outbox *box)
{
    for (uint32_t loop = 0; loop < CHANNEL_LOOPS_MAX; loop++) {
        while (box->first[loop]) {
            struct waiting *next = box->first[loop]->next;
            free(box->first[loop]);
            box->first[loop] = next;
        }
    }
}

static void mark(struct outbox *box, uint32_t loop)
{
    box->dirty |= 1ULL << loop;
}

static void put_aside(struct outbox *box, uint32_t loop, const struct channel_part *parts,
                      size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    struct waiting *w = malloc(sizeof(*w) + len);
    CHECK(w != NULL); /* an answer that is lost hangs its request: better a new worker */
    *w = (struct waiting){ .len = len };
    unsigned char *to = w->data;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    if (box->first[loop])
        box->last[loop]->next = w;
    else
        box->first[loop] = w;
    box->last[loop] = w;
    box->waiting_bytes += len;
}

void outbox_put(struct outbox *box, uint32_t loop, const struct channel_part *parts, size_t count)
{
    mark(box, loop);
    if (box->first[loop] || !channel_complete(box->channel, loop, parts, count))
        put_aside(box, loop, parts, count);
}

static void retry_loop(struct outbox *box, uint32_t loop)
{
    while (box->first[loop]) {
        struct waiting *w = box->first[loop];
        const struct channel_part part = { w->data, w->len };
        if (!channel_complete(box->channel, loop, &part, 1))
            return;
        mark(box, loop);
        box->first[loop] = w->next;
        box->waiting_bytes -= w->len;
        free(w);
    }
}

void outbox_retry(struct outbox *box)
{
    if (!box->waiting_bytes)
        return;
    for (uint32_t loop = 0; loop < channel_loops(box->channel); loop++)
        retry_loop(box, loop);
}

void outbox_wake(struct outbox *box)
{
    while (box->dirty) {
        channel_wake_loop(box->channel, (uint32_t)__builtin_ctzll(box->dirty));
        box->dirty &= box->dirty - 1;
    }
}
