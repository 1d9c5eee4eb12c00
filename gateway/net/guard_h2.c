/*
 * guard_h2.c: the guard's place at HTTP/2: frames, header blocks, resets, bodies.
 *
 * - Frames: control frames are counted in windows of ten seconds and weighed against what requests
 *   and answers explain. Past the budget h2o_http2_decode_frame returns an error, which the library
 *   turns into GOAWAY and close.
 * - Header blocks: counted before they are decoded; one far beyond the limits ends the connection
 *   (unparsed, the compression state is out of step), one a little beyond is decoded and condemned.
 * - Resets: every cancelled stream passes h2o_http2_stream_reset, whether the client asked for it
 *   or tricked the library into it.
 * - Bodies: the gate is asked and they are accounted per stream and connection before the library
 *   buffers them. A refused request is run at once: its stream is made to look ended, so that the
 *   handler can answer before megabytes have come, and what still comes is thrown away with its
 *   flow control credited.
 * - CONTINUATION on a connection that is being closed sends the library into an endless loop
 *   (it returns 0 bytes consumed): refused. Frames of unknown types, which the library prints to
 *   stderr one by one, are turned into a PING acknowledgement, which it ignores.
 */
#include "net/guard.h"

#include "net/hpack_count.h"

#include <h2o/version.h>

#include <string.h>

/* http2_internal.h is of this very version; another one may lay its structs out otherwise. */
_Static_assert(H2O_LIBRARY_VERSION_MAJOR == 0 && H2O_LIBRARY_VERSION_MINOR == 13 &&
                   H2O_LIBRARY_VERSION_PATCH == 5,
               "the guard is written against libh2o 0.13.5 (h2o 2.2.5)");

enum {
    WINDOW_S = 10,              /* of the budgets */
    CONTROL_PER_STREAM = 4,     /* RST, PRIORITY and WINDOW_UPDATE that one request explains */
    WRITTEN_PER_CONTROL = 2048, /* bytes of answers that explain one WINDOW_UPDATE */
    CONTINUATIONS_MAX = 16,
    HARD_FACTOR_FIELDS = 4, /* fields past limit times this: closed instead of answered 431 */
    HARD_FACTOR_BYTES = 2,
    BODY_STRIKES_MAX = 16,   /* streams refused for bytes in flight in ten seconds */
    DISCARD_MAX = 64 * 1024, /* body of a refused request that is let come */
    FRAME_TYPES = H2O_HTTP2_FRAME_TYPE_CONTINUATION + 1,
};

static const struct condemned body_too_large = { 413, "body_too_large",
                                                 "The request body is too large." };
static const struct condemned bodies_in_flight = { 503, "too_many_bytes_in_flight",
                                                   "Too many request bodies are in flight." };
static const struct condemned header_too_large = { 431, "header_too_large",
                                                   "The request header is too large." };
static const struct condemned bad_request = { 400, "bad_request_target",
                                              "The method or target of the request is malformed." };

void guard_h2_link(void)
{
}

/* ---- budgets */

void guard_roll_budget(struct conn *conn)
{
    const uint64_t now = loop_now_ns(conn->server->loop);
    if (now - conn->budget.start_ns < WINDOW_S * UINT64_C(1000000000))
        return;
    memset(&conn->budget, 0, sizeof(conn->budget));
    conn->budget.start_ns = now;
    conn->budget.written = conn->sock->bytes_written;
}

static void count_control(struct conn *conn)
{
    guard_roll_budget(conn);
    const uint64_t allowed =
        conn->server->limits.control_max + (uint64_t)conn->budget.streams * CONTROL_PER_STREAM +
        (conn->sock->bytes_written - conn->budget.written) / WRITTEN_PER_CONTROL;
    if (++conn->budget.control > allowed)
        conn_doom(conn, GUARD_CONTROL, "too many control frames");
}

void h2o_http2_stream_reset(h2o_http2_conn_t *h2, h2o_http2_stream_t *stream)
{
    struct conn *conn = conn_of_socket(h2->sock);
    if (conn != NULL) {
        guard_roll_budget(conn);
        const uint32_t cancels = ++conn->budget.cancels;
        if (cancels > conn->server->limits.cancel_max && cancels > conn->budget.streams / 2)
            conn_doom(conn, GUARD_CANCEL, "too many cancelled requests");
    }
    guard_real.stream_reset(h2, stream);
}

/* ---- bodies */

static h2o_http2_stream_t *stream_of(struct exchange *ex)
{
    return H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, ex->req);
}

/* Frees what came of a body; without a buffer the library takes it for complete. */
void exchange_drop_body(struct exchange *ex)
{
    struct conn *conn = ex->conn;
    h2o_http2_stream_t *stream = stream_of(ex);
    conn->body_bytes -= ex->body_bytes;
    ex->body_bytes = 0;
    (void)conn_charge(conn);
    if (stream->_req_body != NULL)
        h2o_buffer_dispose(&stream->_req_body);
    stream->_req_body = NULL;
}

/* What the body of a DATA frame counts: without padding. */
static size_t payload_of(const h2o_http2_frame_t *frame)
{
    if ((frame->flags & H2O_HTTP2_FRAME_FLAG_PADDED) == 0 || frame->length == 0)
        return frame->length;
    const size_t padding = 1 + (size_t)frame->payload[0];
    return padding > frame->length ? 0 : frame->length - padding;
}

/* For the library this frame is an acknowledged PING: nothing to do. */
static void ignore_frame(h2o_http2_frame_t *frame)
{
    static const uint8_t zeros[8];
    frame->type = H2O_HTTP2_FRAME_TYPE_PING;
    frame->flags = H2O_HTTP2_FRAME_FLAG_ACK;
    frame->stream_id = 0;
    frame->length = sizeof(zeros);
    frame->payload = zeros;
}

/* Gives the client back the connection's credit for bytes that the library will not see. */
static void credit_connection(h2o_http2_conn_t *h2, size_t bytes)
{
    const ssize_t full = H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    h2o_http2_window_consume_window(&h2->_input_window, bytes);
    const ssize_t left = h2o_http2_window_get_window(&h2->_input_window);
    if (left * 2 >= full)
        return;
    h2o_http2_encode_window_update_frame(&h2->_write.buf, 0, (int32_t)(full - left));
    h2o_http2_conn_request_write(h2);
    h2o_http2_window_update(&h2->_input_window, full - left);
}

/*
 * DATA for a refused request that was run already. Until its answer has had a turn to leave, all of
 * it is thrown away; later 64 KiB are, then the stream is reset.
 */
static void discard_data(struct conn *conn, h2o_http2_stream_t *stream, struct exchange *ex,
                         h2o_http2_frame_t *frame)
{
    h2o_http2_conn_t *h2 = conn_h2(conn);
    const size_t bytes = frame->length;
    const ssize_t full = H2O_HTTP2_SETTINGS_HOST.initial_window_size;
    credit_connection(h2, bytes);
    h2o_http2_window_consume_window(&stream->input_window, bytes);
    ignore_frame(frame);
    if (full - h2o_http2_window_get_window(&stream->input_window) <= DISCARD_MAX ||
        ex->state != EXCHANGE_ANSWERED || loop_turns(conn->server->loop) == ex->condemned_turn)
        return;
    h2o_http2__encode_rst_stream_frame(&h2->_write.buf, stream->stream_id,
                                       -H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM);
    h2o_http2_conn_request_write(h2);
    h2o_http2_stream_reset(h2, stream);
}

/* Ends a refused body here: what came is freed, the frame becomes the stream's last, and empty. */
static void end_body(struct conn *conn, h2o_http2_stream_t *stream, struct exchange *ex,
                     h2o_http2_frame_t *frame)
{
    exchange_drop_body(ex);
    h2o_buffer_init(&stream->_req_body, &h2o_socket_buffer_prototype);
    stream->_expected_content_length = SIZE_MAX;
    frame->flags |= H2O_HTTP2_FRAME_FLAG_END_STREAM;
    conn->drop_payload = true; /* of this very frame: it is decoded next */
}

static const struct condemned *judge_body(struct conn *conn, struct exchange *ex, size_t payload)
{
    const struct server_limits *limits = &conn->server->limits;
    if (ex->body_bytes + payload > limits->body_max)
        return &body_too_large;
    if ((conn->body_bytes + payload) * BODY_FACTOR > limits->body_in_flight_conn_max) {
        guard_roll_budget(conn);
        if (++conn->budget.bodies > BODY_STRIKES_MAX)
            conn_doom(conn, GUARD_BODY, "too many request bodies in flight");
        return &bodies_in_flight;
    }
    ex->body_bytes += payload;
    conn->body_bytes += payload;
    return conn_charge(conn) ? NULL : &bodies_in_flight;
}

/* Refuses a body that the gate or a bound refuses. */
static void judge_data(struct conn *conn, struct exchange *ex, size_t payload)
{
    if (ex->gate == GATE_UNASKED && ex->body_bytes + payload > BODY_UNASKED) {
        const struct http_head head = head_of_request(ex->req);
        ex->gate = gate_ask(conn, &head);
    }
    const struct condemned *why = NULL;
    if (ex->gate == GATE_SHUT)
        exchange_withhold(ex);
    else if ((why = judge_body(conn, ex, payload)) != NULL)
        exchange_condemn(ex, why);
}

static struct exchange *find_stream(struct conn *conn, uint32_t stream_id)
{
    struct exchange *ex = conn->by_stream[stream_id / 2 % STREAM_SLOTS];
    if (ex != NULL && ex->stream_id == stream_id)
        return ex;
    for (ex = conn->exchanges; ex != NULL; ex = ex->next)
        if (ex->stream_id == stream_id)
            return ex;
    return NULL;
}

static void on_data(struct conn *conn, h2o_http2_frame_t *frame)
{
    const size_t payload = payload_of(frame);
    struct exchange *ex = find_stream(conn, frame->stream_id);
    if (ex == NULL || (payload == 0 && (frame->flags & H2O_HTTP2_FRAME_FLAG_END_STREAM) == 0))
        count_control(conn);
    if (ex == NULL)
        return;
    h2o_http2_stream_t *stream = stream_of(ex);
    if (stream->state != H2O_HTTP2_STREAM_STATE_RECV_BODY) {
        if (exchange_is_refused(ex))
            discard_data(conn, stream, ex, frame);
        return;
    }
    judge_data(conn, ex, payload);
    if (exchange_is_refused(ex))
        end_body(conn, stream, ex, frame);
}

int h2o_http2_decode_data_payload(h2o_http2_data_payload_t *payload, const h2o_http2_frame_t *frame,
                                  const char **err_desc)
{
    const int ret = guard_real.decode_data(payload, frame, err_desc);
    struct conn *conn = guard_current();
    if (ret == 0 && conn != NULL && conn->drop_payload) {
        conn->drop_payload = false;
        payload->length = 0;
    }
    return ret;
}

/* ---- frames */

static void on_header_frame(struct conn *conn, const h2o_http2_frame_t *frame)
{
    const struct server_limits *limits = &conn->server->limits;
    if (frame->type == H2O_HTTP2_FRAME_TYPE_HEADERS) {
        guard_roll_budget(conn);
        conn->budget.streams++;
        conn->block_frames = 0;
        conn->block_bytes = 0;
        conn->header_ns = loop_now_ns(conn->server->loop);
    } else if (conn_h2(conn)->state >= H2O_HTTP2_CONN_STATE_HALF_CLOSED ||
               ++conn->block_frames > CONTINUATIONS_MAX) {
        conn_doom(conn, GUARD_HEADERS, "too many CONTINUATION frames");
    }
    conn->block_bytes += frame->length;
    if (conn->block_bytes > (size_t)limits->header_bytes_max * HARD_FACTOR_BYTES)
        conn_doom(conn, GUARD_HEADERS, "header block too large");
    if ((frame->flags & H2O_HTTP2_FRAME_FLAG_END_HEADERS) != 0)
        conn->header_ns = 0;
}

static void on_frame(struct conn *conn, h2o_http2_frame_t *frame)
{
    h2o_http2_conn_t *h2 = conn_h2(conn);
    conn->frames++;
    conn->greeted = true;
    switch (frame->type) {
    case H2O_HTTP2_FRAME_TYPE_DATA:
        if (h2->state < H2O_HTTP2_CONN_STATE_HALF_CLOSED)
            on_data(conn, frame);
        break;
    case H2O_HTTP2_FRAME_TYPE_HEADERS:
    case H2O_HTTP2_FRAME_TYPE_CONTINUATION:
        on_header_frame(conn, frame);
        break;
    default:
        count_control(conn);
        if (frame->type >= FRAME_TYPES)
            ignore_frame(frame);
        break;
    }
}

ssize_t h2o_http2_decode_frame(h2o_http2_frame_t *frame, const uint8_t *src, size_t len,
                               const h2o_http2_settings_t *host_settings, const char **err_desc)
{
    const ssize_t ret = guard_real.decode_frame(frame, src, len, host_settings, err_desc);
    if (ret < 0)
        return ret;
    struct conn *conn = guard_current();
    if (conn == NULL) {
        *err_desc = "no connection";
        return H2O_HTTP2_ERROR_INTERNAL; /* fail closed */
    }
    if (conn->doomed == GUARD_NONE)
        on_frame(conn, frame);
    if (conn->doomed != GUARD_NONE) {
        *err_desc = conn->doom_text;
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    return ret;
}

/* ---- header blocks */

static bool is_token(h2o_iovec_t s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.base[i] < 'A' || s.base[i] > 'Z')
            return false;
    return s.len != 0;
}

static bool is_visible(h2o_iovec_t s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.base[i] <= ' ' || s.base[i] == 0x7f)
            return false;
    return true;
}

static bool is_target(h2o_iovec_t s) /* RFC 9113 section 8.3.1: a path, or * */
{
    return s.len != 0 && (s.base[0] == '/' || (s.base[0] == '*' && s.len == 1)) && is_visible(s);
}

static size_t header_bytes(const h2o_req_t *req)
{
    size_t bytes = req->input.path.len + req->input.authority.len + req->input.method.len;
    for (size_t i = 0; i < req->headers.size; i++)
        bytes += req->headers.entries[i].name->len + req->headers.entries[i].value.len;
    return bytes;
}

static const struct condemned *judge_header(const struct conn *conn, const h2o_req_t *req,
                                            size_t content_length)
{
    const struct server_limits *limits = &conn->server->limits;
    if (req->headers.size > limits->headers_max || header_bytes(req) > limits->header_bytes_max)
        return &header_too_large;
    if (!is_token(req->input.method) || !is_target(req->input.path) ||
        !is_visible(req->input.authority))
        return &bad_request;
    if (content_length != SIZE_MAX && content_length > limits->body_max)
        return &body_too_large;
    return NULL;
}

/* Whether a body that its header calls long has no business here. */
static bool gate_is_shut(struct conn *conn, struct exchange *ex, size_t content_length)
{
    if (content_length == SIZE_MAX || content_length <= BODY_UNASKED ||
        stream_of(ex)->_req_body == NULL)
        return false;
    const struct http_head head = head_of_request(ex->req);
    ex->gate = gate_ask(conn, &head);
    return ex->gate == GATE_SHUT;
}

/* A request whose header is complete: it becomes an exchange, refused or not. */
static void begin_request(struct conn *conn, h2o_req_t *req, size_t content_length)
{
    struct exchange *ex = exchange_new(conn, req);
    ex->stream_id = stream_of(ex)->stream_id;
    conn->by_stream[ex->stream_id / 2 % STREAM_SLOTS] = ex;
    const struct condemned *why = judge_header(conn, req, content_length);
    if (why != NULL)
        exchange_condemn(ex, why);
    else if (gate_is_shut(conn, ex, content_length))
        exchange_withhold(ex);
    if (exchange_is_refused(ex))
        exchange_drop_body(ex); /* the library runs it now */
}

int h2o_hpack_parse_headers(h2o_req_t *req, h2o_hpack_header_table_t *table, const uint8_t *src,
                            size_t len, int *pseudo_headers, size_t *content_length,
                            h2o_cache_digests_t **digests, const char **err_desc)
{
    (void)digests; /* of no use here: the library skips cache digests without it */
    struct conn *conn = conn_of_request(req);
    if (conn == NULL)
        return H2O_HTTP2_ERROR_INTERNAL; /* fail closed */
    const struct server_limits *limits = &conn->server->limits;
    const uint32_t hard = limits->headers_max * HARD_FACTOR_FIELDS;
    if (hpack_count(src, len, hard) > hard) {
        conn_doom(conn, GUARD_HEADERS, "too many header fields");
        *err_desc = "too many header fields";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    const bool is_request = pseudo_headers != NULL;
    const size_t before = req->headers.size;
    const int ret = guard_real.parse_headers(req, table, src, len, pseudo_headers, content_length,
                                             NULL, err_desc);
    if (!is_request)
        req->headers.size = before; /* trailers do not become fields of the request */
    else if (ret == 0)
        begin_request(conn, req, *content_length);
    return ret;
}
