/*
 * ops-xattr.c - extended attributes: user.* are the backing file's, on this host only; a message shows
 * user.mailbraid.{guid,modseq,keywords,origin} too, which cannot be set.
 *
 * With -o noxattr every request is answered once with ENOSYS, and the kernel asks no more: it asks for
 * security.capability before each write otherwise.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "fs/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OWN_PREFIX "user.mailbraid."

static const char own_names[] =
	OWN_PREFIX "guid\0" OWN_PREFIX "modseq\0" OWN_PREFIX "keywords\0" OWN_PREFIX "origin";

/* Path of n by its name in cur or new: it is a message. */
static bool message_path(struct mailfs *fs, struct node *n, char path[AT_PATH_MAX])
{
	struct name name;
	bool is;

	table_lock(fs);
	is = node_message_name(n, &name) && node_path(name.dir, name.text, path) == 0;
	table_unlock(fs);
	return is;
}

/* Answers a value, or its size when that was asked for (size 0). */
static void reply_value(fuse_req_t req, const void *data, ssize_t len, size_t size)
{
	if (len < 0)
		fuse_reply_err(req, mb_err_errno((int)len));
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)len);
	else if ((size_t)len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, (size_t)len);
}

/* /proc name of the backing file; the descriptor is to be closed. */
static int open_proc(struct mailfs *fs, struct node *n, char proc[64])
{
	int fd = fs_open_node(fs, n, O_PATH);

	if (fd >= 0)
		snprintf(proc, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static int check_name(const char *name)
{
	return strncmp(name, "user.", 5) == 0 ? 0 : -EOPNOTSUPP;
}

static int get_own(struct mailfs *fs, struct node *n, const char *name, struct buf *out)
{
	char path[AT_PATH_MAX];
	int err;

	if (!message_path(fs, n, path))
		return -ENODATA;
	err = store_xattr(fs->store, path, name, out);
	return err == -ENOENT ? -ENODATA : err;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	BUF_AUTO struct buf own = BUF_INIT;
	MB_AUTO_FREE char *value = NULL;
	MB_AUTO_CLOSE int fd = -1;
	char proc[64];
	ssize_t len;

	count(COUNT_GETXATTR);
	if (fs->opt.noxattr) {
		fuse_reply_err(req, ENOSYS);
	} else if (strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0) {
		int err = get_own(fs, n, name, &own);

		reply_value(req, own.data, err < 0 ? err : (ssize_t)own.len, size);
	} else if (check_name(name)) {
		fuse_reply_err(req, ENODATA); /* mostly the kernel's own security.capability */
	} else {
		fd = open_proc(fs, n, proc);
		value = mb_xmalloc(size);
		len = fd < 0 ? fd : getxattr(proc, name, value, size);
		reply_value(req, value, fd >= 0 && len < 0 ? -errno : len, size);
	}
}

static int may_change(const char *name)
{
	return strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0 ? -EPERM : check_name(name);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	char proc[64];
	int err = fs->opt.noxattr ? -ENOSYS : may_change(name);
	MB_AUTO_CLOSE int fd = -1;

	count(COUNT_SETXATTR);
	if (!err)
		err = fd = open_proc(fs, n, proc);
	if (err >= 0 && setxattr(proc, name, value, size, flags))
		err = -errno;
	table_lock(fs);
	attr_forget(n);
	if (node_is_dir(n))
		n->dir->in_log = false;
	table_unlock(fs);
	fuse_reply_err(req, err < 0 ? mb_err_errno(err) : 0);
}

/* Only names that getxattr answers from the file.  Gives the new length. */
static size_t keep_user_names(char *list, size_t len)
{
	size_t to = 0;

	for (size_t i = 0, one; i < len; i += one) {
		one = strlen(list + i) + 1;
		if (may_change(list + i) < 0)
			continue;
		memmove(list + to, list + i, one);
		to += one;
	}
	return to;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	char path[AT_PATH_MAX], proc[64];
	MB_AUTO_FREE char *list = NULL;
	MB_AUTO_CLOSE int fd = -1;
	ssize_t len;

	count(COUNT_LISTXATTR);
	if (fs->opt.noxattr) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fd = open_proc(fs, n, proc);
	list = mb_xmalloc(XATTR_LIST_MAX + sizeof(own_names));
	len = fd < 0 ? fd : listxattr(proc, list, XATTR_LIST_MAX);
	if (fd >= 0)
		len = len < 0 ? -errno : (ssize_t)keep_user_names(list, (size_t)len);
	if (message_path(fs, n, path) && (len >= 0 || len == -EOPNOTSUPP)) {
		size_t to = len < 0 ? 0 : (size_t)len;

		memcpy(list + to, own_names, sizeof(own_names));
		len = (ssize_t)(to + sizeof(own_names));
	}
	reply_value(req, list, len, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino);
	char proc[64];
	int err = fs->opt.noxattr ? -ENOSYS : may_change(name);
	MB_AUTO_CLOSE int fd = -1;

	count(COUNT_REMOVEXATTR);
	if (!err)
		err = fd = open_proc(fs, n, proc);
	if (err >= 0 && removexattr(proc, name))
		err = -errno;
	table_lock(fs);
	attr_forget(n);
	if (node_is_dir(n))
		n->dir->in_log = false;
	table_unlock(fs);
	fuse_reply_err(req, err < 0 ? mb_err_errno(err) : 0);
}
