/* endpoint: checks of where a channel or provider leads to. Used by src/ops. */
#ifndef LYSS_OPS_ENDPOINT_H
#define LYSS_OPS_ENDPOINT_H

#include "llm/provider.h"
#include "store/rows.h"

/* The built-in provider of this kind that a channel may lead to. ERR_INVALID. */
enum err endpoint_kind(struct str kind, const struct provider **out,
                       struct err_info *info) MUST_CHECK;
/* A base URL without the slashes at its end. */
struct str endpoint_trim(struct str base_url);
/* Checks base_url (may be empty) and api_version together with the provider's own rule. */
enum err endpoint_check(const struct provider *p, struct str base_url, struct str api_version,
                        struct err_info *info) MUST_CHECK;

#endif
