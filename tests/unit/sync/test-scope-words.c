/*
 * test-scope-words.c - parts, dates and sizes as people write them; everything else is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/scope.h"

#include <stdlib.h>
#include <time.h>

#define S INT64_C(1000000000)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void parts(void **state)
{
	static const char *const bad[] = {"",	       "new,",	     ",new", "New",
					  "new flags", "new,,flags", "x"};
	unsigned got = 77;

	assert_true(scope_parse_parts("new", &got));
	assert_int_equal(got, SCOPE_NEW);
	assert_true(scope_parse_parts("folders,moves", &got));
	assert_int_equal(got, SCOPE_FOLDERS | SCOPE_MOVES);
	assert_true(scope_parse_parts("flags,expunges,flags", &got));
	assert_int_equal(got, SCOPE_FLAGS | SCOPE_EXPUNGES);
	assert_true(scope_parse_parts("all", &got));
	assert_int_equal(got, SCOPE_EVERYTHING);
	assert_true(scope_parse_parts("none", &got));
	assert_int_equal(got, 0);
	got = 77;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (scope_parse_parts(bad[i], &got))
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(got, 77);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {{"0", 0},
		    {"1000", 1000},
		    {"1b", 1},
		    {"25k", 25 << 10},
		    {"25kb", 25 << 10},
		    {"1M", 1 << 20},
		    {"1MB", 1 << 20},
		    {"2G", UINT64_C(2) << 30},
		    {"3T", UINT64_C(3) << 40}};
	static const char *const bad[] = {"",
					  "k",
					  "-1",
					  "+1",
					  " 1",
					  "1 M",
					  "1MM",
					  "1bb",
					  "1x",
					  "1M ",
					  "99999999999999999999",
					  "18446744073709551615k"};
	uint64_t got = 77;

	for (size_t i = 0; i < COUNT(good); i++) {
		if (!scope_parse_size(good[i].text, &got) || got != good[i].size)
			fail_msg("%s", good[i].text);
	}
	got = 77;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (scope_parse_size(bad[i], &got))
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(got, 77);
}

static void dates(void **state)
{
	static const struct {
		const char *text;
		bool relative;
		int64_t seconds;
	} good[] = {
		{"0", false, 0},
		{"1700000000", false, 1700000000},
		{"2024-05-01", false, 1714521600},
		{"2024-05-01T12:00", false, 1714521600 + 43200},
		{"2024-05-01T12:00:01", false, 1714521600 + 43201},
		{"2024-05-01 12:00:01", false, 1714521600 + 43201},
		{"2024-05-01T12:00:00Z", false, 1714521600 + 43200},
		{"2024-05-01T12:00:00+02:00", false, 1714521600 + 36000},
		{"01-May-2024", false, 1714521600},
		{"2days", true, 2 * 86400},
		{"2 days", true, 2 * 86400},
		{"-90d", true, 90 * 86400},
		{"1w", true, 604800},
		{"12hours", true, 12 * 3600},
		{"5mins", true, 300},
		{"5m", true, 300},
		{"30secs", true, 30},
	};
	static const char *const bad[] = {"",
					  "yesterday",
					  "2024-02-30",
					  "2024-13-01",
					  "2024-05-01x",
					  "2 fortnights",
					  "days",
					  "--2d",
					  "-1700000000",
					  "1d2",
					  "99999999999999999999",
					  "9999999999999d"};
	struct scope_date got = {.ns = 77};

	for (size_t i = 0; i < COUNT(good); i++) {
		if (!scope_parse_date(good[i].text, &got) || !got.given ||
		    got.relative != good[i].relative || got.ns != good[i].seconds * S)
			fail_msg("%s: %lld", good[i].text, (long long)(got.ns / S));
	}
	got = (struct scope_date){.ns = 77};
	for (size_t i = 0; i < COUNT(bad); i++)
		if (scope_parse_date(bad[i], &got))
			fail_msg("\"%s\" was taken", bad[i]);
	assert_int_equal(got.ns, 77);
	assert_false(got.given);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts),
		cmocka_unit_test(sizes),
		cmocka_unit_test(dates),
	};
	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
