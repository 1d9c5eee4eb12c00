/*
 * call.h: one request on its way through the gateway, and the words every step uses to end it.
 *
 * A call lives from the handler until both its client was answered (or left) and its job, if any,
 * is done. [loop]
 */
#ifndef MAAS_API_CALL_H
#define MAAS_API_CALL_H

#include "api/app.h"

enum step_result {
    STEP_NEXT, /* go on */
    STEP_WAIT, /* an answer is awaited: call_walk goes on with the next step when it comes */
    STEP_DONE, /* the call was answered; nobody touches it again */
};
typedef enum step_result (*call_step)(struct call *call);

/* How errors look: by the path's surface. */
enum error_style { STYLE_OPENAI, STYLE_V2 };

struct route {
    const char *method, *path; /* "{model}" or "{key}", and "{version}", stand for one segment */
    const call_step *way;      /* ends with NULL */
    enum surface surface;
    bool open; /* answers without a key */
};

struct call {
    struct app_loop *at;
    struct exchange *ex; /* NULL once answered or left */
    const struct route *route;
    const call_step *step;
    struct str model, /* or the id of a key */
        version;      /* path parameters or, for tasks, the body's member; request memory */
    struct str head;  /* JSON before a body that is no JSON; empty: none. Request memory */
    char request_id[UUID_TEXT_MAX];
    struct str request_id_text; /* what is echoed: the caller's own if it sent one */
    struct uuid request;
    uint64_t started_ns;

    struct principal *who; /* counted */
    struct view_waiter key_wait;
    struct once *once; /* NULL: sent without an Idempotency-Key (idempotency.h) */
    struct uuid deployment, model_id;
    const struct deployment *target; /* borrowed from resolve to admit, within one turn */
    uint32_t cost_base, cost_per_row, max_rows;
    uint64_t units;       /* that were billed */
    uint64_t admitted_ns; /* CLOCK_MONOTONIC; 0: it was not */
    uint64_t admitted_us; /* wall clock */

    struct limits_verdict verdict;
    bool limited; /* verdict holds something */
    bool waits_for_key, waits_for_limit, has_query, has_job;
    struct limits_hold hold; /* what it was admitted with, until call_over */
    struct limits_waiter limit_wait;
    struct job job;
    struct call *next_idle;
};

void call_walk(struct call *call);
/* The API key as it was sent; request memory. (request.c) */
struct str call_credential(struct call *call);

/* ---- endings (reply.c). Each answers once and returns STEP_DONE; a call without a job is over
 * then. */
enum step_result call_reply(struct call *call, int http_status, struct str type, struct str body);
enum step_result call_reply_json(struct call *call, int http_status, struct str body);
/* code: machine word; param: the field that is wrong, or empty. */
enum step_result call_fail(struct call *call, int http_status, const char *code, struct str param,
                           const char *fmt, ...) PRINTF_LIKE(5, 6);
enum step_result call_fail_status(struct call *call, maas_status status, struct str param,
                                  struct str text);
void call_timing(struct call *call, uint32_t queue_us, uint32_t compute_us);
/* After the answer: gives the call back when nothing of it is in flight any more. (request.c) */
void call_over(struct call *call);

/* ---- other ways than inference (info.c) */
enum step_result info_models(struct call *call);
enum step_result info_model(struct call *call);
enum step_result info_health_live(struct call *call);
enum step_result info_health_ready(struct call *call);
enum step_result info_server(struct call *call);
enum step_result info_v2_model(struct call *call);
enum step_result info_v2_model_ready(struct call *call);

enum step_result usage_list(struct call *call);    /* usage.c */
enum step_result own_keys_list(struct call *call); /* own_keys.c */
enum step_result own_keys_create(struct call *call);
enum step_result own_keys_change(struct call *call);
enum step_result own_keys_revoke(struct call *call);
enum step_result own_keys_rotate(struct call *call);

/* ---- routes.c */
const struct route *route_find(struct str method, struct str path, struct str *out_model,
                               struct str *out_version, const char **out_allow);
extern const call_step way_of_inference[], way_of_task[], way_of_picture[];
void routes_print(void);

/* ---- steps outside of request.c */
enum step_result step_model_member(struct call *call); /* request.c */
enum step_result step_picture(struct call *call);      /* picture.c */

/* The server's handler and its gate: arg is the struct app_loop. (request.c) */
void request_begin(struct exchange *ex, void *arg);
enum gate_verdict request_gate(const struct http_head *head, void *arg);
void request_loop_release(struct app_loop *at);

#endif
