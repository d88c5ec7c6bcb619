/*
 * interrupt.h - Ctrl-C, SIGTERM and SIGHUP while a sync runs.
 *
 * The first of them asks the sync to end after the item that it is at: what was done is committed, the
 * stores are closed in order, the report is made.  When that takes longer than INTERRUPT_PATIENCE_S (it
 * waits for a lock, or for a peer that says nothing), or at the second one, the process ends at once,
 * as by a kill: that loses nothing either; the patience that ended is told.  Either way it dies of that
 * signal, with a clean terminal, so that a shell sees 128 + its number and ends the loop that the sync
 * was in.
 */
#ifndef MB_SYNC_INTERRUPT_H
#define MB_SYNC_INTERRUPT_H

#include <stdbool.h>

#define INTERRUPT_PATIENCE_S 2

/* From now on.  A signal that is ignored (nohup, a job in the background) stays so. */
void interrupt_watch(void);
/* true: end now.  For session_options.stop; `arg` is not used. */
bool interrupt_asked(void *arg);
/* At the end, with everything closed: dies of the signal that came, if one came; else they mean again
 * what they meant before. */
void interrupt_end(void);

#endif
