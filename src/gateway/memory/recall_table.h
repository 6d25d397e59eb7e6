/* recall_table: what one worker remembers across requests: small values by kind, tenant and id.
 *
 * Owned by that worker's thread.  A value is immutable and refcounted: any
 * thread.  Values and tables count in a budget that all tables share; where it
 * is spent, a table forgets its own oldest. */
#ifndef LYSS_GATEWAY_RECALL_TABLE_H
#define LYSS_GATEWAY_RECALL_TABLE_H

#include "core/map.h"
#include "gateway/budget.h"

#define RECALL_ID_MAX    256
#define RECALL_VALUE_MAX (256u << 10)

enum recall_kind {
    RECALL_THOUGHT, /* a tool call's id: what the model thought before it called */
    RECALL_RESPONSE /* a Responses id: where it was made */
};

struct recall_value {
    _Atomic unsigned refs;
    struct budget *budget;
    uint32_t n;
    char bytes[];
};

/* A copy. NULL: no memory, or no room in the budget. */
struct recall_value *recall_value_new(struct budget *b, struct str bytes);
struct recall_value *recall_value_ref(struct recall_value *v);
void recall_value_unref(struct recall_value **v);

struct recall_key {
    enum recall_kind kind;
    int64_t tenant_id;
    struct str id; /* 1 to RECALL_ID_MAX bytes */
};

struct recall_entry;

struct recall_table {
    struct map map;
    struct budget *budget;
    uint64_t keep_ms;
    struct recall_entry *oldest, *newest;
};

void recall_table_init(struct recall_table *t, struct budget *b, uint64_t keep_ms);
void recall_table_release(struct recall_table *t);
/* The same for every use of a key. */
uint64_t recall_hash(const struct recall_key *k);
/* Takes the ref on v; what was there is replaced. */
void recall_table_put(struct recall_table *t, const struct recall_key *k, struct recall_value *v,
                      uint64_t now_ms);
/* A ref, or NULL. */
struct recall_value *recall_table_get(struct recall_table *t, const struct recall_key *k,
                                      uint64_t now_ms);
/* Forgets the oldest one. False: there is none. */
bool recall_table_evict(struct recall_table *t);
/* Forgets what is too old. When the next will be; 0: there is none. */
uint64_t recall_table_expire(struct recall_table *t, uint64_t now_ms);

#endif
