/* load: what the load generator's two files share: options, counters, and the reader of answers. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "wire.h"

struct options {
    int port, conns;
    double seconds, warm, rate, open_rate;
    size_t bytes;
    unsigned expect; /* content chunks of a whole stream */
    const char *key, *model;
    bool tls, stream;
};

struct tally {
    uint64_t ok, chunks;
    int errors, connect_errors, bad_status, last_status, bad_streams, unfinished, alive;
    struct hist latency, relay; /* whole answers; a chunk from the mock's write to here */
};

extern struct options opt;
extern struct tally tally;

struct request {
    char *data;
    size_t len;
};

/* Reads one answer: head, body by length or chunked, and, of a stream, each event. */
struct reader {
    enum { IN_HEAD, IN_LENGTH, IN_SIZE, IN_CHUNK, IN_CHUNK_END, IN_TRAILER } at;
    int status;
    bool close;  /* the server will not keep the connection */
    bool broken; /* not HTTP: give the connection up */
    uint64_t left;
    char line[1024]; /* of the head or the chunked coding */
    unsigned line_len;
    char event[1024]; /* a line of SSE */
    unsigned event_len;
    unsigned chunks; /* content chunks so far */
    bool bad, stop, done;
};

struct conn {
    struct link link;
    bool busy;
    size_t sent;
    uint64_t due_ns;
    struct reader reader;
};

void reader_reset(struct reader *r);

/* Takes bytes that came at now; true when the answer is complete. */
bool reader_take(struct reader *r, const char *p, size_t n, uint64_t now);

/* Whether a complete answer was a whole stream: every chunk, in order, its stop and its [DONE]. */
bool reader_stream_whole(const struct reader *r);

#endif
