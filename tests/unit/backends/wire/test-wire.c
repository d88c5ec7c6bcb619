/*
 * test-wire.c - a sync of two replicas with the wire between: it does what it does without, and what it
 * costs is counted in round trips.
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

static void mail_goes_both_ways(void **state)
{
	struct wire_pair *p = *state;
	struct guid a = deliver(p->pair.a, "from a"), b = deliver(p->pair.b, "from b!");

	agree(p);
	assert_true(lives(p->pair.a, &b));
	assert_true(lives(p->pair.b, &a));
}

static void nothing_new_is_one_round_trip(void **state)
{
	struct wire_pair *p = *state;
	struct guid box;
	char part[16];

	for (int i = 0; i < 300; i++) {
		snprintf(part, sizeof(part), "box %d", i);
		assert_int_equal(memory_create(p->pair.a, &GUID_ZERO, part, &box), 0);
		deliver_n(p->pair.b, "b", i);
	}
	agree(p);
	struct session_result r;
	assert_int_equal(wire_pair_sync(p, NULL, 0, &r), 1);
	assert_false(r.changed);
	session_result_release(&r);
}

static void hundred_changes_each_way_are_three_round_trips(void **state)
{
	struct wire_pair *p = *state;
	struct guid old[100];

	for (int i = 0; i < 100; i++)
		old[i] = deliver_n(p->pair.a, "old", i);
	agree(p);
	assert_int_equal(wire_pair_sync(p, NULL, 0, NULL), 1);
	for (int i = 0; i < 100; i++) {
		if (i % 2)
			deliver_n(p->pair.a, "new here", i);
		else
			deliver_n(p->pair.b, "there", i);
		assert_int_equal(memory_flags(i % 2 ? p->pair.b : p->pair.a, &old[i], 0,
					      FLAG_MASK(FLAG_SEEN), 0),
				 0);
	}
	struct session_result r;
	uint64_t trips = wire_pair_sync(p, NULL, 0, &r);
	assert_int_equal(r.to[0].arrived, 50);
	assert_int_equal(r.to[1].arrived, 50);
	assert_false(r.again);
	session_result_release(&r);
	assert_in_range(trips, 2, 3);
	assert_equal_sides(&p->pair);
	assert_int_equal(wire_pair_sync(p, NULL, 0, NULL), 1);
}

static void one_way_news_is_three_round_trips(void **state)
{
	struct wire_pair *p = *state;

	agree(p);
	for (int i = 0; i < 100; i++)
		deliver_n(p->pair.a, "a", i);
	assert_in_range(wire_pair_sync(p, NULL, 0, NULL), 2, 3);
	assert_equal_sides(&p->pair);
	for (int i = 0; i < 100; i++)
		deliver_n(p->pair.b, "b", i);
	assert_in_range(wire_pair_sync(p, NULL, 0, NULL), 2, 3);
	assert_equal_sides(&p->pair);
}

static void a_new_connection_goes_on(void **state)
{
	struct wire_pair *p = *state;

	deliver_n(p->pair.a, "a", 1);
	agree(p);
	wire_pair_disconnect(p);
	assert_int_equal(p->served, 0);
	deliver_n(p->pair.b, "b", 2);
	wire_pair_connect(p);
	agree(p);
	assert_int_equal(wire_pair_sync(p, NULL, 0, NULL), 1);
}

static void the_same_mail_on_both_sides_is_one(void **state)
{
	struct wire_pair *p = *state;

	agree(p);
	deliver(p->pair.a, "the same");
	deliver(p->pair.b, "the same");
	agree(p);
	assert_int_equal(memory_n_messages(p->pair.a), 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(mail_goes_both_ways),
		T(nothing_new_is_one_round_trip),
		T(hundred_changes_each_way_are_three_round_trips),
		T(one_way_news_is_three_round_trips),
		T(a_new_connection_goes_on),
		T(the_same_mail_on_both_sides_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
