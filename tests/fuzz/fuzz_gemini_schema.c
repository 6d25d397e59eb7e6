/* fuzz_gemini_schema: any bytes.  What comes out is valid JSON of Gemini's few keywords, no longer
 * and no deeper than it may be, and can be read back. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/gemini/gemini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static bool one_of(const struct json_doc *d, uint32_t at, const char *words)
{
    struct str rest = str_c(words), word;
    while (str_split(&rest, ' ', &word))
        if (json_string_is(d, at, word))
            return true;
    return false;
}

static void check_schema(const struct json_doc *d, uint32_t at)
{
    uint32_t type = json_get(d, at, STR("type")), any = json_get(d, at, STR("anyOf"));
    uint32_t items = json_get(d, at, STR("items")), props = json_get(d, at, STR("properties"));
    uint32_t need = json_get(d, at, STR("required"));
    must(json_is(d, at, JSON_OBJECT));
    for (uint32_t k = json_child(d, at); k != JSON_NONE; k = json_sibling(d, at, k + 1))
        must(one_of(d, k,
                    "type description nullable format enum minimum maximum minLength maxLength "
                    "pattern minItems maxItems minProperties maxProperties anyOf items properties "
                    "required propertyOrdering"));
    must((type == JSON_NONE) == (any != JSON_NONE));
    must(type == JSON_NONE || one_of(d, type, "STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL"));
    must((items != JSON_NONE) == json_string_is(d, type, STR("ARRAY")));
    must(json_get(d, at, STR("enum")) == JSON_NONE || json_string_is(d, type, STR("STRING")));
    for (uint32_t i = json_child(d, any); i != JSON_NONE; i = json_sibling(d, any, i))
        check_schema(d, i);
    if (items != JSON_NONE)
        check_schema(d, items);
    for (uint32_t k = json_child(d, props); k != JSON_NONE; k = json_sibling(d, props, k + 1))
        check_schema(d, k + 1);
    for (uint32_t i = json_child(d, need); i != JSON_NONE; i = json_sibling(d, need, i))
        must(json_is(d, i, JSON_STRING) && json_size(d, props) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf out;
    struct err_info info;
    struct json_doc d;
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    arena_init(&a, (size_t)64 << 20);
    buf_init(&out, (size_t)1 << 20);
    err_info_init(&info);
    size_t steps = 0;
    enum err e = gemini_schema_write(str_make(exact, size), size & 1, &steps, &a, &out, &info);
    must(e == ERR_OK || (e == ERR_INVALID && info.text[0]) || e == ERR_NOMEM);
    must(!buf_failed(&out) && out.n <= GEMINI_SCHEMA_MAX && (!e || !out.n));
    if (out.n) {
        must(json_parse(&d, buf_view(&out), NULL) == ERR_OK);
        for (uint32_t i = 0; i < d.n; i++)
            must(d.e[i].depth <= GEMINI_SCHEMA_DEPTH);
        check_schema(&d, 0);
        struct str back = gemini_schema_read(&d, 0, &a);
        must(arena_failed(&a) || json_parse(&d, back, NULL) == ERR_OK);
    } else if (!json_parse(&d, str_make(exact, size), NULL)) {
        struct str back = gemini_schema_read(&d, 0, &a);
        must(arena_failed(&a) || json_parse(&d, back, NULL) == ERR_OK);
    }
    buf_release(&out);
    arena_release(&a);
    free(exact);
    return 0;
}
