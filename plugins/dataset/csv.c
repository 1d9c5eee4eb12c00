/*
 * csv.c: one row is read as a whole into a bounded buffer (a quoted cell may hold line ends), then
 * cut into cells in place: doubled quotes shrink, so a cell is never longer than what it was read
 * from. Rejected: a state machine over single bytes, which was slower and longer.
 */
#include "dataset/csv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct csv {
    FILE *file;
    char label[256]; /* the file's name, for errors */
    char *row;       /* CSV_ROW_MAX_BYTES + 1 */
    size_t row_len;
    maas_str *cells, *names;
    char *name_bytes;
    uint32_t columns;
    uint64_t line, next_line;
    long first_row; /* offset behind the names */
    uint64_t first_line;
};

#define FAIL_AT(csv, error, line, fmt, ...)                                                        \
    maas_fail(error, MAAS_E_INVALID, "%s, line %llu: " fmt, (csv)->label,                          \
              (unsigned long long)(line), ##__VA_ARGS__)

/* Reads lines until the quotes are even: then the row is whole. *out_end: nothing was left. */
static maas_status read_row(struct csv *c, bool *out_end, maas_error *error)
{
    bool quoted = false;
    c->row_len = 0;
    c->line = c->next_line;
    do {
        char *at = c->row + c->row_len;
        if (!fgets(at, (int)(CSV_ROW_MAX_BYTES + 1 - c->row_len), c->file))
            break;
        size_t len = strlen(at);
        if (len == 0)
            return FAIL_AT(c, error, c->next_line, "a NUL byte");
        for (const char *quote = at; (quote = memchr(quote, '"', len - (size_t)(quote - at)));
             quote++)
            quoted = !quoted;
        c->row_len += len;
        c->next_line += at[len - 1] == '\n';
        if (at[len - 1] != '\n' && c->row_len >= CSV_ROW_MAX_BYTES)
            return FAIL_AT(c, error, c->line, "longer than %d bytes%s", CSV_ROW_MAX_BYTES,
                           quoted ? " (does a quote end?)" : "");
        if (at[len - 1] != '\n' && !feof(c->file))
            return FAIL_AT(c, error, c->next_line, "a NUL byte");
    } while (quoted && !feof(c->file));
    if (ferror(c->file))
        return maas_fail(error, MAAS_E_UNAVAILABLE, "%s cannot be read: %s", c->label,
                         strerror(errno));
    if (quoted)
        return FAIL_AT(c, error, c->line, "a quote does not end");
    *out_end = c->row_len == 0;
    while (c->row_len && (c->row[c->row_len - 1] == '\n' || c->row[c->row_len - 1] == '\r'))
        c->row_len--;
    c->row[c->row_len] = '\0';
    return MAAS_OK;
}

/* A cell in quotes from *at on, its quotes taken away in place; *at behind it. False: something
 * stands between the closing quote and the next comma. */
static bool cut_quoted(char **at, const char *end, maas_str *out)
{
    char *from = *at + 1, *to = from;
    out->data = from;
    while (from < end && (from[0] != '"' || (from + 1 < end && from[1] == '"'))) {
        from += from[0] == '"';
        *to++ = *from++;
    }
    out->len = (uint64_t)(to - out->data);
    *at = from + 1;
    return *at >= end || **at == ',';
}

static void cut_plain(char **at, const char *end, maas_str *out)
{
    char *comma = memchr(*at, ',', (size_t)(end - *at));
    out->data = *at;
    *at = comma ? comma : *at + (end - *at);
    out->len = (uint64_t)(*at - out->data);
}

/* Cuts the row into at most `max` cells; *out_count is max + 1 when there are more. */
static maas_status cut_row(struct csv *c, uint32_t max, uint32_t *out_count, maas_error *error)
{
    char *at = c->row;
    const char *end = c->row + c->row_len;
    uint32_t count = 0;
    for (;; at++) {
        if (count == max) {
            *out_count = max + 1;
            return MAAS_OK;
        }
        if (at < end && *at == '"') {
            if (!cut_quoted(&at, end, &c->cells[count]))
                return FAIL_AT(c, error, c->line, "column %u: text behind a closing quote",
                               count + 1);
        } else {
            cut_plain(&at, end, &c->cells[count]);
        }
        count++;
        if (at >= end)
            break;
    }
    *out_count = count;
    return MAAS_OK;
}

static maas_status check_names(const struct csv *c, maas_error *error)
{
    for (uint32_t i = 0; i < c->columns; i++) {
        if (c->names[i].len == 0 || c->names[i].len >= CSV_NAME_MAX)
            return FAIL_AT(c, error, 1, "column %u has a name of %llu bytes", i + 1,
                           (unsigned long long)c->names[i].len);
        for (uint32_t k = 0; k < i; k++)
            if (c->names[k].len == c->names[i].len &&
                memcmp(c->names[k].data, c->names[i].data, c->names[i].len) == 0)
                return FAIL_AT(c, error, 1, "two columns are named '%.*s'", (int)c->names[i].len,
                               c->names[i].data);
    }
    return MAAS_OK;
}

/* Keeps the first row's cells as the names. */
static maas_status keep_names(struct csv *c, maas_error *error)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (c->row_len >= 3 && memcmp(c->row, byte_order_mark, 3) == 0)
        memmove(c->row, c->row + 3, (c->row_len -= 3) + 1);
    maas_status status = cut_row(c, CSV_COLUMNS_MAX, &c->columns, error);
    if (status)
        return status;
    if (c->columns > CSV_COLUMNS_MAX)
        return FAIL_AT(c, error, 1, "more than %d columns", CSV_COLUMNS_MAX);
    c->names = calloc(c->columns, sizeof(*c->names));
    c->name_bytes = malloc(c->row_len + 1);
    if (!c->names || !c->name_bytes)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u columns", c->columns);
    memcpy(c->name_bytes, c->row, c->row_len + 1);
    for (uint32_t i = 0; i < c->columns; i++) {
        c->names[i].data = c->name_bytes + (c->cells[i].data - c->row);
        c->names[i].len = c->cells[i].len;
    }
    return check_names(c, error);
}

static maas_status open_file(struct csv *c, const char *dir, const char *name, maas_error *error)
{
    char path[4096];
    bool end = false;
    snprintf(c->label, sizeof(c->label), "%s", name);
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
        return maas_fail(error, MAAS_E_INVALID, "the path of '%s' is too long", c->label);
    c->file = fopen(path, "re");
    if (!c->file)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open '%s': %s", c->label,
                         strerror(errno));
    c->row = malloc(CSV_ROW_MAX_BYTES + 2);
    c->cells = calloc(CSV_COLUMNS_MAX, sizeof(*c->cells));
    c->next_line = 1;
    if (!c->row || !c->cells)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a row");
    maas_status status = read_row(c, &end, error);
    if (!status && end)
        status = maas_fail(error, MAAS_E_INVALID, "%s is empty", c->label);
    if (!status)
        status = keep_names(c, error);
    c->first_row = ftell(c->file);
    c->first_line = c->next_line;
    return status;
}

maas_status csv_open(const char *dir, const char *file, struct csv **out, maas_error *error)
{
    struct csv *c = calloc(1, sizeof(*c));
    if (!c)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for a file");
    maas_status status = open_file(c, dir, file, error);
    if (status)
        csv_close(c);
    else
        *out = c;
    return status;
}

void csv_close(struct csv *c)
{
    if (!c)
        return;
    if (c->file)
        fclose(c->file);
    free(c->row);
    free(c->cells);
    free(c->names);
    free(c->name_bytes);
    free(c);
}

uint32_t csv_columns(const struct csv *c)
{
    return c->columns;
}

maas_str csv_name(const struct csv *c, uint32_t column)
{
    return c->names[column];
}

maas_status csv_find(const struct csv *c, const char *name, uint32_t *out, maas_error *error)
{
    size_t len = strlen(name);
    for (uint32_t i = 0; i < c->columns; i++)
        if (c->names[i].len == len && memcmp(c->names[i].data, name, len) == 0) {
            *out = i;
            return MAAS_OK;
        }
    return maas_fail(error, MAAS_E_INVALID, "%s has no column '%.*s'", c->label,
                     (int)(len < 64 ? len : 64), name);
}

maas_status csv_next(struct csv *c, const maas_str **out_cells, maas_error *error)
{
    bool end = false;
    uint32_t count = 0;
    *out_cells = NULL;
    do {
        maas_status status = read_row(c, &end, error);
        if (status || end)
            return status;
    } while (c->row_len == 0);
    maas_status status = cut_row(c, c->columns, &count, error);
    if (!status && count != c->columns)
        status = FAIL_AT(c, error, c->line, "%s than the %u columns of the first row",
                         count > c->columns ? "more" : "fewer", c->columns);
    if (!status)
        *out_cells = c->cells;
    return status;
}

uint64_t csv_line(const struct csv *c)
{
    return c->line;
}

maas_status csv_rewind(struct csv *c, maas_error *error)
{
    if (fseek(c->file, c->first_row, SEEK_SET) != 0)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "%s cannot be read again: %s", c->label,
                         strerror(errno));
    c->next_line = c->first_line;
    return MAAS_OK;
}

/* Digits with at most one point, as digits x 10^-after; at most 19 digits. */
static const char *read_digits(const char *at, const char *end, uint64_t *out, int *out_after)
{
    int count = 0;
    bool point = false;
    *out = 0;
    *out_after = 0;
    for (; at < end && count < 19; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            break;
        *out = *out * 10 + (uint64_t)(*at - '0');
        *out_after += point;
        count++;
    }
    return count ? at : NULL;
}

/* Plain decimal numbers of up to 2^53 and 22 places: both are doubles, so one division rounds as it
 * must (Clinger, How to read floating point numbers accurately, 1990). False: not one of these. */
static bool plain_number(maas_str cell, double *out)
{
    static const double tens[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    const char *end = cell.data + cell.len;
    const bool minus = cell.data[0] == '-';
    uint64_t digits;
    int after;
    if (read_digits(cell.data + minus, end, &digits, &after) != end || digits > 1ull << 53)
        return false;
    *out = (double)digits / tens[after];
    *out = minus ? -*out : *out;
    return true;
}

/* The worker never leaves the C locale, so strtod's decimal point is a point. */
bool csv_number(maas_str cell, double *out)
{
    char text[64], *stop;
    while (cell.len && cell.data[0] == ' ') {
        cell.data++;
        cell.len--;
    }
    while (cell.len && cell.data[cell.len - 1] == ' ')
        cell.len--;
    if (cell.len == 0 || cell.len >= sizeof(text))
        return false;
    if (plain_number(cell, out))
        return true;
    memcpy(text, cell.data, cell.len);
    text[cell.len] = '\0';
    *out = strtod(text, &stop);
    return *stop == '\0' && isfinite(*out);
}
