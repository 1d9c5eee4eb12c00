/* ratios.h: how much more often a class has a feature than the others. */
#ifndef TEXT_RATIOS_H
#define TEXT_RATIOS_H

#include "train.h"

/* r [features, classes], malloc's: the log of (1 + n[c][f]) / (2 + rows[c]) over the same of all
 * other classes, n counting how often rows of the class have the feature, over the rows to learn
 * from (Wang and Manning 2012, smoothing 1). NULL: no memory. */
float *ratios_of(const struct lesson *l);

#endif
