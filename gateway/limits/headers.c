/*
 * headers.c: a verdict as response headers, by hand because it runs on every answer. A field that
 * is empty is not written.
 *
 * The buffer holds the longest values there are: five times 20 digits, a duration of 24, and under
 * 120 fixed characters.
 *
 * Rejected: snprintf (seven calls are over a microsecond).
 */
#include "limits/headers.h"

#include <string.h>

#include "base/buf.h"

/* A policy's name: whose it is and, but for requests, what is counted. */
static const char *const scopes[] = { [LIMIT_GLOBAL] = "\"global",
                                      [LIMIT_TENANT] = "\"tenant",
                                      [LIMIT_KEY] = "\"key",
                                      [LIMIT_MODEL] = "\"model",
                                      [LIMIT_TENANT_MODEL] = "\"tenant-model" };
static const uint8_t scope_lens[] = { 7, 7, 4, 6, 13 };
static const char *const measures[] = { [MEASURE_REQUESTS] = "\"",
                                        [MEASURE_UNITS] = "-units\"",
                                        [MEASURE_CONCURRENCY] = "-concurrency\"",
                                        [MEASURE_DAY] = "-day\"",
                                        [MEASURE_MONTH] = "-month\"" };
static const uint8_t measure_lens[] = { 1, 7, 13, 5, 7 };

static char *put_text(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

/* Thousandths behind a point, without trailing zeros; nothing for 0. */
static char *put_thousandths(char *at, uint64_t thousandths)
{
    if (thousandths == 0)
        return at;
    *at++ = '.';
    for (uint64_t unit = 100; thousandths > 0; unit /= 10) {
        *at++ = (char)('0' + thousandths / unit);
        thousandths %= unit;
    }
    return at;
}

/* As Go writes a duration: 0s, 12ms, 1.5s, 6m0s, 1h0m0.25s. */
static char *put_duration(char *at, uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s == 0 && ms > 0)
        return put_text(text_uint(at, ms), "ms", 2);
    if (s >= 3600) {
        at = text_uint(at, s / 3600);
        *at++ = 'h';
    }
    if (s >= 60) {
        at = text_uint(at, s / 60 % 60);
        *at++ = 'm';
    }
    at = put_thousandths(text_uint(at, s % 60), ms % 1000);
    *at++ = 's';
    return at;
}

static uint64_t seconds_up(uint64_t ms)
{
    return ms / 1000 + (ms % 1000 != 0);
}

#define ADD(header, end)                                                                           \
    do {                                                                                           \
        char *end_ = (end);                                                                        \
        out[count++] = (struct limits_header){ STR(header), { at, (size_t)(end_ - at) } };         \
        at = end_;                                                                                 \
    } while (0)

static char *put_name(char *at, const struct limits_verdict *v)
{
    at = put_text(at, scopes[v->scope], scope_lens[v->scope]);
    return put_text(at, measures[v->measure], measure_lens[v->measure]);
}

static char *put_policy(char *at, const struct limits_verdict *v)
{
    static const char concurrent[] = ";qu=\"concurrent-requests\"";
    at = text_uint(put_text(put_name(at, v), ";q=", 3), v->limit);
    if (v->measure == MEASURE_CONCURRENCY)
        return put_text(at, concurrent, sizeof(concurrent) - 1);
    return text_uint(put_text(at, ";w=", 3), v->window_s);
}

static char *put_state(char *at, const struct limits_verdict *v, uint64_t t)
{
    at = text_uint(put_text(put_name(at, v), ";r=", 3), v->remaining);
    return text_uint(put_text(at, ";t=", 3), t);
}

/* A quota is not worth a retry: it is full again tomorrow. */
static bool is_worth_a_retry(const struct limits_verdict *v)
{
    return v->retry_after_ms != UINT64_MAX && v->measure != MEASURE_DAY &&
           v->measure != MEASURE_MONTH;
}

size_t limits_headers(const struct limits_verdict *verdict, char buffer[LIMITS_HEADERS_BYTES],
                      struct limits_header out[LIMITS_HEADERS_MAX])
{
    const struct limits_verdict *v = verdict;
    bool no = v->outcome == LIMITS_NO || v->outcome == LIMITS_AWAY;
    bool never = no && v->retry_after_ms == UINT64_MAX;
    uint64_t t = seconds_up(no && !never ? v->retry_after_ms : v->reset_ms);
    size_t count = 0;
    char *at = buffer;
    if (!v->tightest)
        return 0;
    ADD("ratelimit-policy", put_policy(at, v));
    ADD("ratelimit", put_state(at, v, t));
    if (v->measure == MEASURE_REQUESTS) {
        ADD("x-ratelimit-limit-requests", text_uint(at, v->limit));
        ADD("x-ratelimit-remaining-requests", text_uint(at, v->remaining));
        ADD("x-ratelimit-reset-requests", put_duration(at, v->reset_ms));
    } else if (v->measure != MEASURE_CONCURRENCY) { /* units are what others call tokens */
        ADD("x-ratelimit-limit-tokens", text_uint(at, v->limit));
        ADD("x-ratelimit-remaining-tokens", text_uint(at, v->remaining));
        ADD("x-ratelimit-reset-tokens", put_duration(at, v->reset_ms));
    }
    if (no && !never)
        ADD("retry-after", text_uint(at, t));
    if (no)
        ADD("x-should-retry",
            is_worth_a_retry(v) ? put_text(at, "true", 4) : put_text(at, "false", 5));
    return count;
}
