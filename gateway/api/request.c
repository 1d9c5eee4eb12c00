/*
 * request.c: the way of a request.
 *
 *     read → authenticate → receive → once → resolve → admit → dispatch → (worker) → meter → reply
 *
 * Before it, for a body that is not short, the gate: the same looks at path and key, but from what
 * is in hand and at the header alone, so that nobody without a right has a body kept.
 *
 * Each word is a step: a function that says NEXT, WAIT or DONE. A step that must wait (a key that
 * is not in the cache, a lease under way) returns WAIT, and its callback walks on with the next
 * step. Whoever leaves a step with DONE has answered by call_fail or call_reply_json; a call is
 * given back when it is answered (or its client left) and no job of it is in flight.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/idempotency.h"
#include "api/scan.h"
#include "auth/token.h"
#include "base/log.h"

static enum step_result step_read(struct call *call);
static enum step_result step_authenticate(struct call *call);
static enum step_result step_receive(struct call *call);
static enum step_result step_resolve(struct call *call);
static enum step_result step_admit(struct call *call);
static enum step_result step_dispatch(struct call *call);

/* ---- the list */

static const call_step way_in[] = { step_read, step_authenticate, step_receive, step_once, NULL };
const call_step way_of_inference[] = { step_resolve, step_admit, step_dispatch, NULL };
const call_step way_of_task[] = { step_model_member, step_resolve, step_admit, step_dispatch,
                                  NULL };
const call_step way_of_picture[] = { step_picture, step_resolve, step_admit, step_dispatch, NULL };

void call_walk(struct call *call)
{
    for (;;) {
        if (!*call->step) { /* the way in is over: now the route's own */
            call->step = call->route->way;
            continue;
        }
        call_step step = *call->step++;
        if (step(call) != STEP_NEXT)
            return;
    }
}

/* ---- a call's memory */

static struct call *call_new(struct app_loop *at, struct exchange *ex)
{
    struct call *call = at->idle_calls;
    if (call)
        at->idle_calls = call->next_idle;
    else if (!(call = malloc(sizeof(*call))))
        return NULL;
    memset(call, 0, offsetof(struct call, hold));
    call->hold.count = 0;
    call->has_job = false;
    call->at = at;
    call->ex = ex;
    call->step = way_in;
    call->started_ns = loop_now_ns(at->loop);
    uuid_random(&call->request);
    uuid_format(&call->request, call->request_id);
    call->request_id_text = (struct str){ call->request_id, UUID_TEXT_MAX - 1 };
    return call;
}

void call_over(struct call *call)
{
    if (call->ex || call->has_job || call->has_query)
        return;
    limits_settle(&call->hold, call->units);
    once_end(call);
    if (call->who)
        principal_unref(call->who);
    call->next_idle = call->at->idle_calls;
    call->at->idle_calls = call;
}

void request_loop_release(struct app_loop *at)
{
    while (at->idle_calls) {
        struct call *call = at->idle_calls;
        at->idle_calls = call->next_idle;
        free(call);
    }
}

static void on_client_gone(void *user)
{
    struct call *call = user;
    struct app_loop *at = call->at;
    call->ex = NULL;
    atomic_fetch_add_explicit(&at->gone, 1, memory_order_relaxed);
    if (call->waits_for_key)
        view_cancel(at->view, &call->key_wait);
    if (call->waits_for_limit)
        limits_cancel(at->limits, &call->limit_wait);
    if (call->has_job)
        fleet_abandon(at->fleet, &call->job); /* may end the call from inside */
    else
        call_over(call);
}

void request_begin(struct exchange *ex, void *arg)
{
    struct call *call = call_new(arg, ex);
    if (!call) {
        exchange_send(ex, 503, (struct str){ "", 0 }, (struct str){ "", 0 });
        return;
    }
    exchange_bind(ex, call, on_client_gone);
    call_walk(call);
}

/* ---- read: what is asked, and whether the guard condemned it */

static bool request_id_is_sane(struct str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] < 0x21 || id.data[i] > 0x7e)
            return false;
    return id.len > 0 && id.len <= 128;
}

static enum step_result step_read(struct call *call)
{
    const struct http_request *request = exchange_request(call->ex);
    const char *allow;
    struct str own_id = exchange_find(call->ex, STR("x-request-id"));
    if (request_id_is_sane(own_id))
        call->request_id_text = own_id;
    if (request->condemned.http_status)
        return call_fail(call, request->condemned.http_status, request->condemned.code, STR(""),
                         "%s", request->condemned.text);
    call->route = route_find(request->method, request->path, &call->model, &call->version, &allow);
    if (call->route)
        return STEP_NEXT;
    if (!allow)
        return call_fail(call, 404, "unknown_url", STR(""), "there is no '%.*s' here",
                         (int)request->path.len, request->path.data);
    exchange_header(call->ex, STR("allow"), str_of(allow));
    return call_fail(call, 405, "method_not_allowed", STR(""), "use %s here, not %.*s", allow,
                     (int)request->method.len, request->method.data);
}

/* ---- authenticate: key → principal */

static struct str key_of(struct str authorization, struct str api_key)
{
    return authorization.len ? bearer_of(authorization) : api_key;
}

struct str call_credential(struct call *call)
{
    struct str authorization = exchange_known(call->ex, HDR_AUTHORIZATION); /* without a walk */
    return key_of(authorization,
                  authorization.len ? STR("") : exchange_find(call->ex, STR("x-api-key")));
}

enum standing { STANDS, KEY_REVOKED, KEY_NOT_NOW, TENANT_AWAY };

static enum standing standing_of(struct app_loop *at, const struct principal *who)
{
    uint64_t now = loop_real_us(at->loop);
    if (who->revoked)
        return KEY_REVOKED;
    if ((who->expires_us && now >= who->expires_us) || now < who->not_before_us)
        return KEY_NOT_NOW;
    return who->tenant_state == TENANT_ACTIVE ? STANDS : TENANT_AWAY;
}

/* The same work whether the id is unknown (who is NULL) or the secret is wrong. */
static bool verify(struct app_loop *at, struct str key, struct principal *who)
{
    if (!key_verify(at->checker, key, who ? who->pepper_version : 0, who ? who->mac : NULL) || !who)
        return false;
    key_remember(at->checker, key, &who->memo);
    return true;
}

static enum step_result refuse_key(struct call *call)
{
    exchange_header(call->ex, STR("www-authenticate"), STR("Bearer realm=\"maas\""));
    return call_fail(call, 401, "invalid_api_key", STR(""), "incorrect API key provided");
}

static bool comes_from_there(struct call *call, const struct allow_set *allow)
{
    char peer[64];
    exchange_peer(call->ex, peer, sizeof(peer));
    return allow_has(allow, peer);
}

/* The key is the principal's: may it call now, and from there? */
static enum step_result take_principal(struct call *call, struct principal *who)
{
    switch (standing_of(call->at, who)) {
    case STANDS:
        break;
    case KEY_REVOKED:
        return call_fail(call, 401, "api_key_revoked", STR(""), "this API key was revoked");
    case KEY_NOT_NOW:
        return call_fail(call, 401, "api_key_expired", STR(""),
                         "this API key is not valid at this time");
    case TENANT_AWAY:
        return call_fail(call, 403, "tenant_suspended", STR(""), "this tenant is not active");
    }
    if (who->allow && !comes_from_there(call, who->allow))
        return call_fail(call, 403, "ip_not_allowed", STR(""),
                         "this API key may not be used from this address");
    registry_note_use(call->at->app->registry, who, loop_real_us(call->at->loop));
    principal_ref(who);
    call->who = who;
    return STEP_NEXT;
}

static enum step_result check_principal(struct call *call, struct principal *who)
{
    return verify(call->at, call_credential(call), who) ? take_principal(call, who)
                                                        : refuse_key(call);
}

static enum step_result refuse_busy(struct call *call)
{
    exchange_header(call->ex, STR("retry-after"), STR("1"));
    return call_fail(call, 503, "authentication_unavailable", STR(""),
                     "this API key cannot be checked now");
}

static void on_key(struct view_waiter *waiter, enum view_answer answer, struct principal *who)
{
    struct call *call = (struct call *)(void *)((char *)waiter - offsetof(struct call, key_wait));
    call->waits_for_key = false;
    enum step_result result = answer == VIEW_BUSY ? refuse_busy(call) : check_principal(call, who);
    if (result == STEP_NEXT)
        call_walk(call);
}

static enum step_result step_authenticate(struct call *call)
{
    char id[KEY_ID_LEN];
    struct principal *who = NULL;
    enum view_answer answer = VIEW_ABSENT;
    uint64_t now = loop_now_ns(call->at->loop);
    if (call->route->open)
        return STEP_NEXT;
    struct str key = call_credential(call);
    if (key.len == 0) {
        exchange_header(call->ex, STR("www-authenticate"), STR("Bearer realm=\"maas\""));
        return call_fail(call, 401, "missing_api_key", STR(""),
                         "no API key provided: send 'Authorization: Bearer <key>' or 'x-api-key'");
    }
    bool has_id = key_peek(key, id);
    if (has_id)
        answer = view_key(call->at->view, id, now, &who);
    if (key_is_remembered(call->at->checker, key, who ? &who->memo : NULL))
        return take_principal(call, who); /* nearly always */
    if (!has_id || key_parse(call->at->app->keys, key, id) != KEY_OK)
        return refuse_key(call);
    switch (answer) {
    case VIEW_FOUND:
        return check_principal(call, who);
    case VIEW_ABSENT:
        return check_principal(call, NULL);
    case VIEW_BUSY:
        return refuse_busy(call);
    case VIEW_ASK:
        break;
    }
    call->key_wait.done = on_key;
    call->waits_for_key = true;
    view_ask(call->at->view, id, now, &call->key_wait);
    return STEP_WAIT;
}

/* ---- the gate, and receive: whether there is a body to work on */

enum gate_verdict request_gate(const struct http_head *head, void *arg)
{
    struct app_loop *at = arg;
    const uint64_t now = loop_now_ns(at->loop);
    struct str model, version;
    const char *allow;
    char id[KEY_ID_LEN];
    struct principal *who = NULL;
    const struct route *route = route_find(head->method, head->path, &model, &version, &allow);
    if (!route || route->open)
        return GATE_SHUT;
    struct str key =
        key_of(head_find(head, STR("authorization")), head_find(head, STR("x-api-key")));
    if (!key_peek(key, id))
        return GATE_SHUT;
    enum view_answer answer = view_key(at->view, id, now, &who);
    if (answer == VIEW_ASK && key_parse(at->app->keys, key, id) == KEY_OK) {
        view_want(at->view, id, now);
        return GATE_LATER;
    }
    if (answer == VIEW_ASK || answer == VIEW_BUSY)
        return GATE_SHUT;
    bool good =
        key_is_remembered(at->checker, key, who ? &who->memo : NULL) || verify(at, key, who);
    return good && standing_of(at, who) == STANDS ? GATE_OPEN : GATE_SHUT;
}

/* The gate was shut and the key is good after all: what it asked about has changed meanwhile. */
static enum step_result step_receive(struct call *call)
{
    if (call->route->open || !exchange_request(call->ex)->body_withheld)
        return STEP_NEXT;
    return refuse_busy(call);
}

/* ---- resolve: name → deployment */

enum step_result step_model_member(struct call *call)
{
    struct str body = exchange_request(call->ex)->body;
    if (body.len == 0)
        return call_fail(call, 400, "empty_body", STR(""),
                         "the body is empty: a JSON object is expected");
    switch (scan_model(body, &call->model)) {
    case SCAN_FOUND:
        return STEP_NEXT;
    case SCAN_ABSENT:
        return call_fail(call, 400, "missing_model", STR("model"),
                         "name the model: {\"model\": \"...\", ...}");
    case SCAN_TOO_FAR:
        return call_fail(call, 400, "model_too_far", STR("model"),
                         "put 'model' first in the body, or use /v2/models/{model}/infer");
    case SCAN_DUPLICATE:
        return call_fail(call, 400, "duplicate_member", STR("model"),
                         "'model' stands twice in the body");
    case SCAN_BAD:
        break;
    }
    return call_fail(call, 400, "malformed_json", STR(""),
                     "the body is not a JSON object with a string 'model'");
}

static enum step_result no_such_model(struct call *call)
{
    return call_fail(call, 404, "model_not_found", STR("model"), "the model '%.*s' does not exist",
                     (int)(call->model.len < 64 ? call->model.len : 64), call->model.data);
}

/* The version that is wanted, or the one that still serves while that one is loaded. */
static bool version_fits(const struct call *call, const struct deployment *d)
{
    char serving[12];
    if (call->version.len == 0 || str_eq(call->version, str_of(d->version_text)))
        return true;
    snprintf(serving, sizeof(serving), "%u", fleet_serving(call->at->fleet, &d->id));
    return serving[0] != '0' && str_eq(call->version, str_of(serving));
}

static enum step_result step_resolve(struct call *call)
{
    const struct principal *who = call->who;
    const struct deployment *d =
        snapshot_resolve(view_snapshot(call->at->view), &who->tenant, call->model);
    if (!d)
        return no_such_model(call);
    if (!scope_allows_infer(&who->scopes, call->model))
        return uuid_is_zero(&d->owner) || !uuid_eq(&d->owner, &who->tenant)
                   ? no_such_model(call)
                   : call_fail(call, 403, "scope_missing", STR(""),
                               "this API key has no scope for the model '%s'", d->name);
    if (!version_fits(call, d))
        return call_fail(call, 404, "version_not_found", STR("version"),
                         "the model '%s' has no version '%.*s' here", d->name,
                         (int)(call->version.len < 16 ? call->version.len : 16),
                         call->version.data);
    call->target = d;
    call->deployment = d->id;
    call->model_id = d->model_id;
    call->cost_base = d->cost_base;
    call->cost_per_row = d->cost_per_row;
    uint64_t rows =
        exchange_request(call->ex)->body.len / (d->min_row_bytes ? d->min_row_bytes : 1) + 1;
    if (call->head.len)
        rows = 1; /* the body is one picture */
    call->max_rows = rows < who->max_rows ? (uint32_t)rows : who->max_rows;
    return STEP_NEXT;
}

/* ---- admit: every limit at once, and room for the bill */

static const char *const limit_owner[] = { "gateway", "tenant", "API key", "model",
                                           "tenant and model" };

static enum step_result refuse_quota(struct call *call)
{
    const struct limits_verdict *v = &call->verdict;
    return call_fail(call, 429, "insufficient_quota", STR(""),
                     "quota of this %s is used up: %llu units a %s; it begins anew in %llu s",
                     limit_owner[v->scope], (unsigned long long)v->limit,
                     v->measure == MEASURE_DAY ? "day" : "month",
                     (unsigned long long)((v->reset_ms + 999) / 1000));
}

/* Of a measure in units: with fewer rows it might. */
static enum step_result refuse_for_ever(struct call *call)
{
    const struct limits_verdict *v = &call->verdict;
    return call_fail(call, 429, "request_exceeds_limit", STR(""),
                     "this request may cost more units than a limit of this %s (%llu) allows at "
                     "once; send fewer rows",
                     limit_owner[v->scope], (unsigned long long)v->limit);
}

static enum step_result refuse_limit(struct call *call)
{
    const struct limits_verdict *v = &call->verdict;
    call->limited = true;
    if (v->outcome == LIMITS_AWAY)
        return call_fail(call, 503, "limits_unavailable", STR(""),
                         "a limit of this %s cannot be checked now; try again later",
                         limit_owner[v->scope]);
    if (v->measure == MEASURE_CONCURRENCY)
        return call_fail(call, 429, "concurrency_limit_exceeded", STR(""),
                         "this %s has as many requests at work as it may have at a time: %llu",
                         limit_owner[v->scope], (unsigned long long)v->limit);
    if (v->retry_after_ms == UINT64_MAX)
        return refuse_for_ever(call);
    if (v->measure == MEASURE_DAY || v->measure == MEASURE_MONTH)
        return refuse_quota(call);
    return call_fail(call, 429, "rate_limit_exceeded", STR(""),
                     "rate limit of this %s reached: %llu %s per %u s; try again in %llu ms",
                     limit_owner[v->scope], (unsigned long long)v->limit,
                     v->measure == MEASURE_UNITS ? "units" : "requests", v->window_s,
                     (unsigned long long)v->retry_after_ms);
}

static void note_admission(struct call *call)
{
    call->admitted_ns = loop_now_ns(call->at->loop);
    call->admitted_us = loop_real_us(call->at->loop);
}

static void on_limit(struct limits_waiter *waiter, const struct limits_verdict *verdict)
{
    struct call *call = (struct call *)(void *)((char *)waiter - offsetof(struct call, limit_wait));
    call->waits_for_limit = false;
    call->verdict = *verdict;
    call->limited = true;
    if (verdict->outcome == LIMITS_YES) {
        note_admission(call);
        call_walk(call);
    } else {
        refuse_limit(call);
    }
}

static enum step_result ask_limits(struct call *call)
{
    struct app_loop *at = call->at;
    uint64_t now = loop_now_ns(at->loop);
    struct bucket *buckets[LIMITS_MAX];
    struct limits_want want = {
        .buckets = buckets,
        .count = principal_buckets(call->who, view_snapshot(at->view), call->target, buckets),
        .units = call->cost_base + (uint64_t)call->cost_per_row * call->max_rows,
        .away = call->who->away
    };
    if (want.count > LIMITS_MAX)
        return call_fail(call, 503, "limits_unavailable", STR(""),
                         "more limits apply to this request than can be checked");
    limits_try(at->limits, &want, now, &call->hold, &call->verdict);
    call->limited = want.count > 0;
    if (call->verdict.outcome == LIMITS_YES) {
        note_admission(call);
        return STEP_NEXT;
    }
    if (call->verdict.outcome != LIMITS_WAIT)
        return refuse_limit(call);
    call->limit_wait.done = on_limit;
    call->limit_wait.hold = &call->hold;
    call->waits_for_limit = true;
    limits_wait(at->limits, &call->limit_wait, &want, now);
    return STEP_WAIT;
}

static enum step_result step_admit(struct call *call)
{
    const struct principal *who = call->who;
    uint64_t body = exchange_request(call->ex)->body.len;
    uint64_t body_max = call->route->surface == SURFACE_V2 ? who->v2_body_max : who->body_max;
    if (body > body_max)
        return call_fail(call, 413, "body_too_large", STR(""),
                         "the body has %llu bytes; your plan allows %llu", (unsigned long long)body,
                         (unsigned long long)body_max);
    if (!meter_ready(call->at->tap))
        return call_fail(call, 503, "metering_unavailable", STR(""),
                         "usage cannot be recorded now; try again later");
    return ask_limits(call);
}

/* ---- dispatch: to a worker and back, then meter and reply */

/* A bill for an answer of 200: what was computed, never more than was reserved. */
static struct usage_event bill_of(const struct call *call, const struct complete_frame *frame)
{
    uint32_t rows = frame->rows < call->max_rows ? frame->rows : call->max_rows;
    uint64_t now_us = loop_real_us(call->at->loop);
    return (struct usage_event){
        .at_us =
            now_us > call->admitted_us ? now_us : call->admitted_us, /* a clock may step back */
        .admitted_us = call->admitted_us,
        .tenant = call->who->tenant,
        .key = call->who->key,
        .model = call->model_id,
        .deployment = call->deployment,
        .request = call->request,
        .version = call->job.version,
        .rows = rows,
        .units = call->cost_base + (uint64_t)call->cost_per_row * rows,
        .compute_us = frame->compute_us,
        .latency_us = (uint32_t)((loop_now_ns(call->at->loop) - call->started_ns) / 1000),
        .http_status = 200,
        .surface = (uint8_t)call->route->surface
    };
}

static bool meter_call(struct call *call, const struct complete_frame *frame)
{
    maas_error error = MAAS_ERROR_INIT;
    const struct usage_event event = bill_of(call, frame);
    if (meter_append(call->at->tap, &event, &error) == MAAS_OK) {
        call->units = event.units;
        return true;
    }
    atomic_fetch_add_explicit(&call->at->unbilled, 1, memory_order_relaxed);
    LOG(LOG_ERROR, "meter.append", F_STR("reason", error.text));
    return false;
}

/* Frame and payload are the worker's words: lengths were checked by the fleet, bytes are only ever
 * copied or escaped. */
static void answer(struct call *call, const struct complete_frame *frame, const uint8_t *payload)
{
    struct str param = { (const char *)payload, frame->param_len };
    struct str text = { param.data + param.len, frame->text_len };
    struct str body = { text.data + text.len, frame->body_len };
    if (frame->status == MAAS_OK && call->once) {
        once_finish(call, &(struct once_answer){ .event = bill_of(call, frame),
                                                 .queue_us = frame->queue_us,
                                                 .compute_us = frame->compute_us,
                                                 .body = body });
        return;
    }
    bool billed = frame->status != MAAS_OK || meter_call(call, frame);
    if (!call->ex)
        return;
    call_timing(call, frame->queue_us, frame->compute_us);
    if (frame->status != MAAS_OK)
        call_fail_status(call, frame->status, param, text);
    else if (!billed)
        call_fail(call, 503, "metering_unavailable", STR(""),
                  "usage cannot be recorded now; try again later");
    else
        call_reply_json(call, 200, body);
}

static void on_job(struct job *job, enum job_end end, const struct complete_frame *frame,
                   const uint8_t *payload)
{
    struct call *call = (struct call *)(void *)((char *)job - offsetof(struct call, job));
    bool gone = call->ex == NULL; /* else the answer below ends the call */
    call->has_job = false;
    if (end == JOB_ANSWERED)
        answer(call, frame, payload);
    else if (gone)
        ;
    else if (end == JOB_DEADLINE)
        call_fail(call, 504, "deadline_exceeded", STR(""), "the model did not answer in time");
    else if (end == JOB_CRASHED)
        call_fail(call, 502, "worker_crashed", STR(""),
                  "the model's process ended while it worked on this request");
    else
        call_fail(call, 503, "model_unavailable", STR(""),
                  "the model is not available now; try again later");
    if (gone)
        call_over(call);
}

static enum step_result step_dispatch(struct call *call)
{
    struct app_loop *at = call->at;
    struct str body = exchange_request(call->ex)->body, head = call->head;
    struct job *job = &call->job;
    struct fleet_route *route = fleet_route(at->fleet, &call->deployment);
    job->frame =
        (struct submit_frame){ .kind = SUBMIT_INFER,
                               .surface = (uint16_t)call->route->surface,
                               .deadline_ns =
                                   call->started_ns + at->app->config->request_timeout_ms * 1000000,
                               .tenant = call->who->tenant,
                               .max_rows = call->max_rows,
                               .weight = call->who->weight,
                               .json_len = head.len ? (uint32_t)head.len : UINT32_MAX,
                               .name_len = (uint16_t)call->model.len,
                               .request_id_len = (uint16_t)call->request_id_text.len,
                               .body_len = (uint32_t)(head.len + body.len) };
    job->parts[0] = (struct channel_part){ call->model.data, call->model.len };
    job->parts[2] = (struct channel_part){ call->request_id_text.data, call->request_id_text.len };
    job->parts[3] = (struct channel_part){ head.data, head.len };
    job->parts[4] = (struct channel_part){ body.data, body.len };
    job->done = on_job;
    job->pinned = (uint32_t)strtoul(call->version.len ? call->version.data : "0", NULL, 10);
    if (fleet_condemns(at->fleet, route, job))
        return call_fail(call, 422, "request_crashes_model", STR(""),
                         "this request ended the model's process twice within a minute");
    call->has_job = true;
    if (fleet_send(at->fleet, route, job))
        return STEP_WAIT;
    call->has_job = false;
    exchange_header(call->ex, STR("retry-after"), STR("1"));
    return call_fail(call, 503, "model_unavailable", STR(""),
                     "the model is not available now; try again later");
}
