/*
 * path.c - from a node to its file.
 *
 * A request that names a node only (READ, GETATTR …) may find the path that its names give out of
 * date: a rename is under way, or a change behind our back has not been told yet.  So the file is
 * opened, compared with the node's inode, and when it is another or none, tried again: first
 * after the rename under way has ended (its locks are taken and let go), then some milliseconds on.
 * Locks: none may be held by the caller of the functions that retry.
 */
#include "backends/base/at.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "fs/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TRIES 30

static size_t stripe_of(const struct node *n)
{
	return pool_id(n) % FS_STRIPES;
}

void stripe_lock(struct mailfs *fs, const struct node *n)
{
	pthread_mutex_lock(&fs->stripes[stripe_of(n)]);
}

void stripe_unlock(struct mailfs *fs, const struct node *n)
{
	pthread_mutex_unlock(&fs->stripes[stripe_of(n)]);
}

void stripe_lock2(struct mailfs *fs, const struct node *a, const struct node *b)
{
	if (a && b && stripe_of(b) < stripe_of(a)) {
		const struct node *swap = a;

		a = b;
		b = swap;
	}
	if (a)
		stripe_lock(fs, a);
	if (b && (!a || stripe_of(a) != stripe_of(b)))
		stripe_lock(fs, b);
}

void stripe_unlock2(struct mailfs *fs, const struct node *a, const struct node *b)
{
	if (a)
		stripe_unlock(fs, a);
	if (b && (!a || stripe_of(a) != stripe_of(b)))
		stripe_unlock(fs, b);
}

int fs_path(struct mailfs *fs, const struct node *dir, const char *name, char out[AT_PATH_MAX])
{
	int err;

	table_lock(fs);
	err = node_path(dir, name, out);
	table_unlock(fs);
	return err;
}

typedef int path_fn(struct mailfs *fs, struct node *n, const char *path, void *arg);

/* Lets a rename under way end, or a change made elsewhere be told. */
static void let_pass(struct mailfs *fs, const struct node *n, int try)
{
	if (try == 0) {
		pthread_rwlock_rdlock(&fs->rename_lock);
		stripe_lock(fs, n);
		stripe_unlock(fs, n);
		pthread_rwlock_unlock(&fs->rename_lock);
	} else {
		usleep(1000);
	}
}

/* Calls fn with a path of n until it gives something else than -ENOENT and -ESTALE. */
static int try_paths(struct mailfs *fs, struct node *n, path_fn *fn, void *arg)
{
	char path[AT_PATH_MAX];
	int err = -ENOENT;

	for (int try = 0; try < TRIES; try++) {
		table_lock(fs);
		err = n->token ? -ENOENT : node_any_path(n, path);
		table_unlock(fs);
		if (!err)
			err = fn(fs, n, path, arg);
		if (err != -ENOENT && err != -ENOTDIR && err != -ESTALE)
			return err;
		if (node_kept_fd(n) >= 0 || !node_has_name(n))
			break;
		let_pass(fs, n, try);
	}
	return -ESTALE;
}

struct open_args {
	int flags, fd;
};

/* A file that only its owner's reader may open, as delivered by a program that made it 0400: as its
 * owner we may change that, for the time of the open. */
static int open_protected(struct mailfs *fs, const char *path, int flags)
{
	MB_AUTO_CLOSE int at = at_open(fs->root_fd, path, O_PATH | O_NOFOLLOW, 0);
	char proc[64];
	struct stat st;
	int fd, err;

	if (at < 0 || fstat(at, &st) || st.st_uid != geteuid() || !S_ISREG(st.st_mode))
		return -EACCES;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
	if (chmod(proc, (st.st_mode & 07777) | S_IRUSR | S_IWUSR))
		return -errno;
	fd = open(proc, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	err = errno;
	if (chmod(proc, st.st_mode & 07777) && fd >= 0) {
		err = errno;
		close(fd);
		fd = -1;
	}
	return fd < 0 ? -err : fd;
}

static int open_one(struct mailfs *fs, struct node *n, const char *path, void *arg)
{
	struct open_args *a = arg;
	int fd = at_open(fs->root_fd, path, a->flags | O_NOFOLLOW, 0);
	struct stat st;

	if (fd == -EACCES && node_type(n) == S_IFREG)
		fd = open_protected(fs, path, a->flags);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || !node_is(n, &st)) {
		close(fd);
		return -ESTALE;
	}
	a->fd = fd;
	return 0;
}

/* An unlinked message's bytes stay in deleted/: whoever goes on writing gets a file without a name,
 * under the kept descriptor's number, so that nobody ever sees that closed. */
static int part_kept(struct mailfs *fs, struct node *n)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	MB_AUTO_CLOSE int own = -1;
	struct stat st;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (fstat(node_kept_fd(n), &st))
		err = -errno;
	else if (st.st_nlink == 0) /* done before, or gone from deleted/ */
		goto out;
	if (!err) {
		own = openat(fs->root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		err = own < 0 ? -EROFS : io_copy(node_kept_fd(n), own, NULL);
	}
	if (err >= 0 && (fchmod(own, st.st_mode & 07777) || fchown(own, st.st_uid, st.st_gid) ||
			 dup3(own, node_kept_fd(n), O_CLOEXEC) < 0))
		err = -errno;
	if (err >= 0)
		fdcache_drop(fs->fds, n);
out:
	pthread_mutex_unlock(&lock);
	return err;
}

/* The kept descriptor again, as a new one. */
static int open_kept(struct mailfs *fs, struct node *n, int flags)
{
	char proc[64];
	int fd;

	if (n->more->was_message && (flags & O_ACCMODE) != O_RDONLY) {
		fd = part_kept(fs, n);
		if (fd < 0)
			return fd;
	}
	if (flags & O_PATH || (node_type(n) != S_IFREG && !node_is_dir(n))) {
		fd = fcntl(node_kept_fd(n), F_DUPFD_CLOEXEC, 0);
	} else {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", node_kept_fd(n));
		fd = open(proc, flags | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

int fs_open_node(struct mailfs *fs, struct node *n, int flags)
{
	struct open_args a = {flags, -1};
	int err = node_kept_fd(n) < 0 ? try_paths(fs, n, open_one, &a) : 0;

	if (a.fd < 0 && node_kept_fd(n) >= 0)
		return open_kept(fs, n, flags);
	return err < 0 ? err : a.fd;
}

static int stat_one(struct mailfs *fs, struct node *n, const char *path, void *arg)
{
	struct stat st;
	int err = at_stat(fs->root_fd, path, &st);

	if (err < 0)
		return err;
	if (!node_is(n, &st))
		return -ESTALE;
	*(struct stat *)arg = st;
	return 0;
}

int fs_stat_node(struct mailfs *fs, struct node *n, struct stat *ret)
{
	int err = node_kept_fd(n) < 0 ? try_paths(fs, n, stat_one, ret) : -ENOENT;

	if (err < 0 && node_kept_fd(n) >= 0)
		return fstat(node_kept_fd(n), ret) ? -errno : 0;
	return err;
}

int fs_content(struct mailfs *fs, struct node *n, bool write, struct fdcache_slot **ret)
{
	bool writable = true;
	int fd;

	*ret = fdcache_find(fs->fds, n, write);
	if (*ret)
		return 0;
	writable = write || node_kept_fd(n) < 0;
	fd = fs_open_node(fs, n, writable ? O_RDWR : O_RDONLY);
	if (!write && writable &&
	    (fd == -EACCES || fd == -EROFS || fd == -ETXTBSY || fd == -EPERM)) {
		writable = false;
		fd = fs_open_node(fs, n, O_RDONLY);
	}
	if (fd < 0)
		return fd;
	*ret = fdcache_add(fs->fds, n, fd, writable);
	return 0;
}

int fs_keep_open(struct mailfs *fs, struct node *n, const char *path)
{
	struct stat st;
	struct name name;
	bool message;
	int flags, fd;

	if (n->nlookup == 0 || node_kept_fd(n) >= 0)
		return -1;
	table_lock(fs);
	message = n->ordinal || node_message_name(n, &name);
	node_more(n)->was_message = message;
	table_unlock(fs);
	flags = node_type(n) == S_IFREG && !message ? O_RDWR : O_RDONLY;
	if (node_type(n) != S_IFREG)
		flags = O_PATH;
	fd = at_open(fs->root_fd, path, flags | O_NOFOLLOW, 0);
	if (fd == -EACCES && flags == O_RDWR)
		fd = at_open(fs->root_fd, path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd >= 0 && (fstat(fd, &st) || !node_is(n, &st))) {
		close(fd);
		fd = -1;
	}
	return fd < 0 ? -1 : fd;
}

void fs_follow_inode(struct mailfs *fs, struct node *n, const char *path)
{
	struct stat st;

	if (at_stat(fs->root_fd, path, &st) < 0)
		return;
	table_lock(fs);
	if (!node_is(n, &st) && n->hashed)
		node_rekey(&fs->nodes, n, &st);
	attr_forget(n);
	table_unlock(fs);
}
