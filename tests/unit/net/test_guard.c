/* guard: every class of address, at both edges of each network, and the ways in which an operator's
 * list does and does not admit it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "net/guard.h"

static struct addr addr_of(const char *text)
{
    struct addr a;
    if (!addr_parse(str_c(text), 443, &a))
        fail_msg("%s is no address", text);
    return a;
}

static struct guard guard_of(const char *allow)
{
    struct guard g = {0};
    struct err_info info = {0};
    if (cidr_list_parse(str_c(allow), &g.allow, &info))
        fail_msg("%s: %s", allow, info.text);
    return g;
}

static enum err check(const char *allow, const char *text)
{
    struct guard g = guard_of(allow);
    struct addr a = addr_of(text);
    struct checked_addr out;
    enum err e = guard_check(&g, &a, &out, NULL);
    if (e)
        assert_int_equal(out.addr_.family, 0);
    else
        assert_true(addr_eq(checked_addr_get(&out), &a));
    return e;
}

static const struct {
    const char *text;
    enum addr_class cls;
} classes[] = {
    {"0.0.0.0", ADDR_UNSPECIFIED},
    {"0.0.0.1", ADDR_RESERVED},
    {"0.255.255.255", ADDR_RESERVED},
    {"1.0.0.0", ADDR_PUBLIC},
    {"9.255.255.255", ADDR_PUBLIC},
    {"10.0.0.0", ADDR_PRIVATE},
    {"10.255.255.255", ADDR_PRIVATE},
    {"11.0.0.0", ADDR_PUBLIC},
    {"100.63.255.255", ADDR_PUBLIC},
    {"100.64.0.0", ADDR_CGNAT},
    {"100.100.100.200", ADDR_METADATA},
    {"100.127.255.255", ADDR_CGNAT},
    {"100.128.0.0", ADDR_PUBLIC},
    {"126.255.255.255", ADDR_PUBLIC},
    {"127.0.0.0", ADDR_LOOPBACK},
    {"127.0.0.1", ADDR_LOOPBACK},
    {"127.255.255.255", ADDR_LOOPBACK},
    {"128.0.0.0", ADDR_PUBLIC},
    {"168.63.129.16", ADDR_METADATA},
    {"168.63.129.17", ADDR_PUBLIC},
    {"169.253.255.255", ADDR_PUBLIC},
    {"169.254.0.0", ADDR_LINK_LOCAL},
    {"169.254.169.253", ADDR_LINK_LOCAL},
    {"169.254.169.254", ADDR_METADATA},
    {"169.254.170.2", ADDR_METADATA},
    {"169.254.170.23", ADDR_METADATA},
    {"169.254.255.255", ADDR_LINK_LOCAL},
    {"169.255.0.0", ADDR_PUBLIC},
    {"172.15.255.255", ADDR_PUBLIC},
    {"172.16.0.0", ADDR_PRIVATE},
    {"172.31.255.255", ADDR_PRIVATE},
    {"172.32.0.0", ADDR_PUBLIC},
    {"192.0.0.0", ADDR_RESERVED},
    {"192.0.0.192", ADDR_METADATA},
    {"192.0.0.255", ADDR_RESERVED},
    {"192.0.1.0", ADDR_PUBLIC},
    {"192.0.2.1", ADDR_DOCUMENTATION},
    {"192.88.99.1", ADDR_6TO4},
    {"192.167.255.255", ADDR_PUBLIC},
    {"192.168.0.0", ADDR_PRIVATE},
    {"192.168.255.255", ADDR_PRIVATE},
    {"192.169.0.0", ADDR_PUBLIC},
    {"198.17.255.255", ADDR_PUBLIC},
    {"198.18.0.0", ADDR_BENCHMARKING},
    {"198.19.255.255", ADDR_BENCHMARKING},
    {"198.20.0.0", ADDR_PUBLIC},
    {"198.51.100.7", ADDR_DOCUMENTATION},
    {"203.0.113.7", ADDR_DOCUMENTATION},
    {"203.0.114.0", ADDR_PUBLIC},
    {"223.255.255.255", ADDR_PUBLIC},
    {"224.0.0.0", ADDR_MULTICAST},
    {"239.255.255.255", ADDR_MULTICAST},
    {"240.0.0.0", ADDR_RESERVED},
    {"255.255.255.254", ADDR_RESERVED},
    {"255.255.255.255", ADDR_BROADCAST},
    {"::", ADDR_UNSPECIFIED},
    {"::1", ADDR_LOOPBACK},
    {"::2", ADDR_IPV4_COMPATIBLE},
    {"::127.0.0.1", ADDR_IPV4_COMPATIBLE},
    {"::8.8.8.8", ADDR_IPV4_COMPATIBLE},
    {"::ffff:127.0.0.1", ADDR_IPV4_MAPPED},
    {"::ffff:a9fe:a9fe", ADDR_IPV4_MAPPED},
    {"0:0:0:0:0:ffff:8.8.8.8", ADDR_IPV4_MAPPED},
    {"::ffff:0:127.0.0.1", ADDR_IPV4_TRANSLATED},
    {"::1:0:0", ADDR_RESERVED},
    {"64:ff9b::127.0.0.1", ADDR_NAT64},
    {"64:ff9b::808:808", ADDR_NAT64},
    {"64:ff9b:1::a00:1", ADDR_NAT64},
    {"64:ff9b:1:ffff::1", ADDR_NAT64},
    {"64:ff9b:2::1", ADDR_RESERVED},
    {"100::1", ADDR_RESERVED},
    {"1fff:ffff::1", ADDR_RESERVED},
    {"2000::1", ADDR_PUBLIC},
    {"2001::1", ADDR_TEREDO},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", ADDR_TEREDO},
    {"2001:1::1", ADDR_RESERVED},
    {"2001:2::1", ADDR_BENCHMARKING},
    {"2001:2:1::1", ADDR_RESERVED},
    {"2001:20::1", ADDR_RESERVED},
    {"2001:1ff::1", ADDR_RESERVED},
    {"2001:200::1", ADDR_PUBLIC},
    {"2001:db8::1", ADDR_DOCUMENTATION},
    {"2001:db9::1", ADDR_PUBLIC},
    {"2001:4860:4860::8888", ADDR_PUBLIC},
    {"2002::1", ADDR_6TO4},
    {"2002:7f00:1::", ADDR_6TO4},
    {"2003::1", ADDR_PUBLIC},
    {"2606:4700:4700::1111", ADDR_PUBLIC},
    {"3ffe::1", ADDR_PUBLIC},
    {"3fff:fff::1", ADDR_DOCUMENTATION},
    {"3fff:1000::1", ADDR_PUBLIC},
    {"4000::1", ADDR_RESERVED},
    {"5f00::1", ADDR_RESERVED},
    {"fbff::1", ADDR_RESERVED},
    {"fc00::1", ADDR_PRIVATE},
    {"fd00:ec2::253", ADDR_PRIVATE},
    {"fd00:ec2::254", ADDR_METADATA},
    {"fd00:ec2::23", ADDR_METADATA},
    {"fd20:ce::254", ADDR_METADATA},
    {"fdff::1", ADDR_PRIVATE},
    {"fe00::1", ADDR_RESERVED},
    {"fe80::1", ADDR_LINK_LOCAL},
    {"febf::1", ADDR_LINK_LOCAL},
    {"fec0::1", ADDR_PRIVATE},
    {"ff00::1", ADDR_MULTICAST},
    {"ff02::1", ADDR_MULTICAST},
};

static void only_public_addresses_pass_by_themselves(void **state)
{
    bool seen[ADDR_CLASS_COUNT] = {false};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct addr a = addr_of(classes[i].text);
        enum addr_class c = addr_classify(&a);
        if (c != classes[i].cls)
            fail_msg("%s is %s, not %s", classes[i].text, addr_class_name(c),
                     addr_class_name(classes[i].cls));
        enum err want = c == ADDR_PUBLIC ? ERR_OK : ERR_ADDRESS_REFUSED;
        if (check("", classes[i].text) != want)
            fail_msg("%s", classes[i].text);
        seen[c] = true;
    }
    for (int c = 0; c < ADDR_CLASS_COUNT; c++)
        if (!seen[c])
            fail_msg("no vector for %s", addr_class_name((enum addr_class)c));
}

static const struct {
    const char *allow, *text;
    bool passes;
} lists[] = {
    {"127.0.0.0/8", "127.0.0.1", true},
    {"127.0.0.0/8", "127.255.255.255", true},
    {"127.0.0.0/8", "128.0.0.1", true}, /* public anyway */
    {"127.0.0.0/8", "10.0.0.1", false},
    {"127.0.0.0/8", "::1", false},
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"10.0.0.0/8, 192.168.4.0/22", "192.168.7.255", true},
    {"10.0.0.0/8, 192.168.4.0/22", "192.168.8.0", false},
    {"::1 fd00::/8", "fd12:3456::1", true},
    {"::1 fd00::/8", "::1", true},
    {"::1 fd00::/8", "fc00::1", false},
    {"100.64.0.0/10", "100.64.1.1", true},
    {"fe80::/10", "fe80::1", true},
    {"224.0.0.0/4", "224.0.0.1", true},
    /* metadata and unspecified: by name only */
    {"0.0.0.0/0", "127.0.0.1", true},
    {"0.0.0.0/0", "169.254.169.254", false},
    {"169.254.0.0/16", "169.254.169.254", false},
    {"169.254.0.0/16", "169.254.1.1", true},
    {"169.254.169.254", "169.254.169.254", true},
    {"169.254.169.254/31", "169.254.169.254", false},
    {"fd00::/8", "fd00:ec2::254", false},
    {"fd00:ec2::254/128", "fd00:ec2::254", true},
    {"0.0.0.0/0 ::/0", "0.0.0.0", false},
    {"0.0.0.0/0 ::/0", "::", false},
    {"0.0.0.0", "0.0.0.0", true},
    /* forms that carry IPv4 */
    {"127.0.0.0/8", "::ffff:127.0.0.1", false},
    {"0.0.0.0/0", "::ffff:8.8.8.8", false},
    {"::ffff:0:0/96", "::ffff:8.8.8.8", true},
    {"::ffff:0:0/96", "::ffff:127.0.0.1", false},
    {"::ffff:0:0/96 127.0.0.0/8", "::ffff:127.0.0.1", true},
    {"::/0", "::ffff:169.254.169.254", false},
    {"::/0 0.0.0.0/0", "::ffff:169.254.169.254", false},
    {"::/0", "::127.0.0.1", false},
    {"::/0", "::8.8.8.8", true},
    {"::/0", "::ffff:0:10.0.0.1", false},
    {"64:ff9b::/96", "64:ff9b::8.8.8.8", true},
    {"64:ff9b::/96", "64:ff9b::10.0.0.1", false},
    {"64:ff9b::/96", "64:ff9b::169.254.169.254", false},
    {"64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", true},
    {"64:ff9b:1::/48", "64:ff9b:1::127.0.0.1", false},
    {"2002::/16", "2002:808:808::1", true},
    {"2002::/16", "2002:7f00:1::1", false},
    {"2002::/16", "2002:a9fe:a9fe::1", false},
    {"2001::/32", "2001:0:4136:e378:8000:63bf:f7f7:f7f7", true},  /* 8.8.8.8 inverted */
    {"2001::/32", "2001:0:4136:e378:8000:63bf:80ff:fffe", false}, /* 127.0.0.1 inverted */
};

static void the_list_admits_what_it_names(void **state)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        enum err want = lists[i].passes ? ERR_OK : ERR_ADDRESS_REFUSED;
        if (check(lists[i].allow, lists[i].text) != want)
            fail_msg("[%s] %s", lists[i].allow, lists[i].text);
    }
}

static void dns_answers_pass_together_or_not_at_all(void **state)
{
    struct guard none = guard_of(""), ten = guard_of("10.0.0.0/8");
    struct addr mixed[3] = {addr_of("8.8.8.8"), addr_of("2606:4700::1"), addr_of("10.0.0.1")};
    struct checked_addr out[3];
    struct err_info info = {0};
    assert_int_equal(guard_check_all(&none, mixed, 2, out, NULL), ERR_OK);
    assert_true(addr_eq(checked_addr_get(&out[1]), &mixed[1]));
    assert_int_equal(guard_check_all(&none, mixed, 3, out, &info), ERR_ADDRESS_REFUSED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(out[i].addr_.family, 0);
    assert_non_null(strstr(info.text, "RFC 1918"));
    assert_null(strstr(info.text, "10.0.0.1"));
    assert_int_equal(guard_check_all(&ten, mixed, 3, out, NULL), ERR_OK);
    assert_int_equal(guard_check_all(&none, mixed, 0, out, NULL), ERR_DNS);
    struct addr swapped[2] = {addr_of("::ffff:8.8.8.8"), addr_of("8.8.8.8")};
    assert_int_equal(guard_check_all(&none, swapped, 2, out, NULL), ERR_ADDRESS_REFUSED);
}

static void no_port_or_family_no_address(void **state)
{
    struct guard g = guard_of("");
    struct addr a = addr_of("8.8.8.8"), nothing = {.port = 80};
    struct checked_addr out;
    a.port = 0;
    assert_int_equal(guard_check(&g, &a, &out, NULL), ERR_ADDRESS_REFUSED);
    assert_int_equal(guard_check(&g, &nothing, &out, NULL), ERR_ADDRESS_REFUSED);
}

static void lists_are_parsed_strictly(void **state)
{
    static const char *const bad[] = {
        "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10/8",       "10.0.0.1/8",
        "::/129",      "fd00::1/8", "localhost",   "010.0.0.0/8", "127.1",      "fe80::1%lo",
        "[::1]",       "*",         "1.2.3.4;::1", "/8",          "10.0.0.0//8"};
    struct cidr_list list;
    struct err_info info;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_list_parse(str_c(bad[i]), &list, NULL) != ERR_INVALID)
            fail_msg("%s", bad[i]);
    assert_int_equal(cidr_list_parse(STR("172.16.5.4/12"), &list, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "172.16.0.0/12"));
    assert_int_equal(cidr_list_parse(STR(" , 10.0.0.0/8,\n::1 ,"), &list, NULL), ERR_OK);
    assert_int_equal(list.n, 2);
    char many[CIDR_LIST_MAX * 8 + 9] = "";
    for (int i = 0; i < CIDR_LIST_MAX; i++)
        strcat(many, "1.1.1.1,");
    assert_int_equal(cidr_list_parse(str_c(many), &list, NULL), ERR_OK);
    strcat(many, "1.1.1.1");
    assert_int_equal(cidr_list_parse(str_c(many), &list, NULL), ERR_INVALID);
}

static void addresses_survive_their_text_and_socket_forms(void **state)
{
    static const char *const good[] = {"1.2.3.4", "::1", "2001:db8::a:0:1",
                                       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    static const char *const bad[] = {
        "",         "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "0x7f.0.0.1", "1.2.3.4 ",
        "::1%eth0", ":::",   "1::2::3",   "[::1]",    "::1.2.3",   "2130706433", "+1.2.3.4"};
    char text[ADDR_TEXT_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct addr a = addr_of(good[i]), b;
        struct sockaddr_storage ss;
        assert_string_equal(addr_format_ip(&a, text), good[i]);
        assert_true(addr_to_sockaddr(&a, &ss) > 0);
        assert_true(addr_from_sockaddr((struct sockaddr *)&ss, &b));
        assert_true(addr_eq(&a, &b));
        b.port = 65535;
        assert_false(addr_eq(&a, &b));
        assert_non_null(strstr(addr_format(&b, text), ":65535"));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr a;
        if (addr_parse(str_c(bad[i]), 0, &a))
            fail_msg("%s", bad[i]);
    }
    struct addr a;
    assert_false(addr_parse(STR("1.2.3.4\0.5"), 0, &a));
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_false(addr_from_sockaddr(&local, &a));
    assert_true(sizeof(struct checked_addr) <= 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_public_addresses_pass_by_themselves),
        cmocka_unit_test(the_list_admits_what_it_names),
        cmocka_unit_test(dns_answers_pass_together_or_not_at_all),
        cmocka_unit_test(no_port_or_family_no_address),
        cmocka_unit_test(lists_are_parsed_strictly),
        cmocka_unit_test(addresses_survive_their_text_and_socket_forms),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
