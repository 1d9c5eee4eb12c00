/*
 * net.h: embeddings through an LSTM, forwards or both ways, to class scores:
 *
 *     h = lstm(x), and with two directions h' = lstm'(x from its end)
 *     pooled = [most of h, mean of h, most of h', mean of h']         over the words of the text
 *     z = head pooled + bias
 *
 * The weights are one block of floats, so that learning, gradients, moments and the file see an
 * array. Pure functions over the caller's memory. [any]
 */
#ifndef TEXT_NET_H
#define TEXT_NET_H

#include <stdint.h>

#include "kernels/lstm.h"

enum { NET_WIDTH_MAX = 1024, NET_HIDDEN_MAX = 1024 };

struct net_shape {
    uint32_t width;  /* of an embedding */
    uint32_t hidden; /* cells of a direction; a multiple of 4 */
    uint32_t directions, classes;
};
struct net {
    struct net_shape shape;
    struct lstm_weights lstm[2];
    const float *head; /* [classes, pooled] */
    const float *bias; /* [classes] */
};

/* Floats of the block. */
size_t net_weights(const struct net_shape *shape);
uint32_t net_pooled(const struct net_shape *shape); /* numbers that the head sees */
/* A network over a block, which stays the caller's; packed: net_pack made it (and the block is
 * aligned to 64 bytes). */
struct net net_over(const struct net_shape *shape, const float *block, bool packed);
void net_pack(float *packed, const struct net_shape *shape, const float *block);

/* Where a batch is computed. x[0] is what the caller fills; pooled, z and what backward gives are
 * read. */
struct net_work {
    float *x[2], *h[2], *c[2], *gates[2]; /* tokens x width, hidden, hidden, 4 hidden */
    float *pooled, *z;                    /* rows x net_pooled, x classes */
    uint32_t *mirror;                     /* tokens */
    /* of learning and explaining, else NULL */
    float *dx[2], *dh, *dc, *dpooled; /* tokens x width, tokens x hidden, rows x hidden */
    uint32_t *from[2];                /* rows x hidden */
};
/* Floats of the work space of a batch. */
size_t net_work_floats(const struct net_shape *shape, size_t rows, size_t tokens, bool backward);
struct net_work net_work_at(float *memory, const struct net_shape *shape, size_t rows,
                            size_t tokens, bool backward);

/* work->x[0] to work->pooled. */
void net_read(const struct net *net, const struct net_work *work, const struct sequence *s);
/* work->pooled to work->z. */
void net_judge(const struct net *net, const struct net_work *work, size_t rows);
/* work->dpooled to work->dx[0]; adds to the block of gradients, which may be NULL. */
void net_read_backward(const struct net *net, const struct net_work *work, const struct sequence *s,
                       float *gradient);
/* work->z, which holds the gradient of the scores, to work->dpooled; gradient as above. */
void net_judge_backward(const struct net *net, const struct net_work *work, size_t rows,
                        float *gradient);

#endif
