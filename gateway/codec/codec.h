/*
 * codec.h: bytes of a surface to tensors and back. Linked into the worker only: tenants' payloads
 * are never parsed in the gateway. JSON is read by simdjson and numbers are written by
 * std::to_chars (shortest form) behind json.h, whose json.cc is the one C++ file.
 */
#ifndef MAAS_CODEC_H
#define MAAS_CODEC_H

#include "base/buf.h"
#include "channel/frame.h"
#include "engine/engine.h"

#define CODEC_WANTED_MAX 16
#define CODEC_PARAM_MAX  64 /* bytes of the name of a wrong field */

struct codec_context { /* the checked facts of the route, for both directions; filled by decode
                          where noted */
    uint16_t surface;
    struct str model, version, request_id; /* as the answer names them */
    struct str body;
    size_t behind; /* bytes that may be read behind the body (JSON_PADDING of json.h) */
    uint32_t json_len, max_rows; /* max_rows 0: no bound */
    const maas_signature *signature;
    const maas_signature *explains;     /* engine_explain_signature; NULL: the model does not */
    const struct engine_job *explained; /* whose outputs explain the answer; NULL: not asked for */
    /* from the body, by decode; they point into the codec until its next decode: */
    struct str id; /* v2 "id"; empty: none, the answer then carries request_id */
    struct str wanted[CODEC_WANTED_MAX];
    uint32_t wanted_count; /* v2 "outputs"; 0: all */
    bool single;           /* tasks: one object in, one object out */
    bool explain;          /* tasks: the answer is to be explained */
    struct str octets;     /* a picture behind the JSON head; data NULL: none */
};

/* A reader with its memory, reused from request to request. [one thread] */
struct codec;
maas_status MUST_USE codec_new(size_t body_max, struct codec **out, maas_error *error);
void codec_free(struct codec *codec);

/* The surface of /v1 for models of this task, or SURFACE_NONE. */
uint16_t codec_surface_of(const char *task);

/* Body to request; memory from the job, strings of the body from the codec (until its next decode).
 * On failure *out_param names the wrong field ("inputs[0].data", "features[3]"; memory of the job)
 * or is empty. */
maas_status MUST_USE codec_decode(struct codec *codec, struct codec_context *context,
                                  struct engine_job *job, struct engine_request *request,
                                  struct str *out_param, maas_error *error);
/* The field of the body that the engine's out_param means on this surface: a task's parameters are
 * members of their own. */
struct str codec_field(const struct codec_context *context, struct str param);
/* Copies into the job what a decode left in the codec (strings of the tensors and of the context),
 * so that another body may be decoded while this request is kept. Its parameters are to be parsed
 * before. MAAS_E_EXHAUSTED past the job's memory. */
maas_status MUST_USE codec_keep(struct codec_context *context, struct engine_job *job,
                                const struct engine_request *request, maas_error *error);
/* Outputs to the answer's body, appended to out. MAAS_E_EXHAUSTED: out's cap is too small. */
maas_status MUST_USE codec_encode(const struct codec_context *context, const struct engine_job *job,
                                  uint32_t rows, struct buf *out, enum content_kind *out_content,
                                  uint32_t *out_json_len, maas_error *error);

#endif
