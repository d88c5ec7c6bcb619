/*
 * dovecot.h - shared by the files that keep Dovecot's own files in a mail tree true: dotlock.c (its
 * locks), uidlist.c (UIDs), keywords.c (letters), subscribe.c (subscriptions).
 *
 * Dovecot renames mail while it holds its lock, and in a mount that needs the store's lock.  So a
 * dotlock is always taken before the store's lock, never in a file system handler, and never waited
 * for while the store's lock is held.
 */
#ifndef MB_STORE_DOVECOT_H
#define MB_STORE_DOVECOT_H

#include "backends/base/pidlock.h"
#include "backends/mail/subscriptions.h"
#include "backends/mail/uidlist.h"
#include "backends/store/store-private.h"

#define UIDLIST_NAME "dovecot-uidlist"
#define UIDVALIDITY_NAME "dovecot-uidvalidity" /* in the root, since Dovecot opened a mailbox */
#define KEYWORDS_NAME "dovecot-keywords"
#define KEYWORDS_FILE_MAX 65536

/* What tells whether a file is the one that was read last. */
struct file_mark {
	uint64_t ino, size;
	int64_t mtime_ns, ctime_ns;
};
int file_mark_at(int dir, const char *path, struct file_mark *ret); /* zeros on an error: -ENOENT */
int file_mark_of(struct store *s, const char *path, struct file_mark *ret); /* in the mail tree */
bool file_mark_equal(const struct file_mark *a, const struct file_mark *b);

/* ---- dotlock.c ---- */

struct dotlock {
	char *path; /* owned: of the lock file in the tree; NULL: not held */
	bool inner; /* as it was taken */
};

/*
 * Takes the lock that Dovecot takes for the file `path` of the tree: PATH.lock, with process id and
 * host inside.  Waits `wait_ms` at most: -EBUSY; not at all when this process waited for it in vain
 * before and nobody has found it free since, nor was half a minute without a try.  A lock whose process
 * is dead is taken away.  `inner`: the caller holds the store's lock, here and when it is dropped, and
 * does not wait; others must not.
 */
int dotlock_take(struct store *s, const char *path, int wait_ms, bool inner, struct dotlock *ret);
void dotlock_drop(struct store *s, struct dotlock *l); /* one that is not held is fine */
/* Locks that an earlier writer of this store left, in any mailbox of the index, go. */
int dotlocks_clear(struct store *s);
/* Gives the file `path` of the tree these bytes: whole and durable before it has the name; it keeps the
 * mode of the file that it replaces. */
int dovecot_file_replace(struct store *s, const char *path, const void *data, size_t len);

/* ---- uidlist.c: the store's lock is held ---- */

/* Logs what the mailbox's dovecot-uidlist says otherwise than the index, unless the index has that
 * very file already.  A list that is missing, broken or a newcomer says nothing. */
int uidlist_follow(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		   const char *dir, const struct origin *origin);
/* A program has replaced or written the file at `path`, if it is such a one. */
void uidlist_noticed(struct store *s, const char *path, const struct origin *origin);
/* May a mailbox have a list?  Not where the index never saw one and the root shows no trace of Dovecot:
 * then only the mailboxes that are read need be asked.  Two stats at most, and a look into the index. */
bool uidlists_may_be(struct store *s, struct index_txn *tx);
/* Is this another file than the one that the index knows? */
bool uidlist_changed(struct index_txn *tx, const struct guid *mailbox, const struct file_mark *now);
/* A new mailbox in `dir` gets UIDVALIDITY and, if no mailbox has it, the GUID of the list there. */
void uidlist_birth(struct store *s, struct index_txn *tx, const char *dir, struct mailbox *m);
/* A new message in a file that the list has gets the UID and, if no message has it, the GUID there. */
void uidlist_given(struct store *s, struct index_txn *tx, const char *dir, const char *file,
		   struct copy *c);
/* Fills uid_shown of the mailboxes. */
void uidlists_tell(struct index_txn *tx, struct tree *t);
void uidlist_cache_free(struct uidlist_cache *c);

/* ---- uidlist-settle.c ---- */

/* The lock on the list that a put has to change, if there is one. */
struct uidlist_hold {
	struct dotlock lock;
	char *dir; /* owned: of the mailbox; NULL: no lock is held */
};
/* Before a put, without the store's lock: takes Dovecot's lock when the put gives a message a place in
 * a mailbox that Dovecot serves.  When Dovecot keeps it, mail goes first: 0, and nothing is held; only
 * a message that is there, and gets another UID, has to wait: -EBUSY. */
int uidlist_hold(struct store *s, const struct record *want, struct uidlist_hold *ret);
/* Takes the store's lock, and what Dovecot wrote before ours.  uidlist_leave() whatever it returns. */
int uidlist_enter(struct store *s, const struct uidlist_hold *h);
void uidlist_leave(struct store *s, struct uidlist_hold *h);
/*
 * The message file `file` is about to be in the mailbox `dir` under *uid: its line is written, when the
 * lock on that list is held.  *uid becomes a higher one when it was used there before.  `was`: its file
 * when it is there already, else NULL.  `writable`: tx is.
 */
int uidlist_before(struct store *s, struct index_txn *tx, bool writable, const struct guid *mailbox,
		   const char *dir, const char *was, const char *file, uint32_t *uid);
/* A mailbox's directory, that nobody sees yet, gets the list of a mailbox without mail, when Dovecot
 * serves the store. */
int uidlist_for_new(struct store *s, struct index_txn *tx, const struct mailbox *m, int dir);
int uidlist_flush(struct store *s); /* lines that were appended are durable; without the lock */

/* ---- subscribe.c ---- */

/* Before a put, without the store's lock: Dovecot's lock on `subscriptions` when the put may write that
 * file; nothing is held otherwise, or when Dovecot keeps it. */
int subscriptions_hold(struct store *s, const struct record *want, struct dotlock *ret);

/* ---- keywords.c: the store's lock is held ---- */

/* Is a keyword set that has no slot in the dovecot-keywords of `dir`, and is there room for it? */
bool keywords_lack_slot(struct store *s, const char *dir, const struct flags *f);
/* Gives them slots, when the lock on the dovecot-uidlist of `dir` is held.  What has no room, or cannot
 * be written now, stays without. */
void keywords_add_slots(struct store *s, const char *dir, const struct flags *f);
/* Was dovecot-keywords replaced since the names were last brought in step with it? */
bool keywords_due(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir);
/* The names have to be looked at again: Dovecot has the mailbox anew. */
int keywords_forget(struct index_txn *tx, const struct guid *mailbox);
/* Keywords that are set get their letters in file names.  No transaction is open, the lock is held. */
int keywords_settle(struct store *s, const struct guid *mailbox, const char *dir);

#endif
