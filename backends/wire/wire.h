/*
 * wire.h - the initiator: a backend that is a mailbraid at the other end of a byte stream.
 *
 * Each call of the seam is a request (wire-format.h).  Requests are written when somebody waits, and what was
 * foreseen (backend.h, foresee) is answered by then: a session without news costs one round trip, one
 * with news two or three.  An error of the connection ends it: every later call gives the same error.
 */
#ifndef MB_WIRE_WIRE_H
#define MB_WIRE_WIRE_H

#include "backends/backend.h"
#include <stdint.h>

struct wire_counts {
	uint64_t
		round_trips; /* since the handshake: waits for an answer to what was sent after the last */
	uint64_t n_sent, n_received; /* bytes */
};
struct wire_counts wire_counts(struct backend *b);

/* Called once, when the backend is closed and both descriptors are; a channel ends its process there. */
void wire_on_close(struct backend *b, void (*fn)(void *arg), void *arg);

/* For those who open one from now on: how long the other end may be silent (120 s at first). */
void wire_patience(unsigned seconds);
unsigned wire_patience_s(void);

#endif
