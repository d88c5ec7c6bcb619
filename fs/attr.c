/*
 * attr.c - what stat shows: inode numbers, link counts, directory times.
 *
 * st_ino of a published message is its ordinal with FS_ORDINAL_BIT, so that it stays when the
 * message is renamed, moved or mounted anew; of everything else the backing inode.  st_nlink of
 * a message counts its visible names, not the store's (deleted/, staging/).
 *
 * Directory times only go forward, by at least a nanosecond with each visible change: programs find
 * new mail by comparing them.  They are the backing directory's unless that would break the rule.
 *
 * Locks: table_lock for a moment, never while the store is asked.
 */
#include "backends/mail/fname.h"
#include "fs/fs.h"
#include <string.h>

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
	int64_t s = ns / 1000000000 - (ns % 1000000000 < 0);

	return (struct timespec){.tv_sec = s, .tv_nsec = ns - s * 1000000000};
}

static int64_t forward(int64_t backing, int64_t shown, bool changed)
{
	if (backing > shown)
		return backing;
	return changed ? shown + 1 : shown;
}

void attr_changed(struct node *dir)
{
	dir->dir->changed = true;
}

void attr_set_mtime(struct node *dir, const struct timespec *mtime)
{
	int64_t ns = ns_of(mtime);

	/* in a mailbox a time in the past would hide mail from programs that compare */
	if (kind_is_maildir(dir->dir->kind) && ns <= dir->dir->mtime_ns)
		return;
	dir->dir->mtime_ns = ns;
	dir->dir->changed = false; /* what was changed before is told by this time */
}

static void show_dir(struct node *n, struct stat *st)
{
	struct dir *d = n->dir;
	int64_t mtime = ns_of(&st->st_mtim), ctime = ns_of(&st->st_ctim);

	d->mtime_ns = d->mtime_ns ? forward(mtime, d->mtime_ns, d->changed) : mtime;
	d->ctime_ns = d->ctime_ns ? forward(ctime, d->ctime_ns, d->changed) : ctime;
	d->changed = false;
	st->st_mtim = timespec_of(d->mtime_ns);
	st->st_ctim = timespec_of(d->ctime_ns);
	if (kind_is_maildir(d->kind))
		st->st_nlink = 2;
}

/* true when the store should be asked for the ordinal of the message at this name */
static bool show_file(struct node *n, struct stat *st)
{
	const struct link *l = node_message_name(n);
	unsigned names = node_n_names(n);

	if (names == 0 && !n->token)
		st->st_nlink = 0;
	else if (l || n->ordinal)
		st->st_nlink = names ? names : 1;
	return l && !n->ordinal && fname_is_message(l->name);
}

void attr_show(struct mailfs *fs, struct node *n, const char *path, struct stat *st)
{
	bool ask = false;
	uint64_t ordinal;

	table_lock(fs);
	if (n->dir)
		show_dir(n, st);
	else
		ask = show_file(n, st);
	table_unlock(fs);
	if (ask && path) {
		ordinal = store_ordinal(fs->store, path);
		table_lock(fs);
		if (!n->ordinal)
			n->ordinal = ordinal;
		table_unlock(fs);
	}
	if (n->ordinal)
		st->st_ino = n->ordinal | FS_ORDINAL_BIT;
}

enum node_kind fs_kind(struct mailfs *fs, struct node *dir, const char *path)
{
	unsigned age = atomic_load(&fs->kind_age);
	struct node_info info;
	enum node_kind kind;

	table_lock(fs);
	kind = dir->dir->kind;
	if (dir->dir->kind_age == age) {
		table_unlock(fs);
		return kind;
	}
	table_unlock(fs);
	if (store_classify(fs->store, path, &info) < 0)
		info.kind = NODE_LOCAL;
	table_lock(fs);
	dir->dir->kind = info.kind;
	dir->dir->kind_age = age;
	table_unlock(fs);
	return info.kind;
}
