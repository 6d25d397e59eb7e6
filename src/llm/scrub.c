/* scrub: keeps credentials and account names of an upstream out of what tenants see. */
#include "llm/classify.h"

static bool alnum(char c)
{
    return (c >= '0' && c <= '9') || (str_lower(c) >= 'a' && str_lower(c) <= 'z');
}

/* Bytes of the word that begins at s: what credentials are made of. */
static size_t word(struct str s)
{
    size_t n = 0;
    while (n < s.n && (alnum(s.p[n]) || (s.p[n] && strchr("+/=_-*", s.p[n]))))
        n++;
    return n;
}

static bool looks_random(struct str w)
{
    bool upper = false, lower = false, digit = false, hex = true;
    for (size_t i = 0; i < w.n; i++) {
        char c = w.p[i];
        upper |= c >= 'A' && c <= 'Z';
        lower |= c >= 'a' && c <= 'z';
        digit |= c >= '0' && c <= '9';
        hex &= (c >= '0' && c <= '9') || (str_lower(c) >= 'a' && str_lower(c) <= 'f');
    }
    return w.n >= 32 && digit && ((upper && lower) || hex);
}

/* Bytes at s, the beginning of a word, that must not be shown; 0: none. */
static size_t secret_here(struct str s)
{
    /* How much must follow: "org-wide" is a word, "org-a1b2c3d4…" is not. */
    static const struct {
        const char *text;
        size_t more;
    } prefixes[] = {{"sk-", 4},   {"sk_", 4},  {"org-", 8}, {"proj_", 8},
                    {"lyss_", 8}, {"AIza", 8}, {"eyJ", 8}};
    size_t n = word(s);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        struct str p = str_c(prefixes[i].text);
        if (str_starts(s, p) && n >= p.n + prefixes[i].more) {
            while (n + 1 < s.n && s.p[n] == '.' && word(str_from(s, n + 1))) /* a JWT's parts */
                n += 1 + word(str_from(s, n + 1));
            return n;
        }
    }
    if (s.n > 7 && str_ieq(str_make(s.p, 7), STR("Bearer "))) {
        struct str rest = str_from(s, 7);
        n = 0;
        while (n < rest.n && rest.p[n] > ' ' && !strchr("\"',;)", rest.p[n]))
            n++;
        return n >= 8 ? 7 + n : 0;
    }
    return looks_random(str_make(s.p, n)) ? n : 0;
}

void scrub(char *dst, size_t cap, struct str text)
{
    static const struct str mark = {"[\xE2\x80\xA6]", 5};
    size_t at = 0, i = 0;
    bool inside = false; /* a word has begun: no credential begins here */
    while (i < text.n) {
        size_t hide = inside ? 0 : secret_here(str_from(text, i));
        if (hide) {
            if (at + mark.n >= cap)
                break;
            memcpy(dst + at, mark.p, mark.n);
            at += mark.n;
            i += hide;
            inside = true;
            continue;
        }
        unsigned char c = (unsigned char)text.p[i];
        size_t width = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if (width > text.n - i || at + width >= cap)
            break;
        memcpy(dst + at, text.p + i, width);
        if (c < 0x20 || c == 0x7F)
            dst[at] = ' ';
        inside = c >= 0x80 || alnum((char)c);
        at += width;
        i += width;
    }
    dst[at] = 0;
}
