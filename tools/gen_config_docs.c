/* gen_config_docs: writes, or with --check compares, the files made from src/core/config.def.
 *
 *   gen_config_docs [--check] SOURCE_ROOT
 */
#include <stdio.h>
#include <string.h>

#include "core/config.h"

static int handle(const char *root, const char *name, void (*make)(struct buf *), int check)
{
    char path[4096];
    struct buf want, have;
    buf_init(&want, 1 << 20);
    buf_init(&have, 1 << 20);
    make(&want);
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, check ? "r" : "w");
    int failed = 1;
    if (!f) {
        perror(path);
    } else if (check) {
        char *to;
        size_t n;
        while ((to = buf_reserve(&have, 4096)) && (n = fread(to, 1, 4096, f)) > 0)
            buf_advance(&have, n);
        failed = !str_eq(buf_view(&want), buf_view(&have));
        if (failed)
            printf("%s does not fit src/core/config.def: run `make docs`\n", name);
    } else {
        failed = fwrite(want.p, 1, want.n, f) != want.n;
    }
    if (f && fclose(f) != 0)
        failed = 1;
    buf_release(&want);
    buf_release(&have);
    return failed;
}

int main(int argc, char **argv)
{
    int check = argc == 3 && strcmp(argv[1], "--check") == 0;
    if (argc != 2 && !check) {
        fputs("usage: gen_config_docs [--check] SOURCE_ROOT\n", stderr);
        return 2;
    }
    const char *root = argv[argc - 1];
    return handle(root, ".env.example", config_env_example, check) |
           handle(root, "docs/configuration.md", config_markdown, check);
}
