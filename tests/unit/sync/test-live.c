/*
 * test-live.c - the back-off of the reconciler; the rest of it is in tests/e2e/test_supervisor.py.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/live.h"

#include <limits.h>

static void back_off_grows_and_stays_in_bounds(void **state)
{
	for (unsigned failures = 1; failures < 100; failures++) {
		int low = live_backoff_ms(failures, 0), high = low;
		for (unsigned random = 0; random < 100000; random += 77) {
			int ms = live_backoff_ms(failures, random);
			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		assert_true(low >= LIVE_BACKOFF_MS / 2);
		assert_true(high <= LIVE_BACKOFF_MAX_MS);
		assert_true(high >= low + LIVE_BACKOFF_MS / 4); /* jitter */
		assert_true(low >= live_backoff_ms(failures > 1 ? failures - 1 : 1, 0));
	}
	assert_true(live_backoff_ms(UINT_MAX, UINT_MAX) <= LIVE_BACKOFF_MAX_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(back_off_grows_and_stays_in_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
