/* print: what commands say, on stdout and stderr. Main thread. */
#ifndef LYSS_CLI_PRINT_H
#define LYSS_CLI_PRINT_H

#include "core/buf.h"
#include "core/err.h"

enum { PRINT_BYTES_MAX = 64 << 20, TABLE_COLUMNS_MAX = 24 };

/* All of b, in one write where the system takes it so. ERR_IO, ERR_NOMEM (b has latched). */
enum err print_out(const struct buf *b, struct err_info *info) MUST_CHECK;
/* `lyss: text` on stderr, one line. */
void print_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Whether headings may be coloured: a terminal, and no NO_COLOR. */
bool print_colours(void);

/* Cells are added row by row, the heading first; table_end lays them out in aligned columns. */
struct table {
    struct buf cells;
    size_t n_columns, n_cells;
    size_t width[TABLE_COLUMNS_MAX];
    bool right[TABLE_COLUMNS_MAX]; /* numbers: set by the caller */
};
void table_init(struct table *t, size_t n_columns);
/* Control characters become '?', an empty cell "-". */
void table_cell(struct table *t, struct str text);
/* Appends the table to out and releases it. */
void table_end(struct table *t, struct buf *out);

#endif
