/* repo_price: the prices that the ledger's rows refer to. A thread that may wait. */
#ifndef LYSS_STORE_REPO_PRICE_H
#define LYSS_STORE_REPO_PRICE_H

#include "llm/model_catalogue.h"
#include "store/sql.h"

/* Adds every price of the catalogue that is not there yet, in one transaction. To be done before
 * the first row that may have been costed by it. */
enum err repo_price_keep(struct sql *ledger, const struct model_catalogue *c,
                         struct err_info *info) MUST_CHECK;

#endif
