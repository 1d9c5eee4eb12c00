/*
 * outbox.h: answers on their way into the completion rings. An answer that finds its ring full
 * waits here, in order; loops are woken once a batch. [worker thread]
 */
#ifndef MAAS_WORKER_OUTBOX_H
#define MAAS_WORKER_OUTBOX_H

#include "channel/channel.h"

/* With more than this waiting, no request is begun, and none answered that can be put off. */
#define OUTBOX_WAITING_MAX ((size_t)32 << 20)

struct outbox {
    struct channel *channel;
    uint64_t dirty; /* loops with answers that were not woken for them: a bit each */
    size_t waiting_bytes;
    struct waiting *first[CHANNEL_LOOPS_MAX], *last[CHANNEL_LOOPS_MAX];
};

_Static_assert(CHANNEL_LOOPS_MAX <= 64, "a bit a loop");

void outbox_init(struct outbox *box, struct channel *channel);
void outbox_release(struct outbox *box);
/* Copies the parts into the ring or, when that is full, aside. */
void outbox_put(struct outbox *box, uint32_t loop, const struct channel_part *parts, size_t count);
void outbox_retry(struct outbox *box); /* moves what waits into rings with room */
void outbox_wake(struct outbox *box);  /* each dirty loop, once */

#endif
