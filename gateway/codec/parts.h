/*
 * parts.h: what the surfaces of the codec share: one decode under way, naming wrong fields, the
 * table of datatypes. Private to the codec layer.
 */
#ifndef MAAS_CODEC_PARTS_H
#define MAAS_CODEC_PARTS_H

#include "codec/codec.h"
#include "codec/json.h"

/* ---- one decode, for the length of the call */
struct decode {
    struct codec_context *context;
    struct engine_job *job;
    struct engine_request *request;
    struct str *out_param;
    maas_error *error;
};

struct field_name {
    char text[CODEC_PARAM_MAX];
};
struct field_name field_name(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* MAAS_E_INVALID with the field's name and a reason. */
maas_status reject(const struct decode *d, const char *field, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
maas_status no_memory(const struct decode *d);                         /* MAAS_E_EXHAUSTED */
void *decode_alloc(const struct decode *d, size_t count, size_t size); /* NULL: none, or overflow */

/* For "%.*s" of a caller's text: never more than 48 bytes of it. */
int shown(struct str s);

/* ---- members of an object by name. A member twice is refused, an unknown one too unless
 * `tolerant`. */
struct place { /* where the object stands, made a text for refusals only: "list[index].member" */
    const char *list; /* NULL: at the top */
    size_t index;
    const char *member; /* "": the list's element itself */
};
#define AT_TOP ((struct place){ NULL, 0, "" })
struct field_name place_name(struct place at);
struct member {
    const char *name;
    bool there;
    struct json_value value;
};
maas_status read_members(const struct decode *d, struct json_value object, struct place at,
                         struct member *members, size_t count, bool tolerant);

/* ---- datatypes: the ABI's, v2's names, JSON's cells */
struct datatype {
    const char *name;
    maas_dtype dtype;
    bool json; /* FP16 and BF16 have no form in JSON */
    enum json_cell cell;
    size_t size;
};
const struct datatype *datatype_of(maas_dtype dtype); /* NULL: none of v2's */
const struct datatype *datatype_named(struct str name);

/* One element as JSON. False: NaN, infinity or a type without a form in JSON. */
bool cell_write(struct buf *out, const struct datatype *type, const void *data, size_t index);
/* `count` of them with commas between; where it is false, *out_at is the element. */
bool cells_write(struct buf *out, const struct datatype *type, const void *data, size_t count,
                 size_t *out_at);

/* A string, a number or a boolean as the text the engine parses; false: it is none of them. */
bool scalar_text(const struct decode *d, struct json_value value, struct str *out);

/* ---- the surfaces: a parsed body to a request, outputs to an answer */
enum { TASK_INPUTS_MAX = 4, TASK_PARAMETERS_MAX = 4 };
typedef maas_status decode_fn(const struct decode *d, struct json_value root);
typedef maas_status encode_fn(const struct codec_context *context, const maas_named *outputs,
                              uint32_t count, uint32_t rows, struct buf *out, maas_error *error);
decode_fn v2_decode, regression_decode, text_decode, image_decode, recommendation_decode;
encode_fn v2_encode, regression_encode, classification_encode, recommendation_encode;

const maas_named *output_named(const maas_named *outputs, uint32_t count, struct str name);
static inline struct str str_from(maas_str s)
{
    return (struct str){ s.data, (size_t)s.len };
}

#endif
