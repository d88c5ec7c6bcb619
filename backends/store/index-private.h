/*
 * index-private.h - what the parts of the index share: tables, raw access, walks.
 *
 * Raw access adds and verifies the checksum (XXH3 over table, key and payload) behind each payload.
 * A payload that was read lies in LMDB's map and is good until the next write or the end of the
 * transaction: decode or copy it first.
 */
#ifndef MB_STORE_INDEX_PRIVATE_H
#define MB_STORE_INDEX_PRIVATE_H

#include "backends/store/index.h"
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#define INDEX_FORMAT 1
#define INDEX_KEY_MAX 511 /* LMDB's */
#define COPY_KEY_LEN 24	  /* GUID, copy id */
#define UID_KEY_LEN (16 + 4 + COPY_KEY_LEN)
#define NAME_KEY_MAX (16 + 255 + 1 + COPY_KEY_LEN)
#define DIGEST_KEY_LEN (32 + COPY_KEY_LEN)
#define PEER_KEY_LEN 8
#define MAP_KEY_LEN (PEER_KEY_LEN + 16 + COPY_KEY_LEN)

/* The number of a table goes into the checksums: never renumber. */
enum table {
	T_META,
	T_MAILBOX,
	T_DIR,
	T_COPY,
	T_UID,
	T_NAME,
	T_DIGEST,
	T_ORDINAL,
	T_ALIAS,
	T_PEER,
	T_ENTRY,
	T_COUNT
};
extern const char *const TABLE_NAMES[T_COUNT];

struct index {
	MDB_env *env;
	MDB_dbi dbi[T_COUNT];
	bool writable;
	atomic_bool bad;      /* something that was read cannot have been written so */
	pthread_mutex_t lock; /* n_txns; held while the map changes its size */
	unsigned n_txns;      /* transactions that are open or about to be */
	uint64_t
		reserved; /* of the file, room on the disk up to here; UINT64_MAX: nobody can tell */
	struct index_txn *shared;	   /* borrowed, or NULL: see index_share() */
	void (*_Atomic before)(void *arg); /* see index_set_before() */
	void *before_arg;
	/* The tree that the last transaction that wrote left, for the next one and for readers; under
	 * `lock`.  Owned, or NULL. */
	struct tree *kept;
	size_t kept_id; /* LMDB's number of the transaction after which it is like that */
};

/* Of records applied in this transaction; goes to meta at commit. */
struct marks {
	uint64_t clock, ordinal;
	bool loaded, changed;
};

struct index_txn {
	struct index *ix;
	MDB_txn *txn;
	bool write;
	bool borrowed;	    /* txn is that of the shared write transaction */
	int failed;	    /* first error of a write: the commit gives it */
	uint64_t writes;    /* tells a walk that its keys may be out of date */
	struct buf scratch; /* value being made by table_put() */
	struct buf value;   /* payload being made by the caller */
	struct marks marks;
	struct tree *tree; /* owned, or NULL: all mailboxes as they are now, of a write transaction
			      that was asked for them: see index_tree() */
};

struct slice {
	const uint8_t *data; /* borrowed from the map */
	size_t len;
};

int index_error(int mdb); /* LMDB's result as ours */

/* 0, -ENOENT, MB_E_CHECKSUM. */
int table_get(struct index_txn *tx, enum table t, const void *key, size_t key_len,
	      struct slice *ret);
int table_put(struct index_txn *tx, enum table t, const void *key, size_t key_len, const void *data,
	      size_t len);
/* 0 also when the key is not there. */
int table_del(struct index_txn *tx, enum table t, const void *key, size_t key_len);
int table_check(enum table t, const MDB_val *key, const MDB_val *val, struct slice *ret);
size_t table_count(struct index_txn *tx, enum table t);

/* Notes the error of a write, so that the commit fails; gives r. */
int txn_spoil(struct index_txn *tx, int r);

/* Keys that start with `prefix`, from `from` (NULL: the first) on, in order.  fn may write. */
typedef int key_fn(struct index_txn *tx, const uint8_t *key, size_t len, void *arg);
int table_walk(struct index_txn *tx, enum table t, const void *prefix, size_t prefix_len,
	       const void *from, size_t from_len, key_fn *fn, void *arg);
int table_del_prefix(struct index_txn *tx, enum table t, const void *prefix, size_t prefix_len);

/* marks -> meta, when they changed */
int index_marks_flush(struct index_txn *tx);

void copy_key(const struct guid *g, uint64_t id, uint8_t out[COPY_KEY_LEN]);
void copy_key_read(const uint8_t *key, struct guid *ret_guid, uint64_t *ret_id);

/* A reader's: clones what the last writer left if that is what it sees. */
bool index_kept_tree(struct index_txn *tx, struct tree *ret);
/* The kept tree of the transaction that writes (a borrowed one's is that of its lender), or NULL. */
struct tree *txn_tree(struct index_txn *tx);

/* Counts a change of an entry into its mailbox: `live` is -1, 0 or 1. */
int mailbox_count(struct index_txn *tx, const struct guid *mb, int live, uint32_t uid,
		  uint64_t modseq);

/* The copy that (g, id) became.  A copy that is there under its own key is no alias. */
int index_resolve_copy(struct index_txn *tx, struct guid *g, uint64_t *id);
int index_put_copy_alias(struct index_txn *tx, const struct guid *from, uint64_t from_id,
			 const struct guid *to, uint64_t to_id);

/* index-apply-copy.c: the types from REC_ARRIVE to REC_FOUND. */
int index_apply_copy(struct index_txn *tx, const struct record *r, uint64_t modseq);

/* index-damage.c: a damaged index ends the process, once; see there.  `path`: of the index. */
void index_damage_watch(MDB_env *env, const char *path, bool writable);
void index_damage_forget(MDB_env *env);
/* Around what reads LMDB's pages: an access to no memory in between comes from damaged ones. */
void index_lmdb_enter(void);
void index_lmdb_leave(void);

/* Its keys in the other tables are there, and are counted; -ENOENT. */
int entry_check_keys(struct index_txn *tx, const struct entry *e, size_t counts[T_COUNT]);
/* Notes that the index is bad when r says so; gives r. */
int txn_doubt(struct index_txn *tx, int r);

#endif
