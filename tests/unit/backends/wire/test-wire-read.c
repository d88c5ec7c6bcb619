/*
 * test-wire-read.c - what the initiator asks for, and when.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "tests/support/wire-pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No two of them have the same size. */
static struct guid deliver_n(struct backend *b, const char *who, int n)
{
	char text[4096];
	int head = snprintf(text, sizeof(text), "Subject: %s %d\n\n", who, n);
	struct guid g;
	size_t len = (size_t)head + (size_t)n * 7 + strlen(who);

	memset(text + head, 'x', len - (size_t)head);
	assert_int_equal(memory_deliver(b, &GUID_INBOX, text, len, 0, &g), 0);
	return g;
}

static void agree(struct wire_pair *p)
{
	struct session_result r;

	wire_pair_sync(p, NULL, 0, &r);
	assert_int_equal(session_exit(0, &r), 0);
	session_result_release(&r);
	assert_equal_sides(&p->pair);
}

static void bodies_that_are_too_much_are_asked_for(void **state)
{
	struct wire_pair *p = *state;
	size_t len = 3u << 20;
	char *big = malloc(len);
	struct guid g[3];

	agree(p);
	for (int i = 0; i < 3; i++) {
		memset(big, 'a' + i, len);
		assert_int_equal(
			memory_deliver(p->pair.b, &GUID_INBOX, big, len - (size_t)i, 0, &g[i]), 0);
	}
	assert_in_range(wire_pair_sync(p, NULL, 0, NULL), 2, 4);
	for (int i = 0; i < 3; i++)
		assert_true(lives(p->pair.a, &g[i]));
	free(big);
	assert_equal_sides(&p->pair);
}

static void a_full_comparison_finds_nothing_to_do(void **state)
{
	struct wire_pair *p = *state;
	const struct session_options full = {.full = true};
	struct session_result r;

	for (int i = 0; i < 300; i++)
		deliver_n(p->pair.a, "a", i);
	agree(p);
	assert_in_range(wire_pair_sync(p, &full, 0, &r), 1, 6);
	assert_true(r.full);
	assert_false(r.changed);
	session_result_release(&r);
}

/* Somebody else changes b's store after its states were told, before it says where its log ends. */
static struct {
	int (*position)(struct backend *b, struct position *ret);
	struct guid message, box;
	bool done;
} meanwhile;

static int position_after_a_change(struct backend *b, struct position *ret)
{
	if (!meanwhile.done) {
		meanwhile.done = true;
		assert_int_equal(memory_flags(b, &meanwhile.message, 0, FLAG_MASK(FLAG_SEEN), 0),
				 0);
		assert_int_equal(memory_rename(b, &meanwhile.box, &GUID_ZERO, "job"), 0);
	}
	return meanwhile.position(b, ret);
}

static void sync_with_a_change_meanwhile(struct wire_pair *p, const struct session_options *o)
{
	meanwhile.done = false;
	meanwhile.position = p->ops.position;
	p->ops.position = position_after_a_change;
	wire_pair_sync(p, o, 0, NULL);
	p->ops.position = meanwhile.position;
	assert_true(meanwhile.done);
	wire_pair_sync(p, NULL, 0, NULL);
	assert_true(copy_of(p->pair.a, &meanwhile.message)->flags.set & FLAG_MASK(FLAG_SEEN));
	assert_equal_sides(&p->pair);
}

static void what_was_told_before_it_changed_is_asked_again(void **state)
{
	struct wire_pair *p = *state;

	assert_int_equal(memory_create(p->pair.b, &GUID_ZERO, "work", &meanwhile.box), 0);
	agree(p);
	meanwhile.message = deliver_n(p->pair.b, "b", 1); /* the tree comes with the news */
	sync_with_a_change_meanwhile(p, NULL);
}

static void also_when_there_is_news_here(void **state)
{
	struct wire_pair *p = *state;

	assert_int_equal(memory_create(p->pair.b, &GUID_ZERO, "work", &meanwhile.box), 0);
	agree(p);
	meanwhile.message = deliver_n(p->pair.b, "b", 1);
	deliver_n(p->pair.a, "a", 2); /* the tree is asked for apart */
	sync_with_a_change_meanwhile(p, NULL);
}

static void also_when_everything_is_compared(void **state)
{
	const struct session_options full = {.full = true};
	struct wire_pair *p = *state;

	assert_int_equal(memory_create(p->pair.b, &GUID_ZERO, "work", &meanwhile.box), 0);
	meanwhile.message = deliver_n(p->pair.b, "b", 1);
	agree(p);
	sync_with_a_change_meanwhile(p, &full);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(bodies_that_are_too_much_are_asked_for),
		T(a_full_comparison_finds_nothing_to_do),
		T(what_was_told_before_it_changed_is_asked_again),
		T(also_when_there_is_news_here),
		T(also_when_everything_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
