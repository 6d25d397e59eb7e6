/* metrics_text: families, samples, and histograms over fixed bounds. */
#include "core/metrics_text.h"

#include <math.h>
#include <stdio.h>

static const char *const bounds_s[] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
                                       "0.01",   "0.025",   "0.05",   "0.1",   "0.25",   "0.5",
                                       "1",      "2.5",     "5",      "10",    "30",     "60",
                                       "120",    "300",     "600"};
static const double bounds_us[] = {100,  250,  500,  1e3,   2.5e3, 5e3,   10e3,
                                   25e3, 50e3, 1e5,  2.5e5, 5e5,   1e6,   2.5e6,
                                   5e6,  10e6, 30e6, 60e6,  120e6, 300e6, 600e6};
_Static_assert(sizeof bounds_s / sizeof *bounds_s == sizeof bounds_us / sizeof *bounds_us, "pairs");

void metrics_text_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(struct buf *b, struct str v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '\n')
            buf_lit(b, "\\n");
        else if (v.p[i] == '"' || v.p[i] == '\\')
            buf_printf(b, "\\%c", v.p[i]);
        else
            buf_char(b, v.p[i]);
    }
}

/* name, suffix, {labels, le} and the space before the value. */
static void put_series(struct buf *b, const char *name, const char *suffix,
                       const struct metrics_label *labels, size_t n, const char *le)
{
    buf_printf(b, "%s%s", name, suffix);
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s=\"", i ? "," : "{", labels[i].name);
        put_value(b, labels[i].value);
        buf_char(b, '"');
    }
    if (le)
        buf_printf(b, "%sle=\"%s\"", n ? "," : "{", le);
    if (n || le)
        buf_char(b, '}');
    buf_char(b, ' ');
}

void metrics_text_u64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      uint64_t value)
{
    put_series(b, name, "", labels, n, NULL);
    buf_u64(b, value);
    buf_char(b, '\n');
}

void metrics_text_i64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      int64_t value)
{
    put_series(b, name, "", labels, n, NULL);
    buf_i64(b, value);
    buf_char(b, '\n');
}

static void put_f64(struct buf *b, double v)
{
    if (isnan(v))
        buf_lit(b, "NaN\n");
    else if (isinf(v))
        buf_str(b, v > 0 ? STR("+Inf\n") : STR("-Inf\n"));
    else
        buf_printf(b, "%.15g\n", v);
}

void metrics_text_f64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      double value)
{
    put_series(b, name, "", labels, n, NULL);
    put_f64(b, value);
}

void metrics_text_seconds(struct buf *b, const char *name, const struct metrics_label *labels,
                          size_t n, const struct histogram *h)
{
    uint64_t count = histogram_count(h);
    for (size_t i = 0; i < sizeof bounds_us / sizeof *bounds_us; i++) {
        uint64_t below = histogram_count_below(h, bounds_us[i]);
        put_series(b, name, "_bucket", labels, n, bounds_s[i]);
        buf_u64(b, below < count ? below : count);
        buf_char(b, '\n');
    }
    put_series(b, name, "_bucket", labels, n, "+Inf");
    buf_u64(b, count);
    buf_char(b, '\n');
    put_series(b, name, "_sum", labels, n, NULL);
    put_f64(b, (double)counter_read(&h->sum) / 1e6);
    put_series(b, name, "_count", labels, n, NULL);
    buf_u64(b, count);
    buf_char(b, '\n');
}
