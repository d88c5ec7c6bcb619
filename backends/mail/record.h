/*
 * record.h - one transaction: what the log holds, what processes submit, what checkpoints list.
 *
 * A record carries the resulting registers, not the operation, so applying it twice, or applying it
 * to an index that already has it, changes nothing.  `type` and the names say what happened, for
 * people and for undo.
 *
 * Encoding: tag (u8), varint length, value; unknown tags are skipped, so that later versions may add.
 */
#ifndef MB_MAIL_RECORD_H
#define MB_MAIL_RECORD_H

#include "backends/base/buf.h"
#include "backends/mail/object.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_type {
	REC_NONE = 0,
	REC_MAILBOX_CREATE = 1,
	REC_MAILBOX_RENAME, /* name register */
	REC_MAILBOX_DELETE,
	REC_MAILBOX_REVIVE,
	REC_MAILBOX_SUBSCRIBE, /* or unsubscribe */
	REC_MAILBOX_MERGE,     /* merged_into: everything in it belongs to the other from now on */
	REC_MAILBOX_STATE, /* anything else: UID validity, uid_next, selectable, a checkpoint's line */
	REC_ARRIVE =
		16, /* a copy that was not here: delivery, copy, restore, arrival from a peer */
	REC_FLAGS,
	REC_MOVE,   /* place register: another mailbox */
	REC_RENAME, /* place register: another base name in the same mailbox */
	REC_EXPUNGE,
	REC_RENUMBER, /* another UID in the same mailbox */
	REC_DIGEST,   /* digest and size have become known */
	REC_EDIT,  /* content was replaced: copy = the new message, old_guid = the one it replaces
				   (expunged by this same record) */
	REC_ALIAS, /* two GUIDs are one message: old_guid became copy.guid, with all its copies */
	REC_COPY_STATE, /* registers only, nothing visible; a checkpoint's line */
	REC_LOST,	/* the body is in neither place; fetch it again */
	REC_FOUND,	/* the body is back */
	REC_DAMAGED,	/* the file, which stays, is not what was stored; fetch the body again */
	REC_PEER = 48,	/* sync state of a peer (struct peer_state) */
	REC_PEER_ENTRY, /* one entry of the map of a peer without a log */
	REC_PEER_FORGET,
	REC_REPLICA = 64, /* identity of this replica: first record of a store, and after a clone */
};

#define REC_COMM_MAX 15 /* as the kernel's TASK_COMM_LEN - 1 */

struct origin {
	uint64_t replica; /* who made the change: our own replica id, or the peer it came from */
	uint32_t pid;	  /* program that made it here; 0 for a peer's */
	char comm[REC_COMM_MAX + 1]; /* "neomutt"; printable ASCII only */
};

/* A place in a log.  `check` is the checksum of the record that ends there, so that a log that was
 * copied back from a backup and went on with other content is noticed. */
struct position {
	struct guid log;   /* random id of the log file */
	uint32_t sequence; /* number of the log file */
	uint32_t offset;   /* just after the last record that was seen */
	uint64_t check;	   /* 0 at the start of a file */
};

/* Up to where both logs were seen by sessions of one restricted scope (sync/scope.h).  Kept by the log
 * no longer than the log keeps itself: one that was dropped means a full comparison. */
struct peer_scope {
	uint64_t hash;	   /* of the scope, as seen by who keeps this; never 0 */
	uint64_t selected; /* hash of the mailboxes that it selected, 0 = all */
	struct position local, remote;
	int64_t synced_ns; /* last time */
};
#define PEER_SCOPES_MAX 16 /* of one peer; the one that was not used for longest goes */

/* What we remember about one peer (design 1: sync state). */
struct peer_state {
	uint64_t replica; /* peer's replica id; for a peer without a log: made by us */
	struct guid
		store; /* peer's store id, or the id in a foreign Maildir's state; zero = unknown */
	char *destination; /* owned; as the user wrote it, made absolute: "store:/x", "maildir:/y" */
	struct position local;	/* up to here the peer has seen our log */
	struct position remote; /* up to here we have seen the peer's log */
	int64_t synced_ns;	/* last time both were in step */
	struct peer_scope
		*scopes; /* owned; of restricted sessions, the positions above are not theirs */
	size_t n_scopes;
};

/* One entry of the map of a peer without a log: what was there at the last agreement. */
struct peer_entry {
	uint64_t peer; /* peer_state.replica */
	struct guid
		mailbox;   /* our mailbox GUID; with `guid` zero: the entry is the mailbox itself */
	struct guid guid;  /* message */
	uint64_t id;	   /* copy id */
	char *path;	   /* owned; mailbox entry: directory; message entry: file name base */
	uint8_t flags;	   /* FLAG_MASK bits that were there */
	uint32_t keywords; /* letters that were there */
	uint64_t ino;	   /* inode there, 0 = unknown */
	uint64_t size;
	struct stamp placed_at; /* place.at (message) or named_at (mailbox) at that agreement */
	uint8_t state;		/* enum peer_entry_state */
	int64_t mtimes[4];	/* mailbox entry: cur mtime, cur ctime, new mtime, new ctime, ns */
	struct digest digest;
};
enum peer_entry_state {
	PEER_ENTRY_GONE = 0,   /* take the entry out of the map */
	PEER_ENTRY_AGREED = 1, /* both sides had it so */
	PEER_ENTRY_INTENT = 2, /* we are about to make it so: look whether it happened */
};

/* A copy gets another id. */
struct new_id {
	uint64_t from, to;
};

struct record {
	enum record_type type;
	struct stamp at; /* when; greater than every stamp this replica gave before */
	struct origin origin;
	/* What the type needs; the others are empty.  Owned. */
	struct mailbox mailbox;
	struct copy copy;
	struct guid old_guid;
	uint64_t old_id;
	/* REC_ALIAS: the other copies of old_guid, which become copies of copy.guid by this one record: a
	 * message is never two by halves.  Who puts it leaves out what keeps its id. */
	struct new_id *further;
	size_t n_further;
	struct peer_state peer;
	struct peer_entry entry;
	char *old_name; /* file or mailbox name before, for people and undo; may be NULL */
	char *new_name; /* file name (with info part) or mailbox name after; may be NULL */
	/* local facts of this replica, never sent to a peer */
	uint64_t ordinal;     /* of a copy: its st_ino in the mount */
	uint64_t replica_id;  /* REC_REPLICA */
	struct guid store_id; /* REC_REPLICA */
	uint64_t
		forgotten; /* REC_REPLICA: tombstones of expunges up to this clock time may be gone */
};

#define RECORD_MAX (1u << 20) /* bytes of one encoded record */
#define RECORD_FURTHER_MAX 16384

/* A further copy; false when there is no room. */
bool record_add_further(struct record *r, uint64_t from, uint64_t to);

const char *record_type_name(enum record_type t); /* "arrive", "flags", … */
void record_release(struct record *r);
void record_clone(struct record *dst, const struct record *src);
void record_encode(const struct record *r, struct buf *out);
/* 0, or MB_E_FORMAT.  Unknown types decode (type keeps its number) so that the caller may refuse. */
int record_decode(const void *data, size_t len, struct record *ret);

void peer_state_release(struct peer_state *p);
void peer_state_clone(struct peer_state *dst,
		      const struct peer_state *src); /* dst is released first */
struct peer_scope *peer_state_scope(const struct peer_state *p, uint64_t hash); /* or NULL */
/* Adds or replaces; beyond PEER_SCOPES_MAX the one that was not used for longest is forgotten. */
void peer_state_put_scope(struct peer_state *p, const struct peer_scope *s);
/* All scopes of a peer, to the end of the input when read. */
void peer_scopes_encode(const struct peer_state *p, struct buf *out);
bool peer_scopes_decode(struct reader *r, struct peer_state *ret);
void peer_entry_release(struct peer_entry *e);

void position_encode(const struct position *p, struct buf *out);
bool position_decode(struct reader *r, struct position *ret);
bool position_equal(const struct position *a, const struct position *b);
bool position_is_none(const struct position *p);
/* a is b or comes after it; both are of one store's log. */
bool position_reaches(const struct position *a, const struct position *b);

#endif
