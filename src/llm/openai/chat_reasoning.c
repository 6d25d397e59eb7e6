/* chat_reasoning: what a model thought, in fields that chat completions do not have.
 *
 * Plain text goes as reasoning_content (DeepSeek's, which most clients read);
 * signatures and opaque blocks as reasoning_details (OpenRouter's), each with
 * the name of its maker as its format.  A client that collected details from a
 * stream may give them back piece by piece: pieces of text up to a signature
 * are one thought. */
#include "llm/carry.h"
#include "llm/openai/openai.h"

static const struct {
    enum issuer issuer;
    struct str name; /* formats begin so; those of ours are just that */
} formats[] = {
    {ISSUER_ANTHROPIC, STR("anthropic")}, {ISSUER_GEMINI, STR("gemini")},
    {ISSUER_GEMINI, STR("google")},       {ISSUER_OPENAI, STR("openai")},
    {ISSUER_OPENAI, STR("azure-openai")}, {ISSUER_DEEPSEEK, STR("deepseek")},
};

static struct str format_of(enum issuer issuer)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].issuer == issuer)
            return formats[i].name;
    return STR_NULL;
}

enum issuer chat_issuer(const struct json_doc *d, uint32_t detail)
{
    struct str raw = json_raw(d, json_get(d, detail, STR("format")));
    if (raw.n < 2 || raw.p[0] != '"')
        return ISSUER_NONE;
    raw = str_make(raw.p + 1, raw.n - 2);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (str_starts(raw, formats[i].name))
            return formats[i].issuer;
    return ISSUER_NONE;
}

/* ---- reading ---- */

static struct str text_of(const struct json_doc *d, uint32_t obj, struct str name, struct arena *a)
{
    struct str s = STR_NULL;
    return json_string(d, json_get(d, obj, name), a, &s) ? s : STR_NULL;
}

struct details {
    const struct json_doc *d;
    struct arena *a;
    struct part **end; /* where the next part goes */
    struct part *text; /* the thought whose text is coming; NULL: none */
    struct buf joined; /* its text, where it has more than one piece */
    int64_t index;     /* the upstream's number of it; -1: none */
};

/* The thought is complete. */
static void close_text(struct details *t)
{
    if (t->text && t->joined.n)
        t->text->text = arena_dup(t->a, buf_view(&t->joined));
    if (buf_failed(&t->joined))
        t->a->failed = true;
    buf_reset(&t->joined);
    t->text = NULL;
}

static struct part *open_part(struct details *t, uint32_t detail)
{
    struct part *p = neutral_part(t->a, PART_REASONING, t->end);
    if (!p)
        return NULL;
    t->end = &p->next;
    p->issuer = (uint8_t)chat_issuer(t->d, detail);
    p->id = text_of(t->d, detail, STR("id"), t->a);
    return p;
}

static void add_text(struct details *t, uint32_t detail, struct str text)
{
    struct str signature = text_of(t->d, detail, STR("signature"), t->a);
    int64_t index = -1;
    if (!text.n && !signature.n)
        return;
    json_i64(t->d, json_get(t->d, detail, STR("index")), &index);
    if (index >= 0 && t->index >= 0 && index != t->index)
        close_text(t);
    t->index = index;
    struct part *p = t->text;
    if (!p && !(p = t->text = open_part(t, detail)))
        return;
    if (!p->text.n) {
        p->text = text;
    } else if (text.n) {
        if (!t->joined.n)
            buf_str(&t->joined, p->text);
        buf_str(&t->joined, text);
    }
    if (p->issuer == ISSUER_NONE)
        p->issuer = (uint8_t)chat_issuer(t->d, detail);
    if (!signature.n)
        return;
    p->signature = signature;
    if (p->issuer == ISSUER_NONE) {
        enum issuer issuer;
        carry_signature_split(signature, ISSUER_NONE, &issuer, &p->signature);
        p->issuer = (uint8_t)issuer;
    }
    close_text(t);
}

static void add_encrypted(struct details *t, uint32_t detail, struct part *last)
{
    struct str data = text_of(t->d, detail, STR("data"), t->a);
    struct str id = text_of(t->d, detail, STR("id"), t->a);
    if (!data.n)
        return;
    close_text(t);
    /* a summary and the thought that it sums up share their id */
    if (last && id.n && str_eq(last->id, id) && !last->data.n) {
        last->data = data;
        return;
    }
    struct part *p = open_part(t, detail);
    if (!p)
        return;
    p->data = data;
    p->redacted = true;
}

static void read_details(struct details *t, uint32_t list)
{
    struct part **first = t->end, *last = NULL;
    OPENAI_EACH(t->d, e, list)
    {
        uint32_t type = json_get(t->d, e, STR("type"));
        if (json_string_is(t->d, type, STR("reasoning.text")))
            add_text(t, e, text_of(t->d, e, STR("text"), t->a));
        else if (json_string_is(t->d, type, STR("reasoning.summary")))
            add_text(t, e, text_of(t->d, e, STR("summary"), t->a));
        else if (json_string_is(t->d, type, STR("reasoning.encrypted")))
            add_encrypted(t, e, last);
        for (last = last ? last : *first; last && last->next; last = last->next) {
        }
    }
    close_text(t);
}

void chat_reasoning_read(const struct json_doc *d, uint32_t message, struct arena *a,
                         struct part **end)
{
    struct details t = {.d = d, .a = a, .end = end, .index = -1};
    struct str text = text_of(d, message, STR("reasoning_content"), a);
    if (!text.n)
        text = text_of(d, message, STR("reasoning"), a);
    buf_init(&t.joined, a->max_bytes);
    read_details(&t, json_get(d, message, STR("reasoning_details")));
    buf_release(&t.joined);
    if (!text.n)
        return;
    /* the text itself, where the details have only what belongs to it */
    for (struct part *p = *end; p; p = p->next)
        if (p->text.n)
            return;
    struct part *p = *end && !(*end)->redacted ? *end : NULL;
    if (!p) {
        struct part *rest = *end;
        *end = NULL;
        p = neutral_part(a, PART_REASONING, end);
        if (p)
            p->next = rest;
        else
            *end = rest;
    }
    if (p)
        p->text = text;
}

/* ---- writing ---- */

void chat_put_detail(struct json_writer *w, const struct chat_detail *t)
{
    struct str format = format_of(t->issuer);
    json_open_object(w);
    json_field_string(w, "type", t->data.n ? STR("reasoning.encrypted") : STR("reasoning.text"));
    if (t->text.n || t->has_text)
        json_field_string(w, "text", t->text);
    if (t->signature.n)
        json_field_string(w, "signature", t->signature);
    if (t->data.n)
        json_field_string(w, "data", t->data);
    if (t->id.n)
        json_field_string(w, "id", t->id);
    if (format.n)
        json_field_string(w, "format", format);
    json_field_i64(w, "index", t->index);
    json_close_object(w);
}

static void put_details(struct json_writer *w, const struct part *p)
{
    uint32_t index = 0;
    json_key(w, STR("reasoning_details"));
    json_open_array(w);
    for (; p; p = p->next) {
        if (p->type != PART_REASONING)
            continue;
        struct chat_detail t = {.text = p->text,
                                .signature = p->signature,
                                .id = p->id,
                                .issuer = (enum issuer)p->issuer,
                                .index = index};
        if (p->text.n || p->signature.n) {
            chat_put_detail(w, &t);
            t.index = ++index;
        }
        if (p->data.n) {
            t.text = t.signature = STR_NULL;
            t.data = p->data;
            chat_put_detail(w, &t);
            index++;
        }
    }
    json_close_array(w);
}

void chat_put_reasoning(struct json_writer *w, const struct part *parts, struct arena *a)
{
    bool any = false;
    for (const struct part *p = parts; p; p = p->next)
        any |= p->type == PART_REASONING && (p->text.n || p->data.n || p->signature.n);
    if (!any)
        return;
    struct str text = chat_join(parts, PART_REASONING, STR("\n\n"), a);
    if (text.n)
        json_field_string(w, "reasoning_content", text);
    put_details(w, parts);
}
