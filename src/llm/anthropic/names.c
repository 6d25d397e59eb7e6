/* names: what is called differently on the two sides of the Messages form: tools, reasons to stop,
 * signatures. */
#include "llm/anthropic/anthropic.h"

#include "llm/carry.h"

#define NAME_MAX_BYTES 128

enum issuer anthropic_issuer(struct str provider)
{
    return str_eq(provider, STR("deepseek")) ? ISSUER_DEEPSEEK : ISSUER_ANTHROPIC;
}

/* ---- tool names ---- */

static bool plain(char c)
{
    char l = str_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* -1: not an upper-case hexadecimal digit. */
static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool needs_escape(struct str name, size_t i)
{
    if (!plain(name.p[i]))
        return true;
    return name.p[i] == '_' && i + 3 < name.n && name.p[i + 1] == 'x' && hex(name.p[i + 2]) >= 0 &&
           hex(name.p[i + 3]) >= 0;
}

struct str anthropic_name_fit(struct str name, struct arena *a)
{
    static const char digits[] = "0123456789ABCDEF";
    char out[NAME_MAX_BYTES];
    size_t n = 0;
    bool same = true;
    for (size_t i = 0; i < name.n; i++) {
        bool escape = needs_escape(name, i);
        if (n + (escape ? 5 : 1) > sizeof out)
            return STR_NULL;
        if (!escape) {
            out[n++] = name.p[i];
            continue;
        }
        unsigned char c = (unsigned char)name.p[i];
        memcpy(out + n, (char[]){'_', 'x', digits[c >> 4], digits[c & 15], '_'}, 5);
        n += 5;
        same = false;
    }
    return same ? name : arena_dup(a, str_make(out, n));
}

/* The byte that the five at s stand for; -1: they stand for themselves. */
static int escaped(struct str s)
{
    if (s.n < 5 || s.p[0] != '_' || s.p[1] != 'x' || s.p[4] != '_' || hex(s.p[2]) < 0 ||
        hex(s.p[3]) < 0)
        return -1;
    int c = hex(s.p[2]) * 16 + hex(s.p[3]);
    return c == '_' || !plain((char)c) ? c : -1;
}

struct str anthropic_name_own(struct str sent, struct arena *a)
{
    if (str_find(sent, STR("_x")) < 0)
        return sent;
    char *out = arena_alloc(a, sent.n + 1);
    size_t n = 0;
    if (!out)
        return STR_NULL;
    while (sent.n) {
        int c = escaped(sent);
        out[n++] = c >= 0 ? (char)c : sent.p[0];
        sent = str_from(sent, c >= 0 ? 5 : 1);
    }
    return str_make(out, n);
}

/* ---- reasons to stop ---- */

static const struct {
    const char *reason;
    enum finish finish;
} reasons[] = {
    {"end_turn", FINISH_STOP},     {"stop_sequence", FINISH_STOP_SEQUENCE},
    {"max_tokens", FINISH_LENGTH}, {"tool_use", FINISH_TOOL_CALLS},
    {"refusal", FINISH_REFUSAL},   {"refusal", FINISH_CONTENT_FILTER},
    {"pause_turn", FINISH_PAUSE},  {"model_context_window_exceeded", FINISH_LENGTH},
};
#define REASONS (sizeof reasons / sizeof *reasons)

enum finish anthropic_finish(struct str stop_reason)
{
    if (!stop_reason.n)
        return FINISH_NONE;
    for (size_t i = 0; i < REASONS; i++)
        if (str_eq(stop_reason, str_c(reasons[i].reason)))
            return reasons[i].finish;
    return FINISH_STOP;
}

const char *anthropic_stop_reason(enum finish finish, bool tools)
{
    /* Some servers say `stop` after calls; Claude's clients run tools only when told so. */
    if (finish == FINISH_NONE || finish == FINISH_STOP)
        finish = tools ? FINISH_TOOL_CALLS : FINISH_STOP;
    for (size_t i = 0; i < REASONS; i++)
        if (reasons[i].finish == finish)
            return reasons[i].reason;
    return "end_turn";
}

/* ---- blocks ---- */

bool anthropic_server_block(struct str type)
{
    static const struct str own[] = {STR("tool_use"), STR("tool_result")};
    static const struct str others[] = {STR("container_upload"), STR("fallback"),
                                        STR("tool_reference")};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (str_ends(type, own[i]))
            return type.n > own[i].n && type.p[type.n - own[i].n - 1] == '_';
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (str_eq(type, others[i]))
            return true;
    return false;
}

bool anthropic_blank(struct str s)
{
    return !str_trim(s).n;
}

/* ---- signatures ---- */

struct str anthropic_signature_join(struct str own, struct str id, enum issuer issuer,
                                    struct arena *a)
{
    if (issuer == ISSUER_OPENAI && own.n && id.n)
        own = arena_printf(a, "%.*s.%.*s", STR_FMT(id), STR_FMT(own));
    return carry_signature_join(own, issuer, ISSUER_ANTHROPIC, a);
}

void anthropic_signature_split(struct part *p, struct str field)
{
    enum issuer issuer;
    struct str own;
    carry_signature_split(field, ISSUER_ANTHROPIC, &issuer, &own);
    p->issuer = (uint8_t)issuer;
    if (p->redacted || issuer == ISSUER_OPENAI)
        p->data = own;
    else
        p->signature = own;
    ptrdiff_t dot = issuer == ISSUER_OPENAI ? str_chr(own, '.') : -1;
    if (dot > 0) {
        p->id = str_make(own.p, (size_t)dot);
        p->data = str_from(own, (size_t)dot + 1);
    }
}
