/* moment: moments as people type them, without the C library's locale and zone. */
#include "ops/moment.h"

/* Takes n digits off s. */
static bool digits(struct str *s, size_t n, int64_t *out)
{
    uint64_t v;
    if (s->n < n || !str_u64(str_make(s->p, n), 9999, &v))
        return false;
    *s = str_from(*s, n);
    *out = (int64_t)v;
    return true;
}

static bool sign(struct str *s, char c)
{
    if (!s->n || s->p[0] != c)
        return false;
    *s = str_from(*s, 1);
    return true;
}

static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t days_of_month(int64_t y, int64_t m)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[m - 1] + (m == 2 && leap(y));
}

static int64_t days_since_1970(int64_t y, int64_t m, int64_t d)
{
    int64_t n = d - 1;
    for (int64_t i = 1; i < m; i++)
        n += days_of_month(y, i);
    int64_t p = y - 1;
    return n + (y - 1970) * 365 + (p / 4 - p / 100 + p / 400) -
           (1969 / 4 - 1969 / 100 + 1969 / 400);
}

bool moment_span(struct str s, int64_t *out)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    uint64_t v;
    if (s.n < 2 || !str_u64(str_make(s.p, s.n - 1), 1000000000, &v))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (s.p[s.n - 1] == units[i].unit) {
            *out = (int64_t)v * units[i].ms;
            return true;
        }
    }
    return false;
}

bool moment_parse(struct str s, int64_t now_ms, int64_t *out)
{
    int64_t span, y, m, d, h = 0, min = 0, sec = 0;
    if (moment_span(s, &span)) {
        *out = now_ms + span;
        return true;
    }
    if (!digits(&s, 4, &y) || !sign(&s, '-') || !digits(&s, 2, &m) || !sign(&s, '-') ||
        !digits(&s, 2, &d))
        return false;
    if (y < 1970 || m < 1 || m > 12 || d < 1 || d > days_of_month(y, m))
        return false;
    if (sign(&s, 'T') || sign(&s, ' ')) {
        if (!digits(&s, 2, &h) || !sign(&s, ':') || !digits(&s, 2, &min))
            return false;
        if (sign(&s, ':') && !digits(&s, 2, &sec))
            return false;
        sign(&s, 'Z');
    }
    if (s.n || h > 23 || min > 59 || sec > 59)
        return false;
    *out = (((days_since_1970(y, m, d) * 24 + h) * 60 + min) * 60 + sec) * 1000;
    return true;
}
