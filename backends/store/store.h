/*
 * store.h - one replica of one user's mail on local disk.
 *
 *   STORE/mail/      the Maildir tree (or, adopted in place, the user's own Maildir elsewhere)
 *   STORE/log/       transaction log and checkpoints
 *   STORE/index/     LMDB, a cache
 *   STORE/deleted/   expunged messages: deleted/MAILBOX-GUID/GUID.COPY.MILLISECONDS,NAME
 *   STORE/staging/   arriving bodies before they are complete
 *   STORE/config     "format=1", "layout=…", "mail=PATH" (adopted), "store=ID": what is needed to open
 *   STORE/intent     what a put is about to do to a file (intent.c)
 *   STORE/lock       the writer's OFD lock; holds "pid=… mount=…" for people
 *   STORE/socket     changes are submitted here while another process is the writer
 *
 * Files are the truth about the present; checkpoint and log about history and all that files cannot
 * tell; the index is a cache of both.
 *
 * Every change: 1. change the files, 2. append the record, 3. update the index, 4. answer.  A stop
 * between 1 and 2 is found by the next scan (a peer's change is taken back first); between 2 and 3 by
 * replay.
 *
 * One writer at a time.  All calls on a writer's store may come from any thread; one lock inside
 * serialises changes.  Paths are relative to the mail tree, without leading or trailing slash.
 */
#ifndef MB_STORE_STORE_H
#define MB_STORE_STORE_H

#include "backends/mail/layout.h"
#include "backends/mail/record.h"
#include "backends/store/index.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct store;

enum store_mode {
	STORE_READ,  /* look only: index as the writer left it */
	STORE_WRITE, /* take the writer lock, recover, scan what changed */
	/* The same to look at, and nothing is written: what the scan finds is in a transaction of the
	 * index that is never committed.  The log has none of it: store_trial_each().  The lock is
	 * taken, so that nobody else writes; calls that change anything but store_scan() fail.  MB_E_UNCLEAN: this store
	 * has to be recovered first, or was never opened. */
	STORE_TRIAL,
};

/* Makes a new, empty store in `dir` (made if missing, must be empty), with an INBOX. */
int store_create(const char *dir, enum layout layout);

/*
 * Takes an existing Maildir in place: state goes to `dir` (NULL: sibling MAILDIR.mailbraid), which
 * must be able to link and rename with the Maildir (tried with real files: MB_E_FILESYSTEM), and the
 * root file MAILDIR/.mailbraid gets store id and state path.  Undone again when a step fails.
 */
int store_adopt(const char *maildir, const char *dir, enum layout layout, char **ret_dir);

/* The store directory that `path` names: itself, or the one that the Maildir at `path` was adopted
 * into.  Owned, absolute.  MB_E_NOT_STORE. */
int store_locate(const char *path, char **ret_dir);

/*
 * Opens.  STORE_WRITE: MB_E_LOCKED when another process is the writer; recovers after a stop of any
 * kind (torn log, index missing, damaged or behind, half-done changes, stale staging), then scans
 * mailboxes whose directories changed.  MB_E_NOT_STORE, MB_E_VERSION, MB_E_UNSAFE, MB_E_CHECKSUM.
 */
int store_open(const char *dir, enum store_mode mode, struct store **ret);
/* Ends.  A writer flushes, notes directory stamps, log end and "clean".  */
void store_close(struct store *s);

const char *store_dir(const struct store *s);
const char *store_mail_path(const struct store *s); /* absolute path of the mail tree */
int store_mail_fd(
	const struct store *s); /* borrowed: the backing directory, whatever is mounted over it */
int store_staging_fd(const struct store *s); /* borrowed */
enum layout store_layout(const struct store *s);
uint64_t store_replica(const struct store *s); /* a reader's: as it was when it was last asked */
uint64_t store_replica_now(struct store *s);   /* a reader looks again */
/* Clock time (stamp.time) up to which tombstones of expunges may have been dropped: 0 = none were. */
uint64_t store_forgotten(struct store *s);
/* Mailboxes whose directories are not what they are called, and could be: a rename failed.  Reads the whole
 * tree.  0 also when the index cannot be read. */
uint64_t store_misplaced(struct store *s);
struct guid store_id(const struct store *s);
struct index *store_index(struct store *s);
struct log *store_log(struct store *s);
struct stamp store_now(struct store *s); /* next stamp of this replica's clock (writer) */

/*
 * Looks at the files.  Default: only mailboxes whose directories have other times than noted; with
 * `full`, every mailbox, with size and times of every file, digests of those that changed.  Turns
 * strange changes into records.  All mailboxes are read before any absence is judged; an error while
 * reading judges none.  Expunges inferred from absence are under the guard (rule 9).
 */
struct scan_report {
	uint64_t dirs_read, files_seen, records; /* work done */
	uint64_t arrived, flagged, moved, expunged, lost, damaged, edited;
	uint64_t held; /* expunges held by the guard */
	bool unsteady; /* something was moved, and no absence judged, or is still written: scan again */
	uint64_t errors;
	int unread; /* of those the first that is not only a race: a place that cannot be read, 0 = none */
};
int store_scan(struct store *s, bool full, struct scan_report *ret);
/* The records that a STORE_TRIAL has found, oldest first; non-zero from fn ends it and is returned. */
int store_trial_each(struct store *s, int (*fn)(const struct record *r, void *arg), void *arg);
/* What the scan of store_open() found (writer, trial); borrowed.  It comes before anybody can allow a
 * mass expunge, so what it holds is not said yet: store_tell_held(). */
const struct scan_report *store_opening_scan(const struct store *s);
void store_tell_held(const struct store *s, const struct scan_report *r); /* a warning, if any is */
void store_allow_mass_expunge(struct store *s, bool allow);
/* A tree that is watched while it is written needs no stats: set by watch.c. */
void store_set_watched(struct store *s, bool watched);
/* Asked by a scan of a watched tree, with the store locked: are there events that nobody looked at
 * yet?  Then it looks itself: a change made before the scan is always in it.  NULL: no watch. */
void store_set_watch_pending(struct store *s, bool (*pending)(void *arg), void *arg);
/* Called, with the store locked, once there is something that only a scan of the whole tree finds,
 * until one has.  NULL: nobody looks. */
void store_set_watch_wake(struct store *s, void (*wake)(void *arg), void *arg);
bool store_scan_is_due(struct store *s); /* is there such a thing? */

/*
 * Where Dovecot serves a mailbox (it has a dovecot-uidlist), Dovecot gets our UIDs for messages that it
 * has not seen yet, our next UID and UIDVALIDITY; keywords that are set get letters.  Before a peer is
 * told of UIDs, and after its changes.  Waits two seconds at most for Dovecot's lock: what it keeps
 * is done the next time.  Not from a file system handler.
 */
int store_settle_uids(struct store *s);

/* Something was not found that must be there, or is not what it must be: is the index whole?  Reads all
 * of it.  When it is not, it is set aside when the store closes, which is all that may be done with the
 * store then.  False also for a dry run. */
bool store_doubt_index(struct store *s);

/* Makes everything answered so far durable (the log; files are the caller's business). */
int store_flush(struct store *s);

/* Up to which record of the log the index, and so every answer, has come; the log may be ahead while
 * the writer, perhaps another process, is in the middle of a change.  -ENOENT: nothing yet. */
int store_applied(struct store *s, struct position *ret);
/* A reader: what was in the log when this is called is in the index after it, if a writer is at work; waits
 * 200 ms for it at most (follow.c).  A writer: nothing. */
void store_follow(struct store *s);

/* How long deleted bodies and history stay (keep_deleted). */
#define STORE_KEEP_DELETED_NS (30ll * 24 * 3600 * 1000000000)

/* A peer that did not come for so long pins no log files any more; neither does one for whose sake
 * the closed files grew over so many bytes.  It is compared in full when it comes back. */
#define STORE_PEER_PIN_NS (90ll * 24 * 3600 * 1000000000)
#define STORE_PEER_PIN_BYTES (1ull << 30)
/* How long expunges are remembered at least, so that no peer brings the mail back. */
#define STORE_TOMBSTONES_NS (400ll * 24 * 3600 * 1000000000)

/* Other limits, for tests. */
struct store_limits {
	int64_t peer_pin_ns;
	uint64_t peer_pin_bytes;
	int64_t tombstones_ns;
};
void store_set_limits(struct store *s, const struct store_limits *l);

/* Writes a checkpoint, starts a new log file, drops log files and deleted bodies older than
 * `keep_ns` that no registered peer needs. */
int store_checkpoint(struct store *s, int64_t keep_ns);

/* ---- POSIX verbs: what local programs do in the tree (fs, scan) --------------------------------
 *
 * Each does the file operation beneath the mail tree and logs its meaning.  0 or -errno (own codes
 * via mb_err_errno).  Paths must be at_path_ok().  `origin` says which program.
 */
enum node_kind {
	NODE_LOCAL, /* any other file or directory: stored, never synced */
	NODE_ROOT,  /* "" */
	NODE_MAILBOX, /* directory with cur/: a mailbox (the root too, as INBOX, but that is NODE_ROOT) */
	NODE_CUR,
	NODE_NEW,
	NODE_TMP,     /* its subdirectories */
	NODE_MESSAGE, /* name in cur or new that can be a message */
	NODE_TMPFILE, /* name in tmp */
};
struct node_info {
	enum node_kind kind;
	struct guid mailbox; /* for all but LOCAL: whose */
	bool in_new;	     /* MESSAGE */
};
/* What `path` is, by its name and place; looks at the index for mailboxes, not at the file. */
int store_classify(struct store *s, const char *path, struct node_info *ret);

/* tmp -> new/cur is a delivery; same unique part with other letters a flag change; other mailbox a
 * move; new -> cur alone clears recent; into tmp or out of the mailboxes is a removal from the
 * mailbox; a message that replaces another expunges it, any other file is an edit of it (the old body
 * is linked to deleted/ first).  flags: RENAME_NOREPLACE,
 * RENAME_EXCHANGE (local files and directories only). */
int store_rename(struct store *s, const char *from, const char *to, unsigned flags,
		 const struct origin *origin);
/* The same; *ret_seen is what stat() said of the file under its new name after the rename, st_ino 0 where
 * there was no need to look: whoever needs it then looks himself. */
int store_rename_seen(struct store *s, const char *from, const char *to, unsigned flags,
		      const struct origin *origin, struct stat *ret_seen);
/* tmp -> new/cur is a delivery; message -> other mailbox a copy, or, when the old name is unlinked
 * by the same program within seconds and no peer has the copy yet, a move. */
int store_link(struct store *s, const char *from, const char *to, const struct origin *origin);
int store_unlink(struct store *s, const char *path, const struct origin *origin);
int store_mkdir(struct store *s, const char *path, mode_t mode, const struct origin *origin);
int store_rmdir(struct store *s, const char *path, const struct origin *origin);
/* A file in cur or new was created or written, and has settled (fsync, or two seconds of quiet):
 * publishes it, or, when it was a message already, logs the edit.  Nothing for other paths. */
int store_settled(struct store *s, const char *path, const struct origin *origin);
/* Before the first write to, or truncation of, a published message: links or copies the old content
 * aside, gives the message's file a content of its own.  0 also when `path` is no message. */
int store_before_write(struct store *s, const char *path, bool truncate);
/* Grows when a peer's put had to settle what a program is still writing: for that program the next
 * write is a first one again.  No lock. */
uint64_t store_edits_cut(struct store *s);
/* st_ino of the message at `path`: its ordinal.  0 when it is not published. */
uint64_t store_ordinal(struct store *s, const char *path);
/* fsync of a file or directory in the mount was asked for: log durable (the caller has flushed the
 * file and its directory). */
int store_sync_path(struct store *s, const char *path);
/* Is every name durable that a record speaks of, once the log is flushed?  On file systems that write in
 * order, and when no change went by without its record. */
bool store_log_has_names(struct store *s);
/* Value of user.mailbraid.{guid,modseq,keywords,origin} for a message: appends text. -ENODATA. */
int store_xattr(struct store *s, const char *path, const char *name, struct buf *out);

/* ---- Changes from a peer (sync) ------------------------------------------------------------
 *
 * `want` is a state to join: REC_MAILBOX_STATE, REC_COPY_STATE (body of a new copy: file `staged` in
 * staging/, or found here by GUID or digest), REC_ALIAS, REC_PEER*, REC_REPLICA (it goes on as another
 * replica), REC_RENUMBER.  The store joins it with
 * what it has, changes files as needed, logs what really changed with want->origin, and updates the
 * index; a state that is already in changes nothing (returns 0).  Returns 1 when something changed.
 * -ENOENT: the body is needed and was not given.  MB_E_NAME: the name cannot be stored here.
 * MB_E_STALE: what the wanted state was made from has changed here since; ask again.
 */
struct store_step {
	enum { STEP_NONE, STEP_RENAME, STEP_UNLINK, STEP_MKDIR, STEP_RMDIR } op;
	char *from, *to; /* owned; relative to the mount */
};
int store_put(struct store *s, const struct record *want, const char *staged);
/*
 * Until store_batch_end() the index is written once for hundreds of changes, not for each.  Nothing
 * else changes: files and log are written change by change, and what a stop leaves out of the index is
 * taken from the log, as after any stop.  For a writer that is alone in its process; with a thread at
 * the store it does nothing.  Begin twice is begin once.  end gives the error of the last write of the
 * index when the log could not mend it; closing the store ends it too.
 */
void store_batch_begin(struct store *s);
int store_batch_end(struct store *s);

/*
 * The same, to be made through the mount by process `pid` so that inotify sees it: gives the system
 * call that carries the change, and remembers it; when the daemon gets exactly that call from that
 * process, the POSIX verb above does store_put() instead of treating it as a local change.  STEP_NONE: nothing visible
 * to do, already done.  A forgotten step dies after some seconds.
 */
int store_plan(struct store *s, const struct record *want, const char *staged, uint32_t pid,
	       struct store_step *ret_step);
/*
 * The thread `pid` of the process `process` plans its calls: what it does in the mount and is no step
 * that is waited for (too late, or made twice) gets -EBUSY and changes nothing, until the process
 * has ended.  Twice is once; 0 is nobody.  Takes the store's lock.
 */
void store_planner(struct store *s, uint32_t pid, uint32_t process);
void store_planners_end(struct store *s, uint32_t process);
/* stat of the staged body behind the hidden root name ".mailbraid-TOKEN"; -ENOENT. */
#define STORE_TOKEN_PREFIX ".mailbraid-"
int store_token_stat(struct store *s, const char *name, struct stat *ret);

/* Path in the tree of a live copy ("…/cur/name"), for reading its body. Owned.  -ENOENT. */
int store_copy_path(struct store *s, const struct guid *guid, uint64_t id, char **ret_path);
/* Opens the body of a copy (or, when its own file is not good, of any copy with this GUID, or a kept one in deleted/).
 * Checks the size.  MB_E_DAMAGED, MB_E_LOST.  Returns the fd. */
int store_open_body(struct store *s, const struct guid *guid, uint64_t id);
/* The body of a copy is not what was noted (MB_E_DAMAGED), or not there (MB_E_LOST): when its file was written
 * to since, that is logged as an edit, or as damage; when it has gone, or has another name, as that.  1: something
 * was logged, the copy may not be what it was; 0: nothing is new, or a program still writes.  Reads the directory of the mailbox, and the files that changed in it. */
int store_recheck(struct store *s, const struct guid *guid, uint64_t id);
/* SHA-256 of the body; logs it when it was not known (writer). */
int store_digest(struct store *s, const struct guid *guid, uint64_t id, struct digest *ret);
/* 1 and the digest when the index knows it, 0 when not; no body is read.  MB_E_LOST, MB_E_DAMAGED. */
int store_known_digest(struct store *s, const struct guid *guid, uint64_t id, struct digest *ret);
#define STORE_LEARN_MAX 512 /* in one request to the writer */
/* Bytes that were sent to a peer. */
struct sent_digest {
	struct guid guid;
	uint64_t id;
	struct digest digest;
};
/* Logs the digests that are not known yet, in one transaction of the index; copies that are gone are
 * passed over.  Writer. */
int store_learn(struct store *s, const struct sent_digest *list, size_t n);

/*
 * Expunges a copy that is ENTRY_LOST and whose modseq is still `modseq`: what was seen by whoever decided
 * it.  MB_E_STALE: it is not lost, or changed since; -ENOENT.  Peers are told of it as of any expunge.
 */
int store_expunge_lost(struct store *s, const struct guid *guid, uint64_t id, uint64_t modseq,
		       const struct origin *origin);

/* Told of changes that no POSIX verb made (put, scan, watch): names that came, went or changed, so
 * that kernel caches follow.  Called without the store's lock, in order, from one thread at a time. */
struct store_event {
	enum { EVENT_ADDED, EVENT_REMOVED, EVENT_RENAMED, EVENT_CHANGED } what;
	const char *path;
	const char *old_path; /* RENAMED: its name before; REMOVED: store_open_deleted(), or NULL */
	bool retired_by_peer; /* RENAMED: keep old_path working for a while */
};
/* Opens for reading what has gone to deleted/, as an event names it; an fd or -errno. */
int store_open_deleted(const struct store *s, const char *kept);
typedef void store_listener(const struct store_event *e, void *arg);
void store_set_listener(struct store *s, store_listener *fn, void *arg);

#endif
