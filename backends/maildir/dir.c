/*
 * dir.c - directories of mailboxes: made, renamed, cleared.  Nothing here knows the map.
 *
 * A mailbox that goes loses cur, new and tmp only when no message is in them, so that mail which
 * arrived meanwhile stays; files that are not ours stay where they are, and their directory with them.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/maildir/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const SUBS[] = {"tmp", "new", "cur"}; /* with cur it is a mailbox */

static char *join(const char *dir, const char *name)
{
	return mb_xasprintf("%s%s%s", dir, *dir ? "/" : "", name);
}

static int sync_dir(struct maildir *m, const char *dir)
{
	MB_AUTO_CLOSE int fd = at_open(m->root, dir, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? fd : io_fsync(fd);
}

static int sync_parent(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *parent = mb_xstrdup(dir);
	char *slash = strrchr(parent, '/');

	*(slash ? slash : parent) = '\0';
	return sync_dir(m, parent);
}

/* ---- Making ----------------------------------------------------------------------------------- */

/* Maildir++ marks its folders so, for programs that deliver. */
static int mark_folder(struct maildir *m, int dir, const char *path)
{
	int fd;

	if (m->layout != LAYOUT_MAILDIRPP || !*path)
		return 0;
	fd = io_create_at(dir, "maildirfolder", O_WRONLY, 0600);
	if (fd >= 0)
		close(fd);
	return fd < 0 && fd != -EEXIST ? fd : 0;
}

int md_box_make(struct maildir *m, const char *dir)
{
	int err = *dir ? at_mkdirs(m->root, dir, 0700) : 0;
	MB_AUTO_CLOSE int fd = err ? -1 : at_open(m->root, dir, O_RDONLY | O_DIRECTORY, 0);

	if (err || fd < 0)
		return err ? err : fd;
	for (size_t i = 0; !err && i < sizeof(SUBS) / sizeof(*SUBS); i++) {
		err = io_mkdirat(fd, SUBS[i], 0700);
		err = err == -EEXIST ? 0 : err;
	}
	if (!err)
		err = mark_folder(m, fd, dir);
	if (!err)
		err = io_fsync(fd);
	return err || !*dir ? err : sync_parent(m, dir);
}

/* ---- Renaming --------------------------------------------------------------------------------- */

static int make_parent(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *parent = mb_xstrdup(dir);
	char *slash = strrchr(parent, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	return at_mkdirs(m->root, parent, 0700);
}

static int rename_one(int from_dir, const char *from, int to_dir, const char *to)
{
	int err = io_renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);

	return err == -EINVAL || err == -ENOSYS ? io_renameat(from_dir, from, to_dir, to) : err;
}

int md_dir_rename(struct maildir *m, const char *from, const char *to)
{
	const char *from_name, *to_name;
	int err = make_parent(m, to);
	MB_AUTO_CLOSE int from_dir = err ? -1 : at_open_parent(m->root, from, &from_name);
	MB_AUTO_CLOSE int to_dir = err ? -1 : at_open_parent(m->root, to, &to_name);

	if (err || from_dir < 0 || to_dir < 0)
		return err ? err : from_dir < 0 ? from_dir : to_dir;
	err = rename_one(from_dir, from_name, to_dir, to_name);
	if ((err == -EEXIST || err == -ENOTEMPTY) &&
	    at_remove_names(m->root, to, &(struct at_names){.junk = layout_is_dropping}) == 0)
		err = rename_one(from_dir, from_name, to_dir, to_name);
	return err;
}

int md_dir_renamed(struct maildir *m, const char *from, const char *to)
{
	int err = sync_parent(m, from);

	if (!err || err == -ENOENT || err == -ENOTDIR)
		err = sync_parent(m, to);
	return err == -ENOENT || err == -ENOTDIR ? 0 : err;
}

bool md_dir_is_mailbox(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *cur = join(dir, "cur");
	struct stat st;

	return at_stat(m->root, cur, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- Deleting --------------------------------------------------------------------------------- */

static int any_message(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type, (void)ino, (void)arg;
	return fname_is_message(name);
}

/* 1: a message is in it. */
static int holds_mail(struct maildir *m, const char *dir)
{
	for (int i = 1; i < 3; i++) {
		MB_AUTO_FREE char *path = join(dir, SUBS[i]);
		MB_AUTO_CLOSE int fd = at_open(m->root, path, O_RDONLY | O_DIRECTORY, 0);
		int found = fd < 0 ? (fd == -ENOENT ? 0 : fd) : at_list(fd, any_message, NULL);

		if (found)
			return found;
	}
	return 0;
}

static int remove_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type, (void)ino;
	return io_unlinkat(*(const int *)arg, name, 0) == -EISDIR ? -ENOTEMPTY : 0;
}

/* tmp holds no mail, only what never became any. */
static int empty_tmp(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *path = join(dir, "tmp");
	MB_AUTO_CLOSE int fd = at_open(m->root, path, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? 0 : at_list(fd, remove_one, &fd);
}

/* A file that comes meanwhile makes the rmdir fail; what was removed before is made again. */
static int remove_subs(struct maildir *m, const char *dir, int fd)
{
	int err = empty_tmp(m, dir);

	for (int i = 2; !err && i >= 0; i--) {
		err = io_unlinkat(fd, SUBS[i], AT_REMOVEDIR);
		err = err == -ENOENT ? 0 : err;
	}
	if (err == -ENOTEMPTY || err == -EEXIST)
		return md_box_make(m, dir) < 0 ? err : MB_E_STALE;
	return err;
}

int md_box_clear(struct maildir *m, const char *dir)
{
	int err = holds_mail(m, dir);
	MB_AUTO_CLOSE int fd = at_open(m->root, dir, O_RDONLY | O_DIRECTORY, 0);
	MB_AUTO_CLOSE int parent = -1;
	const char *name;

	if (err)
		return err < 0 ? err : MB_E_STALE;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = remove_subs(m, dir, fd);
	if (err)
		return err;
	for (size_t i = 0; LAYOUT_DROPPINGS[i]; i++)
		io_unlinkat(fd, LAYOUT_DROPPINGS[i], 0);
	parent = at_open_parent(m->root, dir, &name);
	if (parent < 0)
		return parent;
	err = io_unlinkat(parent, name, AT_REMOVEDIR);
	if (err && err != -ENOTEMPTY && err != -EEXIST && err != -ENOENT)
		return err;
	return sync_parent(m, dir);
}
