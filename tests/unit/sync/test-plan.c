/*
 * test-plan.c - what a side has to put: order, what people see of it, sides that keep less.
 */
#include "backends/base/mem.h"
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define INBOX GUID_INBOX

struct read {
	struct backend *b;
	struct merge_side *side;
	size_t cap;
};

static int read_one(const struct guid *g, void *arg)
{
	struct read *r = arg;
	MB_GROW(r->side->messages, r->cap, r->side->n_messages + 1);
	return r->b->ops->message(r->b, g, &r->side->messages[r->side->n_messages++]);
}

static void read_side(struct backend *b, struct merge_side *ret)
{
	struct read r = {b, ret, 0};
	struct backend_info info;
	b->ops->info(b, &info);
	b->ops->tree(b, &ret->tree);
	ret->caps = info.caps;
	ret->replica = info.replica;
	b->ops->each_message(b, NULL, read_one, &r);
}

/* A merge of what both have now. */
struct merged {
	struct merge_input in;
	struct merge_result r;
};

static struct merged merge_now(struct world *w)
{
	struct merged m = {0};
	read_side(w->a, &m.in.side[0]);
	read_side(w->b, &m.in.side[1]);
	merge(&m.in, &m.r);
	return m;
}

static void merged_release(struct merged *m)
{
	merge_side_release(&m->in.side[0]);
	merge_side_release(&m->in.side[1]);
	merge_result_release(&m->r);
}

/* What B's items are, as people see them: "mailbox-create arrive". */
static void sees(struct world *w, const char *want)
{
	struct merged m = merge_now(w);
	BUF_AUTO struct buf have = BUF_INIT;
	for (size_t i = 0; i < m.r.plan[1].n; i++)
		buf_printf(&have, "%s%s", i ? " " : "",
			   record_type_name(plan_what(&m.in.side[1], &m.r.plan[1].items[i])));
	assert_string_equal(buf_cstr(&have), want);
	merged_release(&m);
}

static void base(struct world *w)
{
	w->x = mkbox(w->a, "X");
	w->m = has(w->a, INBOX, "m");
	in_step(w);
}

static void what_copies(struct world *w)
{
	base(w);
	sees(w, "");
	w->n = has(w->a, w->x, "n");
	sees(w, "arrive");
	in_step(w);
	flag(w->a, w->n, FLAG_SEEN);
	sees(w, "flags");
	move(w->a, w->n, INBOX);
	sees(w, "move");
	expunge(w->a, w->n);
	sees(w, "none expunge"); /* uid_next */
	in_step(w);
	restore(w->a, w->n);
	sees(w, "arrive");
}

static void what_mailboxes(struct world *w)
{
	base(w);
	w->y = mkbox(w->a, "Y");
	sees(w, "mailbox-create");
	in_step(w);
	rename_to(w->a, w->y, "Z");
	sees(w, "mailbox-rename");
	in_step(w);
	subscribe(w->a, w->y, true);
	sees(w, "mailbox-subscribe");
	in_step(w);
	delete_box(w->a, w->y);
	sees(w, "mailbox-delete");
}

/* Cut between the two, it is a mailbox with less mail, not a mere name with mail in it. */
static void name_after_mail(struct world *w)
{
	base(w);
	mkbox_in(w->a, w->x, "below");
	w->n = has(w->a, w->x, "n");
	in_step(w);
	delete_box(w->a, w->x);
	sees(w, "expunge mailbox-delete");
	in_step(w);
	is_noselect(w, w->x);
}

static void what_renumbers(struct world *w)
{
	base(w);
	w->n = has(w->b, INBOX, "there");
	w->o = has(w->a, INBOX, "here");
	sees(w, "renumber arrive");
}

/* Parents, then what is in them; expunges before arrivals; deletes last, the deepest first. */
static void order(struct world *w)
{
	base(w);
	struct guid old = mkbox(w->a, "old"), below = mkbox_in(w->a, old, "below");
	in_step(w);
	struct guid new = mkbox(w->a, "new"), in = mkbox_in(w->a, new, "in");
	has(w->a, in, "first");
	has(w->a, in, "second");
	delete_box(w->a, below);
	delete_box(w->a, old);
	expunge(w->a, w->m);
	struct merged m = merge_now(w);
	const struct record *i = m.r.plan[1].items;
	assert_int_equal(m.r.plan[1].n, 7);
	assert_memory_equal(&i[0].mailbox.guid, &new, sizeof(new));
	assert_memory_equal(&i[1].mailbox.guid, &in, sizeof(in));
	assert_memory_equal(&i[2].copy.guid, &w->m, sizeof(w->m));
	assert_int_equal(i[3].copy.place.uid, 1);
	assert_int_equal(i[4].copy.place.uid, 2);
	assert_memory_equal(&i[5].mailbox.guid, &below, sizeof(below));
	assert_memory_equal(&i[6].mailbox.guid, &old, sizeof(old));
	assert_int_equal(i[0].origin.replica, 1);
	merged_release(&m);
}

/* A message that leaves goes first: another one may be given its file name. */
static void who_leaves_makes_room(struct world *w)
{
	base(w);
	w->n = has(w->a, w->x, "leaves");
	w->y = mkbox(w->a, "Y");
	in_step(w);
	has(w->a, INBOX, "new");
	move(w->a, w->n, w->y);
	struct merged m = merge_now(w);
	assert_int_equal(m.r.plan[1].n, 2);
	assert_memory_equal(&m.r.plan[1].items[0].copy.guid, &w->n, sizeof(w->n));
	merged_release(&m);
}

/* A replica learns of an expunge of what it never had; who keeps no stamps does not. */
static void tombstones(struct world *w)
{
	struct backend_info info;
	base(w);
	w->n = has(w->a, INBOX, "short-lived");
	expunge(w->a, w->n);
	sees(w, "none none"); /* uid_next, the tombstone */
	w->b->ops->info(w->b, &info);
	memory_set_caps(w->b, info.caps & ~(unsigned)CAP_STAMPS);
	sees(w, "");
	flag(w->a, w->m, FLAG_SEEN);
	sees(w, "flags");
	unflag(w->a, w->m, FLAG_SEEN);
	sees(w, "");
}

static void without_uids(struct world *w)
{
	struct backend_info info;
	base(w);
	w->b->ops->info(w->b, &info);
	memory_set_caps(w->b, info.caps & ~(unsigned)(CAP_STAMPS | CAP_UIDS | CAP_SUBSCRIBE));
	w->n = has(w->b, INBOX, "there");
	w->o = has(w->a, INBOX, "here");
	subscribe(w->a, w->x, true);
	sees(w, "arrive");
}

/* A peer that gives no UIDs. */
static void gets_uids(struct world *w)
{
	struct backend_info info;
	base(w);
	w->b->ops->info(w->b, &info);
	memory_set_caps(w->b, info.caps & ~(unsigned)CAP_UIDS);
	w->n = has(w->b, INBOX, "n");
	find_copy(w->b, w->n, 0)->place.uid = 0;
	find_box(w->b, INBOX)->uid_next = 0;
	struct merged m = merge_now(w);
	assert_int_equal(m.r.plan[0].items[0].copy.place.uid, 2);
	assert_int_equal(m.r.n_notices, 0);
	merged_release(&m);
}

static void aliases(struct world *w)
{
	struct merged m;
	w->m = has(w->a, INBOX, "same");
	w->n = has(w->b, INBOX, "same");
	m = merge_now(w);
	int loser = guid_compare(&w->m, &w->n) > 0 ? 0 : 1;
	const struct plan *p = &m.r.plan[loser];
	size_t alias = 0;
	while (alias < p->n && p->items[alias].type != REC_ALIAS)
		alias++;
	assert_true(alias < p->n);
	const struct record *item = &p->items[alias];
	assert_memory_equal(&item->old_guid, loser ? &w->n : &w->m, sizeof(struct guid));
	assert_memory_equal(&item->copy.guid, loser ? &w->m : &w->n, sizeof(struct guid));
	for (size_t i = 0; i < p->n; i++) /* the message is not an arrival */
		assert_int_not_equal(plan_what(&m.in.side[loser], &p->items[i]), REC_ARRIVE);
	merged_release(&m);
}

/* Made apart under one name, with the same message: for people its mailbox became the other one, and it
 * did not move.  One that really moved did. */
static void a_mailbox_that_became_another_moves_nothing(struct world *w)
{
	struct guid x[2] = {mkbox(w->a, "X"), mkbox(w->b, "X")};
	size_t copies = 0;

	has(w->a, x[0], "same");
	has(w->b, x[1], "same");
	struct merged m = merge_now(w);
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < m.r.plan[side].n; i++) {
			const struct record *item = &m.r.plan[side].items[i];
			copies += item->type == REC_COPY_STATE;
			assert_int_not_equal(plan_what_joined(&m.in.side[side], &m.r.tree, item),
					     REC_MOVE);
		}
	}
	assert_true(copies > 0);
	merged_release(&m);
}

/* One that was made for pairing and is known to one side only is no reason to write. */
static void digests_are_no_news(struct world *w)
{
	base(w);
	memset(&find_copy(w->a, w->m, 0)->digest, 0, sizeof(struct digest));
	struct merged m = merge_now(w);
	assert_int_equal(m.r.plan[0].n, 0);
	assert_int_equal(m.r.plan[1].n, 0);
	merged_release(&m);
}

static void nothing_at_all(struct world *w)
{
	struct merge_input in = {0};
	struct merge_result r;
	assert_int_equal(merge(&in, &r), 0);
	assert_int_equal(r.plan[0].n + r.plan[1].n + r.n_notices + r.tree.n, 0);
	merge_result_release(&r);
}

static void put_node(struct tree *t, struct guid guid, struct guid parent, const char *part,
		     uint64_t named, struct guid merged_into)
{
	char name[8];
	struct mailbox box = {
		.guid = guid,
		.parent = parent,
		.part = name,
		.born = {1, 1},
		.named_at = {named, 1},
		.selectable = true,
		.uid_validity = 1,
		.uid_next = 1,
		.merged_into = merged_into,
	};
	strcpy(name, part);
	tree_put(t, &box);
}

/* One side calls the parent by what became another; who keeps no stamps has no other name for that. */
static void parents_that_became_one(struct world *w)
{
	struct guid was = {{1}}, now = {{2}}, below = {{3}};
	struct merged m = {0};

	(void)w;
	for (int i = 0; i < 2; i++) {
		struct tree *t = &m.in.side[i].tree;
		m.in.side[i].caps = i ? 0 : CAP_STAMPS | CAP_GUIDS | CAP_UIDS;
		m.in.side[i].replica = (uint64_t)i + 1;
		put_node(t, GUID_INBOX, GUID_ZERO, "INBOX", 1, GUID_ZERO);
		put_node(t, now, GUID_ZERO, "F", 2, GUID_ZERO);
		put_node(t, below, i ? now : was, "S", i ? 2 : 5, GUID_ZERO);
	}
	put_node(&m.in.side[0].tree, was, GUID_ZERO, "F", 2, now);
	merge(&m.in, &m.r);
	assert_int_equal(m.r.plan[1].n, 0);
	merged_release(&m);
}

static struct row rows[] = {
	{"what people see of a copy", what_copies},
	{"what people see of a mailbox", what_mailboxes},
	{"deleted with others below: its mail goes before the mailbox", name_after_mail},
	{"what people see of a UID clash", what_renumbers},
	{"the order of a plan", order},
	{"who leaves makes room", who_leaves_makes_room},
	{"tombstones of what a side never had", tombstones},
	{"a side without UIDs and subscriptions", without_uids},
	{"what a side without UIDs delivers gets one", gets_uids},
	{"an alias, and no arrival", aliases},
	{"a mailbox became another one", a_mailbox_that_became_another_moves_nothing},
	{"a parent that became another one renames nothing", parents_that_became_one},
	{"a digest that one side has not made yet", digests_are_no_news},
	{"two empty sides", nothing_at_all},
};

int main(void)
{
	return world_rows("plan", rows, sizeof(rows) / sizeof(rows[0]));
}
