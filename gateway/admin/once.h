/*
 * once.h: an admin change that is made once, however often it is sent. Private to admin/.
 *
 * Its row is written in the transaction of the change and its audit row, so they are there together
 * or not at all, and nothing has to be given back. Of two at once the second waits for the
 * first's transaction and answers with its outcome.
 */
#ifndef MAAS_ADMIN_ONCE_H
#define MAAS_ADMIN_ONCE_H

#include "admin/call.h"

/* [loop] Takes the field Idempotency-Key of a request that changes, when there is one. False after
 * a problem was set. */
bool admin_once_take(struct admin_call *call);
/* [control] In the transaction, before anything was changed. False when it is answered: replayed,
 * 409, 422, or a problem of the database. True also without a key. */
bool admin_once_begin(struct admin_call *call);
/* [control] In the transaction, behind the change: keeps an answer of 2xx. */
void admin_once_finish(struct admin_call *call);
void admin_once_free(struct admin_once *once); /* accepts NULL */

#endif
