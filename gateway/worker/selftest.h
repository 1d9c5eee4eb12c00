/*
 * selftest.h: a model answers before it is given traffic. [main thread, before it serves]
 *
 *     selftest_new → sandbox_seal → selftest_run → "ready"
 *
 * The samples of the artifact's manifest (codec/sample.h) are asked and compared; an artifact
 * without any is asked one row of zeros (of empty texts) of the signature's shape, whose answer is
 * only held against the signature.
 */
#ifndef MAAS_WORKER_SELFTEST_H
#define MAAS_WORKER_SELFTEST_H

#include "engine/engine.h"

struct selftest;
/* Reads <root>/manifest.json, which may be missing; one that makes no sense is an error. */
maas_status MUST_USE selftest_new(const char *root, struct selftest **out, maas_error *error);
void selftest_free(struct selftest *test);
/* Any failure is the model's. Row of zeros: a model may refuse it as MAAS_E_INVALID. Waits for ever
 * for a plugin that does: the gateway's deadline for a start ends that. */
maas_status MUST_USE selftest_run(const struct selftest *test, struct engine_model *model,
                                  maas_error *error);

#endif
