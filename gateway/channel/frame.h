/*
 * frame.h: what crosses the shared memory between a gateway's event loop and a worker. Fixed
 * little-endian structs, sizes asserted; every offset and length is checked by the reader, because
 * neither side trusts the other's bytes.
 */
#ifndef MAAS_CHANNEL_FRAME_H
#define MAAS_CHANNEL_FRAME_H

#include "base/base.h"

/* The outward form of a request: says which codec decodes it and which encodes the answer. */
enum surface {
    SURFACE_NONE = 0,
    SURFACE_V2 = 1,             /* POST /v2/models/{m}/infer */
    SURFACE_REGRESSION = 2,     /* POST /v1/regression */
    SURFACE_TEXT = 3,           /* POST /v1/text-classification */
    SURFACE_IMAGE = 4,          /* POST /v1/image-classification */
    SURFACE_RECOMMENDATION = 5, /* POST /v1/recommendations */
};

/* A job is one request in flight on one loop and one worker. slot < CHANNEL_SLOTS, generation never
 * 0. */
#define CHANNEL_SLOTS 4096
static inline uint64_t job_id(uint32_t slot, uint32_t generation)
{
    return ((uint64_t)generation << 32) | slot;
}

#define CHANNEL_MODELS_MAX 32 /* of one worker */

enum submit_kind { SUBMIT_INFER = 1, SUBMIT_CANCEL = 2 };
enum { SUBMIT_ALONE = 1 }; /* a flag: it is never merged with others */

/* gateway → worker. Behind it, in this order and without padding: name, version, request_id, body.
 */
struct submit_frame {
    uint16_t kind;
    uint16_t surface;
    uint32_t model_slot; /* which of the worker's models, in the order of its command line */
    uint64_t job;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
    struct uuid tenant;
    uint32_t max_rows; /* the rows that were reserved: more is MAAS_E_INVALID */
    uint32_t json_len; /* of a body with binary tensors or a picture: the length of its JSON head;
                          UINT32_MAX: the whole body is JSON */
    uint16_t name_len, version_len,
        request_id_len; /* the deployment's public name and version for the answer */
    uint16_t flags;     /* SUBMIT_ALONE, or 0 */
    uint32_t body_len;
    uint32_t weight; /* the tenant's share of the worker beside others'; 0: 1 */
};
_Static_assert(sizeof(struct submit_frame) == 64, "frame layout");

enum complete_kind { COMPLETE_DONE = 1 };
enum content_kind { CONTENT_JSON = 1, CONTENT_OCTETS = 2 };

/* worker → gateway. Behind it: param, text, body. status MAAS_OK: body is the answer; else text
 * says why, param names the field. */
struct complete_frame {
    uint16_t kind;
    uint16_t content;
    int32_t status;
    uint64_t job;
    uint32_t rows;                /* rows computed: what is billed */
    uint32_t json_len;            /* of a binary body, else UINT32_MAX */
    uint32_t queue_us;            /* in the worker, before inference */
    uint32_t compute_us;          /* of the whole batch */
    uint16_t param_len, text_len; /* at most 64 and 252 */
    uint32_t body_len;
    uint32_t batch, batch_rows; /* requests and rows that were computed by the same call */
};
_Static_assert(sizeof(struct complete_frame) == 48, "frame layout");

#endif
