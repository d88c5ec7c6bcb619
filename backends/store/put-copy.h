/*
 * put-copy.h - one put of a copy: shared by put.c (what is wanted, what changes), put-body.c
 * (where its body comes from) and put-step.c (as a system call).  The store's lock is held.
 */
#ifndef MB_STORE_PUT_COPY_H
#define MB_STORE_PUT_COPY_H

#include "backends/store/store-private.h"
#include <sys/stat.h>

/* One put of a copy while it is being worked out. */
struct copy_put {
	struct store *s;
	struct index_txn *tx;
	const struct record *want;
	const char *staged;
	const struct store_step
		*step;	     /* the system call that it came as: the kernel knows; or NULL */
	struct entry old;    /* what is here; zeros when the copy was never heard of */
	bool known, present; /* old is set / its file is there */
	bool damaged;	     /* … and is not what was stored */
	struct copy new;     /* joined */
	char *old_path;	     /* of the file now, when present */
	char *target;	     /* "cur/NAME" or "new/NAME" wanted, when it lives */
	char *new_path;	     /* of it in the tree */
	char *kept;	     /* in deleted/, when this put expunged it */
	struct stat placed;  /* of a staged body in its place; st_ino 0: not known */
	bool logged;	     /* it is in the log, whatever came after */
	bool mended;	     /* this put gave a damaged file its body back */
	bool edited;	     /* a program is writing it: an expunge has to wait for that edit */
};

/* put.c.  What is here, joined with what is wanted; the rest of `c` is set.  copy_put_release() it. */
int copy_put_load(struct copy_put *c);
/* UID and path that a living copy will have.  `writable`: the transaction is. */
int copy_put_aim(struct copy_put *c, bool writable);
void copy_put_release(struct copy_put *c);

/* put-step.c.  Is this the call that the put would make of the files as they are now? */
bool copy_put_is(const struct copy_put *c, const struct store_step *step);

/* The directory that the new path lies in, made whole when a part of it is missing.  Returns the fd;
 * MB_E_STALE when the mailbox's directory itself is gone. */
int put_open_target_dir(struct copy_put *c, const char **ret_name);
/* The body comes to the new path: the staged one by rename, else a link of one that is here.  -ENOENT
 * when there is none. */
int put_place_body(struct copy_put *c);

/* put-plain.c.  Two GUIDs are one message: the copy here takes the other GUID; its file stays.  1, or 0
 * when there is nothing to do. */
int put_alias(struct store *s, const struct record *want);
/* A record of a peer, logged unless it is in already.  Likewise. */
int put_plain(struct store *s, const struct record *want);

#endif
