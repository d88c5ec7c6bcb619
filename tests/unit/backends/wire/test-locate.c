/*
 * test-locate.c - destinations elsewhere: which they are, and those that make no sense.  Those that do are
 * played by tests/e2e/test_wire_par.py.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/msg.h"
#include "backends/wire/locate.h"
#include "backends/wire/wire.h"

#include <errno.h>
#include <sys/wait.h>

static void kinds_are_told_apart(void **state)
{
	assert_true(wire_is_location("exec:x"));
	assert_true(wire_is_location("ssh://host/x"));
	assert_false(wire_is_location("ssh:host"));
	assert_false(wire_is_location("store:/x"));
	assert_false(wire_is_location("/exec:x"));
}

static void no_sense(void **state)
{
	static const char *const bad[] = {"exec:",	"exec:   ",    "exec:'a",    "ssh://",
					  "ssh://host", "ssh://-oX/x", "ssh://a;b/x"};
	struct backend *b;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wire_open_location(bad[i], &b), MB_E_USAGE);
}

static void programs_that_speak_something_else(void **state)
{
	struct backend *b;

	mb_msg_set_level(MB_ERROR);
	wire_patience(1);
	assert_int_equal(wire_open_location("exec:no-such-program-here", &b), -ENOENT);
	assert_int_equal(wire_open_location("exec:true", &b), -ECONNRESET);
	assert_int_equal(wire_open_location("exec:echo Welcome, this is no frame", &b),
			 MB_E_PROTOCOL);
	assert_int_equal(wire_open_location("exec:sleep 50", &b), -ETIMEDOUT);
	assert_int_equal(wire_open_location("exec:sh -c 'exit 127'", &b), -ENOENT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_told_apart),
		cmocka_unit_test(no_sense),
		cmocka_unit_test(programs_that_speak_something_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
