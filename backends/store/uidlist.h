/*
 * uidlist.h - the store's side of dovecot-uidlist: uidlist.c takes what it says, uidlist-settle.c
 * writes what it lacks.
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
};

/* In the index, for each mailbox: what of its list is known there. */
struct uidlist_note {
	struct file_mark mark; /* of the file whose UIDs the index has */
	uint32_t uid_next;     /* of the mailbox when the list had a line for each message */
	uint32_t uid_validity; /* that the list had */
};
int uidlist_get_note(struct index_txn *tx, const struct guid *mailbox, struct uidlist_note *ret);
int uidlist_put_note(struct index_txn *tx, const struct guid *mailbox,
		     const struct uidlist_note *note);

/* The list of the mailbox in `dir`, borrowed until the next call.  -ENOENT, MB_E_FORMAT, … */
int uidlist_load(struct store *s, const char *dir, struct uidlist_cache **ret);
/* The UID that the next message of the mailbox gets; -EOVERFLOW. */
int mailbox_next_uid(struct index_txn *tx, const struct guid *mailbox, uint32_t *ret);

#endif
