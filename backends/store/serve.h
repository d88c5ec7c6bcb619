/*
 * serve.h - one request of the store's socket, without the socket: bytes in, bytes out.
 */
#ifndef MB_STORE_SERVE_H
#define MB_STORE_SERVE_H

#include "backends/base/buf.h"
#include "backends/mail/stamp.h"
#include "backends/store/store.h"

struct serve {
	struct store *store;		   /* borrowed, open as writer */
	const char *mount;		   /* borrowed; "" = none */
	void (*counters)(struct buf *out); /* appends str name, u64 number, …; or NULL */
	struct hlc clock;		   /* has seen every stamp that VERB_NOW brought */
};

/*
 * Does one request (verb and payload, without the length) of process `pid`.  Appends the payload of
 * the answer to `out`; nothing when the result is negative.  Returns the result that is answered;
 * MB_E_PROTOCOL for bytes that are no request.
 */
int store_serve(struct serve *v, uint32_t pid, const void *request, size_t len, struct buf *out);

#endif
