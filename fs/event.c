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
#include "backends/base/mem.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Directory node of the path's parent, if the kernel knows it; table_lock held. */
static struct node *parent_of(struct mailfs *fs, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	struct node *dir = node_walk(&fs->nodes, path, slash ? (size_t)(slash - path) : 0);

	*ret_name = slash ? slash + 1 : path;
	return dir && node_is_dir(dir) ? dir : NULL;
}

/* true when the table, the listing and the file agree already.  table_lock held. */
static bool agrees(const struct node *dir, const char *name, const struct stat *st)
{
	const struct folder *folder = dir->dir->folder;
	const struct node *n = node_at(dir, name);

	if (folder_is_listed(folder) && !dir->dir->loading && !folder_find(folder, name))
		return false;
	return n ? node_is(n, st) : folder_is_listed(folder);
}

/* table_lock held. */
static void name_is_there(struct mailfs *fs, struct node *dir, const char *name,
			  const struct stat *st)
{
	const struct node *n = node_at(dir, name);

	folder_attr_drop(dir->dir->folder, name);
	if (agrees(dir, name, st))
		return;
	if (n && !node_is(n, st)) {
		node_drop_name(&fs->nodes, dir, name);
		inval_name(fs, dir, name);
	}
	fs_name_added(fs, dir, name, st);
	inval_dir(fs, dir);
}

/* table_lock held. */
static void name_is_gone(struct mailfs *fs, struct node *dir, const char *name)
{
	struct node *n = node_at(dir, name);
	const struct folder *folder = dir->dir->folder;

	if (!n && folder_is_listed(folder) && !dir->dir->loading && !folder_find(folder, name))
		return;
	if (n) {
		inval_name(fs, dir, name);
		inval_attr(fs, n); /* who has it open asks how many names are left */
	}
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

/* Of a message that went to deleted/: who has it open goes on reading it there, as after an unlink in the
 * mount.  Half of the descriptors stay for other things: most of the files are forgotten soon. */
static void keep_removed(struct mailfs *fs, const char *path, const char *kept)
{
	struct node *dir, *n = NULL;
	const char *name;
	struct stat st;

	table_lock(fs);
	dir = parent_of(fs, path, &name);
	if (dir)
		n = node_at(dir, name);
	if (n && (!n->nlookup || node_n_names(n) != 1 || node_kept_fd(n) >= 0 || node_writing(n)))
		n = NULL;
	if (n)
		node_ref(n);
	table_unlock(fs);
	if (!n)
		return;
	MB_AUTO_CLOSE int fd = store_open_deleted(fs->store, kept);
	bool good =
		fd >= 0 && fd < sysconf(_SC_OPEN_MAX) / 2 && fstat(fd, &st) == 0 && node_is(n, &st);
	table_lock(fs);
	if (good && node_kept_fd(n) < 0) {
		node_more(n)->was_message = true;
		node_more(n)->kept_fd = MB_TAKE_FD(fd);
		fdcache_drop(fs->fds, n);
	}
	node_unref(&fs->nodes, n);
	table_unlock(fs);
}

/* Same directory: the listing keeps its place.  table_lock held; both directories are known. */
static void move_name(struct mailfs *fs, struct node *from_dir, const char *from,
		      struct node *to_dir, const char *to, const struct stat *st)
{
	struct node *n = node_at(from_dir, from);
	const struct node *there = node_at(to_dir, to);

	if (n && !node_is(n, st)) {
		inval_name(fs, from_dir, from);
		node_drop_name(&fs->nodes, from_dir, from);
		n = NULL;
	}
	if (n)
		node_ref(n);
	if (from_dir == to_dir)
		node_rename_listed(&fs->nodes, from_dir, from, to);
	alias_follow(&fs->aliases, from_dir, from, to_dir, to);
	if (n) {
		inval_name(fs, from_dir, from);
		if (there && there != n) { /* seen there already, as another name of the file */
			if (node_at(to_dir, to) != n)
				node_drop_name(&fs->nodes, to_dir, to);
			inval_name(fs, to_dir, to);
		}
		node_add_name(&fs->nodes, n, to_dir, to);
		node_drop_name(&fs->nodes, from_dir, from);
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
	return !node_writing(n) || node_is(n, st);
}

static void changed(struct mailfs *fs, const char *path)
{
	struct node *dir, *n = NULL;
	const char *name;
	struct stat st;

	if (at_stat(fs->root_fd, path, &st) < 0) {
		look_at(fs, path);
		return;
	}
	table_lock(fs);
	dir = *path ? parent_of(fs, path, &name) : NULL;
	if (dir)
		folder_attr_drop(dir->dir->folder, name);
	n = !*path ? fs->nodes.root : dir ? node_at(dir, name) : NULL;
	if (n && node_is_dir(n)) {
		attr_changed(n);
		inval_dir(fs, n);
	} else if (n && may_follow(n, &st) && node_rekey(&fs->nodes, n, &st)) {
		n->ordinal = 0; /* may be another message */
		fdcache_drop(fs->fds, n);
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
	case EVENT_REMOVED:
		if (e->old_path)
			keep_removed(fs, e->path, e->old_path);
		__attribute__((fallthrough));
	case EVENT_ADDED:
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
