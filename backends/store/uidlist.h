/*
 * uidlist.h - the store's side of dovecot-uidlist: uidlist.c takes what it says, uidlist-settle.c
 * writes what it lacks, uidlist-begin.c writes those that begin.
 */
#ifndef MB_STORE_UIDLIST_H
#define MB_STORE_UIDLIST_H

#include "backends/store/dovecot.h"

/* The list that was read last. */
struct uidlist_cache {
	char *dir; /* owned: of its mailbox */
	struct file_mark mark;
	struct uidlist list;
	uint32_t
		given; /* UIDs below it may have been shown: the next one when Dovecot wrote last */
	bool followed; /* the index has what it says */
	bool newcomer; /* it says nothing, and is to be replaced: uidlist_follow() */
	bool fresh;    /* every UID may be given: uidlist_note.anew */
	bool unnoted;  /* it was written, and the index does not know that yet */
};

/* In the index, for each mailbox: what of its list is known there. */
struct uidlist_note {
	struct file_mark mark; /* of the file whose UIDs the index has */
	uint32_t uid_next;     /* of the mailbox when the list had a line for each message */
	uint32_t uid_validity; /* that the list had */
	uint32_t given;	       /* its next UID: those below may have been shown */
	/* Not 0: a backup gave the mailbox the UIDVALIDITY that it has now, under which nothing was
	 * shown yet.  The list gets it with this next UID, and then any UID, until all are there. */
	uint32_t anew;
	uint32_t floor;	  /* up to this, uid_next of the mailbox says nothing of this UIDVALIDITY */
	uint32_t highest; /* UIDVALIDITY that its list had ever */
};
int uidlist_get_note(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *ret);
/* Keeps `highest` true. */
int uidlist_put_note(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *note);

bool uidlist_is_there(struct store *s, const char *dir); /* one stat */
/* The list of the mailbox in `dir`, borrowed until the next call.  -ENOENT, MB_E_FORMAT, … */
int uidlist_load(struct store *s, const char *dir, struct uidlist_cache **ret);
/* ---- uidlist-settle.c: the lock on the list is held ---- */

/* The file gets what c->list says; `from`: the lines from there on are new, and nothing else is. */
int uidlist_save(struct store *s, struct uidlist_cache *c, size_t from);
/* What is in memory may not be what is in the file: returns err. */
int uidlist_forget(struct store *s, int err);
int uidlist_note_written(struct index_txn *tx, const struct guid *mailbox,
			 const struct uidlist_cache *c);

/* ---- uidlist-begin.c: the same ---- */

/* A newcomer becomes what the index says, but for its GUID and what else its header has. */
int uidlist_take_over(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		      struct uidlist_cache *c);
/* When the mailbox was given another UIDVALIDITY, the list has that, and c->fresh is set. */
int uidlist_enter_anew(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		       struct uidlist_cache *c);
/* All that was given anew is there: the lines are those of the messages, and what the mailbox gave
 * before does not raise the next UID, which is at least `uid_next`. */
int uidlist_end_anew(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		     struct uidlist_cache *c, uint32_t uid_next);

/* When Dovecot serves the store and the mailbox has no list, it gets one with the UIDs of the index:
 * Dovecot would begin one with a UIDVALIDITY of its own. */
int uidlist_begin(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir);

/* ---- uidlist.c ---- */

/* The mailbox has another UIDVALIDITY, given by a backup, and as yet `uid_next`. */
int uidlist_begin_anew(struct index_txn *tx, const struct guid *mailbox, uint32_t uid_next);
/* The UID that the next message of the mailbox gets; -EOVERFLOW. */
int mailbox_next_uid(struct index_txn *tx, const struct guid *mailbox, uint32_t *ret);

#endif
