/*
 * ops-rename.c - RENAME and LINK.
 *
 * The store says what a rename of a message means, and does it; here the names follow.  Three kinds are
 * special: a rename of an alias, which becomes a change of flags of the present name; a change of a
 * peer made through the mount (the store answers 1), which leaves an alias; and the rename of a
 * hidden token, which becomes whatever file the store puts at the new name.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include "fs/settle.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct renaming {
	struct mailfs *fs;
	fuse_req_t req;
	struct spot *from;
	struct node *from_dir, *to_dir; /* as the program gave them */
	const char *asked;		/* new name as the program gave it */
	char to_name[NAME_MAX + 1];	/* new name as it will be: differs only for an alias */
	char *to;			/* AT_PATH_MAX */
	unsigned flags;
	bool token;
	struct stat seen;	      /* of the file at its new name; st_ino 0: not looked at */
	struct node *source, *target; /* NULL: not known, or none */
};

/* A program renames what it knows by a retired name: only its difference of flags counts. */
static void merge_alias(struct renaming *r, const char *old)
{
	char merged[FNAME_MAX + 1];

	if (r->from->alias && alias_merge_name(old, r->asked, r->from->name, merged))
		strcpy(r->to_name, merged);
}

static int prepare(struct renaming *r, struct node *dir, const char *name)
{
	int err;

	if (strlen(r->asked) > NAME_MAX)
		return -ENAMETOOLONG;
	err = spot_find(r->fs, dir, name, r->from);
	if (err < 0)
		return err;
	strcpy(r->to_name, r->asked);
	merge_alias(r, name);
	err = fs_path(r->fs, r->to_dir, r->to_name, r->to);
	if (err < 0)
		spot_release(r->fs, r->from);
	return err;
}

/* The names in the table and the listings after a plain rename.  table_lock held. */
static void move_name(struct renaming *r, const struct stat *st)
{
	struct mailfs *fs = r->fs;
	struct node *n = r->source;
	bool placed = false;

	if (r->from->dir == r->to_dir)
		placed = node_rename_listed(&fs->nodes, r->to_dir, r->from->name, r->to_name);
	alias_follow(&fs->aliases, r->to_dir, r->to_name, NULL, NULL);
	alias_follow(&fs->aliases, r->from->dir, r->from->name, r->to_dir, r->to_name);
	alias_shadowed(&fs->aliases, r->to_dir, r->to_name);
	if (node_at(r->to_dir, r->to_name) != n)
		node_drop_name(&fs->nodes, r->to_dir, r->to_name);
	if (n)
		node_add_name(&fs->nodes, n, r->to_dir, r->to_name);
	node_drop_name(&fs->nodes, r->from->dir, r->from->name);
	if (!placed) {
		folder_remove(r->from->dir->dir->folder, r->from->name);
		folder_add(r->to_dir->dir->folder, r->to_name, (unsigned char)(st->st_mode >> 12),
			   st->st_ino);
	}
	if (!fs_is_logged(fs, r->from->dir, r->from->name))
		r->from->dir->dir->in_log = false;
	if (!fs_is_logged(fs, r->to_dir, r->to_name) || !S_ISREG(st->st_mode))
		r->to_dir->dir->in_log = false;
	if (!r->token)
		attr_changed(r->from->dir);
	attr_changed(r->to_dir);
}

static void list_as(struct node *dir, const char *name, const struct node *n)
{
	if (n)
		folder_add(dir->dir->folder, name, n->type, n->ino);
}

/* table_lock held. */
static void exchange_names(struct renaming *r)
{
	struct mailfs *fs = r->fs;
	struct node *source = node_at(r->from->dir, r->from->name);
	struct node *target = node_at(r->to_dir, r->to_name);

	list_as(r->to_dir, r->to_name, source);
	list_as(r->from->dir, r->from->name, target);
	if (target)
		node_ref(target);
	if (source)
		node_ref(source);
	node_drop_name(&fs->nodes, r->from->dir, r->from->name);
	node_drop_name(&fs->nodes, r->to_dir, r->to_name);
	if (source) {
		node_add_name(&fs->nodes, source, r->to_dir, r->to_name);
		node_unref(&fs->nodes, source);
	}
	if (target) {
		node_add_name(&fs->nodes, target, r->from->dir, r->from->name);
		node_unref(&fs->nodes, target);
	}
	r->from->dir->dir->in_log = r->to_dir->dir->in_log = false;
	attr_changed(r->from->dir);
	attr_changed(r->to_dir);
}

/* What is at the new name may not be the inode that the kernel now has there: a token became a file, the
 * store gave it another body.  table_lock held. */
static void check_inode(struct renaming *r, const struct stat *st)
{
	struct mailfs *fs = r->fs;
	struct node *n = r->source;

	if (!n || node_is(n, st))
		return;
	/* who writes goes on with the file that it began with */
	if (!node_writing(n) && node_n_names(n) == 1 && node_rekey(&fs->nodes, n, st)) {
		fdcache_drop(fs->fds, n);
		inval_content(fs, n);
		return;
	}
	folder_attr_drop(r->to_dir->dir->folder, r->to_name);
	node_drop_name(&fs->nodes, r->to_dir, r->to_name);
	inval_name(fs, r->to_dir, r->asked);
}

/* What had another name outside the mailboxes became a second message: with a node of its own from the
 * next lookup on.  table_lock held. */
static void part_messages(struct renaming *r)
{
	struct mailfs *fs = r->fs;
	const struct node *n = node_at(r->to_dir, r->to_name);

	if (!n || !kind_is_messages(r->to_dir->dir->kind) || node_n_message_names(n) < 2)
		return;
	node_drop_name(&fs->nodes, r->to_dir, r->to_name);
	inval_name(fs, r->to_dir, r->asked);
}

static void peer_renamed(struct renaming *r)
{
	if (!r->token && (!r->source || !node_is_dir(r->source)))
		alias_add(&r->fs->aliases, r->from->dir, r->from->name, r->to_dir, r->to_name,
			  clock_mono_ns());
}

/* The program believes in the name it asked for, the listing shows another. */
static void leave_alias(struct renaming *r, const char *old)
{
	alias_shadowed(&r->fs->aliases, r->from_dir, old); /* renamed: gone, as in any directory */
	inval_name(r->fs, r->from->dir, r->from->name);
	if (strcmp(r->asked, r->to_name) == 0)
		return;
	alias_add(&r->fs->aliases, r->to_dir, r->asked, r->to_dir, r->to_name, clock_mono_ns());
	inval_name(r->fs, r->to_dir, r->asked);
	inval_name(r->fs, r->to_dir, old);
}

static void renamed(struct renaming *r, const char *old, bool by_peer)
{
	struct mailfs *fs = r->fs;
	struct stat st = r->seen;
	bool there = st.st_ino || at_stat(fs->root_fd, r->to, &st) >= 0;

	if (r->flags & RENAME_EXCHANGE) {
		table_lock(fs);
		exchange_names(r);
		table_unlock(fs);
		return;
	}
	table_lock(fs);
	if (r->source)
		r->source->token = false;
	if (there) {
		move_name(r, &st);
		check_inode(r, &st);
		part_messages(r);
	} else { /* the store found another place for it */
		fs_name_removed(fs, r->from->dir, r->from->name);
		inval_name(fs, r->to_dir, r->asked);
	}
	if (there && by_peer)
		peer_renamed(r);
	if (there && r->from->alias)
		leave_alias(r, old);
	table_unlock(fs);
}

/* Both are names of one file: nothing happens, says POSIX.  The kernel has moved its name. */
static bool onto_sibling(struct renaming *r)
{
	struct mailfs *fs = r->fs;
	struct stat from, to;

	if (!r->source || !r->target || node_is_dir(r->source) || r->flags & RENAME_EXCHANGE ||
	    at_stat(fs->root_fd, r->from->path, &from) < 0 ||
	    at_stat(fs->root_fd, r->to, &to) < 0 || from.st_ino != to.st_ino ||
	    from.st_dev != to.st_dev)
		return false;
	table_lock(fs);
	inval_name(fs, r->from_dir, r->from->name);
	inval_name(fs, r->to_dir, r->asked);
	table_unlock(fs);
	return true;
}

static bool is_maildir(struct mailfs *fs, struct node *dir)
{
	char path[AT_PATH_MAX];

	return fs_path(fs, dir, NULL, path) == 0 && kind_is_maildir(fs_kind(fs, dir, path));
}

/* Does a link, FIFO, socket or device come into a cur, new or tmp?  What lies there may be moved about. */
static bool is_no_mail(struct mailfs *fs, const struct node *n, struct node *from, struct node *to)
{
	return n && node_type(n) != S_IFREG && !node_is_dir(n) && !(from && is_maildir(fs, from)) &&
	       is_maildir(fs, to);
}

/* Stripes of source and target are held. */
static int rename_held(struct renaming *r, const char *old)
{
	struct mailfs *fs = r->fs;
	bool last = r->target && !(r->flags & RENAME_EXCHANGE) && fs_only_name(fs, r->target);
	MB_AUTO_CLOSE int keep = last ? fs_keep_open(fs, r->target, r->to) : -1;
	struct origin origin;
	int err = 0;

	origin_of(fs, r->req, &origin);
	if (r->source && node_writing(r->source) && !settle_is_new(r->source))
		err = settle_now(fs, r->source);
	if (err >= 0 && strcmp(r->from->path, r->to) != 0)
		err = store_rename_seen(fs->store, r->from->path, r->to, r->flags, &origin,
					&r->seen);
	if (err < 0)
		return err;
	if (last)
		fs_let_go(fs, r->target, MB_TAKE_FD(keep));
	if (r->source && settle_is_new(r->source)) /* published by the rename */
		settle_cancel(fs, r->source);
	renamed(r, old, err == 1);
	return 0;
}

/* References on both nodes, taken or let go. */
static void hold(struct renaming *r, bool take)
{
	struct node *nodes[] = {r->source, r->target};

	table_lock(r->fs);
	for (size_t i = 0; i < 2; i++) {
		if (nodes[i] && take)
			node_ref(nodes[i]);
		else if (nodes[i])
			node_unref(&r->fs->nodes, nodes[i]);
	}
	table_unlock(r->fs);
}

static int do_rename(struct renaming *r, const char *old)
{
	struct mailfs *fs = r->fs;
	int err;

	r->source = fs_known(fs, r->from->dir, r->from->name);
	r->target = fs_known(fs, r->to_dir, r->to_name);
	if (r->target == r->source)
		r->target = NULL;
	hold(r, true);
	stripe_lock2(fs, r->source, r->target);
	if (is_no_mail(fs, r->source, r->from->dir, r->to_dir))
		err = -EPERM;
	else
		err = onto_sibling(r) ? 0 : rename_held(r, old);
	stripe_unlock2(fs, r->source, r->target);
	hold(r, false);
	return err;
}

static bool moves_directory(struct mailfs *fs, struct node *dir, const char *name)
{
	struct node *n = fs_known(fs, dir, name);

	return n && node_is_dir(n);
}

static int rename_locked(struct renaming *r, struct node *dir, const char *name)
{
	int err = prepare(r, dir, name);

	if (err < 0)
		return err;
	r->token = fs_hidden(r->fs, dir, name);
	err = do_rename(r, name);
	spot_release(r->fs, r->from);
	return err;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	       const char *newname, unsigned flags)
{
	struct mailfs *fs = fs_of(req);
	struct node *dir = fs_node(fs, parent);
	struct spot from;
	char to[AT_PATH_MAX];
	struct renaming r = {
		.fs = fs,
		.req = req,
		.from = &from,
		.to = to,
		.from_dir = dir,
		.to_dir = fs_node(fs, newparent),
		.asked = newname,
		.flags = flags,
	};
	bool is_dir;
	int err;

	count(COUNT_RENAME);
	if (fs_hidden(fs, r.to_dir, newname) || flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		fuse_reply_err(req, fs_hidden(fs, r.to_dir, newname) ? EPERM : EINVAL);
		return;
	}
	is_dir = moves_directory(fs, dir, name) || moves_directory(fs, r.to_dir, newname);
	if (is_dir)
		pthread_rwlock_wrlock(&fs->rename_lock);
	else
		pthread_rwlock_rdlock(&fs->rename_lock);
	err = rename_locked(&r, dir, name);
	if (err >= 0 && is_dir)
		fs_kinds_changed(fs);
	pthread_rwlock_unlock(&fs->rename_lock);
	fuse_reply_err(req, fs_change_errno(err));
}

/* Stripe of n is held. */
static int link_held(fuse_req_t req, struct node *n, struct node *dir, const char *name,
		     struct fuse_entry_param *ret)
{
	struct mailfs *fs = fs_of(req);
	char from[AT_PATH_MAX], to[AT_PATH_MAX];
	struct origin origin;
	struct stat st;
	int err;

	table_lock(fs);
	err = n->token ? -EPERM : node_any_path(n, from);
	if (!err)
		err = node_path(dir, name, to);
	table_unlock(fs);
	if (!err)
		err = settle_now(fs, n);
	if (err < 0)
		return err;
	origin_of(fs, req, &origin);
	err = store_link(fs->store, from, to, &origin);
	if (err >= 0)
		err = at_stat(fs->root_fd, to, &st);
	if (err < 0)
		return err;
	table_lock(fs);
	attr_forget(n);
	fs_name_added(fs, dir, name, &st);
	table_unlock(fs);
	fs_entry(fs, dir, name, to, &st, ret);
	return 0;
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct mailfs *fs = fs_of(req);
	struct node *n = fs_node(fs, ino), *dir = fs_node(fs, newparent);
	struct fuse_entry_param e;
	int err = -EPERM;

	count(COUNT_LINK);
	pthread_rwlock_rdlock(&fs->rename_lock);
	if (!fs_hidden(fs, dir, newname) && !is_no_mail(fs, n, NULL, dir)) {
		stripe_lock(fs, n);
		err = link_held(req, n, dir, newname, &e);
		stripe_unlock(fs, n);
	}
	pthread_rwlock_unlock(&fs->rename_lock);
	if (err < 0) {
		fuse_reply_err(req, fs_change_errno(err));
	} else if (fuse_reply_entry(req, &e)) {
		table_lock(fs);
		node_forget(&fs->nodes, fs_node(fs, e.ino), 1);
		table_unlock(fs);
	}
}
