/*
 * suspects.h: requests that were at work when their worker died. Private to fleet/. [any]
 *
 * The first crash may be another's doing: members of a merged call share its fate. So a request
 * that was noted once runs alone the next time, and one that was alone at its second crash has
 * proven its guilt: it is refused for a minute. What is remembered is a keyed hash over tenant,
 * version and body, never the body; another tenant's equal request is another one.
 */
#ifndef MAAS_FLEET_SUSPECTS_H
#define MAAS_FLEET_SUSPECTS_H

#include "fleet/fleet.h"

#define SUSPECT_NS (UINT64_C(60) * 1000000000)

enum suspicion { SUSPECT_NONE, SUSPECT_ONCE, SUSPECT_TWICE };

struct suspects;
struct suspects *suspects_new(void); /* NULL: no memory */
void suspects_free(struct suspects *s);

/* What is known of this request to this version; quick when nobody crashed of late. */
enum suspicion suspects_look(struct suspects *s, const struct job *job, const struct uuid *version,
                             uint64_t now_ns);
/* It was at work when its worker died. */
void suspects_note(struct suspects *s, const struct job *job, const struct uuid *version,
                   uint64_t now_ns);

#endif
