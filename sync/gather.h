/*
 * gather.h - what a merge has to know, read from both sides.
 *
 * The keys are the messages with news on either side (in a full comparison, those that are not the
 * same on both), and, so that clashes are seen, those that hold the same UIDs on the other side.
 * What is the same on both sides, and in nobody's way, changes nothing in a merge.
 */
#ifndef MB_SYNC_GATHER_H
#define MB_SYNC_GATHER_H

#include "backends/backend.h"
#include "sync/merge.h"
#include "sync/progress.h"
#include <stdbool.h>
#include <stdint.h>

struct fill;
struct gather_key;

/* Two GUIDs that `side` knows to be one message and the other side may not. */
struct gather_alias {
	int side;
	struct guid from, to;
};

struct gather {
	struct backend *b[2]; /* borrowed */
	struct backend_info info[2];
	struct gather_key *keys; /* owned: a hash table, and in order: */
	struct guid *order;	 /* owned */
	size_t n_order, cap_order;
	struct gather_alias *aliases; /* owned: found while reading */
	size_t n_aliases, cap_aliases;
	size_t cap_messages[2], cap_missing[2];
	struct tree given[2]; /* owned: as each side was before its news was read; or empty: it gave
				 no UIDs since, or keeps none */
	bool compared;	      /* in full */
	bool related;	      /* both sides know some message, or each other */
	bool filled;	      /* fill.h chose; so the sides have mailboxes in common since: */
	bool strangers;	      /* they never met, and had nothing in common */
	struct fill *fill;    /* borrowed; NULL: what one side alone knows is gathered, too */
	uint64_t both; /* of a full comparison: messages alive on both sides under one GUID */
	const struct progress_to *progress; /* borrowed; may be NULL */
	struct merge_input in;		    /* owned: filled by gather_read() */
};

void gather_release(struct gather *g);

/* Adds a message to what is read. */
void gather_add(struct gather *g, const struct guid *key);
/* Adds the news of one side. */
void gather_add_news(struct gather *g, const struct change_set *news);
/*
 * Adds every message whose state is not the same on both sides: both are walked by GUID, side by
 * side.  Memory follows what differs, not what there is; each message of each side is read once.
 */
int gather_add_differences(struct gather *g);
/* Adds every message of both sides. */
int gather_add_all(struct gather *g);
/* Reads the trees and the states of all keys and their UID neighbours on both sides. */
int gather_read(struct gather *g);
/*
 * Makes digests known where two new messages may be one (rule 10): live copies that the other side
 * never heard of, in a mailbox where the other side has such of the same size.  A body that cannot
 * be read is not paired.
 */
int gather_digests(struct gather *g);
/*
 * Then makes likenesses (alike.h) known of those that have no equal, in a mailbox where the other side
 * has such too; and digests of all that get one.  Reads the headers of those, and the bodies of those
 * whose headers meet.  Not for a backup: its destination is to have the very bytes.
 */
int gather_alike(struct gather *g);

/* Two trees have a mailbox other than INBOX in common. */
bool gather_share_a_mailbox(const struct tree *a, const struct tree *b);
/*
 * Takes what old-mail.h holds out of what was read; how many copies.  Two stores that never met (the
 * caller sets `related` when they did), and have neither a message nor a mailbox in common, forgot
 * nothing of each other: nothing is held then.
 */
uint64_t gather_hold_old(struct gather *g);

#endif
