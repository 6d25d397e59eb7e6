/* worker: one thread of the data plane: a loop, its listener, its connections, its upstream pool.
 *
 * Everything in struct worker belongs to the worker's thread, but for what is
 * marked otherwise.  Start, swap and stop are called by the control thread. */
#ifndef LYSS_GATEWAY_WORKER_H
#define LYSS_GATEWAY_WORKER_H

#include <pthread.h>

#include "core/map.h"
#include "gateway/balance/affinity.h"
#include "gateway/cells.h"
#include "gateway/choose/resolve.h"
#include "gateway/memory/idempotency_table.h"
#include "gateway/drain.h"
#include "gateway/metrics.h"
#include "gateway/rules.h"
#include "gateway/snapshot.h"
#include "net/dns.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "store/apikey.h"
#include "store/journal.h"

struct demo;
struct gateway;
struct hedge_share;
struct local_server;
struct request;

struct worker {
    struct gateway *gateway;
    unsigned index;
    struct rules *rules; /* what follows comes from them; NULL: from the gateway's */
    struct gateway_settings settings;
    struct guard guard;
    struct cidr_list metrics_allow;
    struct browser_rules browser;
    pthread_t thread;
    struct loop *loop;
    struct tcp_listener listener;
    struct http_server server;
    struct http_client client;
    struct dns *dns;
    struct demo *demo;          /* NULL: none */
    struct checker *checker;    /* worker 0's; else NULL */
    struct local_server *local; /* worker 0's, may be NULL even so */
    struct snapshot *snapshot;  /* the newest given */
    struct resolved resolved;   /* what was looked up in it last */
    struct journal_ring *ring;
    struct apikey_hasher hasher;
    struct map origins;          /* "https://host:port" → struct http_origin */
    struct map routes;           /* tenant and model → what the worker keeps of that route */
    struct recall_shard *recall; /* what it remembers across requests */
    struct idem_shard *idem;     /* the calls by Idempotency-Key that it owns */
    struct request *requests;    /* all that are under way */
    unsigned requests_n;
    struct request *spare; /* ended ones, for the next to come */
    unsigned spares_n;
    bool stopping;
    struct drain_seat drain; /* shared with the control thread, see there */
    struct deadline stop_deadline;
    struct deadline hold_look; /* ends of answers that wait, see hold.h */
    struct message hold_turn;
    bool hold_pending;
    uint64_t stop_by_ms;
    _Atomic unsigned connections;  /* read by other workers, to pass descriptors on */
    _Atomic uint64_t body_bytes;   /* of requests under way; read by all */
    _Atomic uint64_t unsent_bytes; /* of answers that slow callers do not take; read by all */
    struct worker_metrics metrics; /* written by this worker, read by any */
};

struct gateway {
    struct gateway_settings settings; /* of the start; of reloads each worker has a copy */
    struct worker *workers[WORKERS_MAX];
    struct cells *cells;
    struct affinity affinity;
    struct journal *journal;
    _Atomic(const struct model_catalogue *) catalogue; /* each stays until the process ends */
    struct guard guard;
    struct cidr_list metrics_allow;
    struct browser_rules browser;
    struct tls_context *server_tls;           /* lent by the rules of the start */
    _Atomic(struct tls_context *) client_tls; /* NULL until the first https channel appears */
    const struct apikey_pepper *pepper;
    struct budget idem_budget, recall_budget; /* of all workers */
    bool stopped;                             /* all workers' threads have ended */
    _Atomic bool ready, database_ok;
    _Atomic int64_t upstream_open, upstream_connects; /* all workers' */
    const char *dns_servers;                          /* NULL: the system's */
    struct dns_hosts *hosts;
    int (*demo_open)(void *worker); /* a connected descriptor to the demo upstream; NULL: none */
    int64_t started_ms;
};

/* Makes worker `index` with its first snapshot (a ref is taken); g->journal is running. All workers
 * are made before the first one starts. */
enum err worker_new(struct gateway *g, unsigned index, struct snapshot *snapshot,
                    struct err_info *info) MUST_CHECK;
/* Takes a listening descriptor and starts the thread. */
enum err worker_start(struct worker *w, int listen_fd, struct err_info *info) MUST_CHECK;
/* Gives every worker the snapshot; takes the caller's ref. */
void gateway_publish(struct gateway *g, struct snapshot *snapshot);
/* Gives every worker new rules; takes the caller's ref. */
void gateway_reload(struct gateway *g, struct rules *rules);
/* Stops accepting, ends what is idle at once and streams in-band, within settings.stop_ms; joins
 * all threads and frees the workers. */
void gateway_stop(struct gateway *g);

/* What large bodies and unsent answers take now, of memory_budget_bytes. Any thread. */
uint64_t gateway_memory_used(const struct gateway *g);
/* Is that more than there is? Any thread. */
bool gateway_memory_full(const struct gateway *g);

/* The calling worker's own origin for a channel; NULL: no memory. */
struct http_origin *worker_origin(struct worker *w, struct channel *ch);
/* The calling worker's state of a stateful algorithm for a route. NULL: no memory. */
struct balance_state *worker_balance_state(struct worker *w, int64_t tenant_id, struct str model);
/* Its count of that route's hedges. NULL: no memory. */
struct hedge_share *worker_hedge_share(struct worker *w, int64_t tenant_id, struct str model);

#endif
