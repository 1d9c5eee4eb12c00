/*
 * internal.h: what the engine's files share. Private to engine/.
 */
#ifndef MAAS_ENGINE_INTERNAL_H
#define MAAS_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <maas/ext/explain.h>
#include <maas/ext/train.h>

#include "engine/engine.h"

#define PORTS_MAX 32

/* ---- arena.c: bump allocation in chunks that are kept on reset; NULL past the cap */
struct arena;
struct arena *arena_new(size_t max);
void arena_free(struct arena *arena);
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t bytes, size_t align);
/* A copy with a NUL behind it; false without memory. */
bool arena_text(struct arena *arena, maas_str *text);

/* ---- host.c: the table that plugins call, one per plugin and per model */
struct engine_host {
    maas_host table;       /* first: a plugin's pointer to it leads here */
    const char *plugin_id; /* for the log */
    _Atomic uint64_t misbehaved;
};
void host_init(struct engine_host *host, const char *plugin_id);
void host_complain(const maas_host *host, const char *text); /* logs and counts */
extern __thread struct engine_job *current_job; /* whose arena host->alloc uses on this thread */

struct engine_plugin {
    maas_plugin table;    /* normalised: every optional member is a stub at least */
    maas_train train;     /* size 0: no "maas.train/1" */
    maas_explain explain; /* size 0: no "maas.explain/1" */
    struct engine_host host;
};

struct engine_model {
    struct engine_plugin *plugin;
    struct engine_host host; /* what this model sees of us */
    maas_model *model;
    maas_signature signature, explanation; /* explanation: size 0 when there is none */
    struct arena *memory;                  /* of the copied signature and the options */
    pthread_mutex_t lock;                  /* counts calls when max_concurrency bounds them */
    pthread_cond_t left;
    uint32_t running; /* counted only where max_concurrency is not 0 */
};

/* ---- options.c: text to checked values in the order of the declarations; *out_wrong is the name
 * of what was refused (of the declarations or of the caller), or is left alone */
maas_status MUST_USE options_declared_well(const maas_option_decl *const *decls, maas_error *error);
maas_status MUST_USE options_parse(struct arena *arena, const maas_option_decl *const *decls,
                                   const struct engine_option *given, size_t count,
                                   const maas_option **out, uint32_t *out_count,
                                   struct str *out_wrong, maas_error *error);

/* ---- tensor.c: tensors against ports */
size_t dtype_bytes(maas_dtype dtype);     /* 0: not one of ours */
const char *dtype_name(maas_dtype dtype); /* as the Open Inference Protocol spells it */
bool name_eq(maas_str a, maas_str b);
/* dtype, dimensions, extents, rows, layout; the error names the port. */
maas_status MUST_USE tensor_fits(const maas_port *port, const maas_tensor *t, uint32_t rows,
                                 maas_error *error);
/* Bytes of one row of a tensor that fits. */
size_t tensor_row_bytes(const maas_tensor *t);
/* A deep copy (strings too) of a tensor that fits; MAAS_E_EXHAUSTED past the arena. */
maas_status MUST_USE tensor_copy(struct arena *arena, const maas_named *from, maas_named *to);

/* ---- signature.c */
/* Checks what describe said and copies it deep, so the plugin cannot change it later. */
maas_status MUST_USE signature_copy(struct arena *arena, const maas_signature *theirs,
                                    maas_signature *out, maas_error *error);
/* The request's inputs in the signature's order, each checked, those that were left out and may be
 * made up; *out_param names the wrong one. */
maas_status MUST_USE signature_inputs(const maas_signature *s, const struct engine_request *r,
                                      struct arena *arena, maas_named *ordered,
                                      struct str *out_param, maas_error *error);

/* ---- model.c */
/* The request as the plugin sees it: inputs and parameters in the order of the signature, checked.
 */
maas_status MUST_USE model_prepare(const struct engine_model *m, struct engine_job *job,
                                   const struct engine_request *r, maas_request *out,
                                   struct str *out_param, maas_error *error);
maas_status MUST_USE model_validate(struct engine_model *m, struct engine_job *job,
                                    const maas_request *request, maas_error *error);
/* A request that was validated: waits for its turn, runs, waits for done. */
maas_status MUST_USE model_infer(struct engine_model *m, struct engine_job *job,
                                 const maas_request *request, maas_error *error);
/* The job runs for this model, with the deadline and cancel of `r`. */
void model_bind(const struct engine_model *m, struct engine_job *job,
                const struct engine_request *r);

/* ---- job.c */
enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED };

/* What the plugin holds for one request; it leads back to the job. A job uses its slots in turn, so
 * a done that comes too late finds a slot that has ended, not the next request. */
struct job_slot {
    maas_request request; /* first */
    struct engine_job *job;
    _Atomic int state; /* enum slot_state; moved under the job's lock, read by cancelled without */
};
#define JOB_SLOTS 16

struct engine_job {
    struct arena *arena;
    struct job_slot slots[JOB_SLOTS];
    struct job_slot check; /* of requests that are validated only: it is not of the round */
    uint32_t turn;
    uint32_t rows, shown;            /* of the outputs; how many of them were shown by next_rows */
    const maas_signature *signature; /* outputs must fit it; NULL: a training job */
    uint64_t deadline_ns;
    bool (*cancelled)(void *arg);
    void *cancelled_arg;
    void (*on_scalar)(void *arg, const char *name, double value); /* of a training job */
    void *on_scalar_arg;

    pthread_mutex_t lock; /* below, and the arena while a request runs: emit comes from anywhere */
    pthread_cond_t ended;
    maas_named outputs[PORTS_MAX]; /* in the signature's order */
    uint32_t emitted;              /* a bit per output */
    maas_status status;            /* done's, or that of an emit that failed before it */
    maas_error error;
};

/* A new request runs: the slot's request is filled, its counters are clear. */
struct job_slot *job_begin(struct engine_job *job, const maas_request *request);
/* A request is validated only, on the job's own slot for that. */
struct job_slot *job_check_begin(struct engine_job *job, const maas_request *request);
void job_check_end(const maas_host *host, struct job_slot *slot);
/* infer returned: on success waits for done, then gives the outcome. */
maas_status MUST_USE job_finish(const maas_host *host, struct job_slot *slot, maas_status returned,
                                maas_error *error);
maas_status job_emit(const maas_host *host, struct job_slot *slot, const maas_named *outputs,
                     uint32_t count);
void job_done(const maas_host *host, struct job_slot *slot, maas_status status, const char *text);
bool job_cancelled(const struct job_slot *slot);
/* What a plugin may say is an error: a known code, never MAAS_OK. */
maas_status status_of_plugin(maas_status status);

#endif
