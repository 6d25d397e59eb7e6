/* recordings: where recorded traffic of the real providers lies, for the tests that read it.
 *
 * LYSS_FIXTURES names a folder with openai/, anthropic/ and google/ in it or one
 * below; *.json is a whole body, *.chunks.txt one SSE data payload a line.  To be
 * included behind cmocka.h. */
#ifndef LYSS_TESTS_RECORDINGS_H
#define LYSS_TESTS_RECORDINGS_H

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

/* The files of a provider's folder that match. Skips the test where no recordings are to be had;
 * the caller calls globfree. */
static inline void recordings_find(glob_t *found, const char *folder, const char *pattern)
{
    static const char *const below[] = {"", "*/"};
    const char *at = getenv("LYSS_FIXTURES");
    char path[4096];
    for (size_t i = 0; at && *at && i < sizeof below / sizeof *below; i++) {
        snprintf(path, sizeof path, "%s/%s%s/%s", at, below[i], folder, pattern);
        if (glob(path, 0, NULL, found) == 0)
            return;
    }
    print_message("LYSS_FIXTURES names no %s/%s: no recordings to check\n", folder, pattern);
    skip();
}

/* A whole file, NUL-terminated; the caller frees. */
static inline char *recordings_read(const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *p = malloc((size_t)n + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)n, f), n);
    p[n] = 0;
    fclose(f);
    return p;
}

#endif
