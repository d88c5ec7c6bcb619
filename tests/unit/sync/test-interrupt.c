/*
 * test-interrupt.c - what becomes of a process that is told to end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/msg.h"
#include "sync/interrupt.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char said[512]; /* by the last child on stderr */

/* How a child ends that does this; as wait() says it. */
static int ends(void (*child)(void))
{
	size_t len = 0;
	int status, out[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		for (int number = 1; number < 32; number++)
			signal(number, SIG_DFL); /* a sanitizer, or nohup, may have set some */
		child();
		_exit(0);
	}
	close(out[1]);
	while (len < sizeof(said) - 1 && (n = read(out[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void in_order(void)
{
	interrupt_watch();
	if (interrupt_asked(NULL))
		_exit(10);
	raise(SIGINT);
	if (!interrupt_asked(NULL))
		_exit(11);
	interrupt_end();
}

static void twice(void)
{
	interrupt_watch();
	raise(SIGINT);
	raise(SIGTERM);
}

static void it_takes_too_long(void)
{
	interrupt_watch();
	raise(SIGTERM);
	for (int i = 0; i < 100; i++)
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static void it_takes_too_long_quietly(void)
{
	mb_msg_set_level(MB_WARNING);
	it_takes_too_long();
}

static void nothing_came(void)
{
	interrupt_watch();
	interrupt_end();
	if (interrupt_asked(NULL))
		_exit(10);
	raise(SIGHUP);
}

static void ignored(void)
{
	signal(SIGHUP, SIG_IGN);
	interrupt_watch();
	raise(SIGHUP);
	if (interrupt_asked(NULL))
		_exit(10);
	interrupt_end();
	raise(SIGHUP);
}

static void the_first_one_asks(void **state)
{
	int status = ends(in_order);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
	assert_string_equal(said, "");
}

static void the_second_one_ends_it(void **state)
{
	int status = ends(twice);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void so_does_the_alarm(void **state)
{
	time_t began = time(NULL);
	int status = ends(it_takes_too_long);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_true(time(NULL) - began <= INTERRUPT_PATIENCE_S + 3);
	assert_non_null(strstr(said, "mailbraid: interrupted, and ended without a report"));
	assert_non_null(strstr(said, "longer than 2 s; the next run does the rest\n"));
}

static void a_quiet_one_says_nothing_of_it(void **state)
{
	int status = ends(it_takes_too_long_quietly);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_string_equal(said, "");
}

static void afterwards_all_is_as_before(void **state)
{
	int status = ends(nothing_came);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGHUP);
}

static void what_is_ignored_stays_so(void **state)
{
	int status = ends(ignored);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_one_asks),
		cmocka_unit_test(the_second_one_ends_it),
		cmocka_unit_test(so_does_the_alarm),
		cmocka_unit_test(a_quiet_one_says_nothing_of_it),
		cmocka_unit_test(afterwards_all_is_as_before),
		cmocka_unit_test(what_is_ignored_stays_so),
	};

	return cmocka_run_group_tests_name("interrupt", tests, NULL, NULL);
}
