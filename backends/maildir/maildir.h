/*
 * maildir.h - what the files of this folder share: a foreign plain Maildir as a peer.
 *
 * The Maildir has no log, and no file of ours is written into it.  What both sides had at the last
 * agreement is a map, kept by the local store: one peer_entry for each mailbox (message GUID zero)
 * and for each message.  News is what differs from the map.
 *
 * An entry is in one of three states:
 *   agreed      both sides had it so
 *   intent out  we are about to change the Maildir so; the next run looks whether it happened
 *   intent in   a change was found here that the local side may not have taken yet; the GUID and the
 *               stamp that it got are in the entry, so that telling it again tells the same
 *
 * Fields of peer_entry beyond record.h, for a message: mtimes[0] is the file's mtime, mtimes[1] the
 * kind (KIND_*) and, for an intent, flags and letters before it, mtimes[2..3] the stamp of an intent
 * in.  For a mailbox: `flags` holds BOX_* bits, `ino` the inode of its directory.  A mailbox that has to do
 * with the file of subscriptions has one entry more, with MD_SUBS for a message: `flags` holds SUBS_* bits,
 * `path` is a colon and its line (a record has no empty path), `placed_at` the stamp of news.
 *
 * map.c holds and loads the map, map-write.c writes it; scan.c looks at the directories, steady.c and
 * list.c at their files; mark.c what these say of themselves to other stores; judge.c tells moves, arrivals
 * and absence apart, guard.c what is too much of it; confirm.c asks what the local side has
 * of it; state.c answers with states; put.c and ops.c change messages; box.c takes mailboxes that are put,
 * settle.c plans and makes their directories (dir.c), intent.c remembers that plan; subs.c knows who is
 * subscribed, subs-write.c writes the file.
 * One thread.
 */
#ifndef MB_MAILDIR_MAILDIR_H
#define MB_MAILDIR_MAILDIR_H

#include "backends/backend.h"
#include "backends/mail/fname.h"
#include "backends/mail/layout.h"
#include "backends/mail/subscriptions.h"
#include <sys/stat.h>

#define KIND_SHIFT 40
#define KIND_IN 1    /* intent in, else out */
#define KIND_FRESH 2 /* there was nothing agreed in this place before */
#define KIND_HELD 4  /* the guard holds its absence back; of an agreed entry too */

/* Birth of what the map never had: before everything, so that of two that turn out to be one message
 * the local one keeps its place and its UID. */
#define MD_BIRTH(m) ((struct stamp){.time = 1, .replica = (m)->replica})

#define BOX_STRUCTURAL 1 /* only a parent of others */
#define BOX_IN 2	 /* intent in, else out */

#define MD_SUBS                                                                                    \
	((struct guid){.b = {'s', 'u', 'b', 's', 'c', 'r', 'i', 'p', 't', 'i', 'o', 'n', 's'}})
#define SUBS_ON 1   /* subscribed */
#define SUBS_LINE 2 /* its line is, or was, in the file */
#define SUBS_OUT 4  /* intent out: the file is about to be made to say so */

#define GUARD_COUNT 50
#define GUARD_PERCENT 25
#define GUARD_WHOLE 10
#define YOUNG_NS 2000000000ll /* a directory younger than this may change within one tick */
#define OPS_MAX 512	      /* changes that share one commit of their intents */
#define LISTED_MANY 1000      /* files listed for nothing: worth writing new times */
#define LETTERS 26

struct md_box;

struct letters {
	uint8_t flags;	   /* FLAG_MASK bits */
	uint32_t keywords; /* bit n: 'a' + n */
};

struct md_file {
	struct guid guid;
	uint64_t id;
	struct md_box *box; /* where it is, or was last */
	char *key;	    /* owned: key in box->files, see md_key() */
	char *name;	    /* owned: whole file name, NULL: not looked up yet */
	bool in_new;
	struct letters now; /* in the file's name */

	/* the map's view */
	bool agreed;		 /* the local side has it; else found here and not taken yet */
	struct letters before;	 /* agreed flags: those that differ from `now` are news */
	struct guid agreed_box;	 /* where it was agreed to be; zero: nowhere */
	struct stamp placed_at;	 /* of its place */
	struct stamp changed_at; /* of flags that are news */

	bool out;		/* an intent of ours, to be looked after */
	bool fresh;		/* out: there was nothing in this place before */
	struct letters planned; /* of an intent: flags as they were to be, or were seen */

	bool seen;		    /* its file was found in this refresh */
	bool missing;		    /* it was looked for and not found */
	bool held;		    /* missing, but the guard keeps the news back */
	bool kept_back;		    /* and has before, so the map says: until it is seen again */
	bool check;		    /* another file has its name now: is the content the same? */
	bool taken;		    /* by a name of the listing under way */
	bool put_back;		    /* by another store, which did not see it go */
	bool damaged;		    /* cut short: left alone */
	struct stamp dead, dead_at; /* missing and told so */
	struct guid via;
	struct stamp via_seen;

	uint64_t ino, size;
	int64_t mtime_ns;
	struct digest digest;
	bool dirty;	      /* the map does not say this yet */
	bool queued;	      /* an op is waiting */
	struct md_file *next; /* copies of the same message */
	UT_hash_handle hb;    /* in box->files, by key */
};

struct md_message {
	struct guid guid;
	struct md_file *files; /* owned */
	UT_hash_handle hh;
};

/* Of one mailbox in the file of subscriptions. */
struct md_subs {
	bool subscribed; /* as the file says, or is to say */
	struct stamp at; /* not none: that is news, the local side has not taken it yet */
	char *line;	 /* owned: directory that its line names; NULL: it has none */
	bool out;    /* the file is to be made to say so, with the name of the mailbox by then */
	bool was;    /* out: when it cannot be */
	bool fresh;  /* made in this session: a line of that name is another one's */
	bool stored; /* the map has an entry */
	bool dirty;
};

/* Of a mailbox that went by our doing, to be taken out.  Until then the map has its entry. */
struct md_dead_line {
	struct guid mailbox;
	char *line; /* owned */
};

struct md_box {
	struct guid guid;
	char *dir; /* owned: relative to the root, "" = INBOX; NULL: it has none */
	uint64_t ino;
	int64_t times[4];  /* of cur and new when they were last compared; zeros: compare */
	int64_t looked[4]; /* the same as seen in this refresh, at looked_ns */
	int64_t looked_ns;
	struct listing *listing; /* owned: names read, not matched yet; NULL: none */
	bool unread;		 /* it cannot be read now */
	bool anew;		 /* to be read again: it changed in the tick in which it was read */
	bool tick_passed;	 /* it was, a tick later, and had not changed */
	bool structural;
	bool bare;	       /* structural, and no mailbox is beneath it; for a moment only */
	bool agreed;	       /* the local side has it as it is named here */
	bool intent;	       /* as loaded: an intent, in or out */
	struct stamp named_at; /* of its name */
	bool gone;	       /* its directory is missing */
	bool linked;	       /* gone: there is a symbolic link in its place */
	bool held;
	bool found;	/* directory seen in this refresh */
	bool compare;	/* its files are to be listed */
	bool young;	/* and looked at: no times were noted when they last were */
	bool named;	/* names of its files are known */
	bool misplaced; /* its directory has a name that only we gave, for a while */
	bool wanted;	/* its directory is to be where its node says */
	bool stuck;	/* its directory cannot be moved or made, for now */
	bool unmade;	/* its directory is still to be made */
	bool moved;	/* by the plan that settle.c makes */
	int renames;	/* of its own directory, in that plan */
	bool dirty;
	bool stale_times; /* nor the times: they are written along with something else */
	bool touched;	  /* changed by us since the last commit */
	bool tmp_cleaned;
	bool letters_read;
	char *letters[LETTERS]; /* owned: keyword of each letter, from dovecot-keywords */
	struct md_subs subs;
	struct md_file *files; /* hash by key; the messages own them */
	UT_hash_handle hh;
};

enum md_op_kind { OP_ARRIVE, OP_CHANGE, OP_EXPUNGE };

struct md_op {
	enum md_op_kind kind;
	struct md_file *file;
	struct md_box *to;
	char *name; /* owned: final file name */
	char *tmp;  /* owned: name in to/tmp, of an arrival */
	bool in_new;
	struct stamp placed_at;
};

struct maildir {
	struct backend base;	  /* first */
	char *path, *destination; /* owned */
	enum layout layout;
	struct backend *local; /* borrowed */
	uint64_t local_replica, replica;
	bool registered;  /* the local side has a sync state with our id */
	int root;	  /* fd, -1 = not open */
	int held_fd;	  /* the root again, locked for a session; -1 = not held */
	struct tree tree; /* owned: nodes of boxes */
	struct md_box *boxes;
	struct md_message *messages;
	struct md_file *
		*fresh; /* owned; files without an entry, during a refresh; not owned: the files
				   are freed or become messages */
	size_t n_fresh, cap_fresh;
	struct peer_entry *gone; /* owned: entries to take out of the map */
	size_t n_gone, cap_gone;
	struct md_op *ops; /* owned */
	size_t n_ops, cap_ops;
	uint64_t held, listed;
	bool scan_error;     /* this refresh judges no absence */
	bool restless;	     /* nor this one: programs rename in the tree all the time */
	int unread;	     /* why, when it is not only a race */
	bool must_write;     /* the map has to be written before the news is told */
	bool allow, guarded; /* guarded: the whole root is doubtful */
	bool many, unsynced;
	bool unsettled; /* some directory is not where its node says */
	bool astray;	/* and perhaps will not be, at the end of this session */
	int broken;	/* nobody can tell what is where: nothing is put until the next refresh */
	struct peer_entry *lines; /* owned; the intent of directory renames (intent.h) */
	size_t n_lines, cap_lines;
	struct md_dead_line *dead_lines; /* owned */
	size_t n_dead_lines, cap_dead_lines;
	bool subs_due;	/* the file of subscriptions may have to be written */
	bool subs_told; /* why it cannot be was said */
	int deferred;	/* first error of an op that was answered already */
	uint64_t token; /* of this backend, in names under tmp/ */
	int inotify;
	/* what changed at the local side since the last agreement */
	bool local_asked, local_told;
	struct change_set local_news;
};

static inline struct maildir *maildir_of(struct backend *b)
{
	return (struct maildir *)b;
}

/* hold.c: this session is the only one with this Maildir.  0 also where it cannot be told; MB_E_LOCKED. */
int md_hold(struct maildir *m);
void md_let_go(struct maildir *m);

/* map.c */
int md_load(struct maildir *m);
void md_unload(struct maildir *m);
/* map-write.c */
int md_write(struct maildir *m); /* everything that is dirty; nothing to do: nothing is written */
/* Writes the entries of `files` as intents out, durable when it returns. */
int md_write_intents(struct maildir *m, const struct md_op *ops, size_t n);
/* One batch of entries to the local store: begin, entries, end with the first error. */
int md_batch_begin(struct maildir *m);
int md_batch_entry(struct maildir *m, struct peer_entry *e);
int md_batch_boxes(struct maildir *m); /* those that are dirty */
int md_batch_end(struct maildir *m, int err);

struct md_box *md_box_find(struct maildir *m, const struct guid *g);
struct md_box *md_box_at(struct maildir *m, const char *dir); /* a live one */
struct md_box *md_box_add(struct maildir *m, const struct guid *g);
void md_box_drop(struct maildir *m, struct md_box *box); /* and its entry */
/* A mere name that no mailbox is beneath any more is nothing here: or else those above it would be made
 * anew, as other ones, when their directories go.  Nodes are named as the map says. */
void md_drop_bare_names(struct maildir *m);
struct mailbox *md_node(struct maildir *m, const struct md_box *box);
struct md_file *md_find(struct maildir *m, const struct guid *g, uint64_t id);
/* Makes the file one of its message and of its box. */
void md_file_add(struct maildir *m, struct md_file *f);
void md_file_drop(struct maildir *m, struct md_file *f); /* and its entries */
void md_file_free(struct md_file *f);
void md_file_move(struct md_file *f, struct md_box *to, const char *name);
void md_file_rekey(struct maildir *m, struct md_file *f, const struct guid *g, uint64_t id);
void md_entry_gone(struct maildir *m, const struct guid *mailbox, const struct guid *g,
		   uint64_t id);
/* The part of a file name that names the message in its folder, owned. */
char *md_key(const char *name);
struct stamp md_now(struct maildir *m);
bool md_is_news(const struct md_file *f);
bool md_differs(const struct md_file *f); /* from what is agreed, were it there */

/* mark.c: the identity of a file, for other stores that have this Maildir too. */
struct md_mark {
	struct guid guid;
	uint64_t id;
	struct stamp placed_at;
	bool own;   /* written by this store */
	bool moved; /* the file is not in the directory that it was in */
};
/* Notes it, and since when it is where it is.  Where that cannot be, nothing happens. */
void md_mark_fd(const struct maildir *m, const struct md_file *f, const struct stamp *placed_at,
		int fd);
void md_mark(struct maildir *m, struct md_file *f);
/* What is noted in a file, whoever did it; false when nothing is, or it is of another file. */
bool md_mark_read(struct maildir *m, struct md_file *f, struct md_mark *ret);
/* What another store noted of a file that is new here, as the local side calls it, with a stamp that is
 * not later than now; false also when the local side knows other content by that name.  May read the
 * file. */
bool md_mark_recall(struct maildir *m, struct md_file *f, struct md_mark *ret);
/* The message of the map that is missing and that another store put anew under another name, or NULL. */
struct md_file *md_mark_find(struct maildir *m, struct md_file *here);
/* `f` has another inode than it had: it went, and another store, which has the message from elsewhere and
 * never saw it here, put it anew.  What it noted says nothing that was not known before it went. */
bool md_mark_is_put_back(struct maildir *m, struct md_file *f);

/* confirm.c: is what we told of it known to the local side by now?  Then it is agreed. */
int md_confirm(struct maildir *m, struct md_file *f);
int md_confirm_all(struct maildir *m);

/* scan.c */
int md_open_root(struct maildir *m, bool *ret_empty);
int md_scan(struct maildir *m, bool full);
int md_names(struct maildir *m, struct md_box *box); /* file names of a box that was not compared */
int md_stat_file(struct maildir *m, struct md_file *f, struct stat *ret);
int md_open_file(struct maildir *m, struct md_file *f); /* fd; looks its name up when it must */
int md_digest_file(struct maildir *m, struct md_file *f, struct digest *ret);
char *md_file_path(struct maildir *m, struct md_file *f, int *err);		/* owned */
char *md_sub_path(const struct md_box *box, const char *sub, const char *name); /* owned */
void md_set_name(struct md_file *f, const char *name, bool in_new);
void md_listing_free(struct md_box *box);
void md_let_off(struct maildir *m, struct md_file *f); /* a file that was held is seen again */

/* judge.c */
int md_judge(struct maildir *m);
/* This refresh judges no absence: something could not be read, or never came to rest. */
static inline bool md_judges_none(const struct maildir *m)
{
	return m->scan_error || m->restless;
}
/* guard.c: the n files of one box are missing; `most`: of the whole tree. Holds it back those of them that
 * it did not hold before? */
bool md_guard_holds(const struct maildir *m, struct md_file *const *files, size_t n, bool most);
bool md_most_is_gone(const struct maildir *m, struct md_file *const *files, size_t n);
void md_hold_back(struct maildir *m, struct md_file *f);
void md_guard_root(struct maildir *m); /* the root is empty: holds all */

/* state.c */
int md_tree(struct backend *b, struct tree *ret);
int md_message_verb(struct backend *b, const struct guid *guid, struct message *ret);
int md_changes(struct backend *b, const struct position *since, uint64_t except,
	       struct change_set *ret);
int md_each_message(struct backend *b, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg);

/* keywords.c */
void md_letters_read(struct maildir *m, struct md_box *box);
void md_letters_release(struct md_box *box);
/* Letters that these keywords have in `to`: known names as wanted, others as `old` has them. */
uint32_t md_letters(struct maildir *m, struct md_box *to, const struct flags *want, uint32_t old);

/* put.c; queued */
int md_put_copy(struct maildir *m, const struct record *want, int body);
int md_put_alias(struct maildir *m, const struct record *want);
/* ops.c */
/* A new file of ours in the box's tmp; what cut sessions left there goes.  Returns its fd, the directory's in
 * *ret_dir, which the caller closes, and its name, owned. */
int md_tmp_create(struct maildir *m, struct md_box *box, int *ret_dir, char **ret_name);
/* Replaces nothing: -EEXIST. */
int md_rename_new(int from_dir, const char *from, int to_dir, const char *to);
int md_flush(struct maildir *m); /* does what is queued */
int md_commit(struct maildir *m);

/* box.c */
int md_put_mailbox(struct maildir *m, const struct record *want);

/* subs.c: the file of subscriptions, see there */
int md_subs_look(struct maildir *m); /* at the file: what differs from the map is news */
int md_subs_read(struct maildir *m, struct subscriptions *ret); /* -ENOENT: there is none */
void md_subs_fill(struct maildir *m, const struct md_box *box); /* its node */
void md_subs_confirm(struct maildir *m, const struct tree *local);
/* The local side wants it so; the file follows at commit.  1: it was not. */
int md_subs_put(struct maildir *m, struct md_box *box, bool subscribed);
void md_subs_moved(struct maildir *m, struct md_box *box); /* by us: its line is to follow */
void md_subs_take(struct maildir *m, struct md_box *from, struct md_box *to); /* they become one */
void md_subs_unlist(struct maildir *m,
		    struct md_box *box); /* it goes by our doing, its line as well */
void md_subs_load(struct maildir *m, struct md_box *box, const struct peer_entry *e);
int md_subs_batch(struct maildir *m, struct md_box *box); /* its entry, when that is dirty */
bool md_subs_is_entry(const struct peer_entry *e);
bool md_subs_is_empty(const struct md_subs *s); /* and needs no entry */
void md_subs_release(struct maildir *m);	/* what is not of one mailbox */
/* subs-write.c: what is due.  MB_E_STALE: the file could not be written, and was told; what was put is
 * taken back, to be put again. */
int md_subs_write(struct maildir *m);

/* settle.c */
/* Directories follow the tree; `force`: who is in the way gives way. An error: see m->broken.  What
 * went wrong with one mailbox is in m->deferred. */
int md_settle(struct maildir *m, bool force);
/* The directory that its node gives a mailbox; the error of a name that has none. */
int md_wanted_dir(struct maildir *m, const struct md_box *box, struct buf *out);
/* It, or a parent, was to be moved and is not where it is wanted: its path is not its name. */
bool md_box_waits(struct maildir *m, const struct md_box *box);
void md_mark_waiting(struct maildir *m); /* those are to be written so */
bool md_is_aside(const char *dir);	 /* a name that move_aside() gave */

/* dir.c */
bool md_dir_is_mailbox(struct maildir *m, const char *dir); /* it has cur */
int md_box_make(struct maildir *m, const char *dir);	    /* cur, new, tmp */
/* The reverse, and the directory when nothing else is in it.  MB_E_STALE: there is mail. */
int md_box_clear(struct maildir *m, const char *dir);
/* Replaces nothing but directories that are only names (at_is_names()); makes the parent of `to`.  Durable after md_dir_renamed(). */
int md_dir_rename(struct maildir *m, const char *from, const char *to);
int md_dir_renamed(struct maildir *m, const char *from, const char *to);

#endif
