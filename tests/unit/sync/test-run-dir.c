/*
 * test-run-dir.c - one supervisor a store; a dead one does not count.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "sync/run-dir.h"
#include "tests/support/tmp-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void nobody_at_first(void **state)
{
	struct tmp_dir *d = *state;
	pid_t pid = 7;

	assert_int_equal(run_dir_supervisor(d->path, &pid), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(run_dir_end(d->path), -ESRCH);
	assert_int_equal(tmp_dir_entries(d), 0); /* looking makes nothing */
}

static void one_at_a_time(void **state)
{
	struct tmp_dir *d = *state;
	pid_t pid;
	int fd = run_dir_claim(d->path, "/mnt");

	assert_true(fd >= 0);
	assert_int_equal(run_dir_supervisor(d->path, &pid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(run_dir_claim(d->path, "/mnt"), MB_E_LOCKED);
	assert_int_equal(run_dir_wait(d->path, 20), -ETIMEDOUT);
	close(fd);
	assert_int_equal(run_dir_supervisor(d->path, &pid), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(run_dir_wait(d->path, 20), 0);
}

static void the_claim_follows_a_fork_and_dies_with_the_process(void **state)
{
	struct tmp_dir *d = *state;
	pid_t found;
	int fd = run_dir_claim(d->path, "/mnt"), ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		run_dir_note(fd, "/mnt");
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(fd);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(run_dir_supervisor(d->path, &found), 0);
	assert_int_equal(found, pid);
	assert_int_equal(run_dir_end(d->path), 0); /* SIGTERM */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run_dir_supervisor(d->path, &found), 0);
	assert_int_equal(found, 0);
	close(ready[0]);
	close(ready[1]);
}

static void a_rest_is_noted(void **state)
{
	struct tmp_dir *d = *state;

	assert_false(run_dir_paused(d->path));
	run_dir_pause(d->path, false);
	assert_int_equal(tmp_dir_entries(d), 0);
	run_dir_pause(d->path, true);
	assert_true(run_dir_paused(d->path));
	run_dir_pause(d->path, true);
	assert_true(run_dir_paused(d->path));
	run_dir_pause(d->path, false);
	assert_false(run_dir_paused(d->path));
}

static void messages_are_kept_and_bounded(void **state)
{
	struct tmp_dir *d = *state;
	struct stat st;

	int fd = run_dir_messages(d->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "one\n", 4), 4);
	close(fd);
	fd = run_dir_messages(d->path);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_mode & 077, 0);
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	close(fd);
	fd = run_dir_messages(d->path);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmp_dir_setup, tmp_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(nobody_at_first),
		T(one_at_a_time),
		T(the_claim_follows_a_fork_and_dies_with_the_process),
		T(a_rest_is_noted),
		T(messages_are_kept_and_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
