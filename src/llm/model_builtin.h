/* model_builtin: data/models.json as bytes. Private to model_catalogue. */
#ifndef LYSS_LLM_MODEL_BUILTIN_H
#define LYSS_LLM_MODEL_BUILTIN_H

#include <stddef.h>

extern const char model_builtin[];
extern const size_t model_builtin_bytes;

#endif
