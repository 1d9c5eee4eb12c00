/*
 * sample.h: the samples of an artifact: requests with the answers that are expected of its model,
 * told in the member "samples" of its manifest.json.
 *
 *     "samples": [{"inputs": [...], "parameters"?: {...},      as in the body of /v2/.../infer
 *                  "outputs": [{"name", "data"}], "tolerance"?: 1e-6}]
 *
 * Outputs that are not named are not compared. Numbers agree when they differ by at most
 * tolerance * max(1, |expected|), texts when they are equal. [one thread]
 */
#ifndef MAAS_CODEC_SAMPLE_H
#define MAAS_CODEC_SAMPLE_H

#include "codec/codec.h"

struct samples;
/* From a manifest's text, which is copied; no member "samples" is a list of none. */
maas_status MUST_USE samples_new(struct str manifest, struct samples **out, maas_error *error);
void samples_free(struct samples *samples);
uint32_t samples_count(const struct samples *samples);

/* The request of a sample; memory of the job and of the samples. MAAS_E_INVALID: the sample does
 * not fit the signature. */
maas_status MUST_USE sample_decode(const struct samples *samples, uint32_t index,
                                   const maas_signature *signature, struct engine_job *job,
                                   struct engine_request *out, maas_error *error);
/* The job's outputs against the expected ones. MAAS_E_DATA_LOSS: they differ. */
maas_status MUST_USE sample_compare(const struct samples *samples, uint32_t index,
                                    struct engine_job *job, maas_error *error);

#endif
