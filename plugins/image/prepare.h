/*
 * prepare.h: from a picture to the numbers a model wants: resize, centre crop, colours, normalise.
 * Pure functions, outputs first. [any]
 */
#ifndef IMAGE_PREPARE_H
#define IMAGE_PREPARE_H

#include "image.h"

#include <stdbool.h>

enum { PREPARE_SIDE_MAX = 4096 };

struct prepare {
    uint32_t width, height; /* of what the model sees */
    uint32_t resize;        /* 0: stretch to width by height; else the shorter side becomes this, at
                               least width and height, and the middle is cut out */
    bool antialias; /* as PIL and torchvision's antialias=True do; false: two points an axis, as
                       torchvision's antialias=False, half-pixel centres */
    bool grey;      /* one channel: (19595 red + 38470 green + 7471 blue) / 65536 (ITU-R 601) */
    bool bgr, nhwc; /* order of colours; channels last */
    float scale;    /* value = (0..255 scale - mean) / deviation, by channel of the output */
    float mean[3], deviation[3];
    uint8_t background[3];
};

/* False: an extent is 0 or too large, or a deviation is not above 0. */
bool prepare_valid(const struct prepare *p);
/* Floats of the output: channels * height * width. */
size_t prepare_count(const struct prepare *p);
/* Floats of work space for a picture of that size, as seen. */
size_t prepare_space(const struct prepare *p, uint32_t width, uint32_t height);
void prepare(float *out, float *space, const struct image *image, const struct prepare *p);

#endif
