/* probe: the cheapest call that proves a channel's address and one of its credentials: the list of
 * models where the provider has one, else one token of an answer.
 *
 * For health checks (gateway/health/health.h) and `lyss channel test` alike; knows no
 * tenant, no quota and no ledger.  Owned by the thread of its loop. */
#ifndef LYSS_GATEWAY_PROBE_H
#define LYSS_GATEWAY_PROBE_H

#include "gateway/channel.h"
#include "llm/classify.h"
#include "llm/model_caps.h"
#include "net/http_client.h"

/* X(KIND, key, failure, what, how to mend it); failure: the same in fewer and coarser words, for
 * programs; empty: none. */
#define PROBE_KINDS(X)                                                                             \
    X(OK, "ok", "", "it answers, and the credential is good", "")                                  \
    X(DNS, "dns", "connection_failed", "the name in its address does not exist",                   \
      "check the host in --base-url, and dns_servers")                                             \
    X(DNS_TIMEOUT, "dns_timeout", "timeout", "no name server answered",                            \
      "check the network, and dns_servers")                                                        \
    X(ADDRESS, "address", "address_refused", "its address is one that Lyss may not connect to",    \
      "if it is meant to be there, add its network to upstream_allow")                             \
    X(REFUSED, "refused", "connection_failed", "nothing listens at its address",                   \
      "check host and port in --base-url, and that the server runs")                               \
    X(CONNECT_TIMEOUT, "connect_timeout", "timeout", "its address does not answer",                \
      "check host and port in --base-url, and firewalls on the way")                               \
    X(TLS, "tls", "tls_failed", "the TLS handshake failed",                                        \
      "check its certificate and host name; for an authority of your own set upstream_ca_file; "   \
      "for a server without TLS write http:// in --base-url")                                      \
    X(RESET, "reset", "connection_failed", "it closed the connection without an answer",           \
      "check port and scheme in --base-url: a server with TLS wants https://")                     \
    X(TIMEOUT, "timeout", "timeout", "it took the request and said nothing",                       \
      "try again; if it is always so, look at the upstream")                                       \
    X(CREDENTIAL, "credential", "authentication_failed", "it refused the credential",              \
      "give it a good one: lyss channel set NAME --credential-stdin")                              \
    X(NO_CREDENTIAL, "no_credential", "authentication_failed", "the channel has no credential",    \
      "give it one: lyss channel set NAME --credential-stdin")                                     \
    X(PERMISSION, "permission", "permission_denied", "the credential may not do this",             \
      "look at what it says: rights of the key, its project or region; or give another one")       \
    X(NO_CREDIT, "no_credit", "balance_exhausted", "the account has no money or quota left",       \
      "pay, or use another account's credential")                                                  \
    X(MODEL, "model", "model_not_found", "it does not know the model",                             \
      "check --model NAME=UPSTREAM of the channel against the provider's list")                    \
    X(ENDPOINT, "endpoint", "endpoint_not_found", "it speaks the API, but not at this path",       \
      "check the path in --base-url (many want /v1 at its end), and --api-version")                \
    X(NOT_API, "not_an_api", "endpoint_not_found", "what answers there does not speak this API",   \
      "check the path in --base-url (many want /v1 at its end) and --provider")                    \
    X(RATE_LIMITED, "rate_limited", "rate_limited", "it is rate limiting; the credential is good", \
      "nothing to mend: it recovers by itself")                                                    \
    X(FAILED, "failed", "server_error", "it answered with an error of its own",                    \
      "try again; if it is always so, look at the upstream's status page")                         \
    X(UNPROVED, "unproved", "",                                                                    \
      "it answers, but has no list of models, and the channel names none",                         \
      "test with a model: lyss channel test NAME --model MODEL")                                   \
    X(NOMEM, "no_memory", "server_error", "Lyss is short of memory", "try again")

enum probe_kind {
#define X(kind, key, failure, what, mend) PROBE_##kind,
    PROBE_KINDS(X)
#undef X
        PROBE_KIND_COUNT
};

const char *probe_key(enum probe_kind k);
/* "timeout", "connection_failed", "tls_failed", "authentication_failed", "permission_denied",
 * "endpoint_not_found", "model_not_found", "rate_limited", "balance_exhausted", "address_refused",
 * "server_error"; "": it is good. */
const char *probe_failure(enum probe_kind k);
const char *probe_what(enum probe_kind k);
const char *probe_mend(enum probe_kind k);
/* Does it say that the channel can serve? */
bool probe_good(enum probe_kind k);

struct probe_result {
    enum probe_kind kind;
    int status;         /* HTTP status, 0: none */
    uint32_t ms;        /* how long it took */
    bool by_call;       /* a token was asked for, not the list */
    struct fault fault; /* where kind is not good: message holds the upstream's words, scrubbed */
};

#define PROBE_REPLY_MAX 65536

/* Embedded in its owner, zeroed; in place until done or probe_cancel. */
struct probe {
    struct loop *loop;
    struct http_client *client;
    struct http_origin *origin;
    const struct channel *channel; /* lent, as long as the probe runs */
    const struct credential *credential;
    const struct model_catalogue *catalogue; /* lent, likewise */
    struct str model;    /* lent; what to ask a token of; empty: the list of models first */
    uint32_t timeout_ms; /* for the whole */
    void (*done)(struct probe *p, const struct probe_result *r);
    /* The rest is the probe's own. */
    struct http_call call;
    struct deadline deadline;
    struct iovec iov[2], work[2];
    struct buf request, reply;
    uint64_t began_ms;
    enum llm_op op;
    size_t call_row; /* of what a token is asked by */
    int status;
    int64_t retry_ms;
};

/* done comes once, later on the loop, and may free the probe. */
void probe_start(struct probe *p);
/* No done any more. Harmless after it. */
void probe_cancel(struct probe *p);

#endif
