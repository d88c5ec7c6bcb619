/*
 * box.c - mailboxes that the local side wants in the Maildir so.
 *
 * A put of a live mailbox changes its node only; its directory follows with all others, when a message
 * has to be stored, when a mailbox goes, or at commit (settle.c).  A mailbox that goes, or is from now
 * on only a parent, is cleared at once; the files of one that becomes another move there.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <string.h>

static int put_deleted(struct maildir *m, struct md_box *box)
{
	struct md_file *f;
	int err;

	if (box->gone)
		return 0;	   /* told by us; the map forgets it when the local side has it */
	err = md_settle(m, false); /* what is in it may have to leave first */
	if (err)
		return err;
	for (f = box->files; f; f = f->hb.next)
		if (!f->missing)
			return MB_E_STALE;
	err = box->dir && !box->structural ? md_box_clear(m, box->dir) : 0;
	if (err)
		return err;
	while (box->files)
		md_file_drop(m, box->files);
	md_subs_unlist(m, box);
	md_box_drop(m, box);
	return 1;
}

/* ---- Mere names ------------------------------------------------------------------------------- */

static bool shares_dir(struct maildir *m, const struct md_box *box)
{
	struct md_box *other, *next;

	HASH_ITER (hh, m->boxes, other, next)
		if (other != box && other->dir && strcmp(other->dir, box->dir) == 0)
			return true;
	return false;
}

void md_drop_bare_names(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next)
		box->bare = box->structural && box->dir;
	HASH_ITER (hh, m->boxes, box, next) {
		const struct md_box *up = box;
		size_t steps = 0;

		while (!box->structural && up && steps++ < MAILBOX_DEPTH_MAX) {
			const struct mailbox *node = md_node(m, up);
			struct md_box *above = node ? md_box_find(m, &node->parent) : NULL;

			if (above)
				above->bare = false;
			up = above;
		}
	}
	HASH_ITER (hh, m->boxes, box, next)
		if (box->bare && !shares_dir(m, box))
			md_box_drop(m, box);
}

/* ---- Merging ---------------------------------------------------------------------------------- */

/* The directory of `from` becomes that of `to`. */
static void take_over(struct maildir *m, struct md_box *from, struct md_box *to)
{
	struct md_file *f, *next;

	free(to->dir);
	to->dir = MB_TAKE(from->dir);
	to->misplaced = from->misplaced;
	to->dirty = true;
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
	md_subs_take(m, from, to);
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

/* Nobody here heard of the mailbox that `from` becomes: it begins as what `from` is; the plan brings
 * its own name, or its end, later. */
static struct md_box *become(struct maildir *m, const struct md_box *from, const struct guid *into)
{
	struct md_box *to = md_box_add(m, into);
	struct mailbox *node = md_node(m, to);

	mailbox_clone(node, md_node(m, from));
	node->guid = *into;
	to->named_at = from->named_at;
	to->structural = from->structural;
	return to;
}

/* What was beneath the one is beneath the other: their directories follow. */
static void take_children(struct maildir *m, const struct guid *from, const struct guid *into)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		struct mailbox *node = md_node(m, box);

		if (!node || !guid_equal(&node->parent, from))
			continue;
		node->parent = *into;
		box->dirty = box->wanted = m->unsettled = true;
	}
}

static int put_merged(struct maildir *m, struct md_box *from, const struct guid *into)
{
	struct md_box *to = md_box_find(m, into);
	int err;

	if (from->gone)
		return MB_E_STALE; /* its directory went meanwhile */
	m->must_write = true;
	if (!to || !to->dir || to->gone) {
		struct guid was = from->guid;
		bool known = to;

		to = to ? to : become(m, from, into);
		take_over(m, from, to);
		take_children(m, &was, into);
		to->agreed = known;
		m->unsettled = true;
		err = md_write(m); /* before a plan of directories speaks of it */
		return err ? err : 1;
	}
	err = queue_moves(m, from, to);
	if (!err)
		err = md_flush(m);
	if (!err && m->deferred)
		err = m->deferred;
	m->deferred = 0;
	if (err)
		return err;
	struct guid was = from->guid;

	err = put_deleted(m, from);
	if (err >= 0)
		take_children(m, &was, into);
	return err;
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
	box->touched =
		box->touched && selectable; /* what is cleared is not flushed, nor made again */
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

	return md_wanted_dir(m, box, &dir);
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
	changed = md_subs_put(m, box, want->subscribed) || changed;
	mailbox_clone(node, want);
	box->structural = !want->selectable;
	box->named_at = mailbox_seen(want);
	box->dirty = true;
	err = check_name(m, box);
	if (err)
		return err;
	box->wanted = m->unsettled = true;
	return changed;
}

int md_put_mailbox(struct maildir *m, const struct record *want)
{
	const struct mailbox *w = &want->mailbox;
	struct md_box *box = md_box_find(m, &w->guid);
	int err;

	if (m->guarded || (box && box->held))
		return MB_E_GUARD;
	if (m->broken)
		return m->broken;
	if (guid_equal(&w->guid, &GUID_INBOX))
		return box ? md_subs_put(m, box, w->subscribed) : 0;
	err = md_flush(m);
	if (err)
		return err;
	if (mailbox_merged(w))
		return box ? put_merged(m, box, &w->merged_into) : 0;
	if (!mailbox_alive(w))
		return box ? put_deleted(m, box) : 0;
	if (!box) {
		box = md_box_add(m, &w->guid);
		box->agreed = box->subs.fresh = m->subs_due = true;
		box->structural = !w->selectable;
	}
	return put_alive(m, box, w);
}
