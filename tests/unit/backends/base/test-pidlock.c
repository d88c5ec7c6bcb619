/* test-pidlock.c - whose a lock file is, and which of them nobody has any more. */
#include "backends/base/pidlock.h"
#include "tests/support/tmp-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static bool clears(const struct tmp_dir *d, const char *text)
{
	tmp_dir_write(d, "x.lock", text);
	bool cleared = pidlock_clear_dead(d->fd, "x.lock", false);

	assert_int_equal(faccessat(d->fd, "x.lock", F_OK, 0), cleared ? -1 : 0);
	return cleared;
}

/* A process of this host that is no more. */
static void dead_text(char out[PIDLOCK_TEXT_MAX])
{
	char own[PIDLOCK_TEXT_MAX];
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	pidlock_text(own);
	snprintf(out, PIDLOCK_TEXT_MAX, "%d%s", (int)child, strchr(own, ':'));
}

static void one_of_a_process_that_lives_stays(void **state)
{
	char text[PIDLOCK_TEXT_MAX];

	pidlock_text(text);
	assert_false(clears(*state, text));
	assert_true(pidlock_clear_dead(((struct tmp_dir *)*state)->fd, "x.lock", true));
	assert_false(clears(*state, "1:another.host.example"));
	assert_false(clears(*state, ""));
	assert_false(clears(*state, "12"));
	assert_false(clears(*state, "-1:x"));
}

static void one_of_a_process_that_died_goes(void **state)
{
	char text[PIDLOCK_TEXT_MAX];

	dead_text(text);
	assert_true(clears(*state, text));
	assert_false(pidlock_clear_dead(((struct tmp_dir *)*state)->fd, "x.lock", false));
	strcat(text, "x"); /* another host */
	assert_false(clears(*state, text));
}

/* Its ctime is of now, so nobody can tell that it is old. */
static void one_with_an_old_date_that_was_just_made_stays(void **state)
{
	struct tmp_dir *d = *state;
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	tmp_dir_write(d, "x.lock", "");
	assert_int_equal(utimensat(d->fd, "x.lock", old, 0), 0);
	assert_false(pidlock_clear_dead(d->fd, "x.lock", false));
}

#define test(f) cmocka_unit_test_setup_teardown(f, tmp_dir_setup, tmp_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(one_of_a_process_that_lives_stays),
		test(one_of_a_process_that_died_goes),
		test(one_with_an_old_date_that_was_just_made_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
