/* Messages: levels, one line each, nothing that a terminal would act on. */
#include "backends/base/msg.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static char captured[8192];
static int saved = -1;
static FILE *file;

static void capture(void)
{
	fflush(stderr);
	file = tmpfile();
	saved = dup(STDERR_FILENO);
	assert_true(file && saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
}

static const char *captured_text(void)
{
	ssize_t n;

	fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	n = pread(fileno(file), captured, sizeof(captured) - 1, 0);
	captured[n > 0 ? n : 0] = '\0';
	fclose(file);
	return captured;
}

static void a_message_is_one_line(void **state)
{
	capture();
	mb_msg(MB_NOTICE, "delivered uid=%d", 7);
	assert_string_equal(captured_text(), "mailbraid: delivered uid=7\n");
}

static void level_is_honoured(void **state)
{
	capture();
	mb_msg(MB_INFO, "not shown");
	mb_msg_set_level(MB_DEBUG);
	assert_int_equal(mb_msg_level(), MB_DEBUG);
	mb_msg(MB_DEBUG, "shown");
	mb_msg_set_level(MB_ERROR);
	mb_msg(MB_WARNING, "not shown");
	mb_msg_set_level(MB_NOTICE);
	assert_string_equal(captured_text(), "mailbraid: shown\n");
}

static void control_bytes_are_shown(void **state)
{
	capture();
	mb_msg(MB_ERROR, "name=%s", "a\nb\x1b[31m\x7f\r");
	assert_string_equal(captured_text(), "mailbraid: name=a\\x0ab\\x1b[31m\\x7f\\x0d\n");
}

static void utf8_stays_and_the_rest_is_shown(void **state)
{
	capture();
	mb_msg(MB_ERROR, "%s", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7");
	mb_msg(MB_ERROR, "%s", "\xc2\x9b \x9b \xc0\x80 \xed\xa0\x80 \xf5 \xe2\x82");
	assert_string_equal(captured_text(),
			    "mailbraid: \xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7\n"
			    "mailbraid: \\xc2\\x9b \\x9b \\xc0\\x80 \\xed\\xa0\\x80 \\xf5 "
			    "\\xe2\\x82\n");
}

static void a_failure_says_what_why_and_what_to_do(void **state)
{
	capture();
	assert_int_equal(mb_fail(MB_E_USAGE, "no verb \"%s\"", "x\n"), MB_E_USAGE);
	assert_string_equal(captured_text(),
			    "mailbraid: no verb \"x\\x0a\"\n"
			    "  why: the command line asks for something that does not exist\n"
			    "  do:  See \"mailbraid --help\".\n");
}

static void without_advice_there_is_no_line(void **state)
{
	capture();
	assert_int_equal(mb_fail(-EXDEV, "cannot open"), -EXDEV);
	assert_string_equal(captured_text(),
			    "mailbraid: cannot open\n  why: Invalid cross-device link\n");
}

static void advice_of_the_caller_wins(void **state)
{
	capture();
	mb_msg_set_program("mount.mailbraid");
	assert_int_equal(mb_fail_do(-EACCES, "Ask root.", "cannot open"), -EACCES);
	mb_msg_set_program("mailbraid");
	assert_string_equal(captured_text(), "mount.mailbraid: cannot open\n"
					     "  why: Permission denied\n  do:  Ask root.\n");
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void somebody_is_called_before_a_message(void **state)
{
	int calls = 0;

	capture();
	mb_msg_set_before(count, &calls);
	mb_msg(MB_ERROR, "one");
	mb_msg(MB_DEBUG, "not printed");
	mb_fail(-ENOENT, "two");
	mb_msg_set_before(NULL, NULL);
	mb_msg(MB_ERROR, "three");
	captured_text();
	assert_int_equal(calls, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_one_line),
		cmocka_unit_test(level_is_honoured),
		cmocka_unit_test(control_bytes_are_shown),
		cmocka_unit_test(utf8_stays_and_the_rest_is_shown),
		cmocka_unit_test(a_failure_says_what_why_and_what_to_do),
		cmocka_unit_test(without_advice_there_is_no_line),
		cmocka_unit_test(advice_of_the_caller_wins),
		cmocka_unit_test(somebody_is_called_before_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
