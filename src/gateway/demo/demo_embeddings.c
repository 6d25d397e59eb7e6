/* demo_embeddings: vectors for the demo: repeatable, of length one, and without meaning. */
#include <math.h>

#include "core/hash.h"
#include "gateway/demo/demo_parts.h"

/* NUMBERS_MAX bounds the time that one answer takes on the loop. */
enum { DIMENSIONS = 256, DIMENSIONS_MAX = 3072, NUMBERS_MAX = 65536 };

static void make_vector(struct str raw, float *v, unsigned n)
{
    uint64_t x = hash_crc32c(0, raw.p, raw.n);
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        v[i] = (float)((double)(x >> 40) / (1 << 23) - 1);
        sum += (double)v[i] * v[i];
    }
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (unsigned i = 0; i < n; i++)
        v[i] = (float)(v[i] * scale);
}

static void put_base64(struct buf *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t k = n - i < 3 ? n - i : 3;
        uint32_t v =
            (uint32_t)p[i] << 16 | (k > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (k > 2 ? p[i + 2] : 0);
        char t[4] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63]};
        memset(t + 1 + k, '=', 3 - k);
        buf_add(out, t, 4);
    }
}

/* Seven decimals: as much as a float of that size has, at a fraction of a printf's time. */
static void put_number(struct buf *out, float v)
{
    char t[10] = "0.";
    unsigned u = (unsigned)(fabs((double)v) * 1e7 + 0.5);
    if (u >= 10000000) {
        t[0] = '1';
        u = 0;
    }
    for (int i = 8; i > 1; i--, u /= 10)
        t[i] = (char)('0' + u % 10);
    if (v < 0)
        buf_char(out, '-');
    buf_add(out, t, 9);
}

static void put_one(struct json_writer *w, struct str raw, int64_t index, unsigned n, bool base64)
{
    static __thread float v[DIMENSIONS_MAX];
    make_vector(raw, v, n);
    json_open_object(w);
    json_field_string(w, "object", STR("embedding"));
    json_field_i64(w, "index", index);
    json_key(w, STR("embedding"));
    /* What follows is one value, written around the writer. */
    json_put_raw(w, base64 ? STR("\"") : STR("["));
    if (base64) {
        put_base64(w->out, (const unsigned char *)v, n * sizeof *v); /* little-endian, as x86 is */
    } else {
        for (unsigned i = 0; i < n; i++) {
            if (i)
                buf_char(w->out, ',');
            put_number(w->out, v[i]);
        }
    }
    buf_char(w->out, base64 ? '"' : ']');
    json_close_object(w);
}

/* Is input one text (or one list of token ids) rather than a list of them? */
static bool is_single(const struct json_doc *d, uint32_t input)
{
    return !json_is(d, input, JSON_ARRAY) || json_is(d, json_child(d, input), JSON_NUMBER);
}

static enum err check(const struct json_doc *d, uint32_t input, int64_t n, struct err_info *info)
{
    if (!json_is(d, input, JSON_STRING) &&
        (!json_is(d, input, JSON_ARRAY) || json_child(d, input) == JSON_NONE)) {
        if (info)
            str_copy(info->field, sizeof info->field, STR("input"));
        return err_set(info, ERR_INVALID, "input must be a text or a list that is not empty");
    }
    unsigned inputs = is_single(d, input) ? 1 : json_size(d, input);
    if (n < 1 || n > DIMENSIONS_MAX || inputs > NUMBERS_MAX / n)
        return err_set(info, ERR_INVALID,
                       "the demo model makes 1 to %d dimensions and %d numbers at a time",
                       DIMENSIONS_MAX, NUMBERS_MAX);
    return ERR_OK;
}

enum err demo_embeddings(struct buf *out, const struct openai_request *r, const struct json_doc *d,
                         struct err_info *info)
{
    uint32_t root = json_root(d), input = json_get(d, root, STR("input"));
    bool base64 = json_string_is(d, json_get(d, root, STR("encoding_format")), STR("base64"));
    int64_t n = DIMENSIONS, index = 0;
    (void)json_i64(d, json_get(d, root, STR("dimensions")), &n);
    enum err e = check(d, input, n, info);
    if (e)
        return e;
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_field_string(&w, "object", STR("list"));
    json_key(&w, STR("data"));
    json_open_array(&w);
    if (is_single(d, input))
        put_one(&w, json_raw(d, input), 0, (unsigned)n, base64);
    else
        for (uint32_t i = json_child(d, input); i != JSON_NONE; i = json_sibling(d, input, i))
            put_one(&w, json_raw(d, i), index++, (unsigned)n, base64);
    json_close_array(&w);
    json_field_string(&w, "model", r->model);
    json_key(&w, STR("usage"));
    json_open_object(&w);
    json_field_i64(&w, "prompt_tokens", r->estimate_in);
    json_field_i64(&w, "total_tokens", r->estimate_in);
    json_close_object(&w);
    json_close_object(&w);
    return buf_failed(out) ? ERR_NOMEM : ERR_OK;
}
