/*
 * ops-name.c - LOOKUP, FORGET, and the requests that make or remove one name.
 *
 * Each handler: rename_lock shared for as long as it uses a path; the stripe of a file that may lose
 * its last name.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A change to come: the kernel gets a node for it, and asks again each time. */
static int lookup_token(struct mailfs *fs, const char *name, struct fuse_entry_param *ret)
{
	struct stat st;
	struct node *n, *had, *root = fs->nodes.root;
	int err = store_token_stat(fs->store, name, &st);

	if (err < 0)
		return err;
	table_lock(fs);
	n = node_get(&fs->nodes, &st);
	node_look(n);
	had = node_at(root, name);
	if (had != n) {
		node_drop_name(&fs->nodes, root, name);
		n->token = !node_has_name(n);
		node_add_name(&fs->nodes, n, root, name);
	}
	table_unlock(fs);
	*ret = (struct fuse_entry_param){.ino = fs_ino(fs, n), .attr = st};
	return 0;
}

static int lookup(struct mailfs *fs, struct node *dir, const char *name,
		  struct fuse_entry_param *ret)
{
	struct spot p;
	struct stat st;
	int err = spot_find(fs, dir, name, &p);

	if (err < 0)
		return err;
	err = fs_stat_in(fs, &p, &st);
	if (err >= 0)
		fs_entry(fs, p.dir, p.name, p.path, &st, ret);
	if (err >= 0 && p.alias) {
		ret->ino = fs_alias_ino(ret->ino);
		ret->entry_timeout = ret->attr_timeout = 0;
	}
	if (err == -ENOENT && fs_known(fs, p.dir, p.name)) {
		table_lock(fs);
		fs_name_removed(fs, p.dir, p.name);
		table_unlock(fs);
	}
	spot_release(fs, &p);
	return err;
}

static void reply_entry(fuse_req_t req, int err, const struct fuse_entry_param *e)
{
	struct mailfs *fs = fs_of(req);

	if (err < 0) {
		fuse_reply_err(req, mb_err_errno(err));
	} else if (fuse_reply_entry(req, e)) { /* interrupted: the kernel did not take it */
		table_lock(fs);
		node_forget(&fs->nodes, fs_node(fs, e->ino), 1);
		table_unlock(fs);
	}
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mailfs *fs = fs_of(req);
	struct node *dir = fs_node(fs, parent);
	struct fuse_entry_param e;
	int err;

	count(COUNT_LOOKUP);
	pthread_rwlock_rdlock(&fs->rename_lock);
	err = fs_hidden(fs, dir, name) ? lookup_token(fs, name, &e) : lookup(fs, dir, name, &e);
	pthread_rwlock_unlock(&fs->rename_lock);
	reply_entry(req, err, &e);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct mailfs *fs = fs_of(req);

	count(COUNT_FORGET);
	table_lock(fs);
	node_forget(&fs->nodes, fs_node(fs, ino), nlookup);
	table_unlock(fs);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	struct mailfs *fs = fs_of(req);

	count(COUNT_FORGET);
	table_lock(fs);
	for (size_t i = 0; i < n; i++)
		node_forget(&fs->nodes, fs_node(fs, forgets[i].ino), forgets[i].nlookup);
	table_unlock(fs);
	fuse_reply_none(req);
}

/* What one of mkdir, mknod, symlink makes. */
struct making {
	enum { MAKE_DIR, MAKE_NODE, MAKE_LINK } what;
	mode_t mode;
	dev_t rdev;
	const char *target;
};

static int make_plain(struct mailfs *fs, const char *path, const struct making *m)
{
	const char *name;
	MB_AUTO_CLOSE int dir = at_open_parent(fs->root_fd, path, &name);
	int res;

	if (dir < 0)
		return dir;
	if (m->what == MAKE_LINK)
		res = symlinkat(m->target, dir, name);
	else
		res = mknodat(dir, name, m->mode, m->rdev);
	return res ? -errno : 0;
}

/* A Maildir's cur, new and tmp hold regular files only. */
static int may_make(struct mailfs *fs, struct node *dir, const char *dir_path,
		    const struct making *m)
{
	if (m->what == MAKE_DIR || !kind_is_maildir(fs_kind(fs, dir, dir_path)))
		return 0;
	return m->what == MAKE_NODE && S_ISREG(m->mode) ? 0 : -EPERM;
}

static int make_at(fuse_req_t req, struct node *dir, const char *name, const char *path,
		   const struct making *m)
{
	struct mailfs *fs = fs_of(req);
	char dir_path[AT_PATH_MAX];
	struct origin origin;
	int err = fs_path(fs, dir, NULL, dir_path);

	if (!err)
		err = may_make(fs, dir, dir_path, m);
	if (err < 0)
		return err;
	origin_of(fs, req, &origin);
	err = m->what == MAKE_DIR ? store_mkdir(fs->store, path, m->mode, &origin)
				  : make_plain(fs, path, m);
	if (err < 0)
		return err;
	MB_AUTO_CLOSE int fd = at_open(fs->root_fd, path, O_PATH | O_NOFOLLOW, 0);
	if (fd >= 0)
		err = fs_give(fs, req, fd, dir_path, m->mode);
	return err < 0 ? err : fd < 0 ? fd : 0;
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, const struct making *m)
{
	struct mailfs *fs = fs_of(req);
	struct node *dir = fs_node(fs, parent);
	struct fuse_entry_param e;
	struct stat st;
	char path[AT_PATH_MAX];
	int err;

	if (fs_hidden(fs, dir, name)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	pthread_rwlock_rdlock(&fs->rename_lock);
	err = fs_path(fs, dir, name, path);
	if (!err)
		err = make_at(req, dir, name, path, m);
	if (err >= 0)
		err = at_stat(fs->root_fd, path, &st);
	if (err >= 0) {
		if (m->what == MAKE_DIR)
			fs_kinds_changed(fs);
		table_lock(fs);
		fs_name_added(fs, dir, name, &st);
		table_unlock(fs);
		fs_entry(fs, dir, name, path, &st, &e);
	}
	pthread_rwlock_unlock(&fs->rename_lock);
	reply_entry(req, -fs_change_errno(err), &e);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct making m = {.what = MAKE_DIR, .mode = mode & 07777};

	count(COUNT_MKDIR);
	make(req, parent, name, &m);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct making m = {.what = MAKE_NODE, .mode = mode, .rdev = rdev};

	count(COUNT_MKNOD);
	make(req, parent, name, &m);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct making m = {.what = MAKE_LINK, .mode = S_IFLNK, .target = target};

	count(COUNT_SYMLINK);
	make(req, parent, name, &m);
}

/* Removes a file's or an empty directory's name.  The stripe of n (NULL: not known) is held. */
static int remove_at(fuse_req_t req, struct spot *p, struct node *n, bool is_dir)
{
	struct mailfs *fs = fs_of(req);
	bool last = n && fs_only_name(fs, n);
	MB_AUTO_CLOSE int keep = last ? fs_keep_open(fs, n, p->path) : -1;
	struct origin origin;
	bool in_log;
	int err;

	origin_of(fs, req, &origin);
	err = is_dir ? store_rmdir(fs->store, p->path, &origin)
		     : store_unlink(fs->store, p->path, &origin);
	if (err < 0)
		return err;
	if (last)
		fs_let_go(fs, n, MB_TAKE_FD(keep));
	table_lock(fs);
	in_log = p->dir->dir->in_log && n && n->ordinal && fs_is_logged(fs, p->dir, p->name);
	fs_name_removed(fs, p->dir, p->name);
	p->dir->dir->in_log = in_log;
	table_unlock(fs);
	return 0;
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool is_dir)
{
	struct mailfs *fs = fs_of(req);
	struct spot p;
	struct node *n;
	int err;

	if (fs_hidden(fs, fs_node(fs, parent), name)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	pthread_rwlock_rdlock(&fs->rename_lock);
	err = spot_find(fs, fs_node(fs, parent), name, &p);
	if (err < 0) {
		pthread_rwlock_unlock(&fs->rename_lock);
		fuse_reply_err(req, fs_change_errno(err));
		return;
	}
	n = fs_known(fs, p.dir, p.name);
	stripe_lock2(fs, n, NULL);
	err = remove_at(req, &p, n, is_dir);
	stripe_unlock2(fs, n, NULL);
	if (err >= 0 && p.alias) {
		/* The kernel holds the directory until the reply, so that it hears of this name
		 * after it: for a moment a stat by this name still answers. */
		table_lock(fs);
		inval_name(fs, p.dir, p.name);
		table_unlock(fs);
	}
	if (err >= 0 && is_dir)
		fs_kinds_changed(fs);
	spot_release(fs, &p);
	pthread_rwlock_unlock(&fs->rename_lock);
	fuse_reply_err(req, fs_change_errno(err));
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	count(COUNT_UNLINK);
	remove_name(req, parent, name, false);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	count(COUNT_RMDIR);
	remove_name(req, parent, name, true);
}
