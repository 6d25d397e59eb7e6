/* appraise: raw bytes of the body are hashed as they stand, so nothing is parsed again: two prompts
 * that differ only in white space or escapes count as two, which costs a cold cache. */
#include "gateway/choose/appraise.h"

#include "gateway/balance/balance.h"
#include "gateway/cells.h"

enum affinity_kind affinity_parse(struct str s)
{
    return str_eq(s, STR("session"))  ? AFFINITY_SESSION
           : str_eq(s, STR("prefix")) ? AFFINITY_PREFIX
                                      : AFFINITY_NONE;
}

static struct str member(const struct openai_request *r, enum openai_field f)
{
    return r->at[f].end ? str_make(r->body.p + r->at[f].value, r->at[f].end - r->at[f].value)
                        : STR_NULL;
}

static struct str cut(struct str s, size_t max)
{
    return str_make(s.p, s.n < max ? s.n : max);
}

static uint64_t prompt_hash(const struct openai_request *r)
{
    static const uint8_t parts[] = {FIELD_SYSTEM,   FIELD_SYSTEM_INSTRUCTION, FIELD_INSTRUCTIONS,
                                    FIELD_MESSAGES, FIELD_CONTENTS,           FIELD_INPUT,
                                    FIELD_PROMPT};
    size_t room = APPRAISE_PREFIX_BYTES;
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof parts && room; i++) {
        struct str s = cut(member(r, (enum openai_field)parts[i]), room);
        if (s.n)
            hash = balance_mix(hash, balance_hash(s));
        room -= s.n;
    }
    return hash;
}

uint64_t appraise_hash(enum affinity_kind kind, const struct appraise_origin *o,
                       const struct openai_request *r)
{
    bool prefix = kind == AFFINITY_PREFIX;
    struct str mark = prefix ? STR_NULL : cut(o->session, APPRAISE_SESSION_BYTES);
    static const uint8_t marks[] = {FIELD_PROMPT_CACHE_KEY, FIELD_USER, FIELD_METADATA};
    for (size_t i = 0; i < (prefix ? 1 : sizeof marks) && !mark.n; i++)
        mark = cut(member(r, (enum openai_field)marks[i]), APPRAISE_PREFIX_BYTES);
    uint64_t hash = mark.n ? balance_hash(mark) : prompt_hash(r);
    hash = balance_mix(hash, (uint64_t)o->tenant_id + 1);
    if (!prefix)
        hash = balance_mix(hash, (uint64_t)(o->user_id ? o->user_id : o->key_id) + 1);
    hash = balance_mix(hash, balance_hash(o->route));
    return hash ? hash : 1;
}

static double tighter(double headroom, int64_t limit, int64_t used)
{
    double left = limit > 0 ? 1 - (double)used / (double)limit : 1;
    return left < 0 ? 0 : left < headroom ? left : headroom;
}

double appraise_headroom(const struct channel *ch, uint64_t now_ms)
{
    struct channel_gate *g = &ch->cell->gate;
    double headroom = tighter(1, ch->concurrency, vitals_in_flight(&ch->cell->vitals));
    if (ch->rpm)
        headroom = tighter(headroom, ch->rpm, limit_used(&g->rpm, now_ms));
    if (ch->tpm)
        headroom = tighter(headroom, ch->tpm, limit_used(&g->tpm, now_ms));
    return headroom;
}
