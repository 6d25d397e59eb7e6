/* fuzz_chunked: any bytes as a chunked body, decoded whole and in pieces with the same outcome; and
 * as data, which encoded in chunks of varying size must decode to itself. */
#include <stdio.h>
#include <stdlib.h>

#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

struct outcome {
    enum err e;
    char *data;
    size_t n, used;
};

static struct outcome decode(const char *text, size_t size, size_t step)
{
    struct http_chunked c = {0};
    struct outcome o = {.e = ERR_AGAIN, .data = malloc(size + 1)};
    must(o.data);
    while (o.e == ERR_AGAIN && o.used < size) {
        size_t n = size - o.used < step ? size - o.used : step, used, made = n;
        char *block = malloc(n);
        must(block);
        memcpy(block, text + o.used, n);
        o.e = http_chunked_decode(&c, block, &made, &used, NULL);
        must(made <= n && used <= n && (o.e != ERR_AGAIN || used == n));
        memcpy(o.data + o.n, block, made);
        o.n += made;
        o.used += used;
        free(block);
    }
    return o;
}

static void check_cuts(const char *text, size_t size, size_t step)
{
    struct outcome whole = decode(text, size, size ? size : 1), pieces = decode(text, size, step);
    must(whole.e == pieces.e && whole.n == pieces.n && whole.used == pieces.used);
    must(!memcmp(whole.data, pieces.data, whole.n));
    free(whole.data);
    free(pieces.data);
}

static void check_round_trip(const char *data, size_t size, size_t step)
{
    size_t n = 0, chunk = step;
    char *text = malloc(24 * size + 64);
    must(text);
    for (size_t at = 0; at < size; at += chunk) {
        chunk = (chunk * 7 + 3) % 61 + 1;
        size_t k = size - at < chunk ? size - at : chunk;
        n += (size_t)sprintf(text + n, k & 1 ? "%zx\r\n" : "0%zX;e=\"v\"\r\n", k);
        memcpy(text + n, data + at, k);
        n += k;
        n += (size_t)sprintf(text + n, "\r\n");
    }
    n += (size_t)sprintf(text + n, "0\r\nTrailer: x\r\n\r\n");
    struct outcome o = decode(text, n, step);
    must(o.e == ERR_OK && o.n == size && o.used == n && !memcmp(o.data, data, size));
    free(o.data);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    size_t step = data[0] % 32 + 1;
    check_cuts((const char *)data + 1, size - 1, step);
    check_round_trip((const char *)data + 1, size - 1, step);
    return 0;
}
