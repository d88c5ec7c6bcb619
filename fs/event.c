/*
 * event.c - changes that did not come through the mount: a peer's in a batch, a program's in the
 * backing directory.  Names and listings follow at once, the kernel's caches by inval.c.
 *
 * An event says where to look; what is there now is looked up, so that events that come late, twice
 * or for a change that a handler is just making do no harm.  May be called in a handler's thread:
 * table_lock only, no rename_lock, no stripe.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include <errno.h>
#include <string.h>

/* Directory node of the path's parent, if the kernel knows it; table_lock held. */
static struct node *parent_of(struct mailfs *fs, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	struct node *dir = node_walk(&fs->nodes, path, slash ? (size_t)(slash - path) : 0);

	*ret_name = slash ? slash + 1 : path;
	return dir && dir->dir ? dir : NULL;
}

/* true when the table, the listing and the file agree already.  table_lock held. */
static bool agrees(struct mailfs *fs, struct node *dir, const char *name, const struct stat *st)
{
	struct link *l = node_find_name(&fs->nodes, dir, name);

	if (dir->dir->folder && !dir->dir->loading && !folder_find(dir->dir->folder, name))
		return false;
	return l ? l->node->ino == st->st_ino && l->node->dev == st->st_dev
		 : dir->dir->folder != NULL;
}

/* table_lock held. */
static void name_is_there(struct mailfs *fs, struct node *dir, const char *name,
			  const struct stat *st)
{
	struct link *l = node_find_name(&fs->nodes, dir, name);

	if (dir->dir->folder)
		folder_attr_drop(dir->dir->folder, name);
	if (agrees(fs, dir, name, st))
		return;
	if (l && (l->node->ino != st->st_ino || l->node->dev != st->st_dev)) {
		node_drop_name(&fs->nodes, l);
		inval_name(fs, dir, name);
	}
	fs_name_added(fs, dir, name, st);
	inval_dir(fs, dir);
}

/* table_lock held. */
static void name_is_gone(struct mailfs *fs, struct node *dir, const char *name)
{
	struct link *l = node_find_name(&fs->nodes, dir, name);

	if (!l && dir->dir->folder && !dir->dir->loading && !folder_find(dir->dir->folder, name))
		return;
	if (l)
		inval_name(fs, dir, name);
	fs_name_removed(fs, dir, name);
	inval_dir(fs, dir);
}

static void look_at(struct mailfs *fs, const char *path)
{
	struct node *dir;
	const char *name;
	struct stat st;
	int err = at_stat(fs->root_fd, path, &st);

	if (err < 0 && err != -ENOENT && err != -ENOTDIR)
		return;
	table_lock(fs);
	dir = parent_of(fs, path, &name);
	if (dir && err >= 0)
		name_is_there(fs, dir, name, &st);
	else if (dir)
		name_is_gone(fs, dir, name);
	table_unlock(fs);
	if (err < 0 || S_ISDIR(st.st_mode))
		fs_kinds_changed(fs);
}

/* Same directory: the listing keeps its place.  table_lock held; both directories are known. */
static void move_name(struct mailfs *fs, struct node *from_dir, const char *from,
		      struct node *to_dir, const char *to, const struct stat *st)
{
	struct link *l = node_find_name(&fs->nodes, from_dir, from);
	struct node *n = l ? l->node : NULL;

	if (n && (n->ino != st->st_ino || n->dev != st->st_dev))
		n = NULL;
	if (from_dir == to_dir && from_dir->dir->folder)
		folder_rename(from_dir->dir->folder, from, to);
	alias_follow(&fs->aliases, from_dir, from, to_dir, to);
	if (n) {
		node_ref(n);
		inval_name(fs, from_dir, from);
		l = node_find_name(&fs->nodes, to_dir, to);
		if (l && l->node != n) { /* seen there already, as another name of the file */
			node_drop_name(&fs->nodes, l);
			inval_name(fs, to_dir, to);
			l = NULL;
		}
		if (!l)
			node_add_name(&fs->nodes, n, to_dir, to);
		l = node_find_name(&fs->nodes, from_dir, from);
		if (l)
			node_drop_name(&fs->nodes, l);
		inval_attr(fs, n);
		node_unref(&fs->nodes, n);
	}
}

/* Times move also where the listing keeps its place; the old name may have to go on working. */
static void after_rename(struct mailfs *fs, const struct store_event *e, bool is_file)
{
	const char *from, *to;
	struct node *from_dir = parent_of(fs, e->old_path, &from);
	struct node *to_dir = parent_of(fs, e->path, &to);

	if (!from_dir || !to_dir)
		return;
	attr_changed(from_dir);
	attr_changed(to_dir);
	inval_dir(fs, from_dir);
	inval_dir(fs, to_dir);
	if (e->retired_by_peer && is_file)
		alias_add(&fs->aliases, from_dir, from, to_dir, to, clock_mono_ns());
}

static void renamed(struct mailfs *fs, const struct store_event *e)
{
	struct node *from_dir, *to_dir;
	const char *from, *to;
	struct stat st, old;
	bool moved = at_stat(fs->root_fd, e->path, &st) >= 0 &&
		     at_stat(fs->root_fd, e->old_path, &old) == -ENOENT;

	table_lock(fs);
	from_dir = parent_of(fs, e->old_path, &from);
	to_dir = parent_of(fs, e->path, &to);
	if (moved && from_dir && to_dir)
		move_name(fs, from_dir, from, to_dir, to, &st);
	table_unlock(fs);
	look_at(fs, e->old_path);
	look_at(fs, e->path);
	if (!moved)
		return;
	table_lock(fs);
	after_rename(fs, e, !S_ISDIR(st.st_mode));
	table_unlock(fs);
}

/* A program that is writing goes on with the file that it began with, wherever its name leads now. */
static bool may_follow(const struct node *n, const struct stat *st)
{
	return !n->writing || (n->ino == st->st_ino && n->dev == st->st_dev);
}

static void changed(struct mailfs *fs, const char *path)
{
	struct node *dir, *n = NULL;
	struct link *l = NULL;
	const char *name;
	struct stat st;

	if (at_stat(fs->root_fd, path, &st) < 0) {
		look_at(fs, path);
		return;
	}
	table_lock(fs);
	dir = *path ? parent_of(fs, path, &name) : NULL;
	if (dir && dir->dir->folder)
		folder_attr_drop(dir->dir->folder, name);
	l = dir ? node_find_name(&fs->nodes, dir, name) : NULL;
	n = *path ? (l ? l->node : NULL) : fs->nodes.root;
	if (n && n->dir) {
		attr_changed(n);
		inval_dir(fs, n);
	} else if (n && may_follow(n, &st) && node_rekey(&fs->nodes, n, &st)) {
		n->ordinal = 0; /* may be another message */
		fdcache_drop(fs->fds, &n->slot);
		inval_content(fs, n);
	} else if (n) {
		node_bind(&fs->nodes, dir, name, &st);
		inval_name(fs, dir, name);
	}
	table_unlock(fs);
}

void fs_event(const struct store_event *e, void *arg)
{
	struct mailfs *fs = arg;

	switch (e->what) {
	case EVENT_ADDED:
	case EVENT_REMOVED:
		look_at(fs, e->path);
		break;
	case EVENT_RENAMED:
		renamed(fs, e);
		break;
	case EVENT_CHANGED:
		changed(fs, e->path);
		break;
	}
}
