/* Allocation never gives NULL; take and cleanup hand ownership over. */
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

static void size_zero_is_a_pointer(void **state)
{
	void *p[] = {mb_xmalloc(0),
		     mb_xcalloc(0, 8),
		     mb_xcalloc(8, 0),
		     mb_xrealloc(NULL, 0),
		     mb_xreallocarray(NULL, 0, 8),
		     mb_xmemdup("", 0)};

	for (size_t i = 0; i < sizeof(p) / sizeof(*p); i++) {
		assert_non_null(p[i]);
		free(p[i]);
	}
}

static void strings_are_copied(void **state)
{
	MB_AUTO_FREE char *all = mb_xstrdup("mail");
	MB_AUTO_FREE char *part = mb_xstrndup("mailbox", 4);
	MB_AUTO_FREE char *more = mb_xstrndup("mail", 99);
	MB_AUTO_FREE char *made = mb_xasprintf("%s-%d", "mail", 7);

	assert_string_equal(all, "mail");
	assert_string_equal(part, "mail");
	assert_string_equal(more, "mail");
	assert_string_equal(made, "mail-7");
}

static void calloc_is_zero(void **state)
{
	MB_AUTO_FREE unsigned char *p = mb_xcalloc(100, 3);

	for (int i = 0; i < 300; i++)
		assert_int_equal(p[i], 0);
}

static void too_much_ends_the_process(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		volatile size_t huge = SIZE_MAX / 2;

		close(STDERR_FILENO);
		free(mb_xreallocarray(NULL, huge, 4));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void take_forgets(void **state)
{
	MB_AUTO_FREE char *p = mb_xstrdup("x");
	MB_AUTO_FREE char *q = MB_TAKE(p);

	assert_null(p);
	assert_string_equal(q, "x");
}

static int open_null(int *ret_inner)
{
	MB_AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	MB_AUTO_CLOSE int inner = open("/dev/null", O_RDONLY | O_CLOEXEC);

	*ret_inner = inner;
	return MB_TAKE_FD(fd);
}

static void fds_are_closed_unless_taken(void **state)
{
	int inner, fd = open_null(&inner);

	assert_true(fd >= 0);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(fcntl(inner, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
	close(fd);
}

static void grow_keeps_what_is_there(void **state)
{
	MB_AUTO_FREE int *items = NULL;
	size_t n = 0, cap = 0;

	for (; n < 1000; n++) {
		MB_GROW(items, cap, n + 1);
		assert_true(cap > n);
		items[n] = (int)n;
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(items[i], i);
	MB_GROW(items, cap, 100000);
	assert_true(cap >= 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_zero_is_a_pointer),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(calloc_is_zero),
		cmocka_unit_test(too_much_ends_the_process),
		cmocka_unit_test(take_forgets),
		cmocka_unit_test(fds_are_closed_unless_taken),
		cmocka_unit_test(grow_keeps_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
