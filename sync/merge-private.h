/*
 * merge-private.h - what the files of the merge share.
 *
 * One `struct merging` is one run.  The steps, each in its file:
 *
 *   merge-tree.c  mailboxes joined; those made apart united; cycles, equal names
 *   merge-pair.c  new messages of both sides that are one
 *   merge-copy.c  copies joined; edits, second copies, equal file names
 *   merge-life.c  deleted mailboxes that mail or a rename brings back
 *   merge-uid.c   UIDs that clash
 *   merge-scope.c       what a restricted scope lets each side have of it: its target;
 *   merge-scope-tree.c  the mailboxes of that, made a proper tree;
 *   merge-mirror.c      the target of a backup
 *   plan.c        what each side lacks
 *
 * A rule looks at joined values and at what each side had, never at which side is 0.  Where a rule
 * makes a value that nobody wrote, its stamp is stamp_after() of what it replaces: every replica
 * that applies the rule makes the same one, and any later change by a person beats it.
 */
#ifndef MB_SYNC_MERGE_PRIVATE_H
#define MB_SYNC_MERGE_PRIVATE_H

#include "backends/backend.h"
#include "sync/merge.h"

/* A copy as a side has it; key and mailbox as they will be there once the aliases and mailbox
 * merges of the plan are done.  The rest is in the input. */
struct seen {
	const struct copy *copy; /* borrowed from the input */
	struct guid guid, mailbox;
	uint64_t id;
};

/* A copy in the result. */
struct pair {
	struct copy now;	   /* owned */
	const struct seen *was[2]; /* NULL: that side never heard of it */
};

struct alias {
	struct guid from, to;
	uint64_t from_id, to_id;
	int side; /* the one that calls it `from` */
};

/* A mailbox that gets another UIDVALIDITY: what its next UID is under that, which may be a lower one. */
struct given_anew {
	struct guid mailbox;
	uint32_t uid_next;
};

/* What a side is to become. */
struct target {
	bool nothing;	   /* just what it is: its plan is empty */
	struct tree *tree; /* the joined tree, or `own` */
	struct tree own;   /* owned */
	struct copy
		*copies; /* owned, by index of the pairs, and NULL for the joined ones; without a
				GUID: the side does not get to know of it */
	bool *lift;	 /* owned or NULL, likewise: it leaves its UID before another gets that */
	struct given_anew *anew; /* owned */
	size_t n_anew, cap_anew;
};

struct merging {
	const struct merge_input *in;
	struct merge_result *out;
	struct tree *tree;    /* out->tree */
	struct seen *seen[2]; /* owned; sorted by key */
	size_t n_seen[2];
	struct pair *pairs; /* owned; sorted by key */
	size_t n_pairs;
	struct alias *aliases; /* owned */
	size_t n_aliases, cap_aliases;
	struct target target[2];
};

/* The stamp of a value that a rule made in place of one with stamp `s`: later than `s`, and earlier
 * than anything a replica did in the same tick. */
static inline struct stamp stamp_after(struct stamp s)
{
	return (struct stamp){s.time + 1, 0};
}

/* Takes `text` over. */
void notice_add(struct merging *m, enum notice_kind kind, const struct guid *mailbox,
		const struct guid *message, char *text);

/* merge-tree.c */
void tree_join_sides(struct merging *m);   /* joined, those made apart united */
bool tree_settle_names(struct merging *m); /* likewise */
/* `loser` becomes part of `winner`; registers that are shared go over. */
void mailbox_merge_into(struct mailbox *loser, struct mailbox *winner);
/* With a stamp that is later than `than` and than that of what it was. */
void mailbox_set_selectable(struct mailbox *box, bool selectable, struct stamp than);
void mailbox_give_suffix(struct merging *m, struct mailbox *box);
bool rule_made_apart(struct merging *m); /* true when it changed something */
bool rule_cycles(struct merging *m);

/* merge-pair.c */
void rule_pair_arrivals(struct merging *m);

/* merge-copy.c */
void copies_see(struct merging *m);	/* fills seen */
void copies_sort(struct merging *m);	/* seen by key again, after aliases */
void copies_join(struct merging *m);	/* fills pairs */
void copies_resolve(struct merging *m); /* mailboxes again, after mailboxes were merged */
void copies_settle(struct merging *m);
/* The side's own copy with the key and mailbox of `s`; borrows everything, not to be released. */
struct copy seen_copy(const struct seen *s);
bool seen_alive(const struct seen *s); /* false for NULL */

/* merge-life.c */
void rule_void_expunge(struct merging *m);
void tree_settle_life(struct merging *m);

/* merge-uid.c */
void rule_renumber(struct merging *m);
/* By index of `t`, the joined tree or a target's: the uid_next that a side has for that mailbox and for
 * all that are merged into it, at least 1.  Owned. */
uint32_t *side_uid_next(const struct merging *m, int side, const struct tree *t);
/* Likewise what a side may have for it: its own, or the other's but for UIDs of messages that the merge
 * may not have heard of (uid_unheard). */
uint32_t *side_uid_most(const struct merging *m, int side, const struct tree *t);

/* merge-scope.c */
void targets_make(struct merging *m);
void targets_release(struct merging *m);
/* NULL: the side does not get to know of it. */
const struct copy *target_copy(const struct merging *m, int side, size_t pair);
/* By index of the joined tree: is it selected?  Owned. */
bool *mailboxes_selected(const struct merging *m);
bool pair_is_selected(const struct merging *m, const bool *selected, const struct pair *p);
/* May a message that is new to a side travel?  Counts it when not. */
bool message_travels(struct merging *m, const struct copy *c);
/* Takes the notices out that are about nothing in the plans. */
void notices_of_plans(struct merging *m);

/* merge-scope-tree.c: fills target.own from `own` (as it is so far: the side's tree with what the scope
 * changes) when the target's copies are known.  `dying`: by index of the joined tree, mailboxes that
 * are to be deleted if nothing lives in them. */
void target_tree_settle(struct merging *m, int side, const bool *dying);
void target_tree_part(struct merging *m, int side, const bool *selected);

/* merge-mirror.c */
void target_mirror(struct merging *m, int side, const bool *selected);

/* plan.c */
void plans_make(struct merging *m);

#endif
