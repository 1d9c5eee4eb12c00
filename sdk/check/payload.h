/*
 * payload.h: a file with the body of a request, through the real codec.
 */
#ifndef CHECK_PAYLOAD_H
#define CHECK_PAYLOAD_H

#include "codec/codec.h"

struct payload {
    struct codec *codec;
    struct codec_context context; /* as decode left it: encode with it */
    struct engine_request request;
    char *body;
};

/* Reads the file in the v2 form ("inputs") or the form of the model's task. The request lives in
 * the job until its reset and in the payload until its release. out_param: the wrong field. */
maas_status MUST_USE payload_read(const char *file, struct engine_model *model,
                                  struct engine_job *job, struct payload *out,
                                  struct str *out_param, maas_error *error);
void payload_release(struct payload *p); /* also after a failure */

#endif
