/* url: what is read and how, what is refused, what a name becomes in a path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "net/url.h"

static const struct {
    const char *text, *authority, *host, *path, *query;
    uint16_t port;
    bool https, is_ip;
} good[] = {
    {"https://api.openai.com/v1", "api.openai.com", "api.openai.com", "/v1", NULL, 443, true},
    {"HTTPS://API.OpenAI.com", "api.openai.com", "api.openai.com", "", NULL, 443, true},
    {"http://ollama:11434/", "ollama:11434", "ollama", "/", NULL, 11434},
    {"http://my_service.local:80/x", "my_service.local", "my_service.local", "/x", NULL, 80},
    {"https://h:80", "h:80", "h", "", NULL, 80, true},
    {"http://127.0.0.1:8080/a/b", "127.0.0.1:8080", "127.0.0.1", "/a/b", NULL, 8080, false, true},
    {"http://[::1]:9/v1", "[::1]:9", "::1", "/v1", NULL, 9, false, true},
    {"https://[2001:DB8:0:0:0:0:0:1]", "[2001:db8::1]", "2001:db8::1", "", NULL, 443, true, true},
    {"http://[::ffff:127.0.0.1]/", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1", "/", NULL, 80, false,
     true},
    {"https://x.example?api-version=2024-10-21", "x.example", "x.example", "",
     "api-version=2024-10-21", 443, true},
    {"https://x/a%20b/..c/.../%2E%2Ed?q=a/../b", "x", "x", "/a%20b/..c/.../%2E%2Ed", "q=a/../b",
     443, true},
    {"http://xn--bcher-kva.example/", "xn--bcher-kva.example", "xn--bcher-kva.example", "/", NULL,
     80},
    {"http://127.0.0.1.nip.io/", "127.0.0.1.nip.io", "127.0.0.1.nip.io", "/", NULL, 80},
    {"http://cafe.de/", "cafe.de", "cafe.de", "/", NULL, 80},
    {"http://1password.com/", "1password.com", "1password.com", "/", NULL, 80},
    {"http://h:65535", "h:65535", "h", "", NULL, 65535},
};

static void reads_what_is_plain(void **state)
{
    char authority[URL_AUTHORITY_MAX];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct url u;
        struct err_info info = {0};
        if (url_parse(str_c(good[i].text), &u, &info))
            fail_msg("%s: %s", good[i].text, info.text);
        assert_string_equal(url_authority(&u, authority), good[i].authority);
        assert_string_equal(u.host, good[i].host);
        assert_true(str_eq(url_host(&u), str_c(good[i].host)));
        assert_true(str_eq(u.path, str_c(good[i].path)));
        assert_true(str_eq(u.query, str_c(good[i].query)));
        assert_int_equal(u.query.p != NULL, good[i].query != NULL);
        assert_int_equal(u.port, good[i].port);
        assert_int_equal(u.https, good[i].https);
        assert_int_equal(u.is_ip, good[i].is_ip);
        if (u.is_ip)
            assert_int_equal(u.ip.port, good[i].port);
    }
}

static const char *const bad[] = {
    /* schemes */
    "",
    "h",
    "http:",
    "http:/",
    "http://",
    "https://",
    "http:/h",
    "http:h",
    "//h/",
    "ftp://h/",
    "file:///etc/passwd",
    "gopher://h/",
    "unix:///run/x",
    " http://h/",
    "http//h",
    "https:///path",
    /* user-info, backslashes, blanks, controls, fragments */
    "http://user@h/",
    "http://user:pw@h/",
    "http://@h/",
    "http://a@b@h/",
    "http://8.8.8.8@127.0.0.1/",
    "http://h\\@x/",
    "http:\\\\h\\",
    "http://h\\.x/",
    "http://h/a\\b",
    "http://h /",
    "http://h/a b",
    "http://h\t/",
    "http://h/\r\nX: y",
    "http://h/\x7f",
    "http://h/#f",
    "http://h#@x/",
    "http://h/\x01",
    /* not ASCII: full-width digits and dots, soft hyphen, letters */
    "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/",
    "http://127\xe3\x80\x82"
    "0.0.1/",
    "http://b\xc3\xbc"
    "cher.example/",
    "http://h/\xc3\xa4",
    "http://loc\xc2\xad"
    "alhost/",
    "http://\xe2\x91\xa0.1.1.1/",
    /* IPv4 in other spellings */
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.01/",
    "http://0/",
    "http://127.0.0.0x1/",
    "http://1.2.3.4.5/",
    "http://256.0.0.1/",
    "http://1.2.3.4./",
    "http://0x/",
    "http://0X7F.1/",
    "http://x.1/",
    "http://foo.0x7f/",
    "http://127.0.0.1./",
    "http://00.0.0.0/",
    "http://169.254.43518/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://1e3.5/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.%31/",
    /* names */
    "http://example.com./",
    "http://.example.com/",
    "http://a..b/",
    "http://./",
    "http://-a.com/",
    "http://a-.com/",
    "http://a,b/",
    "http://a%2eb/",
    "http://a*/",
    "http://a;b/",
    "http://a(b/",
    "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",
    /* IPv6 */
    "http://::1/",
    "http://[::1",
    "http://[]/",
    "http://[::1%25lo]/",
    "http://[::1%lo]/",
    "http://[::1]x/",
    "http://[127.0.0.1]/",
    "http://[h]/",
    "http://[v1.a]/",
    "http://[::1]]/",
    "http://[[::1]]/",
    "http://[::1]:/",
    "http://[fe80::1%eth0]/",
    "http://h]/",
    "http://1::2:80/",
    "http://[ ::1]/",
    "http://[::ffff:127.1]/",
    "http://[::ffff:0x7f.0.0.1]/",
    /* ports */
    "http://h:/",
    "http://h:0/",
    "http://h:65536/",
    "http://h:080/",
    "http://h:+80/",
    "http://h:8x/",
    "http://h:80:80/",
    "http://h:-1/",
    "http://h:999999999999999999999/",
    "http://:80/",
    "http://h: 80/",
    /* paths */
    "http://h/..",
    "http://h/../x",
    "http://h/a/./b",
    "http://h/.",
    "http://h/%2e%2e/x",
    "http://h/.%2E/",
    "http://h/a%2fb",
    "http://h/a%5cb",
    "http://h/%00",
    "http://h/%0d%0a",
    "http://h/%",
    "http://h/%2",
    "http://h/%zz",
    "http://h/<x>",
    "http://h/\"",
    "http://h/{x}",
    "http://h/a|b",
    "http://h/^",
    "http://h/`",
    "http://h/?a=%",
    "http://h/?a=%0a",
    "http://h/?a=<",
    "http://h/[x]",
};

static void refuses_what_two_parsers_could_read_differently(void **state)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct url u;
        struct err_info info = {0};
        if (url_parse(str_c(bad[i]), &u, &info) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
        if (!info.text[0])
            fail_msg("no reason: %s", bad[i]);
    }
    struct url u;
    assert_int_equal(url_parse(STR("http://h/\0x"), &u, NULL), ERR_INVALID);
}

static void lengths_are_capped(void **state)
{
    char text[URL_MAX + 2];
    struct url u;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://h/", 9);
    assert_int_equal(url_parse(str_make(text, URL_MAX), &u, NULL), ERR_OK);
    assert_int_equal(url_parse(str_make(text, URL_MAX + 1), &u, NULL), ERR_INVALID);
    /* names: 253 characters, labels of 63 */
    memset(text + 7, 'a', 300);
    for (int i = 1; i < 5; i++)
        text[7 + i * 64 - 1] = '.';
    assert_int_equal(url_parse(str_make(text, 7 + 253), &u, NULL), ERR_OK);
    assert_int_equal(u.host_n, 253);
    assert_int_equal(u.host[253], 0);
    assert_int_equal(url_parse(str_make(text, 7 + 254), &u, NULL), ERR_INVALID);
}

/* Cut anywhere, the text is an error or a URL; sanitizers watch that nothing is read behind it. */
static void any_prefix_is_safe(void **state)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (size_t n = 0; n <= strlen(good[i].text); n++) {
            char *exact = test_malloc(n + 1);
            memcpy(exact, good[i].text, n);
            struct url u;
            enum err e = url_parse(str_make(exact, n), &u, NULL);
            assert_true(e == ERR_OK || e == ERR_INVALID);
            test_free(exact);
        }
}

static const struct {
    const char *id, *out; /* NULL: refused */
} segments[] = {
    {"gpt-4o", "gpt-4o"},
    {"meta-llama/Llama-3:free", "meta-llama%2FLlama-3%3Afree"},
    {"a@b c", "a%40b%20c"},
    {"a.b_c~d", "a.b_c~d"},
    {"a&b=c+d;e", "a%26b%3Dc%2Bd%3Be"},
    {"m\xc3\xb6"
     "del",
     "m%C3%B6del"},
    {"", NULL},
    {".", NULL},
    {"..", NULL},
    {"a/../b", NULL},
    {"a..b", NULL},
    {"a?b", NULL},
    {"a#b", NULL},
    {"a%2fb", NULL},
    {"a\\b", NULL},
    {"a\nb", NULL},
    {"a\x7f", NULL},
};

static void a_name_becomes_one_segment(void **state)
{
    struct buf b;
    buf_init(&b, 1024);
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        buf_reset(&b);
        enum err e = url_segment_encode(&b, str_c(segments[i].id), NULL);
        if (segments[i].out) {
            assert_int_equal(e, ERR_OK);
            assert_true(str_eq(buf_view(&b), str_c(segments[i].out)));
        } else {
            if (e != ERR_INVALID)
                fail_msg("accepted: %s", segments[i].id);
            assert_int_equal(b.n, 0);
        }
    }
    char text[URL_SEGMENT_MAX + 1];
    memset(text, 'x', sizeof text);
    buf_reset(&b);
    assert_int_equal(url_segment_encode(&b, str_make(text, URL_SEGMENT_MAX), NULL), ERR_OK);
    assert_int_equal(url_segment_encode(&b, str_make(text, URL_SEGMENT_MAX + 1), NULL),
                     ERR_INVALID);
    assert_int_equal(url_segment_encode(&b, STR("a\0b"), NULL), ERR_INVALID);
    buf_release(&b);
}

static void tokens_hold_no_syntax(void **state)
{
    static const char *const refused[] = {"",    ".",   "..",  "a/b",  "a b",
                                          "a~b", "a%b", "a?b", "a..b", "\xc3\xa4"};
    assert_true(url_token_valid(STR("2024-10-21")));
    assert_true(url_token_valid(STR("My_deploy.v1")));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (url_token_valid(str_c(refused[i])))
            fail_msg("accepted: %s", refused[i]);
    assert_false(url_token_valid(STR("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_plain),
        cmocka_unit_test(refuses_what_two_parsers_could_read_differently),
        cmocka_unit_test(lengths_are_capped),
        cmocka_unit_test(any_prefix_is_safe),
        cmocka_unit_test(a_name_becomes_one_segment),
        cmocka_unit_test(tokens_hold_no_syntax),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
