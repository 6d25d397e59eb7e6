/* effort: how hard a model is asked to think: one ladder for every dialect and wire.
 *
 * Constant tables and pure functions; any thread. */
#ifndef LYSS_LLM_EFFORT_H
#define LYSS_LLM_EFFORT_H

#include "core/str.h"

/* In order: a higher step thinks more. */
enum effort {
    EFFORT_UNSET, /* nothing was asked for */
    EFFORT_NONE,
    EFFORT_MINIMAL,
    EFFORT_LOW,
    EFFORT_MEDIUM,
    EFFORT_HIGH,
    EFFORT_XHIGH,
    EFFORT_MAX,
    EFFORT_COUNT
};

/* A set of steps is a bit mask of these. */
#define EFFORT_BIT(e) (1u << (e))

/* "none", "minimal", … "max"; "" for EFFORT_UNSET. */
const char *effort_name(enum effort e);
/* EFFORT_UNSET: no step has that name. */
enum effort effort_find(struct str name);
/* Thinking tokens that a step is worth where a provider wants a number; 0 for none and unset. */
uint32_t effort_budget(enum effort e);
/* The step whose worth is nearest to a budget; 0 is EFFORT_NONE, any other at least minimal. */
enum effort effort_of_budget(uint64_t tokens);

#endif
