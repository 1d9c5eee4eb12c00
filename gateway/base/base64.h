/*
 * base64.h: RFC 4648, the standard alphabet.
 */
#ifndef MAAS_BASE_BASE64_H
#define MAAS_BASE_BASE64_H

#include "base/buf.h"

/* Bytes that `text_len` characters decode to at most. */
#define BASE64_ROOM(text_len) ((text_len) / 4 * 3 + 3)

/* To at most BASE64_ROOM bytes; padding may be left out. False: a character that is none of the
 * alphabet, padding elsewhere than at the end, a length that cannot be, bits that are lost. */
bool base64_decode(struct str text, void *out, size_t *out_len) MUST_USE;
/* Appends, with padding. */
void base64_encode(struct buf *out, struct str bytes);

#endif
