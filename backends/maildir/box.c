/*
 * box.c - mailboxes that the local side wants in the Maildir so: directories follow the tree.
 *
 * A put changes the node; md_settle() then makes, renames or moves aside directories until each is
 * where its node says.  A name that another mailbox still has is waited for: the plan brings that
 * one's new name, or its end, later; when a message has to be stored, or at commit, whoever is in
 * the way gets a temporary name (swaps, rotations).  Before a directory is made or renamed the
 * intent is durable in the map; a rename that was cut is recognised by the inode.
 *
 * A deleted mailbox loses cur, new and tmp only when no message is in them, so that mail which
 * arrived meanwhile stays; files that are not ours stay where they are, and their directory with them.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/maildir/list.h"
#include "backends/maildir/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const SUBS[] = {"tmp", "new", "cur"}; /* with cur it is a mailbox */

/* What Maildir programs put into a folder and nobody misses when the folder goes. */
static const char *const DROPPINGS[] = {
	"maildirfolder",	"maildirsize",	     "dovecot-uidlist",	    "dovecot-keywords",
	"dovecot.index",	"dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache",
	"dovecot.index.backup", ".uidvalidity",	     ".isyncuidmap.db",	    ".mbsyncstate",
};

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

static void set_dir(struct md_box *box, const char *dir)
{
	char *copy = mb_xstrdup(dir);

	free(box->dir);
	box->dir = copy;
	box->misplaced = false;
	box->dirty = true;
}

static int learn_ino(struct maildir *m, struct md_box *box)
{
	struct stat st;
	int err = at_stat(m->root, box->dir, &st);

	if (!err)
		box->ino = st.st_ino;
	return err;
}

static bool is_there(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *cur = join(dir, "cur");
	struct stat st;

	return at_stat(m->root, cur, &st) == 0;
}

static int create_box(struct maildir *m, struct md_box *box, const char *dir)
{
	int err;

	if (is_there(m, dir))
		return MB_E_STALE; /* made by somebody since the last look */
	box->ino = 0;
	err = md_write_box_intent(m, box, dir);
	if (!err)
		err = md_box_make(m, dir);
	if (err)
		return err;
	set_dir(box, dir);
	box->agreed = true;
	box->intent = false;
	box->found = true;
	return learn_ino(m, box);
}

/* ---- Renaming --------------------------------------------------------------------------------- */

/* In LAYOUT=fs the mailboxes beneath go with their parent. */
static void carry_children(struct maildir *m, const char *from, const char *to)
{
	struct md_box *box, *next;
	size_t n = strlen(from);

	HASH_ITER (hh, m->boxes, box, next) {
		if (!box->dir || strncmp(box->dir, from, n) != 0 || box->dir[n] != '/')
			continue;
		MB_AUTO_FREE char *dir = mb_xasprintf("%s%s", to, box->dir + n);
		set_dir(box, dir);
	}
}

static int make_parent(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *parent = mb_xstrdup(dir);
	char *slash = strrchr(parent, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	return at_mkdirs(m->root, parent, 0700);
}

static int rename_dir(struct maildir *m, const char *from, const char *to)
{
	const char *from_name, *to_name;
	int err = make_parent(m, to);
	MB_AUTO_CLOSE int from_dir = err ? -1 : at_open_parent(m->root, from, &from_name);
	MB_AUTO_CLOSE int to_dir = err ? -1 : at_open_parent(m->root, to, &to_name);

	if (err || from_dir < 0 || to_dir < 0)
		return err ? err : from_dir < 0 ? from_dir : to_dir;
	err = io_renameat2(from_dir, from_name, to_dir, to_name, RENAME_NOREPLACE);
	if (err == -EINVAL || err == -ENOSYS)
		err = io_renameat(from_dir, from_name, to_dir, to_name);
	if (!err)
		err = sync_parent(m, from);
	return err ? err : sync_parent(m, to);
}

static int rename_box(struct maildir *m, struct md_box *box, const char *dir)
{
	MB_AUTO_FREE char *from = mb_xstrdup(box->dir);
	int err = md_write_box_intent(m, box, dir);

	if (!err)
		err = rename_dir(m, from, dir);
	if (err)
		return err == -EEXIST || err == -ENOENT || err == -ENOTEMPTY ? MB_E_STALE : err;
	set_dir(box, dir);
	box->intent = false;
	if (m->layout == LAYOUT_FS)
		carry_children(m, from, dir);
	return 0;
}

static int move_aside(struct maildir *m, struct md_box *box)
{
	MB_AUTO_FREE char *dir =
		mb_xasprintf("%s" MD_ASIDE "%016" PRIx64, m->layout == LAYOUT_MAILDIRPP ? "." : "",
			     random_u64());
	int err = rename_box(m, box, dir);

	if (!err)
		box->misplaced = true;
	return err;
}

/* ---- Settling --------------------------------------------------------------------------------- */

static int wanted_dir(struct maildir *m, const struct md_box *box, struct buf *out)
{
	char **parts = NULL;
	size_t n;
	int err;

	if (guid_equal(&box->guid, &GUID_INBOX))
		return 0;
	err = tree_parts(&m->tree, &box->guid, &parts, &n);
	if (!err)
		err = layout_dir(m->layout, (const char *const *)parts, n, out);
	layout_parts_free(parts);
	return err;
}

static bool wants(struct maildir *m, const struct md_box *box, const char *path)
{
	BUF_AUTO struct buf dir = BUF_INIT;

	return box && !box->gone && !box->structural && md_node(m, box)->part &&
	       wanted_dir(m, box, &dir) == 0 && strcmp(buf_cstr(&dir), path) == 0;
}

/* Another mailbox has this name and no directory for it yet. */
static bool is_awaited(struct maildir *m, const struct md_box *box, const char *path)
{
	struct md_box *other, *next;

	HASH_ITER (hh, m->boxes, other, next)
		if (other != box && !other->misplaced && wants(m, other, path))
			return true;
	return false;
}

struct settling {
	struct md_box *in_the_way; /* of some box, in this round */
	bool progress;
};

/* A parent that is no mailbox needs a place in the map only; in LAYOUT=fs its directory goes along. */
static int settle_structural(struct maildir *m, struct md_box *box, const char *dir)
{
	MB_AUTO_FREE char *from = box->dir ? mb_xstrdup(box->dir) : NULL;
	struct stat st;
	int err = 0;

	if (from && strcmp(from, dir) == 0)
		return 0;
	if (from && m->layout == LAYOUT_FS && at_stat(m->root, from, &st) == 0 &&
	    at_stat(m->root, dir, &st) == -ENOENT) {
		err = md_write_box_intent(m, box, dir);
		if (!err)
			err = rename_dir(m, from, dir);
		if (!err)
			carry_children(m, from, dir);
	}
	if (!err)
		set_dir(box, dir);
	m->must_write = true;
	return err;
}

/* In LAYOUT=fs a directory goes with its parent's, which goes first. */
static bool waits_for_parent(struct maildir *m, const struct md_box *box, const char *dir)
{
	const struct md_box *parent = md_box_find(m, &md_node(m, box)->parent);
	const char *slash = strrchr(dir, '/');
	size_t n = slash ? (size_t)(slash - dir) : 0;

	return m->layout == LAYOUT_FS && slash && parent && parent->dir && !parent->gone &&
	       (strncmp(parent->dir, dir, n) != 0 || parent->dir[n]);
}

static int settle_box(struct maildir *m, struct md_box *box, struct settling *s)
{
	BUF_AUTO struct buf dir = BUF_INIT;
	struct md_box *other;
	int err;

	if (box->gone || (box->dir && box->misplaced && !md_node(m, box)->part))
		return 0;
	err = wanted_dir(m, box, &dir);
	if (err)
		return 0; /* its own put said so; the others go on */
	const char *path = buf_cstr(&dir);
	if (waits_for_parent(m, box, path) || (box->dir && strcmp(box->dir, path) == 0))
		return 0;
	if (box->structural) {
		s->progress = true;
		return settle_structural(m, box, path);
	}
	other = md_box_at(m, path);
	if (box->misplaced && (wants(m, other, path) || is_awaited(m, box, path)))
		return 0; /* it gives way; its own delete follows in the plan */
	if (other && other != box && !other->structural) {
		s->in_the_way = other;
		return 0;
	}
	s->progress = true;
	return box->dir ? rename_box(m, box, path) : create_box(m, box, path);
}

static int settle_round(struct maildir *m, struct settling *s)
{
	struct md_box *box, *next;

	*s = (struct settling){0};
	HASH_ITER (hh, m->boxes, box, next) {
		int err = settle_box(m, box, s);

		if (err)
			return err;
	}
	return 0;
}

int md_settle(struct maildir *m, bool force)
{
	struct settling s;
	int err;

	if (!m->unsettled)
		return 0;
	do {
		err = settle_round(m, &s);
		if (!err && !s.progress && s.in_the_way && force) {
			err = move_aside(m, s.in_the_way);
			s.progress = !err;
		}
	} while (!err && s.progress);
	if (!err && !s.in_the_way)
		m->unsettled = false;
	return err;
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
	for (size_t i = 0; i < sizeof(DROPPINGS) / sizeof(*DROPPINGS); i++)
		io_unlinkat(fd, DROPPINGS[i], 0);
	parent = at_open_parent(m->root, dir, &name);
	if (parent < 0)
		return parent;
	err = io_unlinkat(parent, name, AT_REMOVEDIR);
	if (err && err != -ENOTEMPTY && err != -EEXIST && err != -ENOENT)
		return err;
	return sync_parent(m, dir);
}

static int put_deleted(struct maildir *m, struct md_box *box)
{
	struct md_file *f;
	int err;

	if (box->gone)
		return 0; /* told by us; the map forgets it when the local side has it */
	for (f = box->files; f; f = f->hb.next)
		if (!f->missing)
			return MB_E_STALE;
	err = box->dir && !box->structural ? md_box_clear(m, box->dir) : 0;
	if (err)
		return err;
	while (box->files)
		md_file_drop(m, box->files);
	md_box_drop(m, box);
	return 1;
}

/* ---- Merging ---------------------------------------------------------------------------------- */

/* The directory of `from` becomes that of `to`. */
static void take_over(struct maildir *m, struct md_box *from, struct md_box *to)
{
	struct md_file *f, *next;

	set_dir(to, from->dir);
	to->ino = from->ino;
	to->found = from->found;
	to->agreed = true;
	to->named = from->named;
	for (f = from->files; f; f = next) {
		MB_AUTO_FREE char *key = mb_xstrdup(f->key);

		next = f->hb.next;
		md_entry_gone(m, &from->guid, &f->guid, f->id);
		if (guid_equal(&f->agreed_box, &from->guid))
			f->agreed_box = to->guid;
		md_file_move(f, to, key);
	}
	md_box_drop(m, from);
}

static int queue_moves(struct maildir *m, struct md_box *from, struct md_box *to)
{
	struct md_file *f, *next;
	int err = md_names(m, from);

	for (f = from->files; !err && f; f = next) {
		struct record want = {.type = REC_COPY_STATE};

		next = f->hb.next;
		if (!f->name || f->missing)
			continue;
		want.copy.guid = f->guid;
		want.copy.id = f->id;
		want.copy.place = (struct place){.mailbox = to->guid, .at = f->placed_at};
		want.copy.flags.set = f->now.flags;
		err = md_put_copy(m, &want, -1);
		err = err > 0 ? 0 : err;
	}
	return err;
}

static int put_merged(struct maildir *m, struct md_box *from, const struct guid *into)
{
	struct md_box *to = md_box_find(m, into);
	int err;

	if (!to)
		return MB_E_STALE; /* the plan brings it first */
	m->must_write = true;
	if (!to->dir || to->gone) {
		take_over(m, from, to);
		m->unsettled = true;
		err = md_settle(m, false);
		return err ? err : 1;
	}
	err = queue_moves(m, from, to);
	if (!err)
		err = md_flush(m);
	if (!err && m->deferred)
		err = m->deferred;
	m->deferred = 0;
	return err ? err : put_deleted(m, from);
}

/* ---- Puts ------------------------------------------------------------------------------------- */

static bool same_name(const struct mailbox *a, const struct mailbox *b)
{
	return a->part && strcmp(a->part, b->part) == 0 && guid_equal(&a->parent, &b->parent);
}

/* A mailbox that is from now on only a parent of others, or is again more than that. */
static int set_selectable(struct maildir *m, struct md_box *box, bool selectable)
{
	int err = 0;

	if (box->structural == !selectable)
		return 0;
	if (!selectable && box->dir && !box->gone)
		err = md_box_clear(m, box->dir);
	if (err)
		return err;
	box->structural = !selectable;
	if (selectable) {
		free(box->dir);
		box->dir = NULL;
	}
	return 1;
}

/* A parent that is no mailbox at the local side is in no plan: it is only part of names. */
static void add_parents(struct maildir *m, const struct mailbox *want)
{
	struct tree local = {0};
	struct guid g = want->parent;

	if (guid_is_zero(&g) || tree_find(&m->tree, &g) ||
	    m->local->ops->tree(m->local, &local) < 0)
		return;
	while (!guid_is_zero(&g) && !tree_find(&m->tree, &g)) {
		const struct mailbox *there = tree_find(&local, &g);
		struct md_box *box;

		if (!there)
			break;
		box = md_box_add(m, &g);
		mailbox_clone(md_node(m, box), there);
		box->structural = box->agreed = box->dirty = true;
		box->named_at = mailbox_seen(there);
		g = there->parent;
	}
	tree_release(&local);
}

static int check_name(struct maildir *m, const struct md_box *box)
{
	BUF_AUTO struct buf dir = BUF_INIT;

	return wanted_dir(m, box, &dir);
}

static int put_alive(struct maildir *m, struct md_box *box, const struct mailbox *want)
{
	add_parents(m, want);
	struct mailbox *node = md_node(m, box);
	int changed = box->gone || !box->dir || !same_name(node, want);
	int err = box->dir ? set_selectable(m, box, want->selectable) : 0;

	if (err < 0)
		return err;
	changed = changed || err > 0;
	if (box->gone) {
		box->gone = box->held = false;
		free(box->dir);
		box->dir = NULL;
	}
	mailbox_clone(node, want);
	box->structural = !want->selectable;
	box->named_at = mailbox_seen(want);
	box->dirty = true;
	err = check_name(m, box);
	if (err)
		return err;
	m->unsettled = true;
	err = md_settle(m, false);
	return err < 0 ? err : changed;
}

int md_put_mailbox(struct maildir *m, const struct record *want)
{
	const struct mailbox *w = &want->mailbox;
	struct md_box *box = md_box_find(m, &w->guid);
	int err;

	if (m->guarded || (box && box->held))
		return MB_E_GUARD;
	if (guid_equal(&w->guid, &GUID_INBOX))
		return 0;
	err = md_flush(m);
	if (err)
		return err;
	if (!guid_is_zero(&w->merged_into))
		return box ? put_merged(m, box, &w->merged_into) : 0;
	if (!mailbox_alive(w))
		return box ? put_deleted(m, box) : 0;
	if (!box) {
		box = md_box_add(m, &w->guid);
		box->agreed = true;
		box->structural = !w->selectable;
	}
	return put_alive(m, box, w);
}
