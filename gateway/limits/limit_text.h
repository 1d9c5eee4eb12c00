/*
 * limit_text.h: a limit as the database tells it: a line of seven words,
 *
 *     scope measure window_ms amount burst created_us deployment
 *
 * the first two by the numbers of their enums, 0 where there is none. Pure. [any]
 */
#ifndef MAAS_LIMITS_LIMIT_TEXT_H
#define MAAS_LIMITS_LIMIT_TEXT_H

#include "limits/limits.h"

/* The next line of any text, which it takes off; false at the end. */
bool limit_line(struct str *text, struct str *out_line);
/* False when it is no such line. The ids are the deployment's where the scope has one; those of
 * tenant and key are the caller's to fill in. */
bool limit_parse(struct str line, struct limit *out);

#endif
