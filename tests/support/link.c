/*
 * link.c - see link.h.
 */
#include "tests/support/link.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/alike.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- reading: an error is kept, and what was asked for is empty then ---- */

static void keep_error(struct link *l, int err)
{
	if (err < 0 && !l->failed)
		l->failed = err;
}

static struct backend_info read_info(struct link *l, int side)
{
	struct backend_info info = {0};
	keep_error(l, l->b[side]->ops->info(l->b[side], &info));
	return info;
}

static struct message read_message(struct link *l, int side, const struct guid *g)
{
	struct message msg = {.guid = *g};
	keep_error(l, l->b[side]->ops->message(l->b[side], g, &msg));
	return msg;
}

/* ---- gather ---- */

struct keys {
	struct guid *items; /* owned; sorted */
	size_t n, cap;
};

static size_t key_index(const struct keys *k, const struct guid *g)
{
	size_t low = 0, high = k->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (guid_compare(&k->items[mid], g) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool key_add(struct keys *k, const struct guid *g)
{
	size_t i = key_index(k, g);
	if (i < k->n && guid_equal(&k->items[i], g))
		return false;
	MB_GROW(k->items, k->cap, k->n + 1);
	memmove(k->items + i + 1, k->items + i, (k->n - i) * sizeof(*k->items));
	k->items[i] = *g;
	k->n++;
	return true;
}

static int add_key(const struct guid *g, void *arg)
{
	key_add(arg, g);
	return 0;
}

static void add_neighbours(struct link *l, int side, const struct guid *g, struct keys *keys)
{
	struct backend *other = l->b[!side];
	struct message msg = read_message(l, side, g);
	struct guid found;
	for (size_t i = 0; i < msg.n; i++) {
		const struct place *p = &msg.copies[i].place;
		if (!copy_alive(&msg.copies[i]))
			continue;
		int r = other->ops->by_uid(other, &p->mailbox, p->uid, &found);
		if (r == 0)
			key_add(keys, &found);
		else if (r != -ENOENT)
			keep_error(l, r);
	}
	message_release(&msg);
}

/* Tells a side every copy of what it calls `from`. */
static bool put_aliases(struct link *l, int side, const struct guid *from, const struct guid *to)
{
	struct backend *b = l->b[side];
	struct message msg = read_message(l, side, from);
	bool changed = false;
	for (size_t i = 0; guid_equal(&msg.guid, from) && i < msg.n; i++) {
		struct record item = {
			.type = REC_ALIAS,
			.copy = {.guid = *to, .id = msg.copies[i].id},
			.old_guid = *from,
			.old_id = msg.copies[i].id,
		};
		int r = b->ops->put(b, &item, -1);
		keep_error(l, r);
		changed |= r > 0;
	}
	message_release(&msg);
	return changed;
}

/* What one side knows under another GUID, the other side learns. */
static bool exchange_aliases(struct link *l, const struct keys *keys)
{
	bool changed = false;
	for (size_t i = 0; i < keys->n; i++)
		for (int side = 0; side < 2; side++) {
			struct message msg = read_message(l, side, &keys->items[i]);
			if (!guid_equal(&msg.guid, &keys->items[i]))
				changed |= put_aliases(l, !side, &keys->items[i], &msg.guid);
			message_release(&msg);
		}
	return changed;
}

static void add_changes(struct link *l, int side, struct keys *keys)
{
	struct backend *b = l->b[side];
	struct backend_info other = read_info(l, !side);
	struct change_set set = {0};
	int r = l->full || !l->known ? MB_E_POSITION
				     : b->ops->changes(b, &l->since[side], other.replica, &set);
	if (r == MB_E_POSITION)
		r = b->ops->each_message(b, NULL, add_key, keys);
	keep_error(l, r);
	for (size_t i = 0; i < set.n_messages; i++)
		key_add(keys, &set.messages[i]);
	for (size_t i = 0; i < set.n_aliases; i++)
		key_add(keys, &set.aliases[i].from);
	change_set_release(&set);
}

static void find_keys(struct link *l, struct keys *keys)
{
	add_changes(l, 0, keys);
	add_changes(l, 1, keys);
	for (size_t i = 0; i < keys->n; i++) {
		struct guid g = keys->items[i];
		size_t before = keys->n;
		add_neighbours(l, 0, &g, keys);
		add_neighbours(l, 1, &g, keys);
		if (keys->n != before)
			i = (size_t)-1; /* again from the start */
	}
}

static void read_side(struct link *l, int side, const struct keys *keys, struct merge_side *s)
{
	struct backend_info info = read_info(l, side);
	keep_error(l, l->b[side]->ops->tree(l->b[side], &s->tree));
	s->caps = info.caps;
	s->replica = info.replica;
	s->case_insensitive = l->folds[side];
	s->messages = mb_xcalloc(keys->n, sizeof(*s->messages));
	for (size_t i = 0; i < keys->n; i++) {
		struct message *msg = &s->messages[s->n_messages];
		*msg = read_message(l, side, &keys->items[i]);
		if (msg->n && guid_equal(&msg->guid, &keys->items[i]))
			s->n_messages++;
		else
			message_release(msg);
	}
}

/* Of what the other side never heard of. */
static void make_alike(struct link *l, struct merge_input *in, int side)
{
	for (size_t i = 0; i < in->side[side].n_messages; i++) {
		struct message *msg = &in->side[side].messages[i];
		struct message there = read_message(l, !side, &msg->guid);
		for (size_t k = 0; !there.n && k < msg->n; k++) {
			struct digest head;
			MB_AUTO_CLOSE int fd =
				l->b[side]->ops->body(l->b[side], &msg->guid, msg->copies[k].id);
			if (fd >= 0)
				keep_error(l, alike_fd(fd, &head, &msg->copies[k].alike));
		}
		message_release(&there);
	}
}

static void gather(struct link *l, struct merge_input *in)
{
	struct keys keys = {0};
	l->failed = 0;
	do {
		keys.n = 0;
		find_keys(l, &keys);
	} while (exchange_aliases(l, &keys) && !l->failed);
	read_side(l, 0, &keys, &in->side[0]);
	read_side(l, 1, &keys, &in->side[1]);
	for (int side = 0; side < 2 && l->alike; side++)
		make_alike(l, in, side);
	in->keep_twins = l->keep_twins;
	in->agreed = l->agreed;
	free(keys.items);
}

static void input_release(struct merge_input *in)
{
	merge_side_release(&in->side[0]);
	merge_side_release(&in->side[1]);
}

/* ---- the sides exchanged ---- */

static bool same_plan(const struct plan *a, const struct plan *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++) {
		BUF_AUTO struct buf x = BUF_INIT, y = BUF_INIT;
		record_encode(&a->items[i], &x);
		record_encode(&b->items[i], &y);
		same = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	}
	return same;
}

static bool same_notices(const struct merge_result *a, const struct merge_result *b)
{
	bool same = a->n_notices == b->n_notices;
	for (size_t i = 0; same && i < a->n_notices; i++) {
		const struct notice *x = &a->notices[i], *y = &b->notices[i];
		same = x->kind == y->kind && strcmp(x->text, y->text) == 0 &&
		       guid_equal(&x->mailbox, &y->mailbox) && guid_equal(&x->message, &y->message);
	}
	return same;
}

static const char *check_mirror(const struct merge_input *in, const struct merge_result *r)
{
	struct merge_input mirrored = *in; /* borrows all */
	struct merge_result m;
	const char *wrong = NULL;
	mirrored.side[0] = in->side[1];
	mirrored.side[1] = in->side[0];
	merge(&mirrored, &m);
	if (!same_plan(&r->plan[0], &m.plan[1]) || !same_plan(&r->plan[1], &m.plan[0]))
		wrong = "the plans depend on which side is 0";
	else if (!same_notices(r, &m))
		wrong = "the notices depend on which side is 0";
	merge_result_release(&m);
	return wrong;
}

/* ---- apply ---- */

static int open_body(struct link *l, int giver, const struct copy *want)
{
	struct backend *b = l->b[giver];
	struct message msg = read_message(l, giver, &want->guid);
	int fd = -ENOENT;
	for (size_t i = 0; i < msg.n && fd < 0; i++)
		fd = b->ops->body(b, &msg.guid, msg.copies[i].id);
	message_release(&msg);
	l->bodies += fd >= 0;
	return fd;
}

static void print_item(const struct link *l, int side, const struct record *item)
{
	const struct copy *c = &item->copy;
	const struct mailbox *box = &item->mailbox;
	char guid[GUID_TEXT], other[GUID_TEXT];
	if (!l->aloud)
		return;
	if (item->type == REC_MAILBOX_STATE)
		printf("    to %d: mailbox %.8s \"%s\" in %.8s %s%s%s subscribed=%d uid_next=%u "
		       "validity=%u\n",
		       side, guid_text(&box->guid, guid), box->part, guid_text(&box->parent, other),
		       mailbox_alive(box) ? "alive" : "dead", box->selectable ? "" : " noselect",
		       guid_is_zero(&box->merged_into) ? "" : " merged", box->subscribed,
		       box->uid_next, box->uid_validity);
	else
		printf("    to %d: %s %.8s/%" PRIx64 " in %.8s uid=%u alive=%d flags=%x base=%s\n",
		       side, record_type_name(item->type), guid_text(&c->guid, guid), c->id,
		       guid_text(&c->place.mailbox, other), c->place.uid, copy_alive(c),
		       c->flags.set, c->place.base ? c->place.base : "-");
}

static const char *put_item(struct link *l, int side, const struct record *item)
{
	print_item(l, side, item);
	struct backend *b = l->b[side];
	int r = b->ops->put(b, item, -1);
	if (r == -ENOENT) {
		MB_AUTO_CLOSE int fd = open_body(l, !side, &item->copy);
		if (fd == -ENOENT) { /* its giver gets it back by its own plan */
			l->stale = true;
			return NULL;
		}
		r = fd < 0 ? fd : b->ops->put(b, item, fd);
	}
	return r < 0 ? mb_err_str(r) : NULL;
}

bool link_is_cut(const struct link *l)
{
	return l->cut && l->done >= l->cut;
}

static const char *put_plan(struct link *l, int side, const struct plan *plan)
{
	struct backend *b = l->b[side];
	struct backend_info other = read_info(l, !side);
	const char *wrong = NULL;
	keep_error(l, b->ops->begin(b, other.replica, false));
	if (l->failed)
		return mb_err_str(l->failed);
	for (size_t i = 0; i < plan->n && !wrong && !link_is_cut(l); i++) {
		wrong = put_item(l, side, &plan->items[i]);
		l->done++;
	}
	int r = b->ops->commit(b);
	return wrong ? wrong : r < 0 ? mb_err_str(r) : NULL;
}

/* Aliases first, on both sides: one that only one side knows would let a message that is expunged
 * there come back from the other, under its other name. */
static void put_all_aliases(struct link *l, const struct merge_result *r)
{
	for (int side = 0; side < 2; side++) {
		struct backend *b = l->b[side];
		struct backend_info other = read_info(l, !side);
		keep_error(l, b->ops->begin(b, other.replica, false));
		for (size_t i = 0; i < r->plan[side].n; i++)
			if (r->plan[side].items[i].type == REC_ALIAS)
				keep_error(l, b->ops->put(b, &r->plan[side].items[i], -1));
		keep_error(l, b->ops->commit(b));
	}
}

static size_t count_shown(const struct merge_side *side, const struct plan *plan)
{
	size_t n = 0;
	for (size_t i = 0; i < plan->n; i++)
		n += plan_what(side, &plan->items[i]) != REC_NONE;
	return n;
}

static const char *apply(struct link *l, const struct merge_input *in, const struct merge_result *r)
{
	const char *wrong = NULL;
	put_all_aliases(l, r);
	/* Side 1 first: by then side 0 still has every body under the GUID it gave. */
	for (int side = 1; side >= 0 && !wrong; side--) {
		l->n_items[side] = r->plan[side].n;
		l->n_shown[side] = count_shown(&in->side[side], &r->plan[side]);
		wrong = put_plan(l, side, &r->plan[side]);
	}
	l->notices = 0;
	for (size_t i = 0; i < r->n_notices; i++)
		l->notices |= 1u << r->notices[i].kind;
	return wrong;
}

/* ---- one sync ---- */

static const char *check_done(struct link *l, const struct merge_input *in,
			      const struct merge_result *r)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < r->plan[side].n; i++)
			print_item(l, side, &r->plan[side].items[i]);
	if (r->plan[0].n || r->plan[1].n)
		return "a second sync has something to do";
	if (r->n_notices)
		return "a second sync has something to say";
	return NULL;
}

static const char *merge_once(struct link *l,
			      const char *(*then)(struct link *l, const struct merge_input *in,
						  const struct merge_result *r))
{
	struct merge_input in = {0};
	struct merge_result r;
	gather(l, &in);
	if (l->failed) {
		input_release(&in);
		return mb_err_str(l->failed);
	}
	merge(&in, &r);
	const char *wrong = check_mirror(&in, &r);
	if (!wrong)
		wrong = then(l, &in, &r);
	merge_result_release(&r);
	input_release(&in);
	return wrong;
}

static const char *apply_result(struct link *l, const struct merge_input *in,
				const struct merge_result *r)
{
	return apply(l, in, r);
}

static void exchange_clocks(struct link *l)
{
	struct stamp seen = STAMP_NONE;
	for (int i = 0; i < 3; i++)
		keep_error(l, l->b[i % 2]->ops->now(l->b[i % 2], &seen, &seen));
	l->agreed = seen.time;
	for (int side = 0; side < 2; side++)
		keep_error(l, l->b[side]->ops->position(l->b[side], &l->since[side]));
	l->known = !l->failed;
}

const char *link_sync(struct link *l)
{
	const char *wrong;
	int tries = 3;
	l->done = 0;
	do {
		l->stale = false;
		wrong = merge_once(l, apply_result);
	} while (!wrong && l->stale && --tries);
	if (l->stale && !tries)
		wrong = "a body is nowhere to be had";
	if (wrong || link_is_cut(l))
		return wrong;
	wrong = merge_once(l, check_done);
	if (wrong)
		return wrong;
	exchange_clocks(l);
	return l->failed ? mb_err_str(l->failed) : NULL;
}

/* ---- compare ---- */

static const char *compare_messages(const struct message *x, const struct message *y)
{
	if (x->n != y->n)
		return "a message has not the same copies on both sides";
	for (size_t i = 0; i < x->n; i++) {
		const struct copy *c = message_find(y, x->copies[i].id);
		if (!c || !copy_equal(&x->copies[i], c))
			return "a copy differs";
	}
	return NULL;
}

#define ROUNDS 8

const char *link_sync_all(struct link *links, size_t n, const char *(*check)(void *arg, size_t i),
			  void *arg)
{
	for (int round = 0; round < ROUNDS; round++) {
		size_t items = 0;
		for (size_t i = 0; i < n; i++) {
			struct link *l = &links[i];
			l->cut = 0;
			l->full = round == ROUNDS - 1;
			const char *wrong = link_sync(l);
			if (!wrong)
				wrong = check(arg, i);
			if (wrong)
				return wrong;
			items += l->n_items[0] + l->n_items[1];
		}
		if (!items)
			return NULL;
	}
	return "the replicas never come to rest";
}

struct comparison {
	struct backend *with;
	const struct backend *of;
	const char *wrong;
	size_t n;
};

static int compare_one(const struct guid *g, void *arg)
{
	struct comparison *c = arg;
	struct backend *of = (struct backend *)(uintptr_t)c->of;
	struct message x = {0}, y = {0};
	of->ops->message(of, g, &x);
	c->with->ops->message(c->with, g, &y);
	if (!c->wrong)
		c->wrong = compare_messages(&x, &y);
	c->n++;
	message_release(&x);
	message_release(&y);
	return 0;
}

static int count_one(const struct guid *g, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

/* What UIDs a mailbox gave counts no more when it has become another. */
static bool same_mailbox(const struct mailbox *x, const struct mailbox *y)
{
	struct mailbox z = *y; /* borrows all */
	if (!guid_is_zero(&x->merged_into))
		z.uid_next = x->uid_next;
	return mailbox_equal(x, &z);
}

static const char *compare_trees(struct backend *a, struct backend *b)
{
	struct tree x = {0}, y = {0};
	a->ops->tree(a, &x);
	b->ops->tree(b, &y);
	const char *wrong = x.n != y.n ? "one side knows more mailboxes" : NULL;
	for (size_t i = 0; !wrong && i < x.n; i++)
		if (!same_mailbox(&x.nodes[i], &y.nodes[i]))
			wrong = "a mailbox differs";
	tree_release(&x);
	tree_release(&y);
	return wrong;
}

const char *link_compare(struct backend *a, struct backend *b)
{
	struct comparison c = {.with = b, .of = a};
	size_t n = 0;
	c.wrong = compare_trees(a, b);
	a->ops->each_message(a, NULL, compare_one, &c);
	b->ops->each_message(b, NULL, count_one, &n);
	return !c.wrong && c.n != n ? "one side knows more messages" : c.wrong;
}
