/* print: aligned tables, notes on stderr, whole writes on stdout. */
#include "cli/print.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum err print_out(const struct buf *b, struct err_info *info)
{
    if (buf_failed(b))
        return ERR_NOMEM;
    for (struct str s = buf_view(b); s.n;) {
        ssize_t n = write(STDOUT_FILENO, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(info, ERR_IO, "stdout cannot be written: %s", strerror(errno));
        s = str_from(s, (size_t)n);
    }
    return ERR_OK;
}

void print_note(const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < ' ' && *p != '\n')
            *p = '?';
    fprintf(stderr, "lyss: %s\n", line);
}

bool print_colours(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}

void table_init(struct table *t, size_t n_columns)
{
    *t = (struct table){.n_columns = n_columns};
    buf_init(&t->cells, PRINT_BYTES_MAX);
}

/* Characters, taking each UTF-8 sequence for one. */
static size_t width_of(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

void table_cell(struct table *t, struct str text)
{
    size_t column = t->n_cells++ % t->n_columns, width;
    if (!text.n)
        text = STR("-");
    width = width_of(text);
    if (width > t->width[column])
        t->width[column] = width;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        buf_char(&t->cells, c < ' ' || c == 0x7F ? '?' : (char)c);
    }
    buf_char(&t->cells, '\n');
}

static void pad(struct buf *out, size_t n)
{
    while (n--)
        buf_char(out, ' ');
}

void table_end(struct table *t, struct buf *out)
{
    bool bold = print_colours();
    struct str rest = buf_view(&t->cells), cell;
    for (size_t i = 0; i < t->n_cells && str_split(&rest, '\n', &cell); i++) {
        size_t column = i % t->n_columns, room = t->width[column] - width_of(cell);
        bool last = column + 1 == t->n_columns;
        if (bold && i == 0)
            buf_lit(out, "\033[1m");
        pad(out, t->right[column] ? room : 0);
        buf_str(out, cell);
        pad(out, t->right[column] || last ? 0 : room);
        if (bold && i + 1 == t->n_columns)
            buf_lit(out, "\033[0m");
        buf_str(out, last ? STR("\n") : STR("  "));
    }
    out->failed |= t->cells.failed;
    buf_release(&t->cells);
}
