/*
 * dotlock.c - locks as Dovecot's, on files in the mail tree.
 *
 * A lock of ours is a hard link of STORE/dotlock, which says whose it is in Dovecot's form.  So it
 * is made whole in one step, Dovecot sees at once when its process is dead, and the next writer of
 * this store knows it by its inode, whatever became of process ids since.
 *
 * Who waited for a lock in vain waits no more for the same one while it stays taken: a program that
 * keeps it would else cost that wait with each message.  That is remembered by the process, for a
 * session opens its store several times.
 */
#include "backends/store/dovecot.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/base/pidlock.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OWN_FILE "dotlock"
#define LOCK_SUFFIX ".lock"
#define BUSY_MAX 256
#define BUSY_NS 30000000000ll

/* ---- locks that others keep ---- */

struct busy {
	uint64_t dev, ino; /* of the mail tree */
	char *path;	   /* owned; of the lock; NULL: unused */
	int64_t tried_ns;
};

static struct busy busy[BUSY_MAX];
static pthread_mutex_t busy_lock = PTHREAD_MUTEX_INITIALIZER;

/* The note of this lock, or NULL. */
static struct busy *busy_find(const struct stat *tree, const char *lock)
{
	for (size_t i = 0; i < BUSY_MAX; i++) {
		struct busy *b = &busy[i];

		if (b->path && b->dev == tree->st_dev && b->ino == tree->st_ino &&
		    strcmp(b->path, lock) == 0)
			return b;
	}
	return NULL;
}

/* A free place, or that of the one that was tried longest ago. */
static struct busy *busy_place(void)
{
	struct busy *oldest = &busy[0];

	for (size_t i = 0; i < BUSY_MAX && oldest->path; i++)
		if (!busy[i].path || busy[i].tried_ns < oldest->tried_ns)
			oldest = &busy[i];
	return oldest;
}

/* Was it waited for, and not got since? */
static bool busy_is_known(struct store *s, const char *lock)
{
	struct stat tree;
	struct busy *b;
	bool known;

	if (fstat(s->mail_fd, &tree) < 0)
		return false;
	pthread_mutex_lock(&busy_lock);
	b = busy_find(&tree, lock);
	known = b && clock_mono_ns() - b->tried_ns < BUSY_NS;
	pthread_mutex_unlock(&busy_lock);
	return known;
}

static void busy_note(struct store *s, const char *lock, bool is_busy)
{
	struct stat tree;
	struct busy *b;

	if (fstat(s->mail_fd, &tree) < 0)
		return;
	pthread_mutex_lock(&busy_lock);
	b = busy_find(&tree, lock);
	if (is_busy && !b) {
		b = busy_place();
		free(b->path);
		*b = (struct busy){tree.st_dev, tree.st_ino, mb_xstrdup(lock), 0};
	}
	if (is_busy)
		b->tried_ns = clock_mono_ns();
	else if (b)
		free(MB_TAKE(b->path));
	pthread_mutex_unlock(&busy_lock);
}

/* ---- marks ---- */

int file_mark_of(struct store *s, const char *path, struct file_mark *ret)
{
	return file_mark_at(s->mail_fd, path, ret);
}

int file_mark_at(int dir, const char *path, struct file_mark *ret)
{
	struct stat st;
	int err = at_stat(dir, path, &st);

	*ret = (struct file_mark){0};
	if (err < 0)
		return err;
	*ret = (struct file_mark){
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = clock_timespec_ns(&st.st_mtim),
		.ctime_ns = clock_timespec_ns(&st.st_ctim),
	};
	return 0;
}

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->ino && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

/* ---- whose it is ---- */

/* STORE/dotlock, made once by each writer. */
static int make_own_file(struct store *s)
{
	char text[PIDLOCK_TEXT_MAX];
	struct stat st;
	int err;

	if (s->has_dotlock && at_stat(s->dir_fd, OWN_FILE, &st) == 0)
		return 0;
	pidlock_text(text);
	err = io_replace_file(s->dir_fd, OWN_FILE, text, strlen(text), 0600);
	if (err >= 0)
		err = file_give(s, s->dir_fd, OWN_FILE);
	if (err >= 0)
		s->has_dotlock = true;
	return err;
}

/* Dovecot takes an old lock for a dead one. */
static void refresh_own_file(struct store *s)
{
	struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};

	utimensat(s->dir_fd, OWN_FILE, now, AT_SYMLINK_NOFOLLOW);
}

static int link_own_file(struct store *s, const char *path)
{
	MB_AUTO_CLOSE int dir = -1;
	const char *name;
	int err;

	dir = at_open_parent(s->mail_fd, path, &name);
	if (dir < 0)
		return dir;
	err = io_linkat(s->dir_fd, OWN_FILE, dir, name);
	if (err == -EEXIST && pidlock_clear_dead(dir, name, false))
		err = io_linkat(s->dir_fd, OWN_FILE, dir, name);
	return err;
}

/* A mount's kernel may think that there is no such file, or that there is one. */
static void tell(struct store *s, int what, const char *path, bool locked)
{
	if (!locked)
		store_lock(s);
	change_event(s, what, path, NULL, false);
	if (!locked)
		store_unlock(s);
}

int dotlock_take(struct store *s, const char *path, int wait_ms, bool inner, struct dotlock *ret)
{
	MB_AUTO_FREE char *lock = mb_xasprintf("%s" LOCK_SUFFIX, path);
	int64_t until = clock_mono_ns() + (int64_t)wait_ms * 1000000;
	struct timespec pause = {.tv_nsec = PIDLOCK_RETRY_NS};
	int err = make_own_file(s);

	*ret = (struct dotlock){0};
	if (err < 0)
		return err;
	refresh_own_file(s);
	if (!inner && busy_is_known(s, lock))
		until = 0;
	while ((err = link_own_file(s, lock)) == -EEXIST) {
		if (inner)
			return -EBUSY;
		if (clock_mono_ns() >= until) {
			if (wait_ms > 0)
				busy_note(s, lock, true);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
		refresh_own_file(s);
	}
	if (err < 0)
		return err;
	busy_note(s, lock, false);
	ret->path = MB_TAKE(lock);
	ret->inner = inner;
	tell(s, EVENT_ADDED, ret->path, ret->inner);
	return 0;
}

void dotlock_drop(struct store *s, struct dotlock *l)
{
	MB_AUTO_CLOSE int dir = -1;
	struct stat own, st;
	const char *name;

	if (!l->path)
		return;
	dir = at_open_parent(s->mail_fd, l->path, &name);
	/* who thought it dead may have another there by now */
	if (dir >= 0 && at_stat(dir, name, &st) == 0 && at_stat(s->dir_fd, OWN_FILE, &own) == 0 &&
	    st.st_ino == own.st_ino)
		io_unlinkat(dir, name, 0);
	tell(s, EVENT_REMOVED, l->path, l->inner);
	free(l->path);
	*l = (struct dotlock){0};
}

/* ---- after a stop ---- */

static void clear_own(struct store *s, const char *dir, const char *name, uint64_t ino)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, name);
	MB_AUTO_CLOSE int parent = -1;
	const char *last;
	struct stat st;

	parent = at_open_parent(s->mail_fd, path, &last);
	if (parent < 0 || at_stat(parent, last, &st) < 0 || st.st_ino != ino)
		return;
	mb_msg(MB_INFO, "a lock of our own was left behind: taken away path=%s", path);
	io_unlinkat(parent, last, 0);
}

int dotlocks_clear(struct store *s)
{
	struct index_txn *tx;
	struct tree t = {0};
	struct stat own;
	int err = at_stat(s->dir_fd, OWN_FILE, &own);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	if (own.st_nlink > 1) {
		err = index_begin(s->index, false, &tx);
		if (err < 0)
			return err;
		err = index_tree(tx, &t);
		for (size_t i = 0; i < t.n; i++) {
			MB_AUTO_FREE char *dir = NULL;

			if (mailbox_dir(tx, &t.nodes[i].guid, &dir) < 0)
				continue;
			clear_own(s, dir, UIDLIST_NAME LOCK_SUFFIX, own.st_ino);
			clear_own(s, dir, KEYWORDS_NAME LOCK_SUFFIX, own.st_ino);
			clear_own(s, dir, SUBSCRIPTIONS_NAME LOCK_SUFFIX, own.st_ino);
		}
		index_abort(tx);
		tree_release(&t);
	}
	return err < 0 ? err : io_unlinkat(s->dir_fd, OWN_FILE, 0);
}

/* ---- files ---- */

static int write_staged(struct store *s, const char *temp, mode_t mode, const void *data,
			size_t len)
{
	MB_AUTO_CLOSE int fd = io_create_at(s->staging_fd, temp, O_WRONLY, 0600);
	int err = fd < 0 ? fd : io_write_all(fd, data, len);

	if (err >= 0 && fchmod(fd, mode & 0777) < 0)
		err = -errno;
	if (err >= 0)
		err = io_fsync(fd);
	return err < 0 ? err : file_give(s, s->staging_fd, temp);
}

static int open_dir_of(struct store *s, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	MB_AUTO_FREE char *dir = mb_xstrndup(path, slash ? (size_t)(slash - path) : 0);

	*ret_name = slash ? slash + 1 : path;
	return at_open(s->mail_fd, dir, O_RDONLY | O_DIRECTORY, 0);
}

int dovecot_file_replace(struct store *s, const char *path, const void *data, size_t len)
{
	MB_AUTO_FREE char *temp = mb_xasprintf("dovecot-%016llx", (unsigned long long)random_u64());
	MB_AUTO_CLOSE int dir = -1;
	const char *name;
	struct stat st;
	int err;

	dir = open_dir_of(s, path, &name);
	if (dir < 0)
		return dir;
	err = at_stat(dir, name, &st);
	if (err < 0 && err != -ENOENT)
		return err;
	err = write_staged(s, temp, err < 0 ? 0600 : st.st_mode, data, len);
	if (err >= 0)
		err = io_renameat(s->staging_fd, temp, dir, name);
	if (err < 0) {
		unlinkat(s->staging_fd, temp, 0); /* tidiness, no durable step */
		return err;
	}
	change_event(s, EVENT_CHANGED, path, NULL, false);
	return io_fsync(dir);
}
