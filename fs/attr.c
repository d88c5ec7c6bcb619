/*
 * attr.c - what stat shows: inode numbers, link counts, directory times.
 *
 * st_ino of a published message is its ordinal with FS_ORDINAL_BIT, so that it stays when the
 * message is renamed, moved or mounted anew; of everything else the backing inode.  st_nlink of
 * a message counts its visible names, not the store's (deleted/, staging/).
 *
 * Times of a mailbox's directories only go forward, by at least a nanosecond with each visible change:
 * programs find new mail by comparing them.  They are the backing directory's unless that would break
 * the rule; those of other directories are that always.
 *
 * Locks: table_lock for a moment, never while the store is asked.
 */
#include "backends/base/clock.h"
#include "backends/mail/fname.h"
#include "fs/folder.h"
#include "fs/fs.h"
#include "fs/inval.h"
#include <string.h>

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
	int64_t ns = clock_timespec_ns(mtime);

	/* in a mailbox a time in the past would hide mail from programs that compare */
	if (kind_is_maildir(dir->dir->kind) && ns <= dir->dir->mtime_ns)
		return;
	dir->dir->mtime_ns = ns;
	dir->dir->changed = false; /* what was changed before is told by this time */
}

static void show_dir(struct node *n, struct stat *st)
{
	struct dir *d = n->dir;
	int64_t mtime = clock_timespec_ns(&st->st_mtim), ctime = clock_timespec_ns(&st->st_ctim);

	if (d->kind == NODE_LOCAL) {
		d->mtime_ns = mtime;
		d->ctime_ns = ctime;
		d->changed = false;
		return;
	}
	d->mtime_ns = d->mtime_ns ? forward(mtime, d->mtime_ns, d->changed) : mtime;
	d->ctime_ns = d->ctime_ns ? forward(ctime, d->ctime_ns, d->changed) : ctime;
	d->changed = false;
	st->st_mtim = clock_timespec(d->mtime_ns);
	st->st_ctim = clock_timespec(d->ctime_ns);
	if (kind_is_maildir(d->kind))
		st->st_nlink = 2;
}

/* true when the store should be asked for the ordinal of the message at this name */
static bool show_file(struct mailfs *fs, struct node *n, struct stat *st)
{
	unsigned names = node_n_links(&fs->nodes, n);
	struct name name;
	bool message = node_message_name(n, &name);

	if (!node_has_name(n) && !n->token)
		st->st_nlink = 0;
	else if (message || n->ordinal)
		st->st_nlink = node_has_name(n) ? names : 1;
	return message && !n->ordinal && fname_is_message(name.text);
}

void attr_show(struct mailfs *fs, struct node *n, const char *path, struct stat *st)
{
	bool ask = false;
	uint64_t ordinal;

	table_lock(fs);
	if (node_is_dir(n))
		show_dir(n, st);
	else
		ask = show_file(fs, n, st);
	table_unlock(fs);
	if (ask && path) {
		ordinal = store_ordinal(fs->store, path);
		table_lock(fs);
		if (!n->ordinal)
			n->ordinal = ordinal;
		table_unlock(fs);
	}
	table_lock(fs); /* an edit that is published takes it away */
	ordinal = n->ordinal;
	table_unlock(fs);
	if (ordinal)
		st->st_ino = ordinal | FS_ORDINAL_BIT;
}

double attr_timeout(const struct node *n, const struct stat *st)
{
	return n->token || (n->ordinal && st->st_nlink > 1) ? 0 : FS_TIMEOUT_S;
}

void attr_links_changed(struct mailfs *fs, const struct node *n)
{
	for (struct node *s = node_find(&fs->nodes, node_dev(n), n->ino); s;
	     s = node_next_sibling(s)) {
		if (s == n)
			continue;
		attr_forget(s);
		inval_attr(fs, s);
	}
}

/* ---- what listings keep of a message's stat ---- */

/* The listing that shows n, a message with one name; NULL: none. */
static struct folder *listed_in(struct mailfs *fs, const struct node *n, struct name *ret)
{
	return !node_is_dir(n) && node_message_name(n, ret) && node_n_links(&fs->nodes, n) == 1
		       ? ret->dir->dir->folder
		       : NULL;
}

uint64_t attr_age(struct mailfs *fs, const struct node *n)
{
	struct name name;
	uint64_t age;

	table_lock(fs);
	age = folder_attr_age(listed_in(fs, n, &name));
	table_unlock(fs);
	return age;
}

void attr_keep(struct mailfs *fs, struct node *n, const struct stat *st, uint64_t age)
{
	struct folder *f;
	struct name name;

	table_lock(fs);
	f = n->ordinal ? listed_in(fs, n, &name) : NULL;
	if (f)
		folder_attr_put(f, name.text, st, n->ordinal, age);
	table_unlock(fs);
}

bool attr_kept(struct mailfs *fs, const struct node *n, struct stat *ret)
{
	const struct folder_entry *e;
	const struct folder *f;
	struct name name;
	bool kept;

	table_lock(fs);
	f = listed_in(fs, n, &name);
	e = f ? folder_find(f, name.text) : NULL;
	kept = e && folder_attr_get(f, e, ret);
	table_unlock(fs);
	return kept;
}

void attr_forget(struct node *n)
{
	struct name name;

	for (unsigned i = 0; !node_is_dir(n) && node_name(n, i, &name); i++)
		folder_attr_drop(name.dir->dir->folder, name.text);
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
