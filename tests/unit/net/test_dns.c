/* dns: against a server of our own on the same loop, with a clock that the test turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "net/dns.h"
#include "net/guard.h"

/* ---- the server ------------------------------------------------------------- */

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };

/* One row per record; a name with a row and no record of the asked type has no data. */
static const struct record {
    const char *name;
    uint16_t type;
    uint32_t ttl;
    const char *value;
} zone[] = {
    {"a.test", TYPE_A, 60, "127.1.2.3"},
    {"a.test", TYPE_A, 60, "127.1.2.4"},
    {"six.test", TYPE_AAAA, 60, "fd00::6"},
    {"both.test", TYPE_AAAA, 60, "2606:4700::1"},
    {"both.test", TYPE_A, 60, "8.8.8.8"},
    {"mixed.test", TYPE_A, 60, "8.8.8.8"},
    {"mixed.test", TYPE_A, 60, "10.0.0.1"},
    {"zero.test", TYPE_A, 0, "127.0.0.9"},
    {"long.test", TYPE_A, 1000000, "127.0.0.8"},
    {"alias.test", TYPE_CNAME, 5, "a.test"},
    {"alias.test", TYPE_A, 60, "127.1.2.3"},
    {"half.test", TYPE_A, 60, "127.0.0.5"}, /* and silence about AAAA */
    {"empty.test", TYPE_CNAME, 60, NULL},
};

static struct server {
    struct io io;
    int asked; /* questions for A records */
    char text[64];
} server;

static size_t put_name(unsigned char *at, const char *name)
{
    size_t n = 0;
    while (*name) {
        size_t label = strcspn(name, ".");
        at[n++] = (unsigned char)label;
        memcpy(at + n, name, label);
        n += label;
        name += label + (name[label] == '.');
    }
    at[n++] = 0;
    return n;
}

static size_t put_record(unsigned char *at, const char *owner, const struct record *r)
{
    unsigned char data[64];
    size_t data_n, n = put_name(at, owner);
    if (r->type == TYPE_CNAME)
        data_n = put_name(data, r->value);
    else
        data_n = inet_pton(r->type == TYPE_A ? AF_INET : AF_INET6, r->value, data) == 1
                     ? (r->type == TYPE_A ? 4 : 16)
                     : 0;
    unsigned char head[10] = {0,
                              (unsigned char)r->type,
                              0,
                              1,
                              (unsigned char)(r->ttl >> 24),
                              (unsigned char)(r->ttl >> 16),
                              (unsigned char)(r->ttl >> 8),
                              (unsigned char)r->ttl,
                              0,
                              (unsigned char)data_n};
    memcpy(at + n, head, 10);
    memcpy(at + n + 10, data, data_n);
    return n + 10 + data_n;
}

/* Answers the question in m (n bytes) in place; returns the length, 0 for silence. */
static size_t answer(unsigned char *m, size_t n)
{
    char name[128] = "";
    size_t at = 12;
    for (; m[at]; at += m[at] + 1u)
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%.*s", name[0] ? "." : "",
                 m[at], m + at + 1);
    int type = m[at + 2];
    n = at + 5;
    server.asked += type == TYPE_A;
    if (strstr(name, "silent.test") || (strcmp(name, "half.test") == 0 && type != TYPE_A))
        return 0;
    bool known = false, broken = strcmp(name, "broken.test") == 0;
    bool alias = strcmp(name, "alias.test") == 0;
    int count = 0;
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++) {
        const struct record *r = &zone[i];
        if (strcmp(r->name, name) != 0)
            continue;
        known = true;
        if (!r->value || (r->type != TYPE_CNAME && r->type != type))
            continue;
        n += put_record(m + n, alias && r->type == TYPE_A ? "a.test" : name, r);
        count++;
    }
    known |= name[0] == 'n' && name[1] >= '0' && name[1] <= '9';
    if (known && name[0] == 'n' && type == TYPE_A) {
        n += put_record(m + n, name, &zone[0]);
        count++;
    }
    m[2] = 0x81;
    m[3] = (unsigned char)(0x80 | (broken ? 2 : known ? 0 : 3));
    m[7] = (unsigned char)count;
    memset(m + 8, 0, 4);
    return n;
}

static void on_question(struct io *io, int events)
{
    unsigned char m[1024];
    struct sockaddr_in from;
    socklen_t from_n = sizeof from;
    ssize_t n = recvfrom(io->fd, m, 512, 0, (struct sockaddr *)&from, &from_n);
    size_t out = n > 16 ? answer(m, (size_t)n) : 0;
    if (out)
        assert_int_equal(sendto(io->fd, m, out, 0, (struct sockaddr *)&from, from_n), out);
}

/* ---- the test's side ---------------------------------------------------------- */

static struct loop *loop;
static struct dns *dns;
static int waiting;

struct ask {
    struct dns_query q;
    int calls;
    enum err err;
    size_t n;
    struct addr addrs[DNS_ADDRS_MAX];
    struct ask *cancels;
};

static void on_done(struct dns_query *q, enum err e, const struct addr *addrs, size_t n)
{
    struct ask *a = (struct ask *)q;
    a->calls++;
    a->err = e;
    a->n = n;
    if (n)
        memcpy(a->addrs, addrs, n * sizeof *addrs);
    if (a->cancels) {
        dns_cancel(&a->cancels->q);
        waiting--;
    }
    if (--waiting == 0)
        loop_stop(loop);
}

static void start(struct ask *a, const char *host)
{
    a->calls = 0;
    waiting++;
    dns_resolve(dns, &a->q, str_c(host), 443, on_done);
    assert_int_equal(a->calls, 0);
}

/* Turns the loop until every callback has come. */
static void run_all(void)
{
    while (waiting > 0)
        loop_run(loop);
}

static enum err resolve(struct ask *a, const char *host)
{
    start(a, host);
    run_all();
    assert_int_equal(a->calls, 1);
    return a->err;
}

static enum err cached(const char *host)
{
    struct addr out[DNS_ADDRS_MAX];
    size_t n;
    enum err e = dns_lookup_cached(dns, str_c(host), 443, out, &n);
    assert_int_equal(n > 0, e == ERR_OK);
    return e;
}

/* Turns the loop for some real time. */
static bool elapsed;

static void on_elapsed(struct deadline *d)
{
    elapsed = true;
    loop_stop(loop);
}

static void run_ms(uint64_t ms)
{
    struct deadline d = {0};
    elapsed = false;
    deadline_set(loop, &d, loop_now_ms(loop) + ms, on_elapsed);
    while (!elapsed) /* an earlier stop may still be under way */
        loop_run(loop);
}

static int64_t offset_ns;
static void pass_ms(int64_t ms)
{
    offset_ns += ms * 1000000;
    clock_test_offset_ns(offset_ns);
}

static void assert_addr(const struct addr *a, const char *text)
{
    char got[ADDR_TEXT_MAX];
    assert_string_equal(addr_format(a, got), text);
}

static char hosts_path[] = "/tmp/lyss-hosts-XXXXXX";
static struct dns_hosts *hosts;

static int setup(void **state)
{
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof me;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    loop = loop_new("test");
    assert_int_equal(bind(fd, (struct sockaddr *)&me, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&me, &n), 0);
    snprintf(server.text, sizeof server.text, "127.0.0.1:%d", ntohs(me.sin_port));
    assert_int_equal(io_open(&server.io, loop, fd, IO_READ, on_question), ERR_OK);
    struct dns_options o = {.servers = server.text, .hosts = hosts};
    struct err_info info;
    if (dns_new(&dns, loop, &o, &info))
        fail_msg("%s", info.text);
    server.asked = 0;
    waiting = 0;
    return 0;
}

static int teardown(void **state)
{
    dns_close(&dns);
    io_close(&server.io, NULL);
    close(server.io.fd);
    loop_free(&loop);
    offset_ns = 0;
    clock_test_offset_ns(0);
    return 0;
}

/* ---- tests ---------------------------------------------------------------------- */

static void both_families_are_answered(void **state)
{
    struct ask a = {0};
    assert_int_equal(resolve(&a, "a.test"), ERR_OK);
    assert_int_equal(a.n, 2);
    assert_addr(&a.addrs[0], "127.1.2.3:443");
    assert_addr(&a.addrs[1], "127.1.2.4:443");
    assert_int_equal(resolve(&a, "six.test"), ERR_OK);
    assert_int_equal(a.n, 1);
    assert_addr(&a.addrs[0], "[fd00::6]:443");
    assert_int_equal(resolve(&a, "both.test"), ERR_OK);
    assert_int_equal(a.n, 2);
    assert_addr(&a.addrs[0], "8.8.8.8:443");
    assert_addr(&a.addrs[1], "[2606:4700::1]:443");
}

static void what_is_known_is_not_asked_again(void **state)
{
    struct ask a = {0};
    struct addr out[DNS_ADDRS_MAX];
    size_t n;
    assert_int_equal(cached("a.test"), ERR_AGAIN);
    assert_int_equal(resolve(&a, "a.test"), ERR_OK);
    assert_int_equal(resolve(&a, "A.Test"), ERR_OK);
    assert_int_equal(a.n, 2);
    assert_int_equal(dns_lookup_cached(dns, STR("a.TEST"), 80, out, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_addr(&out[1], "127.1.2.4:80");
    assert_int_equal(server.asked, 1);
    pass_ms(59000);
    run_ms(30);
    assert_int_equal(cached("a.test"), ERR_OK);
    pass_ms(1000);
    run_ms(30);
    assert_int_equal(cached("a.test"), ERR_AGAIN);
    assert_int_equal(resolve(&a, "a.test"), ERR_OK);
    assert_int_equal(server.asked, 2);
}

static void lifetimes_are_bounded(void **state)
{
    static const struct {
        const char *host;
        int64_t ms;
        enum err err;
    } rows[] = {{"zero.test", 1000, ERR_OK},     {"long.test", 300000, ERR_OK},
                {"alias.test", 5000, ERR_OK}, /* the alias lives shorter than its target */
                {"nowhere.test", 5000, ERR_DNS}, {"empty.test", 5000, ERR_DNS},
                {"broken.test", 1000, ERR_DNS}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ask a = {0};
        assert_int_equal(resolve(&a, rows[i].host), rows[i].err);
        pass_ms(rows[i].ms - 500);
        run_ms(30);
        if (cached(rows[i].host) != rows[i].err)
            fail_msg("%s is forgotten too early", rows[i].host);
        pass_ms(500);
        run_ms(30);
        if (cached(rows[i].host) != ERR_AGAIN)
            fail_msg("%s is kept too long", rows[i].host);
    }
}

static void silence_is_a_timeout(void **state)
{
    struct ask a = {0}, b = {0};
    start(&a, "silent.test");
    run_ms(50);
    assert_int_equal(a.calls, 0);
    pass_ms(4000);
    run_ms(50);
    assert_int_equal(a.calls, 0);
    start(&b, "silent.test"); /* joins the same question, with its own five seconds */
    pass_ms(1500);
    run_ms(50);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.err, ERR_DNS_TIMEOUT);
    assert_int_equal(a.n, 0);
    assert_int_equal(b.calls, 0);
    pass_ms(4000);
    run_all();
    assert_int_equal(b.err, ERR_DNS_TIMEOUT);
    assert_int_equal(server.asked, 1);
}

static void the_servers_own_timeout_is_remembered(void **state)
{
    struct dns_options o = {.servers = server.text, .timeout_ms = 60};
    struct ask a = {0};
    dns_close(&dns);
    assert_int_equal(dns_new(&dns, loop, &o, NULL), ERR_OK);
    assert_int_equal(resolve(&a, "silent.test"), ERR_DNS_TIMEOUT);
    for (int i = 0; i < 200 && cached("silent.test") == ERR_AGAIN; i++)
        run_ms(20);
    assert_int_equal(cached("silent.test"), ERR_DNS_TIMEOUT);
}

static void silence_about_one_family_spares_the_other(void **state)
{
    struct dns_options o = {.servers = server.text, .timeout_ms = 3000};
    struct ask a = {0};
    dns_close(&dns);
    assert_int_equal(dns_new(&dns, loop, &o, NULL), ERR_OK);
    assert_int_equal(resolve(&a, "half.test"), ERR_OK);
    assert_int_equal(a.n, 1);
    assert_addr(&a.addrs[0], "127.0.0.5:443");
}

static void equal_names_share_a_question(void **state)
{
    struct ask a[20] = {0};
    for (int i = 0; i < 20; i++)
        start(&a[i], i % 2 ? "a.test" : "A.TEST");
    run_all();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(a[i].calls, 1);
        assert_int_equal(a[i].n, 2);
    }
    assert_int_equal(server.asked, 1);
}

static void cancelled_is_silent(void **state)
{
    struct ask a = {0}, b = {0}, c = {0}, d = {0};
    start(&a, "a.test");
    dns_cancel(&a.q);
    dns_cancel(&a.q);
    waiting--;
    start(&b, "a.test");
    start(&c, "127.0.0.1"); /* ready already: only its delivery is due */
    dns_cancel(&c.q);
    waiting--;
    memset(&c, 0xee, sizeof c); /* nobody may look there again */
    run_all();
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    /* one callback cancels the other, whichever comes first */
    a = b = (struct ask){0};
    start(&a, "both.test");
    start(&b, "both.test");
    a.cancels = &b;
    b.cancels = &a;
    run_all();
    assert_int_equal(a.calls + b.calls, 1);
    dns_cancel(&d.q); /* never started */
}

static void closing_cancels(void **state)
{
    struct ask a = {0}, b = {0};
    start(&a, "silent.test");
    start(&b, "127.0.0.1");
    run_ms(0);
    start(&b, "127.0.0.1");
    dns_close(&dns);
    b.calls = 0;
    run_ms(50);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 0);
}

static void some_names_need_no_server(void **state)
{
    static const struct {
        const char *host, *addr;
    } rows[] = {{"127.0.0.7", "127.0.0.7:443"},   {"::1", "[::1]:443"},
                {"localhost", "127.0.0.1:443"},   {"LocalHost", "127.0.0.1:443"},
                {"x.localhost", "127.0.0.1:443"}, {"box.lan", "10.1.2.3:443"},
                {"BOX", "10.1.2.3:443"}};
    struct ask a = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct addr out[DNS_ADDRS_MAX];
        size_t n;
        assert_int_equal(resolve(&a, rows[i].host), ERR_OK);
        assert_addr(&a.addrs[0], rows[i].addr);
        assert_int_equal(dns_lookup_cached(dns, str_c(rows[i].host), 443, out, &n), ERR_OK);
        assert_addr(&out[0], rows[i].addr);
    }
    assert_int_equal(resolve(&a, "two.lan"), ERR_OK);
    assert_int_equal(a.n, 2);
    assert_addr(&a.addrs[1], "[fd00::2]:443");
    assert_int_equal(resolve(&a, "commented.lan"), ERR_DNS);
    server.asked = 0;
    assert_int_equal(resolve(&a, ""), ERR_DNS);
    assert_int_equal(resolve(&a, "a b.test"), ERR_DNS);
    assert_int_equal(resolve(&a, "a\\.test"), ERR_DNS);
    assert_int_equal(server.asked, 0);
}

static void mixed_answers_do_not_pass_the_guard(void **state)
{
    struct guard g = {0};
    struct checked_addr out[DNS_ADDRS_MAX];
    struct ask a = {0};
    assert_int_equal(resolve(&a, "mixed.test"), ERR_OK);
    assert_int_equal(guard_check_all(&g, a.addrs, a.n, out, NULL), ERR_ADDRESS_REFUSED);
    assert_int_equal(resolve(&a, "both.test"), ERR_OK);
    assert_int_equal(guard_check_all(&g, a.addrs, a.n, out, NULL), ERR_OK);
}

static void the_cache_stays_within_its_bound(void **state)
{
    struct ask a = {0};
    char host[32];
    for (int i = 0; i <= DNS_CACHE_MAX; i++) {
        snprintf(host, sizeof host, "n%d.test", i);
        assert_int_equal(resolve(&a, host), ERR_OK);
        if (i == 1)
            assert_int_equal(cached("n0.test"), ERR_OK); /* now n1 is the oldest */
    }
    assert_int_equal(cached("n0.test"), ERR_OK);
    assert_int_equal(cached(host), ERR_OK);
    assert_int_equal(cached("n1.test"), ERR_AGAIN);
}

static void too_many_questions_are_refused(void **state)
{
    static struct ask many[DNS_CACHE_MAX];
    struct ask a = {0};
    char host[32];
    for (int i = 0; i < DNS_CACHE_MAX; i++) {
        snprintf(host, sizeof host, "q%d.silent.test", i);
        start(&many[i], host);
    }
    start(&a, "a.test");
    run_ms(50);
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.err, ERR_OVERLOADED);
    pass_ms(5000);
    run_all();
    for (int i = 0; i < DNS_CACHE_MAX; i++) {
        assert_int_equal(many[i].calls, 1);
        assert_int_equal(many[i].err, ERR_DNS_TIMEOUT);
    }
}

/* Whichever allocation fails, the callback comes once and says so, or all is well. */
static void a_failing_allocation_is_an_answer(void **state)
{
    static const char *const names[] = {"a.test", "127.0.0.1", "nowhere.test"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int failures = 0;
        for (uint64_t nth = 1; nth < 12; nth++) {
            struct dns_options o = {.servers = server.text};
            struct ask a = {0};
            dns_close(&dns);
            assert_int_equal(dns_new(&dns, loop, &o, NULL), ERR_OK);
            start(&a, names[i]); /* grows the loop's own memory, if any */
            run_all();
            pass_ms(301000);
            run_ms(30);
            mem_fail_at(nth);
            start(&a, names[i]);
            run_ms(30);
            if (!a.calls) {
                pass_ms(6000); /* a socket that could not be watched */
                run_all();
            }
            mem_fail_at(0);
            assert_int_equal(a.calls, 1);
            failures += a.err == ERR_NOMEM || a.err == ERR_DNS_TIMEOUT;
        }
        assert_true(failures > 0);
        assert_true(failures < 11);
    }
}

static void wrong_servers_are_named(void **state)
{
    struct dns_options o = {.servers = "not-an-address"};
    struct dns *d;
    struct err_info info;
    assert_int_equal(dns_new(&d, loop, &o, &info), ERR_INVALID);
    assert_null(d);
    assert_non_null(strstr(info.text, "not-an-address"));
}

static int group_setup(void **state)
{
    static const char text[] = "# hosts\n127.0.0.1 localhost\n10.1.2.3\tbox.lan  BOX # x y.lan\n"
                               "#10.0.0.1 commented.lan\n10.0.0.2 two.lan\r\nfd00::2 two.lan\n"
                               "nonsense three.lan\n\n10.0.0.3\n";
    int fd = mkstemp(hosts_path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    hosts = dns_hosts_new(hosts_path);
    assert_non_null(hosts);
    unlink(hosts_path);
    struct dns_hosts *none = dns_hosts_new(hosts_path);
    assert_non_null(none);
    dns_hosts_free(&none);
    return 0;
}

static int group_teardown(void **state)
{
    dns_hosts_free(&hosts);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_families_are_answered),
        TEST(what_is_known_is_not_asked_again),
        TEST(lifetimes_are_bounded),
        TEST(silence_is_a_timeout),
        TEST(the_servers_own_timeout_is_remembered),
        TEST(silence_about_one_family_spares_the_other),
        TEST(equal_names_share_a_question),
        TEST(cancelled_is_silent),
        TEST(closing_cancels),
        TEST(some_names_need_no_server),
        TEST(mixed_answers_do_not_pass_the_guard),
        TEST(the_cache_stays_within_its_bound),
        TEST(too_many_questions_are_refused),
        TEST(a_failing_allocation_is_an_answer),
        TEST(wrong_servers_are_named),
    };
    return cmocka_run_group_tests_name("dns", tests, group_setup, group_teardown);
}
