/*
 * live.h - keeping a store in step for as long as the process lives.
 *
 * A libuv loop on one thread: news of the store, or of a peer (backend watch_fd), asks for a sync
 * with those it concerns, after a pause in which more may come (debounce); an error asks for another
 * try after a back-off with jitter; and every some minutes each peer is looked at anyway.  Between
 * that nothing runs.  Sessions run on the loop's thread, one after the other.
 *
 * Peers are those of the command line and those registered in the store, also when they are
 * registered while it runs.
 */
#ifndef MB_SYNC_LIVE_H
#define MB_SYNC_LIVE_H

#include "backends/backend.h"
#include <stddef.h>

#define LIVE_FIRST_MS 2	      /* from the first news after a rest to the sync */
#define LIVE_REST_MS 500      /* what a rest is */
#define LIVE_QUIET_MS 10      /* else: no news for so long: go */
#define LIVE_WAIT_MS 100      /* go after this, quiet or not */
#define LIVE_RESCAN_MS 300000 /* safety net */
#define LIVE_BACKOFF_MS 500   /* first back-off, doubled each time */
#define LIVE_BACKOFF_MAX_MS 60000

struct live {
	struct backend *local;	  /* borrowed */
	const char *dir;	  /* borrowed: of the local store, for conflicts; NULL: not kept */
	const char *const *peers; /* destinations from the command line */
	size_t n_peers;
};

/* Until SIGTERM or SIGINT (0), or until the local store cannot be used any more (an error).  SIGUSR1:
 * sync with all now. */
int live_run(const struct live *o);

/* Milliseconds to wait after `failures` (from 1) in a row; `random` is spread over the upper half. */
int live_backoff_ms(unsigned failures, unsigned random);

#endif
