/* effort: the ladder's names and what each step is worth in tokens. */
#include "llm/effort.h"

static const struct {
    const char *name;
    uint32_t budget;
} steps[EFFORT_COUNT] = {
    [EFFORT_UNSET] = {"", 0},
    [EFFORT_NONE] = {"none", 0},
    [EFFORT_MINIMAL] = {"minimal", 512},
    [EFFORT_LOW] = {"low", 1024},
    [EFFORT_MEDIUM] = {"medium", 8192},
    [EFFORT_HIGH] = {"high", 24576},
    [EFFORT_XHIGH] = {"xhigh", 32768},
    [EFFORT_MAX] = {"max", 65536},
};

const char *effort_name(enum effort e)
{
    return (unsigned)e < EFFORT_COUNT ? steps[e].name : "";
}

enum effort effort_find(struct str name)
{
    for (int e = EFFORT_NONE; e < EFFORT_COUNT; e++)
        if (str_eq(name, str_c(steps[e].name)))
            return (enum effort)e;
    return EFFORT_UNSET;
}

uint32_t effort_budget(enum effort e)
{
    return (unsigned)e < EFFORT_COUNT ? steps[e].budget : 0;
}

enum effort effort_of_budget(uint64_t tokens)
{
    if (!tokens)
        return EFFORT_NONE;
    enum effort e = EFFORT_MINIMAL;
    while (e < EFFORT_MAX && tokens > ((uint64_t)steps[e].budget + steps[e + 1].budget) / 2)
        e++;
    return e;
}
