/*
 * world.c - see world.h.
 */
#include "tests/support/world.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void let_a_second_pass(void)
{
	static int64_t offset;
	offset += 1000000000;
	clock_set_offset_ns(offset);
}

/* Asserts that a user's operation worked. */
static void did(int r)
{
	assert_int_equal(r, 0);
	let_a_second_pass();
}

void world_open(struct world *w, bool exchanged)
{
	*w = (struct world){0};
	w->a = backend_open_memory(1);
	w->b = backend_open_memory(2);
	w->link.b[exchanged] = w->a;
	w->link.b[!exchanged] = w->b;
}

void world_close(struct world *w)
{
	backend_close(w->a);
	backend_close(w->b);
}

static void run_row(void **state)
{
	const struct row *row = *state;
	for (int exchanged = 0; exchanged < 2; exchanged++) {
		struct world w;
		world_open(&w, exchanged);
		row->fn(&w);
		world_close(&w);
	}
}

int world_rows(const char *group, struct row *rows, size_t n)
{
	MB_AUTO_FREE struct CMUnitTest *tests = mb_xcalloc(n, sizeof(*tests));
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){rows[i].name, run_row, NULL, NULL, &rows[i]};
	return _cmocka_run_group_tests(group, tests, n, NULL, NULL);
}

/* ---- what users do ---- */

struct guid mkbox_in(struct backend *b, struct guid parent, const char *part)
{
	struct guid g;
	did(memory_create(b, &parent, part, &g));
	return g;
}

struct guid mkbox(struct backend *b, const char *part)
{
	return mkbox_in(b, GUID_ZERO, part);
}

void move_box(struct backend *b, struct guid box, struct guid parent, const char *part)
{
	did(memory_rename(b, &box, &parent, part));
}

void rename_to(struct backend *b, struct guid box, const char *part)
{
	move_box(b, box, find_box(b, box)->parent, part);
}

void delete_box(struct backend *b, struct guid box)
{
	did(memory_delete(b, &box));
}

void subscribe(struct backend *b, struct guid box, bool on)
{
	did(memory_subscribe(b, &box, on));
}

struct guid has(struct backend *b, struct guid box, const char *body)
{
	struct guid g;
	did(memory_deliver(b, &box, body, strlen(body), 0, &g));
	return g;
}

void flag(struct backend *b, struct guid m, unsigned bit)
{
	did(memory_flags(b, &m, 0, FLAG_MASK(bit), 0));
}

void unflag(struct backend *b, struct guid m, unsigned bit)
{
	did(memory_flags(b, &m, 0, 0, FLAG_MASK(bit)));
}

void keyword(struct backend *b, struct guid m, const char *name, bool set)
{
	did(memory_keyword(b, &m, 0, name, set));
}

void move(struct backend *b, struct guid m, struct guid box)
{
	did(memory_move(b, &m, 0, &box));
}

uint64_t copy(struct backend *b, struct guid m, struct guid box)
{
	uint64_t id;
	did(memory_copy(b, &m, 0, &box, &id));
	return id;
}

void expunge_copy(struct backend *b, struct guid m, uint64_t id)
{
	did(memory_expunge(b, &m, id));
}

void expunge(struct backend *b, struct guid m)
{
	expunge_copy(b, m, 0);
}

void restore(struct backend *b, struct guid m)
{
	did(memory_restore(b, &m, 0));
}

struct guid edit(struct backend *b, struct guid m, const char *body)
{
	struct guid g;
	did(memory_edit(b, &m, 0, body, strlen(body), &g));
	return g;
}

/* ---- sync ---- */

void in_step(struct world *w)
{
	const char *wrong = link_sync(&w->link);
	if (!wrong)
		wrong = link_compare(w->a, w->b);
	if (wrong)
		fail_msg("%s", wrong);
	let_a_second_pass();
}

bool noticed(const struct world *w, enum notice_kind kind)
{
	return w->link.notices & 1u << kind;
}

/* ---- what holds ---- */

struct mailbox *find_box(struct backend *b, struct guid box)
{
	struct mailbox *found = tree_find(memory_tree(b), &box);
	assert_non_null(found);
	return found;
}

struct copy *find_copy(struct backend *b, struct guid m, uint64_t id)
{
	const struct message *msg = memory_find(b, &m);
	assert_non_null(msg);
	struct copy *c = message_find(msg, id);
	assert_non_null(c);
	return c;
}

static size_t n_alive(struct backend *b, struct guid m, const struct copy **ret_one)
{
	const struct message *msg = memory_find(b, &m);
	size_t n = 0;
	for (size_t i = 0; msg && i < msg->n; i++) {
		if (!copy_alive(&msg->copies[i]))
			continue;
		*ret_one = &msg->copies[i];
		n++;
	}
	return n;
}

#define EACH_SIDE(w, b) for (struct backend *b = (w)->a; b; b = b == (w)->a ? (w)->b : NULL)

void is_in(struct world *w, struct guid m, struct guid box)
{
	EACH_SIDE(w, b)
	{
		const struct copy *c = NULL;
		assert_int_equal(n_alive(b, m, &c), 1);
		assert_memory_equal(&c->place.mailbox, &box, sizeof(box));
		int fd = b->ops->body(b, &m, c->id);
		assert_true(fd >= 0);
		close(fd);
	}
}

void is_gone(struct world *w, struct guid m)
{
	EACH_SIDE(w, b)
	{
		const struct copy *c = NULL;
		assert_int_equal(n_alive(b, m, &c), 0);
	}
}

void is_flagged(struct world *w, struct guid m, const char *letters)
{
	EACH_SIDE(w, b)
	{
		char have[FLAG_COUNT + 1] = "", *end = have;
		const struct copy *c = find_copy(b, m, 0);
		for (unsigned bit = 0; bit < FLAG_COUNT; bit++)
			if (c->flags.set & FLAG_MASK(bit))
				*end++ = FLAG_LETTERS[bit];
		assert_string_equal(have, letters);
	}
}

void has_keyword(struct world *w, struct guid m, const char *name, bool set)
{
	EACH_SIDE(w, b)
	{
		struct keyword *k = flags_find_keyword(&find_copy(b, m, 0)->flags, name);
		assert_int_equal(k && k->set, set);
	}
}

static size_t count_live(struct backend *b, struct guid box)
{
	size_t n = 0;
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		const struct message *msg = memory_message(b, i);
		for (size_t k = 0; k < msg->n; k++)
			n += copy_alive(&msg->copies[k]) &&
			     guid_equal(&msg->copies[k].place.mailbox, &box);
	}
	return n;
}

void holds(struct world *w, struct guid box, size_t messages)
{
	EACH_SIDE(w, b)
	assert_int_equal(count_live(b, box), messages);
}

void is_named(struct world *w, struct guid box, const char *name)
{
	EACH_SIDE(w, b)
	{
		assert_true(mailbox_alive(find_box(b, box)));
		assert_true(find_box(b, box)->selectable);
		MB_AUTO_FREE char *have = tree_name(memory_tree(b), &box);
		assert_string_equal(have, name);
	}
}

void is_deleted(struct world *w, struct guid box)
{
	EACH_SIDE(w, b)
	assert_false(mailbox_alive(find_box(b, box)));
}

void is_noselect(struct world *w, struct guid box)
{
	EACH_SIDE(w, b)
	{
		assert_true(mailbox_alive(find_box(b, box)));
		assert_false(find_box(b, box)->selectable);
	}
}

size_t n_boxes(struct world *w)
{
	const struct tree *t = memory_tree(w->a);
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++)
		n += mailbox_alive(&t->nodes[i]) && t->nodes[i].selectable;
	return n;
}
