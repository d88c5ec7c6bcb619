/* One session at a time with a Maildir, wherever it comes from. */
#include "backends/base/err.h"
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/file.h>
#include <unistd.h>
#include <cmocka.h>

static struct backend *opened(struct foreign *f)
{
	struct backend *b;

	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	return b;
}

static bool is_locked(struct foreign *f)
{
	int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0;

	close(fd);
	return locked;
}

static void the_second_waits_and_is_told(void **state)
{
	struct foreign *f = *state;
	struct backend *one = opened(f), *two = opened(f);

	backend_lock_wait(0);
	assert_int_equal(one->ops->hold(one, true), 0);
	assert_int_equal(one->ops->hold(one, true), 0); /* it has it */
	assert_int_equal(two->ops->hold(two, true), MB_E_LOCKED);
	assert_int_equal(two->ops->hold(two, true), MB_E_LOCKED);
	assert_int_equal(one->ops->hold(one, false), 0);
	assert_int_equal(two->ops->hold(two, true), 0);
	assert_true(is_locked(f));
	backend_close(two); /* lets go */
	assert_false(is_locked(f));
	backend_close(one);
	backend_lock_wait(10);
}

static void a_maildir_that_is_gone_is_no_lock(void **state)
{
	struct foreign *f = *state;
	struct backend *b = opened(f);
	struct maildir *m = maildir_of(b);

	m->path[0] = '\0'; /* opens as nothing */
	assert_int_equal(b->ops->hold(b, true), 0);
	assert_int_equal(m->held_fd, -1);
	assert_int_equal(b->ops->hold(b, false), 0);
	backend_close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(the_second_waits_and_is_told),
		T(a_maildir_that_is_gone_is_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
