/*
 * reply.c: how a call is answered. One table maps a worker's status to HTTP; one function shapes an
 * error for its surface; one adds the headers that every answer has.
 *
 * Errors: /v2 says {"error": "..."} as the Open Inference Protocol's clients want it (Content-Type
 * exactly application/json), everything else the OpenAI form {"error": {message, type, param,
 * code}}.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "base/buf.h"
#include "base/log.h"
#include "limits/headers.h"

#define ERROR_BODY_MAX 2048

static const struct {
    maas_status status;
    int http_status;
    const char *code;
    const char *text; /* NULL: the worker's own text is for the caller */
} status_table[] = {
    { MAAS_E_INVALID, 400, "invalid_request", NULL },
    { MAAS_E_RANGE, 400, "invalid_request", NULL },
    { MAAS_E_UNIMPLEMENTED, 501, "not_implemented", NULL },
    { MAAS_E_DEADLINE, 504, "deadline_exceeded", "the model did not answer in time" },
    { MAAS_E_CANCELLED, 504, "deadline_exceeded", "the model did not answer in time" },
    { MAAS_E_EXHAUSTED, 503, "model_exhausted", "the model has no room for this request now" },
    { MAAS_E_UNAVAILABLE, 503, "model_unavailable",
      "the model is not available now; try again later" },
};

static enum error_style style_of(const struct call *call)
{
    struct str path = exchange_request(call->ex)->path;
    return str_prefix(path, STR("/v2")) && (path.len == 3 || path.data[3] == '/') ? STYLE_V2
                                                                                  : STYLE_OPENAI;
}

static const char *openai_type(int http_status, const char *code)
{
    if (strcmp(code, "insufficient_quota") == 0)
        return "insufficient_quota";
    switch (http_status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_exceeded";
    }
    return http_status >= 500 ? "server_error" : "invalid_request_error";
}

static struct str keep(struct call *call, const char *text, size_t len)
{
    char *copy = exchange_alloc(call->ex, len + 1);
    memcpy(copy, text, len);
    return (struct str){ copy, len };
}

static void limit_headers(struct call *call)
{
    struct limits_header headers[LIMITS_HEADERS_MAX];
    if (!call->limited || !call->verdict.tightest)
        return;
    char *text = exchange_alloc(call->ex, LIMITS_HEADERS_BYTES);
    size_t n = limits_headers(&call->verdict, text, headers);
    for (size_t i = 0; i < n; i++)
        exchange_header(call->ex, headers[i].name, headers[i].value);
}

static void access_log(const struct call *call, int http_status)
{
    if (!call->at->app->config->log_access)
        return;
    const struct http_request *r = exchange_request(call->ex);
    LOG(LOG_INFO, "request", F_STRN("method", r->method), F_STRN("path", r->path),
        F_INT("status", http_status), F_STR("key", call->who ? call->who->key_id : ""),
        F_STRN("request_id", call->request_id_text),
        F_UINT("admitted_us", call->admitted_ns / 1000),
        F_UINT("us", (loop_now_ns(call->at->loop) - call->started_ns) / 1000));
}

enum step_result call_reply(struct call *call, int http_status, struct str type, struct str body)
{
    struct exchange *ex = call->ex;
    exchange_header(ex, STR("x-request-id"),
                    keep(call, call->request_id_text.data, call->request_id_text.len));
    limit_headers(call);
    access_log(call, http_status);
    atomic_fetch_add_explicit(&call->at->answers[http_status / 100], 1, memory_order_relaxed);
    call->ex = NULL;
    exchange_send(ex, http_status, type, body);
    call_over(call);
    return STEP_DONE;
}

enum step_result call_reply_json(struct call *call, int http_status, struct str body)
{
    return call_reply(call, http_status, STR("application/json"), body);
}

static void openai_error(struct buf *b, int http_status, const char *code, struct str param,
                         struct str message)
{
    buf_str(b, STR("{\"error\":{\"message\":"));
    buf_json(b, message);
    buf_fmt(b, ",\"type\":\"%s\",\"param\":", openai_type(http_status, code));
    if (param.len)
        buf_json(b, param);
    else
        buf_str(b, STR("null"));
    buf_fmt(b, ",\"code\":\"%s\"}}", code);
}

static void v2_error(struct buf *b, const char *code, struct str param, struct str message)
{
    buf_str(b, STR("{\"error\":"));
    buf_json(b, message);
    buf_fmt(b, ",\"code\":\"%s\"", code);
    if (param.len) {
        buf_str(b, STR(",\"param\":"));
        buf_json(b, param);
    }
    buf_str(b, STR("}"));
}

static enum step_result send_error(struct call *call, int http_status, const char *code,
                                   struct str param, struct str message)
{
    struct buf b;
    buf_init(&b, ERROR_BODY_MAX);
    if (style_of(call) == STYLE_V2)
        v2_error(&b, code, param, message);
    else
        openai_error(&b, http_status, code, param, message);
    enum step_result result = call_reply_json(call, http_status, buf_view(&b));
    buf_release(&b);
    return result;
}

enum step_result call_fail(struct call *call, int http_status, const char *code, struct str param,
                           const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    return send_error(call, http_status, code, param, (struct str){ text, len });
}

enum step_result call_fail_status(struct call *call, maas_status status, struct str param,
                                  struct str text)
{
    for (size_t i = 0; i < COUNT_OF(status_table); i++)
        if (status_table[i].status == status)
            return send_error(call, status_table[i].http_status, status_table[i].code, param,
                              status_table[i].text ? str_of(status_table[i].text) : text);
    LOG(LOG_WARN, "model.failed", F_INT("status", status), F_STRN("reason", text));
    return call_fail(call, 502, "model_failed", STR(""), "the model failed on this request");
}

/* "name;dur=1.234": milliseconds with the microseconds behind the point. */
static char *put_duration(char *at, struct str name, uint64_t us)
{
    memcpy(at, name.data, name.len);
    at = text_uint(at + name.len, us / 1000);
    uint32_t rest = (uint32_t)(us % 1000);
    *at++ = '.';
    *at++ = (char)('0' + rest / 100);
    *at++ = (char)('0' + rest / 10 % 10);
    *at++ = (char)('0' + rest % 10);
    return at;
}

void call_timing(struct call *call, uint32_t queue_us, uint32_t compute_us)
{
    uint64_t all_us = (loop_now_ns(call->at->loop) - call->started_ns) / 1000;
    uint64_t spent = (uint64_t)queue_us + compute_us,
             overhead = all_us > spent ? all_us - spent : 0;
    char *text = exchange_alloc(call->ex, 128), *at = text; /* 41 characters and 3 numbers */
    at = put_duration(at, STR("queue;dur="), queue_us);
    at = put_duration(at, STR(", compute;dur="), compute_us);
    at = put_duration(at, STR(", overhead;dur="), overhead);
    exchange_header(call->ex, STR("server-timing"), (struct str){ text, (size_t)(at - text) });
}
