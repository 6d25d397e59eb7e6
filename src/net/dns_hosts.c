/* dns_hosts: the hosts file, read once, so that no lookup ever waits for a disk. */
#include <stdio.h>

#include "core/alloc.h"
#include "core/map.h"
#include "net/dns.h"

enum { FILE_MAX = 1 << 20, NAMES_MAX = 4096, ADDRS_MAX = 8 };

struct host {
    struct host *next;
    struct str name;
    size_t n;
    struct addr addrs[ADDRS_MAX];
    char text[];
};

struct dns_hosts {
    struct map map;
    struct host *all;
};

/* Adds one address of one name; false on lack of memory. What is too much is left out. */
static bool add(struct dns_hosts *h, const struct addr *a, struct str name)
{
    char lower[254];
    if (name.n >= sizeof lower)
        return true;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = str_lower(name.p[i]);
    struct host *host = map_get(&h->map, str_make(lower, name.n));
    if (!host) {
        if (h->map.count == NAMES_MAX)
            return true;
        host = mem_zalloc(sizeof *host + name.n);
        if (!host)
            return false;
        memcpy(host->text, lower, name.n);
        host->name = str_make(host->text, name.n);
        host->next = h->all;
        h->all = host;
        if (map_put(&h->map, host->name, host))
            return false;
    }
    if (host->n < ADDRS_MAX)
        host->addrs[host->n++] = *a;
    return true;
}

static bool next_word(struct str *line, struct str *word)
{
    *line = str_trim(*line);
    size_t n = 0;
    while (n < line->n && !memchr(" \t\r", line->p[n], 3))
        n++;
    *word = str_make(line->p, n);
    *line = str_from(*line, n);
    return n > 0;
}

static bool parse(struct dns_hosts *h, struct str text)
{
    struct str line, word;
    while (str_split(&text, '\n', &line)) {
        struct addr a;
        ptrdiff_t comment = str_chr(line, '#');
        if (comment >= 0)
            line.n = (size_t)comment;
        if (!next_word(&line, &word) || !addr_parse(word, 0, &a))
            continue;
        while (next_word(&line, &word))
            if (!add(h, &a, word))
                return false;
    }
    return true;
}

struct dns_hosts *dns_hosts_new(const char *path)
{
    struct dns_hosts *h = mem_zalloc(sizeof *h);
    if (!h)
        return NULL;
    map_init(&h->map, NAMES_MAX);
    FILE *f = fopen(path, "re");
    if (!f)
        return h;
    char *text = mem_alloc(FILE_MAX);
    bool ok = text && parse(h, str_make(text, fread(text, 1, FILE_MAX, f)));
    mem_free(text);
    fclose(f);
    if (!ok)
        dns_hosts_free(&h);
    return h;
}

void dns_hosts_free(struct dns_hosts **h)
{
    struct dns_hosts *old = *h;
    *h = NULL;
    if (!old)
        return;
    while (old->all) {
        struct host *next = old->all->next;
        mem_free(old->all);
        old->all = next;
    }
    map_release(&old->map);
    mem_free(old);
}

size_t dns_hosts_find(const struct dns_hosts *h, struct str name, uint16_t port, struct addr *out,
                      size_t max)
{
    const struct host *host = h ? map_get(&h->map, name) : NULL;
    size_t n = 0;
    for (; host && n < host->n && n < max; n++) {
        out[n] = host->addrs[n];
        out[n].port = port;
    }
    return n;
}
