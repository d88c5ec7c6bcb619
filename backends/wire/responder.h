/*
 * responder.h - serves one backend, the local store as a rule, to a mailbraid at the other end.
 *
 * It has the role of the store's writer from BEGIN to the COMMIT that ends a sync, or LET_GO.  A connection that ends in between
 * leaves what was put, durable, as a sync that was cut does.
 */
#ifndef MB_WIRE_RESPONDER_H
#define MB_WIRE_RESPONDER_H

#include "backends/wire/stream.h"

/* Opens what is served, when the other end has said who it is; `dry`: nothing is to be written. */
typedef int wire_open_fn(bool dry, void *arg, struct backend **ret);

/*
 * Takes both descriptors.  Until the other end closes (0), or says what cannot be understood, or nothing for
 * `patience_s`: an error, with which the connection is closed.  What single requests end with is answered.
 */
int wire_serve(int in, int out, unsigned patience_s, wire_open_fn *open, void *arg);

#endif
