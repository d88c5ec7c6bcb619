/*
 * index.h - everything derived from checkpoint, log and files, in LMDB: a cache.
 *
 * It may be deleted at any time.  Writing goes through one process (the store's writer); any number
 * of processes read.  Commits are not flushed (MDB_NOSYNC): after a power cut the index is not
 * trusted (the boot id differs and it was not closed) and is built anew; after a SIGKILL it is whole.
 *
 * Each value carries a checksum over key and value; a value that does not check gives MB_E_CHECKSUM,
 * and the store sets the index aside and rebuilds it.
 *
 * Tables (one LMDB database each; mb = 16-byte mailbox GUID; numbers in keys big endian; a copy in a
 * key is message GUID and copy id, so that several copies may share what stands before it):
 *   meta     name                          -> value
 *   mailbox  mb                            -> mailbox state + local facts
 *   dir      'd', directory (a long one: its start and its SHA-256) -> mb
 *   copy     copy                          -> entry
 *   uid      mb, uid, copy (live)          -> nothing
 *   name     mb, unique part of file name, NUL, copy (live) -> nothing
 *   digest   SHA-256, copy (live)          -> nothing
 *   ordinal  ordinal, copy                 -> nothing (hard links share an ordinal)
 *   alias    message GUID, or copy         -> message GUID, or copy, that it became
 *   peer     replica id                    -> peer state
 *   entry    replica id, mb, copy          -> peer entry
 */
#ifndef MB_STORE_INDEX_H
#define MB_STORE_INDEX_H

#include "backends/mail/record.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct index;
struct index_txn; /* read or write; a write transaction sees its own changes */

/* What stat() said of a directory when it was last in step with the index. */
struct dir_stamp {
	uint64_t ino;
	int64_t mtime_ns, ctime_ns;
};

/* Local facts of a mailbox. */
struct mailbox_local {
	char *dir; /* owned; directory relative to mail/; "" = INBOX; NULL: no directory */
	struct dir_stamp cur, new_, self; /* zeros: not known, scan */
	uint64_t ino;			  /* inode of the directory itself: finds renames by hand */
	uint32_t n_live;		  /* live copies; kept by the index, ignored by put */
	uint64_t modseq;		  /* of the last change to it or in it */
	uint32_t next_cookie;
};

enum entry_state {
	ENTRY_PRESENT = 0, /* live, file in its place */
	ENTRY_DEAD,	   /* expunged: registers only (the tombstone) */
	ENTRY_LOST,	   /* live, but the file is in neither place: wanted from a peer */
	ENTRY_DAMAGED, /* live, its file is there and is not what was stored: wanted from a peer */
};

struct entry {
	struct copy copy;
	enum entry_state state;
	uint64_t ordinal;
	uint64_t modseq;
	char *file;   /* owned; whole file name as last seen; NULL when it has none */
	bool in_new;  /* file is in new/, else in cur/ */
	uint64_t ino; /* of the file; 0 = not known */
	int64_t mtime_ns, ctime_ns;
};
void entry_release(struct entry *e);
/* Has it a file in its place, good or damaged? */
static inline bool entry_has_file(const struct entry *e)
{
	return e->state == ENTRY_PRESENT || e->state == ENTRY_DAMAGED;
}

/* Opens (creates, when writable) the index in directory `path`.  MB_E_FORMAT, MB_E_VERSION: not
 * ours or newer: set aside and rebuild.  Its map is 64 GiB of address space, less where RLIMIT_AS is
 * tight.  Clears dead reader slots.  -ENOENT: not there, or not yet complete (readers).  Once per
 * process and directory (LMDB's locks are the process's); a child opens its own after fork(). */
int index_open(const char *path, bool writable, struct index **ret);
void index_close(struct index *ix);
/* Keeps room on the disk for the index to grow by so many bytes: see log_reserve(). */
int index_reserve(struct index *ix, uint64_t bytes);
int index_sync(struct index *ix); /* flush to disk: at a clean stop */

/* One write transaction at a time in the process; the store's lock sees to that; it ends in the
 * thread that began it.  Read transactions may be held by any thread.  index_commit() may fail
 * (-ENOSPC): all of the transaction is undone.  After a failed put or drop the transaction is
 * spoilt: its commit gives that error and undoes all. */
int index_begin(struct index *ix, bool write, struct index_txn **ret);
/* What is called at the beginning of each index_begin(), to bring what is still to come; NULL: nothing.
 * Others may be using the index; fn and arg must be there until it is closed. */
void index_set_before(struct index *ix, void (*fn)(void *arg), void *arg);
/* The same without that call. */
int index_begin_now(struct index *ix, bool write, struct index_txn **ret);
int index_commit(struct index_txn *tx);
void index_abort(struct index_txn *tx); /* also ends a read transaction; NULL does nothing */
/*
 * From now on read transactions of this process see what the open write transaction `tx` has; NULL:
 * what was committed, as before.  For a process in which one thread alone uses the index: such a read
 * may not be open across a write, or across the end of tx, which ends the sharing first.
 */
void index_share(struct index *ix, struct index_txn *tx);
/* Has anything been put or dropped, or was it tried, since this gave the same number? */
uint64_t index_writes(const struct index_txn *tx);

/* meta.  get: -ENOENT when it is not there, -EINVAL when it is not `len` bytes long. */
int index_meta_get(struct index_txn *tx, const char *name, void *dst, size_t len);
int index_meta_put(struct index_txn *tx, const char *name, const void *src, size_t len);
/* A name that begins so; also when it cannot be told. */
bool index_meta_has(struct index_txn *tx, const char *prefix);

/* The mailbox that `g` became, at the end of the chain; of a loop the least GUID, as tree_resolve(); g
 * itself otherwise, also when it is not known. */
int index_resolve_mailbox(struct index_txn *tx, struct guid *g);

/* Mailboxes.  put with `local` NULL keeps the local facts that are there.  n_live is always the
 * index's own (counted when a mailbox is put that copies referred to already), modseq never goes
 * down. */
int index_get_mailbox(struct index_txn *tx, const struct guid *g, struct mailbox *ret,
		      struct mailbox_local *ret_local); /* either may be NULL */
int index_put_mailbox(struct index_txn *tx, const struct mailbox *m,
		      const struct mailbox_local *local);
int index_mailbox_by_dir(struct index_txn *tx, const char *dir, struct guid *ret);
/* All of them.  Transactions that write decode them once, keep them in step with what they put, and hand
 * them on to the next one, and to readers, while no other process writes: then it costs a clone. */
int index_tree(struct index_txn *tx, struct tree *ret);
void mailbox_local_release(struct mailbox_local *l);

/*
 * Copies.  put keeps all the tables in step with the entry (old keys out, new ones in), and n_live,
 * uid_next (above every UID seen) and modseq of its mailbox, and of the one that it left.  Live is
 * what is not ENTRY_DEAD.  The name table has the unique part of `file`, or of place.base when there
 * is no file.
 * A mailbox that is not there (yet) has no counters.
 * by_uid, by_ordinal: -ENOENT; where several share it, the first live one by GUID (by_ordinal: a
 * dead one when none lives).
 */
int index_get_entry(struct index_txn *tx, const struct guid *g, uint64_t id, struct entry *ret);
int index_put_entry(struct index_txn *tx, const struct entry *e);
int index_drop_entry(struct index_txn *tx, const struct guid *g, uint64_t id);
/* How many copies are lost or damaged: kept in meta once index_count_missing() has counted them, by
 * one walk; does nothing when they were. */
int index_missing(struct index_txn *tx, uint64_t *ret); /* -ENOENT: not counted yet */
int index_count_missing(struct index_txn *tx);
int index_get_message(struct index_txn *tx, const struct guid *g,
		      struct message *ret); /* n may be 0; ret is overwritten */
int index_by_uid(struct index_txn *tx, const struct guid *mb, uint32_t uid, struct entry *ret);
int index_by_ordinal(struct index_txn *tx, uint64_t ordinal, struct entry *ret);

/* Walks.  fn may steal from e, and may put and drop entries, aliases and peers in the same write
 * transaction: keys are collected in batches and looked up again before the call.  What fn takes
 * out is not met any more; what it puts ahead of the walk may or may not be.  Non-zero ends the
 * walk and is returned. */
typedef int index_entry_fn(struct entry *e, void *arg);
/* Live copies of a mailbox whose file name has this unique part (fname.unique_len bytes of `name`). */
int index_by_name(struct index_txn *tx, const struct guid *mb, const char *name, index_entry_fn *fn,
		  void *arg);
int index_by_digest(struct index_txn *tx, const struct digest *d, index_entry_fn *fn, void *arg);
int index_each_in(struct index_txn *tx, const struct guid *mb, uint32_t from_uid,
		  index_entry_fn *fn, void *arg); /* live ones, by UID */
int index_each(struct index_txn *tx, index_entry_fn *fn,
	       void *arg); /* all, dead ones too, by GUID */
/* The GUIDs of all, dead ones too, each once, in order; those after `after`, or all.  Reads no entry. */
int index_each_guid(struct index_txn *tx, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg);

/* Aliases: the GUID that `g` became, following chains; g itself when it is none. */
struct guid index_resolve(struct index_txn *tx, struct guid g);
int index_put_alias(struct index_txn *tx, const struct guid *from, const struct guid *to);
int index_each_alias(struct index_txn *tx,
		     int (*fn)(const struct guid *from, const struct guid *to, void *arg),
		     void *arg);

/* Peers and the maps of those without a log. */
int index_get_peer(struct index_txn *tx, uint64_t replica, struct peer_state *ret);
int index_put_peer(struct index_txn *tx, const struct peer_state *p);
int index_drop_peer(struct index_txn *tx, uint64_t replica); /* its entries too */
int index_each_peer(struct index_txn *tx, int (*fn)(struct peer_state *p, void *arg), void *arg);
int index_put_peer_entry(struct index_txn *tx, const struct peer_entry *e); /* GONE deletes it */
int index_get_peer_entry(struct index_txn *tx, uint64_t replica, const struct guid *mb,
			 const struct guid *guid, uint64_t id, struct peer_entry *ret);
/* mb NULL: all mailboxes. */
int index_each_peer_entry(struct index_txn *tx, uint64_t replica, const struct guid *mb,
			  int (*fn)(struct peer_entry *e, void *arg), void *arg);

/*
 * Brings one record into the index: the same for a change just made, for replay and for a
 * checkpoint's lines (modseq 0 keeps the one that is there).  Registers are joined, so a record that
 * is already in changes nothing; an older modseq than the entry's changes neither file nor state.
 * Does not touch files.  `local` for new mailboxes: directory from record.new_name is not used; the
 * caller puts it.
 *
 * A copy's new_name is "new/NAME" or "cur/NAME" and sets file, in_new and copy.recent; anything else
 * leaves the file as it is.  A new file name clears ctime_ns, a file that came back ino and mtime_ns
 * as well.  Peers' records are not joined: the last one counts.
 * Keeps meta "clock" (u64: greatest record.at.time), "ordinal" (u64: greatest), "replica" (u64),
 * "store" (16 bytes) and "forgotten" (u64: greatest), all little endian.
 * MB_E_VERSION: a type that this program does not know.  MB_E_FORMAT: a copy or mailbox without GUID.
 * Both leave the transaction as good as it was.
 */
int index_apply(struct index_txn *tx, const struct record *r, uint64_t modseq);

/* Has something been read that cannot have been written so?  Any thread may ask. */
bool index_is_bad(const struct index *ix);
/* Reads all of it: MB_E_CHECKSUM when a value or a key is damaged, or one table names what another has
 * not.  For who did not find what must be there. */
int index_check(struct index_txn *tx);

/* All of the index as sorted text, the same for equal contents; inodes and times of files and
 * directories are left out.  For tests and for people who look for a fault. */
int index_dump(struct index_txn *tx, FILE *out);

#endif
