/* provider_azure: the URL shapes of Azure OpenAI. Hooks of its row in provider.c. */
#ifndef LYSS_LLM_PROVIDER_AZURE_H
#define LYSS_LLM_PROVIDER_AZURE_H

#include "llm/provider.h"

enum err azure_target(const struct endpoint *at, enum llm_op op, struct str model, bool stream,
                      struct buf *out, struct err_info *info) MUST_CHECK;
enum err azure_check(const struct endpoint *at, struct err_info *info) MUST_CHECK;

#endif
