/*
 * run.h: one request to one model from the command line, through the real codec.
 */
#ifndef CHECK_RUN_H
#define CHECK_RUN_H

#include "trial.h"

/* target->input: a file with the body of a request (payload.h).
 * Prints the answer's JSON to stdout, or the refusal to stderr. 0 or 1. Loads the plugin into this
 * process. */
int run_main(const struct target *target);

#endif
