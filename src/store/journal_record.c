/* journal_record: packing and unpacking of records, and the walk over pages of them.  Everything
 * that reads a record from a disk or from another process' memory goes through record_valid. */
#include "store/journal_record.h"

static const char *const state_names[LEDGER_STATES] = {
    [LEDGER_COMPLETED] = "completed",
    [LEDGER_UPSTREAM_ERROR] = "upstream_error",
    [LEDGER_INCOMPLETE] = "incomplete",
    [LEDGER_TIMEOUT] = "timeout",
    [LEDGER_CLIENT_GONE] = "client_gone",
    [LEDGER_SHUTDOWN] = "shutdown",
    [LEDGER_LIMIT] = "limit",
    [LEDGER_ABORTED] = "aborted",
};

const char *ledger_state_name(enum ledger_state s)
{
    return (unsigned)s < LEDGER_STATES ? state_names[s] : "unknown";
}

bool ledger_state_parse(struct str name, enum ledger_state *out)
{
    for (int s = 0; s < LEDGER_STATES; s++)
        if (str_eq(name, str_c(state_names[s]))) {
            *out = (enum ledger_state)s;
            return true;
        }
    return false;
}

static uint32_t clamp32(int64_t v)
{
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static int16_t clamp_status(int32_t v)
{
    return v < 0 || v > INT16_MAX ? 0 : (int16_t)v;
}

static struct str cut(struct str s, size_t max)
{
    return str_make(s.p, s.n < max ? s.n : max);
}

static void put_text(char *dst, struct str s)
{
    if (s.n)
        memcpy(dst, s.p, s.n);
}

/* price_id stands behind the texts, where nothing is aligned. */
static void put_i64(char *at, int64_t v)
{
    memcpy(at, &v, sizeof v);
}

static int64_t get_i64(const struct record *h, const char *at)
{
    int64_t v = 0;
    if (h->version >= 2)
        memcpy(&v, at, sizeof v);
    return v;
}

size_t record_admitted_size(const struct ledger_admitted *a)
{
    return sizeof(struct record_admitted) + cut(a->model, JOURNAL_NAME_MAX).n;
}

size_t record_attempt_size(const struct ledger_attempt *a)
{
    return sizeof(struct record_attempt) + cut(a->upstream_model, JOURNAL_NAME_MAX).n +
           sizeof(int64_t);
}

size_t record_settled_size(const struct ledger_settled *s)
{
    return sizeof(struct record_settled) + cut(s->upstream_model, JOURNAL_NAME_MAX).n +
           cut(s->usage_json, JOURNAL_USAGE_MAX).n + sizeof(int64_t);
}

static void pack_counters(struct record_counters *r, const struct ledger_counters *c)
{
#define X(field) r->field = clamp32(c->field);
    LEDGER_COUNTERS(X)
#undef X
}

void record_unpack_counters(const struct record_counters *r, struct ledger_counters *c)
{
#define X(field) c->field = r->field;
    LEDGER_COUNTERS(X)
#undef X
}

void record_pack_admitted(struct record_admitted *r, const struct ledger_admitted *a)
{
    struct str model = cut(a->model, JOURNAL_NAME_MAX);
    memcpy(r->id, a->request_id, 16);
    r->tenant_id = a->tenant_id;
    r->user_id = a->user_id;
    r->key_id = a->key_id;
    r->route_id = a->route_id;
    r->at_ms = a->at_ms;
    r->est_in = clamp32(a->est_in);
    r->est_out = clamp32(a->est_out);
    r->model_len = (uint16_t)model.n;
    r->dialect = a->dialect;
    r->op = a->op;
    r->stream = a->stream;
    memset(r->spare, 0, sizeof r->spare);
    put_text(r->model, model);
}

void record_unpack_admitted(const struct record_admitted *r, struct ledger_admitted *a)
{
    memcpy(a->request_id, r->id, 16);
    a->tenant_id = r->tenant_id;
    a->user_id = r->user_id;
    a->key_id = r->key_id;
    a->route_id = r->route_id;
    a->at_ms = r->at_ms;
    a->est_in = r->est_in;
    a->est_out = r->est_out;
    a->dialect = r->dialect;
    a->op = r->op;
    a->stream = r->stream;
    a->model = str_make(r->model, r->model_len);
}

void record_pack_progress(struct record_progress *r, const struct ledger_progress *p)
{
    memcpy(r->id, p->request_id, 16);
    r->channel_id = p->channel_id;
    r->credential_id = p->credential_id;
    pack_counters(&r->c, &p->so_far);
    r->spare = 0;
    r->cost_nusd = p->has_cost ? p->cost_nusd : INT64_MIN;
    r->price_id = p->price_id;
}

void record_unpack_progress(const struct record_progress *r, struct ledger_progress *p)
{
    bool priced = r->h.version >= 2;
    memcpy(p->request_id, r->id, 16);
    p->channel_id = r->channel_id;
    p->credential_id = r->credential_id;
    record_unpack_counters(&r->c, &p->so_far);
    p->has_cost = priced && r->cost_nusd != INT64_MIN;
    p->cost_nusd = p->has_cost ? r->cost_nusd : 0;
    p->price_id = priced ? r->price_id : 0;
}

void record_pack_attempt(struct record_attempt *r, const struct ledger_attempt *a)
{
    struct str model = cut(a->upstream_model, JOURNAL_NAME_MAX);
    memcpy(r->id, a->request_id, 16);
    r->channel_id = a->channel_id;
    r->credential_id = a->credential_id;
    r->start_ms = a->start_ms;
    r->total_us = a->total_us;
    pack_counters(&r->c, &a->c);
    r->ttft_us = clamp32(a->ttft_us);
    r->status = clamp_status(a->status);
    r->outcome = a->outcome;
    r->model_len = (uint16_t)model.n;
    r->number = a->number;
    r->estimated = a->estimated;
    r->cost_nusd = a->has_cost ? a->cost_nusd : INT64_MIN;
    put_text(r->model, model);
    put_i64(r->model + model.n, a->price_id);
}

void record_unpack_attempt(const struct record_attempt *r, struct ledger_attempt *a)
{
    memcpy(a->request_id, r->id, 16);
    a->channel_id = r->channel_id;
    a->credential_id = r->credential_id;
    a->start_ms = r->start_ms;
    a->total_us = r->total_us;
    record_unpack_counters(&r->c, &a->c);
    a->ttft_us = r->ttft_us;
    a->status = r->status;
    a->outcome = r->outcome;
    a->number = r->number;
    a->estimated = r->estimated;
    a->has_cost = r->cost_nusd != INT64_MIN;
    a->cost_nusd = a->has_cost ? r->cost_nusd : 0;
    a->upstream_model = str_make(r->model, r->model_len);
    a->price_id = get_i64(&r->h, r->model + r->model_len);
}

void record_pack_settled(struct record_settled *r, const struct ledger_settled *s, bool bare)
{
    struct str model = cut(s->upstream_model, bare ? 0 : JOURNAL_NAME_MAX);
    struct str usage = cut(s->usage_json, bare ? 0 : JOURNAL_USAGE_MAX);
    memcpy(r->id, s->request_id, 16);
    r->ended_ms = s->ended_ms;
    r->total_us = s->total_us;
    r->cost_nusd = s->cost_nusd;
    r->channel_id = s->channel_id;
    r->credential_id = s->credential_id;
    pack_counters(&r->c, &s->c);
    r->ttft_us = clamp32(s->ttft_us);
    r->overhead_us = clamp32(s->overhead_us);
    r->status = clamp_status(s->status);
    r->err = s->err;
    r->model_len = (uint16_t)model.n;
    r->usage_len = (uint16_t)usage.n;
    r->state = s->state;
    r->estimated = s->estimated;
    r->attempts = s->attempts;
    r->has_cost = s->has_cost;
    put_text(r->text, model);
    put_text(r->text + model.n, usage);
    if (!bare)
        put_i64(r->text + model.n + usage.n, s->price_id);
}

void record_unpack_settled(const struct record_settled *r, struct ledger_settled *s)
{
    memcpy(s->request_id, r->id, 16);
    s->ended_ms = r->ended_ms;
    s->total_us = r->total_us;
    s->cost_nusd = r->cost_nusd;
    s->channel_id = r->channel_id;
    s->credential_id = r->credential_id;
    record_unpack_counters(&r->c, &s->c);
    s->ttft_us = r->ttft_us;
    s->overhead_us = r->overhead_us;
    s->status = r->status;
    s->err = r->err;
    s->state = r->state;
    s->estimated = r->estimated;
    s->attempts = r->attempts;
    s->has_cost = r->has_cost != 0;
    s->upstream_model = str_make(r->text, r->model_len);
    s->usage_json = str_make(r->text + r->model_len, r->usage_len);
    s->price_id = get_i64(&r->h, r->text + r->model_len + r->usage_len);
}

/* The texts must lie within the record: the sum says it came from us, not that we had no bug. */
static bool texts_fit(const struct record *r)
{
    size_t price = r->version >= 2 ? sizeof(int64_t) : 0;
    switch (r->type) {
    case JOURNAL_ADMITTED:
        return r->len >= sizeof(struct record_admitted) &&
               sizeof(struct record_admitted) + ((const struct record_admitted *)r)->model_len <=
                   r->len;
    case JOURNAL_PROGRESS:
        return r->len >= offsetof(struct record_progress, cost_nusd) + 2 * price;
    case JOURNAL_ATTEMPT:
        return r->len >= sizeof(struct record_attempt) &&
               sizeof(struct record_attempt) + ((const struct record_attempt *)r)->model_len +
                       price <=
                   r->len;
    case JOURNAL_SETTLED: {
        const struct record_settled *s = (const struct record_settled *)r;
        return r->len >= sizeof *s && sizeof *s + s->model_len + s->usage_len + price <= r->len;
    }
    default:
        return false;
    }
}

bool record_valid(const struct record *r, size_t n)
{
    return n >= sizeof *r && r->len >= sizeof *r && r->len <= n &&
           r->crc == record_crc(r, r->len) && texts_fit(r);
}

const struct record *record_next(struct record_walk *w)
{
    while (w->at + sizeof(struct record) <= w->end) {
        const struct record *r = (const struct record *)(w->base + w->at);
        size_t left = JOURNAL_PAGE - w->at % JOURNAL_PAGE;
        if (left > w->end - w->at)
            left = w->end - w->at;
        if (left >= sizeof *r && record_valid(r, left)) {
            w->at += JOURNAL_ALIGN(r->len);
            return r;
        }
        if (left >= 4 && r->len != 0 && r->len != (JOURNAL_PAD | left))
            w->damaged++;
        w->at += left;
    }
    w->at = w->end;
    return NULL;
}
