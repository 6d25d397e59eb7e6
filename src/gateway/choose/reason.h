/* reason: why a candidate may not be asked: one table for the filter, the answer that counts them,
 * and `lyss route explain`. */
#ifndef LYSS_GATEWAY_REASON_H
#define LYSS_GATEWAY_REASON_H

/* X(NAME, key, words, kind): words complete "2 …"; kind: FIXED (a matter of configuration and of
 * the request), THROTTLED (a limit: 429), DOWN (a failure). */
#define REASONS(X)                                                                                 \
    X(NONE, "eligible", "eligible", FIXED)                                                         \
    X(INACTIVE, "inactive", "inactive", FIXED)                                                     \
    X(NOT_ALLOWED, "not_allowed", "not allowed to this key", FIXED)                                \
    X(OPERATION, "operation", "without this operation", FIXED)                                     \
    X(TOOLS, "tools", "without tools", FIXED)                                                      \
    X(VISION, "vision", "without vision", FIXED)                                                   \
    X(JSON_SCHEMA, "json_schema", "without JSON schemas", FIXED)                                   \
    X(THINKING, "thinking", "without thinking", FIXED)                                             \
    X(CONTEXT, "context", "with too small a context", FIXED)                                       \
    X(PINNED, "pinned", "did not make the response that is referred to", FIXED)                    \
    X(NO_CREDENTIAL, "no_credential", "without a credential", FIXED)                               \
    X(TRIED, "tried", "tried already", FIXED)                                                      \
    X(BREAKER, "breaker_open", "breaker open", DOWN)                                               \
    X(ASIDE, "credential_aside", "credential put aside", DOWN)                                     \
    X(BUDGET, "retry_budget", "over retry budget", DOWN)                                           \
    X(COOLING, "cooling", "cooling down", THROTTLED)                                               \
    X(RPM, "rpm", "over rpm", THROTTLED)                                                           \
    X(TPM, "tpm", "over tpm", THROTTLED)                                                           \
    X(CONCURRENCY, "concurrency", "over concurrency", THROTTLED)                                   \
    X(HEADROOM, "headroom", "out of upstream quota", THROTTLED)

enum reason {
#define X(name, key, words, kind) REASON_##name,
    REASONS(X)
#undef X
        REASON_COUNT
};

enum reason_kind { REASON_FIXED, REASON_THROTTLED, REASON_DOWN };

const char *reason_key(enum reason r);
const char *reason_words(enum reason r);
enum reason_kind reason_kind(enum reason r);

#endif
