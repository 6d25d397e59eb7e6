/* recall: what a request needs of earlier answers, and what later requests will need of this one:
 * thoughts that must come back with their tool calls, and where a stored response was made.
 *
 * The worker's thread.  Nothing is kept but in memory, by tenant (gateway/memory/recall_table.h).
 */
#ifndef LYSS_GATEWAY_RECALL_H
#define LYSS_GATEWAY_RECALL_H

#include "gateway/choose/choose.h"
#include "llm/neutral.h"
#include "net/sse.h"

/* The phase of the pipeline: asks the workers that own what is needed. */
enum step recall_phase(struct request *r);
/* Must the caller's own form be written anew for this choice, for the sake of thoughts that it
 * lacks? */
bool recall_rewrites(const struct request *r, const struct choice *c);
/* r ends, or sheds its plan. */
void recall_leave(struct request *r);

/* ---- the answer ---- */
/* A successful answer begins: makes r->recall where something of it is to be remembered. */
void recall_begin(struct request *r);
/* Of a stream that passes in the caller's own form: an event. */
void recall_event(struct request *r, const struct sse_event *ev);
/* Of one that is translated: what it means. */
void recall_neutral(struct request *r, const struct neutral_event *ev);
/* A whole answer in the caller's own form, and one that is translated. */
void recall_reply(struct request *r, struct str body);
void recall_parts(struct request *r, const struct neutral_reply *reply);
/* The answer is complete; before its last bytes leave. */
void recall_keep(struct request *r);
void recall_free(struct recall_notes **n);

/* A worker's table. NULL: no memory. */
struct recall_shard *recall_shard_new(struct worker *w);
void recall_shard_free(struct recall_shard **s);

/* ---- recall.c and recall_notes.c ---- */
struct recall_value;
struct recall_key;
/* A value; older ones that this worker owns go where there is no room. NULL: there is none. */
struct recall_value *recall_make(struct worker *w, struct str bytes);
/* Gives a value to the worker that owns the key; takes the ref. */
void recall_put(struct worker *w, const struct recall_key *k, struct recall_value *v);
/* The parts that thoughts were written from; memory of the arena, strings lent by bytes. */
struct part *recall_thoughts(struct str bytes, struct arena *a);

#endif
