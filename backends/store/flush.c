/*
 * flush.c - makes the log durable, and before it what it speaks of.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include "backends/store/store-private.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

/* ext4 says which process writes its journal. */
static bool has_journal(const struct statfs *fs, dev_t dev)
{
	char link[PATH_MAX], text[32] = "";
	MB_AUTO_FREE char *device = mb_xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	MB_AUTO_FREE char *path = NULL;
	MB_AUTO_CLOSE int fd = -1;
	ssize_t len;

	if (fs->f_type != EXT4_SUPER_MAGIC)
		return true;
	len = readlink(device, link, sizeof(link) - 1);
	link[len > 0 ? len : 0] = '\0';
	if (!strrchr(link, '/'))
		return false;
	path = mb_xasprintf("/sys/fs/ext4%s/journal_task", strrchr(link, '/'));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && atoi(text) > 0;
}

static bool writes_in_order(struct store *s)
{
	struct statfs fs;
	struct stat mail, log;

	if (fstat(s->mail_fd, &mail) < 0 || fstat(s->log_fd, &log) < 0 ||
	    mail.st_dev != log.st_dev || fstatfs(s->mail_fd, &fs) < 0)
		return false;
	s->journal = has_journal(&fs, mail.st_dev);
	return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
	       fs.f_type == TMPFS_MAGIC;
}

void flush_look(struct store *s)
{
	s->in_order = writes_in_order(s);
}

/*
 * A record is durable no earlier than the file operation of which it speaks.  ext4 and XFS see to it by
 * themselves: a flush of the log commits every rename before it.  Others (btrfs) may write the log and
 * lose the rename, so there the file system is flushed first.
 */
static int flush_tree(struct store *s)
{
	bool touched;
	int err;

	if (s->in_order)
		return 0;
	store_lock(s);
	touched = s->tree_touched;
	s->tree_touched = false;
	store_unlock(s);
	err = touched ? io_syncfs(s->mail_fd) : 0;
	if (err < 0) {
		store_lock(s);
		s->tree_touched = true;
		store_unlock(s);
	}
	return err;
}

bool store_log_has_names(struct store *s)
{
	bool all;

	store_lock(s);
	all = s->in_order && s->journal && !s->rescan;
	store_unlock(s);
	return all;
}

int store_flush(struct store *s)
{
	int err = uidlist_flush(s);

	if (err >= 0)
		err = flush_tree(s);
	if (err >= 0)
		err = log_flush(s->log);
	if (err != MB_E_LOG_DEAD)
		return err;
	store_lock(s);
	err = log_rotate(s->log);
	store_unlock(s);
	return err;
}
