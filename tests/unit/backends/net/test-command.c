/*
 * test-command.c - programs as channels: their words, their life, what they say.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/net/command.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- words ----------------------------------------------------------------------------------- */

static void splits(const char *text, const char *want)
{
	char **words = command_split(text), joined[200] = "";

	for (size_t i = 0; words && words[i]; i++) {
		strcat(joined, words[i]);
		strcat(joined, "|");
	}
	assert_string_equal(words ? joined : "-", want);
	command_split_free(words);
}

static void words_are_split_as_a_shell_would(void **state)
{
	splits("a b  c", "a|b|c|");
	splits("  a\tb ", "a|b|");
	splits("a 'b c' \"d e\"", "a|b c|d e|");
	splits("a\\ b 'c\\d' \"e\\\"f\\g\"", "a b|c\\d|e\"f\\g|");
	splits("'' \"\"", "||");
	splits("$(x) `y` ; > z *", "$(x)|`y`|;|>|z|*|"); /* and nothing more */
	splits("", "-");
	splits("  ", "-");
	splits("'a", "-");
	splits("a \"b", "-");
	splits("a\\", "-");
}

static void ssh_words(const char *text, const char *want)
{
	char **words = NULL, joined[500] = "";
	int err = command_ssh(text, "ssh", &words);

	if (!want) {
		assert_int_equal(err, MB_E_USAGE);
		return;
	}
	assert_int_equal(err, 0);
	for (size_t i = 0; words[i]; i++)
		snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s",
			 i ? " " : "", words[i]);
	assert_string_equal(joined, want);
	command_split_free(words);
}

static void an_ssh_location_becomes_a_command(void **state)
{
#define REST "mailbraid --store '/srv/mail' serve"
	ssh_words("host/srv/mail", "ssh -T -- host " REST);
	ssh_words("me@host/srv/mail", "ssh -l me -T -- host " REST);
	ssh_words("me@host:2222/srv/mail", "ssh -p 2222 -l me -T -- host " REST);
	ssh_words("[::1]:22/srv/mail", "ssh -p 22 -T -- ::1 " REST);
	ssh_words("host/~/mail", "ssh -T -- host mailbraid --store 'mail' serve");
	ssh_words("host/it's $HOME", "ssh -T -- host mailbraid --store '/it'\\''s $HOME' serve");
	ssh_words("host/a\\'b!", "ssh -T -- host mailbraid --store '/a'\\\\''\\''b'\\!'' serve");
}

static void hostile_ssh_locations_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"host",
		"/path",
		"@/path",
		"host/",
		"-oProxyCommand=touch x/path",
		"me@-oProxyCommand=x/path",
		"-lroot@host/path",
		"a b@host/path",
		"host`id`/path",
		"$(id)@host/path",
		"host;id/path",
		"a'b@host/path",
		"a\"b@host/path",
		"host|x/path",
		"host\n/path",
		"host:0/path",
		"host:65536/path",
		"host:x/path",
		"host:-1/path",
		"host:/path",
		"[::1/path",
		"[host]/path",
		"[::1]x/path",
		"host/a\nb",
		"host/~/-rf",
		"host/~/",
		"%r@host/path",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ssh_words(bad[i], NULL);
}

/* ---- lives ----------------------------------------------------------------------------------- */

static struct command *start(const char *script, int *ret_fd)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct command *c;

	assert_int_equal(command_start(argv, "it", &c, ret_fd), 0);
	return c;
}

static void no_child_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_child_that_never_ceases_to_speak_is_left(void **state)
{
	int fd, n = 0;
	char pid[20] = "";
	struct command *c = start("yes >&2 </dev/null & echo $!", &fd);

	while (!strchr(pid, '\n')) {
		ssize_t got = read(fd, pid + n, sizeof(pid) - 1 - (size_t)n);
		assert_true(got > 0);
		n += (int)got;
	}
	close(fd);
	alarm(20);
	assert_int_equal(command_end(c), 0);
	alarm(0);
	kill(atoi(pid), SIGKILL);
	no_child_is_left();
}

static void bytes_go_both_ways(void **state)
{
	char back[6] = "";
	int fd;
	struct command *c = start("exec cat", &fd);

	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(read(fd, back, 5), 5);
	assert_string_equal(back, "hello");
	close(fd);
	assert_int_equal(command_end(c), 0);
	no_child_is_left();
}

static void what_does_not_end_is_ended(void **state)
{
	static const char *const scripts[] = {
		"exec sleep 100", "trap '' TERM; while :; do sleep 1; done", "kill -STOP $$"};
	for (size_t i = 0; i < 3; i++) {
		int64_t start_ns = clock_mono_ns();
		int fd;
		struct command *c = start(scripts[i], &fd);
		close(fd);
		int status = command_end(c);
		assert_true(WIFSIGNALED(status) || WIFEXITED(status));
		assert_in_range(clock_mono_ns() - start_ns, 0, 5000000000);
		no_child_is_left();
	}
}

static void no_such_program(void **state)
{
	const char *const argv[] = {"no-such-program-anywhere", NULL};
	struct command *c;
	int fd;

	assert_int_equal(command_start(argv, "it", &c, &fd), -ENOENT);
	no_child_is_left();
}

static void its_errors_are_passed_on(void **state)
{
	char text[500] = "";
	int fds[2], old = dup(2), fd;

	assert_int_equal(pipe(fds), 0);
	mb_msg_set_level(MB_NOTICE);
	dup2(fds[1], 2);
	struct command *c = start("echo one >&2; printf 'two \\033[31m' >&2", &fd);
	char byte;
	assert_int_equal(read(fd, &byte, 1), 0); /* it has ended */
	usleep(200000);
	close(fd);
	command_end(c);
	dup2(old, 2);
	close(old);
	close(fds[1]);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	close(fds[0]);
	assert_non_null(strstr(text, "it: one\n"));
	assert_non_null(strstr(text, "it: two \\x1b[31m\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_split_as_a_shell_would),
		cmocka_unit_test(an_ssh_location_becomes_a_command),
		cmocka_unit_test(hostile_ssh_locations_are_refused),
		cmocka_unit_test(a_child_that_never_ceases_to_speak_is_left),
		cmocka_unit_test(bytes_go_both_ways),
		cmocka_unit_test(what_does_not_end_is_ended),
		cmocka_unit_test(no_such_program),
		cmocka_unit_test(its_errors_are_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
