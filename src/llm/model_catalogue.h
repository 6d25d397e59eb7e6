/* model_catalogue: what is known of models: what they can do and what they cost.
 *
 * Immutable once loaded: any thread, and what it lends stays good as long as it
 * does.  The built-in one is data/models.json, made part of the binary; a file
 * of the operator's own is laid over it.  docs/models.md tells the form. */
#ifndef LYSS_LLM_MODEL_CATALOGUE_H
#define LYSS_LLM_MODEL_CATALOGUE_H

#include "core/err.h"
#include "llm/model_caps.h"
#include "llm/price.h"

#define MODELS_FILE_MAX (4u << 20)
#define MODELS_MAX      4096u

/* What is known of the models that a pattern fits. */
struct catalogue_entry {
    struct str provider, pattern;
    struct model_caps caps;
    struct price_list prices; /* newest last; empty: none is known */
    struct str source;        /* the page that tells limits and abilities */
    uint16_t letters;         /* of the pattern, without its wildcards */
    bool glob;
    bool lent;     /* the same as another provider's, but for the prices */
    bool override; /* not built in */
};

/* base (may be NULL) with the entries of a text of the same form laid over it: an entry replaces
 * the one with the same provider and pattern, and keeps of what the pattern fell under before what
 * it does not say itself. Nothing of text or base is kept.
 * ERR_INVALID, ERR_BAD_JSON: info->text names line and field. ERR_NOMEM. */
enum err model_catalogue_load(struct model_catalogue **out, const struct model_catalogue *base,
                              struct str text, struct err_info *info) MUST_CHECK;
/* The built-in catalogue with the file at path laid over it; its providers must be rows of
 * llm/provider. ERR_IO, ERR_TOO_BIG and the above; info->text begins with the path. Blocks: not on
 * a loop. */
enum err model_catalogue_open(struct model_catalogue **out, const char *path,
                              struct err_info *info) MUST_CHECK;
/* Not the built-in one. */
void model_catalogue_free(struct model_catalogue **c);

/* The entry of a model, as model_caps_find chooses it. Never NULL; one whose pattern is empty is
 * the one in which all is unknown. */
const struct catalogue_entry *model_find(const struct model_catalogue *c, struct str provider,
                                         struct str model);
/* The same for a model that the caller calls `asked` and the upstream `upstream`: where upstream
 * names are the operator's own (deployments) and nothing is known of one, by the caller's. */
const struct catalogue_entry *model_resolve(const struct model_catalogue *c, struct str provider,
                                            struct str upstream, struct str asked);
/* The i-th entry, by provider and pattern; NULL after the last. */
const struct catalogue_entry *model_at(const struct model_catalogue *c, size_t i);

#endif
