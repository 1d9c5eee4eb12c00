/*
 * maas/ext/train.h: "maas.train/1": training and evaluation as jobs. A job is a maas_request
 * without inputs: progress and metrics go out by emit as named scalars (FP64, shape [1]; "progress"
 * runs from 0 to 1), the end by done, cancelling by polling.
 */
#ifndef MAAS_EXT_TRAIN_H
#define MAAS_EXT_TRAIN_H

#include <maas/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAAS_EXT_TRAIN "maas.train/1"

typedef struct maas_train_spec {
    uint32_t size, option_count;
    const char *data;           /* read-only folder: train.csv, train.jsonl or images/ */
    const char *out;            /* empty writable folder; NULL when evaluating */
    const maas_option *options; /* every option declared in maas_train.options, in order */
    uint64_t seed;              /* same seed, same bytes in out, on one machine */
} maas_train_spec;

typedef struct maas_train {
    uint32_t size, abi;
    const maas_option_decl *const *options; /* NULL-terminated, or NULL */
    /* [control] As infer: an error means nothing was accepted; MAAS_OK: done comes exactly once. */
    maas_status (*train)(const maas_host *host, const maas_train_spec *spec,
                         const maas_request *job, maas_error *error);
    maas_status (*evaluate)(maas_model *model, const maas_train_spec *spec, const maas_request *job,
                            maas_error *error);
} maas_train;

#ifdef __cplusplus
}
#endif

#endif
