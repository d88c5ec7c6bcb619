/*
 * name.c - what the handlers of (directory, name) share.
 *
 * The kernel holds the directory's lock for each of them (shared for lookups and listings, exclusive for changes), so
 * that within one directory only changes made elsewhere race with them.
 * Locks: table_lock, for a moment.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/settle.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int spot_find(struct mailfs *fs, struct node *dir, const char *name, struct spot *ret)
{
	size_t len = strlen(name);
	const struct alias *a = NULL;
	int err;

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	table_lock(fs);
	if (fs->aliases.n && !node_at(dir, name))
		a = alias_find(&fs->aliases, dir, name, clock_mono_ns());
	ret->alias = a != NULL;
	ret->dir = a ? a->to_dir : dir;
	if (a)
		strcpy(ret->name, a->to_name);
	else
		memcpy(ret->name, name, len + 1);
	ret->maildir = kind_is_maildir(ret->dir->dir->kind);
	err = node_path(ret->dir, ret->name, ret->path);
	if (!err)
		node_ref(ret->dir);
	table_unlock(fs);
	return err;
}

void spot_release(struct mailfs *fs, struct spot *p)
{
	table_lock(fs);
	node_unref(&fs->nodes, p->dir);
	table_unlock(fs);
}

int fs_stat_in(struct mailfs *fs, struct spot *p, struct stat *ret)
{
	struct dir *dir = p->dir->dir;
	unsigned age = atomic_load(&fs->kind_age);
	struct fdcache_slot *slot = NULL;
	const char *name;
	int err;

	if (!p->maildir)
		return at_stat(fs->root_fd, p->path, ret);
	if (atomic_load(&dir->fd_age) == age)
		slot = fdcache_find(fs->fds, p->dir, false);
	if (!slot) {
		err = at_open_parent(fs->root_fd, p->path, &name);
		if (err < 0)
			return err;
		slot = fdcache_add(fs->fds, p->dir, err, false);
		atomic_store(&dir->fd_age, age);
	}
	err = fstatat(slot->fd, p->name, ret, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
	fdcache_unpin(fs->fds, slot);
	return err;
}

bool fs_hidden(const struct mailfs *fs, const struct node *dir, const char *name)
{
	return dir == fs->nodes.root &&
	       strncmp(name, STORE_TOKEN_PREFIX, strlen(STORE_TOKEN_PREFIX)) == 0;
}

struct node *fs_known(struct mailfs *fs, const struct node *dir, const char *name)
{
	struct node *n;

	table_lock(fs);
	n = node_at(dir, name);
	table_unlock(fs);
	return n;
}

bool fs_only_name(struct mailfs *fs, const struct node *n)
{
	bool only;

	table_lock(fs);
	only = node_n_names(n) == 1;
	table_unlock(fs);
	return only;
}

void fs_let_go(struct mailfs *fs, struct node *n, int keep)
{
	settle_cancel(fs, n);
	if (keep >= 0) {
		table_lock(fs);
		node_more(n)->kept_fd = keep;
		table_unlock(fs);
	}
	fdcache_drop(fs->fds, n);
}

void fs_entry(struct mailfs *fs, struct node *dir, const char *name, const char *path,
	      const struct stat *st, struct fuse_entry_param *ret)
{
	struct node *n;

	table_lock(fs);
	n = node_bind(&fs->nodes, dir, name, st);
	if (node_look(n))
		attr_links_changed(fs, n);
	table_unlock(fs);
	*ret = (struct fuse_entry_param){
		.ino = fs_ino(fs, n),
		.attr = *st,
		.entry_timeout = FS_TIMEOUT_S,
	};
	if (node_is_dir(n))
		fs_kind(fs, n, path);
	attr_show(fs, n, path, &ret->attr);
	ret->attr_timeout = attr_timeout(n, &ret->attr);
}

void fs_name_added(struct mailfs *fs, struct node *dir, const char *name, const struct stat *st)
{
	alias_shadowed(&fs->aliases, dir, name);
	folder_add(dir->dir->folder, name, (unsigned char)(st->st_mode >> 12), st->st_ino);
	dir->dir->in_log = false;
	attr_changed(dir);
}

bool fs_is_logged(struct mailfs *fs, const struct node *dir, const char *name)
{
	return kind_is_messages(dir->dir->kind) &&
	       dir->dir->kind_age == atomic_load(&fs->kind_age) &&
	       node_dev(dir) == node_dev(fs->nodes.root) && fname_is_message(name);
}

void fs_name_removed(struct mailfs *fs, struct node *dir, const char *name)
{
	node_ref(dir);
	node_drop_name(&fs->nodes, dir, name);
	folder_remove(dir->dir->folder, name);
	alias_follow(&fs->aliases, dir, name, NULL, NULL);
	dir->dir->in_log = false;
	attr_changed(dir);
	node_unref(&fs->nodes, dir);
}

/* In a set-gid directory the group is the directory's already. */
static bool inherits_group(struct mailfs *fs, const char *dir_path)
{
	struct stat st;

	return at_stat(fs->root_fd, dir_path, &st) == 0 && st.st_mode & S_ISGID;
}

int fs_give(struct mailfs *fs, fuse_req_t req, int fd, const char *dir_path, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	gid_t gid = ctx->gid;
	char proc[64];

	if (!fs->chown || (ctx->uid == 0 && ctx->gid == 0))
		return 0;
	if (inherits_group(fs, dir_path))
		gid = (gid_t)-1;
	if (fchownat(fd, "", ctx->uid, gid, AT_EMPTY_PATH))
		return -errno;
	if (!(mode & (S_ISUID | S_ISGID)) || !(mode & S_IFMT) || S_ISLNK(mode))
		return 0; /* a directory comes without its type: chown leaves its bits */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd); /* chown took the bits away */
	return chmod(proc, mode & 07777) ? -errno : 0;
}

void fs_kinds_changed(struct mailfs *fs)
{
	atomic_fetch_add(&fs->kind_age, 1);
}
