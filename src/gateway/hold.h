/* hold: answers end when what they cost is on the disk (the setting journal_sync=always).
 *
 * The worker's thread. */
#ifndef LYSS_GATEWAY_HOLD_H
#define LYSS_GATEWAY_HOLD_H

#include "gateway/worker.h"

/* From the start on. */
void hold_init(struct worker *w);
/* The loop is about to stop. */
void hold_stop(struct worker *w);

#endif
