/* weigh: a request's memory, summed up wherever it has changed much. */
#include "gateway/weigh.h"

#include "gateway/hedge.h"
#include "gateway/translate.h"

/* Of a stream: its unfinished event, and what its writer keeps. */
static uint64_t stream_bytes(const struct request *r)
{
    return r->tail_cap + translate_held_bytes(r);
}

bool weigh_stream(struct request *r)
{
    if (stream_bytes(r) <= COUNTED_BYTES && !r->body_bytes)
        return true;
    weigh_request(r);
    return stream_bytes(r) <= COUNTED_BYTES || !gateway_memory_full(r->worker->gateway);
}

bool weigh_parsing(struct request *r)
{
    weigh_request(r);
    return json_steps_bytes(r->plan->parsing.steps) <= COUNTED_BYTES ||
           !gateway_memory_full(r->worker->gateway);
}

void weigh_request(struct request *r)
{
    const struct request_plan *p = r->plan;
    uint64_t bytes = r->arena.used_bytes + hedge_body_bytes(r) + stream_bytes(r);
    if (p)
        bytes += p->meaning.used_bytes + p->translated.cap + p->overridden.cap +
                 json_steps_bytes(p->tape) + json_steps_bytes(p->parsing.steps);
    if (bytes <= COUNTED_BYTES)
        bytes = 0;
    if (bytes == r->body_bytes)
        return;
    atomic_fetch_add_explicit(&r->worker->body_bytes, bytes - r->body_bytes, memory_order_relaxed);
    r->body_bytes = bytes;
}
