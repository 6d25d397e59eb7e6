/* eligible: what never changes is looked at first, live state last. */
#include "gateway/choose/eligible.h"

#include <stdio.h>

#include "core/rng.h"
#include "llm/codec.h"
#include "llm/wire_openai_request.h"

static const struct {
    unsigned need;
    uint32_t ability;
    enum reason why;
} abilities[] = {
    {NEED_TOOLS, CAP_TOOLS, REASON_TOOLS},
    {NEED_VISION, CAP_VISION, REASON_VISION},
    {NEED_JSON_SCHEMA, CAP_JSON_SCHEMA, REASON_JSON_SCHEMA},
    {NEED_THINKING, CAP_THINKING, REASON_THINKING},
};

#define NEEDS_ABILITY (NEED_TOOLS | NEED_VISION | NEED_JSON_SCHEMA | NEED_THINKING)
#define SHORT_PROMPT  2048 /* tokens that any model takes: spares the look at the catalogue */

static bool was_tried(const struct eligible_ask *a, int64_t channel_id, int64_t credential_id)
{
    for (unsigned i = 0; i < a->tried_n; i++)
        if (a->tried[i].channel_id == channel_id && a->tried[i].credential_id == credential_id)
            return true;
    return false;
}

/* As it is asked for, or in a form that it can be translated to. */
static bool serves(const struct channel *ch, enum llm_op op)
{
    if (op == OP_PASSTHROUGH)
        return true;
    enum llm_op to = op_serve(op, ch->ops);
    return to == op || (to != OP_NONE && codec_of(op) && codec_of(to));
}

/* Can the model do it? What is not known of it is assumed. */
static enum reason look_at_model(const struct eligible_ask *a, const struct channel *ch,
                                 struct str upstream)
{
    if (!a->catalogue || (!(a->needs & NEEDS_ABILITY) && a->estimate_in <= SHORT_PROMPT))
        return REASON_NONE;
    const struct model_caps *m = model_caps_find(a->catalogue, str_c(ch->provider->name), upstream);
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++)
        if ((a->needs & abilities[i].need) && !model_caps_can(m, abilities[i].ability))
            return abilities[i].why;
    bool too_long = m->context_tokens && a->estimate_in > m->context_tokens;
    return too_long && !a->any_context ? REASON_CONTEXT : REASON_NONE;
}

struct gate_ask eligible_gate_ask(const struct eligible_ask *a, struct str upstream)
{
    return (struct gate_ask){.model = gate_model(upstream),
                             .tokens = (int64_t)a->estimate_in + a->estimate_out,
                             .again = a->again,
                             .now_ms = a->now_ms};
}

/* The first credential that may be used, beginning anywhere; else the one that may be soonest. */
static void look_at_credentials(const struct eligible_ask *a, const struct channel *ch,
                                struct str upstream, struct eligible *out)
{
    struct gate_ask ask = eligible_gate_ask(a, upstream);
    unsigned from = ch->credentials_n > 1 ? (unsigned)rng_below(ch->credentials_n) : 0;
    const enum reason none = a->pin_credential ? REASON_PINNED : REASON_TRIED;
    *out = (struct eligible){.why = none};
    for (unsigned i = 0; i < ch->credentials_n; i++) {
        const struct credential *c = &ch->credentials[(from + i) % ch->credentials_n];
        uint64_t wait = 0;
        if (was_tried(a, ch->id, c->id) || (a->pin_credential && a->pin_credential != c->id))
            continue;
        enum reason why = gate_look(ch, c->cell, &ask, &wait);
        if (why && out->why != none && out->wait_ms && (!wait || wait >= out->wait_ms))
            continue;
        *out = (struct eligible){why, c, wait};
        if (!why)
            return;
    }
}

void eligible_look(const struct eligible_ask *a, const struct channel *ch, struct str upstream,
                   struct eligible *out)
{
    *out = (struct eligible){.why = REASON_NONE};
    if (a->key && !key_allows_channel(a->key, ch->id))
        out->why = REASON_NOT_ALLOWED;
    else if (!serves(ch, a->op))
        out->why = REASON_OPERATION;
    else if (a->pin_channel && a->pin_channel != ch->id)
        out->why = REASON_PINNED;
    else if (!ch->credentials_n)
        out->why = REASON_NO_CREDENTIAL;
    else if (was_tried(a, ch->id, -1))
        out->why = REASON_TRIED;
    else
        out->why = look_at_model(a, ch, upstream);
    if (!out->why)
        look_at_credentials(a, ch, upstream, out);
}

void reasons_add(struct reasons *r, enum reason why, uint64_t wait_ms)
{
    r->n[why]++;
    if (wait_ms && (!r->wait_ms || wait_ms < r->wait_ms))
        r->wait_ms = wait_ms;
}

const char *reasons_text(const struct reasons *r, char out[256])
{
    size_t n = 0;
    str_copy(out, 256, STR("it has none"));
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++)
        if (r->n[i] && n < 200)
            n += (size_t)snprintf(out + n, 256 - n, "%s%u %s", n ? ", " : "", r->n[i],
                                  reason_words((enum reason)i));
    return out;
}

bool reasons_throttled(const struct reasons *r)
{
    bool any = false;
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (r->n[i] && reason_kind((enum reason)i) == REASON_DOWN)
            return false;
        any |= r->n[i] && reason_kind((enum reason)i) == REASON_THROTTLED;
    }
    return any;
}
