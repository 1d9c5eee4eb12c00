/*
 * engine.h: loads a plugin and its models and runs inference through the ABI. Knows nothing of
 * sockets, rings or JSON; used by maas-worker (in the sandbox), by `maas-worker train` and by the
 * conformance runner.
 */
#ifndef MAAS_ENGINE_H
#define MAAS_ENGINE_H

#include <maas/plugin.h>

#include "base/base.h"

struct engine_plugin; /* a loaded .so, normalised once at the border */
struct engine_model;  /* a loaded model with its signature */

/* Copies the file into a sealed memfd and checks sha256 there when given (32 bytes): MAAS_E_DENIED
 * when it is another. Nothing of the file is run. out_fd is the caller's. */
maas_status MUST_USE engine_plugin_copy(const char *path, const uint8_t *sha256, int *out_fd,
                                        maas_error *error);
/* Loads such a copy, init. Takes the descriptor, also when it fails: it stays open as long as what
 * was loaded from it is mapped, which is for ever. `path` is named in errors. [control] */
maas_status MUST_USE engine_plugin_load_copy(int fd, const char *path, struct engine_plugin **out,
                                             maas_error *error);
/* Both at once. */
maas_status MUST_USE engine_plugin_load(const char *path, const uint8_t *sha256,
                                        struct engine_plugin **out, maas_error *error);
const maas_plugin *
engine_plugin_table(const struct engine_plugin *plugin); /* normalised: every member is there */
/* deinit, at the end of the process or when no model of it is left; its code stays mapped. */
void engine_plugin_retire(struct engine_plugin *plugin);

struct engine_option {
    struct str name, value;
}; /* text; parsed and checked against the plugin's declarations */

/* load + describe; the signature is checked and copied. root: the artifact's folder. [control] */
maas_status MUST_USE engine_model_load(struct engine_plugin *plugin, const char *root,
                                       const struct engine_option *options, size_t option_count,
                                       struct engine_model **out, maas_error *error);
void engine_model_unload(struct engine_model *model); /* no job may be running */
const maas_signature *engine_signature(const struct engine_model *model); /* texts end with NUL */
/* How often the plugin broke the contract with this model (done twice, outputs unlike the
 * signature, freed what it did not get). [any] */
uint64_t engine_model_misbehaved(const struct engine_model *model);

/*
 * A job: inputs in, outputs copied by emit into the job's arena, done exactly once. Reused between
 * requests (engine_job_reset keeps the memory), so steady state makes no system call. One thread at
 * a time drives a job; emit and done may come from any thread.
 */
struct engine_job;
maas_status MUST_USE engine_job_new(size_t arena_max, struct engine_job **out, maas_error *error);
void engine_job_free(struct engine_job *job);
void engine_job_reset(struct engine_job *job);
void *engine_job_alloc(struct engine_job *job, size_t bytes,
                       size_t align); /* inputs are built here; NULL past arena_max */

struct engine_request { /* filled by the codec; memory from engine_job_alloc; borrowed until the job
                           is reset */
    uint32_t rows;
    maas_named *inputs; /* any order; matched to the signature by name */
    uint32_t input_count;
    struct engine_option *params; /* checked against the signature's params */
    uint32_t param_count;
    uint64_t deadline_ns; /* clock_mono_ns; 0: none */
    struct str trace_id;
    bool (*cancelled)(void *arg); /* wait-free; may be NULL */
    void *cancelled_arg;
};

/*
 * Checks inputs against the signature (MAAS_E_INVALID; *out_param names the input), waits while
 * max_concurrency calls run, validates, infers and waits for done (for ever: a plugin that never
 * calls it can only be ended with its process). On MAAS_OK the outputs are at engine_job_outputs,
 * in the order of the signature and checked against it (a plugin that emits otherwise gives
 * MAAS_E_INTERNAL). out_param may point into the job.
 */
maas_status MUST_USE engine_infer(struct engine_model *model, struct engine_job *job,
                                  const struct engine_request *request, struct str *out_param,
                                  maas_error *error);
/* As engine_infer, through "maas.explain/1"; the outputs are those of engine_explain_signature.
 * MAAS_E_UNIMPLEMENTED when the plugin does not explain. */
maas_status MUST_USE engine_explain(struct engine_model *model, struct engine_job *job,
                                    const struct engine_request *request, struct str *out_param,
                                    maas_error *error);
const maas_signature *engine_explain_signature(const struct engine_model *model); /* NULL: none */
const maas_named *engine_job_outputs(const struct engine_job *job, uint32_t *out_count);

/*
 * A batch: requests of one model, built in one job. Each is checked and validated alone, then those
 * that are alike are run by one call, on their rows one behind the other, and each looks at its own
 * rows of the outputs:
 *
 *     engine_check, engine_check … engine_infer_merged, engine_job_next_rows, engine_job_next_rows
 * …
 *
 * A merged call that fails says nothing of its members: each is run again on its own (engine_infer,
 * in a job that was reset). One thread drives all of it.
 */
struct engine_checked {   /* lives until the job is reset */
    maas_request request; /* as the plugin sees it */
};
/* Whether requests of this model may be merged at all; *out_rows_max: rows of a call (0: any).
 * False where a call takes one row, and where an output has a free extent besides the rows and rows
 * are not independent: what such a call emits cannot be told apart. */
bool engine_merges(const struct engine_model *model, uint32_t *out_rows_max);
/* Steps of engine_infer up to validate; errors and *out_param as there. */
maas_status MUST_USE engine_check(struct engine_model *model, struct engine_job *job,
                                  const struct engine_request *request, struct engine_checked *out,
                                  struct str *out_param, maas_error *error);
/* Equal parameters (declared, defaulted) and equal extents of all inputs but the rows. */
bool engine_alike(const struct engine_checked *a, const struct engine_checked *b);
/* Equal for those that are alike; different, but for chance, for the others. */
uint64_t engine_likeness(const struct engine_checked *checked);
/* Runs `count` that are alike. Deadline and cancel are the call's, from `call`, whose other members
 * are not looked at. MAAS_E_EXHAUSTED: no room in the job for their rows together. */
maas_status MUST_USE engine_infer_merged(struct engine_model *model, struct engine_job *job,
                                         const struct engine_checked *checked, uint32_t count,
                                         const struct engine_request *call, maas_error *error);
/* engine_job_outputs then shows the next `rows` rows, the first ones at first. */
void engine_job_next_rows(struct engine_job *job, uint32_t rows);

/* Train or evaluate through "maas.train/1"; progress and metrics go to on_scalar. [control] */
struct engine_train {
    const char *data_dir, *out_dir; /* out_dir NULL: evaluate `model` */
    uint64_t seed;
    const struct engine_option *options;
    size_t option_count;
    void (*on_scalar)(void *arg, const char *name, double value);
    void *arg;
};
maas_status MUST_USE engine_train_run(struct engine_plugin *plugin,
                                      struct engine_model *model /* evaluate only */,
                                      const struct engine_train *train, maas_error *error);

#endif
