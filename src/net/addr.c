/* addr: text and socket forms of an address. Parsing is inet_pton, which knows no short, octal or
 * hexadecimal spelling of IPv4 and no zone id; what it refuses is no address here. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

bool addr_parse(struct str s, uint16_t port, struct addr *out)
{
    char text[INET6_ADDRSTRLEN];
    *out = (struct addr){.port = port};
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    int family = memchr(text, ':', s.n) ? AF_INET6 : AF_INET;
    if (inet_pton(family, text, out->bytes) != 1)
        return false;
    out->family = (uint8_t)family;
    return true;
}

char *addr_format_ip(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    if (!a->family || !inet_ntop(a->family, a->bytes, out, ADDR_TEXT_MAX))
        str_copy(out, ADDR_TEXT_MAX, STR("(no address)"));
    return out;
}

char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    char ip[ADDR_TEXT_MAX];
    addr_format_ip(a, ip);
    snprintf(out, ADDR_TEXT_MAX, a->family == AF_INET6 ? "[%.45s]:%u" : "%.45s:%u", ip, a->port);
    return out;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->bytes, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    if (a->family == AF_INET6) {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
        memcpy(&in.sin6_addr, a->bytes, 16);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    return 0;
}

bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out)
{
    *out = (struct addr){0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        memcpy(out->bytes, &in.sin_addr, 4);
        out->port = ntohs(in.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, sa, sizeof in);
        memcpy(out->bytes, &in.sin6_addr, 16);
        out->port = ntohs(in.sin6_port);
    } else {
        return false;
    }
    out->family = (uint8_t)sa->sa_family;
    return true;
}

/* Whether the first bits of a and b are the same. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool cidr_holds(const struct cidr *c, const struct addr *a)
{
    return c->family == a->family && same_bits(c->bytes, a->bytes, c->bits);
}

static enum err parse_cidr(struct str s, struct cidr *out, struct err_info *info)
{
    struct addr a;
    ptrdiff_t slash = str_chr(s, '/');
    if (!addr_parse(slash < 0 ? s : str_make(s.p, (size_t)slash), 0, &a))
        return err_set(info, ERR_INVALID, "'%.*s' is no network such as 10.0.0.0/8 or fd00::/8",
                       STR_FMT(s));
    uint64_t width = a.family == AF_INET ? 32 : 128, bits = width;
    if (slash >= 0 && !str_u64(str_from(s, (size_t)slash + 1), width, &bits))
        return err_set(info, ERR_INVALID, "'%.*s' needs a prefix length from 0 to %d", STR_FMT(s),
                       (int)width);
    *out = (struct cidr){.family = a.family, .bits = (uint8_t)bits};
    memcpy(out->bytes, a.bytes, sizeof out->bytes);
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int keep = (int)bits - (int)i * 8;
        if (keep < 8)
            out->bytes[i] &= keep <= 0 ? 0 : (uint8_t)(0xff << (8 - keep));
    }
    if (memcmp(out->bytes, a.bytes, sizeof a.bytes) != 0) {
        char text[ADDR_TEXT_MAX];
        memcpy(a.bytes, out->bytes, sizeof a.bytes);
        return err_set(info, ERR_INVALID, "'%.*s' has bits set behind its prefix; write %s/%d",
                       STR_FMT(s), addr_format_ip(&a, text), (int)bits);
    }
    return ERR_OK;
}

enum err cidr_list_parse(struct str text, struct cidr_list *out, struct err_info *info)
{
    out->n = 0;
    for (size_t i = 0; i < text.n;) {
        size_t begin = i;
        while (i < text.n && !memchr(", \t\r\n", text.p[i], 5))
            i++;
        struct str one = str_make(text.p + begin, i - begin);
        i++;
        if (one.n == 0)
            continue;
        if (one.n > 64)
            one.n = 64; /* no network is that long: the message shows its beginning */
        if (out->n == CIDR_LIST_MAX)
            return err_set(info, ERR_INVALID, "more than %d networks", CIDR_LIST_MAX);
        enum err e = parse_cidr(one, &out->items[out->n], info);
        if (e)
            return e;
        out->n++;
    }
    return ERR_OK;
}
