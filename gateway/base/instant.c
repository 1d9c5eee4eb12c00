/*
 * instant.c: digits at their places, then the calendar's own arithmetic.
 */
#include "base/instant.h"

static bool number_at(struct str s, size_t at, size_t digits, unsigned *out)
{
    unsigned n = 0;
    if (at + digits > s.len)
        return false;
    for (size_t i = at; i < at + digits; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.data[i] - '0');
    }
    *out = n;
    return true;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar, counting years from March. */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

static bool is_day(unsigned year, unsigned month, unsigned day)
{
    if (month < 1 || month > 12 || day < 1)
        return false;
    int64_t next = month == 12 ? days_of(year + 1, 1, 1) : days_of(year, month + 1, 1);
    return days_of(year, month, 1) + day - 1 < next;
}

/* ".5", ".123456789": microseconds; *at moves behind it. */
static bool fraction_at(struct str s, size_t *at, uint64_t *out_us)
{
    uint64_t unit = 100000;
    *out_us = 0;
    if (*at >= s.len || s.data[*at] != '.')
        return true;
    size_t from = ++*at;
    for (; *at < s.len && s.data[*at] >= '0' && s.data[*at] <= '9'; ++*at, unit /= 10)
        *out_us += unit * (uint64_t)(s.data[*at] - '0');
    return *at > from && *at - from <= 9;
}

/* "Z" or "+01:00" to the end of the text: seconds east of Greenwich. */
static bool offset_at(struct str s, size_t at, int64_t *out_s)
{
    unsigned hours, minutes;
    if (at + 1 == s.len && (s.data[at] == 'Z' || s.data[at] == 'z')) {
        *out_s = 0;
        return true;
    }
    if (at + 6 != s.len || (s.data[at] != '+' && s.data[at] != '-') || s.data[at + 3] != ':' ||
        !number_at(s, at + 1, 2, &hours) || !number_at(s, at + 4, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *out_s = (int64_t)(hours * 3600 + minutes * 60) * (s.data[at] == '-' ? -1 : 1);
    return true;
}

bool instant_parse(struct str s, uint64_t *out_us)
{
    unsigned year, month, day, hour, minute, second;
    uint64_t fraction_us;
    int64_t offset_s;
    size_t at = 19;
    if (s.len < 20 || s.data[4] != '-' || s.data[7] != '-' || (s.data[10] | 0x20) != 't' ||
        s.data[13] != ':' || s.data[16] != ':' || !number_at(s, 0, 4, &year) ||
        !number_at(s, 5, 2, &month) || !number_at(s, 8, 2, &day) || !number_at(s, 11, 2, &hour) ||
        !number_at(s, 14, 2, &minute) || !number_at(s, 17, 2, &second))
        return false;
    if (year < 1970 || !is_day(year, month, day) || hour > 23 || minute > 59 || second > 59 ||
        !fraction_at(s, &at, &fraction_us) || !offset_at(s, at, &offset_s))
        return false;
    int64_t seconds =
        days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s;
    if (seconds < 0)
        return false;
    *out_us = (uint64_t)seconds * 1000000 + fraction_us;
    return true;
}
