/*
 * http.h: one request and its answer (an exchange), HTTP/2 and HTTP/1.1 alike, without a type of
 * libh2o. All [loop]: only on the thread of the loop that owns the connection.
 *
 * Life: the handler is called once the whole body is in memory. It answers at once or later,
 * exactly once, by exchange_send. When the client leaves first, on_gone is called and the exchange
 * is dead: nobody touches it again. After exchange_send the exchange is dead for the caller too
 * (on_gone is not called any more).
 */
#ifndef MAAS_NET_HTTP_H
#define MAAS_NET_HTTP_H

#include "base/base.h"
#include "net/loop.h"

struct exchange;

/* Why the guard condemned a request before its body was read (http_status 0: it did not). */
struct condemned {
    int http_status;  /* 400, 413, 431 … */
    const char *code; /* machine word: "body_too_large", "bad_framing" … */
    const char *text; /* English sentence for the caller */
};

/* Borrowed until exchange_send or on_gone. */
struct http_request {
    struct str method, path /* without query, not decoded */, query /* without '?', may be empty */;
    struct str authority;
    struct str body;
    uint32_t http_version; /* 0x101, 0x200 */
    struct condemned condemned;
    bool body_withheld; /* the gate was shut: refuse */
};

enum http_known_header { /* found in O(1): the library's tokens */
                         HDR_AUTHORIZATION,
                         HDR_CONTENT_TYPE,
                         HDR_CONTENT_ENCODING,
                         HDR_ACCEPT,
                         HDR_ACCEPT_ENCODING,
                         HDR_USER_AGENT,
};

const struct http_request *exchange_request(struct exchange *ex);
struct str exchange_known(struct exchange *ex,
                          enum http_known_header which); /* empty when absent */
/* Any request header by its lower-case name, the first of several. Walks the list. Framing fields
 * (content-length, transfer-encoding, expect) are not among them: the body is what counts. */
struct str exchange_find(struct exchange *ex, struct str name);
struct loop *exchange_loop(struct exchange *ex);
void *exchange_alloc(struct exchange *ex,
                     size_t size); /* zeroed; lives until the answer is sent or the client left */
/* The caller's own pointer and what to call when the client leaves. Set at most once. */
void exchange_bind(struct exchange *ex, void *user, void (*on_gone)(void *user));
void *exchange_user(struct exchange *ex);
void exchange_peer(struct exchange *ex, char *out,
                   size_t size); /* textual address, for logs and allow lists */

/* Adds a response header. name: lower case, static storage; value: lives as long as exchange_alloc
 * memory. */
void exchange_header(struct exchange *ex, struct str name, struct str value);
/* Sends and ends. content_type: static storage, empty for none. The body is copied. HEAD sends no
 * body. */
void exchange_send(struct exchange *ex, int http_status, struct str content_type, struct str body);

typedef void (*exchange_handler)(struct exchange *ex, void *arg);

/*
 * ---- the gate: may a body come that the handler has not seen yet? Asked once a request, before
 * more than BODY_UNASKED bytes of its body are kept, so that who has no right costs no memory. It
 * answers from what it has in hand; the handler has the last word in any case.
 */
enum { BODY_UNASKED = 4096 };
enum gate_verdict {
    GATE_UNASKED, /* never an answer */
    GATE_OPEN,    /* let it come */
    GATE_LATER,   /* not known yet: nothing more is read from the connection, and it is asked again
                     every other millisecond. After a second it counts as shut. */
    GATE_SHUT,    /* the handler is called at once, without the body, and refuses */
};
struct http_head {           /* borrowed for the call */
    struct str method, path; /* as in http_request */
    const void *fields;      /* private: the library's, of this version */
    size_t field_count;
    uint32_t http_version;
};
/* Any header but host and the framing fields by its lower-case name, the first of several. */
struct str head_find(const struct http_head *head, struct str name);
typedef enum gate_verdict (*exchange_gate)(const struct http_head *head, void *arg);

#endif
