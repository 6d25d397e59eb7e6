/* fuzz_openai_request: any bytes.  What is read as a request must, edited in every way, be JSON
 * again and say what the edits were to make it say. */
#include <stdio.h>
#include <stdlib.h>

#include "llm/provider.h"
#include "llm/wire_openai_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(x) ((x) ? (void)0 : (fprintf(stderr, "broken: %s, line %d\n", #x, __LINE__), abort()))

static void check_iov(const struct openai_request *r, const struct openai_edits *o, struct str want)
{
    struct iovec iov[EDIT_IOV_MAX(OPENAI_EDITS_MAX)];
    unsigned n = edits_iov(r->body, o->e, o->n, iov);
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        must(iov[i].iov_len > 0 && at + iov[i].iov_len <= want.n);
        must(memcmp(want.p + at, iov[i].iov_base, iov[i].iov_len) == 0);
        at += iov[i].iov_len;
    }
    must(at == want.n && edits_length(r->body, o->e, o->n) == want.n);
}

static void check_edited(const struct openai_request *r, const struct openai_edit_plan *plan,
                         struct str text, struct arena *a)
{
    struct openai_request again;
    bool stream = (r->stream || plan->force_stream) && op_row(r->op)->may_stream;
    must(openai_request_read(&again, r->op, text, STR_NULL, a, NULL) == ERR_OK);
    must(str_eq(again.model, plan->upstream_model.n ? plan->upstream_model : r->model));
    must(!plan->force_stream || !op_row(r->op)->may_stream || again.stream);
    must(!plan->drop_stream_options || !again.at[FIELD_STREAM_OPTIONS].end);
    if (plan->inject_usage && !plan->drop_stream_options && stream &&
        (r->op == OP_CHAT || r->op == OP_COMPLETIONS))
        must(again.asks_usage);
    if (plan->quirks)
        must(!again.schema && !again.at[FIELD_MAX_COMPLETION_TOKENS].end &&
             !(again.forced_tool && again.thinks && !again.at[FIELD_REASONING].end &&
               !again.at[FIELD_REASONING_EFFORT].end));
}

static void edit(const struct openai_request *r, unsigned how, struct arena *a)
{
    struct openai_edits o;
    struct buf b;
    struct openai_edit_plan plan = {
        .upstream_model = how & 1 ? STR("up\"str\xC3\xA9"
                                        "am")
                                  : STR_NULL,
        .inject_usage = how & 2,
        .force_stream = how & 4,
        .drop_stream_options = how & 8,
        .quirks = how & 16 ? provider_find(STR("deepseek"))->quirks : NULL,
    };
    must(openai_request_edits(r, &plan, a, &o) == ERR_OK);
    buf_init(&b, 64 << 20);
    edits_write(r->body, o.e, o.n, &b);
    must(!buf_failed(&b));
    check_iov(r, &o, buf_view(&b));
    check_edited(r, &plan, buf_view(&b), a);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum llm_op ops[] = {OP_CHAT, OP_COMPLETIONS, OP_EMBEDDINGS, OP_RESPONSES};
    struct openai_request r;
    struct arena a;
    struct err_info info;
    char *exact = malloc(size ? size : 1);
    must(exact);
    if (size)
        memcpy(exact, data, size);
    struct str deployment = size & 1 ? STR("dep") : STR_NULL;
    arena_init(&a, 64 << 20);
    err_info_init(&info);
    enum err e =
        openai_request_read(&r, ops[(size >> 1) & 3], str_make(exact, size), deployment, &a, &info);
    must(e == ERR_OK || e == ERR_BAD_JSON || e == ERR_INVALID);
    must(e == ERR_OK || info.text[0]);
    must(info.offset <= (int64_t)size);
    for (unsigned how = 0; e == ERR_OK && how < 32; how++)
        edit(&r, how, &a);
    arena_release(&a);
    free(exact);
    return 0;
}
