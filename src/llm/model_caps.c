/* model_caps: fitting a wish to what a model takes. */
#include "llm/model_caps.h"

enum effort model_caps_effort(const struct model_caps *m, enum effort wanted)
{
    if (wanted == EFFORT_UNSET || !m->efforts || m->efforts & EFFORT_BIT(wanted))
        return wanted;
    int from = wanted == EFFORT_NONE ? EFFORT_MINIMAL : wanted;
    for (int d = 0; d < EFFORT_COUNT; d++) {
        if (from + d < EFFORT_COUNT && m->efforts & EFFORT_BIT(from + d))
            return (enum effort)(from + d);
        if (from - d > EFFORT_NONE && m->efforts & EFFORT_BIT(from - d))
            return (enum effort)(from - d);
    }
    return EFFORT_NONE;
}

uint32_t model_caps_budget(const struct model_caps *m, uint64_t wanted)
{
    if (m->budget_max && wanted > m->budget_max)
        return m->budget_max;
    if (wanted < m->budget_min)
        return m->budget_min;
    return wanted > UINT32_MAX ? UINT32_MAX : (uint32_t)wanted;
}
