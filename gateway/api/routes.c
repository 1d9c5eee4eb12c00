/*
 * routes.c: the table of the public listener's routes, and how a path finds its row. The first row
 * that fits wins; the table is short, so it is walked.
 */
#include <stdio.h>
#include <string.h>

#include "api/call.h"

static const call_step way_models[] = { info_models, NULL }, way_model[] = { info_model, NULL },
                       way_usage[] = { usage_list, NULL }, way_live[] = { info_health_live, NULL },
                       way_ready[] = { info_health_ready, NULL },
                       way_keys[] = { own_keys_list, NULL },
                       way_key_create[] = { own_keys_create, NULL },
                       way_key_change[] = { own_keys_change, NULL },
                       way_key_revoke[] = { own_keys_revoke, NULL },
                       way_key_rotate[] = { own_keys_rotate, NULL },
                       way_server[] = { info_server, NULL },
                       way_v2_model[] = { info_v2_model, NULL },
                       way_v2_ready[] = { info_v2_model_ready, NULL };

static const struct route routes[] = {
    { "POST", "/v1/regression", way_of_task, SURFACE_REGRESSION, false },
    { "POST", "/v1/text-classification", way_of_task, SURFACE_TEXT, false },
    { "POST", "/v1/image-classification", way_of_picture, SURFACE_IMAGE, false },
    { "POST", "/v1/recommendations", way_of_task, SURFACE_RECOMMENDATION, false },
    { "POST", "/v2/models/{model}/infer", way_of_inference, SURFACE_V2, false },
    { "POST", "/v2/models/{model}/versions/{version}/infer", way_of_inference, SURFACE_V2, false },
    { "GET", "/v1/models", way_models, SURFACE_NONE, false },
    { "GET", "/v1/models/{model}", way_model, SURFACE_NONE, false },
    { "GET", "/v1/usage", way_usage, SURFACE_NONE, false },
    { "GET", "/v1/keys", way_keys, SURFACE_NONE, false },
    { "POST", "/v1/keys", way_key_create, SURFACE_NONE, false },
    { "GET", "/v1/keys/{key}", way_keys, SURFACE_NONE, false },
    { "PATCH", "/v1/keys/{key}", way_key_change, SURFACE_NONE, false },
    { "DELETE", "/v1/keys/{key}", way_key_revoke, SURFACE_NONE, false },
    { "POST", "/v1/keys/{key}/rotate", way_key_rotate, SURFACE_NONE, false },
    { "GET", "/v2", way_server, SURFACE_NONE, true },
    { "GET", "/v2/health/live", way_live, SURFACE_NONE, true },
    { "GET", "/v2/health/ready", way_ready, SURFACE_NONE, true },
    { "GET", "/v2/models/{model}", way_v2_model, SURFACE_NONE, false },
    { "GET", "/v2/models/{model}/ready", way_v2_ready, SURFACE_NONE, false },
    { "GET", "/v2/models/{model}/versions/{version}/ready", way_v2_ready, SURFACE_NONE, false },
};

static struct str segment(const char **at, const char *end)
{
    const char *from = *at;
    while (*at < end && **at != '/')
        (*at)++;
    struct str s = { from, (size_t)(*at - from) };
    if (*at < end)
        (*at)++;
    return s;
}

static bool path_fits(struct str path, const char *pattern, struct str *out_model,
                      struct str *out_version)
{
    const char *p = path.data + 1, *p_end = path.data + path.len;
    const char *q = pattern + 1, *q_end = pattern + strlen(pattern);
    struct str model = { "", 0 }, version = { "", 0 };
    while (p < p_end && q < q_end) {
        struct str have = segment(&p, p_end), want = segment(&q, q_end);
        if (have.len == 0)
            return false;
        if (str_eq(want, STR("{model}")) || str_eq(want, STR("{key}")))
            model = have;
        else if (str_eq(want, STR("{version}")))
            version = have;
        else if (!str_eq(have, want))
            return false;
    }
    if (p < p_end || q < q_end)
        return false;
    *out_model = model;
    *out_version = version;
    return true;
}

const struct route *route_find(struct str method, struct str path, struct str *out_model,
                               struct str *out_version, const char **out_allow)
{
    static _Thread_local char allow[64]; /* "GET, POST, …": as many as a path has */
    size_t len = 0;
    *out_allow = NULL;
    if (path.len == 0 || path.data[0] != '/')
        return NULL;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (!path_fits(path, routes[i].path, out_model, out_version))
            continue;
        bool head = str_eq(method, STR("HEAD")) && strcmp(routes[i].method, "GET") == 0;
        if (head || str_eq(method, str_of(routes[i].method)))
            return &routes[i];
        len += (size_t)snprintf(allow + len, sizeof(allow) - len, "%s%s", len ? ", " : "",
                                routes[i].method);
        *out_allow = allow;
    }
    return NULL;
}

void routes_print(void)
{
    for (size_t i = 0; i < COUNT_OF(routes); i++)
        printf("%s %s\n", routes[i].method, routes[i].path);
}
