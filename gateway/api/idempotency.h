/*
 * idempotency.h: a request that is done once, however often it is sent (docs/idempotency.md).
 *
 * A call with an Idempotency-Key has a `struct once` from step_once to its end; one without has
 * none and pays nothing but the look for the field. Between the two its row in the database is
 * `running`. A call that ends in a charged 200 goes through once_finish; any other way it ends,
 * call_over gives the row back. [loop]
 */
#ifndef MAAS_API_IDEMPOTENCY_H
#define MAAS_API_IDEMPOTENCY_H

#include "api/call.h"

/* Larger answers are charged and sent, but not kept. */
#define ONCE_ANSWER_MAX ((size_t)8 << 20)

/* What a 200 comes with. */
struct once_answer {
    struct usage_event event;
    uint32_t queue_us, compute_us;
    struct str body; /* borrowed, copied */
};

/* Begins, or answers from what is there: a replay, 409, 422, or 503 when that cannot be known. */
enum step_result step_once(struct call *call);

/* Keeps the answer and bills it in one transaction, then answers; 503 or 409, and no bill, when
 * that cannot be. The client may have left. */
void once_finish(struct call *call, const struct once_answer *answer);

/* The call is over: its row is given back unless it was finished. Accepts a call without. */
void once_end(struct call *call);

#endif
