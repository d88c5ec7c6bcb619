/*
 * test-child.c - a child process that is kept running: its back-off, its end, what it inherits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static void nap(void)
{
	const struct timespec t = {.tv_nsec = 2000000};

	nanosleep(&t, NULL);
}

static int wait_for(struct child *c)
{
	int status;

	while (!child_reap(c, &status))
		nap();
	return status;
}

static void quick_deaths_wait_longer_each_time(void **state)
{
	struct child c = {.name = "x"};
	int64_t now = 100 * SECOND, last = 0;

	for (int i = 0; i < CHILD_QUICK_MAX; i++) {
		c.started_ns = now;
		assert_true(child_again(&c, now));
		assert_true(c.due_ns - now > last);
		last = c.due_ns - now;
		now = c.due_ns;
	}
	c.started_ns = now;
	assert_false(child_again(&c, now)); /* given up */
	assert_true(c.due_ns - now <= CHILD_DELAY_MAX_NS);
}

static void a_long_life_forgives(void **state)
{
	struct child c = {.name = "x", .quick = CHILD_QUICK_MAX, .started_ns = SECOND};

	assert_true(child_again(&c, SECOND + CHILD_QUICK_NS));
	assert_int_equal(c.quick, 1);
}

static void it_runs_and_is_reaped_once(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "exit 3", NULL};
	struct child c = {.name = "x"};
	char text[64];
	int status;

	assert_int_equal(child_start(&c, argv, -1, SECOND), 0);
	assert_true(c.pid > 0);
	status = wait_for(&c);
	assert_string_equal(child_fate(status, text), "ended with exit code 3");
	assert_int_equal(c.pid, 0);
	assert_false(child_reap(&c, &status));
}

static void a_program_that_is_not_there(void **state)
{
	const char *const argv[] = {"/nonexistent/program", NULL};
	struct child c = {.name = "x"};

	assert_int_equal(child_start(&c, argv, -1, SECOND), 0);
	assert_int_equal(WEXITSTATUS(wait_for(&c)), 127);
}

static void the_fd_becomes_3_and_no_signal_is_blocked(void **state)
{
	const char *const argv[] = {
		"/bin/sh", "-c",
		"grep -q '^SigBlk:.*0000000000000000' /proc/self/status && echo ok >&3", NULL};
	struct child c = {.name = "x"};
	char text[3] = "";
	sigset_t set, before;
	int fd[2];

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(child_start(&c, argv, fd[1], SECOND), 0);
	close(fd[1]);
	assert_int_equal(read(fd[0], text, 3), 3);
	assert_memory_equal(text, "ok\n", 3);
	close(fd[0]);
	wait_for(&c);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void who_does_not_end_is_killed(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c",
				    "trap '' TERM; echo >&3; while :; do sleep 1; done", NULL};
	struct child c = {.name = "x"};
	char byte, text[64];
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(child_start(&c, argv, fd[1], SECOND), 0);
	close(fd[1]);
	assert_int_equal(read(fd[0], &byte, 1), 1);
	close(fd[0]);
	child_end(&c, 10 * SECOND, 2 * SECOND);
	assert_int_equal(child_check(&c, 11 * SECOND), 12 * SECOND);
	assert_int_equal(kill(c.pid, 0), 0);
	assert_true(child_check(&c, 12 * SECOND) > 12 * SECOND);
	int status = wait_for(&c);
	assert_true(WIFSIGNALED(status));
	assert_string_equal(child_fate(status, text), "ended by signal 9 (Killed)");
	assert_int_equal(child_check(&c, 13 * SECOND), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quick_deaths_wait_longer_each_time),
		cmocka_unit_test(a_long_life_forgives),
		cmocka_unit_test(it_runs_and_is_reaped_once),
		cmocka_unit_test(a_program_that_is_not_there),
		cmocka_unit_test(the_fd_becomes_3_and_no_signal_is_blocked),
		cmocka_unit_test(who_does_not_end_is_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
