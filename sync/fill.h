/*
 * fill.h - the mail of a full comparison that needs no decision: put as it is, a piece at a time, before
 * the merge of the rest.
 *
 * A first sync is mostly this: mailboxes in which one side has messages that the other never heard of,
 * and the other has nothing that could clash with them.  No rule of the merge touches such a message:
 * its state on the one side is the result for both.  So it need not be held in memory with all others:
 * of each copy 48 bytes are kept, and the states of one piece.
 *
 * What is put is what the merge would put, and in its order (merge.h, "plan"): mailboxes when their
 * first mail comes, with uid_next as it is, mail by UID.  So a session that is cut in between leaves
 * what any cut session leaves.  Left to the merge is
 *  - every message of a mailbox in which both sides have something to merge, or that is not alive, or
 *    is called as another one, or is new where case does not count;
 *  - in a mailbox, from the first message on that cannot be put as it is: a UID that the other side
 *    gave already, a file name that another one has, a copy that changed meanwhile;
 *  - every message of which a part is left.
 *
 * Only with the default scope, and between replicas that keep stamps, UIDs and GUIDs themselves.
 */
#ifndef MB_SYNC_FILL_H
#define MB_SYNC_FILL_H

#include "sync/gather.h"
#include "sync/session.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Items of one piece, and as few as are not worth one.  Tests: MAILBRAID_PIECE does the same. */
#define FILL_PIECE 4096

struct fill_copy;
struct fill_box;

struct fill {
	struct gather *gather;			  /* borrowed: gets what is left */
	const struct session_options *opt;	  /* borrowed */
	struct session_result *report;		  /* borrowed: counts and errors are added */
	uint64_t origin[2];			  /* of what comes from side i */
	bool hold_old;				  /* old-mail.h is on */
	int (*before_begin)(void *arg, int side); /* session_before_begin(); NULL: nothing */
	void *before_begin_arg;
	size_t piece;
	struct tree tree[2];	     /* owned: as they were at first */
	struct fill_box *boxes[2];   /* owned; by index of tree[i] */
	struct fill_copy *copies[2]; /* owned: what only side i knows */
	size_t n[2], cap[2];
	size_t n_open;	       /* copies that are to be put */
	struct merge_input in; /* owned: the piece, and the trees as they are by now */
};

/* true when these two may be filled at all. */
bool fill_may(const struct backend_info info[2], const struct session_options *opt);
/* Reads both trees. */
int fill_open(struct fill *f, struct gather *g, const struct session_options *opt,
	      struct session_result *report);
void fill_release(struct fill *f);

/* While the sides are compared: a key that only `side` lists; a state that is not the same on both. */
int fill_see(struct fill *f, int side, const struct guid *key);
void fill_touch(struct fill *f, const struct message *m);

/* After that: what can be put as it is?  The rest goes to the gathering.  true: there is enough of it. */
bool fill_choose(struct fill *f);
/* Puts what was chosen, side 1 first; what turns out not to fit goes to the gathering.  As
 * apply_plan(); all that was put is durable in any case but when the backend is gone. */
int fill_run(struct fill *f);

#endif
