/* edit: a text with a few byte edits, written out without being copied.
 *
 * Edits are in ascending order and do not overlap (two may touch).  Nothing is
 * owned: text and insertions must outlive what is made of them.  Any thread. */
#ifndef LYSS_LLM_EDIT_H
#define LYSS_LLM_EDIT_H

#include <sys/uio.h>

#include "core/buf.h"

struct edit {
    uint32_t off;     /* where, in the original text */
    uint32_t removed; /* bytes of the original that go */
    struct str text;  /* what comes instead */
};

/* iovecs that n edits can need at most. */
#define EDIT_IOV_MAX(n) (2 * (n) + 1)

/* Puts edits that were collected in any order into the one that the others want; of two at one
 * place the mere insertion comes first. Meant for a few. */
void edits_sort(struct edit *e, unsigned n);
/* Length of the edited text: the Content-Length of the request. */
size_t edits_length(struct str text, const struct edit *e, unsigned n);
/* Fills iov (room for EDIT_IOV_MAX(n)) with the edited text and returns how many are used; empty
 * ones are left out. */
unsigned edits_iov(struct str text, const struct edit *e, unsigned n, struct iovec *iov);
/* Appends the edited text. */
void edits_write(struct str text, const struct edit *e, unsigned n, struct buf *out);

#endif
