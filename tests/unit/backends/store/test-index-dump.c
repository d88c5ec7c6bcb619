/*
 * The dump: equal for equal contents, whatever way they came; odd bytes are shown as such.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/mem.h"
#include <string.h>

static void put(struct index_txn *tx, uint64_t n, uint64_t ino)
{
	struct entry e;

	num_entry(&e, n, 1, (uint32_t)n);
	e.ino = ino;
	e.mtime_ns = (int64_t)ino;
	e.ctime_ns = -(int64_t)ino;
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
}

static void test_order_and_times_do_not_count(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);

	num_put_mailbox(tx, 1);
	put(tx, 5, 50);
	put(tx, 6, 60);
	char *a = index_dir_dump(tx);
	index_abort(tx);

	tx = index_dir_begin(*state, true);
	put(tx, 6, 61);
	put(tx, 5, 51);
	num_put_mailbox(tx, 1);
	char *b = index_dir_dump(tx);
	assert_string_equal(a, b);
	free(b);

	put(tx, 7, 70);
	b = index_dir_dump(tx);
	assert_string_not_equal(a, b);
	index_abort(tx);
	free(a);
	free(b);
}

static void test_text(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct entry e;

	num_entry(&e, 5, 1, 9);
	free(e.file);
	e.file = mb_xstrdup("a\"\n\xff:2,F");
	e.in_new = true;
	flags_put(&e.copy.flags, FLAG_FLAGGED, true, num_stamp(1));
	flags_put_keyword(&e.copy.flags, "work", false, num_stamp(2));
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
	char *text = index_dir_dump(tx);
	index_abort(tx);
	assert_non_null(strstr(text, "copy ab000000000000000000000000000005 0 present ordinal=5"));
	assert_non_null(strstr(text, " new \"a\\x22\\x0a\\xff:2,F\" "));
	assert_non_null(strstr(text, " uid=9 at=@a0000.1 \"5.x\" "));
	assert_non_null(strstr(text, "flags= +F@10000.1 \"work\" -@20000.1 "));
	free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order_and_times_do_not_count),
		TEST(test_text),
	};
	return cmocka_run_group_tests_name("index-dump", tests, NULL, NULL);
}
