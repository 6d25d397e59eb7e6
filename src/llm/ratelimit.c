/* ratelimit: one table of header names, and two forms of time. */
#include "llm/ratelimit.h"

#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define DAY_MS INT64_C(86400000)

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"x-ratelimit-limit-requests", offsetof(struct ratelimit, requests.limit)},
    {"x-ratelimit-remaining-requests", offsetof(struct ratelimit, requests.left)},
    {"x-ratelimit-reset-requests", offsetof(struct ratelimit, requests.reset_ms)},
    {"x-ratelimit-limit-tokens", offsetof(struct ratelimit, tokens.limit)},
    {"x-ratelimit-remaining-tokens", offsetof(struct ratelimit, tokens.left)},
    {"x-ratelimit-reset-tokens", offsetof(struct ratelimit, tokens.reset_ms)},
    {"anthropic-ratelimit-requests-limit", offsetof(struct ratelimit, requests.limit)},
    {"anthropic-ratelimit-requests-remaining", offsetof(struct ratelimit, requests.left)},
    {"anthropic-ratelimit-requests-reset", offsetof(struct ratelimit, requests.reset_ms)},
    {"anthropic-ratelimit-tokens-limit", offsetof(struct ratelimit, tokens.limit)},
    {"anthropic-ratelimit-tokens-remaining", offsetof(struct ratelimit, tokens.left)},
    {"anthropic-ratelimit-tokens-reset", offsetof(struct ratelimit, tokens.reset_ms)},
};

void ratelimit_init(struct ratelimit *r)
{
    *r = (struct ratelimit){{-1, -1, -1}, {-1, -1, -1}};
}

/* A unit's length in ms at the beginning of s, which loses its letters; 0: none. */
static int64_t take_unit(struct str *s)
{
    static const struct {
        struct str letters;
        int64_t ms;
    } units[] = {{STR("ms"), 1}, {STR("s"), 1000}, {STR("m"), 60000}, {STR("h"), 3600000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (str_starts(*s, units[i].letters)) {
            *s = str_from(*s, units[i].letters.n);
            return units[i].ms;
        }
    return 0;
}

int64_t ratelimit_span_ms(struct str s)
{
    double sum = 0;
    s = str_trim(s);
    if (!s.n)
        return -1;
    while (s.n) {
        double v = 0, place = 1;
        size_t digits = 0;
        for (; s.n && s.p[0] >= '0' && s.p[0] <= '9' && digits < 10; digits++, s = str_from(s, 1))
            v = v * 10 + (s.p[0] - '0');
        if (digits && s.n && s.p[0] == '.')
            for (s = str_from(s, 1); s.n && s.p[0] >= '0' && s.p[0] <= '9'; s = str_from(s, 1))
                v += (s.p[0] - '0') * (place /= 10);
        if (!digits)
            return -1;
        int64_t unit = s.n ? take_unit(&s) : 1000;
        if (!unit)
            return -1;
        sum += v * (double)unit;
    }
    return sum > (double)DAY_MS ? DAY_MS : (int64_t)(sum + 0.5);
}

/* RFC 3339 in UTC ("2026-11-23T10:00:00Z"), as milliseconds from now on; -1: not one. */
static int64_t until_ms(struct str s, int64_t wall_ms)
{
    char text[32];
    struct tm t = {0};
    int end = 0;
    if (s.n < 20 || s.n >= sizeof text || s.p[s.n - 1] != 'Z')
        return -1;
    str_copy(text, sizeof text, s);
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
               &t.tm_min, &t.tm_sec, &end) != 6 ||
        end != 19 || t.tm_year < 1970)
        return -1;
    t.tm_year -= 1900;
    t.tm_mon--;
    int64_t ms = (int64_t)timegm(&t) * 1000 - wall_ms;
    return ms < 0 ? 0 : ms > DAY_MS ? DAY_MS : ms;
}

void ratelimit_take(struct ratelimit *r, struct str name, struct str value, int64_t wall_ms)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!str_ieq(name, str_c(fields[i].name)))
            continue;
        int64_t *to = (int64_t *)(void *)((char *)r + fields[i].offset);
        uint64_t n;
        if (to == &r->requests.reset_ms || to == &r->tokens.reset_ms) {
            int64_t ms = until_ms(value, wall_ms);
            ms = ms < 0 ? ratelimit_span_ms(value) : ms;
            *to = ms < 0 ? *to : ms;
        } else if (str_u64(value, INT64_MAX / 1000000, &n)) {
            *to = (int64_t)n;
        }
        return;
    }
}
