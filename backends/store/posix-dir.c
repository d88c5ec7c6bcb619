/*
 * posix-dir.c - mkdir, rmdir and rename of directories by local programs.
 *
 * mkdir of cur/ makes its parent a mailbox; rmdir of cur/ deletes it, and says ENOTEMPTY while there is
 * mail in new/, as it does for mail in cur/.  A mailbox directory renamed to
 * a name that no mailbox can have (Dovecot's ..DOVECOT-TRASHED) is deleted: its messages are linked
 * to deleted/ first.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int raw_mkdir(struct store *s, const char *path, mode_t mode)
{
	MB_AUTO_CLOSE int dir = -1;
	const char *name;

	dir = at_open_parent(s->mail_fd, path, &name);
	return dir < 0 ? dir : io_mkdirat(dir, name, mode);
}

/* "DIR/cur": gives DIR (owned), or NULL when the last part is not `sub`. */
static char *parent_of_sub(const char *path, const char *sub)
{
	const char *slash = strrchr(path, '/');

	if (strcmp(slash ? slash + 1 : path, sub) != 0)
		return NULL;
	return slash ? mb_xstrndup(path, (size_t)(slash - path)) : mb_xstrdup("");
}

static bool can_be_mailbox(struct store *s, const char *dir)
{
	char **parts;
	size_t n;

	if (layout_parts(s->layout, dir, &parts, &n) < 0)
		return false;
	layout_parts_free(parts);
	return true;
}

static int mkdir_cur(struct store *s, const char *path, const char *dir, mode_t mode,
		     const struct origin *origin)
{
	uint64_t appended = s->appended;
	struct index_txn *tx;
	struct guid g;
	int err = change_begin_with(s, ROOM_ALL, &tx);

	if (err < 0)
		return err;
	err = raw_mkdir(s, path, mode);
	if (err >= 0 && index_mailbox_by_dir(tx, dir, &g) < 0) {
		err = mailbox_ensure(s, tx, dir, origin, &g);
		if (err < 0 && s->appended == appended &&
		    at_unlink(s->mail_fd, path, AT_REMOVEDIR) < 0)
			change_stays(s);
	}
	return change_end_call(s, tx, err);
}

int store_mkdir(struct store *s, const char *path, mode_t mode, const struct origin *origin)
{
	MB_AUTO_FREE char *dir = NULL;
	int err;

	if (!at_deep_path_ok(path))
		return -EINVAL;
	dir = parent_of_sub(path, "cur");
	store_lock(s);
	if (!expected_call(s, origin->pid, STEP_MKDIR, path, NULL, &err))
		err = dir && can_be_mailbox(s, dir) ? mkdir_cur(s, path, dir, mode, origin)
						    : raw_mkdir(s, path, mode);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : err;
}

static int is_mail(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	return type != DT_DIR && fname_is_message(name);
}

/* 1 when a file in new/ is a message, or becomes one when it is settled. */
static int has_new_mail(struct store *s, const char *cur)
{
	MB_AUTO_FREE char *dir = parent_of_sub(cur, "cur");
	MB_AUTO_FREE char *path = path_join(dir, "new", NULL);
	MB_AUTO_CLOSE int fd = at_open(s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return at_list(fd, is_mail, NULL);
}

static int rmdir_cur(struct store *s, const char *path, const struct guid *g,
		     const struct origin *origin)
{
	uint64_t appended = s->appended;
	struct index_txn *tx;
	int err = has_new_mail(s, path);

	if (err)
		return err < 0 ? err : -ENOTEMPTY;
	err = change_begin(s, &tx);
	if (err < 0)
		return err;
	err = at_unlink(s->mail_fd, path, AT_REMOVEDIR);
	if (err >= 0) {
		err = mailbox_log_delete(s, tx, g, origin);
		if (err < 0 && s->appended == appended && raw_mkdir(s, path, 0700) < 0)
			change_stays(s);
	}
	return change_end_call(s, tx, err);
}

static int rmdir_local(struct store *s, const char *path, const struct origin *origin)
{
	struct node_info n;
	int err = store_classify(s, path, &n);

	if (err < 0)
		return err;
	if (n.kind != NODE_CUR)
		return at_unlink(s->mail_fd, path, AT_REMOVEDIR);
	return guid_equal(&n.mailbox, &GUID_INBOX) ? -EPERM
						   : rmdir_cur(s, path, &n.mailbox, origin);
}

int store_rmdir(struct store *s, const char *path, const struct origin *origin)
{
	int err;

	if (!at_deep_path_ok(path))
		return -EINVAL;
	store_lock(s);
	if (!expected_call(s, origin->pid, STEP_RMDIR, path, NULL, &err))
		err = rmdir_local(s, path, origin);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : err;
}

/* ---- rename ---- */

static bool is_at_or_under(const char *dir, const char *top, enum layout layout)
{
	size_t len = strlen(top);

	return strncmp(dir, top, len) == 0 &&
	       (!dir[len] || (layout == LAYOUT_FS && dir[len] == '/'));
}

/* Mailboxes whose directory is `top` or, in fs layout, beneath it. */
static int mailboxes_under(struct store *s, struct index_txn *tx, const char *top,
			   struct guid **ret, size_t *ret_n)
{
	struct tree t = {0};
	int err = index_tree(tx, &t);

	*ret = NULL;
	*ret_n = 0;
	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL;

		if (mailbox_dir(tx, &t.nodes[i].guid, &dir) < 0 || !*dir ||
		    !is_at_or_under(dir, top, s->layout))
			continue;
		*ret = mb_xreallocarray(*ret, *ret_n + 1, sizeof(**ret));
		(*ret)[(*ret_n)++] = t.nodes[i].guid;
	}
	tree_release(&t);
	return err;
}

static int link_to_deleted(struct entry *e, void *arg)
{
	struct posix_call *p = arg;
	MB_AUTO_FREE char *path = entry_path(p->tx, e);
	int err =
		path && e->state == ENTRY_PRESENT ? file_to_deleted(p->s, path, e, true, NULL) : 0;

	return err == -ENOENT ? 0 : err;
}

/* The directory is at `to`; when its first record did not get into the log, it goes back, or it stays
 * and a scan tells. */
static int dir_renamed(struct posix_call *p, const char *from, const char *to, uint64_t appended,
		       int err)
{
	if (err < 0 && (p->s->appended != appended ||
			at_rename(p->s->mail_fd, to, from, RENAME_NOREPLACE) < 0))
		change_stays(p->s); /* what of it is in no log */
	return err;
}

/* The directory goes where no mailbox can be: all in it is deleted, bodies kept. */
static int rename_away(struct posix_call *p, const char *from, const char *to, unsigned flags,
		       const struct guid *boxes, size_t n)
{
	uint64_t appended = p->s->appended;
	int err = 0;

	for (size_t i = 0; i < n && err >= 0; i++)
		err = index_each_in(p->tx, &boxes[i], 0, link_to_deleted, p);
	if (err < 0)
		return err;
	err = at_rename(p->s->mail_fd, from, to, flags);
	if (err < 0)
		return err;
	for (size_t i = 0; i < n && err >= 0; i++)
		err = mailbox_log_delete(p->s, p->tx, &boxes[i], p->origin);
	return dir_renamed(p, from, to, appended, err);
}

static int has_cur(struct store *s, const char *dir)
{
	MB_AUTO_FREE char *cur = path_join(dir, "cur", NULL);
	struct stat st;

	return at_stat(s->mail_fd, cur, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The mailbox that a directory renamed to `to` is, or is cur/ or new/ of.  Owned, or NULL. */
static char *mailbox_of_dir(struct posix_call *p, const char *to)
{
	MB_AUTO_FREE char *cur = parent_of_sub(to, "cur"), *new = parent_of_sub(to, "new");
	const char *dir = cur ? cur : new;
	struct guid g;

	if (!dir)
		return can_be_mailbox(p->s, to) && has_cur(p->s, to) ? mb_xstrdup(to) : NULL;
	if (index_mailbox_by_dir(p->tx, dir, &g) == 0 ||
	    (*dir && has_cur(p->s, dir) && can_be_mailbox(p->s, dir)))
		return mb_xstrdup(dir);
	return NULL;
}

struct come {
	struct posix_call *call;
	struct node_info node;
	const char *path; /* of the directory */
};

static int publish_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct come *c = arg;
	MB_AUTO_FREE char *path = path_join(c->path, NULL, name);
	struct entry known = {0};
	int err;

	if (!is_mail(name, type, ino, NULL))
		return 0;
	err = entry_at(c->call->tx, &c->node.mailbox, name, c->node.in_new, &known);
	entry_release(&known);
	if (err != -ENOENT)
		return err;
	err = publish(c->call, path, &c->node, name, NULL, 0, NULL);
	return err < 0 ? err : 0;
}

/* The mail that came along with the directory. */
static int publish_all(struct posix_call *p, const char *dir, const struct guid *g)
{
	int err = 0;

	for (int in_new = 0; in_new < 2 && err >= 0; in_new++) {
		MB_AUTO_FREE char *path = path_join(dir, in_new ? "new" : "cur", NULL);
		MB_AUTO_CLOSE int fd = at_open(p->s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
		struct come c = {p, {NODE_MESSAGE, *g, in_new}, path};

		if (fd >= 0)
			err = at_list(fd, publish_one, &c);
	}
	return err;
}

/* A local directory (no mailbox in it so far) that becomes a mailbox, or part of one, by its name. */
static int rename_local_dir(struct posix_call *p, const char *from, const char *to, unsigned flags)
{
	uint64_t appended = p->s->appended;
	MB_AUTO_FREE char *dir = NULL;
	struct guid g;
	int err = at_rename(p->s->mail_fd, from, to, flags);

	if (err < 0)
		return err;
	/* mailboxes beneath it are found by the next scan */
	p->s->rescan |= p->s->layout == LAYOUT_FS && can_be_mailbox(p->s, to);
	dir = mailbox_of_dir(p, to);
	if (dir && index_mailbox_by_dir(p->tx, dir, &g) < 0)
		err = mailbox_ensure(p->s, p->tx, dir, p->origin, &g);
	if (dir && err >= 0)
		err = publish_all(p, dir, &g);
	return dir_renamed(p, from, to, appended, err);
}

int posix_dir_rename(struct posix_call *p, const char *from, const char *to, unsigned flags)
{
	MB_AUTO_FREE struct guid *boxes = NULL;
	uint64_t appended = p->s->appended;
	struct guid replaced;
	size_t n;
	int err = mailboxes_under(p->s, p->tx, from, &boxes, &n);

	if (err < 0)
		return err;
	if (n == 0)
		return rename_local_dir(p, from, to, flags);
	if (!can_be_mailbox(p->s, to) || !*to)
		return rename_away(p, from, to, flags, boxes, n);
	if (index_mailbox_by_dir(p->tx, to, &replaced) == 0)
		return -ENOTEMPTY; /* a mailbox has cur/ in it */
	err = at_rename(p->s->mail_fd, from, to, flags);
	if (err < 0)
		return err;
	err = mailbox_log_rename(p->s, p->tx, from, to, p->origin);
	return dir_renamed(p, from, to, appended, err);
}
