/* The clock of stamps: never back, past everything seen, bounded against peers from the future. */
#include "backends/mail/stamp.h"
#include "backends/base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define HOUR (UINT64_C(3600000) << 16)

static void order_is_time_then_replica(void **state)
{
	struct stamp a = {1, 9}, b = {2, 1}, c = {2, 2};

	assert_true(stamp_compare(&a, &b) < 0);
	assert_true(stamp_compare(&b, &c) < 0);
	assert_true(stamp_compare(&c, &a) > 0);
	assert_int_equal(stamp_compare(&a, &a), 0);
	assert_true(stamp_is_none(&STAMP_NONE));
	assert_false(stamp_is_none(&a));
	assert_int_equal(stamp_max(b, c).replica, 2);
	assert_int_equal(stamp_max(c, b).replica, 2);
}

static void each_stamp_is_greater(void **state)
{
	struct hlc clock = {.replica = 7};
	struct stamp last = hlc_now(&clock);

	assert_int_equal(last.replica, 7);
	for (int i = 0; i < 200000; i++) { /* more than the counter holds */
		struct stamp now = hlc_now(&clock);

		assert_true(stamp_compare(&now, &last) > 0);
		last = now;
	}
}

static void milliseconds_are_the_wall_clock(void **state)
{
	struct hlc clock = {.replica = 1};
	struct stamp now = hlc_now(&clock);
	int64_t off = stamp_ms(&now) - clock_wall_ns() / 1000000;

	assert_true(off <= 0 && off > -10000);
}

static void a_clock_set_back_changes_nothing(void **state)
{
	struct hlc clock = {.replica = 1};
	struct stamp before = hlc_now(&clock), after;

	clock_set_offset_ns(-48 * HOUR_NS);
	after = hlc_now(&clock);
	clock_set_offset_ns(0);
	assert_true(stamp_compare(&after, &before) > 0);
}

static void what_was_seen_is_before_what_comes(void **state)
{
	struct hlc clock = {.replica = 1}, fast = {.replica = 2};
	struct stamp seen, next;

	clock_set_offset_ns(23 * HOUR_NS);
	seen = hlc_now(&fast);
	clock_set_offset_ns(0);
	assert_true(hlc_see(&clock, &seen));
	next = hlc_now(&clock);
	assert_true(stamp_compare(&next, &seen) > 0);
	seen = (struct stamp){1, 1};
	assert_true(hlc_see(&clock, &seen));
	assert_true(clock.last >= next.time);
}

static void the_far_future_is_not_believed(void **state)
{
	struct hlc clock = {.replica = 1};
	struct stamp now = hlc_now(&clock);
	struct stamp far[] = {{now.time + 24 * 3660 * HOUR, 9}, {UINT64_MAX, UINT64_MAX}};
	struct stamp near = {now.time + 23 * HOUR, 9};

	for (int i = 0; i < 2; i++) {
		assert_false(hlc_see(&clock, &far[i]));
		assert_int_equal(clock.last, now.time);
		assert_true(stamp_clamp(&far[i]));
		assert_true(far[i].time >= now.time && far[i].time < now.time + HOUR);
		assert_false(stamp_clamp(&far[i]));
		assert_true(hlc_see(&clock, &far[i]));
	}
	assert_int_equal(far[0].replica, 9);
	assert_false(stamp_clamp(&near));
}

static void before_1970_the_counter_goes_on(void **state)
{
	struct hlc clock = {.replica = 1};
	struct stamp a, b;

	clock_set_offset_ns(-clock_wall_ns() - HOUR_NS);
	a = hlc_now(&clock);
	b = hlc_now(&clock);
	clock_set_offset_ns(0);
	assert_true(stamp_compare(&b, &a) > 0);
	assert_false(stamp_is_none(&a));
	assert_int_equal(stamp_ms(&a), 0);
}

/* A clock that was days ahead: told, but what is done after seeing its stamp still comes after it. */
static void a_clock_days_ahead_is_reported_and_passed(void **state)
{
	struct hlc clock = {.replica = 1};
	struct stamp now = hlc_now(&clock), ahead = {now.time + 25 * HOUR, 9}, next;

	assert_false(hlc_see(&clock, &ahead));
	next = hlc_now(&clock);
	assert_true(stamp_compare(&next, &ahead) > 0);
	assert_false(stamp_clamp(&ahead));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_time_then_replica),
		cmocka_unit_test(each_stamp_is_greater),
		cmocka_unit_test(milliseconds_are_the_wall_clock),
		cmocka_unit_test(a_clock_set_back_changes_nothing),
		cmocka_unit_test(what_was_seen_is_before_what_comes),
		cmocka_unit_test(the_far_future_is_not_believed),
		cmocka_unit_test(a_clock_days_ahead_is_reported_and_passed),
		cmocka_unit_test(before_1970_the_counter_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
