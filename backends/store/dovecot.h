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

#include "backends/mail/uidlist.h"
#include "backends/store/store-private.h"

#define UIDLIST_NAME "dovecot-uidlist"
#define KEYWORDS_NAME "dovecot-keywords"
#define SUBSCRIPTIONS_NAME "subscriptions"
#define DOTLOCK_WAIT_MS                                                                            \
	2000 /* then Dovecot is left alone, and what was to be written comes later */

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
	bool inner; /* the store's lock is held around it */
};

/*
 * Takes the lock that Dovecot takes for the file `path` of the tree: PATH.lock, with process id and
 * host inside.  Waits `wait_ms` at most: -EBUSY.  A lock whose process is dead is taken away.  0 does
 * not wait, and is for callers that hold the store's lock, here and when it is dropped; others must not.
 */
int dotlock_take(struct store *s, const char *path, int wait_ms, struct dotlock *ret);
void dotlock_drop(struct store *s, struct dotlock *l); /* one that is not held is fine */
/* Locks that an earlier writer of this store left, in any mailbox of the index, go. */
int dotlocks_clear(struct store *s);
/* Gives the file `path` of the tree these bytes: whole and durable before it has the name; it keeps the
 * mode of the file that it replaces. */
int dovecot_file_replace(struct store *s, const char *path, const void *data, size_t len);

/* ---- uidlist.c: the store's lock is held ---- */

/* Logs what the mailbox's dovecot-uidlist says otherwise than the index, unless the index has that
 * very file already.  A list that is missing or broken says nothing. */
int uidlist_follow(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		   const char *dir, const struct origin *origin);
/* A program has replaced or written the file at `path`, if it is such a one. */
void uidlist_noticed(struct store *s, const char *path, const struct origin *origin);
/* Is this another file than the one that the index knows? */
bool uidlist_changed(struct index_txn *tx, const struct guid *mailbox, const struct file_mark *now);
/* A new mailbox in `dir` gets UIDVALIDITY and, if no mailbox has it, the GUID of the list there. */
void uidlist_birth(struct store *s, struct index_txn *tx, const char *dir, struct mailbox *m);
/* A new message in a file that the list has gets the UID and, if no message has it, the GUID there. */
void uidlist_given(struct store *s, struct index_txn *tx, const char *dir, const char *file,
		   struct copy *c);
void uidlist_cache_free(struct uidlist_cache *c);

#endif
