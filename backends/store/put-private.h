/*
 * put-private.h - shared by put-mailbox.c (one state of a mailbox) and put-merge.c (two mailboxes
 * become one).
 */
#ifndef MB_STORE_PUT_PRIVATE_H
#define MB_STORE_PUT_PRIVATE_H

#include "backends/store/store-private.h"

struct mailbox_put {
	struct store *s;
	struct index_txn *tx;
	struct tree tree; /* with the wanted state joined in */
	struct guid guid;
	bool known, changed;
	bool told;	       /* of what is in the way, put_place() */
	struct mailbox before; /* registers here, when known */
};

/* ".mbswap-GUID", where it waits for its place; owned. */
char *mailbox_swap_dir(const struct guid *g);
/* Is `dir` what `wanted` means?  One name may be written in several ways. */
bool mailbox_dir_says(struct store *s, const char *dir, const char *wanted);
/* The next rename (places.h) on the way of p->guid and those beneath it in the tree to their places; *op
 * stays as it is when there is none.  MB_E_STALE: something nobody knows is where one of them should
 * be; a warning was printed. */
int put_place(struct mailbox_put *p, struct store_step *op);

/* Takes away the directory of p->guid, which has no live copies.  MB_E_STALE: there is mail in it that
 * nobody knows. */
int put_rmdir(struct mailbox_put *p, const char *path);
/* All that is in `loser` belongs to loser->merged_into from now on.  1, or an error. */
int put_merge(struct mailbox_put *p, const struct mailbox *loser, const struct origin *origin);

#endif
