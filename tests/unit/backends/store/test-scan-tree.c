/* test-scan-tree.c - folders made, renamed, swapped and removed by hand. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

static void deliver_n(struct store_dir *d, const char *box, int n)
{
	for (int i = 0; i < n; i++) {
		char *name = mb_xasprintf("m%d.x", i);

		store_deliver(d, box, name, name);
		free(name);
	}
}

static void a_new_folder_is_a_mailbox(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	outside_mailbox(d, ".A.B");
	outside_write(d, ".A.B/new/1.x", "a");
	store_dir_rescan(d, &r);
	assert_int_equal(r.arrived, 1);
	assert_list(d, "A/B/new/1.x");
	store_consistent(d);
}

static void a_rename_by_hand_keeps_the_mailbox(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid before, after, mail;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	before = store_box(d, "A");
	mail = store_guid(d, "1.x");
	outside_rename(d, ".A", ".Z.Y");
	store_dir_rescan(d, &r);
	after = store_box(d, "Z/Y");
	assert_true(guid_equal(&before, &after));
	after = store_guid(d, "1.x");
	assert_true(guid_equal(&mail, &after));
	assert_list(d, "Z/Y/new/1.x");
	assert_int_equal(r.expunged + r.arrived, 0);
	store_consistent(d);
}

static void a_swap_by_hand_swaps_names(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid a, b, now;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "a.x", "a");
	store_deliver(d, ".B", "b.x", "b");
	a = store_box(d, "A");
	b = store_box(d, "B");
	outside_rename(d, ".A", ".T");
	outside_rename(d, ".B", ".A");
	outside_rename(d, ".T", ".B");
	store_dir_rescan(d, &r);
	now = store_box(d, "B");
	assert_true(guid_equal(&a, &now));
	now = store_box(d, "A");
	assert_true(guid_equal(&b, &now));
	assert_list(d, "A/new/b.x | B/new/a.x");
	assert_int_equal(r.moved + r.expunged + r.arrived, 0);
	store_consistent(d);
}

static void a_folder_removed_by_hand_is_deleted(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	deliver_n(d, ".A", 3);
	outside_remove(d, ".A");
	store_dir_rescan(d, &r);
	assert_int_equal(r.expunged, 3);
	assert_list(d, "");
	assert_false(store_has_box(d, "A"));
	store_consistent(d);
}

static void a_big_folder_that_is_gone_is_held(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	deliver_n(d, ".A", GUARD_WHOLE + 1);
	outside_remove(d, ".A");
	store_dir_rescan(d, &r);
	assert_int_equal(r.held, GUARD_WHOLE + 1);
	assert_int_equal(r.expunged, 0);
	assert_true(store_has_box(d, "A"));
	store_dir_reopen(d);
	assert_true(store_has_box(d, "A"));
	store_allow_mass_expunge(d->s, true);
	store_dir_rescan(d, &r);
	assert_int_equal(r.expunged, GUARD_WHOLE + 1);
	assert_false(store_has_box(d, "A"));
}

/* All mailboxes are read before any absence is judged: the mail is in another folder now. */
static void mail_moved_out_of_a_folder_that_goes_is_moved(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid before, after;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, ".A", "2.x", "bb");
	before = store_guid(d, "1.x");
	outside_rename(d, ".A/new/1.x", ".B/cur/1.x:2,S");
	outside_remove(d, ".A");
	store_dir_rescan(d, &r);
	assert_list(d, "B/cur/1.x:2,S");
	assert_int_equal(r.moved, 1);
	assert_int_equal(r.expunged, 1);
	after = store_guid(d, "1.x:2,S");
	assert_true(guid_equal(&before, &after));
	assert_false(store_has_box(d, "A"));
	store_consistent(d);
}

/* rm -r that was stopped, or a backup that forgot empty directories: there is mail in new/. */
static void a_folder_without_cur_that_has_mail_is_repaired(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	outside_remove(d, ".A/cur");
	store_dir_rescan(d, &r);
	assert_list(d, "A/new/1.x");
	assert_text(d, ".A/new/1.x", "a");
	assert_true(tree_has(d, ".A/cur"));
	store_consistent(d);
}

static void inbox_is_made_again(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	outside_remove(d, "cur");
	outside_remove(d, "new");
	store_dir_rescan(d, &r);
	assert_true(tree_has(d, "cur") && tree_has(d, "new"));
	assert_int_equal(r.expunged, 1);
	store_deliver(d, "", "2.x", "b");
	store_consistent(d);
}

static void an_empty_tree_is_held(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	outside_remove(d, ".A");
	outside_remove(d, "cur");
	outside_remove(d, "new");
	outside_remove(d, "tmp");
	store_dir_rescan(d, &r);
	assert_int_equal(r.held, 1);
	assert_list(d, "A/new/1.x");
	assert_false(tree_has(d, "cur")); /* nothing is made in a place where the mail is not */
}

/* A swap directory whose mailbox nobody knows is shown, not hidden for ever. */
static void an_unknown_swap_directory_is_a_mailbox(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	char *list;

	outside_mailbox(d, SWAP_PREFIX "00112233445566778899aabbccddeeff");
	outside_write(d, SWAP_PREFIX "00112233445566778899aabbccddeeff/new/1.x", "a");
	store_dir_rescan(d, &r);
	list = store_list(d);
	assert_non_null(strstr(list, "1.x"));
	free(list);
	store_consistent(d);
}

static void fs_folders_move_with_their_children(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid before, after;

	store_make_box(d, "A");
	store_make_box(d, "A/B");
	store_deliver(d, "A/B", "1.x", "a");
	before = store_box(d, "A/B");
	outside_rename(d, "A", "Z");
	store_dir_rescan(d, &r);
	assert_list(d, "Z/B/new/1.x");
	after = store_box(d, "Z/B");
	assert_true(guid_equal(&before, &after));
	assert_int_equal(r.expunged + r.arrived, 0);
	store_consistent(d);
}

static void links_to_elsewhere_are_no_mailboxes(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	assert_int_equal(mkdirat(d->fd, "out", 0700), 0);
	assert_int_equal(mkdirat(d->fd, "out/cur", 0700), 0);
	assert_int_equal(symlinkat("../../out", d->mail_fd, ".A"), 0);
	outside_mkdir(d, ".B");
	assert_int_equal(symlinkat("../../../out/cur", d->mail_fd, ".B/cur"), 0);
	store_dir_rescan(d, &r);
	assert_false(store_has_box(d, "A"));
	assert_false(store_has_box(d, "B"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_folder_is_a_mailbox),
		TEST(a_rename_by_hand_keeps_the_mailbox),
		TEST(a_swap_by_hand_swaps_names),
		TEST(a_folder_removed_by_hand_is_deleted),
		TEST(a_big_folder_that_is_gone_is_held),
		TEST(mail_moved_out_of_a_folder_that_goes_is_moved),
		TEST(a_folder_without_cur_that_has_mail_is_repaired),
		TEST(inbox_is_made_again),
		TEST(an_empty_tree_is_held),
		TEST(an_unknown_swap_directory_is_a_mailbox),
		FS_TEST(fs_folders_move_with_their_children),
		TEST(links_to_elsewhere_are_no_mailboxes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
