/* test-scan-moved.c - any number of mailbox directories renamed by hand between two scans. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <string.h>

/* Mailboxes with one message each, named after them. */
static void make(struct store_dir *d, const char *const *dirs, const char *const *files, int n)
{
	for (int i = 0; i < n; i++) {
		store_make_box(d, dirs[i]);
		store_deliver(d, dirs[i], files[i], files[i]);
	}
}

static void assert_only_names_changed(struct store_dir *d)
{
	struct scan_report r;

	store_dir_rescan(d, &r);
	assert_int_equal(r.arrived + r.moved + r.expunged + r.lost + r.held + r.errors, 0);
	store_consistent(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.records, 0);
}

static void three_that_went_round(void **state)
{
	static const char *const dirs[] = {".A", ".B", ".C"}, *const files[] = {"a", "b", "c"};
	struct store_dir *d = *state;

	make(d, dirs, files, 3);
	outside_rename(d, ".A", ".T");
	outside_rename(d, ".C", ".A");
	outside_rename(d, ".B", ".C");
	outside_rename(d, ".T", ".B");
	assert_only_names_changed(d);
	assert_list(d, "A/new/c | B/new/a | C/new/b");
}

static void parent_and_child_changed_places(void **state)
{
	static const char *const dirs[] = {".A", ".A.B"}, *const files[] = {"a", "b"};
	struct store_dir *d = *state;

	make(d, dirs, files, 2);
	outside_rename(d, ".A", ".T");
	outside_rename(d, ".A.B", ".A");
	outside_rename(d, ".T", ".A.B");
	assert_only_names_changed(d);
	assert_list(d, "A/B/new/a | A/new/b");
}

static void a_chain(void **state)
{
	static const char *const dirs[] = {".A", ".B", ".C"}, *const files[] = {"a", "b", "c"};
	struct store_dir *d = *state;

	make(d, dirs, files, 3);
	outside_rename(d, ".C", ".D");
	outside_rename(d, ".B", ".C");
	outside_rename(d, ".A", ".B");
	assert_only_names_changed(d);
	assert_list(d, "B/new/a | C/new/b | D/new/c");
}

static void a_tree_of_folders_in_fs(void **state)
{
	static const char *const dirs[] = {"A", "A/B", "A/B/C"}, *const files[] = {"a", "b", "c"};
	struct store_dir *d = *state;

	make(d, dirs, files, 3);
	outside_rename(d, "A", "Z");
	outside_rename(d, "Z/B", "Y");
	assert_only_names_changed(d);
	assert_list(d, "Y/C/new/c | Y/new/b | Z/new/a");
}

static void while_nothing_ran(void **state)
{
	static const char *const dirs[] = {".A", ".B"}, *const files[] = {"a", "b"};
	struct store_dir *d = *state;

	make(d, dirs, files, 2);
	store_dir_close(d);
	outside_rename(d, ".A", ".T");
	outside_rename(d, ".B", ".A");
	outside_rename(d, ".T", ".B");
	store_dir_open(d);
	assert_list(d, "A/new/b | B/new/a");
	assert_only_names_changed(d);
}

/* Below its own child, which stays where it is; and one more round, into a mere name that has names
 * of its own. */
static void below_what_stayed(void **state)
{
	static const char *const dirs[] = {"A", "A/B", "A/B/C", "D"}, *const files[] = {"a", "b",
											"c", "d"};
	struct store_dir *d = *state;

	make(d, dirs, files, 4);
	outside_rename(d, "A/B", "T");
	outside_rename(d, "A", "U");
	outside_mkdir(d, "A");
	outside_rename(d, "T", "A/B");
	outside_rename(d, "U", "A/B/A");
	assert_only_names_changed(d);
	assert_list(d, "A/B/A/new/a | A/B/C/new/c | A/B/new/b | D/new/d");
	outside_rename(d, "A/B/C", "T");
	outside_rename(d, "A/B", "U");
	outside_mkdir(d, "A/B");
	outside_rename(d, "T", "A/B/C");
	outside_rename(d, "U/A", "A/B/A");
	outside_rename(d, "U", "A/B/C/B");
	assert_only_names_changed(d);
	assert_list(d, "A/B/A/new/a | A/B/C/B/new/b | A/B/C/new/c | D/new/d");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(three_that_went_round),
		TEST(parent_and_child_changed_places),
		TEST(a_chain),
		FS_TEST(a_tree_of_folders_in_fs),
		FS_TEST(below_what_stayed),
		TEST(while_nothing_ran),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
