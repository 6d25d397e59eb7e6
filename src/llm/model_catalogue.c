/* model_catalogue: what is known of models, found by provider and name. */
#include "llm/model_caps.h"

struct model_catalogue {
    size_t models_n;
};

static const struct model_catalogue builtin;
static const struct model_caps unknown;

const struct model_catalogue *model_catalogue_builtin(void)
{
    return &builtin;
}

const struct model_caps *model_caps_find(const struct model_catalogue *c, struct str provider,
                                         struct str model)
{
    (void)c, (void)provider, (void)model;
    return &unknown;
}
