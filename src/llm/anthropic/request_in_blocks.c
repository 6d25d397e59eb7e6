/* request_in_blocks: the blocks of a caller's messages.
 *
 * Blocks of tools that ran at Anthropic have no meaning elsewhere: they are left
 * out, and named among the extras so that the receipt says so.  A document that
 * is text becomes text, which every model can read. */
#include "llm/anthropic/request_in.h"

#include "llm/carry.h"

#define SERVER_BLOCKS_MAX 16 /* kinds that are named */

static struct part *add(struct request_in *in, enum part_type type, struct part ***end)
{
    struct part *p = neutral_part(in->a, type, *end);
    if (p)
        *end = &p->next;
    return p;
}

static void add_text(struct request_in *in, struct str text, uint32_t block, struct part ***end)
{
    struct part *p = add(in, PART_TEXT, end);
    if (!p)
        return;
    p->text = text;
    p->cache = (uint8_t)request_in_cache(in, block);
}

/* The string at i, if it is a long one: it stays as it is escaped. */
static bool add_long(struct request_in *in, uint32_t i, uint32_t block, struct part ***end)
{
    struct part *p = neutral_is_long(in->d, i) ? add(in, PART_TEXT, end) : NULL;
    if (!p)
        return false;
    p->escaped = json_raw(in->d, i);
    p->cache = (uint8_t)request_in_cache(in, block);
    return true;
}

static void read_text(struct request_in *in, uint32_t block, struct part ***end)
{
    struct str text = STR_NULL;
    if (!add_long(in, json_get(in->d, block, STR("text")), block, end) &&
        request_in_string(in, block, "text", true, &text))
        add_text(in, text, block, end);
}

/* ---- media ---- */

/* A source of bytes, an address or a file. False: of another kind, or wrong. */
static bool read_source(struct request_in *in, uint32_t source, struct media *m)
{
    if (request_in_is(in, source, "type", STR("base64")))
        return request_in_string(in, source, "media_type", true, &m->mime) &&
               request_in_string(in, source, "data", true, &m->data);
    if (request_in_is(in, source, "type", STR("url")))
        return request_in_string(in, source, "url", true, &m->url);
    if (request_in_is(in, source, "type", STR("file")))
        return request_in_string(in, source, "file_id", true, &m->file_id);
    return false;
}

static void read_image(struct request_in *in, uint32_t block, struct part ***end)
{
    uint32_t source = request_in_get(in, block, "source");
    struct part *p = add(in, PART_IMAGE, end);
    if (!p)
        return;
    unsigned at = request_in_push(in, ".source");
    if (source == JSON_NONE)
        request_in_fail(in, block, "", "Field required");
    else if (!read_source(in, source, &p->media))
        request_in_fail(in, source, "type", "Input should be 'base64', 'url' or 'file'");
    request_in_pop(in, at);
    p->cache = (uint8_t)request_in_cache(in, block);
}

static void read_document(struct request_in *in, uint32_t block, enum place place,
                          struct part ***end)
{
    uint32_t source = request_in_get(in, block, "source");
    struct media m = {0};
    struct str text = STR_NULL;
    request_in_string(in, block, "title", false, &m.name);
    unsigned at = request_in_push(in, ".source");
    if (source == JSON_NONE) {
        request_in_fail(in, block, "", "Field required");
    } else if (request_in_is(in, source, "type", STR("text"))) {
        if (request_in_string(in, source, "data", true, &text))
            add_text(in,
                     m.name.n ? arena_printf(in->a, "%.*s\n\n%.*s", STR_FMT(m.name), STR_FMT(text))
                              : text,
                     block, end);
    } else if (request_in_is(in, source, "type", STR("content"))) {
        struct part **to = *end;
        unsigned inner = request_in_push(in, ".content");
        request_in_content(in, request_in_get(in, source, "content"), place, to);
        request_in_pop(in, inner);
        while (**end)
            *end = &(**end)->next;
    } else if (read_source(in, source, &m)) {
        struct part *p = add(in, PART_DOCUMENT, end);
        if (p) {
            p->media = m;
            if (!m.mime.n && m.url.n)
                p->media.mime = STR("application/pdf");
            p->cache = (uint8_t)request_in_cache(in, block);
        }
    } else {
        request_in_fail(in, source, "type",
                        "Input should be 'base64', 'text', 'content', 'url' or 'file'");
    }
    request_in_pop(in, at);
}

/* Found elsewhere and given to the model: where, under what title, and the text. */
static void read_search_result(struct request_in *in, uint32_t block, struct part ***end)
{
    struct str title = STR_NULL, source = STR_NULL;
    request_in_string(in, block, "title", true, &title);
    request_in_string(in, block, "source", true, &source);
    add_text(in, arena_printf(in->a, "%.*s (%.*s)", STR_FMT(title), STR_FMT(source)), JSON_NONE,
             end);
    unsigned at = request_in_push(in, ".content");
    request_in_content(in, request_in_get(in, block, "content"), PLACE_RESULT, *end);
    request_in_pop(in, at);
    while (**end)
        *end = &(**end)->next;
}

/* ---- tools ---- */

static void read_call(struct request_in *in, uint32_t block, struct part ***end)
{
    struct part *p = add(in, PART_TOOL_USE, end);
    struct str id = STR_NULL;
    enum issuer issuer;
    if (!p)
        return;
    uint32_t input = request_in_get(in, block, "input");
    request_in_string(in, block, "id", true, &id);
    request_in_string(in, block, "name", true, &p->name);
    if (!json_is(in->d, input, JSON_OBJECT))
        request_in_fail(in, input == JSON_NONE ? block : input, "input", "%s",
                        input == JSON_NONE ? "Field required" : "Input should be an object");
    p->args = json_raw(in->d, input);
    carry_id_split(id, &p->id, &issuer, &p->signature, in->a);
    p->issuer = (uint8_t)issuer;
    p->cache = (uint8_t)request_in_cache(in, block);
}

static void read_result(struct request_in *in, uint32_t block, struct part ***end)
{
    struct part *p = add(in, PART_TOOL_RESULT, end);
    struct str id = STR_NULL, signature;
    enum issuer issuer;
    if (!p)
        return;
    uint32_t content = request_in_get(in, block, "content");
    request_in_string(in, block, "tool_use_id", true, &id);
    carry_id_split(id, &p->id, &issuer, &signature, in->a);
    request_in_bool(in, block, "is_error", &p->is_error);
    if (content != JSON_NONE) {
        unsigned at = request_in_push(in, ".content");
        request_in_content(in, content, PLACE_RESULT, &p->parts);
        request_in_pop(in, at);
    }
    p->cache = (uint8_t)request_in_cache(in, block);
}

/* ---- thinking ---- */

static void read_thinking(struct request_in *in, uint32_t block, struct part ***end)
{
    struct part *p = add(in, PART_REASONING, end);
    struct str signature = STR_NULL;
    if (!p)
        return;
    request_in_string(in, block, "thinking", true, &p->text);
    request_in_string(in, block, "signature", false, &signature);
    anthropic_signature_split(p, signature);
}

static void read_redacted(struct request_in *in, uint32_t block, struct part ***end)
{
    struct part *p = add(in, PART_REASONING, end);
    struct str data = STR_NULL;
    if (!p)
        return;
    p->redacted = true;
    request_in_string(in, block, "data", true, &data);
    anthropic_signature_split(p, data);
}

/* ---- the rest ---- */

static void skip_server_block(struct request_in *in, uint32_t block)
{
    struct str type = STR_NULL;
    request_in_string(in, block, "type", true, &type);
    for (const struct extra *x = in->r->extras; x; x = x->next)
        if (str_eq(x->name, type))
            return;
    if (in->server_blocks++ < SERVER_BLOCKS_MAX)
        neutral_extra(in->a, &in->r->extras, type, STR("true"));
}

/* A summary that stands for the turns before it. */
static void read_compaction(struct request_in *in, uint32_t block, struct part ***end)
{
    struct str text = STR_NULL;
    if (request_in_string(in, block, "content", false, &text))
        add_text(in, text, block, end);
}

#define AT(place) (1u << (place))
#define SAID      (AT(PLACE_USER) | AT(PLACE_ASSISTANT))

static const struct {
    struct str type;
    unsigned places;
    void (*read)(struct request_in *in, uint32_t block, struct part ***end);
} kinds[] = {
    {STR("text"), SAID | AT(PLACE_SYSTEM) | AT(PLACE_RESULT), read_text},
    {STR("image"), SAID | AT(PLACE_RESULT), read_image},
    {STR("tool_use"), AT(PLACE_ASSISTANT), read_call},
    {STR("tool_result"), AT(PLACE_USER), read_result},
    {STR("thinking"), AT(PLACE_ASSISTANT), read_thinking},
    {STR("redacted_thinking"), AT(PLACE_ASSISTANT), read_redacted},
    {STR("search_result"), SAID | AT(PLACE_RESULT), read_search_result},
    {STR("compaction"), SAID, read_compaction},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void read_block(struct request_in *in, uint32_t block, enum place place, struct part ***end)
{
    struct str type = STR_NULL;
    if (!json_is(in->d, block, JSON_OBJECT)) {
        request_in_fail(in, block, "", "Input should be an object");
        return;
    }
    if (!request_in_string(in, block, "type", true, &type))
        return;
    for (size_t i = 0; i < KINDS; i++)
        if (str_eq(type, kinds[i].type) && kinds[i].places & AT(place)) {
            kinds[i].read(in, block, end);
            return;
        }
    if (str_eq(type, STR("document")) && place != PLACE_SYSTEM)
        read_document(in, block, place, end);
    else if (anthropic_server_block(type) && place != PLACE_SYSTEM)
        skip_server_block(in, block);
    else
        request_in_fail(in, json_get(in->d, block, STR("type")), "type",
                        "a block of type '%.60s' is not expected here",
                        arena_printf(in->a, "%.*s", STR_FMT(type)).p);
}

void request_in_content(struct request_in *in, uint32_t content, enum place place,
                        struct part **end)
{
    struct str text = STR_NULL;
    unsigned n = 0;
    bool named = place == PLACE_SYSTEM || place == PLACE_RESULT;
    if (add_long(in, content, JSON_NONE, &end)) {
        /* that is all of it */
    } else if (json_string(in->d, content, in->a, &text)) {
        add_text(in, text, JSON_NONE, &end);
    } else if (!json_is(in->d, content, JSON_ARRAY)) {
        request_in_fail(in, content, named ? "" : "content",
                        "Input should be a valid string or an array of blocks");
    }
    for (uint32_t b = json_child(in->d, content); b != JSON_NONE && !in->err;
         b = json_sibling(in->d, content, b)) {
        unsigned at = request_in_push(in, "%s.%u", named ? "" : ".content", n++);
        read_block(in, b, place, &end);
        request_in_pop(in, at);
    }
    if (place == PLACE_SYSTEM)
        in->system_end = end;
}
