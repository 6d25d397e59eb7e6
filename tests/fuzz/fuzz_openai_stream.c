/* fuzz_openai_stream: lines are events.  Flags must agree with each other, a stream ends once, and
 * what is said about a failure must be JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/dialect.h"
#include "llm/wire_openai_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static void check_saying(const struct fault *f, enum llm_op op)
{
    struct json_doc d;
    struct buf b;
    buf_init(&b, 1 << 20);
    must(f->err != ERR_OK && f->status >= 400 && f->status <= 599);
    dialect_openai.fault_body(&b, f, STR("id"));
    must(json_parse(&d, buf_view(&b), NULL) == ERR_OK);
    buf_reset(&b);
    dialect_openai.fault_event(&b, op, f, 3, 4, STR("id"));
    struct str s = buf_view(&b);
    must(str_ends(s, STR("\n\n")));
    s = str_from(s, (size_t)str_find(s, STR("data: ")) + 6);
    must(json_parse(&d, str_make(s.p, s.n - 2), NULL) == ERR_OK);
    must(json_get(&d, 0, STR("error")) != JSON_NONE);
    buf_release(&b);
}

static void check_event(const struct openai_stream *s, const struct openai_event *ev, bool before,
                        struct str line)
{
    unsigned f = ev->flags;
    must(f != 0);
    must(!before || f == EV_AFTER_END);
    must(s->ended == (before || (f & (EV_TERMINAL | EV_ERROR))));
    must(!((f & EV_TERMINAL) && (f & EV_ERROR)));
    must(!(f & EV_BAD) || f == EV_BAD);
    must(!(f & EV_USAGE_ONLY) || (f & EV_USAGE));
    if (f & EV_USAGE)
        must(s->has_usage && ev->usage_raw.n >= 2 && ev->usage_raw.p >= line.p &&
             ev->usage_raw.p + ev->usage_raw.n <= line.p + line.n);
    if (f & (EV_BAD | EV_ERROR))
        check_saying(&ev->fault, (enum llm_op)s->op);
}

static void whole(struct str body, enum llm_op op)
{
    struct openai_reply r;
    struct fault f;
    enum err e = openai_reply_read(&r, op, STR("openai"), body, &f);
    if (e)
        check_saying(&f, op);
    struct fault_headers h = {body, body, 1000000};
    fault_from_response(&f, STR("azure-openai"), 400 + (int)(body.n % 200), &h, body);
    must(f.retry_ms >= 0 && f.retry_ms <= INT64_C(86400000));
    check_saying(&f, op);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum llm_op op = size & 1 ? OP_RESPONSES : OP_CHAT;
    struct openai_stream s;
    struct openai_event ev;
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    struct str rest = str_make(exact, size), line;
    openai_stream_init(&s, op);
    while (str_split(&rest, '\n', &line)) {
        bool before = s.ended;
        struct str name = line.n % 5 ? STR_NULL : STR("error");
        openai_stream_event(&s, STR("openai"), name, line, &ev);
        check_event(&s, &ev, before, line);
    }
    whole(str_make(exact, size), op);
    free(exact);
    return 0;
}
