/*
 * test-merge-loop.c - a mailbox became another here, and there the other became it (break_loops() in
 * merge-tree.c): whoever meets, they are one mailbox that lives, with the mail of both.
 */
#include "backends/base/mem.h"
#include "tests/support/world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* A mailbox that is only a name above `sub`, as a merge leaves it. */
static struct guid mere_at(struct backend *b, const char *part, const char *sub)
{
	struct backend *c = backend_open_memory(9);
	struct link to_c = {.b = {b, c}};
	struct guid box = mkbox(b, part);
	mkbox_in(b, box, sub);
	delete_box(b, box);
	assert_null(link_sync(&to_c));
	assert_true(mailbox_alive(find_box(b, box)) && !find_box(b, box)->selectable);
	backend_close(c);
	return box;
}

/* Somebody opens the name: it is a mailbox again. */
static void open_again(struct backend *b, struct guid box)
{
	struct guid got;
	assert_int_equal(memory_create(b, &GUID_ZERO, "K", &got), 0);
	assert_memory_equal(&got, &box, sizeof(box));
}

static size_t mails_in(struct backend *b, const struct guid *box)
{
	size_t n = 0;
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		const struct message *msg = memory_message(b, i);
		for (size_t k = 0; k < msg->n; k++)
			n += copy_alive(&msg->copies[k]) &&
			     guid_equal(&msg->copies[k].place.mailbox, box);
	}
	return n;
}

/* x and y are one mailbox K, with so many messages. */
static void is_one(struct backend *b, struct guid x, struct guid y, size_t mails)
{
	struct guid least = guid_compare(&x, &y) < 0 ? x : y;
	struct guid other = guid_equal(&least, &x) ? y : x;
	MB_AUTO_FREE char *name = tree_name(memory_tree(b), &least);
	assert_string_equal(name, "K");
	assert_true(mailbox_alive(find_box(b, least)) && find_box(b, least)->selectable);
	assert_true(mailbox_merged(find_box(b, other)));
	assert_int_equal(mails_in(b, &least), mails);
	assert_int_equal(mails_in(b, &other), 0);
}

static const char *anything(void *arg, size_t link)
{
	(void)arg;
	(void)link;
	return NULL;
}

/* a and b make y of x while c and d make x of y: each knows the other as a mere name. */
static void four_replicas(struct world *w)
{
	struct backend *c = backend_open_memory(3), *d = backend_open_memory(4);
	struct link links[] = {
		{.b = {w->a, w->b}}, {.b = {c, d}}, {.b = {w->a, c}}, {.b = {w->b, d}}};
	struct link *ab = &links[0], *cd = &links[1], *ac = &links[2], *bd = &links[3];
	w->x = mere_at(w->a, "K", "sub");
	assert_null(link_sync(ac));
	w->y = mere_at(w->b, "Q", "sub2");
	rename_to(w->b, w->y, "K");
	assert_null(link_sync(bd));
	open_again(c, w->x);
	has(c, w->x, "to x, at c");
	open_again(w->b, w->y);
	has(w->b, w->y, "to y, at b");
	assert_null(link_sync(ab));
	assert_null(link_sync(cd));
	assert_true(mailbox_merged(find_box(w->a, w->x)) && mailbox_merged(find_box(c, w->y)));
	assert_null(link_sync(ac));
	is_one(w->a, w->x, w->y, 2);
	is_one(c, w->x, w->y, 2);
	assert_null(link_sync_all(links, 4, anything, NULL));
	is_one(w->b, w->x, w->y, 2);
	is_one(d, w->x, w->y, 2);
	has(d, guid_compare(&w->x, &w->y) < 0 ? w->x : w->y, "afterwards");
	assert_null(link_sync_all(links, 4, anything, NULL));
	is_one(w->a, w->x, w->y, 3);
	is_one(w->b, w->x, w->y, 3);
	backend_close(c);
	backend_close(d);
}

/* Two replicas and a sync that was cut: b has been told that x became y, a not yet. */
static void cut_between(size_t cut, bool *ret_looped)
{
	struct backend *a = backend_open_memory(11), *b = backend_open_memory(12),
		       *c = backend_open_memory(13);
	struct link ab = {.b = {a, b}, .cut = cut}, bc = {.b = {b, c}}, ac = {.b = {a, c}};
	struct guid x = mere_at(a, "K", "sub"), y = mere_at(b, "Q", "sub2");
	rename_to(b, y, "K");
	assert_null(link_sync(&bc));
	open_again(b, y);
	has(b, y, "to y, at b");
	link_sync(&ab);
	struct mailbox *at_b = tree_find(memory_tree(b), &x);
	*ret_looped = at_b && mailbox_merged(at_b) && mailbox_alive(find_box(a, x));
	if (*ret_looped) {
		open_again(a, x);
		has(a, x, "to x, at a");
		assert_null(link_sync(&ac));
		ab.cut = 0;
		assert_null(link_sync(&ab));
		is_one(a, x, y, 2);
		is_one(b, x, y, 2);
		assert_null(link_compare(a, b));
	}
	backend_close(a);
	backend_close(b);
	backend_close(c);
}

static void after_a_cut(struct world *w)
{
	bool any = false, looped;
	(void)w;
	for (size_t cut = 1; cut <= 6; cut++) {
		cut_between(cut, &looped);
		any |= looped;
	}
	assert_true(any);
}

/* What is beneath the two is united as well. */
static void those_beneath(struct world *w)
{
	w->x = mere_at(w->a, "K", "sub");
	w->y = mkbox(w->b, "Q");
	w->z = mkbox_in(w->b, w->y, "sub");
	w->m = has(w->b, w->z, "one");
	rename_to(w->b, w->y, "K");
	in_step(w);
	is_named(w, w->y, "K");
	struct mailbox *sub = find_box(w->a, w->z);
	struct guid now = mailbox_merged(sub) ? sub->merged_into : w->z;
	is_named(w, now, "K/sub");
	is_in(w, w->m, now);
	assert_int_equal(n_boxes(w), 3);
}

static struct row rows[] = {
	{"four replicas, each two of another mind", four_replicas},
	{"two, after a sync that was cut", after_a_cut},
	{"a mere name and a mailbox: those beneath", those_beneath},
};

int main(void)
{
	return world_rows("loops of merges", rows, sizeof(rows) / sizeof(*rows));
}
