/*
 * scan-private.h - shared by the files of the scan: scan.c (order of work), scan-tree.c (mailbox
 * directories), scan-steady.c (reading what moves),
 * scan-match.c (files against entries), scan-judge.c (what a difference means).
 */
#ifndef MB_STORE_SCAN_PRIVATE_H
#define MB_STORE_SCAN_PRIVATE_H

#include "backends/store/dovecot.h"

struct scan_file {
	char *name; /* owned */
	bool in_new;
	uint64_t ino;
	bool matched;
	struct guid guid; /* of the entry that it was matched with by name, and its copy id */
	uint64_t id;
};

struct scan_box {
	struct guid guid;
	char *dir;			     /* owned; as on disk */
	uint32_t n_live;		     /* in the index */
	struct dir_stamp cur, new_, self;    /* as stat() said before reading */
	struct dir_stamp tick_cur, tick_new; /* when a tick was waited for; zeros: it was not */
	struct file_mark list;		     /* dovecot-uidlist, zeros without */
	int64_t looked_ns;		     /* when stat() said so */
	uint64_t ino;	   /* at_identity() of its directory when it was last read */
	uint64_t seen_ino; /* and now; 0: it has not changed, or was not looked at */
	bool replaced;	   /* gone, and another mailbox was renamed to its place */
	bool gone;	   /* its directory, or its cur/ and new/, are not there */
	bool vanished; /* gone, and that means deleted, once its mail was looked for elsewhere */
	bool away;     /* it was there, and went while the tree was read: renamed, not deleted */
	bool changed;  /* other times than noted: to be read */
	bool listed;   /* dovecot-uidlist is not the one that the index knows */
	bool was_read;
	bool held;		 /* the guard holds expunges back: not noted as in step */
	struct scan_file *files; /* owned */
	size_t n_files, cap_files;
};

struct scan_dir {  /* a mailbox directory that no live mailbox of the index has */
	char *dir; /* owned */
	uint64_t ino;
	bool taken;
};

struct scan_walked { /* a directory that was listed for mailboxes */
	char *dir;   /* owned */
	struct dir_stamp at;
	int64_t looked_ns;
};

struct scan_missing {
	struct entry e; /* owned */
	size_t box;
	bool found;
	bool was_held; /* missing since before the last scan: see held.c */
	bool replaced; /* known to be gone: no file is taken for it */
};

struct scan_known {
	uint64_t ino, size;
	int64_t mtime_ns;
};

struct scan {
	struct store *s;
	struct index_txn *tx;
	struct posix_call call;
	struct origin origin;
	struct scan_report *report;
	bool full;
	bool lists;		 /* uidlists_may_be() */
	bool subscriptions;	 /* the file was replaced */
	struct scan_twin *twins; /* owned; scan-twin.c */
	bool has_twins;
	bool names_follow;	  /* all directories were seen, and the names say so */
	bool steady;		  /* nothing moved while it was read: absence may be judged */
	bool waits;		  /* a file is still written */
	bool restless;		  /* directories of mailboxes moved meanwhile: it begins anew */
	struct scan_known *known; /* owned: files of all messages; only of an unsteady tree */
	size_t n_known, cap_known;
	/* The directory whose files are looked at now, so that each costs one call. */
	const struct scan_box *at_box;
	bool at_new;
	int at_fd;
	int64_t now_ns;
	struct scan_box *boxes;
	size_t n_boxes, cap_boxes;
	struct scan_dir *dirs;
	size_t n_dirs, cap_dirs;
	struct scan_walked *walked; /* owned */
	size_t n_walked, cap_walked;
	char **strays; /* owned: folders whose names cannot be those of mailboxes, not yet told */
	size_t n_strays, cap_strays;
	struct scan_missing *missing;
	size_t n_missing, cap_missing;
	struct held held; /* owned; so far */
};

/* `path` could not be looked at: no absence is judged.  A place that cannot be read is told, once until a
 * scan could read everything; one that is not there (-ENOENT) was renamed meanwhile. */
void scan_error(struct scan *sc, const char *path, int err);
bool scan_is_young(const struct scan *sc, const struct dir_stamp *d); /* it may change unseen */
int scan_tree(struct scan *sc); /* boxes and dirs; renames, creations, deletions of mailboxes */
void scan_add_dir(struct scan *sc, const char *dir); /* one that no mailbox has */
int scan_moved_dirs(struct scan *sc);		     /* renames, swaps, rotations; names follow */
/* A mailbox is not where it was, and nowhere else: sets sc->restless when directories changed while
 * they were listed, so that it may have been missed.  Waits for a tick of the clock. */
void scan_look_again(struct scan *sc);
int renames_note(struct scan *sc); /* durably, before the first record of these */
int scan_judge_boxes(struct scan *sc);
int scan_stat_box(struct scan *sc, struct scan_box *b);
/* stat of a file that was listed in cur or new of b. */
int scan_stat_file(struct scan *sc, const struct scan_box *b, bool in_new, const char *name,
		   struct stat *ret);
void scan_leave_dir(struct scan *sc);
int scan_read_box(struct scan *sc, struct scan_box *b);
void scan_forget_files(struct scan_box *b);
int scan_match_box(struct scan *sc,
		   size_t box); /* exact and by unique part; rest: missing, found */
/* Reads and matches what changed until nothing moves meanwhile; sets sc->steady. */
int scan_read_steadily(struct scan *sc);
/* 1 when a file that matches nothing is a new message for sure. */
int scan_may_arrive(struct scan *sc, const struct stat *st);
int scan_match_across(struct scan *sc);	 /* moves, hard links, arrivals */
int scan_judge_missing(struct scan *sc); /* expunged, held, lost */
int scan_check_content(struct scan *sc, size_t box, struct entry *e);
enum scan_twin_kind {
	TWIN_NONE, /* no message has this inode */
	TWIN_COPY, /* one has, under another name or elsewhere */
	TWIN_SAME, /* one of this mailbox and name has: a program stopped between link and unlink */
};
/* What is a new file with this inode?  Gives the message's GUID.  A kind, or an error. */
int scan_twin_find(struct scan *sc, const struct guid *mailbox, const char *name, uint64_t ino,
		   struct guid *ret);
int scan_twin_add(struct scan *sc, const struct guid *mailbox, const char *name, bool in_new);
void scan_twins_release(struct scan *sc);

/* The body of e went to deleted/ and another file has its name: a rename over it was not logged. */
bool scan_was_replaced(struct scan *sc, const struct entry *e);
int scan_mark_lost(struct scan *sc, struct entry *e);
bool scan_stat_dir(int root, const char *path, struct dir_stamp *ret, int *ret_err);
bool scan_stamp_equal(const struct dir_stamp *a, const struct dir_stamp *b);

#endif
