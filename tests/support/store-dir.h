/*
 * store-dir.h - what the tests of the store share: a store in a scratch directory, programs that
 * deliver and change files behind its back, stops at any durable step.  Everything fails the test
 * when it fails.
 */
#ifndef MB_TESTS_SUPPORT_STORE_DIR_H
#define MB_TESTS_SUPPORT_STORE_DIR_H

#include "backends/store/store.h"
#include <stdlib.h>

struct store_dir {
	char path[64];		/* a directory of our own */
	char dir[80], mail[96]; /* the store in it, and its tree */
	int fd, mail_fd;	/* of path and mail */
	struct store *s;	/* open for writing; NULL while closed */
	struct origin me;	/* a local program */
};

int store_dir_setup(void **state); /* cmocka: *state becomes a struct store_dir; maildir++ */
int store_dir_setup_fs(void **state);
int store_dir_teardown(void **state);
void store_dir_close(struct store_dir *d);
void store_dir_open(struct store_dir *d); /* scans what changed */
void store_dir_reopen(struct store_dir *d);
void store_dir_rescan(struct store_dir *d, struct scan_report *ret); /* while it is open */
/* fn runs in a process that opens the store and is killed when fn is done: what it had in memory is
 * gone, what it wrote is there.  The store is closed afterwards. */
void store_dir_kill(struct store_dir *d, int (*fn)(struct store_dir *d));
/* The same, killed before its n-th durable step (from 1) after the opening.  false when fn came to
 * its end before that. */
bool store_dir_kill_at(struct store_dir *d, int n, int (*fn)(struct store_dir *d));
/* The opening itself is killed before its n-th durable step.  false when it was done before. */
bool store_dir_kill_open_at(struct store_dir *d, int n);
/* The n-th durable step of fn fails with -err; what fn returned.  *ret_hit: it came so far. */
int store_dir_fail_at(struct store_dir *d, int n, int err, int (*fn)(struct store_dir *d),
		      bool *ret_hit);
void store_dir_power_cut(struct store_dir *d);	   /* state says: not clean, in another boot */
void store_dir_save_index(struct store_dir *d);	   /* a copy of it, beside the store */
void store_dir_restore_index(struct store_dir *d); /* the store is closed */
void store_dir_drop(struct store_dir *d, const char *name); /* "index": of a closed store */

/* Programs.  Paths are relative to the mail tree; `box` is a mailbox directory, "" = INBOX. */
void outside_write(struct store_dir *d, const char *path, const char *text);
void outside_rename(struct store_dir *d, const char *from, const char *to);
void outside_link(struct store_dir *d, const char *from, const char *to);
void outside_unlink(struct store_dir *d, const char *path);
void outside_mkdir(struct store_dir *d, const char *path);
void outside_mailbox(struct store_dir *d, const char *dir); /* with cur, new and tmp */
void outside_remove(struct store_dir *d, const char *path); /* rm -r */
/* Through the store, as the mount would: tmp/NAME written, renamed to new/NAME. */
void store_deliver(struct store_dir *d, const char *box, const char *name, const char *text);
void store_make_box(struct store_dir *d, const char *dir); /* mkdir of DIR and its three */
int store_move(struct store_dir *d, const char *from, const char *to); /* rename */

bool tree_has(struct store_dir *d, const char *path);
char *tree_text(struct store_dir *d, const char *path); /* owned; contents */
#define assert_text(d, path, expected)                                                             \
	do {                                                                                       \
		char *text_ = tree_text(d, path);                                                  \
		assert_string_equal(text_, expected);                                              \
		free(text_);                                                                       \
	} while (0)
int deleted_count(struct store_dir *d); /* bodies in deleted/, damaged ones too */
int staging_count(struct store_dir *d);

/* Live copies as sorted lines "NAME/cur/FILE", " lost" behind it when the body is not there, " damaged" when it is not what
 * was stored. Owned. */
char *store_list(struct store_dir *d);
#define assert_list(d, expected)                                                                   \
	do {                                                                                       \
		char *list_ = store_list(d);                                                       \
		assert_string_equal(list_, expected);                                              \
		free(list_);                                                                       \
	} while (0)
/* Every live copy has its file with the right size, every message file its one copy. */
void store_consistent(struct store_dir *d);
char *store_dump(struct store_dir *d);		/* index_dump(); owned */
uint64_t log_records(struct store_dir *d);	/* how many the log has */
enum record_type log_last(struct store_dir *d); /* type of the last one */

/* The live copy whose file has this name; fails when there is none. */
void store_find(struct store_dir *d, const char *name, struct entry *ret);
struct guid store_guid(struct store_dir *d, const char *name); /* of that copy */
uint32_t store_uid(struct store_dir *d, const char *name);     /* likewise */
/* INBOX gets this dovecot-uidlist, as Dovecot replaces it: another file, renamed. */
void store_write_uidlist(struct store_dir *d, const char *text);
struct guid store_box(struct store_dir *d, const char *name); /* a live mailbox by its name */
void store_get_box(struct store_dir *d, const char *name, struct mailbox *ret);
bool store_has_box(struct store_dir *d, const char *name);

/* A peer: its states, as a sync would bring them.  Release what they fill. */
struct stamp peer_stamp(int minutes); /* that much after the test began */
void peer_copy(struct record *r, const struct guid *guid, const struct guid *mailbox,
	       const char *text); /* new, with a body of this size, base "peer.N" */
void peer_mailbox(struct record *r, const struct guid *guid, const char *part);
void peer_stage(struct store_dir *d, const char *name, const char *text); /* into staging/ */
/* Puts copy 0 of `guid` as it is here, changed by fn.  What store_put() gave. */
int peer_change(struct store_dir *d, const struct guid *guid, void (*fn)(struct copy *c));

/* Time goes on: what was written is no longer young.  Until the teardown. */
void time_passes(int seconds);

#endif
