/*
 * object.h - what a sync is about: mailboxes and copies of messages, as mergeable states.
 *
 * Each object is a set of registers with stamps.  Two states of one object are joined register by
 * register, the later stamp wins; the join is commutative, associative and idempotent, so replicas
 * that saw the same changes are equal whatever way the changes came (rule 8).
 *
 * A COPY is one copy of a message: (message GUID, copy id).  The delivered message is copy 0; a copy
 * made by a program gets a random id and keeps the GUID.  A copy is in one place at a time.
 *   - moving it sets `place` with a new stamp (and a new UID);
 *   - expunging it sets `dead` to the stamp of the place that the expunger saw.
 * It lives when place.at > dead.  So an expunge beats flag changes and an older place, never a later
 * move, undo or restore (rules 1, 2, 4), and two moves end in one place, the later one.
 *
 * A copy's UID may change in its place: the later `uid_at` wins, then the greater UID.
 *
 * An instance of the design, (mailbox GUID, message GUID, UID), is a copy in its place.
 *
 * A MAILBOX is a node of a tree.  It lives when max(named_at, revived) > dead, where `dead` is the
 * named_at (or revived) that the deleter saw: a rename beats a delete that did not know it.
 * A copy expunged because its whole mailbox was deleted says so in `via`/`via_seen`; if the mailbox was renamed
 * meanwhile (its named_at > via_seen) that expunge is void.
 */
#ifndef MB_MAIL_OBJECT_H
#define MB_MAIL_OBJECT_H

#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/mail/flags.h"
#include "backends/mail/guid.h"
#include "backends/mail/stamp.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct place {
	struct guid mailbox;
	uint32_t uid;	 /* 0 = none (peers without UIDs) */
	struct stamp at; /* birth stamp of this instance */
	char *base;	 /* owned; file name without info part; NULL = any */
	/* When a program that gives UIDs itself (Dovecot) gave this one; else none. */
	struct stamp uid_at;
};

struct copy {
	struct guid guid;
	uint64_t id; /* 0 = the delivered one */
	struct place place;
	struct stamp dead;     /* place.at that the last expunge saw; STAMP_NONE = never expunged */
	struct stamp dead_at;  /* when it was expunged */
	struct guid via;       /* mailbox whose deletion expunged it, or zero */
	struct stamp via_seen; /* max(named_at, revived) of that mailbox as the deleter saw it */
	struct flags flags;
	/* content: the same in every state of the copy, but for two mails that were found to be one by
	 * their likeness: there each replica keeps the bytes, the size and the digest that it has */
	uint64_t size;
	int64_t received_ns;  /* IMAP INTERNALDATE: mtime of the file */
	struct digest digest; /* zero = not known yet */
	bool recent;	     /* arrived and never seen by a program: its file is in new/.  A hint at
				 arrival, not merged. */
	bool unagreed;	     /* just found on a side without CAP_STAMPS, which never had it together
				 with us: new, whatever its stamps say.  Neither kept nor merged. */
	struct digest alike; /* likeness (alike.h), where one was made.  Neither kept nor merged. */
};

struct mailbox {
	struct guid guid;
	struct guid parent; /* zero: top level */
	char *part;	    /* owned; last part of the name; "INBOX" for INBOX */
	struct stamp born;
	struct stamp named_at;	/* (parent, part) register; == born until renamed */
	struct guid old_parent; /* the name before the last rename, to break cycles */
	char *old_part;		/* owned or NULL */
	struct stamp dead;
	struct stamp dead_at;
	struct stamp revived;
	bool selectable; /* false: only a parent of others (\NonExistent, \Noselect) */
	struct stamp selectable_at;
	bool subscribed;
	struct stamp subscribed_at;
	uint32_t uid_validity;	      /* the greater wins, unless somebody gave one: */
	struct stamp uid_validity_at; /* when a backup gave it; STAMP_NONE: nobody did */
	uint32_t uid_next;	      /* the UID that the next arrival gets at least */
	uint32_t uid_shown; /* of a side's tree: mail clients of its Dovecot may have seen the UIDs
				below, under this UIDVALIDITY.  No register: neither kept nor merged */
	uint32_t uid_validity_shown; /* likewise: the greatest that they may have seen */
	uint32_t uid_unheard; /* likewise, 0 = none: messages with UIDs from here to uid_next may be
				 unknown to the session */
	/* Zero, or the mailbox that this one became (made apart).  Its own GUID: it stayed when a loop of
	 * such ends was found, and is a mailbox like any other; mailbox_merged(). */
	struct guid merged_into;
};

void copy_release(struct copy *c);
void copy_clone(struct copy *dst, const struct copy *src); /* dst is released first */
bool copy_alive(const struct copy *c);
bool copy_same_key(const struct copy *a, const struct copy *b);
bool copy_equal(const struct copy *a,
		const struct copy *b); /* registers; `recent` does not count */
/* dst := join.  Later place wins (equal stamps: greater uid); dead, flags joined; content facts
 * filled in where unknown.  Returns true if dst changed.  The caller has resolved merged mailboxes. */
bool copy_join(struct copy *dst, const struct copy *src);
void copy_encode(const struct copy *c, struct buf *out);
bool copy_decode(struct reader *r, struct copy *ret);

void mailbox_release(struct mailbox *m);
void mailbox_clone(struct mailbox *dst, const struct mailbox *src);
bool mailbox_merged(const struct mailbox *m); /* it became another one */
/* A mailbox that ended a loop never becomes one with a greater GUID: registers would not take it. */
bool mailbox_may_become(const struct mailbox *loser, const struct guid *winner);
bool mailbox_alive(const struct mailbox *m);	    /* and not merged into another */
struct stamp mailbox_seen(const struct mailbox *m); /* max(named_at, revived) */
bool mailbox_equal(const struct mailbox *a, const struct mailbox *b);
bool mailbox_join(struct mailbox *dst, const struct mailbox *src);
/* What `loser` gives to the mailbox `winner` that it became, to be joined with that: all but that it was
 * a mere name, which makes no mere name of a mailbox, and the UIDVALIDITY of one that never had a UID.
 * Borrows the strings of `loser`. */
struct mailbox mailbox_as(const struct mailbox *loser, const struct guid *winner);
void mailbox_encode(const struct mailbox *m, struct buf *out);
bool mailbox_decode(struct reader *r, struct mailbox *ret);

/* All states of one message: every copy that is known, alive or not. */
struct message {
	struct guid guid;
	struct copy *copies; /* owned */
	size_t n, cap;
	bool missing; /* a live copy is left out, because its body is gone where it was read */
};
void message_release(struct message *m);
struct copy *message_find(const struct message *m, uint64_t id);
bool message_alive(const struct message *m);		  /* any copy is */
struct copy *message_add(struct message *m, uint64_t id); /* new, empty copy */

/* All mailboxes of a replica, dead ones too, sorted by GUID. */
struct tree {
	struct mailbox *nodes; /* owned */
	size_t n, cap;
};
void tree_release(struct tree *t);
void tree_clone(struct tree *dst, const struct tree *src);
struct mailbox *tree_find(const struct tree *t, const struct guid *g); /* binary search, or NULL */
struct mailbox *tree_put(struct tree *t, const struct mailbox *m); /* inserts or replaces a clone */
/* Follows merged_into; gives g itself when it is unknown or not merged.  Bounded against loops. */
struct guid tree_resolve(const struct tree *t, struct guid g);
/* Owned parts from the top down to g (NULL-terminated), or MB_E_NAME for a cycle or a missing parent. */
int tree_parts(const struct tree *t, const struct guid *g, char ***ret_parts, size_t *ret_n);
/* "A/B" for people; "?" and the GUID when it cannot be told.  Owned. */
char *tree_name(const struct tree *t, const struct guid *g);
/* The live (or structural) node with this parent and part, or NULL. */
struct mailbox *tree_child(const struct tree *t, const struct guid *parent, const char *part);

#endif
