/* provider: one const row per kind of upstream: where it lives, how it is called, in what it
 * differs.
 *
 * Rows and functions are pure; any thread.  A provider never sees a channel:
 * what it needs of one is in struct endpoint. */
#ifndef LYSS_LLM_PROVIDER_H
#define LYSS_LLM_PROVIDER_H

#include "core/buf.h"
#include "core/err.h"
#include "core/secret.h"
#include "llm/estimate.h"
#include "llm/model_caps.h"
#include "llm/op.h"
#include "llm/quirk.h"

enum auth_style { AUTH_NONE, AUTH_BEARER, AUTH_API_KEY, AUTH_X_API_KEY, AUTH_X_GOOG_API_KEY };

/* A channel's place, as the provider needs it. Borrowed. */
struct endpoint {
    struct str prefix;      /* path of its base URL, without a trailing slash; may be empty */
    struct str api_version; /* Azure; may be empty */
};

struct provider {
    const char *name;
    const char *title;    /* for people */
    const char *base_url; /* NULL: each channel must give its own */
    enum auth_style auth;
    bool auth_optional;         /* a channel may be without a credential */
    bool lists_models;          /* GET models is always there */
    bool in_process;            /* reached by a socketpair, never by address */
    unsigned ops;               /* OP_BIT(…) that it serves unless the channel says otherwise */
    const struct quirk *quirks; /* NULL: none */
    uint8_t estimate_percent;   /* real tokens by estimated ones, measured; 0: 100 */
    const char *stream_options_since; /* dated api-versions before this one refuse stream_options */
    /* Appends the request target; NULL: prefix + the operation's path. */
    enum err (*target)(const struct endpoint *at, enum llm_op op, struct str model, bool stream,
                       struct buf *out, struct err_info *info);
    /* Checks a channel's endpoint beyond its prefix; NULL: it takes no api_version. */
    enum err (*check)(const struct endpoint *at, struct err_info *info);
};

/* NULL: no such provider. */
const struct provider *provider_find(struct str name);
/* The i-th row, NULL after the last. */
const struct provider *provider_at(size_t i);

static inline bool provider_serves(const struct provider *p, enum llm_op op)
{
    return (p->ops & OP_BIT(op)) != 0;
}

/* Can s stand as one segment of a path, unescaped? */
bool provider_segment_ok(struct str s);
/* Appends the request target (path and query) of a call. model: the upstream's name for it (a path
 * segment with some providers). stream: of Gemini, where the path says so. ERR_INVALID: a model
 * that cannot be a path segment; ERR_NOMEM. */
enum err provider_target(const struct provider *p, const struct endpoint *at, enum llm_op op,
                         struct str model, bool stream, struct buf *out,
                         struct err_info *info) MUST_CHECK;
/* Appends the credential's header line with CR LF; nothing for an empty secret. ERR_INVALID: the
 * secret holds a byte that a header cannot. */
enum err provider_auth_header(const struct provider *p, const struct secret *secret,
                              struct buf *out) MUST_CHECK;
/* Appends the header lines with which Anthropic's operations are called: the version that the
 * caller asked for, or else the one that Lyss speaks, and the caller's betas. Either may be empty.
 */
void provider_version_header(struct str version, struct str beta, struct buf *out);
/* The estimate with this provider's measured ratio applied. */
uint32_t provider_estimate(const struct provider *p, const struct estimate *e);
/* An estimate of tokens with the model's measured ratio applied, or else this provider's. */
uint32_t provider_scale(const struct provider *p, const struct model_caps *m, uint32_t tokens);
/* May stream_options be sent there? */
bool provider_takes_stream_options(const struct provider *p, const struct endpoint *at);
/* Checks what an operator gave for a channel: api_version's form, prefix. ERR_INVALID. */
enum err provider_check_endpoint(const struct provider *p, const struct endpoint *at,
                                 struct err_info *info) MUST_CHECK;

#endif
