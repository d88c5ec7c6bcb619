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

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(bodies_that_are_too_much_are_asked_for),
		T(a_full_comparison_finds_nothing_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
