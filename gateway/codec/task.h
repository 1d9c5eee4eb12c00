/*
 * task.h: what the tasks' surfaces (/v1/…) share: members that all of them have, texts as tensors,
 * the frame of an answer, the explanation. Private to the codec layer.
 */
#ifndef MAAS_CODEC_TASK_H
#define MAAS_CODEC_TASK_H

#include "codec/parts.h"

/* ---- reading */

/* "model", when it is there, must be the name that the request was routed by. */
maas_status task_check_model(const struct decode *d, const struct member *model);
/* "explain": true or false. Refused when the model does not explain. */
maas_status task_read_explain(const struct decode *d, const struct member *explain);
/* A scalar that the model's own parameter of that name is set to; the model must have one. */
maas_status task_read_parameter(const struct decode *d, const struct member *member);
/* The model does this task, by its signature; else `what` it is not ("a text classifier"). */
maas_status task_is(const struct decode *d, const char *task, const char *what);
/* The signature's string input of that name and so many dimensions, or NULL. */
const maas_port *task_text_port(const struct decode *d, const char *name, int32_t ndim);

/* A text, or a list of texts; a number in place of a text is refused unless `ids`: then a whole
 * number is taken as its digits. *out_single: it was no list. Texts live in the codec or the job.
 * *out NULL and *out_count 0 when the member is not there. */
maas_status task_read_texts(const struct decode *d, const struct member *member, bool ids,
                            maas_str **out, size_t *out_count, bool *out_single);
/* One text or id. at: the field's name for errors. */
maas_status task_read_text(const struct decode *d, struct json_value value, const char *at,
                           bool ids, maas_str *out);
/* More rows than the request may have. */
maas_status task_check_rows(const struct decode *d, const char *field, size_t rows);
/* Adds an input to the request: rows x width texts, or rows of them when width is SIZE_MAX. */
maas_status task_add_texts(const struct decode *d, const maas_port *port, maas_str *texts,
                           size_t rows, size_t width);

/* ---- writing */

/* Writes the members of one result; false: a number that JSON has not. */
typedef bool task_row(struct buf *out, const void *columns, uint32_t row);
/* {"model", "version", members…} of a single row, else {…, "results": [{members…} …]}; each result
 * has its "explanation" when it was asked for. */
maas_status task_encode(const struct codec_context *context, uint32_t rows, task_row *write,
                        const void *columns, struct buf *out, maas_error *error);
/* An output of `width` elements a row (0: any) and this cell, or NULL; 1 may have one dimension. */
const maas_named *task_column(const maas_named *outputs, uint32_t count, struct str name,
                              uint32_t rows, int64_t width, bool text,
                              const struct datatype **out_type);

#endif
