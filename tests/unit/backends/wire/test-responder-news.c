/*
 * test-responder-news.c - CHANGES: news through the wire is the same news, with what will be asked about it.
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

static void news_is_the_same(void **state)
{
	struct wire_pair *p = *state;
	struct backend *b = p->pair.b;
	struct position start = position_of(b);
	struct change_set c[2];
	struct guid box;

	for (int i = 0; i < 10; i++)
		deliver_n(b, "b", i);
	assert_int_equal(memory_create(b, &GUID_ZERO, "box", &box), 0);
	assert_int_equal(b->ops->changes(b, &start, 0, &c[0]), 0);
	assert_int_equal(p->far->ops->changes(p->far, &start, 0, &c[1]), 0);
	assert_int_equal(c[1].n_messages, 10);
	assert_int_equal(c[1].n_mailboxes, c[0].n_mailboxes);
	assert_true(position_equal(&c[0].end, &c[1].end));
	for (size_t i = 0; i < 10; i++)
		assert_true(guid_equal(&c[0].messages[i], &c[1].messages[i]));
	change_set_release(&c[0]);
	change_set_release(&c[1]);
	start.sequence = 9;
	assert_int_equal(p->far->ops->changes(p->far, &start, 0, &c[1]), MB_E_POSITION);
}

/* One round trip brings news, states, mailboxes, where it ends, and bodies. */
static void what_will_be_asked_comes_with_it(void **state)
{
	struct wire_pair *p = *state;
	struct backend *far = p->far;
	struct backend_ask ask = {.begins = true, .since = position_of(p->pair.b), .fresh = 1};
	uint64_t trips = wire_counts(far).round_trips;
	struct change_set c;
	struct position end;
	struct message m;
	struct guid g = {{0}}, holder;
	struct tree t;

	for (int i = 0; i < 10; i++)
		g = deliver_n(p->pair.b, "b", i);
	backend_foresee(far, &ask);
	assert_int_equal(far->ops->refresh(far, false), 0);
	assert_int_equal(far->ops->changes(far, &ask.since, 0, &c), 0);
	assert_int_equal(c.n_messages, 10);
	assert_int_equal(far->ops->message(far, &g, &m), 0);
	assert_int_equal(far->ops->by_uid(far, &GUID_INBOX, m.copies[0].place.uid, &holder), 0);
	assert_true(guid_equal(&g, &holder));
	assert_int_equal(far->ops->tree(far, &t), 0);
	assert_int_equal(far->ops->position(far, &end), 0);
	assert_true(position_equal(&end, &c.end));
	int fd = far->ops->body(far, &g, 0);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(wire_counts(far).round_trips - trips, 1);
	message_release(&m);
	tree_release(&t);
	change_set_release(&c);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(news_is_the_same),
		T(what_will_be_asked_comes_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
