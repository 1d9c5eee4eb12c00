/*
 * limit_text.c: seven words of a line. The database checks what it stores; what does not fit here
 * is refused all the same, since a limit that is not understood must not be a limit that is not
 * there.
 */
#include "limits/limit_text.h"

#include <string.h>

#define NUMBERS 6

bool limit_line(struct str *text, struct str *out_line)
{
    if (text->len == 0)
        return false;
    const char *end = memchr(text->data, '\n', text->len);
    size_t len = end ? (size_t)(end - text->data) : text->len, skip = len + (end ? 1 : 0);
    *out_line = (struct str){ text->data, len };
    *text = (struct str){ text->data + skip, text->len - skip };
    return true;
}

/* A number and the space after it. */
static bool take_number(struct str *text, uint64_t *out)
{
    size_t i = 0;
    uint64_t value = 0;
    for (; i < text->len && i < 18 && text->data[i] >= '0' && text->data[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text->data[i] - '0');
    if (i == 0 || i == text->len || text->data[i] != ' ')
        return false;
    *out = value;
    *text = (struct str){ text->data + i + 1, text->len - i - 1 };
    return true;
}

static bool is_rate(uint64_t measure)
{
    return measure == MEASURE_REQUESTS || measure == MEASURE_UNITS;
}

bool limit_parse(struct str line, struct limit *out)
{
    uint64_t n[NUMBERS];
    struct uuid deployment;
    for (size_t i = 0; i < NUMBERS; i++)
        if (!take_number(&line, &n[i]))
            return false;
    if (!uuid_parse(line, &deployment) || n[0] > LIMIT_TENANT_MODEL || n[1] > MEASURE_MONTH ||
        n[2] > UINT32_MAX || n[3] == 0 || (is_rate(n[1]) && (n[2] == 0 || n[4] == 0)))
        return false;
    *out = (struct limit){ .scope = (enum scope_of_limit)n[0],
                           .measure = (enum limit_measure)n[1],
                           .rate = { n[3], (uint32_t)n[2], n[4] },
                           .created_us = n[5] };
    *(n[0] == LIMIT_MODEL ? &out->id : &out->id2) = deployment;
    return true;
}
