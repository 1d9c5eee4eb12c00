/*
 * records.c: CSV by csv.c; a line of JSON by jansson, into values that live until the next row.
 */
#include "dataset/records.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataset/csv.h"

enum { LINE_MAX_BYTES = CSV_ROW_MAX_BYTES, NUMBER_MAX = 64 };

struct records {
    const char *names[RECORDS_NAMES_MAX];
    uint32_t count;
    maas_str values[RECORDS_NAMES_MAX];
    struct csv *csv; /* or NULL, and then the rest */
    uint32_t columns[RECORDS_NAMES_MAX];
    FILE *file;
    char label[64], *line;
    uint64_t number;
    json_t *object;
    char numbers[RECORDS_NAMES_MAX][NUMBER_MAX];
};

static bool there(const char *dir, const char *part, const char *ending)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.%s", dir, part, ending);
    return access(path, F_OK) == 0;
}

bool records_exist(const char *dir, const char *part)
{
    return there(dir, part, "csv") || there(dir, part, "jsonl");
}

/* ---- opening */

static maas_status open_csv(struct records *r, const char *dir, const char *part, maas_error *error)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.csv", part);
    maas_status status = csv_open(dir, name, &r->csv, error);
    for (uint32_t i = 0; i < r->count && !status; i++)
        status = csv_find(r->csv, r->names[i], &r->columns[i], error);
    return status;
}

static maas_status open_lines(struct records *r, const char *dir, const char *part,
                              maas_error *error)
{
    char path[4096];
    snprintf(r->label, sizeof(r->label), "%s.jsonl", part);
    snprintf(path, sizeof(path), "%s/%s", dir, r->label);
    r->line = malloc(LINE_MAX_BYTES + 2);
    r->file = fopen(path, "re");
    if (!r->line)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to read %s", r->label);
    return r->file ? MAAS_OK
                   : maas_fail(error, MAAS_E_NOT_FOUND, "%s cannot be opened: %s", r->label,
                               strerror(errno));
}

maas_status records_open(const char *dir, const char *part, const char *const *names,
                         uint32_t count, struct records **out, maas_error *error)
{
    const bool lines = there(dir, part, "jsonl");
    if (lines && there(dir, part, "csv"))
        return maas_fail(error, MAAS_E_INVALID, "there are both %s.csv and %s.jsonl", part, part);
    struct records *r = calloc(1, sizeof(*r));
    if (!r)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory to read the data");
    r->count = count;
    for (uint32_t i = 0; i < count; i++)
        r->names[i] = names[i];
    maas_status status = lines ? open_lines(r, dir, part, error) : open_csv(r, dir, part, error);
    if (status) {
        records_close(r);
        return status;
    }
    *out = r;
    return MAAS_OK;
}

void records_close(struct records *r)
{
    if (!r)
        return;
    csv_close(r->csv);
    json_decref(r->object);
    if (r->file)
        fclose(r->file);
    free(r->line);
    free(r);
}

/* ---- rows */

static maas_status fail_at(const struct records *r, const char *what, const char *detail,
                           maas_error *error)
{
    return maas_fail(error, MAAS_E_INVALID, "%s, line %llu: %s%s", r->label,
                     (unsigned long long)r->number, what, detail);
}

/* The next line that is not blank; *out_len 0: the end. */
static maas_status read_line(struct records *r, size_t *out_len, maas_error *error)
{
    for (*out_len = 0; fgets(r->line, LINE_MAX_BYTES + 2, r->file);) {
        size_t len = strlen(r->line);
        r->number++;
        if (len > LINE_MAX_BYTES)
            return fail_at(r, "longer than the megabyte that a row may have", "", error);
        if (len == 0 || (r->line[len - 1] != '\n' && !feof(r->file)))
            return fail_at(r, "a NUL byte", "", error);
        if (strspn(r->line, " \t\r\n") == len)
            continue;
        *out_len = len;
        return MAAS_OK;
    }
    return ferror(r->file) ? maas_fail(error, MAAS_E_UNAVAILABLE, "%s cannot be read: %s", r->label,
                                       strerror(errno))
                           : MAAS_OK;
}

static maas_status take_value(struct records *r, uint32_t i, maas_error *error)
{
    const json_t *value = json_object_get(r->object, r->names[i]);
    char *number = r->numbers[i];
    if (json_is_string(value)) {
        r->values[i] = (maas_str){ json_string_value(value), json_string_length(value) };
        return MAAS_OK;
    }
    if (json_is_integer(value))
        snprintf(number, NUMBER_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, NUMBER_MAX, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(number, NUMBER_MAX, "%s", json_is_true(value) ? "true" : "false");
    else
        return fail_at(r, value ? "no text or number as " : "there is no ", r->names[i], error);
    r->values[i] = maas_text(number);
    return MAAS_OK;
}

static maas_status next_line(struct records *r, const maas_str **out, maas_error *error)
{
    size_t len;
    json_error_t why;
    maas_status status = read_line(r, &len, error);
    *out = NULL;
    if (status || len == 0)
        return status;
    json_decref(r->object);
    r->object = json_loadb(r->line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!json_is_object(r->object))
        return fail_at(r, "no JSON object", "", error);
    for (uint32_t i = 0; i < r->count && !status; i++)
        status = take_value(r, i, error);
    *out = r->values;
    return status;
}

static maas_status next_row(struct records *r, const maas_str **out, maas_error *error)
{
    const maas_str *cells = NULL;
    maas_status status = csv_next(r->csv, &cells, error);
    for (uint32_t i = 0; cells && i < r->count; i++)
        r->values[i] = cells[r->columns[i]];
    *out = cells ? r->values : NULL;
    return status;
}

maas_status records_next(struct records *r, const maas_str **out, maas_error *error)
{
    return r->csv ? next_row(r, out, error) : next_line(r, out, error);
}

uint64_t records_line(const struct records *r)
{
    return r->csv ? csv_line(r->csv) : r->number;
}
