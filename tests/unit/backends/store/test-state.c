/* test-state.c - the two small text files of a store. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/tmp-dir.h"
#include "backends/base/err.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void the_config_is_read_as_it_was_written(void **state)
{
	struct tmp_dir *t = *state;
	struct store_config c = {.layout = LAYOUT_FS,
				 .mail = (char *)(uintptr_t) "/home/u/Mail dir",
				 .id = guid_new()};
	struct store_config r = {0};

	assert_int_equal(config_read(t->fd, &r), MB_E_NOT_STORE);
	assert_int_equal(config_write(t->fd, &c), 0);
	assert_int_equal(config_read(t->fd, &r), 0);
	assert_int_equal(r.layout, LAYOUT_FS);
	assert_string_equal(r.mail, c.mail);
	assert_true(guid_equal(&r.id, &c.id));
	config_release(&r);
}

static void a_config_that_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"format=1\n",
		"format=1\nlayout=fs\nstore=zz\n",
		"format=\nlayout=fs\nstore=00112233445566778899aabbccddeeff\n",
		"format=!\nlayout=fs\nstore=00112233445566778899aabbccddeeff\n",
		"format=1\nlayout=mbox\nstore=00112233445566778899aabbccddeeff\n",
		"format=1\nlayout=fs\nstore=00112233445566778899aabbccddeeff\nmail=relative\n"};
	struct tmp_dir *t = *state;
	struct store_config r = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tmp_dir_write(t, "config", bad[i]);
		assert_int_equal(config_read(t->fd, &r), MB_E_CONFIG);
	}
}

static void a_newer_format_is_refused_by_name(void **state)
{
	struct tmp_dir *t = *state;
	struct store_config r = {0};

	tmp_dir_write(t, "config",
		      "format=2\nlayout=fs\nstore=00112233445566778899aabbccddeeff\nfuture=1\n");
	assert_int_equal(config_read(t->fd, &r), MB_E_VERSION);
}

static void the_state_is_read_as_it_was_written(void **state)
{
	struct tmp_dir *t = *state;
	struct store_state st = {.clean = true,
				 .boot = "0123456789abcde",
				 .end = {guid_new(), 7, 4711, 0x1234},
				 .index = {4096, 123456789}};
	struct store_state r;

	assert_int_equal(state_read(t->fd, &r), -ENOENT);
	assert_int_equal(state_write(t->fd, &st), 0);
	assert_int_equal(state_read(t->fd, &r), 0);
	assert_true(r.clean);
	assert_memory_equal(r.boot, st.boot, sizeof(st.boot));
	assert_true(position_equal(&r.end, &st.end));
	assert_true(r.index.size == 4096 && r.index.mtime_ns == 123456789);
}

static void an_index_that_was_written_to_shows(void **state)
{
	struct tmp_dir *t = *state;
	struct store_state st = {.clean = true};

	assert_true(index_is_as_left(t->fd, &st)); /* nothing is known of it */
	assert_int_equal(mkdirat(t->fd, "index", 0700), 0);
	tmp_dir_write(t, "index/data.mdb", "pages");
	st.index = index_stamp_now(t->fd);
	assert_int_equal(st.index.size, 5);
	assert_true(index_is_as_left(t->fd, &st));
	st.index.mtime_ns--;
	assert_false(index_is_as_left(t->fd, &st));
	st.clean = false; /* a writer is at it, or was killed */
	assert_true(index_is_as_left(t->fd, &st));
}

/* It may only ever make us careful. */
static void a_damaged_state_says_not_clean(void **state)
{
	static const char *const bad[] = {
		"", "clean=1\n", "clean=1\nboot=zz\nend=\n",
		"clean=1\nboot=00112233445566778899aabbccddeeff\nend=0102\n",
		"clean=1\nboot=00112233445566778899aabbccddeeff\nend=xy\n"};
	struct tmp_dir *t = *state;
	struct store_state r;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		tmp_dir_write(t, "state", bad[i]);
		assert_int_equal(state_read(t->fd, &r), 0);
		assert_false(r.clean);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tmp_dir_setup, tmp_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_config_is_read_as_it_was_written),
		TEST(a_config_that_makes_no_sense_is_refused),
		TEST(a_newer_format_is_refused_by_name),
		TEST(the_state_is_read_as_it_was_written),
		TEST(an_index_that_was_written_to_shows),
		TEST(a_damaged_state_says_not_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
