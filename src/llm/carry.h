/* carry: signatures of one provider on their way through a caller of another dialect.
 *
 * A Gemini thought signature goes out in the id of the tool call that it
 * belongs to; a signature in a field of its own (Anthropic's `signature`,
 * Gemini's `thoughtSignature`, OpenRouter-style reasoning_details) carries its
 * issuer's name in front where the field is another's.  What comes back is told
 * apart by that.  Pure; any thread; memory from the arena. */
#ifndef LYSS_LLM_CARRY_H
#define LYSS_LLM_CARRY_H

#include "core/arena.h"
#include "llm/neutral.h"

/* "call_1" and a signature become "call_1_lyss-gemini-c2lnbmF0dXJl" (letters, digits, _ and -).
 * Signatures over CARRY_MAX bytes are left out: the id alone. */
#define CARRY_MAX 16384
struct str carry_id_join(struct str id, enum issuer issuer, struct str signature, struct arena *a);
/* The reverse: id becomes what stood before; an id that carries nothing is left as it is. */
void carry_id_split(struct str joined, struct str *id, enum issuer *issuer, struct str *signature,
                    struct arena *a);

/* A signature for a field that belongs to `field_of`: as it is when that is its issuer, else
 * "lyss-gemini:…" and the like. */
struct str carry_signature_join(struct str signature, enum issuer issuer, enum issuer field_of,
                                struct arena *a);
void carry_signature_split(struct str joined, enum issuer field_of, enum issuer *issuer,
                           struct str *signature);

/* An id made fit for a charset of [a-zA-Z0-9_-] and at most max bytes, the same for the same id:
 * what does not fit is replaced by a digest of it. */
struct str carry_id_fit(struct str id, size_t max, struct arena *a);

#endif
