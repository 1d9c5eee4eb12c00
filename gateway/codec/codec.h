/*
 * codec.h: bytes of a surface to tensors and back. Linked into the worker only: tenants' payloads
 * are never parsed in the gateway. JSON is read by simdjson behind json_read.h (the one C++ file)
 * and numbers are written by std::to_chars (shortest form).
 */
#ifndef MAAS_CODEC_H
#define MAAS_CODEC_H

#include "base/buf.h"
#include "channel/frame.h"
#include "engine/engine.h"

struct codec_context { /* the checked facts of the route, for both directions; filled by decode
                          where noted */
    uint16_t surface;
    struct str model, version, request_id; /* as the answer names them */
    struct str body;
    uint32_t json_len, max_rows;
    const maas_signature *signature;
    /* from the body, by decode: */
    struct str id; /* v2 "id"; empty: none, the answer then carries request_id */
    struct str wanted[16];
    uint32_t wanted_count; /* v2 "outputs" */
    bool single;           /* tasks: one object in, one object out */
};

/* Body to request; memory from the job. On failure *out_param names the wrong field
 * ("inputs[0].data", "features"). */
maas_status MUST_USE codec_decode(struct codec_context *context, struct engine_job *job,
                                  struct engine_request *request, struct str *out_param,
                                  maas_error *error);
/* Outputs to the answer's body. */
maas_status MUST_USE codec_encode(const struct codec_context *context, const struct engine_job *job,
                                  uint32_t rows, struct buf *out, enum content_kind *out_content,
                                  uint32_t *out_json_len, maas_error *error);

#endif
