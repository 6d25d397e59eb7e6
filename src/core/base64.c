/* base64: three bytes to four letters and back. */
#include "core/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(char *dst, struct str s, const char *alphabet, bool pad)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = 0, i = 0;
    for (; i + 2 < s.n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        for (int k = 18; k >= 0; k -= 6)
            dst[n++] = alphabet[v >> k & 63];
    }
    size_t left = s.n - i;
    if (!left)
        return n;
    uint32_t v = (uint32_t)p[i] << 16 | (left == 2 ? (uint32_t)p[i + 1] << 8 : 0);
    dst[n++] = alphabet[v >> 18];
    dst[n++] = alphabet[v >> 12 & 63];
    if (left == 2)
        dst[n++] = alphabet[v >> 6 & 63];
    for (size_t k = left; pad && k < 3; k++)
        dst[n++] = '=';
    return n;
}

size_t base64_encode(char *dst, struct str bytes)
{
    return encode(dst, bytes, standard, true);
}

size_t base64url_encode(char *dst, struct str bytes)
{
    return encode(dst, bytes, for_urls, false);
}

static int value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

bool base64_decode(char *dst, size_t *n, struct str s)
{
    uint32_t v = 0;
    unsigned bits = 0;
    *n = 0;
    if (s.n % 4 == 0) /* only a whole text may be padded */
        for (int k = 0; k < 2 && s.n && s.p[s.n - 1] == '='; k++)
            s.n--;
    if (s.n % 4 == 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int x = value(s.p[i]);
        if (x < 0)
            return false;
        v = v << 6 | (uint32_t)x;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            dst[(*n)++] = (char)(v >> bits & 255);
        }
    }
    return (v & ((1u << bits) - 1)) == 0; /* no bits are left over */
}
