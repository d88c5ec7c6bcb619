/*
 * store-private.h - what the files of the store share; nobody else includes it.
 *
 * Locks: `lock` serialises every change and everything in struct store but the event queue.
 * `event_lock` is taken after `lock` was let go, and held while the listener runs, so that events
 * come in order; `queue_lock` guards the queue itself and is the innermost.
 */
#ifndef MB_STORE_STORE_PRIVATE_H
#define MB_STORE_STORE_PRIVATE_H

#include "backends/mail/fname.h"
#include "backends/store/log.h"
#include "backends/store/store.h"
#include <pthread.h>

#define SCAN_YOUNG_NS 2000000000ll /* a directory younger than this may change within one tick */
#define LOG_ROTATE_BYTES (64ull << 20)
#define MOVE_WINDOW_NS 5000000000ll /* link, then unlink by the same program: a move */
#define STEP_LIFE_NS 10000000000ll
#define LINKS_MAX 4096
#define TRASH_PREFIX                                                                               \
	"trash-" /* in staging/: a mailbox directory, or its cur/ or new/, being removed */
#define SWAP_PREFIX ".mbswap-" /* then its GUID: a mailbox directory on its way to another name */
#define GUARD_COUNT 50
#define GUARD_PERCENT 25
#define GUARD_WHOLE 10

struct queued_event {
	struct queued_event *next;
	struct store_event e; /* paths owned */
};

/* A link of a message that may become a move, or a copy that is not published yet. */
struct recent_link {
	struct recent_link *next;
	int64_t at_ns;
	uint32_t pid;
	struct guid guid;
	uint64_t from_id,
		to_id;	 /* to_id: the copy that the link made; 0 with `path`: not yet one */
	uint64_t modseq; /* of that copy's arrival: a peer that has seen it may have changed it */
	char *path;	 /* owned: name in a tmp/, or NULL */
	uint64_t ino;	 /* of the file at `path` then */
};

/* A system call that a peer's change will come as. */
struct expected {
	struct expected *next;
	int64_t at_ns;
	uint32_t pid;
	struct store_step step;
	struct record want;
	char *staged; /* name in staging/, or NULL */
};

/* A thread that asks for steps, and makes no other call in the mount. */
struct planner {
	struct planner *next;
	uint32_t pid, process;
};

/* A message that is being written in place. */
struct edit {
	struct edit *next;
	struct guid guid;
	uint64_t id;
	char *kept; /* name in staging/ of the content before */
};

/* A file that is being written in cur or new and is no message yet. */
struct unsettled {
	struct unsettled *next;
	char *path; /* owned */
};

struct uidlist_cache; /* uidlist.c */

/* held.c: messages that the guard holds, sorted */
struct held_one {
	struct guid mailbox, guid;
	uint64_t id;
};
struct held {
	struct held_one *v; /* owned */
	size_t n, cap;
};

/* identity.c: which directory STORE/log is; zeros: not known */
struct store_place {
	uint64_t ino;
	int64_t born_ns;
};

struct store {
	char *dir, *mail_path;
	int dir_fd, mail_fd, log_fd, deleted_fd, staging_fd, lock_fd;
	int intent_fd;	    /* -1: no put yet */
	int deleted_box_fd; /* of deleted/GUID of `deleted_box`, where the last body went; or -1 */
	struct guid deleted_box;
	enum layout layout;
	enum store_mode mode;
	uint64_t replica;
	struct guid id;

	pthread_mutex_t lock;
	struct index *index;
	struct log *log;
	struct hlc clock;
	uint64_t ordinal;  /* last one given */
	bool was_clean;	   /* the stop before this start was clean, or the same boot goes on */
	bool in_order;	   /* the file system writes renames no later than a flush of the log */
	bool journal;	   /* … whose flush makes renames before it durable as well */
	bool tree_touched; /* files were renamed or unlinked since the last flush */
	bool swapped;	   /* a mailbox waits in .mbswap-GUID for its name to be free */
	bool renames;	   /* STORE/renames is there: names have yet to follow directories */
	bool behind;	   /* the log has records that the index does not have */
	bool stays;	   /* change_stays(), of the change that is open */
	bool batching;	   /* changes share a transaction of the index: store_batch_begin() */
	struct {
		struct index_txn *tx; /* open, or NULL */
		unsigned n;	      /* changes in it */
		uint64_t writes;      /* index_writes() when the last of them began, */
		uint64_t appended;    /* and `appended` */
	} batch;
	struct {
		struct index_txn *tx; /* open from the first to the last moment; never committed */
		struct record *records; /* owned: what is in no log */
		size_t n, cap;
		uint64_t modseq; /* given last */
		bool scanning;	 /* the only ones who may change something */
	} trial;
	uint64_t appended; /* records so far: tells whether a change got into the log */
	uint64_t begun;	   /* how many these were when the change began that is open */
	bool log_lost;	   /* part of the log was damaged when it was last read */
	bool index_bad;	   /* a value of the index did not check: it goes at the end */
	bool dirty;	   /* state file says so; index and log may be written */
	bool allow_mass_expunge;
	struct held held;
	struct store_limits limits;
	struct store_place place;
	struct scan_report opening; /* what the scan at opening found */
	bool unread_told;	    /* that something in the tree cannot be read */
	bool watched;
	bool (*watch_pending)(void *arg);
	void *watch_arg;
	void (*watch_wake)(void *arg);
	void *wake_arg;
	bool woken;		 /* for the rescan that is due */
	bool rescan;		 /* something came in whose files were not looked at */
	bool recheck;		 /* at the next scan, contents as well: one was written to */
	struct position scanned; /* log end right after the last scan */
	struct recent_link *links;
	struct expected *expected;
	struct planner *planners;
	struct edit *edits;
	_Atomic uint64_t edits_cut; /* store_edits_cut() */
	struct unsettled *unsettled;
	struct store_flusher *flusher; /* of a long-lived writer, or NULL */
	struct store_later *later;     /* likewise */

	/* Dovecot's files (dovecot.h) */
	bool has_dotlock;	  /* STORE/dotlock is this writer's */
	const char *uidlist_held; /* mailbox directory whose dovecot-uidlist is locked; or NULL */
	struct uidlist_cache *uidlist; /* the list that was read last, or NULL */
	char *uidlist_unsynced;	       /* owned: path of one with lines that may not be durable */
	bool uidlists_due;	       /* arrivals that a dovecot-uidlist may not have yet */
	enum {
		SERVED_UNKNOWN,
		SERVED_NO,
		SERVED_YES
	} served; /* by Dovecot: a mailbox has such a list */

	pthread_mutex_t event_lock, queue_lock;
	struct queued_event *events, **events_tail;
	store_listener *listener;
	void *listener_arg;
};

/* identity.c */
int identity_load(struct store *s);  /* from the index; -ENOENT */
int identity_birth(struct store *s); /* first record: who we are */
void place_read(int log_fd, struct store_place *ret);
bool place_differs(const struct store_place *was, const struct store_place *is);
/* Goes on as another replica, durably.  1, or an error and it is who it was. */
int identity_take(struct store *s, uint64_t replica);
int identity_renew(struct store *s); /* as one that never was; says so */

/* state.c: STORE/config and STORE/state */
struct store_config {
	enum layout layout;
	char *mail; /* owned; absolute path of an adopted Maildir, NULL: STORE/mail */
	struct guid id;
};
/* The index's data file as it was left; a program or a bad disk that changed it shows here. */
struct index_stamp {
	uint64_t size; /* 0 = not known */
	int64_t mtime_ns;
};
struct store_state {
	bool clean;
	struct index_stamp index; /* when clean */
	struct store_place place;
	uint8_t boot[16];
	struct position end; /* of the log, when clean */
};
int config_write(int dir_fd, const struct store_config *c);
int config_read(int dir_fd, struct store_config *ret);
void config_release(struct store_config *c);
/* On a full disk: the one letter that says "clean" is written over.  After a kill the index is built anew,
 * as after a power cut. */
int state_unclean(int dir_fd);
int state_write(int dir_fd, const struct store_state *st);
int state_read(int dir_fd, struct store_state *ret); /* -ENOENT: never written */
struct index_stamp index_stamp_now(int dir_fd);
/* false: the stop was clean, and the data file is not what was left then. */
bool index_is_as_left(int dir_fd, const struct store_state *st);

/* store.c: directories and config of a new store, for store_open() to fill; `mail` as in config */
int store_make(int dir_fd, enum layout layout, const char *mail);

/* change.c: the one way to write log and index.  The lock is held. */
int store_mark_dirty(struct store *s); /* durably, before the first write of this run */
/* trial.c: a store of which nothing is written */
int trial_open(struct store *s);
int trial_record(struct store *s, const struct record *r);
void trial_close(struct store *s);
void store_lock(struct store *s);
void store_unlock(struct store *s); /* and delivers queued events */
int change_begin(struct store *s, struct index_txn **ret);
/* What a full disk leaves of the room that is kept for records and index: a change that brings something
 * is refused, before anything is done, while not all of it can be kept; renames and flags may use half;
 * the rest is for what change_begin() begins: expunges above all. */
enum room { ROOM_HALF = 1, ROOM_ALL = 2 };
/* Takes it when it is not there yet; marks dirty. */
int change_room(struct store *s, enum room room);
/* The same for all, when nothing has changed yet: a store that is clean is clean afterwards. */
int change_keep_room(struct store *s);
int change_begin_with(struct store *s, enum room room, struct index_txn **ret);
/* Appends only: the first half of change_record(). */
int change_append(struct store *s, struct record *r, struct position *ret_end,
		  uint64_t *ret_modseq);
/* Appends and applies.  r->at is set when it has no stamp, origin.replica when it is 0. */
int change_record(struct store *s, struct index_txn *tx, struct record *r);
/* Commits when err is 0 or more, else undoes the index, and replays what the log has already. Returns
 * err.  When it is 0 or more, and the log has a record, but the index cannot take it (a full disk), the
 * change has been made all the same, and is no error: change_begin() gives one until the index has it. */
int change_end(struct store *s, struct index_txn *tx, int err);
/* The same for a system call of a program, whose answer must be what happened: once a record is in the
 * log, or err or change_stays() says that the files are changed, it is done, and a scan does the rest. */
int change_end_call(struct store *s, struct index_txn *tx, int err);
/* The change failed, but its files cannot go back. */
void change_stays(struct store *s);
/* The same without a transaction (posix-later.c): */
void change_begin_call(struct store *s);
int change_answer(struct store *s, int err);
/* Commits what a batch has so far, when one is open: between changes. */
int change_settle(struct store *s);
int index_catch_up(struct store *s); /* replays the log from where the index stands */
void change_event(struct store *s, int what, const char *path, const char *old_path,
		  bool retired_by_peer);
int index_read_applied(struct index_txn *tx, struct position *ret);
int index_write_applied(struct index_txn *tx, const struct position *p);

/* tree.c: directories and mailboxes */
int tree_classify(struct index_txn *tx, const struct store *s, const char *path,
		  struct node_info *ret, const char **ret_name);
/* Path "dir/sub/name" of parts; sub and name may be NULL.  Owned. */
char *path_join(const char *dir, const char *sub, const char *name);
int mailbox_dir(struct index_txn *tx, const struct guid *g, char **ret_dir); /* -ENOENT */
/* Finds or makes the chain of nodes for these parts; the last one is the mailbox.  Structural parents are made. */
int mailbox_ensure(struct store *s, struct index_txn *tx, const char *dir,
		   const struct origin *origin, struct guid *ret);
/* Directory that the tree's names give to g. */
int mailbox_wanted_dir(struct store *s, const struct tree *t, const struct guid *g, char **ret_dir);
int mailbox_make_parents(struct store *s, const char *dir); /* each directory of the path */
/* cur, new, tmp; atomically when dir is missing.  `begins`: the mailbox that is new in it, else NULL. */
int mailbox_make_dirs(struct store *s, struct index_txn *tx, const struct mailbox *begins,
		      const char *dir);
/* The same in a directory that is there, open at `dir`, under whatever name. */
int mailbox_make_subs(struct store *s, int dir);
int mailbox_log_delete(struct store *s, struct index_txn *tx, const struct guid *g,
		       const struct origin *origin);
int mailbox_log_rename(struct store *s, struct index_txn *tx, const char *from, const char *to,
		       const struct origin *origin);
int mailbox_relocate(struct store *s, struct index_txn *tx, const char *from, const char *to);
/* The live node that the parts of `dir` name. */
int mailbox_by_parts(struct store *s, struct index_txn *tx, const char *dir, struct guid *ret);
/* NULL: it has none.  Notes which directory that is now, so that it is known again under any name. */
int mailbox_set_dir(struct store *s, struct index_txn *tx, const struct guid *g, const char *dir);
/* The directory `dir` that g should get is there, and is another mailbox's under another name: a file
 * system that takes two names for one in a way that the merge does not know.  Mail of two mailboxes
 * is never mixed. */
bool mailbox_dir_is_anothers(struct store *s, struct index_txn *tx, const struct tree *t,
			     const struct guid *g, const char *dir);
/* Gives every mailbox whose directory is not what its name says the name that its directory says. */
int mailboxes_follow_dirs(struct store *s, struct index_txn *tx, const struct origin *origin,
			  uint64_t *records);
int mailbox_log_new_name(struct store *s, struct index_txn *tx, const struct tree *t,
			 const struct mailbox *m, const char *to, const struct origin *origin);
int mailbox_absorb_structural(struct store *s, struct index_txn *tx, struct tree *t,
			      const struct guid *g, const char *to, const struct origin *origin);
int mailbox_ensure_parents(struct store *s, struct index_txn *tx, char **parts, size_t n,
			   const struct origin *origin, struct guid *ret);

/* files.c: names of message files */
/* "cur/NAME" or "new/NAME" that this copy should have in `mailbox`; keeps what the old name has. */
int file_target(struct store *s, struct index_txn *tx, const struct copy *c,
		const struct entry *old, bool in_new, char **ret_name);
char *entry_path(struct index_txn *tx, const struct entry *e); /* owned; NULL when it has none */
/* Is there a file with the unique part of `name` in the mailbox directory, under any name? */
bool file_is_about(struct store *s, const char *dir, const char *name);
/*
 * rename (or, with `keep`, link) of mail/path to deleted/; -errno.  The name says when: always after
 * the birth of the instance, before that of any later one.  *ret_kept (may be NULL): owned, for
 * file_undelete(), which brings it back when the record could not be written.
 */
int file_to_deleted(struct store *s, const char *path, const struct entry *e, bool keep,
		    char **ret_kept);
int file_undelete(struct store *s, const char *kept, const char *path);
/* The file at `path` below root, which is open as `from`, gets an inode of its own: a copy with its owner,
 * mode and times, renamed over it.  Links elsewhere keep the content. */
int file_own_inode(struct store *s, int root, const char *path, int from, bool durable);
/* The same for a body in deleted/ whose file has a name that is no message's: what is written there must
 * not change it.  What cannot be done is said, no more: a full disk. */
void file_part_deleted(struct store *s, const char *kept);
/* Is there a kept body of this copy whose expunge may not be logged?  Gives its name in deleted/.
 * `body`: it is wanted for what it holds, which a damaged one's name says it has not ("!"). */
int file_find_deleted(struct store *s, const struct guid *mailbox, const struct guid *guid,
		      uint64_t id, bool body, char **ret_name);
/* What the store itself makes in the tree belongs to whom the tree belongs: root may keep a user's
 * mail in step.  Does nothing where we are not root. */
int file_give(struct store *s, int dir, const char *name);
int mailbox_keyword_letters(struct store *s, const char *dir, char *names[26]);
/* *ret_taken: bits of the slots that have a line, be it one that means nothing here. */
int mailbox_keyword_slots(struct store *s, const char *dir, char *names[26], uint32_t *ret_taken);
void keyword_letters_free(char *names[26]);
int keyword_slot(char *names[26], const char *keyword); /* -1: none */
/* Applies the difference of two names' letters to the flags of e, with this stamp. */
bool flags_from_rename(struct store *s, struct index_txn *tx, struct entry *e,
		       const struct fname *old, const struct fname *new, struct stamp at);
/* The same for a move: the new name's letters are those of mailbox `to`. */
bool flags_from_move(struct store *s, struct index_txn *tx, struct entry *e, const struct guid *to,
		     const struct fname *old, const struct fname *new, struct stamp at);

/* posix.c and friends: the lock is held, tx open */
struct posix_call {
	struct store *s;
	struct index_txn *tx;
	const struct origin *origin;
	const char *
		uidlist_dir; /* an arrival's UID is the one in the dovecot-uidlist there; or NULL */
	const struct stat *seen; /* of the file that is published; NULL: it is looked at */
	const char
		*later; /* record by later_record(), for the message of this name; tx only reads */
};
/* The record of an edit: old message out, new message in under its name, one record.  `st` is of the
 * file.  (settle.c) */
int log_edit(struct posix_call *p, const struct entry *old, const struct stat *st);
int publish(struct posix_call *p, const char *path, const struct node_info *n, const char *name,
	    const struct guid *guid, uint64_t id, uint64_t *ret_id);
int entry_at(struct index_txn *tx, const struct guid *mailbox, const char *name, bool in_new,
	     struct entry *ret);
int entry_expunge(struct posix_call *p, struct entry *e, const struct guid *via,
		  struct stamp via_seen);
int posix_dir_rename(struct posix_call *p, const char *from, const char *to, unsigned flags);

/* put.c */
/* `step`: the system call that a program made in the mount is this put, or else MB_E_STALE; nobody is
 * told of it. */
int put_locked(struct store *s, const struct record *want, const char *staged,
	       const struct store_step *step);
int put_mailbox(struct store *s, const struct record *want);
int put_mailbox_step(struct store *s, const struct record *want, struct store_step *ret);
/* Does the one directory operation that put_mailbox_step() gave; the rest comes with the next plan. */
int put_mailbox_op(struct store *s, const struct record *want, const struct store_step *step);
/* Directories that differ from what the names say are renamed: after an unfinished put.  Those that
 * cannot be are told of (store_misplaced() counts them); an error is one of the index. */
int mailboxes_finish(struct store *s);
/* put-step.c: what system call would carry this put?  Nothing is changed. */
int put_copy_step(struct store *s, const struct record *want, const char *staged,
		  struct store_step *ret);
/*
 * mend.c: the damaged file of e gets its right body: `staged`, a name in staging/, or, when that is
 * NULL, another file that is here; both change places in one step, the damaged one is kept in
 * deleted/damaged/, the record is written.  -ENOENT: there is no body; MB_E_DAMAGED: it is not the right
 * one; MB_E_STALE: the file is not the one that was judged; -EBUSY: it is being written.
 */
int mend_copy(struct store *s, struct index_txn *tx, const struct entry *e, const char *staged,
	      const struct origin *origin);
/* Its file is not what was stored: the record.  `st` is of the file. */
int log_damaged(struct store *s, struct index_txn *tx, const struct entry *e,
		const struct origin *origin, const struct stat *st);

/* intent.c: what a put is about to do to a file; undone at the start when no record followed.
 * old_path NULL: it comes from staging/. */
int intent_rename(struct store *s, const char *old_path, const char *new_path, uint64_t ino);
int intent_link(struct store *s, const char *new_path,
		uint64_t ino); /* the file has another name */
void intent_drop(struct store *s);
int intent_undo(struct store *s);
/* renames.c: the renames by hand that one scan logs are one unit; see there. */
void renames_look(struct store *s); /* sets s->renames */
/* Of an index that was built anew: the mailboxes of t get the directories of before these renames;
 * those of them are set in `noted`, which has a place for each node. */
int renames_recall(struct store *s, struct index_txn *tx, const struct tree *t, bool *noted);
/* The index has committed them: flushes the log, then forgets the note, durably. */
int renames_forget(struct store *s);
/* held.c: what the guard holds stays held, over restarts and with another index */
int held_load(struct store *s); /* a damaged note is said, and as none */
bool held_has(const struct held *h, const struct entry *e);
bool held_in(const struct held *h, const struct guid *mailbox); /* any message of it? */
void held_add(struct held *h, const struct entry *e);		/* held_note() sorts */
/* `now` is what is held; taken over, when it differs durably.  A trial keeps it to itself. */
int held_note(struct store *s, struct held *now);
void held_release(struct held *h);
/* heal.c: an index that is not whole goes, when the store closes; the next start builds it anew */
void index_close_or_set_aside(struct store *s);
/* plan.c */
/* false: the call is a local program's.  true: it came from a thread that plans its calls, and *ret is
 * what became of it: the put, or -EBUSY when no such step is waited for.  STEP_NONE never is. */
bool expected_call(struct store *s, uint32_t pid, int op, const char *from, const char *to,
		   int *ret);
void expected_free_all(struct store *s);

/* flush.c: what the file systems beneath see to by themselves; at the start */
void flush_look(struct store *s);

/* follow.c: somebody holds the writer's lock */
bool store_has_writer(const struct store *s);

/* flusher.c: flushes the log a second after the first record that is not durable. */
int flusher_start(struct store *s);
void flusher_stop(struct store *s);
struct store_flusher;
void flusher_want(struct store_flusher *f); /* the store's lock is held; NULL does nothing */

/* later.c: records that the log has, and the index gets with others.  The lock is held. */
struct store_later;
int later_start(struct store *s);      /* after flusher_start() */
void later_stop(struct store *s);      /* the index has all of it then, and gets the rest at once */
void later_free(struct store *s);      /* nobody uses the index any more; it was stopped */
void later_settle(struct store *s);    /* the index has all of it; s->behind when it cannot be */
void later_caught_up(struct store *s); /* the index has what it could not take */
/* May a change be left for later?  Not after one that failed.  Marks the store dirty. */
bool later_can(struct store *s);
/* Is something to come for the message of this file name?  To be asked before the index is read. */
bool later_has(const struct store *s, const char *name);
/* UIDNEXT of a mailbox: the index's, or what is to come made it more. */
uint32_t later_uid_next(const struct store *s, const struct guid *mailbox, uint32_t uid_next);
/* Appends r, whose strings it takes then (also of an error: record_release() does no harm), for the message
 * at `name`, and keeps what stat says of its file; NULL: it has none.  The index is told within
 * LATER_MS, or before anybody begins a transaction of it. */
int later_record(struct store *s, struct record *r, const char *name, const struct stat *st);

/* posix-later.c: what mail programs do all day, in the way of later.c.  false: it is no such case, and
 * nothing has been done; else *ret is the answer. */
bool rename_later(struct store *s, const char *from, const char *to, unsigned flags,
		  const struct origin *origin, struct stat *ret_seen, int *ret);
bool unlink_later(struct store *s, const char *path, const struct origin *origin, int *ret);

/* checkpoint.c: the daily one, at a stop or by the flusher; the lock is held.  What fails is tried again
 * a day later. */
int checkpoint_if_due(struct store *s);

/* retain.c: what of log and tombstones must stay; the lock is held. */
struct retention {
	int64_t keep_before_ns; /* history from then on stays in any case */
	/* found by retain_peers() */
	uint32_t peers_from; /* the oldest log file that a peer needs */
	uint64_t acked;	     /* modseq up to which every peer that can has seen the log */
};
int retain_peers(struct store *s, struct index_txn *tx, struct retention *r);
/* Drops the tombstones that are old enough and that everybody has seen from the index, and logs up
 * to which time some are gone.  The checkpoint that follows is without them. */
int retain_tombstones(struct store *s, struct index_txn *tx, const struct retention *r);
/* Removes log files that nobody needs. */
int retain_log(struct store *s, const struct retention *r);

/* subscribe.c: Dovecot's file `subscriptions` */
int subscriptions_read(struct store *s, struct index_txn *tx, const struct origin *origin);
bool subscriptions_changed(struct store *s, struct index_txn *tx); /* since it was last read */
/* A program has replaced or written the file at `path`, if it is that one. */
int subscriptions_noticed(struct store *s, const char *path, const struct origin *origin);
/* The register or the name of m was changed by a peer; was: the tree before, or NULL. */
int subscriptions_put(struct store *s, struct index_txn *tx, const struct tree *t,
		      const struct mailbox *m, const struct tree *was);

/* keywords.c: Dovecot's file `dovecot-keywords` of a mailbox.  Letters that got a meaning are logged. */
int keywords_read(struct store *s, struct index_txn *tx, const struct guid *mailbox,
		  const char *dir, const struct origin *origin);
/* A program has replaced or written the file at `path`, if it is such a one. */
int keywords_noticed(struct store *s, const char *path, const struct origin *origin);

/* scan.c, recover.c */
int scan_locked(struct store *s, bool full, struct scan_report *ret);
int scan_quietly(struct store *s, bool full,
		 struct scan_report *ret); /* does not say what is held */
int recover_index(struct store *s, bool trusted);
/* Says so when the log ended at `end` and now has no file that can be read; before log_begin(). */
void recover_tell(const struct store *s, const struct position *end);
int recover_anew(struct store *s); /* sets the index aside and builds it from checkpoint and log */
/* Brings each mailbox's directory to where it is on disk after a replay of records.  `anew`: the
 * directories that the index has are older than the names. */
int recover_dirs(struct store *s, bool anew);
int recover_staging(struct store *s);
/* Links in deleted/ of messages that live go: a stop left them. */
int recover_deleted(struct store *s);
/* Files that the mount's programs are still writing: a scan leaves them alone. */
bool unsettled_has(const struct store *s, const char *path);
void unsettled_forget(struct store *s, const char *path);
/* Is this copy written in place, and the edit not logged yet? */
bool edit_pending(struct store *s, const struct copy *c);
int settle_locked(struct store *s, const char *path, const struct origin *origin);

/* body.c */
int body_open_locked(struct store *s, struct index_txn *tx, const struct guid *guid, uint64_t id);
int copy_at(struct store *s, struct index_txn *tx, const struct guid *guid, uint64_t id,
	    struct entry *ret);

#endif
