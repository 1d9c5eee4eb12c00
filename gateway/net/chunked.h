/*
 * chunked.h: a strict decoder of HTTP/1 chunked bodies, in place. Pure. Private to net.
 *
 * It stands in for the library's phr_decode_chunked (same state, same results), which takes bare
 * LF, skips extensions of any length and trailers of any number. Here: CRLF everywhere, sizes of at
 * most eight hex digits, no extensions, no trailers. No client in use sends either.
 */
#ifndef MAAS_NET_CHUNKED_H
#define MAAS_NET_CHUNKED_H

#include <stddef.h>
#include <sys/types.h>

/* The library's layout (picohttpparser.h of libh2o 2.2.5; that header is not installed). */
struct phr_chunked_decoder {
    size_t bytes_left_in_chunk;
    char consume_trailer;
    char _hex_count;
    char _state;
};

/* Decodes buf[0..*len) in place; *len becomes the number of body bytes. Returns -2 while more is to
 * come, -1 when malformed, else how many bytes behind the body were left, moved up to buf + *len.
 */
ssize_t chunked_decode(struct phr_chunked_decoder *decoder, char *buf, size_t *len);

#endif
