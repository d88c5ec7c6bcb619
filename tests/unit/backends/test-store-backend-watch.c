/* Waiting for news of a store: others' changes wake, our own do not. */
#include "backends/backend.h"
#include "backends/base/mem.h"
#include "tests/support/store-dir.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static bool wakes(struct backend *b)
{
	struct pollfd p = {.fd = b->ops->watch_fd(b), .events = POLLIN};

	return poll(&p, 1, 1000) == 1 && b->ops->woken(b) > 0;
}

static void a_delivery_wakes(void **state)
{
	struct store_dir *d = *state;
	struct backend *b = NULL;

	store_make_box(d, ".A");
	store_dir_close(d);
	assert_int_equal(backend_open_store(d->dir, &b), 0);
	assert_true(b->ops->watch_fd(b) >= 0);
	outside_write(d, "new/1.a.host", "one\n");
	assert_true(wakes(b));
	assert_int_equal(b->ops->refresh(b, false), 0);
	outside_write(d, ".A/new/2.a.host", "two\n");
	assert_true(wakes(b));
	backend_close(b);
}

static void looking_wakes_nobody(void **state)
{
	struct store_dir *d = *state;
	struct backend *b = NULL;
	struct position at;

	store_deliver(d, "", "1.a.host", "one\n");
	store_dir_close(d);
	assert_int_equal(backend_open_store(d->dir, &b), 0);
	assert_true(b->ops->watch_fd(b) >= 0);
	for (int i = 0; i < 3; i++) {
		struct pollfd p = {.fd = b->ops->watch_fd(b), .events = POLLIN};

		assert_true(b->ops->refresh(b, false) >= 0);
		assert_int_equal(b->ops->position(b, &at), 0);
		if (poll(&p, 1, 50) == 1)
			assert_int_equal(b->ops->woken(b), 0);
	}
	backend_close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {T(a_delivery_wakes), T(looking_wakes_nobody)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
