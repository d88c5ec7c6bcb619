/*
 * test-wire-put.c - changes of the other end: in pieces, in order, not without begin().
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

static void a_first_copy_goes_piece_by_piece(void **state)
{
	struct wire_pair *p = *state;

	setenv("MAILBRAID_PIECE", "100", 1);
	for (int i = 0; i < 500; i++)
		deliver_n(i % 2 ? p->pair.a : p->pair.b, i % 2 ? "a" : "b", i);
	agree(p);
	unsetenv("MAILBRAID_PIECE");
	assert_int_equal(memory_n_messages(p->pair.a), 500);
	assert_int_equal(wire_pair_sync(p, NULL, 0, NULL), 1);
}

static void expunges_moves_and_folders_travel(void **state)
{
	struct wire_pair *p = *state;
	struct guid box, a = deliver_n(p->pair.a, "a", 1), b = deliver_n(p->pair.a, "b", 2);

	assert_int_equal(memory_create(p->pair.b, &GUID_ZERO, "work", &box), 0);
	agree(p);
	assert_int_equal(memory_expunge(p->pair.b, &a, 0), 0);
	assert_int_equal(memory_move(p->pair.a, &b, 0, &box), 0);
	assert_int_equal(memory_rename(p->pair.b, &box, &GUID_ZERO, "job"), 0);
	uint64_t before = wire_counts(p->far).n_sent;
	agree(p);
	assert_false(lives(p->pair.a, &a));
	assert_true(guid_equal(&copy_of(p->pair.b, &b)->place.mailbox, &box));
	assert_in_range(wire_counts(p->far).n_sent - before, 1, 3000);
	assert_false(lives(p->pair.a, &a));
}

static void puts_without_begin_are_refused(void **state)
{
	struct wire_pair *p = *state;
	struct record r = {.type = REC_PEER, .peer = {.replica = A_ID}};

	assert_int_equal(p->far->ops->put(p->far, &r, -1), MB_E_LOCKED);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(a_first_copy_goes_piece_by_piece),
		T(expunges_moves_and_folders_travel),
		T(puts_without_begin_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
