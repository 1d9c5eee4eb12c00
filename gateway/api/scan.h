/*
 * scan.h: finds the top-level "model" member of a JSON body, the one thing of a tenant's payload
 * the gateway looks at (design: the worker's decoder must find the same value). It checks only what
 * it needs to stay in step: strings, brackets, depth. [any] pure.
 */
#ifndef MAAS_API_SCAN_H
#define MAAS_API_SCAN_H

#include "base/base.h"

#define SCAN_WINDOW 65536

enum scan_result {
    SCAN_FOUND,
    SCAN_ABSENT,    /* the whole body was read: no such member */
    SCAN_TOO_FAR,   /* not within the first SCAN_WINDOW bytes */
    SCAN_DUPLICATE, /* twice */
    SCAN_BAD,       /* not an object, or the member is not a plain string */
};
/* out_value points into the body: the raw characters between the quotes; a value with an escape is
 * SCAN_BAD. */
enum scan_result scan_model(struct str body, struct str *out_value);

#endif
