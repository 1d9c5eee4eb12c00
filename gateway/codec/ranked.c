/*
 * ranked.c: names with scores (ranked.h). A row that has fewer than the others is filled up with
 * empty names, which are not written.
 */
#include "codec/ranked.h"

bool ranked_find(const maas_named *outputs, uint32_t count, const char *name, uint32_t rows,
                 struct ranked *out)
{
    const struct datatype *type;
    const maas_named *names = task_column(outputs, count, str_of(name), rows, 0, true, &type);
    out->scores = task_column(outputs, count, STR("score"), rows, 0, false, &out->score_type);
    if (!names || !out->scores)
        return false;
    size_t wide = names->tensor.ndim == 2 ? (size_t)names->tensor.shape[1] : 1;
    size_t scores = out->scores->tensor.ndim == 2 ? (size_t)out->scores->tensor.shape[1] : 1;
    out->names = names->tensor.data;
    out->width = wide;
    return wide == scores;
}

bool ranked_write_score(struct buf *out, const struct ranked *r, size_t at)
{
    return cell_write(out, r->score_type, r->scores->tensor.data, at);
}

bool ranked_write(struct buf *out, const struct ranked *r, uint32_t row, const char *key,
                  const char *name_key)
{
    size_t from = row * r->width;
    buf_fmt(out, "\"%s\":[", key);
    for (size_t i = 0; i < r->width && r->names[from + i].len && !out->failed; i++) {
        buf_fmt(out, "%s{\"%s\":", i ? "," : "", name_key);
        buf_json(out, str_from(r->names[from + i]));
        buf_str(out, STR(",\"score\":"));
        if (!ranked_write_score(out, r, from + i))
            return false;
        buf_add(out, "}", 1);
    }
    buf_add(out, "]", 1);
    return true;
}
