/*
 * ops-attr.c - GETATTR, SETATTR, READLINK, ACCESS, STATFS.
 *
 * Requests name a node; no lock is held while its file is looked for (path.c).
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "fs/fs.h"
#include "fs/settle.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void reply_attr(fuse_req_t req, struct node *n, int err, struct stat *st)
{
	struct mailfs *fs = fs_of(req);
	char path[AT_PATH_MAX];
	bool named;

	if (err < 0) {
		fuse_reply_err(req, mb_err_errno(err));
		return;
	}
	table_lock(fs);
	named = node_any_path(n, path) == 0;
	table_unlock(fs);
	if (node_is_dir(n) && named)
		fs_kind(fs, n, path);
	attr_show(fs, n, named ? path : NULL, st);
	fuse_reply_attr(req, st, attr_timeout(n, st));
}

static int token_stat(struct mailfs *fs, struct node *n, struct stat *ret)
{
	char name[NAME_MAX + 1] = "";
	struct name first;

	table_lock(fs);
	if (node_name(n, 0, &first))
		strcpy(name, first.text);
	table_unlock(fs);
	return store_token_stat(fs->store, name, ret);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	uint64_t age = attr_age(fs, n);
	struct stat st = {0};
	int err;

	count(COUNT_GETATTR);
	err = n->token ? token_stat(fs, n, &st) : fs_stat_node(fs, n, &st);
	if (!err && !n->token)
		attr_keep(fs, n, &st, age);
	reply_attr(req, n, err, &st);
}

static int set_mode_owner(int fd, const char *proc, const struct stat *attr, int to_set)
{
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	/* nothing to set is chown(-1, -1), which moves the ctime */
	if ((!to_set || to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) &&
	    fchownat(fd, "", uid, gid, AT_EMPTY_PATH))
		return -errno;
	/* after the owner, whose change takes set-id bits away */
	if (to_set & FUSE_SET_ATTR_MODE && chmod(proc, attr->st_mode & 07777))
		return -errno;
	return 0;
}

static int set_times(struct mailfs *fs, struct node *n, int fd, const struct stat *attr, int to_set)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		t[0].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		t[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		t[1].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		t[1] = attr->st_mtim;
	if (utimensat(fd, "", t, AT_EMPTY_PATH))
		return -errno;
	if (!node_is_dir(n))
		return 0;
	table_lock(fs);
	if (t[1].tv_nsec == UTIME_NOW)
		attr_changed(n);
	else if (t[1].tv_nsec != UTIME_OMIT)
		attr_set_mtime(n, &t[1]);
	table_unlock(fs);
	return 0;
}

static int set_size(fuse_req_t req, struct node *n, off_t size)
{
	struct mailfs *fs = fs_of(req);
	struct fdcache_slot *slot;
	int err = settle_begin(req, n, size == 0);

	if (err < 0)
		return err;
	err = fs_content(fs, n, true, &slot);
	if (!err) {
		err = io_ftruncate(slot->fd, size);
		fdcache_unpin(fs->fds, slot);
	}
	settle_end(fs, n);
	return err;
}

static int set_attr(fuse_req_t req, struct node *n, const struct stat *attr, int to_set,
		    struct stat *ret)
{
	struct mailfs *fs = fs_of(req);
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			  FUSE_SET_ATTR_MTIME_NOW;
	MB_AUTO_CLOSE int fd = -1;
	char proc[64];
	int err = 0;

	if (to_set & FUSE_SET_ATTR_SIZE)
		err = set_size(req, n, attr->st_size);
	if (err < 0)
		return err;
	fd = fs_open_node(fs, n, O_PATH);
	if (fd < 0)
		return fd;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	err = set_mode_owner(fd, proc, attr, to_set);
	if (!err && to_set & times)
		err = set_times(fs, n, fd, attr, to_set);
	if (!err && fstat(fd, ret))
		err = -errno;
	return err;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	struct stat st = {0};

	count(COUNT_SETATTR);
	int err = n->token ? -EPERM : set_attr(req, n, attr, to_set, &st);
	table_lock(fs);
	attr_forget(n);
	if (node_is_dir(n))
		n->dir->in_log = false;
	table_unlock(fs);
	reply_attr(req, n, err, &st);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct mailfs *fs = fs_of(req);
	char target[PATH_MAX];
	ssize_t len;
	int fd;

	count(COUNT_READLINK);
	fd = fs_open_node(fs, fs_node(fs, ino), O_PATH);
	if (fd < 0) {
		fuse_reply_err(req, mb_err_errno(fd));
		return;
	}
	len = readlinkat(fd, "", target, sizeof(target) - 1);
	if (len < 0) {
		fuse_reply_err(req, errno);
	} else {
		target[len] = '\0';
		fuse_reply_readlink(req, target);
	}
	close(fd);
}

/* access(2) and chdir(2), in a mount for one user: the backing file decides. */
/* Its mode, as it was listed, says yes: mu(1) asks so for each mail, whenever it looks. */
static bool owner_may_read(struct mailfs *fs, const struct node *n)
{
	struct stat st;

	return attr_kept(fs, n, &st) && st.st_uid == geteuid() && st.st_mode & S_IRUSR;
}

void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	int fd;

	count(COUNT_ACCESS);
	if (n->token || mask == F_OK || (mask == R_OK && owner_may_read(fs, n))) {
		fuse_reply_err(req, 0);
		return;
	}
	fd = fs_open_node(fs, n, O_PATH | O_CLOEXEC);
	if (fd < 0) {
		fuse_reply_err(req, mb_err_errno(fd));
		return;
	}
	int err = faccessat(fd, "", mask, AT_EMPTY_PATH | AT_EACCESS) < 0 ? errno : 0;
	close(fd);
	fuse_reply_err(req, err);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct mailfs *fs = fs_of(req);
	struct statvfs st;

	count(COUNT_STATFS);
	if (fstatvfs(fs->root_fd, &st))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}
