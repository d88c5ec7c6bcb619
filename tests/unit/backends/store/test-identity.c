/*
 * test-identity.c - a store that was copied or restored goes on as a new replica.
 */
#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "backends/store/log.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

__attribute__((format(printf, 1, 2))) static void shell(const char *fmt, ...)
{
	char command[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static void what_tells_two_places_apart(void **state)
{
	const struct store_place none = {0}, a = {5, 100}, same_inode = {5, 101}, moved = {6, 100};
	const struct store_place no_birth = {5, 0}, other = {6, 0};

	assert_false(place_differs(&a, &a));
	assert_true(place_differs(&a, &same_inode)); /* made later: a copy */
	assert_false(place_differs(&a, &moved));     /* inodes that are not stable */
	assert_false(place_differs(&none, &a));	     /* an older state file */
	assert_false(place_differs(&a, &none));
	assert_false(place_differs(&no_birth, &a));
	assert_true(place_differs(&no_birth, &other));
}

static void a_reopened_store_is_who_it_was(void **state)
{
	struct store_dir *d = *state;
	uint64_t was = store_replica(d->s);

	store_dir_reopen(d);
	assert_true(store_replica(d->s) == was);
	store_dir_close(d);
	shell("rm -r %s/index", d->dir);
	store_dir_open(d);
	assert_true(store_replica(d->s) == was);
}

static void a_copy_gets_a_new_id_once(void **state)
{
	struct store_dir *d = *state;
	uint64_t was = store_replica(d->s);
	char copy[120];
	struct position end, begins;

	store_deliver(d, "", "1.a.host", "one\n");
	assert_int_equal(log_end(store_log(d->s), &end), 0);
	store_dir_close(d);
	mb_msg_set_level(MB_ERROR);
	snprintf(copy, sizeof(copy), "%s.copy", d->dir);
	shell("cp -a %s %s", d->dir, copy);
	shell("rm -r %s", d->dir);
	shell("mv %s.copy %s", d->dir, d->dir);
	store_dir_open(d);
	uint64_t now = store_replica(d->s);
	assert_true(now != was && now);
	assert_int_equal(log_end(store_log(d->s), &begins), 0);
	assert_true(begins.sequence > end.sequence); /* no position is given twice */
	store_dir_reopen(d);
	assert_true(store_replica(d->s) == now);
}

/* As a writer of a peer's process sees it, and as replay does. */
static void an_id_can_be_given(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_REPLICA, .replica_id = 77};
	struct stamp now;

	assert_int_equal(store_put(d->s, &r, NULL), 1);
	assert_true(store_replica(d->s) == 77);
	now = store_now(d->s);
	assert_true(now.replica == 77);
	store_dir_close(d);
	shell("rm -r %s/index", d->dir);
	store_dir_open(d);
	assert_true(store_replica(d->s) == 77);
	r.replica_id = 0;
	assert_int_equal(store_put(d->s, &r, NULL), MB_E_PROTOCOL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_tells_two_places_apart),
		T(a_reopened_store_is_who_it_was),
		T(a_copy_gets_a_new_id_once),
		T(an_id_can_be_given),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
