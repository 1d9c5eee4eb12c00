/*
 * info.c: what a tenant may ask besides inference: its models, and whether the gateway is well.
 * Listings show exactly what step_resolve would find for this key: foreign models are not there.
 */
#include <string.h>

#include "api/call.h"
#include "base/buf.h"

#define BODY_MAX ((size_t)4 << 20)

static bool may_see(const struct call *call, const struct deployment *d)
{
    return deployment_visible(d, &call->who->tenant) &&
           scope_allows_infer(&call->who->scopes, str_of(d->name));
}

/* The deployment of the path's {model}, or NULL after a 404. */
static const struct deployment *find_model(struct call *call)
{
    const struct deployment *d =
        snapshot_resolve(view_snapshot(call->at->view), &call->who->tenant, call->model);
    if (d && may_see(call, d))
        return d;
    call_fail(call, 404, "model_not_found", STR("model"), "the model '%.*s' does not exist",
              (int)(call->model.len < 64 ? call->model.len : 64), call->model.data);
    return NULL;
}

static enum step_result reply_buf(struct call *call, struct buf *b)
{
    enum step_result result =
        b->failed ? call_fail(call, 500, "answer_too_large", STR(""), "the answer is too large")
                  : call_reply_json(call, 200, buf_view(b));
    buf_release(b);
    return result;
}

static void model_object(struct buf *b, const struct deployment *d)
{
    buf_str(b, STR("{\"id\":"));
    buf_json(b, str_of(d->name));
    buf_fmt(
        b,
        ",\"object\":\"model\",\"created\":%llu,\"owned_by\":\"%s\",\"version\":\"%s\",\"task\":",
        (unsigned long long)(d->created_us / 1000000),
        uuid_is_zero(&d->owner) ? "platform" : "tenant", d->version_text);
    buf_json(b, str_of(d->task));
    buf_str(b, STR("}"));
}

enum step_result info_models(struct call *call)
{
    const struct snapshot *s = view_snapshot(call->at->view);
    struct buf b;
    bool first = true;
    buf_init(&b, BODY_MAX);
    buf_str(&b, STR("{\"object\":\"list\",\"data\":["));
    for (uint32_t i = 0; i < s->count; i++) {
        const struct deployment *d = &s->deployments[i];
        /* a platform model behind the tenant's own of the same name cannot be reached, so it is not
         * listed */
        if (!may_see(call, d) || snapshot_resolve(s, &call->who->tenant, str_of(d->name)) != d)
            continue;
        buf_str(&b, first ? STR("") : STR(","));
        model_object(&b, d);
        first = false;
    }
    buf_str(&b, STR("]}"));
    return reply_buf(call, &b);
}

enum step_result info_model(struct call *call)
{
    const struct deployment *d = find_model(call);
    struct buf b;
    if (!d)
        return STEP_DONE;
    buf_init(&b, BODY_MAX);
    model_object(&b, d);
    return reply_buf(call, &b);
}

enum step_result info_v2_model(struct call *call)
{
    const struct deployment *d = find_model(call);
    struct buf b;
    if (!d)
        return STEP_DONE;
    buf_init(&b, BODY_MAX);
    buf_str(&b, STR("{\"name\":"));
    buf_json(&b, str_of(d->name));
    buf_fmt(&b, ",\"versions\":[\"%s\"],\"platform\":", d->version_text);
    buf_json(&b, str_of(d->plugin));
    buf_str(&b, STR("}"));
    return reply_buf(call, &b);
}

enum step_result info_v2_model_ready(struct call *call)
{
    const struct deployment *d = find_model(call);
    struct buf b;
    if (!d)
        return STEP_DONE;
    if (call->version.len && !str_eq(call->version, str_of(d->version_text)))
        return call_fail(call, 404, "version_not_found", STR("version"),
                         "the model '%s' has no such version here", d->name);
    if (!fleet_route_serves(fleet_route(call->at->fleet, &d->id))) /* asking loads it, too */
        return call_fail(call, 503, "model_unavailable", STR(""), "the model '%s' is not ready",
                         d->name);
    buf_init(&b, BODY_MAX);
    buf_str(&b, STR("{\"name\":"));
    buf_json(&b, str_of(d->name));
    buf_str(&b, STR(",\"ready\":true}"));
    return reply_buf(call, &b);
}

/* ---- health of the Open Inference Protocol: JSON for kserve's client, the status for Triton's */

enum step_result info_server(struct call *call)
{
    return call_reply_json(call, 200,
                           STR("{\"name\":\"maas\",\"version\":\"0.1.0\",\"extensions\":[]}"));
}

enum step_result info_health_live(struct call *call)
{
    return call_reply_json(call, 200, STR("{\"live\":true}"));
}

enum step_result info_health_ready(struct call *call)
{
    const char *why = app_not_ready(call->at->app);
    if (why)
        return call_fail(call, 503, "not_ready", STR(""), "not ready: %s", why);
    return call_reply_json(call, 200, STR("{\"ready\":true,\"live\":true}"));
}
