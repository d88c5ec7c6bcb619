/*
 * pidlock.h - lock files that say whose they are, in Dovecot's form: "PID:HOST".
 */
#ifndef MB_BASE_PIDLOCK_H
#define MB_BASE_PIDLOCK_H

#include <stdbool.h>

#define PIDLOCK_TEXT_MAX 512
#define PIDLOCK_WAIT_MS                                                                            \
	2000 /* then Dovecot is left alone, and what was to be written comes later */
#define PIDLOCK_RETRY_NS 5000000

/* What a lock of this process has in it. */
void pidlock_text(char out[PIDLOCK_TEXT_MAX]);
/* Takes away the lock file `name` when its process, on this host, is no more, or when nobody has touched
 * it for five minutes (Dovecot takes one that is two minutes old for a dead one), if it is still that
 * lock.  `own_too`: the caller has no such lock, so one with this process' id is left from an earlier process
 * of that id.  One durable step; true: it is gone. */
bool pidlock_clear_dead(int dir, const char *name, bool own_too);

#endif
