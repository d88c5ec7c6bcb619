/*
 * confirm.c - what was found in the Maildir and told: has the local side got it by now?
 *
 * Registers only grow, so what the local side once had stays confirmed.  Asked at each refresh for
 * what was open before, and when the sync state is put at the end of a sync.
 */
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <errno.h>

static bool reached(const struct stamp *at, const struct stamp *told)
{
	return stamp_compare(at, told) >= 0;
}

static bool has_flags(struct maildir *m, const struct md_file *f, const struct copy *c)
{
	uint8_t flags = f->before.flags ^ f->now.flags;
	uint32_t letters = f->before.keywords ^ f->now.keywords;

	for (int i = 0; i < FLAG_COUNT; i++)
		if ((flags & FLAG_MASK(i)) && !reached(&c->flags.at[i], &f->changed_at))
			return false;
	if (letters)
		md_letters_read(m, f->box);
	for (int i = 0; i < LETTERS; i++) {
		const struct keyword *k;

		if (!(letters & 1u << i) || !f->box->letters[i])
			continue;
		k = flags_find_keyword(&c->flags, f->box->letters[i]);
		if (!k || !reached(&k->at, &f->changed_at))
			return false;
	}
	return true;
}

static bool has_place(const struct md_file *f, const struct copy *c)
{
	return reached(&c->place.at, &f->placed_at) || reached(&c->dead, &f->placed_at);
}

static void agree(struct maildir *m, struct md_file *f, const struct copy *c)
{
	if (f->agreed && !guid_equal(&f->agreed_box, &f->box->guid))
		md_entry_gone(m, &f->agreed_box, &f->guid, f->id);
	f->agreed = true;
	f->agreed_box = f->box->guid;
	f->before = f->now;
	if (!digest_known(&f->digest) && c->size == f->size)
		f->digest = c->digest;
	f->dirty = true;
}

/* Drops a file that both sides know to be gone. */
int md_confirm(struct maildir *m, struct md_file *f)
{
	struct message msg = {0};
	const struct copy *c;
	int err = m->local->ops->message(m->local, &f->guid, &msg);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	c = guid_equal(&msg.guid, &f->guid) ? message_find(&msg, f->id) : NULL;
	if (!c)
		;
	else if (f->missing && reached(&c->dead, &f->dead))
		md_file_drop(m, f);
	else if (!f->missing && has_place(f, c) && has_flags(m, f, c))
		agree(m, f, c);
	message_release(&msg);
	return 0;
}

static bool box_confirmed(const struct md_box *box, const struct mailbox *there)
{
	struct stamp seen = mailbox_seen(there);

	if (box->gone)
		return !mailbox_alive(there);
	return reached(&seen, &box->named_at) || reached(&there->dead, &box->named_at);
}

/* Its directory and its mail are gone, and at the local side it lives on as a mere name above others. */
static bool is_name_by_now(const struct md_box *box, const struct mailbox *there)
{
	return box->gone && !box->held && !box->files && there && mailbox_alive(there) &&
	       !there->selectable;
}

/* So it is a mere name here as well, where the local side has it; or else its end would be told again, and
 * those beneath it be in another one of its name. */
static void become_names(struct maildir *m, const struct tree *local)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		const struct mailbox *there = tree_find(local, &box->guid);

		if (is_name_by_now(box, there))
			mailbox_clone(md_node(m, box), there);
	}
	HASH_ITER (hh, m->boxes, box, next) {
		const struct mailbox *there = tree_find(local, &box->guid);
		BUF_AUTO struct buf dir = BUF_INIT;

		if (!is_name_by_now(box, there) || md_wanted_dir(m, box, &dir) < 0 ||
		    md_box_at(m, buf_cstr(&dir)))
			continue;
		free(box->dir);
		box->dir = mb_xstrdup(buf_cstr(&dir));
		box->ino = 0;
		box->gone = box->intent = box->misplaced = false;
		box->structural = box->agreed = box->dirty = true;
		box->named_at = mailbox_seen(there);
	}
}

static void confirm_boxes(struct maildir *m, const struct tree *local)
{
	struct md_box *box, *next;

	become_names(m, local);
	HASH_ITER (hh, m->boxes, box, next) {
		const struct mailbox *there = tree_find(local, &box->guid);

		if ((box->agreed && !box->gone) || box->held || !there ||
		    !box_confirmed(box, there))
			continue;
		if (box->gone && !box->files) {
			md_box_drop(m, box);
		} else if (!box->gone) {
			box->agreed = box->dirty = true;
			box->intent = false;
		}
	}
}

static int confirm_files(struct maildir *m)
{
	struct md_message *msg, *next_msg;

	HASH_ITER (hh, m->messages, msg, next_msg) {
		struct md_file *f, *next;

		for (f = msg->files; f; f = next) {
			int err = 0;

			next = f->next;
			if (md_is_news(f) && !f->queued && !f->out)
				err = md_confirm(m, f);
			if (err)
				return err;
		}
	}
	return 0;
}

int md_confirm_all(struct maildir *m)
{
	struct md_box *box, *next;
	struct tree local = {0};
	bool any = false;
	int err = confirm_files(m);

	HASH_ITER (hh, m->boxes, box, next)
		any = any || !box->agreed || box->gone || !stamp_is_none(&box->subs.at);
	if (err || !any)
		return err;
	err = m->local->ops->tree(m->local, &local);
	if (err >= 0) {
		md_subs_confirm(m, &local);
		confirm_boxes(m, &local);
	}
	tree_release(&local);
	return err < 0 ? err : 0;
}
