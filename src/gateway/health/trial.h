/* trial: a channel probed on a loop of its own, whether or not a server runs. Blocks. */
#ifndef LYSS_GATEWAY_TRIAL_H
#define LYSS_GATEWAY_TRIAL_H

#include "core/config.h"
#include "gateway/health/probe.h"
#include "store/rows.h"
#include "store/vault.h"

struct trial {
    const struct config *config;
    struct sql *db;
    struct vault *vault;
    const struct channel_row *row; /* with models and credentials */
    const struct provider_row *provider;
    struct str model; /* as callers name it; empty: none in particular */
};

/* Probes the channel with each of its active credentials, one after the other; told is called for
 * each (credential_id 0: it has none). ERR_INVALID and info: the row cannot be used as it is, or
 * does not serve the model. */
enum err trial_run(const struct trial *t,
                   void (*told)(void *arg, int64_t credential_id, const struct probe_result *r),
                   void *arg, struct err_info *info) MUST_CHECK;

#endif
