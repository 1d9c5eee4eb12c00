/*
 * hpack_write.h: header fields of answers as HPACK literals without indexing (RFC 7541, 6.2.2).
 * Pure. Private to net.
 */
#ifndef MAAS_NET_HPACK_WRITE_H
#define MAAS_NET_HPACK_WRITE_H

#include "base/base.h"

#define HPACK_STATUS_MAX 5

/* Bytes that a field takes at most. */
size_t hpack_field_max(size_t name_len, size_t value_len);
/* ":status"; 100 to 999. */
uint8_t *hpack_put_status(uint8_t *at, int status);
/* `index`: of the name in the static table, 0: it is written out (lower case). Returns the end. */
uint8_t *hpack_put_field(uint8_t *at, unsigned index, struct str name, struct str value);

#endif
