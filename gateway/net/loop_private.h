/*
 * loop_private.h: what the other files of net need of a loop. Includes h2o.h: never included
 * outside net.
 */
#ifndef MAAS_NET_LOOP_PRIVATE_H
#define MAAS_NET_LOOP_PRIVATE_H

#include "net/loop.h"

#include <h2o.h>

h2o_loop_t *loop_h2o(struct loop *loop);
/* One turn, blocking at most `wait_ms`. loop_run is a sequence of these. */
void loop_once(struct loop *loop, int32_t wait_ms);

#endif
