/*
 * ops-file.c - CREATE and what is done with the content of a file.
 *
 * No-open: OPEN and FLUSH are answered once with ENOSYS and never come again.  The kernel then names the
 * node only, and tells of no close; descriptors live in the cache by node.  A CREATE may still be
 * followed by a RELEASE, which means nothing here.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "fs/ahead.h"
#include "fs/fs.h"
#include "fs/loop.h"
#include "fs/settle.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct creating {
	fuse_req_t req;
	struct node *dir;
	const char *name;
	mode_t mode;
	int flags;
	char *path; /* AT_PATH_MAX */
	bool existed, in_messages;
};

/* Makes the file, or opens the one that another program made since the kernel looked. */
static int open_or_make(struct mailfs *fs, struct creating *c)
{
	const char *name;
	MB_AUTO_CLOSE int dir = at_open_parent(fs->root_fd, c->path, &name);
	int fd;

	if (dir < 0)
		return dir;
	fd = io_create_at(dir, name, O_RDWR, c->mode & 07777);
	if (fd != -EEXIST || c->flags & O_EXCL)
		return fd;
	c->existed = true;
	fd = at_open(fs->root_fd, c->path, O_RDWR | O_NOFOLLOW, 0);
	if (fd == -EACCES)
		fd = at_open(fs->root_fd, c->path, (c->flags & O_ACCMODE) | O_NOFOLLOW, 0);
	return fd;
}

static int create(struct mailfs *fs, struct creating *c, struct stat *st)
{
	char dir_path[AT_PATH_MAX];
	int err, fd;

	err = fs_path(fs, c->dir, NULL, dir_path);
	if (!err)
		err = fs_path(fs, c->dir, c->name, c->path);
	if (err < 0)
		return err;
	c->in_messages =
		kind_is_messages(fs_kind(fs, c->dir, dir_path)) && fname_is_message(c->name);
	if (c->in_messages) /* says that this name is being written */
		err = store_before_write(fs->store, c->path, false);
	fd = err < 0 ? err : open_or_make(fs, c);
	if (fd < 0)
		return fd;
	err = c->existed ? 0 : fs_give(fs, c->req, fd, dir_path, (c->mode & 07777) | S_IFREG);
	if (!err && fstat(fd, st))
		err = -errno;
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

/* Binds what was made to a node; its descriptor goes to the cache. */
static struct node *created(struct mailfs *fs, struct creating *c, int fd, const struct stat *st,
			    struct fuse_entry_param *e)
{
	bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
	struct origin origin;
	struct node *n;

	table_lock(fs);
	if (!c->existed)
		fs_name_added(fs, c->dir, c->name, st);
	table_unlock(fs);
	fs_entry(fs, c->dir, c->name, c->path, st, e);
	n = fs_node(fs, e->ino);
	fdcache_unpin(fs->fds, fdcache_add(fs->fds, n, fd, writable));
	if (c->in_messages && !c->existed) {
		origin_of(fs, c->req, &origin);
		settle_created(fs, n, &origin);
	}
	return n;
}

static int truncate_existing(struct mailfs *fs, struct creating *c, struct node *n)
{
	struct fdcache_slot *slot;
	int err = settle_begin(c->req, n, true);

	if (err < 0)
		return err;
	err = fs_content(fs, n, true, &slot);
	if (!err) {
		err = io_ftruncate(slot->fd, 0);
		fdcache_unpin(fs->fds, slot);
		table_lock(fs);
		attr_forget(n);
		table_unlock(fs);
	}
	settle_end(fs, n);
	return err;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	char path[AT_PATH_MAX];
	struct creating c = {req, fs_node(fs, parent), name, mode, fi->flags, path};
	struct fuse_entry_param e;
	struct node *n = NULL;
	struct stat st;
	int fd = -EPERM, err;

	count(COUNT_CREATE);
	pthread_rwlock_rdlock(&fs->rename_lock);
	if (!fs_hidden(fs, c.dir, name))
		fd = create(fs, &c, &st);
	if (fd >= 0)
		n = created(fs, &c, fd, &st, &e);
	pthread_rwlock_unlock(&fs->rename_lock);
	err = fd < 0 ? fd : 0;
	if (n && c.existed && c.flags & O_TRUNC) {
		err = truncate_existing(fs, &c, n);
		e.attr.st_size = 0;
	}
	fi->fh = 0;
	fi->keep_cache = 1;
	if (err < 0)
		fuse_reply_err(req, fs_change_errno(err));
	if (n && (err < 0 || fuse_reply_create(req, &e, fi))) {
		table_lock(fs);
		node_forget(&fs->nodes, n, 1);
		table_unlock(fs);
	}
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(COUNT_OPEN);
	fuse_reply_err(req, ENOSYS);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(COUNT_FLUSH);
	fuse_reply_err(req, ENOSYS);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	count(COUNT_RELEASE);
	fuse_reply_err(req, 0);
}

/* A buffer of the thread, as large as its largest read; freed when the thread ends. */
struct read_buffer {
	size_t cap;
	char data[];
};

static pthread_key_t buffer_key;

static void make_buffer_key(void)
{
	pthread_key_create(&buffer_key, free);
}

static char *read_buffer(size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct read_buffer *b;

	pthread_once(&once, make_buffer_key);
	b = pthread_getspecific(buffer_key);
	if (!b || b->cap < size) {
		free(b);
		b = mb_xmalloc(sizeof(*b) + size);
		b->cap = size;
		pthread_setspecific(buffer_key, b);
	}
	return b->data;
}

/* What the system has in memory is read at once; before the disk is waited for, another thread leads. */
static ssize_t read_content(int fd, char *buffer, size_t size, off_t off, bool *ret_missed)
{
	int64_t since = clock_mono_ns();
	size_t done = 0;
	ssize_t n;

	do {
		struct iovec rest = {buffer + done, size - done};

		n = preadv2(fd, &rest, 1, off + (off_t)done, RWF_NOWAIT);
		done += n > 0 ? (size_t)n : 0;
	} while (n > 0 && done < size);
	*ret_missed = n < 0 || clock_mono_ns() - since > AHEAD_SLOW_NS;
	if (n >= 0)
		return (ssize_t)done;
	if (errno == EAGAIN)
		loop_give_way();
	n = io_pread_full(fd, buffer + done, size - done, off + (off_t)done);
	return n < 0 ? n : (ssize_t)done + n;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	char *buffer = read_buffer(size);
	struct fdcache_slot *slot;
	bool missed;
	ssize_t n;
	int err;

	count(COUNT_READ);
	err = fs_content(fs, fs_node(fs, ino), false, &slot);
	if (err < 0) {
		fuse_reply_err(req, mb_err_errno(err));
		return;
	}
	n = read_content(slot->fd, buffer, size, off, &missed);
	fdcache_unpin(fs->fds, slot);
	if (off == 0)
		ahead_read(fs, fs_node(fs, ino), missed);
	if (n < 0)
		fuse_reply_err(req, mb_err_errno((int)n));
	else
		fuse_reply_buf(req, buffer, (size_t)n);
}

/* Runs `fn` on a descriptor that may write, between settle_begin() and settle_end(). */
static ssize_t change_content(fuse_req_t req, struct node *n, ssize_t (*fn)(int fd, void *arg),
			      void *arg)
{
	struct mailfs *fs = fs_of(req);
	struct fdcache_slot *slot;
	ssize_t done = settle_begin(req, n, false);

	if (done < 0)
		return done;
	done = fs_content(fs, n, true, &slot);
	if (!done) {
		done = fn(slot->fd, arg);
		fdcache_unpin(fs->fds, slot);
		table_lock(fs);
		attr_forget(n);
		table_unlock(fs);
	}
	settle_end(fs, n);
	return done;
}

struct io_args {
	const char *data;
	size_t size;
	off_t off;
	int mode;	 /* fallocate */
	struct node *in; /* copy_file_range */
	int in_fd;
	off_t in_off;
};

static ssize_t write_content(int fd, void *arg)
{
	const struct io_args *a = arg;
	size_t done = 0;

	while (done < a->size) {
		ssize_t n = pwrite(fd, a->data + done, a->size - done, a->off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct io_args a = {.data = data, .size = size, .off = off};
	ssize_t n;

	count(COUNT_WRITE);
	n = change_content(req, fs_node(fs_of(req), ino), write_content, &a);
	if (n < 0)
		fuse_reply_err(req, mb_err_errno((int)n));
	else
		fuse_reply_write(req, (size_t)n);
}

/* No record tells of a file there.  table_lock held. */
static bool is_in_tmp(const struct node *n)
{
	struct name name;

	return node_n_names(n) == 1 && node_name(n, 0, &name) && name.dir->dir->kind == NODE_TMP;
}

/* Durable: the bytes, for a message its name too, what they mean in the log. */
static int sync_file(struct mailfs *fs, struct node *n, bool data_only)
{
	char path[AT_PATH_MAX], dir_path[AT_PATH_MAX];
	struct fdcache_slot *slot;
	struct name name;
	bool message, named, in_log;
	int err = fs_content(fs, n, false, &slot);

	if (err < 0)
		return err;
	err = data_only ? io_fdatasync(slot->fd) : io_fsync(slot->fd);
	fdcache_unpin(fs->fds, slot);
	if (err < 0)
		return err;
	table_lock(fs);
	message = node_message_name(n, &name) && node_path(name.dir, NULL, dir_path) == 0;
	named = node_any_path(n, path) == 0 && !is_in_tmp(n);
	in_log = message && n->ordinal && fs_is_logged(fs, name.dir, name.text);
	table_unlock(fs);
	if (message && node_writing(n)) {
		stripe_lock(fs, n);
		err = settle_now(fs, n);
		stripe_unlock(fs, n);
	}
	if (!err && message && !(in_log && store_log_has_names(fs->store))) {
		MB_AUTO_CLOSE int dir = at_open(fs->root_fd, dir_path, O_RDONLY | O_DIRECTORY, 0);

		err = dir < 0 ? dir : io_fsync(dir);
	}
	return err < 0 || !named ? err : store_sync_path(fs->store, path);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	int err;

	count(COUNT_FSYNC);
	loop_give_way();
	err = sync_file(fs, fs_node(fs, ino), datasync);
	fuse_reply_err(req, err < 0 ? mb_err_errno(err) : 0);
}

static ssize_t allocate_content(int fd, void *arg)
{
	const struct io_args *a = arg;

	return fallocate(fd, a->mode, a->off, (off_t)a->size) ? -errno : 0;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct io_args a = {.mode = mode, .off = off, .size = (size_t)len};
	ssize_t err;

	count(COUNT_FALLOCATE);
	loop_give_way();
	err = change_content(req, fs_node(fs_of(req), ino), allocate_content, &a);
	fuse_reply_err(req, err < 0 ? mb_err_errno((int)err) : 0);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	struct fdcache_slot *slot;
	off_t at;
	int err;

	count(COUNT_LSEEK);
	err = fs_content(fs, fs_node(fs, ino), false, &slot);
	if (err < 0) {
		fuse_reply_err(req, mb_err_errno(err));
		return;
	}
	at = lseek(slot->fd, off, whence);
	err = errno;
	fdcache_unpin(fs->fds, slot);
	if (at < 0)
		fuse_reply_err(req, err);
	else
		fuse_reply_lseek(req, at);
}

static ssize_t copy_content(int fd, void *arg)
{
	struct io_args *a = arg;
	ssize_t n = copy_file_range(a->in_fd, &a->in_off, fd, &a->off, a->size, 0);

	return n < 0 ? -errno : n;
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
			fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
			int flags)
{
	struct mailfs *fs = fs_of(req);
	struct io_args a = {.in_off = off_in, .off = off_out, .size = len};
	struct fdcache_slot *source;
	ssize_t n;

	count(COUNT_COPY);
	loop_give_way();
	n = flags ? -EINVAL : fs_content(fs, fs_node(fs, in), false, &source);
	if (!n) {
		a.in_fd = source->fd;
		n = change_content(req, fs_node(fs, out), copy_content, &a);
		fdcache_unpin(fs->fds, source);
	}
	if (n < 0)
		fuse_reply_err(req, mb_err_errno((int)n));
	else
		fuse_reply_write(req, (size_t)n);
}
