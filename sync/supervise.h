/*
 * supervise.h - the supervisor of a mount: runs mailbraid-fs and the reconciler, restarts either.
 *
 *   fs      start -> ready ("1" on descriptor 3) -> ... -> dead: stale mount cleaned, start again
 *   sync    started when the mount answers, ended before the file system is
 *
 * `mailbraid watch` is supervised by the same code, with a plain writer in the place of mailbraid-fs.
 * It parses nothing from outside.  The file system ending by itself with 0 means that somebody
 * unmounted it: then all ends.  SIGTERM, SIGINT, SIGHUP: reconciler, then file system, then we.
 * SIGUSR1: sync now, also when it was to rest.  SIGUSR2: the reconciler ends, and is started again after
 * as many seconds as sigqueue() gave along (else 5): umount and `mailbraid pause`.  While it rests there
 * is run/paused (run-dir.h).
 */
#ifndef MB_SYNC_SUPERVISE_H
#define MB_SYNC_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>

struct supervise {
	const char *store;	      /* absolute */
	const char *mount;	      /* absolute */
	const char *const *fs_argv;   /* ends with NULL; [0] is a path */
	const char *const *sync_argv; /* NULL: no reconciler */
	/* Called once, when the mount answers for the first time.  May be NULL. */
	void (*ready)(void *arg);
	void *arg;
};

/* Runs until the end.  Exit code: 0; that of mailbraid-fs when it never mounted; 1 given up. */
int supervise(const struct supervise *o);

/* Same, as the one supervisor of the store (run-dir.h), in the background unless `foreground`: then
 * it returns when the mount answers, or with the exit code of what failed.  Waits up to 30 s for one that
 * was unmounted and has not ended yet. */
int supervise_store(const struct supervise *o, bool foreground);

#endif
