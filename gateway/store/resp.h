/*
 * resp.h: Redis' protocol on the way out (commands as text) and hiredis' answers as redis_reply.
 * [any] Behind redis.c only.
 */
#ifndef MAAS_STORE_RESP_H
#define MAAS_STORE_RESP_H

#include "store/redis.h"

struct redisReply;

/* Bytes that `count` words may take, at most. */
size_t resp_size(const struct str *words, size_t count);
/* Writes the words as bulk strings; returns the end. */
char *resp_put(char *at, const struct str *words, size_t count);
/*
 * A new command of `word_count` words, of which the first `count` are written and room for `more`
 * bytes is left behind them. The caller frees it; NULL without memory. out_len: what is written.
 */
char *resp_format(size_t word_count, const struct str *words, size_t count, size_t more,
                  size_t *out_len);
size_t resp_count(const char *command); /* its word_count */

/* An answer and all below it. hiredis' answer stays lent to it. */
#define RESP_NODES 144 /* beyond, the heap */
struct resp_tree {
    struct redis_reply own[RESP_NODES], *nodes;
    const struct redisReply *own_sources[RESP_NODES], **sources;
    size_t count, size;
};
void resp_tree_init(struct resp_tree *tree);
/* NULL without memory. */
const struct redis_reply *resp_tree_of(struct resp_tree *tree, const struct redisReply *reply);
void resp_tree_release(struct resp_tree *tree);

#endif
