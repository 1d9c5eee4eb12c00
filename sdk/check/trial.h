/*
 * trial.h: one check of one plugin, in a process of its own.
 *
 * The runner itself never loads the plugin: each check is a child with a time limit, so a plugin
 * that crashes, hangs or ends the process is a failed check and nothing more. What the plugin
 * prints is kept and shown only when its check fails.
 */
#ifndef CHECK_TRIAL_H
#define CHECK_TRIAL_H

#include "engine/engine.h"

#define TARGET_OPTIONS_MAX 32
#define WHY_MAX            512
#define PATH_BYTES         1024

struct target { /* what the command line says; read only */
    const char *plugin;
    const char *model; /* folder of an artifact; NULL: none */
    const char *data;  /* folder to train from; NULL: none */
    const char *input; /* file with a request whose rows are asked; NULL: random ones */
    struct engine_option options[TARGET_OPTIONS_MAX];
    size_t option_count;
    unsigned samples; /* random requests where a check makes many */
    unsigned seconds; /* time limit of each check */
    uint64_t seed;    /* of the random inputs */
};

enum verdict { VERDICT_OK, VERDICT_FAIL, VERDICT_SKIP };

struct trial { /* a running check; lives as long as its process */
    const struct target *target;
    const char *scratch; /* an empty folder of this check, removed afterwards */
    char why[WHY_MAX];   /* of FAIL and SKIP */
    struct engine_plugin *plugin;
    struct engine_model *model;
    int flavour;  /* of random numbers that the model takes (sample.h) */
    bool refuses; /* all of them */
};

struct check {
    const char *name;
    enum verdict (*run)(struct trial *t);
    const char *what; /* one line: what holds when it is ok */
};
extern const struct check checks[]; /* checks.c; the last one has no name */

/* The end of a check: return failed(t, "..."). */
enum verdict failed(struct trial *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum verdict skipped(struct trial *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Runs the check in a child and waits for it. out_why is filled unless it is ok. */
enum verdict trial_run(const struct check *check, const struct target *target,
                       char out_why[WHY_MAX]);

/* ---- for checks */

/* Loads the plugin and its model with the wrapped host (wrap.h) and finds numbers that it takes.
 * Anything but VERDICT_OK is the check's verdict. Without --model an empty folder is tried. */
enum verdict trial_load(struct trial *t);
enum verdict trial_load_plugin(struct trial *t);
/* Another model from a folder, with the target's options. */
maas_status MUST_USE trial_model(struct trial *t, const char *root, struct engine_model **out,
                                 maas_error *error);
/* The folder of the artifact: --model or the scratch folder, which is empty. */
const char *trial_root(const struct trial *t);
uint32_t trial_rows_max(const struct trial *t, uint32_t most); /* min(max_rows, most) */

#endif
