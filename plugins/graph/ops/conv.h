/*
 * conv.h: what a plan's engine wants to know of a Conv. Pure. [any]
 */
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "window.h"

/* Checks input, weights, bias and attributes of a Conv. */
maas_status conv_window(const struct call *c, struct window *w, int64_t *groups, maas_error *error);

#endif
