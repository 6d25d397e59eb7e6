/* journal_rollup: usage rows of one batch, summed per minute, hour and day before they are added to
 * the rollup tables. One thread. */
#ifndef LYSS_STORE_JOURNAL_ROLLUP_H
#define LYSS_STORE_JOURNAL_ROLLUP_H

#include "core/arena.h"
#include "core/map.h"
#include "store/ledger.h"
#include "store/sql.h"

struct rollup {
    struct arena arena;
    struct map minutes;
};

void rollup_init(struct rollup *r);
void rollup_release(struct rollup *r);
/* ERR_TOO_BIG, ERR_NOMEM: write the batch first. Nothing was counted then. */
enum err rollup_add(struct rollup *r, const struct ledger_admitted *a,
                    const struct ledger_settled *s) MUST_CHECK;
/* Adds the sums to the tables, within the caller's transaction. r keeps them until rollup_release.
 */
enum err rollup_write(struct rollup *r, struct sql *db, struct err_info *info) MUST_CHECK;

#endif
