/* repo_price: a price's id names all that it says, so one that is there need not be compared. */
#include "store/repo_price.h"

static void bind_rate(struct sql_stmt *q, int at, int64_t pusd)
{
    if (pusd < 0)
        sql_bind_null(q, at);
    else
        sql_bind_i64(q, at, pusd);
}

static enum err keep(struct sql *ledger, const struct catalogue_entry *m, const struct price *p,
                     struct err_info *info)
{
    struct sql_stmt *q = sql_query(
        ledger,
        "INSERT INTO price (id, provider, model, from_ms, above_tokens, source, in_uncached,"
        " cache_read, cache_write_5m, cache_write_1h, out_text, out_reasoning, audio_in,"
        " audio_out, images) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
        " ?13, ?14, ?15) ON CONFLICT (id) DO NOTHING");
    int at = 7;
    sql_bind_i64(q, 1, p->id);
    sql_bind_text(q, 2, m->provider);
    sql_bind_text(q, 3, m->pattern);
    sql_bind_i64(q, 4, p->from_ms);
    sql_bind_i64(q, 5, p->above_tokens);
    sql_bind_text(q, 6, p->source.p ? p->source : STR(""));
#define X(counter, input) bind_rate(q, at++, p->rates.counter);
    USAGE_COUNTERS(X)
#undef X
    return sql_run(q, info);
}

enum err repo_price_keep(struct sql *ledger, const struct model_catalogue *c, struct err_info *info)
{
    const struct catalogue_entry *m;
    enum err e = sql_begin(ledger, SQL_WRITE, info);
    if (e)
        return e;
    for (size_t i = 0; !e && (m = model_at(c, i)); i++)
        for (uint32_t k = 0; k < m->prices.n && !e; k++)
            e = keep(ledger, m, &m->prices.rows[k], info);
    e = e ? e : sql_commit(ledger, info);
    if (e)
        sql_rollback(ledger);
    return e;
}
