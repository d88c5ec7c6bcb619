/*
 * settle.h - messages whose content is being written in place (in cur or new).
 *
 * Before the first change the store puts the old content aside (store_before_write); the new one is
 * published, or becomes an edit, when it has settled: at fsync, at a rename of the file, or after two
 * seconds without a write.  Files elsewhere (tmp, local) are not tracked.
 */
#ifndef MB_FS_SETTLE_H
#define MB_FS_SETTLE_H

#include "fs/fs.h"

int settle_start(struct mailfs *fs);
/* Ends the thread and settles everything that is left. */
void settle_stop(struct mailfs *fs);

/* Content of n is about to be changed (truncate: all of it).  0, or an error: do not change it.  After 0
 * call settle_end().  No lock may be held.  Nothing happens for files that are no messages. */
int settle_begin(fuse_req_t req, struct node *n, bool truncate);
void settle_end(struct mailfs *fs, struct node *n);
/* n was created in cur or new just now.  Takes the stripe. */
void settle_created(struct mailfs *fs, struct node *n, const struct origin *origin);

/* Was n created in cur or new, and is nobody in the middle of a write?  It is no message yet, as a file
 * in tmp/: a rename makes it what its new name says.  Stripe held. */
bool settle_is_new(const struct node *n);
/* Settles n now if it is being written and nobody is in the middle of a write.  Stripe held. */
int settle_now(struct mailfs *fs, struct node *n);
/* The file is going away: nothing to settle any more.  Stripe held. */
void settle_cancel(struct mailfs *fs, struct node *n);

#endif
