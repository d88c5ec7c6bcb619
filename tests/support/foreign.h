/*
 * foreign.h - a foreign Maildir on disk and a local replica in memory, for tests of backends/maildir.
 */
#ifndef MB_TESTS_FOREIGN_H
#define MB_TESTS_FOREIGN_H

#include "backends/mail/layout.h"
#include "backends/memory.h"
#include "sync/session.h"
#include "tests/support/tmp-dir.h"

struct foreign {
	struct tmp_dir *dir;
	char path[96]; /* of the Maildir */
	enum layout layout;
	struct backend *local; /* in memory */
	struct session_result last;
	bool allow; /* allow_mass_expunge of the next syncs */
	bool full;
	int stop_after; /* the next session ends before this many items are put; 0 = never */
};

/* For cmocka: *state becomes a struct foreign with an empty Maildir, INBOX only. */
int foreign_setup(void **state);
int foreign_setup_fs(void **state); /* LAYOUT=fs */
int foreign_teardown(void **state);

/* One session with a new backend; what session_run() said. */
int foreign_try(struct foreign *f);
/* Sessions until stable; fails the test on an error, and unless one more changes nothing. */
void foreign_sync(struct foreign *f);

/* ---- in the Maildir; paths are relative to it ---- */
void foreign_write(struct foreign *f, const char *path, const char *text);
void foreign_rename(struct foreign *f, const char *from, const char *to);
void foreign_unlink(struct foreign *f, const char *path);
void foreign_mkdir(struct foreign *f, const char *dir); /* with cur, new, tmp; "" = the root */
void foreign_rmdir(struct foreign *f, const char *dir); /* the whole tree */
bool foreign_exists(struct foreign *f, const char *path);
/* Messages in cur and new of `dir`. */
size_t foreign_count(struct foreign *f, const char *dir);
/* Whole name of the only file in `dir`/cur or new whose body is `text`, as "cur/NAME"; NULL when there
 * is none; fails the test when there are several.  Owned. */
char *foreign_find(struct foreign *f, const char *dir, const char *text);
/* Letters after ":2," of that file; "" without. Fails when it is not there.  Owned. */
char *foreign_letters(struct foreign *f, const char *dir, const char *text);
/* Files left in any tmp. */
size_t foreign_tmp(struct foreign *f, const char *dir);

/* ---- at the local side ---- */
struct guid local_deliver(struct foreign *f, struct guid box, const char *text);
/* The only live copy with this body; fails when there is none, or several. */
const struct copy *local_find(struct foreign *f, const char *text);
size_t local_live(struct foreign *f);			    /* live copies */
struct guid local_box(struct foreign *f, const char *name); /* "A/B"; zero when there is none */

#endif
