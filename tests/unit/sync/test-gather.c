/*
 * test-gather.c - what a merge is told: changed messages, their UID neighbours.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/memory.h"
#include "sync/gather.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
	struct backend *b[2];
	struct gather g;
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	for (int i = 0; i < 2; i++) {
		f.b[i] = backend_open_memory(11 * (uint64_t)(i + 1));
		f.g.b[i] = f.b[i];
		f.b[i]->ops->info(f.b[i], &f.g.info[i]);
	}
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gather_release(&f->g);
	backend_close(f->b[0]);
	backend_close(f->b[1]);
	return 0;
}

static struct guid deliver(struct backend *b, const char *text)
{
	struct guid g;

	assert_int_equal(memory_deliver(b, &GUID_INBOX, text, strlen(text), 0, &g), 0);
	return g;
}

static void each_key_comes_once_and_sorted(void **state)
{
	struct fixture *f = *state;
	struct gather *g = &f->g;

	for (int i = 0; i < 20; i++) {
		struct guid key = deliver(f->b[0], "x");
		gather_add(g, &key);
		gather_add(g, &key);
	}
	assert_int_equal(gather_read(g), 0);
	assert_int_equal(g->in.side[0].n_messages, 20);
	assert_int_equal(g->in.side[1].n_messages, 0);
	for (size_t i = 1; i < 20; i++)
		assert_true(guid_compare(&g->in.side[0].messages[i - 1].guid,
					 &g->in.side[0].messages[i].guid) < 0);
	for (size_t i = 0; i < 20; i++)
		assert_ptr_equal(merge_side_find(&g->in.side[0], &g->in.side[0].messages[i].guid),
				 &g->in.side[0].messages[i]);
}

static void who_has_the_same_uid_comes_along(void **state)
{
	struct fixture *f = *state;
	struct guid a = deliver(f->b[0], "left"), b = deliver(f->b[1], "right"), far;

	far = deliver(f->b[1], "third"); /* UID 2: nobody's neighbour */
	gather_add(&f->g, &a);
	assert_int_equal(gather_read(&f->g), 0);
	assert_non_null(merge_side_find(&f->g.in.side[0], &a));
	assert_non_null(merge_side_find(&f->g.in.side[1], &b));
	assert_null(merge_side_find(&f->g.in.side[1], &far));
}

/* The peer gets the state that side 0 has. */
static void give(struct fixture *f, const struct guid *g, const char *text)
{
	struct record r = {.type = REC_COPY_STATE, .origin.replica = 11};
	char path[] = "/tmp/mailbraid-gather-XXXXXX";
	struct message m = {0};
	int fd = mkstemp(path);

	unlink(path);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(f->b[0]->ops->message(f->b[0], g, &m), 0);
	copy_clone(&r.copy, &m.copies[0]);
	assert_int_equal(f->b[1]->ops->begin(f->b[1], 11, false), 0);
	assert_int_equal(f->b[1]->ops->put(f->b[1], &r, fd), 1);
	assert_int_equal(f->b[1]->ops->commit(f->b[1]), 0);
	record_release(&r);
	message_release(&m);
	close(fd);
}

static void only_what_differs_is_a_key(void **state)
{
	struct fixture *f = *state;
	struct guid same[30], mine, theirs, flagged;

	for (int i = 0; i < 30; i++) {
		same[i] = deliver(f->b[0], "same");
		give(f, &same[i], "same");
	}
	flagged = same[17];
	assert_int_equal(memory_flags(f->b[1], &flagged, 0, FLAG_MASK(FLAG_SEEN), 0), 0);
	mine = deliver(f->b[0], "mine");
	theirs = deliver(f->b[1], "theirs");
	assert_int_equal(gather_add_differences(&f->g), 0);
	assert_int_equal(f->g.n_order, 3);
	assert_int_equal(gather_read(&f->g), 0);
	for (int i = 0; i < 2; i++)
		assert_non_null(merge_side_find(&f->g.in.side[i], &flagged));
	assert_non_null(merge_side_find(&f->g.in.side[0], &mine));
	assert_non_null(merge_side_find(&f->g.in.side[1], &theirs));
	assert_null(merge_side_find(&f->g.in.side[0], &same[0]));
}

static void more_messages_than_a_page(void **state)
{
	struct fixture *f = *state;
	enum { MANY = 33000 }; /* two pages and a bit */

	for (int i = 0; i < MANY; i++)
		deliver(f->b[i % 3 == 0], "x");
	assert_int_equal(gather_add_differences(&f->g), 0);
	assert_int_equal(f->g.n_order, MANY);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(each_key_comes_once_and_sorted),
		T(who_has_the_same_uid_comes_along),
		T(only_what_differs_is_a_key),
		T(more_messages_than_a_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
