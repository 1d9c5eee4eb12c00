/*
 * khash.h: what h2o/http2_internal.h needs of a header that Debian's libh2o-dev-common does not
 * ship. The structs of the HTTP/2 connection hold a pointer to a hash table of streams; the guard
 * never looks into it (it finds streams through its exchanges), so the table is opaque here and the
 * one inline function that would search it finds nothing.
 */
#ifndef MAAS_NET_SHIM_KHASH_H
#define MAAS_NET_SHIM_KHASH_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t khiter_t;

#define khash_t(name)                    struct kh_##name
#define KHASH_MAP_INIT_INT64(name, type) khash_t(name);
#define kh_get(name, table, key)         ((void)(table), (void)(key), (khiter_t)0)
#define kh_end(table)                    ((khiter_t)0)
#define kh_val(table, at)                NULL

#endif
