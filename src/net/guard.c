/* guard: one table of special networks, searched from the top; the first row that holds an address
 * names its class. The rows follow the IANA special-purpose registries (RFC 6890), plus the
 * addresses at which clouds answer with credentials. IPv6 outside 2000::/3 is not assigned as
 * global unicast, so what no row names is reserved there and public in IPv4. */
#include "net/guard.h"

#include <assert.h>

struct network {
    struct cidr net;
    enum addr_class cls;
    const char *reference;
    int8_t inner;  /* where an IPv4 address is carried, or -1 */
    bool inverted; /* its bits are inverted (Teredo) */
};

#define V4(a, b, c, d, bits)                                                                       \
    {                                                                                              \
        {a, b, c, d}, AF_INET, bits                                                                \
    }
#define W(w) ((w) >> 8), ((w)&0xff)
/* The first three and the last two 16-bit words. */
#define V6(w0, w1, w2, w6, w7, bits)                                                               \
    {                                                                                              \
        {W(w0), W(w1), W(w2), 0, 0, 0, 0, 0, 0, W(w6), W(w7)}, AF_INET6, bits                      \
    }

static const struct network networks[] = {
    {V4(0, 0, 0, 0, 32), ADDR_UNSPECIFIED, "RFC 1122", -1},
    {V4(0, 0, 0, 0, 8), ADDR_RESERVED, "RFC 791", -1},
    {V4(10, 0, 0, 0, 8), ADDR_PRIVATE, "RFC 1918", -1},
    {V4(100, 100, 100, 200, 32), ADDR_METADATA, "Alibaba Cloud", -1},
    {V4(100, 64, 0, 0, 10), ADDR_CGNAT, "RFC 6598", -1},
    {V4(127, 0, 0, 0, 8), ADDR_LOOPBACK, "RFC 1122", -1},
    {V4(168, 63, 129, 16, 32), ADDR_METADATA, "Azure", -1},
    {V4(169, 254, 169, 254, 32), ADDR_METADATA, "AWS, GCP, Azure and others", -1},
    {V4(169, 254, 170, 2, 32), ADDR_METADATA, "AWS ECS", -1},
    {V4(169, 254, 170, 23, 32), ADDR_METADATA, "AWS EKS", -1},
    {V4(169, 254, 0, 0, 16), ADDR_LINK_LOCAL, "RFC 3927", -1},
    {V4(172, 16, 0, 0, 12), ADDR_PRIVATE, "RFC 1918", -1},
    {V4(192, 0, 0, 192, 32), ADDR_METADATA, "Oracle Cloud", -1},
    {V4(192, 0, 0, 0, 24), ADDR_RESERVED, "RFC 6890", -1},
    {V4(192, 0, 2, 0, 24), ADDR_DOCUMENTATION, "RFC 5737", -1},
    {V4(192, 88, 99, 0, 24), ADDR_6TO4, "RFC 7526", -1},
    {V4(192, 168, 0, 0, 16), ADDR_PRIVATE, "RFC 1918", -1},
    {V4(198, 18, 0, 0, 15), ADDR_BENCHMARKING, "RFC 2544", -1},
    {V4(198, 51, 100, 0, 24), ADDR_DOCUMENTATION, "RFC 5737", -1},
    {V4(203, 0, 113, 0, 24), ADDR_DOCUMENTATION, "RFC 5737", -1},
    {V4(224, 0, 0, 0, 4), ADDR_MULTICAST, "RFC 5771", -1},
    {V4(255, 255, 255, 255, 32), ADDR_BROADCAST, "RFC 919", -1},
    {V4(240, 0, 0, 0, 4), ADDR_RESERVED, "RFC 1112", -1},
    {V4(0, 0, 0, 0, 0), ADDR_PUBLIC, "RFC 791", -1},

    {V6(0, 0, 0, 0, 0, 128), ADDR_UNSPECIFIED, "RFC 4291", -1},
    {V6(0, 0, 0, 0, 1, 128), ADDR_LOOPBACK, "RFC 4291", -1},
    {{{[10] = 0xff, [11] = 0xff}, AF_INET6, 96}, ADDR_IPV4_MAPPED, "RFC 4291", 12},
    {{{[8] = 0xff, [9] = 0xff}, AF_INET6, 96}, ADDR_IPV4_TRANSLATED, "RFC 2765", 12},
    {V6(0, 0, 0, 0, 0, 96), ADDR_IPV4_COMPATIBLE, "RFC 4291", 12},
    {V6(0x64, 0xff9b, 0, 0, 0, 96), ADDR_NAT64, "RFC 6052", 12},
    {V6(0x64, 0xff9b, 1, 0, 0, 48), ADDR_NAT64, "RFC 8215", 12},
    {V6(0x2001, 0, 0, 0, 0, 32), ADDR_TEREDO, "RFC 4380", 12, true},
    {V6(0x2001, 2, 0, 0, 0, 48), ADDR_BENCHMARKING, "RFC 5180", -1},
    {V6(0x2001, 0, 0, 0, 0, 23), ADDR_RESERVED, "RFC 2928", -1},
    {V6(0x2001, 0xdb8, 0, 0, 0, 32), ADDR_DOCUMENTATION, "RFC 3849", -1},
    {V6(0x2002, 0, 0, 0, 0, 16), ADDR_6TO4, "RFC 3056", 2},
    {V6(0x3fff, 0, 0, 0, 0, 20), ADDR_DOCUMENTATION, "RFC 9637", -1},
    {V6(0xfd00, 0xec2, 0, 0, 0x254, 128), ADDR_METADATA, "AWS", -1},
    {V6(0xfd00, 0xec2, 0, 0, 0x23, 128), ADDR_METADATA, "AWS EKS", -1},
    {V6(0xfd20, 0xce, 0, 0, 0x254, 128), ADDR_METADATA, "GCP", -1},
    {V6(0xfc00, 0, 0, 0, 0, 7), ADDR_PRIVATE, "RFC 4193", -1},
    {V6(0xfe80, 0, 0, 0, 0, 10), ADDR_LINK_LOCAL, "RFC 4291", -1},
    {V6(0xfec0, 0, 0, 0, 0, 10), ADDR_PRIVATE, "RFC 3879", -1},
    {V6(0xff00, 0, 0, 0, 0, 8), ADDR_MULTICAST, "RFC 4291", -1},
    {V6(0x2000, 0, 0, 0, 0, 3), ADDR_PUBLIC, "RFC 3587", -1},
    {V6(0, 0, 0, 0, 0, 0), ADDR_RESERVED, "RFC 4291", -1},
};

static const char *const class_names[ADDR_CLASS_COUNT] = {
    [ADDR_PUBLIC] = "public",
    [ADDR_UNSPECIFIED] = "unspecified",
    [ADDR_LOOPBACK] = "loopback",
    [ADDR_PRIVATE] = "private",
    [ADDR_CGNAT] = "carrier-grade NAT",
    [ADDR_LINK_LOCAL] = "link-local",
    [ADDR_METADATA] = "cloud metadata",
    [ADDR_MULTICAST] = "multicast",
    [ADDR_BROADCAST] = "broadcast",
    [ADDR_RESERVED] = "reserved",
    [ADDR_DOCUMENTATION] = "documentation",
    [ADDR_BENCHMARKING] = "benchmarking",
    [ADDR_IPV4_MAPPED] = "IPv4-mapped",
    [ADDR_IPV4_COMPATIBLE] = "IPv4-compatible",
    [ADDR_IPV4_TRANSLATED] = "IPv4-translated",
    [ADDR_NAT64] = "NAT64",
    [ADDR_6TO4] = "6to4",
    [ADDR_TEREDO] = "Teredo",
};

const char *addr_class_name(enum addr_class c)
{
    return c < ADDR_CLASS_COUNT ? class_names[c] : "unknown";
}

static const struct network *network_of(const struct addr *a)
{
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (cidr_holds(&networks[i].net, a))
            return &networks[i];
    return NULL;
}

enum addr_class addr_classify(const struct addr *a)
{
    const struct network *n = network_of(a);
    return n ? n->cls : ADDR_RESERVED;
}

static bool listed(const struct cidr_list *list, const struct addr *a, bool exactly)
{
    unsigned width = a->family == AF_INET ? 32 : 128;
    for (size_t i = 0; i < list->n; i++)
        if (cidr_holds(&list->items[i], a) && (!exactly || list->items[i].bits == width))
            return true;
    return false;
}

/* The row that refuses a, or NULL when it passes. */
static const struct network *refusal(const struct guard *g, const struct addr *a)
{
    const struct network *n = network_of(a);
    if (n->cls == ADDR_PUBLIC)
        return NULL;
    if (!listed(&g->allow, a, n->cls == ADDR_METADATA || n->cls == ADDR_UNSPECIFIED))
        return n;
    if (n->inner < 0)
        return NULL;
    struct addr inner = {.family = AF_INET, .port = a->port};
    for (int i = 0; i < 4; i++)
        inner.bytes[i] = a->bytes[n->inner + i] ^ (n->inverted ? 0xff : 0);
    return refusal(g, &inner); /* an IPv4 row carries nothing, so this ends here */
}

const struct addr *checked_addr_get(const struct checked_addr *c)
{
    assert(c->addr_.family);
    return &c->addr_;
}

enum err guard_check(const struct guard *g, const struct addr *a, struct checked_addr *out,
                     struct err_info *info)
{
    *out = (struct checked_addr){0};
    if ((a->family != AF_INET && a->family != AF_INET6) || a->port == 0)
        return err_set(info, ERR_ADDRESS_REFUSED, "the upstream has no usable address or port");
    const struct network *n = refusal(g, a);
    if (n)
        return err_set(info, ERR_ADDRESS_REFUSED,
                       "the upstream's address is not public: %s (%s); an operator can admit it "
                       "with LYSS_UPSTREAM_ALLOW",
                       addr_class_name(n->cls), n->reference);
    out->addr_ = *a;
    return ERR_OK;
}

enum err guard_check_all(const struct guard *g, const struct addr *a, size_t n,
                         struct checked_addr *out, struct err_info *info)
{
    enum err e = n ? ERR_OK : err_set(info, ERR_DNS, "the upstream's name has no address");
    for (size_t i = 0; i < n && !e; i++)
        e = guard_check(g, &a[i], &out[i], info);
    if (e)
        memset(out, 0, n * sizeof *out);
    return e;
}
