/*
 * run-dir.h - STORE/run: who supervises this store, and what it had to say.
 *
 *   run/supervisor   one line "PID MOUNTPOINT"; locked (OFD) as long as that process lives
 *   run/paused       there while its reconciler rests because it was asked to
 *   run/messages     its messages and its children's while it runs in the background
 */
#ifndef MB_SYNC_RUN_DIR_H
#define MB_SYNC_RUN_DIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Takes the lock and writes pid and mount point.  The fd holds it.  MB_E_LOCKED: somebody has it. */
int run_dir_claim(const char *store, const char *mount);
/* Updates the pid after a fork: the lock goes with the fd. */
int run_dir_note(int fd, const char *mount);
/* Pid of the supervisor, 0 when there is none, or an error. */
int run_dir_supervisor(const char *store, pid_t *ret);
/* The mount point that the last supervisor noted; owned; NULL: none, or it cannot be told. */
char *run_dir_mount(const char *store);
/* The supervisor: notes that its reconciler rests, or does not.  A failure is not told: who waits for the
 * note does not wait for ever. */
void run_dir_pause(const char *store, bool paused);
bool run_dir_paused(const char *store); /* says nothing when there is no supervisor */
/* Waits until it has ended; -ETIMEDOUT when it has not by then. */
int run_dir_wait(const char *store, int64_t patience_ms);
/* Tells it to end (SIGTERM) and waits.  -ESRCH: there was none. */
int run_dir_end(const char *store);
/* Opens run/messages for appending; begins anew when it has grown over a mebibyte. */
int run_dir_messages(const char *store);

#endif
