/*
 * codec_test.h: a codec, a job and a signature to decode against; each check is one line.
 */
#ifndef MAAS_CODEC_TEST_H
#define MAAS_CODEC_TEST_H

#include "codec/parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define FP64                                                                                       \
    {                                                                                              \
        MAAS_FLOAT, 64, 1                                                                          \
    }

struct bench { /* what one test decodes with */
    struct codec *codec;
    struct engine_job *job;
    struct codec_context context;
    struct engine_request request;
    struct str param;
    maas_error error;
};

static inline void bench_init(struct bench *b, uint16_t surface, const maas_signature *signature)
{
    *b = (struct bench){ .error = MAAS_ERROR_INIT };
    b->context = (struct codec_context){ .surface = surface,
                                         .model = STR("houses"),
                                         .version = STR("3"),
                                         .request_id = STR("req-1"),
                                         .json_len = UINT32_MAX,
                                         .max_rows = 4,
                                         .signature = signature };
    assert_int_equal(codec_new(1 << 20, &b->codec, &b->error), MAAS_OK);
    assert_int_equal(engine_job_new(1 << 22, &b->job, &b->error), MAAS_OK);
}

static inline void bench_release(struct bench *b)
{
    codec_free(b->codec);
    engine_job_free(b->job);
}

/* The body in memory of its exact size, so that a byte read behind it is seen. */
static inline maas_status decode_text(struct bench *b, const char *body, size_t len)
{
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, body, len);
    engine_job_reset(b->job);
    b->request = (struct engine_request){ 0 };
    b->error = (maas_error)MAAS_ERROR_INIT;
    b->context.body = (struct str){ exact, len };
    maas_status status =
        codec_decode(b->codec, &b->context, b->job, &b->request, &b->param, &b->error);
    b->context.body = (struct str){ NULL, 0 };
    free(exact);
    return status;
}

static inline void accept(struct bench *b, const char *body)
{
    if (decode_text(b, body, strlen(body)) != MAAS_OK)
        fail_msg("%s: refused: %s (%.*s)", body, b->error.text, (int)b->param.len, b->param.data);
}

/* Refused as invalid, naming this field, with these words in the text. */
static inline void refuse(struct bench *b, const char *body, const char *param, const char *words)
{
    maas_status status = decode_text(b, body, strlen(body));
    if (status != MAAS_E_INVALID || !str_eq(b->param, str_of(param)) ||
        !strstr(b->error.text, words))
        fail_msg("%s: status %d, param '%.*s', text '%s'; wanted '%s', '%s'", body, (int)status,
                 (int)b->param.len, b->param.data ? b->param.data : "", b->error.text, param,
                 words);
}

#endif
