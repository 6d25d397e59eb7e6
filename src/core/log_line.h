/* log_line: what a log record looks like. Private to core/log; pure but for the clock. */
#ifndef LYSS_CORE_LOG_LINE_H
#define LYSS_CORE_LOG_LINE_H

#include "core/buf.h"
#include "core/log.h"

struct log_style {
    bool text, color;
};

/* Appends one line, its newline included. fields[0] is the event. */
void log_line(struct buf *b, const struct log_style *style, enum log_level level,
              const struct log_field *fields, size_t n);

#endif
