/*
 * fill-piece.c - puts what fill.c chose: see fill.h.
 *
 * Each state is read once more when its piece is made: what changed meanwhile is left to the merge.
 */
#include "sync/fill-private.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "sync/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one piece ------------------------------------------------------------------------------- */

struct piece {
	struct fill *f;
	int from;
	struct merge_result plans; /* its tree is borrowed */
	size_t cap_messages;
	size_t at;     /* next copy */
	uint64_t done; /* items of earlier pieces */
	bool makes;    /* mailboxes */
};

static void add_item(struct piece *p, struct record *item)
{
	struct plan *plan = &p->plans.plan[1 - p->from];

	item->origin.replica = p->f->origin[p->from];
	MB_GROW(plan->items, plan->cap, plan->n + 1);
	plan->items[plan->n] = (struct record){0};
	record_clone(&plan->items[plan->n++], item);
}

/* It is made with those above it, without the UIDs that it gave: they come with its mail, or at the
 * end. */
static void add_made(struct piece *p, const struct mailbox *box)
{
	const struct fill *f = p->f;
	const struct mailbox *parent = tree_find(&f->tree[p->from], &box->parent);
	struct fill_box *above = parent ? fill_box_of(f, p->from, &parent->guid) : NULL;

	if (above && !above->there && !tree_find(&f->tree[1 - p->from], &parent->guid)) {
		above->there = true;
		add_made(p, parent);
	}
	struct record item = {.type = REC_MAILBOX_STATE, .mailbox = *box};
	item.mailbox.uid_next = 1;
	add_item(p, &item);
	p->makes = true;
}

/* A greater UIDVALIDITY comes before the UIDs that belong to it. */
static void add_validity(struct piece *p, const struct mailbox *there, const struct mailbox *box)
{
	struct mailbox joined = {0};
	struct record item = {.type = REC_MAILBOX_STATE, .mailbox = *there};

	mailbox_clone(&joined, there);
	mailbox_join(&joined, box);
	if (joined.uid_validity != there->uid_validity) {
		item.mailbox.uid_validity = joined.uid_validity;
		item.mailbox.uid_validity_at = joined.uid_validity_at;
		add_item(p, &item);
	}
	mailbox_release(&joined);
}

static void add_mailbox(struct piece *p, uint32_t index)
{
	const struct fill *f = p->f;
	struct fill_box *b = &f->boxes[p->from][index];
	const struct mailbox *box = &f->tree[p->from].nodes[index];
	const struct mailbox *there = tree_find(&f->tree[1 - p->from], &box->guid);

	if (b->there)
		return;
	b->there = true;
	if (there)
		add_validity(p, there, box);
	else
		add_made(p, box);
}

static void add_copy_item(struct piece *p, const struct copy *c)
{
	struct record item = {.type = REC_COPY_STATE, .copy = *c};

	add_item(p, &item);
}

/* It, or what it would be made in. */
static bool is_closed(const struct fill *f, int from, uint32_t index)
{
	const struct mailbox *box = &f->tree[from].nodes[index];

	for (size_t steps = 0; box && steps <= f->tree[from].n; steps++) {
		if (fill_box_of(f, from, &box->guid)->closed)
			return true;
		if (tree_find(&f->tree[1 - from], &box->guid))
			return false;
		box = tree_find(&f->tree[from], &box->parent);
	}
	return false;
}

/* The copy is as it was seen, and its UID means nothing to the other side. */
static bool still_fits(const struct piece *p, const struct fill_copy *e, const struct message *m)
{
	const struct fill *f = p->f;
	const struct fill_box *b = &f->boxes[p->from][e->box];
	const struct copy *c = message_find(m, e->id);

	if (e->state != FILL_OPEN || !c || !fill_may_go(f, p->from, &e->guid, m) ||
	    copy_alive(c) != e->alive || (!e->alive && message_alive(m)))
		return false;
	return !e->alive || (!is_closed(f, p->from, e->box) && c->place.uid == e->uid &&
			     e->uid >= b->next && e->uid < UINT32_MAX &&
			     guid_equal(&c->place.mailbox, &f->tree[p->from].nodes[e->box].guid));
}

static void add_copies(struct piece *p, const struct fill_copy *e, const struct message *m)
{
	for (size_t i = 0; e->alive && i < m->n; i++)
		if (!copy_alive(&m->copies[i]))
			add_copy_item(p, &m->copies[i]);
	if (e->alive) {
		add_mailbox(p, e->box);
		p->f->boxes[p->from][e->box].next = e->uid + 1;
	}
	add_copy_item(p, message_find(m, e->id));
}

static int add_entry(struct piece *p, struct fill_copy *e)
{
	struct merge_side *side = &p->f->in.side[p->from];
	struct backend *b = p->f->gather->b[p->from];
	struct message m = {0};
	int err = e->state == FILL_OPEN ? b->ops->message(b, &e->guid, &m) : 0;

	if (err < 0 && err != -ENOENT)
		return err;
	if (!still_fits(p, e, &m)) {
		fill_leave(p->f, p->from, e);
		message_release(&m);
		return 0;
	}
	add_copies(p, e, &m);
	e->state = FILL_DONE;
	MB_GROW(side->messages, p->cap_messages, side->n_messages + 1);
	side->messages[side->n_messages++] = m;
	return 0;
}

/* As many as one piece can have. */
static void foresee_piece(const struct piece *p)
{
	const struct fill *f = p->f;
	struct backend *b = f->gather->b[p->from];
	struct guid *list MB_AUTO_FREE = NULL;
	size_t n = 0;

	if (!b->ops->foresee)
		return;
	list = mb_xcalloc(f->piece, sizeof(*list));
	for (size_t i = p->at; i < f->n[p->from] && n < f->piece; i++)
		if (f->copies[p->from][i].state == FILL_OPEN)
			list[n++] = f->copies[p->from][i].guid;
	backend_foresee(b, &(struct backend_ask){.messages = list, .n_messages = n});
}

static int make_piece(struct piece *p)
{
	struct fill *f = p->f;
	struct merge_side *side = &f->in.side[p->from];
	const struct plan *plan = &p->plans.plan[1 - p->from];
	int err = 0;

	foresee_piece(p);
	for (; err >= 0 && p->at < f->n[p->from] && plan->n < f->piece; p->at++)
		err = add_entry(p, &f->copies[p->from][p->at]);
	if (side->n_messages)
		merge_side_sort(side);
	return err < 0 ? err : 0;
}

/* Which mailboxes are there now: into one that could not be made nothing goes. */
static int look_again(struct piece *p)
{
	struct fill *f = p->f;
	struct backend *b = f->gather->b[1 - p->from];
	struct tree *there = &f->in.side[1 - p->from].tree;

	if (!p->makes)
		return 0;
	p->makes = false;
	tree_release(there);
	int err = b->ops->tree(b, there);
	for (size_t i = 0; err >= 0 && i < f->tree[p->from].n; i++) {
		struct fill_box *box = &f->boxes[p->from][i];
		if (box->there && !tree_find(there, &f->tree[p->from].nodes[i].guid))
			box->closed = true;
	}
	return err < 0 ? err : 0;
}

static int put_piece(struct piece *p)
{
	struct fill *f = p->f;
	const struct plan *plan = &p->plans.plan[1 - p->from];
	const struct apply a = {
		.b = {f->gather->b[0], f->gather->b[1]},
		.in = &f->in,
		.result = &p->plans,
		.opt = f->opt,
		.report = f->report,
		.before = p->done,
		.all = f->n_open > p->done + plan->n ? f->n_open : p->done + plan->n,
	};
	int err = apply_plan(&a, 1 - p->from, APPLY_REST);

	p->done += plan->n;
	return err < 0 ? err : look_again(p);
}

static void piece_release(struct piece *p)
{
	struct merge_side *side = &p->f->in.side[p->from];
	struct plan *plan = &p->plans.plan[1 - p->from];

	for (size_t i = 0; i < plan->n; i++)
		record_release(&plan->items[i]);
	free(plan->items);
	*plan = (struct plan){0};
	for (size_t i = 0; i < side->n_messages; i++)
		message_release(&side->messages[i]);
	free(side->messages);
	side->messages = NULL;
	side->n_messages = p->cap_messages = 0;
}

static int put_pieces(struct piece *p)
{
	int err = 0;

	while (err >= 0 && p->at < p->f->n[p->from]) {
		err = make_piece(p);
		if (err >= 0)
			err = put_piece(p);
		piece_release(p);
	}
	return err;
}

static int fill_side(struct fill *f, int side, uint64_t *done)
{
	struct piece p = {.f = f, .from = 1 - side, .done = *done};
	struct backend *b = f->gather->b[side];
	int err = f->before_begin ? f->before_begin(f->before_begin_arg, side) : 0;

	if (err >= 0)
		err = b->ops->begin(b, f->origin[1 - side], f->n_open > APPLY_MANY);
	if (err < 0)
		return err;
	p.plans.tree = f->tree[1 - side];
	int ended = put_pieces(&p);
	*done = p.done;
	if (ended < 0 && ended != MB_E_STALE && ended != -EINTR)
		return ended;
	err = b->ops->commit(b); /* what was put stays, also when it is not all */
	return err < 0 ? err : ended;
}

int fill_run(struct fill *f)
{
	uint64_t done = 0;
	int err = 0;

	for (int side = 1; side >= 0 && err >= 0; side--)
		if (f->n[1 - side])
			err = fill_side(f, side, &done);
	return err < 0 ? err : 0;
}
