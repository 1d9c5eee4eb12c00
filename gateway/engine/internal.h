/*
 * internal.h: what the engine's files share. Private to engine/.
 */
#ifndef MAAS_ENGINE_INTERNAL_H
#define MAAS_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <maas/ext/train.h>

#include "engine/engine.h"

struct engine_plugin {
    maas_plugin table; /* normalised: every optional member is a stub at least */
    maas_train train;  /* size 0: no "maas.train/1" */
};

struct engine_model {
    struct engine_plugin *plugin;
    maas_host host; /* what this model sees of us */
    maas_model *model;
    maas_signature signature;
    struct arena *memory; /* of the copied signature and the options */
};

/* ---- arena.c: bump allocation in chunks that are kept on reset; NULL past the cap */
struct arena;
struct arena *arena_new(size_t max);
void arena_free(struct arena *arena);
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t bytes, size_t align);

/* ---- options.c: text to checked values in the order of the declarations */
maas_status MUST_USE options_parse(struct arena *arena, const maas_option_decl *const *decls,
                                   const struct engine_option *given, size_t count,
                                   maas_option **out, uint32_t *out_count, maas_error *error);

/* ---- tensors */
size_t dtype_bytes(maas_dtype dtype); /* 0: not one of ours */
bool dtype_eq(maas_dtype a, maas_dtype b);
const char *dtype_name(maas_dtype dtype);
/* The number of elements, or false when an extent is negative or the product overflows. */
bool tensor_count(const maas_tensor *t, size_t *out);
maas_status MUST_USE copy_tensor(struct arena *arena, const maas_named *from, maas_named *to);

/* ---- job.c */
struct engine_job {
    maas_request request; /* what the plugin sees; it leads back to the job */
    struct arena *arena;
    struct engine_model *model;
    bool (*cancelled)(void *arg);
    void *cancelled_arg;
    void (*on_scalar)(void *arg, const char *name, double value); /* of a training job */
    void *on_scalar_arg;
    uint64_t deadline_ns;

    pthread_mutex_t lock; /* what emit and done write, from any thread */
    pthread_cond_t ended;
    maas_named outputs[32];
    uint32_t output_count;
    bool open, done;
    maas_status status, emit_status;
    char text[252];
};
void host_init(maas_host *host);
void job_open(struct engine_job *job, struct engine_model *model);
/* Waits for done; the status and its text. */
maas_status job_wait(struct engine_job *job, maas_error *error);
extern __thread struct engine_job *current_job; /* whose arena host->alloc uses on this thread */

#endif
