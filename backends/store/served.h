/*
 * served.h - where the Dovecot that serves a store keeps its UIDs and the names of its keywords.
 *
 * Beside the mail, where they are read and kept true (dovecot.h), unless its mail_location has CONTROL=:
 * then they are out of sight, and what its clients see as UIDs is not what peers are told.
 */
#ifndef MB_STORE_SERVED_H
#define MB_STORE_SERVED_H

#include "backends/store/store.h"

enum served {
	SERVED_BY_NONE, /* no trace of one */
	SERVED_INSIDE,	/* some mailbox has a dovecot-uidlist */
	SERVED_OUTSIDE, /* none has, yet there are indexes of Dovecot's, or it made changes in the mount */
};

/* Asks for up to two files of each mailbox; the index is only read.  An error, when that cannot be read. */
int store_served(struct store *s, enum served *ret);

/* A change was made by this program: one of Dovecot's is remembered in the index.  Part of index_apply():
 * the index may forget it when it is made anew from a checkpoint, until the next such change. */
int served_noticed(struct index_txn *tx, const struct origin *origin);

#endif
