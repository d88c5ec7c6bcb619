/*
 * fill.c - see fill.h.
 */
#include "sync/fill-private.h"

#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "sync/scope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NEEDED_CAPS (CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_GUIDS)

bool fill_may(const struct backend_info info[2], const struct session_options *opt)
{
	for (int i = 0; i < 2; i++)
		if ((info[i].caps & NEEDED_CAPS) != NEEDED_CAPS || (info[i].caps & CAP_FOLDS))
			return false;
	return !opt->dry_run && scope_is_default(opt->scope);
}

static size_t piece_wanted(void)
{
	const char *text = secure_getenv("MAILBRAID_PIECE");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	return n > 0 && n < FILL_PIECE ? n : FILL_PIECE;
}

int fill_open(struct fill *f, struct gather *g, const struct session_options *opt,
	      struct session_result *report)
{
	*f = (struct fill){.gather = g, .opt = opt, .report = report, .piece = piece_wanted()};
	for (int i = 0; i < 2; i++) {
		int err = g->b[i]->ops->tree(g->b[i], &f->tree[i]);
		if (err < 0)
			return err;
		f->boxes[i] = mb_xcalloc(f->tree[i].n, sizeof(*f->boxes[i]));
		tree_clone(&f->in.side[i].tree, &f->tree[i]);
		f->in.side[i].caps = g->info[i].caps;
		f->in.side[i].replica = g->info[i].replica;
	}
	return 0;
}

void fill_release(struct fill *f)
{
	for (int i = 0; i < 2; i++) {
		tree_release(&f->tree[i]);
		free(f->boxes[i]);
		free(f->copies[i]);
		merge_side_release(&f->in.side[i]);
	}
	memset(f, 0, sizeof(*f));
}

/* ---- what there is --------------------------------------------------------------------------- */

struct fill_box *fill_box_of(const struct fill *f, int side, const struct guid *g)
{
	const struct mailbox *box = tree_find(&f->tree[side], g);

	return box ? &f->boxes[side][box - f->tree[side].nodes] : NULL;
}

/* Under every GUID by which either side knows the mailbox, or will when both have merged theirs. */
static void mark(struct fill *f, const struct guid *g, enum fill_mark what)
{
	const struct guid a = tree_resolve(&f->tree[0], *g), b = tree_resolve(&f->tree[1], *g);
	const struct guid names[] = {*g, a, b, tree_resolve(&f->tree[1], a),
				     tree_resolve(&f->tree[0], b)};

	for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
		if (k && guid_equal(&names[k], g))
			continue;
		for (int side = 0; side < 2; side++) {
			struct fill_box *box = fill_box_of(f, side, &names[k]);
			if (box)
				box->marks |= what;
		}
	}
}

void fill_touch(struct fill *f, const struct message *m)
{
	for (size_t i = 0; i < m->n; i++)
		mark(f, &m->copies[i].place.mailbox, ON_BOTH);
}

static uint32_t hash_base(const char *base)
{
	struct fname name;

	fname_parse(base, &name);
	return (uint32_t)checksum64(base, name.unique_len, 0);
}

static void add_copy(struct fill *f, int side, const struct copy *c)
{
	const struct mailbox *box = tree_find(&f->tree[side], &c->place.mailbox);
	uint64_t forgotten = f->gather->info[1 - side].forgotten;

	MB_GROW(f->copies[side], f->cap[side], f->n[side] + 1);
	f->copies[side][f->n[side]++] = (struct fill_copy){
		.guid = c->guid,
		.id = c->id,
		.box = (uint32_t)(box - f->tree[side].nodes),
		.uid = c->place.uid,
		.base = c->place.base ? hash_base(c->place.base) : 0,
		.alive = copy_alive(c),
		.old = f->hold_old && forgotten && c->place.at.time <= forgotten,
	};
}

static bool is_settled(const struct tree *t, const struct guid *g)
{
	const struct mailbox *box = tree_find(t, g);

	return box && !mailbox_merged(box);
}

bool fill_may_go(const struct fill *f, int side, const struct guid *key, const struct message *m)
{
	bool lives = message_alive(m);

	if (!m->n || m->missing || !guid_equal(&m->guid, key))
		return false;
	for (size_t i = 0; i < m->n; i++) {
		const struct copy *c = &m->copies[i];
		if (c->unagreed || !is_settled(&f->tree[side], &c->place.mailbox))
			return false;
		if (lives && copy_alive(c) && (!c->place.uid || !c->place.base))
			return false;
	}
	return true;
}

static void see(struct fill *f, int side, const struct guid *key, const struct message *m,
		bool heard)
{
	bool lives = message_alive(m);

	if (heard || !fill_may_go(f, side, key, m)) {
		gather_add(f->gather, key);
		fill_touch(f, m);
		return;
	}
	for (size_t i = 0; i < m->n; i++) {
		const struct copy *c = &m->copies[i];
		mark(f, &c->place.mailbox, side ? ON_1 : ON_0);
		if (lives && !copy_alive(c))
			continue; /* it goes with the first one that lives */
		add_copy(f, side, c);
	}
}

int fill_see(struct fill *f, int side, const struct guid *key)
{
	struct message m[2] = {0};
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++) {
		struct backend *b = f->gather->b[i];
		err = b->ops->message(b, key, &m[i]);
		err = err == -ENOENT ? 0 : err;
	}
	const struct message *other = &m[1 - side];
	bool heard = other->n || other->missing;
	if (err >= 0 && heard)
		fill_touch(f, other);
	if (err >= 0)
		see(f, side, key, &m[side], heard);
	message_release(&m[0]);
	message_release(&m[1]);
	return err < 0 ? err : 0;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

/* Something on the other side is called so, alive or not. */
static bool is_called(const struct tree *there, const struct guid *parent, const char *part)
{
	for (size_t i = 0; i < there->n; i++) {
		struct guid above = tree_resolve(there, there->nodes[i].parent);
		if (guid_equal(&above, parent) && strcasecmp(there->nodes[i].part, part) == 0)
			return true;
	}
	return false;
}

/* The other side never heard of it, nor of anything that has its name; and so for those above it. */
static bool may_be_made(const struct tree *here, const struct tree *there,
			const struct mailbox *box)
{
	for (size_t steps = 0; steps <= here->n; steps++) {
		const struct mailbox *parent = tree_find(here, &box->parent);
		if (!mailbox_alive(box) || is_called(there, &box->parent, box->part))
			return false;
		if (guid_is_zero(&box->parent))
			return true;
		if (!parent || !is_settled(here, &box->parent))
			return false;
		const struct mailbox *known = tree_find(there, &box->parent);
		if (known)
			return mailbox_alive(known) && mailbox_alive(parent);
		box = parent;
	}
	return false;
}

static bool is_plain(const struct mailbox *box)
{
	return mailbox_alive(box) && box->selectable;
}

static void judge_boxes(struct fill *f, int from)
{
	const struct tree *here = &f->tree[from], *there = &f->tree[1 - from];

	for (size_t i = 0; i < here->n; i++) {
		const struct mailbox *box = &here->nodes[i];
		const struct mailbox *other = tree_find(there, &box->guid);
		struct fill_box *b = &f->boxes[from][i];
		b->next = other && other->uid_next > 1 ? other->uid_next : 1;
		if (b->marks != (from ? ON_1 : ON_0))
			continue;
		b->plain =
			is_plain(box) && (other ? is_plain(other) : may_be_made(here, there, box));
		b->gone = !mailbox_alive(box) && (!other || !mailbox_alive(other));
	}
}

/* ---- the choice ------------------------------------------------------------------------------ */

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* The living first, by mailbox and file name. */
static int compare_bases(const void *x, const void *y)
{
	const struct fill_copy *a = x, *b = y;
	int order = b->alive - a->alive;
	if (!order)
		order = compare_numbers(a->box, b->box);
	return order ? order : compare_numbers(a->base, b->base);
}

/* As they are put: the dead first, the living by mailbox and UID. */
static int compare_turns(const void *x, const void *y)
{
	const struct fill_copy *a = x, *b = y;
	int order = a->alive - b->alive;
	if (!order)
		order = compare_numbers(a->box, b->box);
	if (!order)
		order = compare_numbers(a->uid, b->uid);
	if (!order)
		order = guid_compare(&a->guid, &b->guid);
	return order ? order : compare_numbers(a->id, b->id);
}

/* Copies of one message, as they were seen: all or none. */
static bool message_fits(const struct fill *f, int from, const struct fill_copy *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct fill_box *box = &f->boxes[from][c[i].box];
		if (!box->plain && (c[i].alive || !box->gone))
			return false;
		if (!c[i].alive)
			continue;
		if (c[i].old && !f->gather->strangers)
			return false;
		for (size_t k = 0; k < i; k++)
			if (c[k].alive && c[k].box == c[i].box)
				return false;
	}
	return true;
}

static void leave_messages(struct fill *f, int from)
{
	struct fill_copy *c = f->copies[from];
	size_t run;

	for (size_t i = 0; i < f->n[from]; i += run) {
		run = 1;
		while (i + run < f->n[from] && guid_equal(&c[i].guid, &c[i + run].guid))
			run++;
		bool fits = message_fits(f, from, &c[i], run);
		for (size_t k = i; k < i + run && !fits; k++)
			c[k].state = FILL_LEFT;
	}
}

static void leave_equal_names(struct fill *f, int from)
{
	struct fill_copy *c = f->copies[from];

	if (f->n[from])
		qsort(c, f->n[from], sizeof(*c), compare_bases);
	for (size_t i = 1; i < f->n[from] && c[i].alive; i++)
		if (compare_bases(&c[i - 1], &c[i]) == 0)
			c[i - 1].state = c[i].state = FILL_LEFT;
}

void fill_leave(struct fill *f, int from, struct fill_copy *c)
{
	c->state = FILL_LEFT;
	if (c->alive)
		f->boxes[from][c->box].closed = true;
	gather_add(f->gather, &c->guid);
}

static void leave_all(struct fill *f)
{
	for (int from = 0; from < 2; from++)
		for (size_t i = 0; i < f->n[from]; i++)
			fill_leave(f, from, &f->copies[from][i]);
}

bool fill_choose(struct fill *f)
{
	struct gather *g = f->gather;

	f->n_open = 0;
	g->filled = true;
	g->strangers = !g->related && !gather_share_a_mailbox(&f->tree[0], &f->tree[1]);
	for (int from = 0; from < 2; from++) {
		judge_boxes(f, from);
		leave_messages(f, from);
		leave_equal_names(f, from);
		if (f->n[from])
			qsort(f->copies[from], f->n[from], sizeof(*f->copies[from]), compare_turns);
		for (size_t i = 0; i < f->n[from]; i++)
			f->n_open += f->copies[from][i].state == FILL_OPEN;
	}
	if (f->n_open >= f->piece)
		return true;
	leave_all(f);
	f->n_open = 0;
	return false;
}
