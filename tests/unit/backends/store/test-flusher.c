/*
 * test-flusher.c - without fsync the log is durable soon after a change, by one flush for many.
 */
#include "backends/base/io.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void nap(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int count_flushes(uint64_t step, const char *what, void *arg)
{
	(void)step;
	if (strstr(what, "sync"))
		++*(int *)arg;
	return 0;
}

static void test_changes_are_flushed_without_being_asked(void **state)
{
	struct store_dir *d = *state;
	int flushes = 0;

	assert_int_equal(store_flush(d->s), 0);
	assert_int_equal(flusher_start(d->s), 0);
	io_set_hook(count_flushes, &flushes);
	for (int i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%d.a.host", i);
		store_deliver(d, "", name, "Subject: x\n\nx\n");
	}
	assert_true(log_needs_flush(d->s->log));
	for (int i = 0; i < 200 && log_needs_flush(d->s->log); i++)
		nap(50);
	io_set_hook(NULL, NULL);
	assert_false(log_needs_flush(d->s->log));
	assert_true(flushes > 0 && flushes < 20);
	flusher_stop(d->s);
}

static void test_it_ends_at_once(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(flusher_start(d->s), 0);
	flusher_stop(d->s);
	flusher_stop(d->s);
	store_deliver(d, "", "1.a.host", "Subject: x\n\nx\n");
	assert_true(log_needs_flush(d->s->log));
}

#define test(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_changes_are_flushed_without_being_asked),
		test(test_it_ends_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
