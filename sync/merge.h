/*
 * merge.h - the merge: two sides in, a plan for each out.  Pure: values only, no I/O, no clock.
 *
 * Each side is a tree of mailboxes (whole) and the states of those messages that may differ.  The
 * result is the same whichever side is called 0 (rule 8), and merging the results again gives two
 * empty plans.
 *
 * Steps: 1. mailboxes are joined and made a proper tree (cycles, equal names, swaps, deletes with unseen
 * mail); 2. new messages of both sides with one digest in one mailbox are paired; 3. copies are
 * joined; 4. UIDs that clash are renumbered; 5. of a restricted scope (scope.h), each side's target is
what it was, and what of the result the scope lets it have; 6. each side's difference from that is
its plan.
 * Every conflict rule is one function rule_*() in merge-*.c and one paragraph of mailbraid-merge(7).
 */
#ifndef MB_SYNC_MERGE_H
#define MB_SYNC_MERGE_H

#include "backends/mail/object.h"
#include "backends/mail/record.h"
#include <stdbool.h>

struct scope;

struct merge_side {
	struct tree tree;	  /* owned: all mailboxes, dead ones too */
	struct message *messages; /* owned; sorted by GUID; those that changed on either side, and
				      their UID neighbours */
	size_t n_messages;
	struct guid *
		missing; /* owned: messages of which copies are left out, their bodies being gone */
	size_t n_missing;
	unsigned caps; /* enum backend_caps */
	uint64_t replica;
	bool case_insensitive; /* its file system folds case: names that differ in case only clash */
};

struct merge_input {
	struct merge_side side[2];
	bool keep_twins; /* do not pair new messages with equal digests */
	uint64_t agreed; /* clock time (stamp.time) of the last agreement, 0 = unknown.  For notices
			    only: what both sides changed since */
	const struct scope *scope; /* borrowed; NULL: everything, both ways */
	int64_t now_ns;		   /* for a scope with a range of dates */
	bool full;		   /* the sides hold every message */
	bool allow_mass_expunge;   /* rule 9, for what a backup finds missing at its source */
};

enum notice_kind {
	NOTICE_EXPUNGE_BEAT_FLAGS, /* 7: flags changed here, expunged there */
	NOTICE_MOVE_BEAT_EXPUNGE,  /* 37 */
	NOTICE_MOVED_TWICE,	   /* 38 */
	NOTICE_BOTH_EDITED,	   /* 32 */
	NOTICE_EDIT_BEAT_EXPUNGE,  /* 29 */
	NOTICE_MAILBOX_KEPT,	   /* delete lost: unseen mail or a rename */
	NOTICE_MAILBOX_RENAMED_TWICE,
	NOTICE_MAILBOX_SUFFIXED, /* two mailboxes wanted one name */
	NOTICE_MAILBOX_MERGED,	 /* made apart under one name */
	NOTICE_CYCLE_BROKEN,
	NOTICE_RENUMBERED, /* UID clash */
	NOTICE_PAIRED,	   /* delivered on both sides, taken as one */
	NOTICE_CLOCK,	   /* a stamp from the future was clamped */
};
struct notice {
	enum notice_kind kind;
	struct guid mailbox, message; /* zero when it does not concern one */
	char *text;		      /* owned: a sentence for people, without subjects */
};

/*
 * What a side has to put, in an order in which it can be done:
 *   1. mailboxes that become one that the side never heard of, or that it never heard of itself;
 *      live mailboxes, parents first (a
 *      name may still be taken by a mailbox that a later item moves, merges or deletes: the store
 *      gives that one a temporary name);
 *   2. other mailboxes that became a live one;
 *   3. aliases;
 *   4. copies: expunges, those that give up a file name, then the living by mailbox and UID.  A
 *      put of a copy raises uid_next of its mailbox over its UID, so that a run that is cut needs
 *      no new UIDs;
 *   5. what uid_next lacks then; 6. deleted mailboxes, and those that are only a name above others
 *      from now on, deepest first.
 */
struct plan {
	/* Owned; REC_MAILBOX_STATE, REC_ALIAS, REC_COPY_STATE; what people see of it is told by
	 * plan_what().  old_guid and old_id of a copy: how the side calls it before its alias. */
	struct record *items;
	size_t n, cap;
};

/*
 * What an item does to the side it is for, as people see it: REC_ARRIVE, REC_FLAGS, REC_MOVE,
 * REC_RENAME, REC_EXPUNGE, REC_RENUMBER, REC_MAILBOX_*, or REC_NONE when only stamps, or an alias,
 * change.  Sides without CAP_STAMPS get no items that are REC_NONE, but for aliases.
 */
enum record_type plan_what(const struct merge_side *side, const struct record *item);
/* The copy that an item of a plan is about, as the side has it (by its old identity), or NULL. */
const struct copy *plan_side_copy(const struct merge_side *side, const struct record *item);
/* The same for people, who are told by the joined tree: a message whose mailbox became another one is
 * not moved. */
enum record_type plan_what_joined(const struct merge_side *side, const struct tree *joined,
				  const struct record *item);

struct merge_result {
	struct plan plan[2];	/* [i]: for side i */
	struct notice *notices; /* owned */
	size_t n_notices, cap_notices;
	struct tree tree; /* the joined tree */
	/* of a restricted scope: */
	uint64_t selected; /* hash of the living mailboxes that are selected, 0 = all */
	bool want_full; /* it cannot be decided without every message: the plans are worth nothing */
	uint64_t held;	/* expunges that the guard holds back */
	uint64_t
		left_out[2]; /* messages that did not travel: too large, not in the range or flag */
};

int merge(const struct merge_input *in, struct merge_result *ret);
void merge_side_release(struct merge_side *s);
void merge_side_sort(struct merge_side *side); /* its messages, as merge() wants them */
/* The states of a message on that side, which is sorted; borrowed, or NULL. */
struct message *merge_side_find(const struct merge_side *side, const struct guid *guid);
void merge_result_release(struct merge_result *r);

#endif
