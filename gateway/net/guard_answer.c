/*
 * guard_answer.c: the header block of an HTTP/2 answer, in the place of the library's encoder,
 * which hpack_write.c has the reasons for. A block that does not fit one frame is left to the
 * library: its blocks and ours may follow each other, since ours neither use nor change the dynamic
 * table.
 */
#include "net/guard.h"

#include "base/buf.h"
#include "net/hpack_write.h"

enum { SERVER_NAME = 54, DATE_NAME = 33, LENGTH_NAME = 28, LENGTH_DIGITS = 20 };

void guard_answer_link(void)
{
}

static struct str str_of_iovec(h2o_iovec_t v)
{
    return (struct str){ v.base, v.len };
}

static size_t block_max(const h2o_res_t *res, const h2o_iovec_t *server_name)
{
    size_t bytes = HPACK_STATUS_MAX + hpack_field_max(0, server_name->len) +
                   hpack_field_max(0, H2O_TIMESTR_RFC1123_LEN) + hpack_field_max(0, LENGTH_DIGITS);
    for (size_t i = 0; i < res->headers.size; i++)
        bytes +=
            hpack_field_max(res->headers.entries[i].name->len, res->headers.entries[i].value.len);
    return bytes;
}

static uint8_t *put_header(uint8_t *at, const h2o_header_t *header)
{
    unsigned index = 0;
    if (h2o_iovec_is_token(header->name)) {
        const h2o_token_t *token = H2O_STRUCT_FROM_MEMBER(h2o_token_t, buf, header->name);
        index = (unsigned)token->http2_static_table_name_index;
    }
    return hpack_put_field(at, index, str_of_iovec(*header->name), str_of_iovec(header->value));
}

static uint8_t *put_length(uint8_t *at, size_t length)
{
    char digits[LENGTH_DIGITS];
    const size_t len = (size_t)(text_uint(digits, length) - digits);
    return hpack_put_field(at, LENGTH_NAME, STR(""), (struct str){ digits, len });
}

static uint8_t *put_block(uint8_t *at, const h2o_res_t *res, const h2o_timestamp_t *ts,
                          const h2o_iovec_t *server_name, size_t content_length)
{
    at = hpack_put_status(at, res->status);
    if (server_name->len != 0)
        at = hpack_put_field(at, SERVER_NAME, STR(""), str_of_iovec(*server_name));
    at = hpack_put_field(at, DATE_NAME, STR(""),
                         (struct str){ ts->str->rfc1123, H2O_TIMESTR_RFC1123_LEN });
    for (size_t i = 0; i < res->headers.size; i++)
        at = put_header(at, &res->headers.entries[i]);
    return content_length == SIZE_MAX ? at : put_length(at, content_length);
}

void h2o_hpack_flatten_response(h2o_buffer_t **buf, h2o_hpack_header_table_t *header_table,
                                uint32_t stream_id, size_t max_frame_size, h2o_res_t *res,
                                h2o_timestamp_t *ts, const h2o_iovec_t *server_name,
                                size_t content_length)
{
    const size_t most = block_max(res, server_name);
    if (most > max_frame_size || res->status < 100 || res->status > 999) {
        guard_real.flatten_response(buf, header_table, stream_id, max_frame_size, res, ts,
                                    server_name, content_length);
        return;
    }
    uint8_t *frame = (void *)h2o_buffer_reserve(buf, H2O_HTTP2_FRAME_HEADER_SIZE + most).base;
    CHECK(frame != NULL);
    uint8_t *block = frame + H2O_HTTP2_FRAME_HEADER_SIZE;
    const uint8_t *end = put_block(block, res, ts, server_name, content_length);
    h2o_http2_encode_frame_header(frame, (size_t)(end - block), H2O_HTTP2_FRAME_TYPE_HEADERS,
                                  H2O_HTTP2_FRAME_FLAG_END_HEADERS, stream_id);
    (*buf)->size += (size_t)(end - frame);
}
