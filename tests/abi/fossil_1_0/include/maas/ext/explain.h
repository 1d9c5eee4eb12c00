/*
 * maas/ext/explain.h: "maas.explain/1": why a model answers as it does. An explanation is asked
 * like an inference: the same rows go in, explanations come out by emit, the end by done, and
 * cancelled and the deadline mean the same.
 */
#ifndef MAAS_EXT_EXPLAIN_H
#define MAAS_EXT_EXPLAIN_H

#include <maas/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAAS_EXT_EXPLAIN "maas.explain/1"

typedef struct maas_explain {
    uint32_t size, abi;
    /* [control] What explain takes and gives: the inputs are the model's own (same names, dtypes
     * and shapes), the outputs are the explanation, the params what such a request may set. Memory
     * of the plugin, valid until unload. */
    maas_status (*describe)(maas_model *model, maas_signature *signature, maas_error *error);
    /* [pool] As infer; validate has run before. Counts as a call for max_concurrency of the model's
     * own signature. */
    maas_status (*explain)(maas_model *model, const maas_request *request, maas_error *error);
} maas_explain;

#ifdef __cplusplus
}
#endif

#endif
