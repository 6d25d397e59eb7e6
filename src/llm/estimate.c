/* estimate: counts bytes and Han and kana characters, fast over everything else.
 *
 * Every request body and every piece of an answer passes through here.  Kana
 * begin at E3, Han behind them, so a run of bytes below that (ASCII, and Latin,
 * Greek, Cyrillic, Arabic letters, dashes and curly quotes) is counted as it
 * stands. */
#include "llm/estimate.h"

enum { IMAGE_MIN = 85, IMAGE_MAX = 1500, IMAGE_BY_URL = 765 };

#define BLOCK     64
#define WIDE_FROM 0xE3

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDE                                                                                       \
    __attribute__((target_clones("avx2", "default"))) /* chosen as the program is loaded           \
                                                       */
#else
#define WIDE
#endif

/* Bytes before the first of WIDE_FROM or above; plain loops that the compiler turns into vector
 * code. */
WIDE static size_t narrow_prefix(const unsigned char *p, size_t n)
{
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        unsigned char most = 0;
        for (size_t k = 0; k < BLOCK; k++)
            most = p[i + k] > most ? p[i + k] : most;
        if (most >= WIDE_FROM)
            break;
    }
    while (i < n && p[i] < WIDE_FROM)
        i++;
    return i;
}

static bool is_han_or_kana(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x31F0 && c <= 0x31FF) ||
           (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF66 && c <= 0xFF9F) ||
           (c >= 0x20000 && c <= 0x3FFFF);
}

void estimate_add_text(struct estimate *e, struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        const unsigned char *p = (const unsigned char *)s.p + i;
        if (p[0] < WIDE_FROM) {
            size_t run = narrow_prefix(p, s.n - i);
            e->bytes += run;
            i += run;
            continue;
        }
        size_t left = s.n - i;
        uint32_t c = 0;
        size_t width = 1;
        if (p[0] >= 0xE0 && p[0] < 0xF0 && left >= 3) {
            width = 3;
            c = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        } else if (p[0] >= 0xF0 && left >= 4) {
            width = 4;
            c = (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
        }
        if (is_han_or_kana(c))
            e->tokens++;
        else
            e->bytes += width;
        i += width;
    }
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = str_lower(p[i]);
        v = v << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return v;
}

/* The inside of a valid JSON string that holds escapes. */
static void add_escaped(struct estimate *e, struct str s)
{
    while (s.n) {
        ptrdiff_t at = str_chr(s, '\\');
        if (at < 0) {
            estimate_add_text(e, s);
            return;
        }
        estimate_add_text(e, str_make(s.p, (size_t)at));
        s = str_from(s, (size_t)at);
        if (s.n < 6 || s.p[1] != 'u') {
            e->bytes++;
            s = str_from(s, 2);
            continue;
        }
        uint32_t c = hex4(s.p + 2);
        s = str_from(s, 6);
        if (c >= 0xD800 && c < 0xDC00 && s.n >= 6) {
            c = 0x10000 + ((c - 0xD800) << 10) + (hex4(s.p + 2) - 0xDC00);
            s = str_from(s, 6);
        }
        if (is_han_or_kana(c))
            e->tokens++;
        else
            e->bytes += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    }
}

static struct str inside(const struct json_doc *d, uint32_t i)
{
    return str_make(d->text.p + d->e[i].off + 1, d->e[i].end - d->e[i].off - 2);
}

void estimate_add_string(struct estimate *e, const struct json_doc *d, uint32_t i)
{
    if (!json_is(d, i, JSON_STRING))
        return;
    if (d->e[i].flags & JSON_UNICODE)
        add_escaped(e, inside(d, i));
    else if (d->e[i].flags & JSON_NARROW)
        e->bytes += inside(d, i).n;
    else /* \n and its like count for two bytes: that is near enough */
        estimate_add_text(e, inside(d, i));
}

/* A data URL: an image costs by its size within bounds, another file by its size. */
static void add_data_url(struct estimate *e, struct str url, unsigned *images)
{
    uint64_t tokens = IMAGE_MIN + url.n / 400;
    if (str_starts(url, STR("data:image"))) {
        if (tokens > IMAGE_MAX)
            tokens = IMAGE_MAX;
        if (images)
            ++*images;
    }
    e->tokens += tokens;
}

/* Most strings by far, told at one look: outside of an image part, all of them narrow, a key that
 * has not the length of one that matters, a value that cannot be a data URL. */
static bool is_plain(const struct json_doc *d, const struct json_entry *v)
{
    size_t n = v->end - v->off - 2;
    if (v->type != JSON_STRING || (v->flags & (JSON_NARROW | JSON_UNICODE)) != JSON_NARROW)
        return false;
    return v->flags & JSON_KEY ? n != STR("image_url").n && n != STR("input_audio").n
                               : d->text.p[v->off + 1] != 'd';
}

void estimate_add_value(struct estimate *e, const struct json_doc *d, uint32_t i, unsigned *images)
{
    if (i >= d->n)
        return;
    uint32_t end = d->e[i].next;
    uint32_t image = 0; /* where the image part ends whose URL has not been seen yet */
    while (i < end) {
        const struct json_entry *v = &d->e[i];
        if (i >= image && is_plain(d, v)) {
            e->bytes += v->end - v->off - 2;
        } else if (v->type == JSON_NUMBER) {
            e->tokens++;
        } else if (v->type == JSON_STRING) {
            struct str s = inside(d, i);
            if (v->flags & JSON_KEY) {
                if (str_eq(s, STR("input_audio"))) {
                    /* its base64 is sound, not text: about ten tokens a second */
                    e->tokens += (d->e[i + 1].end - d->e[i + 1].off) / 1600 + 1;
                    i = d->e[i + 1].next;
                    continue;
                }
                if (str_eq(s, STR("image_url")))
                    image = d->e[i + 1].next;
                estimate_add_string(e, d, i);
            } else if (str_starts(s, STR("data:")) && str_find(s, STR(";base64,")) > 0) {
                add_data_url(e, s, images);
                image = 0;
            } else if (i < image && str_starts(s, STR("http"))) {
                e->tokens += IMAGE_BY_URL;
                if (images)
                    ++*images;
                image = 0;
            } else {
                estimate_add_string(e, d, i);
            }
        }
        i++;
    }
}

uint32_t estimate_tokens(const struct estimate *e)
{
    uint64_t t = e->tokens + (e->bytes * 10 + 32) / 33;
    return t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}
