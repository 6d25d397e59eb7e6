/* What the targets of request and response heads share: a head fed in pieces must come to the same
 * end as one fed whole. */
#ifndef TESTS_FUZZ_HEAD_H
#define TESTS_FUZZ_HEAD_H

#include <stdio.h>
#include <stdlib.h>

#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static char *exact(const void *p, size_t n) /* so that one byte too far is seen */
{
    char *block = malloc(n ? n : 1);
    must(block);
    if (n)
        memcpy(block, p, n);
    return block;
}

static enum err find(const uint8_t *data, size_t size, size_t step, bool request, size_t *head_n)
{
    enum err e = ERR_AGAIN;
    *head_n = 0;
    for (size_t n = 0; e == ERR_AGAIN && n < size;) {
        n = size - n < step ? size : n + step;
        char *block = exact(data, n);
        e = http_head_find(str_make(block, n), head_n, request, NULL);
        must(*head_n <= n);
        free(block);
    }
    return e;
}

/* The head at the front of data behind its first byte, which says in pieces of which length it
 * comes; the caller frees it. NULL: there is none. */
static char *find_both_ways(const uint8_t *data, size_t size, bool request, size_t *head_n)
{
    size_t pieces;
    if (!size)
        return NULL;
    size_t step = data[0] % 32 + 1;
    data++;
    size--;
    enum err e = find(data, size, size ? size : 1, request, head_n);
    must(find(data, size, step, request, &pieces) == e && (e || *head_n == pieces));
    return e ? NULL : exact(data, *head_n);
}

#endif
