/* pages: what the gateway says of itself: health, metrics, the list of models. */
#ifndef LYSS_GATEWAY_PAGES_H
#define LYSS_GATEWAY_PAGES_H

#include "gateway/request.h"
#include "gateway/surface.h"

/* Replies at once; no credential is asked for. */
void page_serve(struct worker *w, struct http_conn *c, const struct surface *s,
                const struct http_head *h);
/* GET models and GET models/{id} (r->deployment): replies and frees r. */
void page_models(struct request *r, const struct api_key *k, bool head);

#endif
