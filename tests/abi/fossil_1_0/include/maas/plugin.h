/*
 * maas/plugin.h: the contract between a plugin and its host, version 1.0. What stands here keeps
 * its place and its meaning for ever; members are appended only (ABI.md). A plugin is one .so that
 * exports one symbol, maas_plugin_entry; see README.md beside ABI.md.
 *
 * Thread tags:  [control] a host thread, serial per plugin; may block, read files, take seconds
 *               [pool]    a compute thread, at most max_concurrency at once per model
 *               [any]     safe at any time from any thread
 * A plugin never changes process state (signals, locale, directory, environment, BLAS threads, FP
 * mode). Memory is freed by the side that made it. Growing structs begin with `size`, are passed by
 * pointer and grow at the end only; zero in a new member means "as before".
 */
#ifndef MAAS_PLUGIN_H
#define MAAS_PLUGIN_H

#include <maas/status.h>
#include <maas/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAAS_ABI_MAJOR 1u
#define MAAS_ABI_MINOR 0u
#define MAAS_ABI       ((MAAS_ABI_MAJOR << 16) | MAAS_ABI_MINOR)
/* Is this member there? Asks the size the other side wrote. The members of 1.0 are always there. */
#define MAAS_HAS(type, p, member) ((p)->size >= offsetof(type, member) + sizeof((p)->member))

typedef struct maas_host maas_host;
typedef struct maas_model maas_model; /* each plugin completes it in its own .c */

/* ---- options a plugin declares; the host parses, checks and defaults them */
typedef struct maas_option_decl {
    uint32_t size;
    int32_t kind; /* MAAS_OPTION_… */
    const char *name;
    const char *fallback; /* default as text; NULL: the option is required */
    const char *choices; /* TEXT: "a|b|c", or NULL for any; INT and FLOAT: "least..most", or NULL */
    const char *help;    /* one sentence */
} maas_option_decl;

/* ---- what a model is made from; borrowed until unload */
typedef struct maas_model_spec {
    uint32_t size, option_count;
    const char
        *root; /* read-only folder of the artifact; the plugin may map its files until unload */
    const maas_option *options; /* every declared option, in the order of the declarations */
} maas_model_spec;

/* ---- what a model takes and gives; filled by describe, memory of the plugin, valid until unload
 */
typedef struct maas_signature {
    uint32_t size, abi;
    const maas_port *inputs;
    const maas_port *outputs;
    uint32_t input_count, output_count;
    uint32_t max_rows;                     /* largest batch; 0: any */
    uint32_t max_concurrency;              /* 1: the host serialises; 0: any */
    uint32_t rows_independent;             /* 1: a row alone gives the same bits as in any batch */
    uint32_t flags;                        /* 0 */
    uint64_t resident_bytes;               /* estimate of the loaded model's memory */
    const char *task;                      /* "regression", "text-classification" …; NULL: none */
    const maas_option_decl *const *params; /* what a request may set; NULL-terminated, or NULL */
} maas_signature;

/* ---- one request (a batch is a request with more rows); borrowed from the call until done */
typedef struct maas_request {
    uint32_t size, rows;       /* rows == shape[0] of every input */
    const maas_named *inputs;  /* in the order of the signature */
    const maas_option *params; /* every one of the signature's, in its order */
    uint32_t input_count, param_count;
    uint64_t deadline_ns; /* on host->now_ns's clock; 0: none */
    maas_str trace_id;
} maas_request;

enum {
    MAAS_LOG_DEBUG = 0,
    MAAS_LOG_INFO = 1,
    MAAS_LOG_WARN = 2,
    MAAS_LOG_ERROR = 3,
    MAAS_LOG_PLUGIN_MISBEHAVING = 4 /* the host's own complaints */
};
enum { MAAS_METRIC_COUNTER = 1, MAAS_METRIC_GAUGE = 2 };

/* ---- what the host offers; one per loaded model; every function [any] */
struct maas_host {
    uint32_t size, abi;
    void (*log)(const maas_host *host, int32_t level, const char *text);
    uint64_t (*now_ns)(const maas_host *host); /* monotonic */
    /* NULL when there is none left. align: a power of two up to 4096. On the thread that runs infer
     * it comes from the request's arena, is counted against the tenant, and is gone when the
     * request has ended and infer has returned; elsewhere it lives until free. */
    void *(*alloc)(const maas_host *host, size_t bytes, size_t align);
    void (*free)(const maas_host *host, void *memory);
    void (*metric)(const maas_host *host, int32_t kind, const char *name, double value);
    /* Wait-free. Look at least every 10 ms of work; when not 0, end by done(MAAS_E_CANCELLED). */
    int32_t (*cancelled)(const maas_host *host, const maas_request *request);
    /* Copies the outputs before it returns. MAAS_E_CANCELLED: nobody listens any more. */
    maas_status (*emit)(const maas_host *host, const maas_request *request,
                        const maas_named *outputs, uint32_t count);
    /* Ends an accepted request, exactly once. text: the reason when status is not MAAS_OK, else
     * NULL. */
    void (*done)(const maas_host *host, const maas_request *request, maas_status status,
                 const char *text);
    const void *(*extension)(const maas_host *host, const char *id); /* NULL: not offered */
};

/* ---- what the plugin offers */
typedef struct maas_plugin {
    uint32_t size, abi;
    const char *id, *version, *title, *vendor; /* id: "maas.linreg", "com.acme.ranker"; permanent */
    const maas_option_decl *const *options;    /* NULL-terminated, or NULL */
    maas_status (*init)(const maas_host *host, maas_error *error); /* [control] optional */
    void (*deinit)(void);                                          /* [control] optional */
    maas_status (*load)(const maas_host *host, const maas_model_spec *spec, maas_model **model,
                        maas_error *error); /* [control] */
    void (*unload)(maas_model *model);      /* [control] no call overlaps it */
    maas_status (*describe)(maas_model *model, maas_signature *signature,
                            maas_error *error); /* [control] */
    maas_status (*validate)(maas_model *model, const maas_request *request,
                            maas_error *error); /* [pool] optional: meaning only */
    /* [pool] An error: nothing was accepted. MAAS_OK: accepted; emit 0..n times, then done once,
     * before or after returning. */
    maas_status (*infer)(maas_model *model, const maas_request *request, maas_error *error);
    const void *(*extension)(const char *id); /* [any] optional */
} maas_plugin;

/* The only exported symbol, also where all else is hidden. NULL: this plugin does not speak that
 * major version. Pure. [control] */
__attribute__((visibility("default"))) const maas_plugin *maas_plugin_entry(uint32_t host_abi);

#ifdef __cplusplus
}
#endif

#endif
