/* test-scan.c - what is looked at, and that nothing is when nothing changed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Until all is noted: what was written within the last seconds may change again unseen. */
static void settle(struct store_dir *d)
{
	struct scan_report r;

	time_passes(10);
	store_dir_rescan(d, &r);
	store_dir_rescan(d, &r);
}

static void nothing_is_read_when_nothing_changed(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	uint64_t n;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	settle(d);
	n = log_records(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
	assert_int_equal(r.files_seen, 0);
	store_dir_reopen(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
	assert_int_equal(log_records(d), n);
}

static void only_the_folder_that_changed_is_read(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "a");
	settle(d);
	outside_write(d, ".A/new/2.x", "b");
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 2); /* cur and new of A */
	assert_int_equal(r.arrived, 1);
	assert_list(d, "A/new/1.x | A/new/2.x");
	store_consistent(d);
}

/* Its time may not move for a second change within one tick. */
static void a_young_directory_is_read_again(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	settle(d);
	time_passes(-10);
	outside_write(d, "new/1.x", "a");
	store_dir_rescan(d, &r);
	assert_true(r.dirs_read > 0);
	store_dir_rescan(d, &r);
	assert_true(r.dirs_read > 0);
	time_passes(10);
	store_dir_rescan(d, &r);
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
}

static void a_watched_tree_is_not_looked_at(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	settle(d);
	store_set_watched(d->s, true);
	outside_write(d, "new/1.x", "a");
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_int_equal(r.arrived, 1);
	outside_write(d, "new/2.x", "b");
	store_dir_reopen(d); /* the end of the watch looks once more */
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
}

static void a_full_scan_finds_changed_bytes(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_deliver(d, "", "1.x", "before");
	settle(d);
	outside_write(d, "new/1.x", "edited"); /* no directory has another time */
	store_dir_rescan(d, &r);
	assert_int_equal(r.edited, 0);
	assert_int_equal(store_scan(d->s, true, &r), 0);
	assert_int_equal(r.files_seen, 1);
	store_consistent(d);
}

/* A directory that cannot be read: what is in it is not gone, and nothing else is judged. */
static void an_error_judges_no_absence(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	settle(d);
	outside_rename(d, ".A/new", ".A/aside");
	assert_int_equal(symlinkat("aside", d->mail_fd, ".A/new"), 0); /* never followed */
	outside_unlink(d, "new/2.x");
	outside_write(d, "new/3.x", "c");
	store_dir_rescan(d, &r);
	assert_true(r.errors > 0);
	assert_int_equal(r.unread, -ELOOP);
	assert_int_equal(r.expunged, 0);
	assert_list(d, "A/new/1.x | INBOX/new/2.x | INBOX/new/3.x"); /* arrivals are safe to take */
	outside_unlink(d, ".A/new");
	outside_rename(d, ".A/aside", ".A/new");
	store_dir_rescan(d, &r);
	assert_int_equal(r.unread, 0);
	assert_int_equal(r.expunged, 1);
	assert_list(d, "A/new/1.x | INBOX/new/3.x");
	store_consistent(d);
}

static void no_matter(void *arg)
{
	(void)arg;
}

static void a_folder_without_new_or_tmp_is_repaired(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	outside_mkdir(d, ".A");
	outside_mkdir(d, ".A/cur");
	outside_write(d, ".A/cur/1.x:2,S", "a");
	store_dir_rescan(d, &r); /* a program may be making it */
	assert_list(d, "A/cur/1.x:2,S");
	assert_false(tree_has(d, ".A/new") || tree_has(d, ".A/tmp"));
	store_set_watch_wake(d->s, no_matter, NULL);
	time_passes(3);
	store_dir_rescan(d, &r); /* whoever watches sees it make them */
	assert_false(tree_has(d, ".A/new") || tree_has(d, ".A/tmp"));
	store_set_watch_wake(d->s, NULL, NULL);
	store_dir_rescan(d, &r);
	assert_list(d, "A/cur/1.x:2,S");
	assert_true(tree_has(d, ".A/new") && tree_has(d, ".A/tmp"));
	store_deliver(d, ".A", "2.x", "b");
	outside_remove(d, ".A/tmp");
	store_dir_rescan(d, &r);
	store_consistent(d);
}

/* The same steps of a program, seen at once and seen late, end alike. */
static void a_kill_in_a_scan_is_made_good_by_the_next(void **state)
{
	bool killed = true;

	for (int n = 1; killed; n++) {
		struct store_dir *d;

		store_dir_teardown(state);
		assert_int_equal(store_dir_setup(state), 0);
		d = *state;
		store_make_box(d, ".A");
		store_deliver(d, ".A", "1.x", "one");
		store_deliver(d, ".A", "2.x", "two");
		store_dir_close(d);
		outside_rename(d, ".A/new/1.x", "cur/1.x:2,S");
		outside_unlink(d, ".A/new/2.x");
		outside_write(d, "new/3.x", "three");
		outside_mailbox(d, ".B");
		outside_rename(d, ".A", ".Z");
		killed = store_dir_kill_open_at(d, n);
		store_dir_open(d);
		assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/3.x");
		assert_true(store_has_box(d, "B") && store_has_box(d, "Z"));
		store_consistent(d);
	}
}

static int scan(struct store_dir *d)
{
	struct scan_report r;

	return store_scan(d->s, false, &r);
}

static void a_scan_without_room_is_made_good_by_the_next(void **state)
{
	bool hit = true;

	for (int n = 1; hit; n++) {
		struct store_dir *d;

		store_dir_teardown(state);
		assert_int_equal(store_dir_setup(state), 0);
		d = *state;
		store_make_box(d, ".A");
		store_deliver(d, ".A", "1.x", "one");
		store_deliver(d, ".A", "2.x", "two");
		outside_rename(d, ".A/new/1.x", "cur/1.x:2,S");
		outside_unlink(d, ".A/new/2.x");
		outside_write(d, "new/3.x", "three");
		outside_rename(d, ".A", ".Z");
		store_dir_fail_at(d, n, ENOSPC, scan, &hit);
		assert_int_equal(scan(d), 0);
		assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/3.x");
		assert_true(store_has_box(d, "Z"));
		store_consistent(d);
	}
}

/* fs: folders inside folders cost stats, not reads. */
static void nothing_is_read_in_fs_layout_either(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, "A");
	store_make_box(d, "A/B");
	assert_int_equal(store_mkdir(d->s, "P", 0700, &d->me), 0);
	store_make_box(d, "P/C"); /* P is only a parent */
	settle(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
	outside_mailbox(d, "P/D");
	outside_mailbox(d, "A/B/E");
	store_dir_rescan(d, &r);
	assert_true(store_has_box(d, "P/D") && store_has_box(d, "A/B/E"));
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_read_when_nothing_changed),
		FS_TEST(nothing_is_read_in_fs_layout_either),
		TEST(only_the_folder_that_changed_is_read),
		TEST(a_young_directory_is_read_again),
		TEST(a_watched_tree_is_not_looked_at),
		TEST(a_full_scan_finds_changed_bytes),
		TEST(an_error_judges_no_absence),
		TEST(a_folder_without_new_or_tmp_is_repaired),
		TEST(a_kill_in_a_scan_is_made_good_by_the_next),
		TEST(a_scan_without_room_is_made_good_by_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
