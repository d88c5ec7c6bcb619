/*
 * scan.c - which mailboxes the foreign Maildir has now.
 *
 * Directories are matched with the map by inode and name: same name and inode first; then an inode
 * that is found under another name, with a message that was in it, is a rename; then a known name
 * with another inode is the same mailbox, put there anew (a restored backup, a copied tree).  What is
 * left is new here: it gets the GUID of the local mailbox of that name, if the map does not have that
 * one already, so that folders that both sides have are one from the start.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/maildir/intent.h"
#include "backends/maildir/list.h"
#include "backends/maildir/maildir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define TRIES 6

struct found_dir {
	char *dir; /* owned */
	uint64_t ino;
	struct md_box *box;
};

struct dirs {
	struct maildir *m;
	struct found_dir *items; /* owned */
	size_t n, cap;
	const char *parent; /* directory being listed */
	int depth, err;
	uint64_t times; /* checksum over the directories listed and their times */
};

char *md_sub_path(const struct md_box *box, const char *sub, const char *name)
{
	const char *parts[3] = {box->dir, sub, name};
	BUF_AUTO struct buf b = BUF_INIT;

	for (int i = 0; i < 3; i++)
		if (*parts[i])
			buf_printf(&b, "%s%s", b.len ? "/" : "", parts[i]);
	return mb_xstrdup(buf_cstr(&b));
}

/* ---- Directories ------------------------------------------------------------------------------ */

static bool is_mailbox_name(struct maildir *m, const char *dir)
{
	char **parts = NULL;
	size_t n;

	if (layout_parts(m->layout, dir, &parts, &n) < 0)
		return false;
	layout_parts_free(parts);
	return n > 0 && n <= MAILBOX_DEPTH_MAX;
}

static void add_dir(struct dirs *d, const char *dir, uint64_t ino)
{
	MB_GROW(d->items, d->cap, d->n + 1);
	d->items[d->n++] = (struct found_dir){.dir = mb_xstrdup(dir), .ino = ino};
}

static int list_dir(struct dirs *d, const char *dir);

static int is_message(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type, (void)ino, (void)arg;
	return fname_is_message(name);
}

/* A known mailbox that has mail in new still is one when somebody has removed its empty cur. */
static bool lost_its_cur(struct maildir *m, const char *dir)
{
	MB_AUTO_FREE char *cur = mb_xasprintf("%s/cur", dir), *new_ = mb_xasprintf("%s/new", dir);
	MB_AUTO_CLOSE int fd = -1;
	struct stat st;

	if (!md_box_at(m, dir) || at_stat(m->root, cur, &st) != -ENOENT)
		return false;
	fd = at_open(m->root, new_, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 || at_list(fd, is_message, NULL) <= 0)
		return false;
	if (!io_is_read_only())
		md_box_make(m, dir);
	return true;
}

static int dir_entry(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct dirs *d = arg;
	bool dotted = name[0] == '.';
	MB_AUTO_FREE char *path = NULL;

	if ((type != DT_DIR && type != DT_UNKNOWN) || dotted != (d->m->layout == LAYOUT_MAILDIRPP))
		return 0;
	path = mb_xasprintf("%s%s%s", d->parent, *d->parent ? "/" : "", name);
	if (!at_path_ok(path) || !is_mailbox_name(d->m, path))
		return 0;
	if (md_dir_is_mailbox(d->m, path) || lost_its_cur(d->m, path))
		add_dir(d, path, ino);
	return d->m->layout == LAYOUT_FS ? list_dir(d, path) : 0;
}

static int note_dir(struct dirs *d, const char *dir, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	const int64_t t[4] = {st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec,
			      st.st_ctim.tv_nsec};
	d->times = checksum64(dir, strlen(dir), d->times);
	d->times = checksum64(t, sizeof(t), d->times);
	return 0;
}

/* The root of a Maildir++ tree; in LAYOUT=fs every directory beneath as well. */
static int list_dir(struct dirs *d, const char *dir)
{
	const char *parent = d->parent;
	MB_AUTO_CLOSE int fd = at_open(d->m->root, dir, O_RDONLY | O_DIRECTORY, 0);
	int err;

	if (fd < 0)
		return fd == -ENOTDIR ? 0 : fd;
	if (d->depth > MAILBOX_DEPTH_MAX)
		return 0;
	err = note_dir(d, dir, fd);
	if (err)
		return err;
	d->parent = dir;
	d->depth++;
	err = at_list(fd, dir_entry, d);
	d->depth--;
	d->parent = parent;
	return err;
}

static int find_dirs(struct dirs *d)
{
	struct stat st;

	if (fstat(d->m->root, &st) < 0)
		return -errno;
	add_dir(d, "", st.st_ino);
	d->parent = "";
	return list_dir(d, "");
}

static void dirs_release(struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->items[i].dir);
	free(d->items);
}

static int compare_found(const void *a, const void *b)
{
	return strcmp(((const struct found_dir *)a)->dir, ((const struct found_dir *)b)->dir);
}

/* A mailbox that the map has is not where it was.  Sorts the directories. */
static bool lacks_one(struct dirs *d)
{
	struct md_box *box, *next;

	qsort(d->items, d->n, sizeof(*d->items), compare_found);
	HASH_ITER (hh, d->m->boxes, box, next) {
		const struct found_dir key = {.dir = box->dir};

		if (box->dir && !box->structural &&
		    !bsearch(&key, d->items, d->n, sizeof(*d->items), compare_found))
			return true;
	}
	return false;
}

/* A directory that is renamed while its parent is read may be seen under neither name.  So when one is
 * lacking all is read again, a tick of the clock later: if no time is another one then, what was read
 * first is right. */
static int find_dirs_steadily(struct dirs *d)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	int err = find_dirs(d);

	for (int try = 0; !err && lacks_one(d); try++) {
		struct dirs again = {.m = d->m};
		nanosleep(&tick, NULL);
		err = find_dirs(&again);
		bool same = !err && again.times == d->times;
		if (!err && !same) {
			dirs_release(d);
			*d = again;
		} else {
			dirs_release(&again);
		}
		if (same)
			break;
		if (try == TRIES) {
			d->m->restless = true;
			break;
		}
	}
	return err;
}

/* ---- Matching --------------------------------------------------------------------------------- */

static void match(struct found_dir *f, struct md_box *box)
{
	bool elsewhere = !box->dir || strcmp(box->dir, f->dir) != 0;

	f->box = box;
	/* An intent of ours: it happened when the directory is where it was to be. */
	box->misplaced = md_is_aside(f->dir) || stamp_is_none(&box->named_at) ||
			 (box->intent && box->agreed && elsewhere);
	if (elsewhere) {
		free(box->dir);
		box->dir = mb_xstrdup(f->dir);
		box->dirty = true;
	}
	if (box->intent && box->agreed)
		box->dirty = true;
	if (box->ino != f->ino)
		box->dirty = true;
	box->ino = f->ino;
	box->found = true;
	box->gone = false;
}

static void match_same(struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct md_box *box = md_box_at(d->m, d->items[i].dir);

		if (box && !box->found && (!*d->items[i].dir || box->ino == d->items[i].ino))
			match(&d->items[i], box);
	}
}

/* A directory's number may be given again after it was removed: what was in it tells. */
static bool is_same_box(struct maildir *m, const struct md_box *box, const char *dir)
{
	return !box->files || md_shares_file(m, box, dir);
}

static void match_renamed(struct dirs *d)
{
	struct md_box *box, *next;

	for (size_t i = 0; i < d->n; i++) {
		struct found_dir *f = &d->items[i];

		if (f->box)
			continue;
		HASH_ITER (hh, d->m->boxes, box, next) {
			if (!box->found && !box->structural && box->ino == f->ino &&
			    is_same_box(d->m, box, f->dir)) {
				match(f, box);
				break;
			}
		}
	}
}

static void match_replaced(struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		struct md_box *box = d->items[i].box ? NULL : md_box_at(d->m, d->items[i].dir);

		if (box && !box->found)
			match(&d->items[i], box);
	}
}

/* ---- Names ------------------------------------------------------------------------------------ */

struct naming {
	struct maildir *m;
	struct tree local; /* the local side's mailboxes, when they were asked for */
	bool asked;
	bool changed;
};

static bool ask_local(struct naming *c)
{
	c->asked = c->asked || c->m->local->ops->tree(c->m->local, &c->local) >= 0;
	return c->asked;
}

/* The live local mailbox with these parts, unless the map has it under another name. */
static bool local_guid(struct naming *c, char **parts, size_t n, struct guid *ret,
		       struct stamp *ret_at)
{
	const struct mailbox *node = NULL;
	struct guid parent = GUID_ZERO;

	if (!ask_local(c))
		return false;
	for (size_t i = 0; i < n; i++) {
		node = tree_child(&c->local, &parent, parts[i]);
		if (!node)
			return false;
		parent = node->guid;
	}
	if (!node || !mailbox_alive(node))
		return false;
	const struct md_box *known = md_box_find(c->m, &node->guid);
	if (known && known->dir)
		return false;
	*ret = node->guid;
	*ret_at = mailbox_seen(node);
	return true;
}

static struct md_box *new_box(struct naming *c, const char *dir, char **parts, size_t n)
{
	struct guid g = guid_new();
	struct stamp at = STAMP_NONE;
	struct md_box *box;
	bool known;

	if (n == 0) {
		g = GUID_INBOX;
		at = MD_BIRTH(c->m);
	}
	known = n > 0 && local_guid(c, parts, n, &g, &at);
	box = md_box_find(c->m, &g); /* without a directory: its entry was cut off */
	if (!box)
		box = md_box_add(c->m, &g);
	box->dir = mb_xstrdup(dir);
	box->named_at = stamp_is_none(&at) ? md_now(c->m) : at;
	box->agreed = known || n == 0;
	box->dirty = true;
	c->m->must_write = c->m->must_write || !box->agreed;
	return box;
}

static int name_box(struct naming *c, struct md_box *box);

/* The node above: made as a mere parent when there is no such directory. */
static int parent_of(struct naming *c, char **parts, size_t n, struct guid *ret)
{
	BUF_AUTO struct buf dir = BUF_INIT;
	struct md_box *box;
	int err = 0;

	*ret = GUID_ZERO;
	if (n == 0)
		return 0;
	err = layout_dir(c->m->layout, (const char *const *)parts, n, &dir);
	if (err)
		return err;
	box = md_box_at(c->m, buf_cstr(&dir));
	if (!box) {
		box = new_box(c, buf_cstr(&dir), parts, n);
		box->structural = true;
		err = name_box(c, box);
	}
	*ret = box->guid;
	return err;
}

static void set_node_name(struct mailbox *node, const struct guid *parent, const char *part)
{
	char *copy = mb_xstrdup(part);

	free(node->part);
	node->part = copy;
	node->parent = *parent;
}

static void rename_node(struct naming *c, struct md_box *box, struct mailbox *node,
			const struct guid *parent, const char *part)
{
	free(node->old_part);
	node->old_part = MB_TAKE(node->part);
	node->old_parent = node->parent;
	set_node_name(node, parent, part);
	box->named_at = md_now(c->m);
	box->agreed = false;
	box->dirty = true;
	c->m->must_write = true;
}

/* Gives the node of a box the name that its directory says. */
static int name_box(struct naming *c, struct md_box *box)
{
	struct mailbox *node;
	struct guid parent;
	char **parts = NULL;
	size_t n;
	int err = layout_parts(c->m->layout, box->dir, &parts, &n);

	if (err)
		return err;
	err = parent_of(c, parts, n ? n - 1 : 0, &parent);
	const char *part = n ? parts[n - 1] : "INBOX";
	node = md_node(c->m, box); /* parent_of() may have moved it */
	if (err)
		;
	else if (!node->part)
		set_node_name(node, &parent, part);
	else if (c->changed && box->misplaced)
		set_node_name(node, &parent, part);
	else if (c->changed &&
		 (!guid_equal(&node->parent, &parent) || strcmp(node->part, part) != 0))
		rename_node(c, box, node, &parent, part);
	layout_parts_free(parts);
	return err;
}

/* The map has one stamp for the name and for a revival: of one that was revived, the name is older. */
static struct stamp name_stamp(struct naming *c, const struct md_box *box)
{
	const struct mailbox *there = ask_local(c) ? tree_find(&c->local, &box->guid) : NULL;
	struct stamp seen = there ? mailbox_seen(there) : STAMP_NONE;

	return there && stamp_compare(&seen, &box->named_at) == 0 ? there->named_at : box->named_at;
}

static void fill_node(struct naming *c, struct md_box *box)
{
	struct maildir *m = c->m;
	struct mailbox *node = md_node(m, box);

	node->named_at = box->misplaced ? STAMP_NONE : name_stamp(c, box);
	/* Without a name of its own it still lives. */
	if (box->misplaced)
		node->revived = MD_BIRTH(m);
	node->born = box->agreed ? STAMP_NONE : node->named_at;
	node->selectable = !box->structural;
	md_subs_fill(m, box);
}

static int name_all(struct naming *c)
{
	struct md_box *box, *next;
	int err;

	HASH_ITER (hh, c->m->boxes, box, next) {
		err = box->dir && !box->gone ? name_box(c, box) : 0;
		if (err && err != MB_E_NAME)
			return err;
	}
	return 0;
}

static int add_new_dirs(struct naming *c, struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++) {
		char **parts = NULL;
		size_t n;

		if (d->items[i].box)
			continue;
		int err = layout_parts(c->m->layout, d->items[i].dir, &parts, &n);
		if (err)
			continue;
		match(&d->items[i], new_box(c, d->items[i].dir, parts, n));
		layout_parts_free(parts);
	}
	return 0;
}

/* A parent that got a directory of its own, or an intent to make a mailbox that came to nothing. */
static void look_after(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		if (box->found && box->structural) {
			box->structural = false;
			md_node(m, box)->selectable_at = md_now(m);
			box->agreed = false;
			box->dirty = m->must_write = true;
		}
		if (box->found || box->structural)
			continue;
		if (!box->dir || (box->intent && (!box->agreed || !box->ino))) {
			if (!box->dir)
				md_subs_unlist(m, box); /* a delete of ours that was cut */
			md_box_drop(m, box);
		} else {
			box->gone = true;
		}
	}
}

/* A mailbox was renamed to what was a mere name above others: they are one from now on.  The map keeps
 * the mere name until the local side knows. */
static void absorb_names(struct naming *c)
{
	struct md_box *box, *next;

	HASH_ITER (hh, c->m->boxes, box, next) {
		struct md_box *real =
			box->structural && box->dir ? md_box_at(c->m, box->dir) : NULL;
		const struct mailbox *there;

		if (!real || !real->found || real->structural || !ask_local(c))
			continue;
		there = tree_find(&c->local, &box->guid);
		if (!there) {
			md_box_drop(c->m, box);
		} else if (!there->selectable) {
			struct mailbox *node = md_node(c->m, real);
			/* and stays a mailbox, see stay_selectable() in backends/store/tree.c */
			if (stamp_compare(&node->selectable_at, &there->selectable_at) <= 0)
				node->selectable_at = md_now(c->m);
			md_node(c->m, box)->merged_into = real->guid;
			c->m->must_write = true;
		}
	}
}

/* Nobody is beneath them any more. */
static void drop_absorbed(struct naming *c)
{
	struct md_box *box, *next;

	HASH_ITER (hh, c->m->boxes, box, next) {
		const struct mailbox *there =
			box->structural && ask_local(c) ? tree_find(&c->local, &box->guid) : NULL;

		if (there && mailbox_merged(there))
			md_box_drop(c->m, box);
	}
}

static int scan_dirs(struct maildir *m)
{
	struct naming names = {.m = m};
	struct dirs d = {.m = m};
	struct md_box *box, *next;
	int err;

	drop_absorbed(&names);
	err = name_all(&names); /* as the map says */
	if (!err)
		md_drop_bare_names(m);
	if (!err)
		err = find_dirs_steadily(&d);
	if (!err) {
		match_same(&d);
		match_renamed(&d);
		match_replaced(&d);
		names.changed = true;
		err = add_new_dirs(&names, &d);
	}
	if (!err) {
		look_after(m);
		err = name_all(&names);
	}
	HASH_ITER (hh, m->boxes, box, next)
		fill_node(&names, box);
	if (!err)
		absorb_names(&names);
	tree_release(&names.local);
	dirs_release(&d);
	return err;
}

/* ---- The root --------------------------------------------------------------------------------- */

static int count_entry(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)name, (void)type, (void)ino, (void)arg;
	return 1;
}

int md_open_root(struct maildir *m, bool *ret_empty)
{
	int fd = open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? MB_E_NOT_MAILDIR : -errno;
	if (m->root >= 0)
		close(m->root);
	m->root = fd;
	*ret_empty = false;
	if (md_dir_is_mailbox(m, ""))
		return 0;
	*ret_empty = at_list(fd, count_entry, NULL) == 0;
	return *ret_empty ? 0 : MB_E_NOT_MAILDIR;
}

static int name_from_map(struct maildir *m)
{
	struct naming names = {.m = m};
	struct md_box *box, *next;
	int err = name_all(&names);

	HASH_ITER (hh, m->boxes, box, next)
		fill_node(&names, box);
	tree_release(&names.local);
	return err;
}

int md_scan(struct maildir *m, bool full)
{
	bool empty = false;
	int err = md_open_root(m, &empty);

	if (!err)
		err = md_load(m);
	if (err)
		return err;
	m->held = m->listed = 0;
	m->guarded = empty && m->messages && !m->allow;
	m->scan_error = m->restless = false;
	m->unread = 0;
	if (!m->guarded)
		err = md_intent_replay(m);
	if (!err)
		err = md_confirm_all(m); /* what was told before, as it was told */
	if (err)
		return err;
	if (m->guarded) {
		md_guard_root(m);
		err = name_from_map(m);
		return err || !m->must_write || io_is_read_only() ? err : md_write(m);
	}
	if (empty && !io_is_read_only())
		err = md_box_make(m, "");
	if (!err)
		err = scan_dirs(m);
	if (!err)
		err = md_subs_look(m);
	if (!err)
		err = md_list_changed(m, full);
	if (!err)
		err = md_judge(m);
	if (!err && m->subs_due && !io_is_read_only() && md_subs_write(m) == 0)
		err = md_write(m); /* what a cut session left to be done */
	return err;
}
