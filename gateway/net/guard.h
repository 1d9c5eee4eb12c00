/*
 * guard.h: the functions of libh2o 2.2.5 that the executable defines in the library's place, and
 * the originals behind them. docs/guard.md says which hole each one closes. Private to net.
 *
 * The library calls them through its procedure linkage table, so a definition in the executable
 * wins. It must stay in the executable's dynamic symbol table: default visibility, linked as an
 * object. Each file of the guard is referenced from server.c or conn.c, so whoever links a server
 * links the guard; guard_self_test proves that it is the one being called.
 */
#ifndef MAAS_NET_GUARD_H
#define MAAS_NET_GUARD_H

#include "net/chunked.h"
#include "net/conn.h"

struct phr_header { /* the library's layout; its header is not installed */
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

struct guard_real { /* filled before main() */
    void (*read_start)(h2o_socket_t *, h2o_socket_cb);
    void (*read_stop)(h2o_socket_t *);
    void (*write)(h2o_socket_t *, h2o_iovec_t *, size_t, h2o_socket_cb);
    void (*close)(h2o_socket_t *);
    void (*dispose_request)(h2o_req_t *);
    ssize_t (*decode_frame)(h2o_http2_frame_t *, const uint8_t *, size_t,
                            const h2o_http2_settings_t *, const char **);
    int (*decode_data)(h2o_http2_data_payload_t *, const h2o_http2_frame_t *, const char **);
    int (*parse_headers)(h2o_req_t *, h2o_hpack_header_table_t *, const uint8_t *, size_t, int *,
                         size_t *, h2o_cache_digests_t **, const char **);
    void (*stream_reset)(h2o_http2_conn_t *, h2o_http2_stream_t *);
    void (*flatten_response)(h2o_buffer_t **, h2o_hpack_header_table_t *, uint32_t, size_t,
                             h2o_res_t *, h2o_timestamp_t *, const h2o_iovec_t *, size_t);
    int (*parse_request)(const char *, size_t, const char **, size_t *, const char **, size_t *,
                         int *, struct phr_header *, size_t *, size_t);
};
extern struct guard_real guard_real;

/* ---- guard_io.c */
/* The connection whose bytes the library is working on; NULL outside of its callbacks. */
struct conn *guard_current(void);
/* Runs library code for a connection: names it, then ends it if it was doomed meanwhile. */
void guard_enter(struct conn *conn);
void guard_settle(struct conn *conn);
void guard_forget(struct conn *conn); /* it is being freed */

/* ---- guard_h1.c, guard_h2.c, guard_answer.c: pull the files in */
void guard_h1_link(void);
void guard_answer_link(void);
void guard_h2_link(void);

/* Rolls the ten seconds of the budgets. */
void guard_roll_budget(struct conn *conn);

#endif
