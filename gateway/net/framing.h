/*
 * framing.h: is a complete HTTP/1 header framed so that no two readers can disagree about it?
 * Pure: bytes in, verdict out. Private to net.
 *
 * libh2o 2.2.5 accepts bare LF, folded lines, several Content-Length fields, Content-Length beside
 * Transfer-Encoding and any number of Host fields; RFC 9112 calls each of them an error (sections
 * 2.2, 5.2, 6.1, 6.3 and 3.2), because a proxy in front may have read it the other way.
 */
#ifndef MAAS_NET_FRAMING_H
#define MAAS_NET_FRAMING_H

#include "base/base.h"

enum framing_verdict {
    FRAMING_OK,
    FRAMING_BARE_LF,    /* a line that does not end in CRLF, a CR or NUL inside one */
    FRAMING_LINE,       /* the request line is not METHOD SP target SP HTTP/1.x */
    FRAMING_FOLD,       /* a line that continues the one before */
    FRAMING_FIELD,      /* a field without a proper name, or with control characters */
    FRAMING_LENGTH,     /* Content-Length twice or not a number */
    FRAMING_ENCODING,   /* Transfer-Encoding that is not one `chunked`, or in HTTP/1.0 */
    FRAMING_BOTH,       /* Content-Length and Transfer-Encoding */
    FRAMING_HOST,       /* no Host (HTTP/1.1), two, or one with impossible characters */
    FRAMING_MANY,       /* more fields than allowed */
    FRAMING_LARGE,      /* more bytes than allowed */
    FRAMING_INCOMPLETE, /* no empty line yet */
};

struct framing {
    enum framing_verdict verdict;
    bool chunked, has_length;
    uint64_t content_length;
    uint32_t fields;
};

/* head: from the first byte of the request to the end of the empty line, or beyond it. */
struct framing framing_check(const char *head, size_t len, uint32_t fields_max, size_t bytes_max);
const char *framing_text(enum framing_verdict verdict); /* an English sentence for the caller */

#endif
