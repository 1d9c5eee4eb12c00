/*
 * classification.c: POST /v1/text-classification and POST /v1/image-classification.
 *
 *     {"text": "…" | ["…" …], "top_k"?, "explain"?, "model"?}
 *     {"image": base64 | [base64 …], "top_k"?, "explain"?, "model"?}
 *     an image itself, behind a JSON head of the gateway's with what stood in the query
 *
 *     {"model", "version", "label", "score", "labels": [{"label", "score"} …], "explanation"?}
 *     {"model", "version", "results": [{"label", …} …]}                        a list in
 *
 * A picture may come as a data URL: what stands before its comma is not looked at, the decoder of
 * the model finds out what it is.
 */
#include <string.h>

#include "base/base64.h"
#include "codec/ranked.h"

struct form { /* how the two differ */
    const char *task, *what, *member;
};
static const struct form TEXT = { "text-classification", "a text classifier", "text" };
static const struct form IMAGE = { "image-classification", "an image classifier", "image" };

static maas_status read_common(const struct decode *d, struct json_value root,
                               const struct form *form, struct member members[4],
                               const maas_port **out_port)
{
    members[0] = (struct member){ .name = form->member };
    members[1] = (struct member){ .name = "top_k" };
    members[2] = (struct member){ .name = "explain" };
    members[3] = (struct member){ .name = "model" };
    maas_status status = read_members(d, root, AT_TOP, members, 4, false);
    if (status == MAAS_OK)
        status = task_check_model(d, &members[3]);
    if (status == MAAS_OK)
        status = task_is(d, form->task, form->what);
    if (status == MAAS_OK)
        status = task_read_parameter(d, &members[1]);
    if (status == MAAS_OK)
        status = task_read_explain(d, &members[2]);
    *out_port = task_text_port(d, form->member, 1);
    if (status == MAAS_OK && !*out_port)
        status = reject(d, "model", "the model takes no '%s'", form->member);
    return status;
}

/* The member's texts as the rows of the request's one input. */
static maas_status read_rows(const struct decode *d, const struct member *member,
                             maas_str **out_texts, size_t *out_rows)
{
    if (!member->there)
        return reject(d, member->name, "'%s' is missing", member->name);
    maas_status status =
        task_read_texts(d, member, false, out_texts, out_rows, &d->context->single);
    return status == MAAS_OK ? task_check_rows(d, member->name, *out_rows) : status;
}

maas_status text_decode(const struct decode *d, struct json_value root)
{
    struct member members[4];
    const maas_port *port;
    maas_str *texts;
    size_t rows;
    maas_status status = read_common(d, root, &TEXT, members, &port);
    if (status == MAAS_OK)
        status = read_rows(d, &members[0], &texts, &rows);
    return status == MAAS_OK ? task_add_texts(d, port, texts, rows, SIZE_MAX) : status;
}

static struct str without_data_url(struct str text)
{
    const char *comma = str_prefix(text, STR("data:")) ? memchr(text.data, ',', text.len) : NULL;
    if (!comma)
        return text;
    return (struct str){ comma + 1, text.len - (size_t)(comma + 1 - text.data) };
}

static maas_status decode_picture(const struct decode *d, const char *at, maas_str *picture)
{
    struct str text = without_data_url(str_from(*picture));
    size_t len;
    char *bytes = decode_alloc(d, BASE64_ROOM(text.len), 1);
    if (!bytes)
        return no_memory(d);
    if (!base64_decode(text, bytes, &len))
        return reject(d, at, "'%s' is not base64", at);
    *picture = (maas_str){ bytes, len };
    return MAAS_OK;
}

static maas_status decode_pictures(const struct decode *d, maas_str *pictures, size_t rows)
{
    maas_status status = MAAS_OK;
    for (size_t i = 0; status == MAAS_OK && i < rows; i++) {
        struct field_name at =
            d->context->single ? field_name("image") : field_name("image[%zu]", i);
        status = decode_picture(d, at.text, &pictures[i]);
    }
    return status;
}

/* The picture stands behind the head. */
static maas_status take_octets(const struct decode *d, const struct member *member,
                               maas_str **out_pictures, size_t *out_rows)
{
    struct str octets = d->context->octets;
    if (member->there)
        return reject(d, "image", "'image' is there twice");
    if (!(*out_pictures = decode_alloc(d, 1, sizeof(**out_pictures))))
        return no_memory(d);
    (*out_pictures)[0] = (maas_str){ octets.data, octets.len };
    *out_rows = 1;
    d->context->single = true;
    return MAAS_OK;
}

maas_status image_decode(const struct decode *d, struct json_value root)
{
    struct member members[4];
    const maas_port *port;
    maas_str *pictures;
    size_t rows;
    maas_status status = read_common(d, root, &IMAGE, members, &port);
    if (status != MAAS_OK)
        return status;
    if (d->context->octets.data) {
        status = take_octets(d, &members[0], &pictures, &rows);
    } else {
        status = read_rows(d, &members[0], &pictures, &rows);
        if (status == MAAS_OK)
            status = decode_pictures(d, pictures, rows);
    }
    return status == MAAS_OK ? task_add_texts(d, port, pictures, rows, SIZE_MAX) : status;
}

static bool write_result(struct buf *out, const void *columns, uint32_t row)
{
    const struct ranked *r = columns;
    size_t first = row * r->width;
    buf_str(out, STR("\"label\":"));
    buf_json(out, str_from(r->names[first]));
    buf_str(out, STR(",\"score\":"));
    if (!ranked_write_score(out, r, first))
        return false;
    buf_add(out, ",", 1);
    return ranked_write(out, r, row, "labels", "label");
}

maas_status classification_encode(const struct codec_context *context, const maas_named *outputs,
                                  uint32_t count, uint32_t rows, struct buf *out, maas_error *error)
{
    struct ranked r;
    if (!ranked_find(outputs, count, "label", rows, &r) || r.width == 0)
        return fail(error, MAAS_E_INTERNAL,
                    "the model gives no outputs 'label' and 'score' of [rows, k]");
    return task_encode(context, rows, write_result, &r, out, error);
}
