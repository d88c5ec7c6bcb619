/*
 * test-fdcache.c - descriptors stay bounded, and open while they are used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>
#include "fs/fdcache.h"

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void a_descriptor_is_found_again(void **state)
{
	struct fdcache *c = fdcache_new(2);
	struct fdcache_slot *slot;
	int home;
	int fd = open_null();

	assert_null(fdcache_find(c, &home, false));
	slot = fdcache_add(c, &home, fd, false);
	fdcache_unpin(c, slot);
	assert_ptr_equal(fdcache_find(c, &home, false), slot);
	assert_null(fdcache_find(c, &home, true));
	fdcache_unpin(c, slot);
	fdcache_drop(c, &home);
	assert_null(fdcache_find(c, &home, false));
	assert_false(is_open(fd));
	fdcache_drop(c, &home);
	fdcache_free(c);
}

static void the_oldest_goes(void **state)
{
	struct fdcache *c = fdcache_new(2);
	int homes[3];
	int fds[3];

	for (int i = 0; i < 2; i++)
		fdcache_unpin(c, fdcache_add(c, &homes[i], fds[i] = open_null(), true));
	fdcache_unpin(c, fdcache_find(c, &homes[0], true)); /* now the younger one */
	fdcache_unpin(c, fdcache_add(c, &homes[2], fds[2] = open_null(), true));
	assert_null(fdcache_find(c, &homes[1], false));
	assert_false(is_open(fds[1]));
	assert_true(is_open(fds[0]) && is_open(fds[2]));
	assert_int_equal(fdcache_count(c), 2);
	fdcache_free(c);
	assert_false(is_open(fds[0]) || is_open(fds[2]));
}

static void one_that_is_used_stays_open(void **state)
{
	struct fdcache *c = fdcache_new(1);
	struct fdcache_slot *slot, *second;
	int home, other;
	int fd = open_null(), fd2 = open_null();

	slot = fdcache_add(c, &home, fd, false);
	second = fdcache_add(c, &other, fd2, false); /* no room: not kept after use */
	assert_null(fdcache_find(c, &other, false));
	fdcache_unpin(c, second);
	assert_false(is_open(fd2));
	fdcache_drop(c, &home);
	assert_null(fdcache_find(c, &home, false));
	assert_true(is_open(fd));
	fdcache_unpin(c, slot);
	assert_false(is_open(fd));
	assert_int_equal(fdcache_count(c), 0);
	fdcache_free(c);
}

static void a_better_one_replaces_it(void **state)
{
	struct fdcache *c = fdcache_new(4);
	struct fdcache_slot *first, *second;
	int home;
	int fd = open_null(), fd2 = open_null();

	first = fdcache_add(c, &home, fd, false);
	second = fdcache_add(c, &home, fd2, true);
	assert_ptr_equal(fdcache_find(c, &home, false), second);
	fdcache_unpin(c, second);
	assert_true(is_open(fd));
	fdcache_unpin(c, first);
	assert_false(is_open(fd));
	fdcache_unpin(c, second);
	assert_true(is_open(fd2));
	fdcache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_is_found_again),
		cmocka_unit_test(the_oldest_goes),
		cmocka_unit_test(one_that_is_used_stays_open),
		cmocka_unit_test(a_better_one_replaces_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
