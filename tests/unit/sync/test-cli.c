/*
 * test-cli.c - durations, times, summaries.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "sync/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: none */
	} rows[] = {{"0", 0},	     {"45", 45},
		    {"45s", 45},     {"10m", 600},
		    {"12h", 43200},  {"30d", 2592000},
		    {"2w", 1209600}, {"", -1},
		    {"d", -1},	     {"-1d", -1},
		    {"1.5h", -1},    {"1 d", -1},
		    {"3y", -1},	     {"99999999999999999999", -1}};
	int64_t ns;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(cli_duration(rows[i].text, &ns), rows[i].seconds >= 0);
		if (rows[i].seconds >= 0)
			assert_int_equal(ns, rows[i].seconds * SECOND);
	}
}

static void expect_ago(int64_t seconds, const char *expect)
{
	char *text = cli_ago(1000000 * SECOND, (1000000 + seconds) * SECOND);

	assert_string_equal(text, expect);
	free(text);
}

static void how_long_ago(void **state)
{
	expect_ago(0, "just now");
	expect_ago(-5, "just now"); /* a clock that was set back */
	expect_ago(4, "4 s ago");
	expect_ago(300, "5 min ago");
	expect_ago(3 * 3600, "3 h ago");
	expect_ago(3 * 86400, "3 d ago");
	char *text = cli_ago(0, SECOND);
	assert_string_equal(text, "never");
	free(text);
}

static void times_for_programs(void **state)
{
	char *text = cli_time(1700000000 * SECOND + 42 * 1000000);

	assert_string_equal(text, "2023-11-14T22:13:20.042Z");
	free(text);
}

static void expect_summary(const struct session_result *r, const char *expect)
{
	char *text = cli_summary(r);

	assert_string_equal(text, expect);
	free(text);
}

static void summaries(void **state)
{
	struct session_result r = {0};

	expect_summary(&r, "in step (0.00 s)");
	r.to[1].arrived = 3;
	r.to[1].flags = 1;
	expect_summary(&r, "sent 3 new, 1 flag change (0.00 s)");
	r.to[0].expunged = 2;
	r.took_ns = SECOND / 4;
	expect_summary(&r, "sent 3 new, 1 flag change; got 2 expunges (0.25 s)");
	memset(&r, 0, sizeof(r));
	r.matched = 500;
	expect_summary(&r, "matched 500 messages, copied 0 (0.00 s)");
	r.conflicts = 2;
	r.to[1].arrived = 1;
	expect_summary(&r, "matched 500 messages, copied 1; sent 1 new; 2 conflicts, see mailbraid "
			   "conflicts (0.00 s)");
	memset(&r, 0, sizeof(r));
	r.errors = 1;
	r.first_error = MB_E_NAME;
	expect_summary(&r, "nothing done; 1 not done: the name cannot be stored (0.00 s)");
}

static void exit_codes(void **state)
{
	struct session_result r = {0};

	assert_int_equal(session_exit(0, &r), 0);
	assert_int_equal(session_exit(-EPIPE, &r), 2);
	assert_int_equal(session_exit(MB_E_STALE, &r), 2);
	assert_int_equal(session_exit(MB_E_LOCKED, &r), 75);
	assert_int_equal(session_exit(MB_E_SAME, &r), 1);
	r.again = true;
	assert_int_equal(session_exit(0, &r), 2);
	r.held = 1;
	assert_int_equal(session_exit(0, &r), 1);
	r.errors = 1;
	r.first_error = -ENOSPC;
	assert_int_equal(session_exit(0, &r), 1);
	r.held = 0;
	assert_int_equal(session_exit(0, &r), 2);
	r.first_error = MB_E_NAME;
	assert_int_equal(session_exit(0, &r), 1);
}

static void programs_are_found_beside_us(void **state)
{
	char *self = cli_self();
	char *name = mb_xstrdup(strrchr(self, '/') + 1);
	char *found = cli_find_program(name, NULL);

	assert_non_null(found);
	assert_string_equal(found, self);
	assert_null(cli_find_program("no-such-program", NULL));
	free(self);
	free(name);
	free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(how_long_ago),
		cmocka_unit_test(times_for_programs),
		cmocka_unit_test(summaries),
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(programs_are_found_beside_us),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
