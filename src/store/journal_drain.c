/* journal_drain: usage and attempt rows, rollups and the position in one transaction, so that a
 * batch is in the database whole or will be read again.  After any failure the drain forgets what
 * it holds and starts from the segment it was in: there is one way of beginning, and it is the one
 * that a crash needs. */
#include "store/journal_drain.h"

#include "core/alloc.h"

#define BATCH_ROWS    4096
#define BATCH_RECORDS 32768
#define OPEN_MAX      (16u << 20)

void drain_init(struct drain *d)
{
    open_init(&d->open, OPEN_MAX);
    rollup_init(&d->rollup);
    d->reader.fd = -1;
}

/* Back to where a new process would be, but for the segments that are done with. */
static void forget(struct drain *d)
{
    if (d->db)
        sql_rollback(d->db);
    sql_close(&d->db);
    open_release(&d->open);
    rollup_release(&d->rollup);
    segment_reader_release(&d->reader);
    d->positioned = d->reading = d->in_transaction = false;
    d->records = d->rows = d->orphans = 0;
}

void drain_release(struct drain *d)
{
    forget(d);
}

static enum err read_pos(struct drain *d, struct err_info *info)
{
    struct sql_stmt *q =
        sql_query(d->db, "SELECT seq FROM journal_pos WHERE node = ?1 AND journal = ?2");
    sql_bind_text(q, 1, str_c(d->node));
    sql_bind_blob(q, 2, str_make((const char *)d->dir->uuid, 16));
    d->pos = sql_next(q) ? (uint64_t)sql_i64(q, 0) : 0;
    return sql_end(q, info);
}

static enum err position(struct drain *d, struct err_info *info)
{
    enum err e = d->db ? ERR_OK : d->open_sql(d->open_ctx, &d->db, info);
    e = e ? e : read_pos(d, info);
    e = e ? e : segment_reader_init(&d->reader, d->dir);
    e = e ? e : segment_carry_load(d->dir, d->segment, &d->open);
    d->positioned = !e;
    atomic_store_explicit(&d->done, d->base, memory_order_relaxed);
    return e;
}

static enum err begin(struct drain *d, struct err_info *info)
{
    if (d->in_transaction)
        return ERR_OK;
    enum err e = sql_begin(d->db, SQL_WRITE, info);
    d->in_transaction = !e;
    return e;
}

/* ---- rows ---------------------------------------------------------------- */
static void bind_us(struct sql_stmt *q, int at, int64_t us)
{
    if (us > 0)
        sql_bind_i64(q, at, us);
    else
        sql_bind_null(q, at);
}

static void bind_error(struct sql_stmt *q, int at, uint16_t err)
{
    if (err == ERR_OK || err >= ERR_COUNT)
        sql_bind_null(q, at);
    else
        sql_bind_text(q, at, str_c(err_name((enum err)err)));
}

static void bind_words(struct sql_stmt *q, int at, struct str s)
{
    if (s.n)
        sql_bind_text(q, at, s);
    else
        sql_bind_null(q, at);
}

static void bind_cost(struct sql_stmt *q, int at, bool has, int64_t nusd)
{
    if (has)
        sql_bind_i64(q, at, nusd);
    else
        sql_bind_null(q, at);
}

static void bind_id(struct sql_stmt *q, int at, int64_t id)
{
    if (id)
        sql_bind_i64(q, at, id);
    else
        sql_bind_null(q, at);
}

static const char usage_sql[] =
    "INSERT INTO usage (request_id, tenant_id, user_id, key_id, route_id, at_ms, ended_ms, dialect,"
    " op, stream, model, upstream_model, channel_id, credential_id, state, status, error, attempts,"
    " estimated, ttft_us, total_us, overhead_us, est_in, est_out, in_uncached, cache_read,"
    " cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images,"
    " cost_nusd, usage_json, price_id)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,"
    " ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36)";

static enum err insert_usage(struct sql *db, const struct ledger_admitted *a,
                             const struct ledger_settled *s, struct err_info *info)
{
    struct sql_stmt *q = sql_query(db, usage_sql);
    int at = 25;
    sql_bind_blob(q, 1, str_make((const char *)s->request_id, 16));
    sql_bind_i64(q, 2, a->tenant_id);
    sql_bind_i64(q, 3, a->user_id);
    sql_bind_i64(q, 4, a->key_id);
    sql_bind_i64(q, 5, a->route_id);
    sql_bind_i64(q, 6, a->at_ms);
    sql_bind_i64(q, 7, s->ended_ms);
    sql_bind_i64(q, 8, a->dialect);
    sql_bind_i64(q, 9, a->op);
    sql_bind_i64(q, 10, a->stream);
    sql_bind_text(q, 11, a->model.n ? a->model : STR(""));
    bind_words(q, 12, s->upstream_model);
    sql_bind_i64(q, 13, s->channel_id);
    sql_bind_i64(q, 14, s->credential_id);
    sql_bind_i64(q, 15, s->state);
    sql_bind_i64(q, 16, s->status);
    bind_error(q, 17, s->err);
    sql_bind_i64(q, 18, s->attempts);
    sql_bind_i64(q, 19, s->estimated);
    bind_us(q, 20, s->ttft_us);
    bind_us(q, 21, s->total_us);
    bind_us(q, 22, s->overhead_us);
    sql_bind_i64(q, 23, a->est_in);
    sql_bind_i64(q, 24, a->est_out);
#define X(field) sql_bind_i64(q, at++, s->c.field);
    LEDGER_COUNTERS(X)
#undef X
    bind_cost(q, 34, s->has_cost, s->cost_nusd);
    bind_words(q, 35, s->usage_json);
    bind_id(q, 36, s->price_id);
    return sql_run(q, info);
}

static const char attempt_sql[] =
    "INSERT INTO attempt (request_id, number, tenant_id, channel_id, credential_id, upstream_model,"
    " status, error, estimated, start_ms, ttft_us, total_us, in_uncached, cache_read,"
    " cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in, audio_out, images,"
    " cost_nusd, price_id)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,"
    " ?20, ?21, ?22, ?23) ON CONFLICT (request_id, number) DO NOTHING";

static enum err insert_attempt(struct sql *db, int64_t tenant_id, const struct ledger_attempt *a,
                               struct err_info *info)
{
    struct sql_stmt *q = sql_query(db, attempt_sql);
    int at = 13;
    sql_bind_blob(q, 1, str_make((const char *)a->request_id, 16));
    sql_bind_i64(q, 2, a->number);
    sql_bind_i64(q, 3, tenant_id);
    sql_bind_i64(q, 4, a->channel_id);
    sql_bind_i64(q, 5, a->credential_id);
    bind_words(q, 6, a->upstream_model);
    sql_bind_i64(q, 7, a->status);
    bind_error(q, 8, a->outcome);
    sql_bind_i64(q, 9, a->estimated);
    sql_bind_i64(q, 10, a->start_ms);
    bind_us(q, 11, a->ttft_us);
    bind_us(q, 12, a->total_us);
#define X(field) sql_bind_i64(q, at++, a->c.field);
    LEDGER_COUNTERS(X)
#undef X
    bind_cost(q, 22, a->has_cost, a->cost_nusd);
    bind_id(q, 23, a->price_id);
    return sql_run(q, info);
}

/* o: NULL when the admitted record was lost; the row then says what is still known. */
static enum err write_rows(struct drain *d, const struct open_request *o,
                           const struct record_settled *r, struct err_info *info)
{
    struct ledger_settled s;
    struct ledger_admitted a = {.at_ms = r->ended_ms - r->total_us / 1000};
    record_unpack_settled(r, &s);
    if (o)
        record_unpack_admitted(&o->r, &a);
    d->orphans += !o;
    enum err e = begin(d, info);
    e = e ? e : insert_usage(d->db, &a, &s, info);
    for (struct open_attempt *t = o && s.attempts > 1 ? o->attempts : NULL; t && !e; t = t->next) {
        struct ledger_attempt at;
        record_unpack_attempt(&t->r, &at);
        e = insert_attempt(d->db, a.tenant_id, &at, info);
    }
    e = e ? e : rollup_add(&d->rollup, &a, &s);
    d->rows += !e;
    return e;
}

static enum err apply(struct drain *d, const struct record *r, struct err_info *info)
{
    d->records++;
    if (r->type != JOURNAL_SETTLED)
        return open_add(&d->open, r);
    const struct record_settled *s = (const struct record_settled *)r;
    struct open_request *o = open_take(&d->open, s->id);
    enum err e = ERR_OK;
    if (SEGMENT_POS(d->reader.number, d->reader.at) > d->pos)
        e = write_rows(d, o, s, info);
    open_request_free(&o);
    return e;
}

static enum err write_pos(struct drain *d, uint64_t pos, struct err_info *info)
{
    struct sql_stmt *q =
        sql_query(d->db, "INSERT INTO journal_pos (node, journal, seq) VALUES (?1, ?2, ?3)"
                         " ON CONFLICT (node, journal) DO UPDATE SET seq = excluded.seq");
    sql_bind_text(q, 1, str_c(d->node));
    sql_bind_blob(q, 2, str_make((const char *)d->dir->uuid, 16));
    sql_bind_i64(q, 3, (int64_t)pos);
    return sql_run(q, info);
}

/* Without rows there is nothing to commit: what was read is only remembered. */
static enum err commit(struct drain *d, struct err_info *info)
{
    enum err e = ERR_OK;
    if (d->in_transaction) {
        uint64_t pos = SEGMENT_POS(d->reader.number, d->reader.at);
        e = rollup_write(&d->rollup, d->db, info);
        e = e ? e : write_pos(d, pos, info);
        e = e ? e : sql_commit(d->db, info);
        if (e)
            return e;
        d->in_transaction = false;
        d->pos = pos;
        rollup_release(&d->rollup);
    }
    atomic_fetch_add_explicit(&d->done, d->records, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->all_rows, d->rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->all_orphans, d->orphans, memory_order_relaxed);
    d->records = d->rows = d->orphans = 0;
    return ERR_OK;
}

/* ---- segments ------------------------------------------------------------ */
/* The ledger's commits reach the disk with a checkpoint: before one, a segment whose rows they hold
 * must stay. False: somebody reads the database just now; asked again later. */
static bool commits_are_durable(struct drain *d)
{
    struct sql_stmt *q = sql_query(d->db, "PRAGMA wal_checkpoint(PASSIVE)");
    bool all = sql_next(q) && sql_i64(q, 0) == 0 && sql_i64(q, 1) == sql_i64(q, 2);
    return sql_end(q, NULL) == ERR_OK && all;
}

static void remove_done(struct drain *d)
{
    if (d->oldest == d->segment || d->in_transaction || !commits_are_durable(d))
        return;
    while (d->oldest < d->segment)
        segment_remove(d->dir, d->oldest++);
}

/* All of this segment is in the database: the next one begins with what is open here. */
static enum err finish_segment(struct drain *d, struct err_info *info)
{
    enum err e = commit(d, info);
    e = e ? e : segment_carry_write(d->dir, d->segment + 1, &d->open);
    if (e)
        return e;
    if (d->segment >= d->epoch) /* recovery has counted those before */
        atomic_fetch_add_explicit(&d->damaged, d->reader.walk.damaged, memory_order_relaxed);
    d->base = atomic_load_explicit(&d->done, memory_order_relaxed);
    d->segment++;
    d->reading = false;
    return ERR_OK;
}

/* How far the segment may be read; *complete: nothing will be added to it. */
static uint64_t limit_of(struct drain *d, bool *complete)
{
    uint64_t synced = atomic_load_explicit(d->synced, memory_order_acquire);
    uint64_t current = synced ? synced >> 24 : d->epoch;
    *complete = d->segment < current;
    return *complete ? UINT64_MAX : d->segment > current || !synced ? 0 : synced & 0xffffff;
}

static const struct record *next_record(struct drain *d, bool *complete)
{
    uint64_t limit = limit_of(d, complete);
    if (!limit)
        return NULL;
    if (!d->reading) {
        d->reading = segment_reader_open(&d->reader, d->segment) == ERR_OK;
        if (!d->reading)
            return NULL;
    }
    return segment_read(&d->reader, limit < d->reader.size ? limit : d->reader.size);
}

static enum err read_batch(struct drain *d, bool *more, struct err_info *info)
{
    enum err e = d->positioned ? ERR_OK : position(d, info);
    while (!e && d->rows < BATCH_ROWS && d->records < BATCH_RECORDS) {
        bool complete;
        const struct record *r = next_record(d, &complete);
        if (r)
            e = apply(d, r, info);
        else if (complete)
            e = finish_segment(d, info);
        else
            return commit(d, info);
    }
    *more = !e;
    return e ? e : commit(d, info);
}

enum err drain_batch(struct drain *d, bool *more, struct err_info *info)
{
    *more = false;
    enum err e = read_batch(d, more, info);
    if (e) {
        *more = false;
        forget(d);
        return e;
    }
    remove_done(d);
    return ERR_OK;
}
