/*
 * fill-private.h - what the files of filling share.
 *
 *   fill.c        what there is, and what of it can be put as it is
 *   fill-piece.c  putting it, piece by piece
 */
#ifndef MB_SYNC_FILL_PRIVATE_H
#define MB_SYNC_FILL_PRIVATE_H

#include "sync/fill.h"

enum fill_state { FILL_OPEN, FILL_LEFT, FILL_DONE };

struct fill_copy {
	struct guid guid;
	uint64_t id;
	uint32_t box; /* index in the tree of the side that has it */
	uint32_t uid;
	uint32_t base; /* hash of the part of the file name that names the mail */
	bool alive;    /* false: the message is dead, all of it */
	bool old;      /* old-mail.h may hold it */
	uint8_t state; /* enum fill_state */
};

enum fill_mark { ON_0 = 1, ON_1 = 2, ON_BOTH = 4 };

/* What is known of a mailbox that a side has. */
struct fill_box {
	uint8_t marks; /* which side has messages there that are not the same on both */
	bool plain;    /* its mail may be put at the other side as it is */
	bool gone;     /* so may what is known of its dead mail: it is dead wherever it is known */
	bool closed;   /* no more of it */
	bool there;    /* the other side was told of it, and of its UIDVALIDITY */
	uint32_t next; /* uid_next of the other side */
};

/* Of a mailbox that this side has, or NULL. */
struct fill_box *fill_box_of(const struct fill *f, int side, const struct guid *g);
/* The state of the message alone does not tell that it needs a decision. */
bool fill_may_go(const struct fill *f, int side, const struct guid *key, const struct message *m);
/* Left to the merge, and its mailbox takes no more. */
void fill_leave(struct fill *f, int from, struct fill_copy *c);

#endif
