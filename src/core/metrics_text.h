/* metrics_text: the Prometheus text format (version 0.0.4), appended to a buf. Any thread. */
#ifndef LYSS_CORE_METRICS_TEXT_H
#define LYSS_CORE_METRICS_TEXT_H

#include "core/buf.h"
#include "core/histogram.h"

struct metrics_label {
    const char *name;
    struct str value; /* any bytes; escaped here */
};

/* # HELP and # TYPE; once per family, before its samples. type: counter, gauge, histogram. */
void metrics_text_family(struct buf *b, const char *name, const char *type, const char *help);
void metrics_text_u64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      uint64_t value);
void metrics_text_i64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      int64_t value);
void metrics_text_f64(struct buf *b, const char *name, const struct metrics_label *labels, size_t n,
                      double value);
/* _bucket, _sum and _count with fixed bounds from 100 µs to 600 s; h is in microseconds. */
void metrics_text_seconds(struct buf *b, const char *name, const struct metrics_label *labels,
                          size_t n, const struct histogram *h);

#endif
