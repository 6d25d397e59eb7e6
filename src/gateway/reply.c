/* reply: the header lines of what the gateway says to a caller, put together by copying. */
#include "core/rng.h"
#include "gateway/memory/idempotency.h"
#include "net/scratch.h"

#define HEADERS_MAX 16384

struct str reply_headers(struct request *r, const char *content_type)
{
    char id[37];
    struct buf *lines = scratch_buf(SCRATCH_REPLY_HEADERS, HEADERS_MAX);
    buf_lit(lines, "x-request-id: ");
    uuid_format(r->id, id);
    buf_add(lines, id, 36);
    if (content_type) {
        buf_lit(lines, "\r\nContent-Type: ");
        buf_add(lines, content_type, strlen(content_type));
    }
    if (r->attempts) {
        buf_lit(lines, "\r\nx-lyss-attempts: ");
        buf_u64(lines, r->attempts);
        buf_lit(lines, "\r\nx-lyss-overhead-us: ");
        buf_u64(lines, r->overhead_us);
    }
    buf_lit(lines, "\r\nx-lyss-config-rev: ");
    buf_u64(lines, (uint64_t)r->worker->snapshot->rev);
    buf_lit(lines, "\r\n");
    if (r->channel)
        buf_str(lines, r->channel->reply_headers);
    else
        buf_lit(lines, "Cache-Control: no-store\r\n");
    const char *word = r->idem ? idempotency_word(r) : NULL;
    if (word) {
        buf_lit(lines, "x-lyss-idempotency: ");
        buf_add(lines, word, strlen(word));
        buf_lit(lines, "\r\n");
    }
    if (r->plan) {
        if (r->plan->edits.dropped.n) {
            buf_lit(lines, "x-lyss-dropped-params: ");
            buf_str(lines, r->plan->edits.dropped);
            buf_lit(lines, "\r\n");
        }
        buf_str(lines, r->plan->cors);
        buf_str(lines, r->plan->passed);
    }
    while (buf_failed(lines) && lines->n && lines->p[lines->n - 1] != '\n')
        lines->n--; /* short of memory: whole lines only */
    return buf_view(lines);
}
