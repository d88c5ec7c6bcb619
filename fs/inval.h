/*
 * inval.h - tells the kernel what changed behind its caches, from a thread of its own.
 *
 * Every function may be called with table_lock held, and returns at once.  Items hold a reference on
 * their node until they were sent.  The thread holds no lock while it talks to the kernel.
 */
#ifndef MB_FS_INVAL_H
#define MB_FS_INVAL_H

#include "fs/fs.h"

int inval_start(struct mailfs *fs);
/* Sends what is queued, then ends the thread.  Requests must still be served: the kernel may let a
 * notification wait for one. */
void inval_stop(struct mailfs *fs);

void inval_name(struct mailfs *fs, struct node *dir,
		const char *name);		       /* dir/name is not what it was */
void inval_dir(struct mailfs *fs, struct node *dir);   /* listing and times */
void inval_content(struct mailfs *fs, struct node *n); /* pages and attributes */
void inval_attr(struct mailfs *fs, struct node *n);    /* attributes only */
void inval_close(struct mailfs *fs, int fd);	       /* closes it where nobody waits */

#endif
