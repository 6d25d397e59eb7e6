/* carry: what marks a foreign signature, and how an id is lengthened and made to fit. */
#include "llm/carry.h"

#include <stdio.h>

#include "core/base64.h"
#include "core/hash.h"

#define ID_MARK  "_lyss-"
#define SIG_MARK "lyss-"

static const struct {
    enum issuer issuer;
    struct str name;
} issuers[] = {
    {ISSUER_GEMINI, STR("gemini")},
    {ISSUER_ANTHROPIC, STR("anthropic")},
    {ISSUER_OPENAI, STR("openai")},
    {ISSUER_DEEPSEEK, STR("deepseek")},
};
#define ISSUERS (sizeof issuers / sizeof *issuers)

static struct str issuer_name(enum issuer issuer)
{
    for (size_t i = 0; i < ISSUERS; i++)
        if (issuers[i].issuer == issuer)
            return issuers[i].name;
    return STR_NULL;
}

/* The issuer whose name and then `end` s begins with; *rest is what follows. */
static enum issuer issuer_at(struct str s, char end, struct str *rest)
{
    for (size_t i = 0; i < ISSUERS; i++) {
        struct str name = issuers[i].name;
        if (str_starts(s, name) && s.n > name.n && s.p[name.n] == end) {
            *rest = str_from(s, name.n + 1);
            return issuers[i].issuer;
        }
    }
    return ISSUER_NONE;
}

struct str carry_id_join(struct str id, enum issuer issuer, struct str signature, struct arena *a)
{
    struct str name = issuer_name(issuer);
    if (!signature.n || !name.n || signature.n > CARRY_MAX)
        return id;
    char *p = arena_alloc(a, id.n + sizeof ID_MARK + name.n + BASE64_ROOM(signature.n));
    if (!p)
        return STR_NULL;
    memcpy(p, id.p, id.n);
    size_t n = id.n;
    memcpy(p + n, ID_MARK, sizeof ID_MARK - 1);
    n += sizeof ID_MARK - 1;
    memcpy(p + n, name.p, name.n);
    n += name.n;
    p[n++] = '-';
    n += base64url_encode(p + n, signature);
    return str_make(p, n);
}

void carry_id_split(struct str joined, struct str *id, enum issuer *issuer, struct str *signature,
                    struct arena *a)
{
    *id = joined;
    *issuer = ISSUER_NONE;
    *signature = STR_NULL;
    ptrdiff_t at = str_find(joined, STR(ID_MARK));
    if (at < 0)
        return;
    struct str rest;
    enum issuer found = issuer_at(str_from(joined, (size_t)at + sizeof ID_MARK - 1), '-', &rest);
    if (found == ISSUER_NONE || rest.n > BASE64_ROOM(CARRY_MAX))
        return;
    char *p = arena_alloc(a, rest.n / 4 * 3 + 3);
    size_t n;
    if (!p || !base64_decode(p, &n, rest))
        return;
    *id = str_make(joined.p, (size_t)at);
    *issuer = found;
    *signature = str_make(p, n);
}

struct str carry_signature_join(struct str signature, enum issuer issuer, enum issuer field_of,
                                struct arena *a)
{
    if (!signature.n || issuer == field_of || issuer == ISSUER_NONE)
        return signature;
    return arena_printf(a, SIG_MARK "%.*s:%.*s", STR_FMT(issuer_name(issuer)), STR_FMT(signature));
}

void carry_signature_split(struct str joined, enum issuer field_of, enum issuer *issuer,
                           struct str *signature)
{
    *issuer = joined.n ? field_of : ISSUER_NONE;
    *signature = joined;
    if (!str_starts(joined, STR(SIG_MARK)))
        return;
    struct str rest;
    enum issuer found = issuer_at(str_from(joined, sizeof SIG_MARK - 1), ':', &rest);
    if (found != ISSUER_NONE) {
        *issuer = found;
        *signature = rest;
    }
}

struct str carry_id_fit(struct str id, size_t max, struct arena *a)
{
    bool fits = id.n > 0 && id.n <= max;
    for (size_t i = 0; i < id.n && fits; i++) {
        char c = id.p[i], l = str_lower(c);
        fits = (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    }
    if (fits)
        return id;
    uint32_t one = hash_crc32c(0, id.p, id.n), two = hash_crc32c(one ^ 0x5A5A5A5A, id.p, id.n);
    return arena_printf(a, "call_%08x%08x", one, two);
}
