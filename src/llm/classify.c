/* classify: one table from (provider, status, code, words) to an error, first match wins.
 *
 * Statuses lie (a 429 may be an empty account, a 400 a bad key, a 200 an
 * error), so an error object's code or type is looked at before the status. */
#include "llm/classify.h"

#include <stdio.h>
#include <time.h>

#define ANY   0, 599
#define GIVEN 0 /* the upstream's own status */

static const struct rule {
    short low, high;      /* statuses it holds for; 0: an error inside a 200 */
    const char *provider; /* NULL: all */
    const char *code;     /* error.code or error.type; NULL: any */
    const char *words;    /* found in error.message, with ^ at its beginning; NULL: any */
    enum err err;
    short status; /* for the caller */
    unsigned kind;
} rules[] = {
    {ANY, NULL, "insufficient_quota", NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "insufficient_user_quota", NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "billing_hard_limit_reached", NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "billing_not_active", NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "billing_error", NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "invalid_request_error", "^Your credit balance is too low", ERR_UPSTREAM_KEY, 502,
     FAULT_NO_CREDIT},
    {402, 402, NULL, NULL, NULL, ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {ANY, NULL, "invalid_api_key", NULL, ERR_UPSTREAM_KEY, 502, 0},
    {ANY, NULL, "API_KEY_INVALID", NULL, ERR_UPSTREAM_KEY, 502, 0},
    {ANY, NULL, "authentication_error", NULL, ERR_UPSTREAM_KEY, 502, 0},
    {ANY, NULL, "account_deactivated", NULL, ERR_UPSTREAM_KEY, 502, 0},
    /* OpenAI: a key that was restricted; Azure: an identity without a role */
    {401, 401, NULL, NULL, "insufficient permissions", ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    {401, 401, "azure-openai", "PermissionDenied", NULL, ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    {401, 401, NULL, NULL, NULL, ERR_UPSTREAM_KEY, 502, 0},
    /* OpenAI: the account may not use this model, which says nothing of others */
    {403, 403, NULL, "model_not_found", NULL, ERR_UPSTREAM_KEY, 502, FAULT_MAPPING},
    {403, 403, NULL, NULL, NULL, ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    {404, 404, "azure-openai", "DeploymentNotFound", NULL, ERR_UPSTREAM_KEY, 502, FAULT_MAPPING},
    /* No such model, told from no such path. */
    {404, 404, NULL, "model_not_found", NULL, ERR_UPSTREAM_REQUEST, GIVEN, FAULT_MODEL},
    {404, 404, "anthropic", "not_found_error", "^model:", ERR_UPSTREAM_REQUEST, GIVEN, FAULT_MODEL},
    {404, 404, "google", "NOT_FOUND", "models/", ERR_UPSTREAM_REQUEST, GIVEN, FAULT_MODEL},
    {400, 400, "deepseek", NULL, "^Model Not Exist", ERR_UPSTREAM_REQUEST, GIVEN, FAULT_MODEL},
    {404, 404, "openai-compatible", NULL, "model", ERR_UPSTREAM_REQUEST, GIVEN, FAULT_MODEL},
    {400, 400, "openai-compatible", NULL, "not a valid model", ERR_UPSTREAM_REQUEST, GIVEN,
     FAULT_MODEL},
    {400, 400, "openai-compatible", "invalid_model", NULL, ERR_UPSTREAM_REQUEST, GIVEN,
     FAULT_MODEL},
    {400, 400, NULL, NULL, "max_tokens or model output limit was reached", ERR_UPSTREAM_REQUEST,
     GIVEN, FAULT_NO_ROOM},
    {ANY, NULL, "context_length_exceeded", NULL, ERR_UPSTREAM_REQUEST, GIVEN, FAULT_CONTEXT},
    {400, 422, NULL, NULL, "maximum context length", ERR_UPSTREAM_REQUEST, GIVEN, FAULT_CONTEXT},
    {ANY, NULL, "invalid_request_error", "prompt is too long", ERR_UPSTREAM_REQUEST, GIVEN,
     FAULT_CONTEXT},
    {ANY, NULL, "invalid_request_error", "exceed context limit", ERR_UPSTREAM_REQUEST, GIVEN,
     FAULT_CONTEXT},
    {400, 422, NULL, NULL, "exceeds the maximum number of tokens", ERR_UPSTREAM_REQUEST, GIVEN,
     FAULT_CONTEXT},
    /* Google: the account's country, or no billing */
    {400, 400, NULL, "FAILED_PRECONDITION", NULL, ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    {ANY, NULL, "content_policy_violation", NULL, ERR_UPSTREAM_REQUEST, GIVEN, FAULT_POLICY},
    {ANY, NULL, "content_filter", NULL, ERR_UPSTREAM_REQUEST, GIVEN, FAULT_POLICY},
    {429, 429, "google", NULL, "credits are depleted", ERR_UPSTREAM_KEY, 502, FAULT_NO_CREDIT},
    {429, 429, NULL, NULL, NULL, ERR_UPSTREAM_THROTTLE, 429, 0},
    {408, 408, NULL, NULL, NULL, ERR_UPSTREAM_TIMEOUT, 504, 0},
    {400, 499, NULL, NULL, NULL, ERR_UPSTREAM_REQUEST, GIVEN, 0},
    {529, 529, NULL, NULL, NULL, ERR_UPSTREAM_ERROR, 503, 0},
    {504, 504, NULL, NULL, NULL, ERR_UPSTREAM_TIMEOUT, 504, 0},
    {500, 599, NULL, NULL, NULL, ERR_UPSTREAM_ERROR, GIVEN, 0},
    {300, 399, NULL, NULL, NULL, ERR_UPSTREAM_PROTOCOL, 502, 0},
    {0, 0, NULL, "rate_limit_exceeded", NULL, ERR_UPSTREAM_THROTTLE, 429, 0},
    {0, 0, NULL, "rate_limit_error", NULL, ERR_UPSTREAM_THROTTLE, 429, 0},
    {0, 0, NULL, "overloaded_error", NULL, ERR_UPSTREAM_ERROR, 503, 0},
    {0, 0, NULL, "timeout_error", NULL, ERR_UPSTREAM_TIMEOUT, 504, 0},
    {0, 0, NULL, "permission_error", NULL, ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    {0, 0, NULL, "not_found_error", NULL, ERR_UPSTREAM_REQUEST, 404, 0},
    {0, 0, NULL, "request_too_large", NULL, ERR_UPSTREAM_REQUEST, 413, 0},
    {0, 0, NULL, "invalid_request_error", NULL, ERR_UPSTREAM_REQUEST, GIVEN, 0},
    {0, 0, NULL, "invalid_prompt", NULL, ERR_UPSTREAM_REQUEST, GIVEN, 0},
    {0, 0, NULL, "model_not_found", NULL, ERR_UPSTREAM_REQUEST, 404, FAULT_MODEL},
    {0, 0, NULL, "INVALID_ARGUMENT", NULL, ERR_UPSTREAM_REQUEST, GIVEN, 0},
    {0, 0, NULL, "NOT_FOUND", NULL, ERR_UPSTREAM_REQUEST, 404, 0},
    {0, 0, NULL, "UNAUTHENTICATED", NULL, ERR_UPSTREAM_KEY, 502, 0},
    {0, 0, NULL, "PERMISSION_DENIED", NULL, ERR_UPSTREAM_KEY, 502, FAULT_PERMISSION},
    /* LM Studio, to whatever it does not know */
    {0, 0, NULL, NULL, "^Unexpected endpoint", ERR_UPSTREAM_REQUEST, 404, 0},
    {0, 0, NULL, "RESOURCE_EXHAUSTED", NULL, ERR_UPSTREAM_THROTTLE, 429, 0},
    {0, 0, NULL, "UNAVAILABLE", NULL, ERR_UPSTREAM_ERROR, 503, 0},
    {0, 0, NULL, "DEADLINE_EXCEEDED", NULL, ERR_UPSTREAM_TIMEOUT, 504, 0},
    {ANY, NULL, NULL, NULL, ERR_UPSTREAM_ERROR, 502, 0},
};

/* Messages repeat what callers sent: where much hangs on the words, they must stand first. */
static bool says(const char *message, const char *words)
{
    if (!words)
        return true;
    return *words == '^' ? !strncmp(message, words + 1, strlen(words + 1))
                         : strstr(message, words) != NULL;
}

static bool matches(const struct rule *r, const struct fault *f, struct str provider, int status)
{
    if (status < r->low || status > r->high)
        return false;
    if (r->provider && !str_eq(provider, str_c(r->provider)))
        return false;
    if (r->code && strcmp(r->code, f->code) != 0 && strcmp(r->code, f->type) != 0)
        return false;
    return says(f->message, r->words);
}

static void judge(struct fault *f, struct str provider, int status)
{
    if (status < 0 || status > 599)
        status = 0;
    const struct rule *r = rules;
    while (!matches(r, f, provider, status))
        r++; /* the last one matches all */
    f->err = r->err;
    f->kind = r->kind;
    f->status = r->status;
    if (r->status == GIVEN) {
        bool own = r->err == ERR_UPSTREAM_REQUEST ? status >= 400 && status <= 499 : status >= 500;
        f->status = own ? status : err_status(r->err);
    }
}

/* ---- times to wait -------------------------------------------------------- */

#define RETRY_MAX_MS (INT64_C(24) * 3600 * 1000)

/* A decimal number, its fraction counted to the thousandth; × scale. -1: none. */
static int64_t decimal_ms(struct str s, int64_t scale)
{
    struct str whole = s, fraction = STR_NULL;
    uint64_t v, part = 0;
    ptrdiff_t dot = str_chr(s, '.');
    if (dot >= 0) {
        whole = str_make(s.p, (size_t)dot);
        fraction = str_from(s, (size_t)dot + 1);
        if (fraction.n > 3)
            fraction.n = 3;
    }
    if (!str_u64(whole, UINT32_MAX, &v))
        return -1;
    if (fraction.n && !str_u64(fraction, 999, &part))
        return -1;
    for (size_t i = fraction.n; i < 3; i++)
        part *= 10;
    return (int64_t)v * scale + (int64_t)part * scale / 1000;
}

static int64_t at_most_a_day(int64_t ms)
{
    return ms < 0 ? 0 : ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
}

/* ---- reading the error object ------------------------------------------- */

static void copy_member(const struct json_doc *d, uint32_t obj, struct str name, char *dst,
                        size_t cap)
{
    uint32_t i = json_get(d, obj, name);
    struct arena a;
    struct str s = STR_NULL;
    if (json_is(d, i, JSON_NUMBER)) {
        scrub(dst, cap, json_raw(d, i));
        return;
    }
    arena_init(&a, (size_t)64 << 10);
    if (json_string(d, i, &a, &s))
        scrub(dst, cap, s);
    arena_release(&a);
}

static void read_object(struct fault *f, const struct json_doc *d, uint32_t error)
{
    if (json_is(d, error, JSON_STRING)) {
        struct arena a;
        struct str s;
        arena_init(&a, (size_t)64 << 10);
        if (json_string(d, error, &a, &s))
            scrub(f->message, sizeof f->message, s);
        arena_release(&a);
        return;
    }
    copy_member(d, error, STR("message"), f->message, sizeof f->message);
    if (!f->message[0])
        copy_member(d, error, STR("detail"), f->message, sizeof f->message);
    copy_member(d, error, STR("type"), f->type, sizeof f->type);
    copy_member(d, error, STR("code"), f->code, sizeof f->code);
    copy_member(d, error, STR("param"), f->param, sizeof f->param);
}

/* "RESOURCE_EXHAUSTED", quotes and all. */
static bool is_status_name(struct str raw)
{
    for (size_t i = 1; i + 1 < raw.n; i++)
        if (raw.p[i] != '_' && (raw.p[i] < 'A' || raw.p[i] > 'Z'))
            return false;
    return raw.n > 2 && raw.p[0] == '"';
}

/* Google's errors (https://cloud.google.com/apis/design/errors): code is the HTTP status, status
 * its name, and details say more: a reason ("API_KEY_INVALID"), when to come back ("34.07s"). The
 * most telling name takes the place of the number. */
static void read_google(struct fault *f, const struct json_doc *d, uint32_t error)
{
    uint32_t details = json_get(d, error, STR("details"));
    char delay[32];
    if (!is_status_name(json_raw(d, json_get(d, error, STR("status")))))
        return;
    copy_member(d, error, STR("status"), f->code, sizeof f->code);
    if (!json_is(d, details, JSON_ARRAY))
        return;
    for (uint32_t i = json_child(d, details); i != JSON_NONE; i = json_sibling(d, details, i)) {
        if (json_is(d, json_get(d, i, STR("reason")), JSON_STRING))
            copy_member(d, i, STR("reason"), f->code, sizeof f->code);
        delay[0] = 0;
        copy_member(d, i, STR("retryDelay"), delay, sizeof delay);
        size_t n = strlen(delay);
        if (n > 1 && delay[n - 1] == 's')
            f->retry_ms = at_most_a_day(decimal_ms(str_make(delay, n - 1), 1000));
    }
}

static void clear(struct fault *f)
{
    f->err = ERR_UPSTREAM_ERROR;
    f->status = 502;
    f->kind = 0;
    f->retry_ms = 0;
    f->offset = -1;
    f->message[0] = f->type[0] = f->code[0] = f->param[0] = 0;
}

void fault_from_object(struct fault *f, struct str provider, const struct json_doc *d,
                       uint32_t error)
{
    uint64_t status = 0;
    clear(f);
    read_object(f, d, error);
    /* Some put the status into code. */
    if (!str_u64(str_c(f->code), 599, &status) || status < 400)
        status = 0;
    read_google(f, d, error);
    judge(f, provider, (int)status);
}

void fault_from_response(struct fault *f, struct str provider, int status,
                         const struct fault_headers *h, struct str body)
{
    struct json_doc d;
    clear(f);
    if (json_parse(&d, body, NULL) == ERR_OK) {
        uint32_t root = json_root(&d);
        if (json_is(&d, root, JSON_ARRAY)) /* some wrap it */
            root = json_child(&d, root);
        uint32_t error = json_get(&d, root, STR("error"));
        error = error == JSON_NONE ? root : error;
        read_object(f, &d, error);
        read_google(f, &d, error);
    }
    if (!f->message[0])
        snprintf(f->message, sizeof f->message, "the upstream answered with status %d", status);
    if (status == 529 && !f->type[0]) /* Anthropic's own; its callers know it by this name */
        str_copy(f->type, sizeof f->type, STR("overloaded_error"));
    judge(f, provider, status);
    int64_t wait = h ? retry_after_ms(h) : 0;
    if (wait)
        f->retry_ms = wait;
}

void fault_from_err(struct fault *f, enum err err, const struct err_info *info)
{
    clear(f);
    f->err = err;
    f->status = err_status(err);
    f->retry_ms = info ? info->retry_ms : 0;
    str_copy(f->message, sizeof f->message,
             str_c(info && info->text[0] ? info->text : err_text(err)));
    f->offset = info ? info->offset : -1;
    if (info)
        str_copy(f->param, sizeof f->param, str_c(info->field));
}

enum err fault_set(struct fault *f, enum err err, const char *why)
{
    struct err_info info;
    err_info_init(&info);
    err = err_set(&info, err, "%s", why);
    fault_from_err(f, err, &info);
    return err;
}

enum err fault_unless_object(struct json_doc *d, struct str body, struct fault *f)
{
    return fault_unless_parsed(json_parse(d, body, NULL), d, f);
}

enum err fault_unless_parsed(enum err e, const struct json_doc *d, struct fault *f)
{
    if (e == ERR_NOMEM || (!e && json_is(d, json_root(d), JSON_OBJECT)))
        return e;
    return fault_set(f, ERR_UPSTREAM_PROTOCOL, "the upstream's answer is not a JSON object");
}

/* ---- Retry-After ---------------------------------------------------------- */

/* IMF-fixdate (RFC 9110 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT". -1: none. */
static int64_t http_date_s(struct str s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[32], month[4];
    struct tm t = {0};
    int end = 0;
    if (s.n != 29)
        return -1;
    str_copy(text, sizeof text, s);
    if (sscanf(text + 4, " %2d %3s %4d %2d:%2d:%2d GMT%n", &t.tm_mday, month, &t.tm_year,
               &t.tm_hour, &t.tm_min, &t.tm_sec, &end) != 6 ||
        end != 25)
        return -1;
    const char *m = strstr(months, month);
    if (!m || strlen(month) != 3 || (m - months) % 3)
        return -1;
    t.tm_mon = (int)(m - months) / 3;
    t.tm_year -= 1900;
    return (int64_t)timegm(&t);
}

int64_t retry_after_ms(const struct fault_headers *h)
{
    int64_t ms = decimal_ms(str_trim(h->retry_after_ms), 1);
    if (ms < 0)
        ms = decimal_ms(str_trim(h->retry_after), 1000);
    if (ms < 0) {
        int64_t at = http_date_s(str_trim(h->retry_after));
        ms = at > h->now_s ? (at - h->now_s) * 1000 : 0;
    }
    return at_most_a_day(ms);
}
