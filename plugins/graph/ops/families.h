/*
 * families.h: the tables of operators, one a file, each ended by an entry without a name. [any]
 */
#ifndef OPS_FAMILIES_H
#define OPS_FAMILIES_H

#include "../operator.h"

extern const struct operator ops_activation[], ops_arithmetic[], ops_cast[], ops_conv[],
    ops_create[], ops_logic[], ops_loss[], ops_move[], ops_normalise[], ops_pick[], ops_pool[],
    ops_product[], ops_reduce[], ops_resize[], ops_softmax[], ops_unary[], ops_view[];

#endif
