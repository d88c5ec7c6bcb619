/* Time goes forward and can be moved for tests. */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static void wall_clock_is_now(void **state)
{
	int64_t now = (int64_t)time(NULL), wall = clock_wall_ns() / SECOND;

	assert_true(wall >= now - 2 && wall <= now + 2);
}

static void mono_does_not_go_back(void **state)
{
	int64_t last = clock_mono_ns();

	for (int i = 0; i < 1000; i++) {
		int64_t now = clock_mono_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void offset_moves_the_wall_clock_only(void **state)
{
	int64_t wall = clock_wall_ns(), mono = clock_mono_ns();

	clock_set_offset_ns(1000 * SECOND);
	assert_true(clock_wall_ns() >= wall + 1000 * SECOND);
	assert_true(clock_mono_ns() < mono + 500 * SECOND);
	clock_set_offset_ns(0);
	assert_true(clock_wall_ns() < wall + 500 * SECOND);
}

static int64_t one_second(void)
{
	return SECOND;
}

static void another_source(void **state)
{
	clock_set_source(one_second);
	assert_int_equal(clock_wall_ns(), SECOND);
	clock_set_source(NULL);
	assert_true(clock_wall_ns() > SECOND);
}

static void times_of_files(void **state)
{
	const struct timespec times[] = {{0, 0}, {-1, 999999999}, {-5, 0}, {4294967296, 7}};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct timespec back = clock_timespec(clock_timespec_ns(&times[i]));

		assert_int_equal(back.tv_sec, times[i].tv_sec);
		assert_int_equal(back.tv_nsec, times[i].tv_nsec);
	}
	/* ext4 knows of the year 2446, others of more */
	assert_true(clock_timespec_ns(&(struct timespec){15032385535, 1}) == INT64_MAX);
	assert_true(clock_timespec_ns(&(struct timespec){-15032385535, 1}) == INT64_MIN);
	assert_true(clock_timespec_ns(&(struct timespec){9223372036, 999999999}) == INT64_MAX);
}

/* In a process of its own, because the variable is read once. */
static int offset_of(const char *text)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		setenv("MAILBRAID_CLOCK_OFFSET", text, 1);
		execl("/proc/self/exe", "test-clock", "--offset", (char *)NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void offset_from_the_environment(void **state)
{
	assert_int_equal(offset_of("86400"), 1);
	assert_int_equal(offset_of("-86400"), 2);
	assert_int_equal(offset_of("0"), 0);
	assert_int_equal(offset_of("soon"), 0);
	assert_int_equal(offset_of("99999999999999999999"), 0);
	assert_int_equal(offset_of("5x"), 0);
}

static void boot_id_is_constant(void **state)
{
	uint8_t a[16], b[16];

	clock_boot_id(a);
	clock_boot_id(b);
	assert_memory_equal(a, b, 16);
	if (access("/proc/sys/kernel/random/boot_id", R_OK) == 0) {
		static const uint8_t none[16];

		assert_memory_not_equal(a, none, 16);
	}
}

/* What the process started by offset_of() sees: 0 no offset, 1 in the future, 2 in the past. */
static int report_offset(void)
{
	int64_t ahead = clock_wall_ns() / SECOND - (int64_t)time(NULL);

	return ahead > 40000 ? 1 : ahead < -40000 ? 2 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wall_clock_is_now),
		cmocka_unit_test(mono_does_not_go_back),
		cmocka_unit_test(offset_moves_the_wall_clock_only),
		cmocka_unit_test(another_source),
		cmocka_unit_test(times_of_files),
		cmocka_unit_test(offset_from_the_environment),
		cmocka_unit_test(boot_id_is_constant),
	};

	if (argc > 1 && strcmp(argv[1], "--offset") == 0)
		return report_offset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
