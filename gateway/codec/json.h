/*
 * json.h: JSON text to values and numbers to text, on simdjson and std::to_chars. The one place
 * where C++ is spoken (json.cc, which includes this as extern "C"); nothing throws across this
 * border. [one thread per reader]
 *
 * Values point into the reader and live until its next parse. Depth is at most JSON_DEPTH_MAX.
 */
#ifndef MAAS_CODEC_JSON_H
#define MAAS_CODEC_JSON_H

#include "base/base.h"

#define JSON_DEPTH_MAX  16
#define JSON_NUMBER_MAX 32 /* bytes of a number's text */

struct json_reader; /* heap; keeps its memory between parses */

struct json_value { /* opaque */
    const void *document;
    size_t at;
};

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INTEGER,
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_reader *json_reader_new(void); /* NULL: no memory */
void json_reader_free(struct json_reader *reader);
/* behind: bytes that may be read behind the text, whatever they hold; with JSON_PADDING of them the
 * text is read where it is, with fewer it is copied first. MAAS_E_INVALID says what is wrong. */
#define JSON_PADDING 64
maas_status json_parse(struct json_reader *reader, struct str text, size_t behind, size_t bytes_max,
                       struct json_value *out_root, maas_error *error) MUST_USE;

enum json_type json_type(struct json_value value);
const char *json_type_name(enum json_type type); /* "a number", "an object" */

/* Each is false when the value has another type; integers out of range are false too. */
bool json_bool(struct json_value value, bool *out);
bool json_int64(struct json_value value, int64_t *out);
bool json_uint64(struct json_value value, uint64_t *out);
bool json_double(struct json_value value, double *out); /* integers are converted */
bool json_string(struct json_value value, struct str *out);

/* Children of an array or an object, in their order; none of any other type. */
struct json_iter {
    struct json_value at, end;
    enum json_type of;
};
struct json_iter json_children(struct json_value value);
bool json_next(struct json_iter *iter, struct str *out_key, struct json_value *out_value);

/* All leaves of nested arrays in order, as cells of one type. */
enum json_cell {
    JSON_CELL_BOOL, /* uint8_t 0 or 1 */
    JSON_CELL_I8,
    JSON_CELL_I16,
    JSON_CELL_I32,
    JSON_CELL_I64,
    JSON_CELL_U8,
    JSON_CELL_U16,
    JSON_CELL_U32,
    JSON_CELL_U64,
    JSON_CELL_F32,
    JSON_CELL_F64,
    JSON_CELL_STRING /* struct str, in the reader's memory */
};
enum json_flat { JSON_FLAT_OK, JSON_FLAT_TYPE, JSON_FLAT_RANGE, JSON_FLAT_MORE };
/* Writes at most `room` cells. levels: how many arrays deep the leaves may lie (0: `value` is the
 * leaf, 1: a plain list). *out_count: cells written, which is also where it went wrong. */
enum json_flat json_flatten(struct json_value value, unsigned levels, enum json_cell cell,
                            void *out, size_t room, size_t *out_count);

/* The shortest text that reads back as the same number; the length, or 0 for NaN and infinities,
 * which JSON has not. No NUL. */
size_t json_format_f64(double value, char out[JSON_NUMBER_MAX]);
size_t json_format_f32(float value, char out[JSON_NUMBER_MAX]);
size_t json_format_i64(int64_t value, char out[JSON_NUMBER_MAX]);
size_t json_format_u64(uint64_t value, char out[JSON_NUMBER_MAX]);

#endif
