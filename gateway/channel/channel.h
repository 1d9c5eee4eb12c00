/*
 * channel.h: the shared memory between a gateway and one worker: a sealed memfd that holds, for
 * each event loop, a submission ring and a completion ring (single producer, single consumer,
 * variable-length records), and eventfds for the sleeping side.
 *
 *     gateway loop i ──submit[i]──▶ worker ──complete[i]──▶ gateway loop i
 *
 * Wake-ups only when the other side says `sleeping`. Positions and lengths read from shared memory
 * are copied once and checked; a violation condemns the channel (channel_broken) and never leads
 * outside of the ring. A record read by peek stays in shared memory (the other side may still
 * scribble on it): readers copy first, then look.
 *
 * The memfd has F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL.
 */
#ifndef MAAS_CHANNEL_H
#define MAAS_CHANNEL_H

#include "base/base.h"
#include "channel/frame.h"

struct channel; /* one end, private memory */

#define CHANNEL_LOOPS_MAX 64

/* ---- gateway's end [control] */
maas_status MUST_USE channel_create(uint32_t loops, uint32_t submit_bytes /* power of two */,
                                    uint32_t complete_bytes, struct channel **out,
                                    maas_error *error);
int channel_memfd(const struct channel *ch);          /* to be inherited by the worker */
int channel_worker_eventfd(const struct channel *ch); /* the worker sleeps on it */
int channel_loop_eventfd(const struct channel *ch, uint32_t loop); /* loop i sleeps on it */

/* ---- worker's end: maps what the memfd's header says, after checking it against the file's size
 * and seals */
maas_status MUST_USE channel_attach(int memfd, int worker_eventfd, const int *loop_eventfds,
                                    uint32_t loops, struct channel **out, maas_error *error);
void channel_free(struct channel *ch); /* unmaps, closes its descriptors */
uint32_t channel_loops(const struct channel *ch);
bool channel_broken(const struct channel *ch);
/* A record that the rings let pass makes no sense: this end takes and gives nothing any more. */
void channel_condemn(struct channel *ch);
size_t channel_record_max(const struct channel *ch,
                          bool submit); /* the largest record a ring takes: half its bytes */

/* ---- one direction of one loop. Gather write: the parts become one record. False: no room now
 * (nothing written). */
struct channel_part {
    const void *data;
    size_t len;
};
bool channel_submit(struct channel *ch, uint32_t loop, const struct channel_part *parts,
                    size_t count); /* [loop] gateway */
bool channel_complete(struct channel *ch, uint32_t loop, const struct channel_part *parts,
                      size_t count); /* [worker thread] */

/* Oldest record: its bytes in shared memory, or NULL when empty. consume ends its life. */
const void *channel_peek_submit(struct channel *ch, uint32_t loop, size_t *out_len); /* worker */
void channel_consume_submit(struct channel *ch, uint32_t loop);
const void *channel_peek_complete(struct channel *ch, uint32_t loop,
                                  size_t *out_len); /* gateway [loop] */
void channel_consume_complete(struct channel *ch, uint32_t loop);

/* ---- sleeping: set before polling, then look at the rings once more; clear after. */
void channel_loop_sleeps(struct channel *ch, uint32_t loop,
                         bool sleeping); /* gateway [loop]; a full fence when true */
void channel_worker_sleeps(struct channel *ch, bool sleeping);
/* Signals the other side's eventfd when it sleeps (once: the flag is taken by exchange). Call once
 * a turn, not per record. */
void channel_wake_worker(struct channel *ch);              /* [loop] */
void channel_wake_loop(struct channel *ch, uint32_t loop); /* worker */

/* ---- started marks: worker writes the job's generation into its slot before inference; the
 * gateway reads them after a death */
void channel_mark_started(struct channel *ch, uint32_t loop, uint64_t job);
/* It was only looked at, and waits again. */
void channel_unmark_started(struct channel *ch, uint32_t loop, uint64_t job);
bool channel_was_started(const struct channel *ch, uint32_t loop, uint64_t job);
/* ---- cancelled marks: the gateway writes, the worker reads (wait-free): the client left */
void channel_mark_cancelled(struct channel *ch, uint32_t loop, uint64_t job);
bool channel_is_cancelled(const struct channel *ch, uint32_t loop, uint64_t job);

#endif
