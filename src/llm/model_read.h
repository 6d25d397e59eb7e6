/* model_read: the JSON form of a catalogue. Private to model_catalogue. */
#ifndef LYSS_LLM_MODEL_READ_H
#define LYSS_LLM_MODEL_READ_H

#include "core/json_read.h"
#include "llm/model_catalogue.h"

struct model_reader {
    const struct json_doc *doc;
    struct arena *arena; /* what is read is put here */
    struct err_info *info;
    char path[160]; /* of the value being read: models[3].prices[0].from */
    size_t path_n;
    bool lenient; /* sources may be missing */
    bool kinds;   /* providers must be rows of llm/provider */
};

/* A provider's line under "providers". */
struct model_provider {
    struct str name;
    struct str models_of; /* its models are those of this one, but for the prices */
    bool deployments;     /* upstream names are the operator's own */
};

/* Top-level members; JSON_NONE where one is absent. ERR_INVALID for another member or type. */
enum err model_read_top(struct model_reader *r, uint32_t *providers, uint32_t *models) MUST_CHECK;
/* key: of the member of "providers". */
enum err model_read_provider(struct model_reader *r, uint32_t key,
                             struct model_provider *out) MUST_CHECK;
/* Provider and patterns of an element of "models"; patterns is an array of n in the arena. */
enum err model_read_names(struct model_reader *r, uint32_t obj, struct str *provider,
                          struct str **patterns, unsigned *n) MUST_CHECK;
/* Lays the rest of the element over e, whose names are set. */
enum err model_read_entry(struct model_reader *r, uint32_t obj,
                          struct catalogue_entry *e) MUST_CHECK;
/* "line 12: models[3].prices: …" and ERR_INVALID. */
enum err model_read_bad(struct model_reader *r, uint32_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Goes into a member or element; returns what model_read_leave takes to come back. */
size_t model_read_enter(struct model_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void model_read_leave(struct model_reader *r, size_t mark);

#endif
