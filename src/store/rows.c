/* rows: the column lists of rows.h made into tables, and the one place where a
 * row goes into a statement and comes out of it. */
#include "store/rows.h"

#include <stddef.h>

#define ENTRY(row_type, type_, name_, flag_, dflt_, check_, lo_, hi_, words_, doc_)                \
    {.name = #name_,                                                                               \
     .flag = flag_,                                                                                \
     .dflt = dflt_,                                                                                \
     .words = words_,                                                                              \
     .doc = doc_,                                                                                  \
     .lo = lo_,                                                                                    \
     .hi = hi_,                                                                                    \
     .offset = offsetof(struct row_type, name_),                                                   \
     .type = COLUMN_##type_,                                                                       \
     .check = CHECK_##check_},

#define TENANT_ENTRY(...)   ENTRY(tenant_row, __VA_ARGS__)
#define USER_ENTRY(...)     ENTRY(user_row, __VA_ARGS__)
#define KEY_ENTRY(...)      ENTRY(key_row, __VA_ARGS__)
#define PROVIDER_ENTRY(...) ENTRY(provider_row, __VA_ARGS__)
#define MODEL_ENTRY(...)    ENTRY(model_row, __VA_ARGS__)
#define CHANNEL_ENTRY(...)  ENTRY(channel_row, __VA_ARGS__)
#define ROUTE_ENTRY(...)    ENTRY(route_row, __VA_ARGS__)

static const struct column tenant_columns[] = {TENANT_COLUMNS(TENANT_ENTRY)};
static const struct column user_columns[] = {USER_COLUMNS(USER_ENTRY)};
static const struct column key_columns[] = {KEY_COLUMNS(KEY_ENTRY)};
static const struct column provider_columns[] = {PROVIDER_COLUMNS(PROVIDER_ENTRY)};
static const struct column model_columns[] = {MODEL_COLUMNS(MODEL_ENTRY)};
static const struct column channel_columns[] = {CHANNEL_COLUMNS(CHANNEL_ENTRY)};
static const struct column route_columns[] = {ROUTE_COLUMNS(ROUTE_ENTRY)};

#define THING(word, table, of_tenant)                                                              \
    const struct thing thing_##word = {#word,                                                      \
                                       table,                                                      \
                                       word##_columns,                                             \
                                       sizeof word##_columns / sizeof *word##_columns,             \
                                       sizeof(struct word##_row),                                  \
                                       of_tenant}

THING(tenant, "tenants", false);
THING(user, "users", true);
THING(key, "api_keys", true);
THING(provider, "providers", false);
THING(model, "models", false);
THING(channel, "channels", true);
THING(route, "routes", true);

const struct column *thing_column(const struct thing *t, struct str word)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        if ((c->flag[0] && str_eq(str_c(c->flag), word)) || str_eq(str_c(c->name), word))
            return c;
    }
    return NULL;
}

int row_bind(const struct thing *t, const void *row, struct sql_stmt *s, int at)
{
    for (size_t i = 0; i < t->n; i++, at++) {
        const struct column *c = &t->columns[i];
        if (column_is_text(c)) {
            struct str v = *row_text(row, c);
            if (!v.p)
                v = STR(""); /* text columns are never NULL */
            if (c->type == COLUMN_BLOB)
                sql_bind_blob(s, at, v);
            else
                sql_bind_text(s, at, v);
        } else if (*row_int(row, c) == ROW_NULL) {
            sql_bind_null(s, at);
        } else {
            sql_bind_i64(s, at, *row_int(row, c));
        }
    }
    return at;
}

void row_load(const struct thing *t, void *row, struct sql_stmt *s, struct arena *a)
{
    *(struct row *)row = (struct row){.id = sql_i64(s, 0),
                                      .tenant_id = sql_i64(s, 1),
                                      .created_ms = sql_i64(s, 2),
                                      .updated_ms = sql_i64(s, 3)};
    for (size_t i = 0; i < t->n; i++) {
        const struct column *c = &t->columns[i];
        int at = (int)i + 4;
        if (column_is_text(c))
            *row_text(row, c) =
                arena_dup(a, c->type == COLUMN_BLOB ? sql_blob(s, at) : sql_text(s, at));
        else
            *row_int(row, c) = sql_is_null(s, at) ? ROW_NULL : sql_i64(s, at);
    }
}

void *row_more(struct arena *a, void **items, size_t *n, size_t row_bytes)
{
    /* Doubles at 4, 8, 16 …: the arena frees all at once, so what is left behind costs ≤ as much
     * as what is used. */
    if (*n == 0 || (*n >= 4 && (*n & (*n - 1)) == 0)) {
        size_t room = *n ? *n * 2 : 4;
        char *p = arena_zalloc(a, room * row_bytes);
        if (!p)
            return NULL;
        if (*n)
            memcpy(p, *items, *n * row_bytes);
        *items = p;
    }
    return (char *)*items + (*n)++ * row_bytes;
}

bool list_next(struct str *rest, struct str *word)
{
    while (str_split(rest, '\n', word))
        if (word->n)
            return true;
    return false;
}
