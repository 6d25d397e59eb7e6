/* load_wire: reads answers for the load generator and checks streams. A content delta carries its
 * number and the moment at which the mock wrote it, so that a chunk which is lost, merged into
 * another or out of its place shows, and the time it spent in the proxy is known. */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void reader_reset(struct reader *r)
{
    r->at = IN_HEAD;
    r->status = 0;
    r->close = r->broken = r->bad = r->stop = r->done = false;
    r->left = 0;
    r->line_len = r->event_len = 0;
    r->chunks = 0;
}

bool reader_stream_whole(const struct reader *r)
{
    return !r->bad && r->stop && r->done && r->chunks == opt.expect;
}

static void event_line(struct reader *r, uint64_t now)
{
    r->event[r->event_len] = 0;
    if (strncmp(r->event, "data:", 5))
        return;
    char *data = r->event + 5;
    if (r->done)
        r->bad = true; /* something after the end */
    if (!strcmp(data + strspn(data, " "), "[DONE]")) {
        r->done = true;
        return;
    }
    if (strstr(data, "\"finish_reason\":\"stop\""))
        r->stop = true;
    char *mark = strstr(data, "\"content\":\"#");
    if (!mark)
        return;
    char *after;
    uint64_t sent = 0;
    unsigned seq = (unsigned)strtoul(mark + 12, &after, 10);
    if (*after == '@')
        sent = strtoull(after + 1, &after, 10);
    if (seq != r->chunks || !sent || strchr(after, '#'))
        r->bad = true; /* lost, reordered, or two in one */
    r->chunks++;
    tally.chunks++;
    if (now > sent)
        hist_add(&tally.relay, now - sent);
}

static void take_events(struct reader *r, const char *p, size_t n, uint64_t now)
{
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t part = end ? (size_t)(end - p) : n, room = sizeof r->event - 1 - r->event_len;
        size_t kept = part < room ? part : room;
        memcpy(r->event + r->event_len, p, kept);
        r->event_len += (unsigned)kept;
        if (!end)
            return;
        if (r->event_len && r->event[r->event_len - 1] == '\r')
            r->event_len--;
        event_line(r, now);
        r->event_len = 0;
        n -= part + 1;
        p = end + 1;
    }
}

/* A line of the head; the empty one decides how the body is read. True: no body, all done. */
static bool head_line(struct reader *r)
{
    char *line = r->line;
    if (!r->status) {
        r->status = strncmp(line, "HTTP/1.", 7) ? 0 : atoi(line + 9);
        r->broken = r->status < 100;
        r->left = UINT64_MAX; /* no framing seen */
    } else if (!strncasecmp(line, "content-length:", 15)) {
        r->left = strtoull(line + 15, NULL, 10);
    } else if (!strncasecmp(line, "transfer-encoding:", 18)) {
        r->left = UINT64_MAX - 1; /* chunked */
    } else if (!strncasecmp(line, "connection:", 11) && strcasestr(line, "close")) {
        r->close = true;
    } else if (!*line) {
        if (r->left == UINT64_MAX)
            r->broken = true;
        r->at = r->left == UINT64_MAX - 1 ? IN_SIZE : IN_LENGTH;
        return !r->left;
    }
    return false;
}

/* Collects a line; true when it is complete, without its ending. */
static bool take_line(struct reader *r, const char **p, const char *end)
{
    while (*p < end) {
        char byte = *(*p)++;
        if (byte == '\n') {
            if (r->line_len && r->line[r->line_len - 1] == '\r')
                r->line_len--;
            r->line[r->line_len] = 0;
            r->line_len = 0;
            return true;
        }
        if (r->line_len < sizeof r->line - 1)
            r->line[r->line_len++] = byte;
    }
    return false;
}

static bool coded_line(struct reader *r)
{
    switch (r->at) {
    case IN_HEAD:
        return head_line(r);
    case IN_SIZE:
        r->left = strtoull(r->line, NULL, 16);
        r->at = r->left ? IN_CHUNK : IN_TRAILER;
        return false;
    case IN_CHUNK_END:
        r->broken = r->line[0] != 0;
        r->at = IN_SIZE;
        return false;
    default:
        return !r->line[0]; /* the trailer's end */
    }
}

bool reader_take(struct reader *r, const char *p, size_t n, uint64_t now)
{
    const char *end = p + n;
    while (p < end && !r->broken) {
        if (r->at != IN_LENGTH && r->at != IN_CHUNK) {
            if (take_line(r, &p, end) && coded_line(r))
                return true;
            continue;
        }
        size_t part = (uint64_t)(end - p) < r->left ? (size_t)(end - p) : (size_t)r->left;
        if (opt.stream)
            take_events(r, p, part, now);
        p += part;
        r->left -= part;
        if (r->left)
            continue;
        if (r->at == IN_LENGTH)
            return true;
        r->at = IN_CHUNK_END;
    }
    return false;
}
