/*
 * test-responder-read.c - each verb that reads gives through the wire what it gives without.
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

static void states_are_the_same(void **state)
{
	struct wire_pair *p = *state;
	struct backend *b = p->pair.b, *far = p->far;
	struct guid g = deliver_n(b, "b", 5), other = {{1}}, holder[2];
	struct message m[2];
	struct digest d[2];
	struct tree t[2];

	assert_int_equal(b->ops->message(b, &g, &m[0]), 0);
	assert_int_equal(far->ops->message(far, &g, &m[1]), 0);
	assert_int_equal(m[1].n, 1);
	assert_true(copy_equal(&m[0].copies[0], &m[1].copies[0]));
	uint32_t uid = m[0].copies[0].place.uid;
	message_release(&m[0]);
	message_release(&m[1]);
	assert_int_equal(far->ops->message(far, &other, &m[1]), 0);
	assert_int_equal(m[1].n, 0);
	assert_int_equal(b->ops->by_uid(b, &GUID_INBOX, uid, &holder[0]), 0);
	assert_int_equal(far->ops->by_uid(far, &GUID_INBOX, uid, &holder[1]), 0);
	assert_true(guid_equal(&holder[0], &holder[1]));
	assert_int_equal(far->ops->by_uid(far, &GUID_INBOX, 999, &holder[1]), -ENOENT);
	assert_int_equal(b->ops->digest(b, &g, 0, &d[0]), 0);
	assert_int_equal(far->ops->digest(far, &g, 0, &d[1]), 0);
	assert_true(digest_equal(&d[0], &d[1]));
	assert_int_equal(far->ops->digest(far, &other, 0, &d[1]), -ENOENT);
	assert_int_equal(b->ops->tree(b, &t[0]), 0);
	assert_int_equal(far->ops->tree(far, &t[1]), 0);
	assert_int_equal(t[0].n, t[1].n);
	assert_true(mailbox_equal(&t[0].nodes[0], &t[1].nodes[0]));
	tree_release(&t[0]);
	tree_release(&t[1]);
}

static int count(const struct guid *g, void *arg)
{
	++*(int *)arg;
	return 0;
}

static int count_twin(const struct guid *g, uint64_t id, void *arg)
{
	++*(int *)arg;
	return 0;
}

static void lists_and_bodies_are_the_same(void **state)
{
	struct wire_pair *p = *state;
	struct backend *far = p->far;
	struct guid g = {{0}}, other = {{1}};
	struct digest d, is;
	int n = 0, twins = 0;

	for (int i = 0; i < 50; i++)
		g = deliver_n(p->pair.b, "b", i);
	assert_int_equal(far->ops->each_message(far, NULL, count, &n), 0);
	assert_int_equal(n, 50);
	assert_int_equal(far->ops->digest(far, &g, 0, &d), 0);
	assert_int_equal(far->ops->by_digest(far, &d, count_twin, &twins), 0);
	assert_int_equal(twins, 1);
	for (int again = 0; again < 2; again++) {
		int fd = far->ops->body(far, &g, 0);
		assert_true(fd >= 0);
		assert_int_equal(digest_fd(fd, &is, NULL), 0);
		assert_true(digest_equal(&d, &is));
		close(fd);
	}
	assert_int_equal(far->ops->body(far, &other, 0), -ENOENT);
	assert_int_equal(far->ops->body(far, &g, 7), -ENOENT);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(states_are_the_same),
		T(lists_and_bodies_are_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
