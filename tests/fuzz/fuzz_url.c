/* fuzz_url: any bytes.  What the parser accepts must mean the same to others: written again it
 * reads back equal, the C library's liberal reader of addresses takes no name for one, and no
 * segment of the path climbs.  A name that can be encoded is one segment of a path. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/guard.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static void check_host(const struct url *u)
{
    struct in_addr four;
    must(strlen(u->host) == u->host_n && u->host_n > 0);
    if (u->is_ip) {
        struct guard none = {0};
        struct checked_addr out;
        must(u->ip.port == u->port);
        must((guard_check(&none, &u->ip, &out, NULL) == ERR_OK) ==
             (addr_classify(&u->ip) == ADDR_PUBLIC));
    } else {
        must(!inet_aton(u->host, &four));
        for (const char *p = u->host; *p; p++)
            must((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("-_.", *p));
    }
}

static void check_path(const struct url *u)
{
    struct str rest = u->path, part;
    must(u->path.n == 0 || u->path.p[0] == '/');
    while (rest.n && str_split(&rest, '/', &part))
        must(!str_eq(part, STR(".")) && !str_eq(part, STR("..")) && !str_ieq(part, STR("%2e%2e")) &&
             str_chr(part, '\\') < 0);
}

static void check_again(const struct url *u)
{
    char authority[URL_AUTHORITY_MAX];
    struct buf b;
    struct url again;
    buf_init(&b, 2 * URL_MAX);
    buf_printf(&b, "%s://%s", u->https ? "https" : "http", url_authority(u, authority));
    buf_str(&b, u->path);
    if (u->query.p) {
        buf_char(&b, '?');
        buf_str(&b, u->query);
    }
    must(url_parse(buf_view(&b), &again, NULL) == ERR_OK);
    must(str_eq(url_host(u), url_host(&again)) && u->port == again.port);
    must(u->https == again.https && u->is_ip == again.is_ip && addr_eq(&u->ip, &again.ip));
    must(str_eq(u->path, again.path) && str_eq(u->query, again.query));
    must((u->query.p == NULL) == (again.query.p == NULL));
    buf_release(&b);
}

static void check_segment(struct str id)
{
    struct buf b;
    struct url u;
    buf_init(&b, 4096);
    buf_str(&b, STR("http://h/"));
    if (url_segment_encode(&b, id, NULL) == ERR_OK) {
        must(url_parse(buf_view(&b), &u, NULL) == ERR_OK || str_chr(id, '/') >= 0);
        must(str_chr(str_from(buf_view(&b), 9), '/') < 0);
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct url u;
    struct err_info info;
    struct cidr_list list;
    char *exact = malloc(size ? size : 1); /* so that one byte too far is seen */
    must(exact);
    if (size)
        memcpy(exact, data, size);
    struct str text = str_make(exact, size);
    err_info_init(&info);
    if (url_parse(text, &u, &info) == ERR_OK) {
        check_host(&u);
        check_path(&u);
        check_again(&u);
    } else {
        must(info.text[0]);
    }
    check_segment(text);
    if (cidr_list_parse(text, &list, &info) == ERR_OK)
        must(list.n <= CIDR_LIST_MAX);
    free(exact);
    return 0;
}
