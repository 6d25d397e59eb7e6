/* simulate_svg: a scenario as a picture: for each algorithm the shares of the channels and what
 * callers saw, and below, how the shares moved with time. All texts are our own tables'. */
#include <stdio.h>

#include "gateway/simulate/simulate.h"

#define WIDTH   960
#define LEFT    170 /* where the bars begin */
#define BAR     370
#define TOP     116 /* of the first row */
#define ROW     30
#define PANEL   96 /* height of a panel of shares over time */
#define CAPTION 34 /* above each */
#define INK     "#14202b"
#define PALE    "#5b6b7b"

static const char *const colours[SIMULATE_CHANNELS_MAX] = {"#d1495b", "#2e6f95", "#edae49",
                                                           "#3c8d62", "#8d6cab", "#7a8793"};

static void text(struct buf *out, double x, double y, const char *style, const char *s)
{
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, style, s);
}

static void put_head(const struct simulate_report *r, unsigned at, double height, struct buf *out)
{
    const struct simulate_scenario *s = r->scenarios[at];
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
               "height=\"%.0f\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" "
               "fill=\"" INK "\" role=\"img\">\n<title>%s: %s</title>\n"
               "<rect width=\"%d\" height=\"%.0f\" fill=\"#ffffff\"/>\n",
               WIDTH, height, WIDTH, height, s->name, s->summary, WIDTH, height);
    text(out, 24, 36, "font-size=\"20\" font-weight=\"bold\"", s->name);
    text(out, 24, 58, "font-size=\"14\" fill=\"" PALE "\"", s->summary);
    double x = LEFT;
    for (unsigned i = 0; i < s->n; i++) {
        buf_printf(out,
                   "<rect x=\"%.1f\" y=\"75\" width=\"12\" height=\"12\" rx=\"2\" fill=\"%s\"/>\n",
                   x, colours[i]);
        text(out, x + 17, 86, "", s->channels[i].name);
        x += 34 + 7.2 * (double)str_c(s->channels[i].name).n;
    }
}

static const struct {
    const char *head;
    double x; /* of the right end */
} columns[] = {{"p95 TTFT", 622}, {"errors", 690}, {"cost per 1k", 782}, {"against the best", 936}};

static void put_number(struct buf *out, unsigned column, double y, const char *style,
                       const char *format, double v)
{
    char s[32];
    int n = snprintf(s, sizeof s, format, v);
    if (n > 0)
        buf_printf(out, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\" %s>%s</text>\n",
                   columns[column].x, y, style, s);
}

static void put_row(const struct simulate_report *r, unsigned at, unsigned k, struct buf *out)
{
    const struct simulate_result *one = simulate_at(r, at, k);
    double y = TOP + ROW * k, x = LEFT, relative = simulate_relative(r, at, k);
    const char *style = relative <= 1 ? "font-weight=\"bold\"" : "";
    text(out, 24, y + 16, style, one->algorithm->name);
    for (unsigned i = 0; i < one->scenario->n; i++) {
        double width = BAR * one->share[i];
        buf_printf(out,
                   "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"20\" fill=\"%s\">"
                   "<title>%s %.1f %%</title></rect>\n",
                   x, y + 1, width, colours[i], one->scenario->channels[i].name,
                   100 * one->share[i]);
        if (width > 34)
            buf_printf(out,
                       "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" font-size=\"11\" "
                       "fill=\"#ffffff\">%.0f %%</text>\n",
                       x + width / 2, y + 15, 100 * one->share[i]);
        x += width;
    }
    put_number(out, 0, y + 16, style, "%.0f ms", one->warm.p95_ttft_ms);
    put_number(out, 1, y + 16, style, "%.1f %%", 100 * one->warm.errors);
    put_number(out, 2, y + 16, style, "$%.3f", one->warm.cost_nusd / 1e6);
    double bar = relative < 3 ? 90 * (relative - 1) / 2 : 90;
    buf_printf(out,
               "<rect x=\"800\" y=\"%.1f\" width=\"%.1f\" height=\"10\" rx=\"2\" fill=\"%s\"/>\n",
               y + 6, bar + 2, relative <= 1.1 ? colours[3] : "#c3ccd5");
    put_number(out, 3, y + 16, style, "%.2f\u00d7", relative);
}

/* Shares over time, stacked; slots without an attempt repeat the last. */
static void put_history(const struct simulate_result *one, double top, struct buf *out)
{
    double bottom = top + PANEL, width = WIDTH - LEFT - 24, step = width / SIMULATE_SLOTS;
    double base[SIMULATE_SLOTS] = {0};
    char caption[96];
    snprintf(caption, sizeof caption, "%s over time", one->algorithm->name);
    text(out, LEFT, top - 9, "fill=\"" PALE "\"", caption);
    text(out, 24, top + 12, "fill=\"" PALE "\"", "share of calls");
    for (unsigned i = 0; i < one->scenario->n; i++) {
        double upper[SIMULATE_SLOTS], share = 0;
        for (unsigned t = 0; t < SIMULATE_SLOTS; t++) {
            unsigned sum = 0;
            for (unsigned k = 0; k < one->scenario->n; k++)
                sum += one->history[t][k];
            if (sum)
                share = (double)one->history[t][i] / sum;
            upper[t] = base[t] + share;
        }
        buf_printf(out, "<path fill=\"%s\" d=\"M", colours[i]);
        for (unsigned t = 0; t < SIMULATE_SLOTS; t++)
            buf_printf(out, "%.1f %.1f H%.1f L", LEFT + step * t, bottom - PANEL * upper[t],
                       LEFT + step * (t + 1));
        for (unsigned t = SIMULATE_SLOTS; t-- > 0;)
            buf_printf(out, "%.1f %.1f H%.1f%s", LEFT + step * (t + 1), bottom - PANEL * base[t],
                       LEFT + step * t, t ? " L" : "Z\"/>\n");
        memcpy(base, upper, sizeof base);
    }
    for (int i = 0; i <= 4; i++) {
        char s[32];
        snprintf(s, sizeof s, "%.0f s", one->seconds * i / 4);
        buf_printf(out,
                   "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"11\" "
                   "fill=\"" PALE "\">%s</text>\n",
                   LEFT + width * i / 4, bottom + 15,
                   i == 0   ? "start"
                   : i == 4 ? "end"
                            : "middle",
                   s);
    }
}

void simulate_svg(const struct simulate_report *r, unsigned scenario, struct buf *out)
{
    double rows = TOP + ROW * r->algorithms_n + 8;
    double height = rows + (PANEL + CAPTION + 18) * (r->algorithms_n > 1 ? 2 : 1) + 6;
    unsigned best = 0, last = r->algorithms_n - 1;
    put_head(r, scenario, height, out);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        buf_printf(out,
                   "<text x=\"%.0f\" y=\"%d\" text-anchor=\"end\" fill=\"" PALE "\">%s</text>\n",
                   columns[i].x, TOP - 10, columns[i].head);
    for (unsigned k = 0; k < r->algorithms_n; k++) {
        put_row(r, scenario, k, out);
        if (r->algorithms[k] == &balance_adaptive)
            last = k;
    }
    for (unsigned k = 0; k < r->algorithms_n; k++) /* the best of the others beside it */
        if (k != last && (best == last ||
                          simulate_relative(r, scenario, k) < simulate_relative(r, scenario, best)))
            best = k;
    put_history(simulate_at(r, scenario, last), rows + CAPTION, out);
    if (r->algorithms_n > 1)
        put_history(simulate_at(r, scenario, best), rows + 2 * CAPTION + PANEL + 18, out);
    buf_lit(out, "</svg>\n");
}
