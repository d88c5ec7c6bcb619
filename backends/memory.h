/*
 * memory.h - a replica in memory, for tests: the whole seam, and what a user does to it.
 *
 * Its log is a list of keys; a position's offset counts them.  Bodies stay when their message is
 * expunged, as they do in a store's deleted/.  Nothing here is durable and nothing blocks.
 *
 * The operations below are those of programs on this replica, stamped by its own clock.  They return
 * 0 or -errno.  Mailboxes are named by GUID; the tree's root is GUID_ZERO.
 */
#ifndef MB_BACKENDS_MEMORY_H
#define MB_BACKENDS_MEMORY_H

#include "backends/backend.h"

/* Takes these capabilities away or gives them; at first it has all. */
void memory_set_caps(struct backend *b, unsigned caps);

/* -EEXIST; brings a mailbox back that was only a name above others. */
int memory_create(struct backend *b, const struct guid *parent, const char *part,
		  struct guid *ret_mailbox);
/* -EEXIST; -EINVAL for INBOX and for a place below itself. */
int memory_rename(struct backend *b, const struct guid *mailbox, const struct guid *parent,
		  const char *part);
/* Expunges its mail and deletes it, not those below it. */
int memory_delete(struct backend *b, const struct guid *mailbox);
int memory_subscribe(struct backend *b, const struct guid *mailbox, bool subscribed);

/* `flags`: FLAG_MASK bits. */
int memory_deliver(struct backend *b, const struct guid *mailbox, const void *data, size_t len,
		   uint8_t flags, struct guid *ret_guid);
int memory_flags(struct backend *b, const struct guid *guid, uint64_t id, uint8_t add,
		 uint8_t remove);
int memory_keyword(struct backend *b, const struct guid *guid, uint64_t id, const char *name,
		   bool set);
/* -EEXIST: it is there already.  Two copies may live in one mailbox. */
int memory_move(struct backend *b, const struct guid *guid, uint64_t id, const struct guid *to);
int memory_copy(struct backend *b, const struct guid *guid, uint64_t id, const struct guid *to,
		uint64_t *ret_id);
int memory_expunge(struct backend *b, const struct guid *guid, uint64_t id);
/* Brings an expunged copy back where it was: a new instance. */
int memory_restore(struct backend *b, const struct guid *guid, uint64_t id);
/* Other content under the same file name: a new message, the old one is expunged. */
int memory_edit(struct backend *b, const struct guid *guid, uint64_t id, const void *data,
		size_t len, struct guid *ret_guid);

/* It stops and starts again: the log goes on in a new file. */
void memory_restart(struct backend *b);
/* Drops its tombstones, so that nothing is known any more of what was expunged. */
void memory_forget_expunged(struct backend *b);
/* Its log no longer holds what was before now; a new file begins, for a store drops whole ones. */
void memory_drop_log(struct backend *b);
/* A backup: all that it is, under the same replica id.  Close it as any backend. */
struct backend *memory_backup(struct backend *b);

/* What it holds; borrowed, valid until the next change. */
const struct tree *memory_tree(struct backend *b);
size_t memory_n_messages(struct backend *b);
const struct message *memory_message(struct backend *b, size_t index);
const struct message *memory_find(struct backend *b, const struct guid *guid); /* or NULL */

#endif
