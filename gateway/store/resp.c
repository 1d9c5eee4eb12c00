/*
 * resp.c: commands as text, answers as a flat array of nodes.
 *
 * hiredis formats commands too, but a script's command is kept for a repetition under another head,
 * which wants to know where the head ends. An answer's nodes are laid out breadth first, so that
 * the items of an array lie side by side and nothing recurses.
 */
#include "store/resp.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define WORD_OVERHEAD 26 /* "$", 20 digits, twice CR LF, and one over */

static char *put_number(char *at, char kind, size_t value)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    *at++ = kind;
    while (n > 0)
        *at++ = digits[--n];
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

size_t resp_size(const struct str *words, size_t count)
{
    size_t size = count * WORD_OVERHEAD;
    for (size_t i = 0; i < count; i++)
        size += words[i].len;
    return size;
}

char *resp_put(char *at, const struct str *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at = put_number(at, '$', words[i].len);
        if (words[i].len > 0)
            memcpy(at, words[i].data, words[i].len);
        at += words[i].len;
        *at++ = '\r';
        *at++ = '\n';
    }
    return at;
}

char *resp_format(size_t word_count, const struct str *words, size_t count, size_t more,
                  size_t *out_len)
{
    /* zeroed, with a byte to spare: hiredis looks for the next word as in a C string */
    char *text = calloc(1, WORD_OVERHEAD + resp_size(words, count) + more + 1);
    if (!text)
        return NULL;
    char *end = resp_put(put_number(text, '*', word_count), words, count);
    *out_len = (size_t)(end - text);
    return text;
}

size_t resp_count(const char *command)
{
    return strtoul(command + 1, NULL, 10);
}

void resp_tree_init(struct resp_tree *tree)
{
    tree->nodes = tree->own;
    tree->sources = tree->own_sources;
    tree->size = RESP_NODES;
    tree->count = 0;
}

void resp_tree_release(struct resp_tree *tree)
{
    if (tree->nodes != tree->own)
        free(tree->nodes);
    if (tree->sources != tree->own_sources)
        free(tree->sources);
}

static struct redis_reply scalar_of(const redisReply *reply)
{
    struct redis_reply node = { .kind = REDIS_NIL };
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        node.kind = REDIS_INT;
        node.integer = reply->integer;
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        node.kind = reply->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_STR;
        node.text = (struct str){ reply->str, (size_t)reply->len };
        break;
    case REDIS_REPLY_ARRAY:
        node.kind = REDIS_ARRAY;
        node.count = reply->elements;
        break;
    default:
        break;
    }
    return node;
}

/* The tree's sources, breadth first, counted before anything is allocated. */
static size_t nodes_below(const redisReply *reply)
{
    const redisReply *stack[16]; /* hiredis nests no deeper than 9 */
    size_t at[16], depth = 1, count = 1;
    stack[0] = reply;
    at[0] = 0;
    while (depth > 0) {
        const redisReply *top = stack[depth - 1];
        if (top->type != REDIS_REPLY_ARRAY || at[depth - 1] == top->elements) {
            depth--;
            continue;
        }
        const redisReply *child = top->element[at[depth - 1]++];
        count++;
        if (child->type == REDIS_REPLY_ARRAY && depth < COUNT_OF(stack)) {
            stack[depth] = child;
            at[depth++] = 0;
        }
    }
    return count;
}

static bool tree_reserve(struct resp_tree *tree, size_t count)
{
    if (count <= tree->size)
        return true;
    tree->nodes = calloc(count, sizeof(*tree->nodes));
    tree->sources = calloc(count, sizeof(*tree->sources));
    tree->size = count;
    return tree->nodes && tree->sources;
}

const struct redis_reply *resp_tree_of(struct resp_tree *tree, const struct redisReply *reply)
{
    if (!tree_reserve(tree, nodes_below(reply)))
        return NULL;
    tree->sources[0] = reply;
    tree->count = 1;
    for (size_t i = 0; i < tree->count; i++) {
        const redisReply *source = tree->sources[i];
        tree->nodes[i] = scalar_of(source);
        if (tree->nodes[i].kind != REDIS_ARRAY)
            continue;
        tree->nodes[i].items = &tree->nodes[tree->count];
        for (size_t k = 0; k < source->elements; k++)
            tree->sources[tree->count++] = source->element[k];
    }
    return &tree->nodes[0];
}
