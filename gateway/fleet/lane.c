/*
 * lane.c: one worker as a loop sees it: a pair of rings, a table of slots for the requests in
 * flight, and one watched eventfd. The routes of a group's deployments lead to the same lane.
 *
 * A request takes a slot (its number and generation make the job id), is written into the
 * submission ring, and waits. Once a turn the completion rings are drained, then waiting requests
 * are sent, then each worker that got something is woken, once. Before the poll `sleeping` is set
 * on the lanes that have something in flight and their rings are looked at once more, so no wake-up
 * is lost.
 *
 * Slots outlive requests: a request that ended by its deadline leaves its slot busy until the
 * worker answers or dies, so a job id is never used twice at a time. If the slot is still busy a
 * grace later, the worker hangs and its end is asked for. One timer a lane watches the slot that is
 * overdue the longest; when that is free in time, it turns to the next.
 *
 * Rejected: one eventfd for all workers (a hostile worker could eat the others' wake-ups); a frame
 * for "started" (a mark in shared memory is free and is read only after a death).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fleet/crowd.h"
#include "fleet/port.h"

/* Unloading picks whom nobody has used for long: this is exact enough, and two loops that serve
 * from one worker need not fight for the cache line. */
#define USED_STEP_NS ((uint64_t)10 * 1000000)

void job_end(struct fleet_port *port, struct job *job, enum job_end end,
             const struct complete_frame *frame, const uint8_t *payload)
{
    timer_stop(&job->deadline);
    crowd_leave(port->crowds, job->crowd);
    job->done(job, end, frame, payload);
}

/* ---- sending */

static struct lane *lane_least_loaded(const struct fleet_route *route)
{
    struct lane *best = NULL;
    for (uint32_t i = 0; i < route->lane_count; i++) {
        struct lane *lane = route->lanes[i];
        if (!lane->closing && lane->slots.busy < lane->slots.count &&
            (!best || lane->slots.busy < best->slots.busy))
            best = lane;
    }
    return best;
}

static void lane_note_use(struct lane *lane)
{
    uint64_t now = loop_now_ns(lane->port->loop);
    if (now - lane->used_ns < USED_STEP_NS)
        return;
    lane->used_ns = now;
    atomic_store_explicit(&lane->link->used_ns, now, memory_order_relaxed);
}

static bool lane_submit(struct lane *lane, const struct fleet_route *route, struct job *job)
{
    const struct pool_id *pool = &route->id;
    uint32_t slot = slots_take(&lane->slots, job);
    job->frame.job = slots_id(&lane->slots, slot);
    job->frame.model_slot = pool->slot;
    job->parts[1] = (struct channel_part){ pool->text, strlen(pool->text) };
    job->frame.version_len = (uint16_t)job->parts[1].len;
    struct channel_part parts[6] = { { &job->frame, sizeof(job->frame) } };
    memcpy(parts + 1, job->parts, sizeof(job->parts));
    if (!channel_submit(lane->link->channel, loop_index(lane->port->loop), parts,
                        COUNT_OF(parts))) {
        slots_give(&lane->slots, slot);
        return false;
    }
    job->lane = lane;
    job->slot = slot;
    job->version = pool->number;
    lane->dirty = true;
    lane_note_use(lane);
    return true;
}

bool route_submit(struct fleet_route *route, struct job *job)
{
    struct lane *lane = lane_least_loaded(route);
    return lane && lane_submit(lane, route, job);
}

/* Watches the request that is overdue the longest: it has a grace from its deadline on. */
static void hang_watch(struct lane *lane)
{
    struct loop *loop = lane->port->loop;
    uint32_t slot = slots_longest_overdue(&lane->slots);
    if (slot == lane->slots.count)
        return;
    uint64_t grace_ns = (uint64_t)fleet_hang_grace_ms(lane->port->fleet) * 1000000;
    uint64_t end = lane->slots.all[slot].overdue_ns + grace_ns, now = loop_now_ns(loop);
    lane->hang_job = slots_id(&lane->slots, slot);
    timer_start(loop, &lane->hang, end > now ? (end - now) / 1000000 : 0);
}

/* ---- answers */

static bool frame_fits(const struct complete_frame *f, size_t record_len)
{
    return f->kind == COMPLETE_DONE && f->param_len <= 64 && f->text_len <= 252 &&
           (uint64_t)sizeof(*f) + f->param_len + f->text_len + f->body_len == record_len;
}

static void add(_Atomic uint64_t *count, uint64_t n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

/* The worker's own words, so nothing hangs on them but what the metrics tell. */
static void count_answer(struct port_counts *counts, const struct complete_frame *frame)
{
    uint32_t members = frame->batch < 1 ? 1 : frame->batch > 4096 ? 4096 : frame->batch;
    add(&counts->answers, 1);
    add(&counts->late, frame->status == MAAS_E_DEADLINE);
    add(&counts->exhausted, frame->status == MAAS_E_EXHAUSTED);
    if (frame->batch == 0)
        return; /* it was not computed */
    add(&counts->merged, members > 1);
    add(&counts->rows, frame->rows);
    add(&counts->call_parts, CALL_PARTS / members);
}

static void lane_answer(struct lane *lane, const struct complete_frame *frame,
                        const uint8_t *payload)
{
    uint32_t i = (uint32_t)frame->job;
    struct job *job = lane->slots.all[i].job;
    slots_give(&lane->slots, i);
    count_answer(&lane->port->counts, frame);
    if (job)
        job_end(lane->port, job, JOB_ANSWERED, frame, payload);
}

/* The worker breaks the rules: its bytes are not looked at any more. */
static void lane_condemn(struct lane *lane)
{
    fleet_count_hostile(lane->port->fleet);
    atomic_store(&lane->link->kill, true);
    fleet_poke(lane->port->fleet);
}

static bool lane_drain_one(struct lane *lane, uint32_t loop)
{
    struct channel *ch = lane->link->channel;
    size_t len;
    const uint8_t *record = channel_peek_complete(ch, loop, &len);
    if (!record)
        return false;
    struct complete_frame frame; /* copied once: the worker may still write there */
    bool good = len >= sizeof(frame);
    if (good) {
        memcpy(&frame, record, sizeof(frame));
        good = frame_fits(&frame, len) && slots_has(&lane->slots, frame.job);
    }
    if (good)
        lane_answer(lane, &frame, record + sizeof(frame));
    else
        lane_condemn(lane);
    channel_consume_complete(ch, loop);
    return good;
}

static void lane_drain(struct lane *lane)
{
    uint32_t loop = loop_index(lane->port->loop);
    while (lane->slots.busy && lane_drain_one(lane, loop))
        ;
    if (channel_broken(lane->link->channel) && !atomic_load(&lane->link->kill))
        lane_condemn(lane);
    if (lane->closing && lane->slots.busy == 0) {
        lane->closing = false; /* said once; the lane takes nothing new: it is out of its route */
        atomic_fetch_add(&lane->link->drained, 1);
        fleet_poke(lane->port->fleet);
    }
}

/* True while the slot is this request's: it has not been answered. */
static bool lane_holds(const struct lane *lane, const struct job *job, uint32_t slot, uint64_t id)
{
    return slots_has(&lane->slots, id) && lane->slots.all[slot].job == job;
}

/* A loop that stood still may find the answer in the ring: it counts, however late it is seen. The
 * job's memory may be gone once it was answered. */
static void on_deadline(struct timer *timer)
{
    struct job *job = (struct job *)(void *)((char *)timer - offsetof(struct job, deadline));
    struct lane *lane = job->lane;
    struct fleet_port *port = lane ? lane->port : job->route->port;
    if (!lane) {
        waiting_remove(job->route, job);
    } else {
        struct loop *loop = lane->port->loop;
        uint32_t slot = job->slot;
        uint64_t id = job->frame.job;
        lane_drain(lane);
        if (!lane_holds(lane, job, slot, id))
            return;
        channel_mark_cancelled(lane->link->channel, loop_index(loop), id);
        slots_end_early(&lane->slots, slot, loop_now_ns(loop));
        if (!lane->hang.due_ns)
            hang_watch(lane);
    }
    job_end(port, job, job->abandoned ? JOB_ABANDONED : JOB_DEADLINE, NULL, NULL);
}

/* The watched request's grace is over. Others may have become overdue meanwhile; and a loop that
 * was kept from turning finds here what its worker answered long ago. */
static void on_hang(struct timer *timer)
{
    struct lane *lane = (struct lane *)(void *)((char *)timer - offsetof(struct lane, hang));
    lane_drain(lane);
    if (!slots_has(&lane->slots, lane->hang_job)) {
        hang_watch(lane);
        return;
    }
    LOG(LOG_WARN, "worker.hangs", F_INT("pid", lane->link->pid));
    atomic_store(&lane->link->kill, true);
    fleet_poke(lane->port->fleet);
}

/* Answers that are given here, within the library's run, leave in this turn; those of after_poll
 * need another one. */
static void on_event(void *arg)
{
    struct lane *lane = arg;
    uint64_t count;
    ssize_t n = read(channel_loop_eventfd(lane->link->channel, loop_index(lane->port->loop)),
                     &count, sizeof(count));
    (void)n; /* an empty eventfd is no news */
    lane_drain(lane);
}

/* ---- the turn */

static void port_wake(struct fleet_port *port)
{
    for (struct lane *lane = port->lanes; lane; lane = lane->next) {
        if (lane->dirty)
            channel_wake_worker(lane->link->channel);
        lane->dirty = false;
    }
}

static void port_after_poll(void *arg)
{
    struct fleet_port *port = arg;
    uint32_t loop = loop_index(port->loop);
    for (struct lane *lane = port->lanes; lane; lane = lane->next) {
        channel_loop_sleeps(lane->link->channel, loop, false);
        lane_drain(lane);
    }
    for (struct fleet_route *route = port->routes; route; route = route->next)
        if (route->waiting)
            route_flush(route);
    port_wake(port);
}

static bool port_before_poll(void *arg)
{
    struct fleet_port *port = arg;
    uint32_t loop = loop_index(port->loop);
    bool work = false;
    port_wake(port);
    for (struct lane *lane = port->lanes; lane; lane = lane->next) {
        size_t len;
        if (!lane->slots.busy)
            continue;
        channel_loop_sleeps(lane->link->channel, loop, true);
        work |= channel_peek_complete(lane->link->channel, loop, &len) != NULL;
    }
    return work;
}

void port_add_turns(struct fleet_port *port)
{
    loop_add_turn(port->loop, &(struct loop_turn){ port_before_poll, port_after_poll, port });
}

/* ---- what the control thread tells */

static struct lane *lane_of_link(struct fleet_port *port, const struct link *link)
{
    struct lane *lane = port->lanes;
    while (lane && lane->link != link)
        lane = lane->next;
    return lane;
}

static struct lane *lane_new(struct fleet_port *port, struct link *link)
{
    static const struct watch_ops ops = { .on_readable = on_event };
    struct lane *lane = calloc(1, sizeof(*lane));
    maas_error error = MAAS_ERROR_INIT;
    CHECK(lane && slots_init(&lane->slots, port->queue_max));
    lane->port = port;
    lane->link = link;
    lane->hang.fire = on_hang;
    if (watch_new(port->loop, channel_loop_eventfd(link->channel, loop_index(port->loop)), &ops,
                  lane, &lane->watch, &error)) {
        LOG(LOG_ERROR, "lane.watch", F_STR("reason", error.text));
        atomic_store(&link->kill, true);
    } else {
        watch_want_read(lane->watch, true);
    }
    lane->next = port->lanes;
    port->lanes = lane;
    return lane;
}

void lane_open(struct fleet_route *route, struct link *link)
{
    struct lane *lane = lane_of_link(route->port, link);
    if (lane)
        link_unref(link); /* it has one reference, however many routes lead there */
    else
        lane = lane_new(route->port, link);
    route_lane_opened(route, lane);
}

/* A request whose worker died: told 502 when its work had begun, else it waits for the next worker
 * in front of those that came after it. */
static void job_orphaned(struct lane *lane, struct job *job, bool started)
{
    struct fleet_port *port = lane->port;
    if (started && !job->abandoned)
        suspects_note(fleet_suspects(port->fleet), job, &job->route->id.version,
                      loop_now_ns(port->loop));
    if (started || job->abandoned) {
        job_end(port, job, started ? JOB_CRASHED : JOB_ABANDONED, NULL, NULL);
        return;
    }
    struct fleet_route *front = route_front_or_ask(port, &job->route->id.deployment);
    if (front->state == ROUTE_REFUSES)
        job_end(port, job, JOB_NO_WORKER, NULL, NULL);
    else
        waiting_insert(front, job);
}

void lane_free(struct lane *lane)
{
    struct lane **at = &lane->port->lanes;
    while (*at != lane)
        at = &(*at)->next;
    *at = lane->next;
    timer_stop(&lane->hang);
    watch_free(lane->watch);
    link_unref(lane->link);
    slots_release(&lane->slots);
    free(lane);
}

void lane_lost(struct fleet_port *port, struct link *link)
{
    struct lane *lane = lane_of_link(port, link);
    if (lane) {
        lane_drain(lane);
        port_drop_lane(lane);
        for (uint32_t i = 0; i < lane->slots.count; i++)
            if (lane->slots.all[i].job)
                job_orphaned(lane, lane->slots.all[i].job,
                             channel_was_started(link->channel, loop_index(port->loop),
                                                 slots_id(&lane->slots, i)));
        lane_free(lane);
    }
    link_unref(link);
}

void lane_close(struct fleet_port *port, struct link *link)
{
    struct lane *lane = lane_of_link(port, link);
    if (lane) {
        port_drop_lane(lane);
        lane->closing = true;
        lane_drain(lane);
    }
    link_unref(link);
}

/* ---- public */

bool fleet_condemns(struct fleet_port *port, const struct fleet_route *route, struct job *job)
{
    enum suspicion known = suspects_look(fleet_suspects(port->fleet), job, &route->id.version,
                                         loop_now_ns(port->loop));
    if (known == SUSPECT_ONCE)
        job->frame.flags |= SUBMIT_ALONE;
    add(&port->counts.condemned, known == SUSPECT_TWICE);
    return known == SUSPECT_TWICE;
}

static bool is_elsewhere(const struct fleet_route *route, const struct job *job)
{
    return job->pinned && route->id.number && job->pinned != route->id.number;
}

bool fleet_send(struct fleet_port *port, struct fleet_route *route, struct job *job)
{
    uint64_t now = loop_now_ns(port->loop);
    job->lane = NULL;
    job->abandoned = false;
    if (route->state == ROUTE_REFUSES || is_elsewhere(route, job))
        return false;
    job->crowd = crowd_join(port->crowds, &job->frame.tenant, &route->id.deployment);
    if (!job->crowd) {
        add(&port->counts.crowded, 1);
        return false;
    }
    job->arrival = ++port->arrivals;
    job->route = route;
    if (route->waiting || !route_submit(route, job))
        waiting_insert(route, job);
    job->deadline = (struct timer){ .fire = on_deadline };
    uint64_t left = job->frame.deadline_ns > now ? job->frame.deadline_ns - now : 0;
    timer_start(port->loop, &job->deadline, left / 1000000);
    return true;
}

void fleet_abandon(struct fleet_port *port, struct job *job)
{
    struct lane *lane = job->lane;
    job->abandoned = true;
    if (lane) {
        channel_mark_cancelled(lane->link->channel, loop_index(port->loop), job->frame.job);
        return;
    }
    waiting_remove(job->route, job);
    job_end(port, job, JOB_ABANDONED, NULL, NULL);
}
