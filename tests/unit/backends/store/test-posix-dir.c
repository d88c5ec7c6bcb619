/* test-posix-dir.c - mkdir, rmdir and rename of directories: mailboxes come, go and get other names. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

static int make(struct store_dir *d, const char *path)
{
	return store_mkdir(d->s, path, 0700, &d->me);
}

static int drop(struct store_dir *d, const char *path)
{
	return store_rmdir(d->s, path, &d->me);
}

static void a_directory_is_a_mailbox_as_soon_as_it_has_cur(void **state)
{
	struct store_dir *d = *state;
	uint64_t n = log_records(d);

	assert_int_equal(make(d, ".A"), 0);
	assert_int_equal(make(d, ".A/tmp"), 0);
	assert_int_equal(log_records(d), n);
	assert_int_equal(make(d, ".A/cur"), 0);
	assert_int_equal(log_last(d), REC_MAILBOX_CREATE);
	assert_true(store_has_box(d, "A"));
	assert_int_equal(make(d, ".A/cur"), -EEXIST);
	assert_int_equal(make(d, ".A/new"), 0);
	store_deliver(d, ".A", "1.x", "a");
	assert_list(d, "A/new/1.x");
	store_consistent(d);
}

static void a_child_gets_structural_parents(void **state)
{
	struct store_dir *d = *state;
	struct mailbox m;

	store_make_box(d, ".A.B.C");
	assert_true(store_has_box(d, "A/B/C"));
	store_get_box(d, "A/B", &m);
	assert_false(m.selectable);
	mailbox_release(&m);
	store_make_box(d, ".A.B");
	store_get_box(d, "A/B", &m);
	assert_true(m.selectable);
	mailbox_release(&m);
}

static void other_directories_are_local(void **state)
{
	static const char *const local[] = {"plain",  "plain/cur",  "..x",    "..x/cur",
					    ".INBOX", ".INBOX/cur", "cur/sub"};
	struct store_dir *d = *state;
	uint64_t n = log_records(d);

	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		assert_int_equal(make(d, local[i]), 0);
	assert_int_equal(log_records(d), n);
	store_deliver(d, "", "1.x", "a"); /* INBOX is where it was */
	assert_list(d, "INBOX/new/1.x");
}

/* Two directories that mean one name: the first is the mailbox. */
static void a_second_spelling_does_not_take_the_mailbox_over(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".a\\2eb");
	store_deliver(d, ".a\\2eb", "1.x", "a");
	store_consistent(d);
	make(d, ".a\\2Eb");
	make(d, ".a\\2Eb/cur");
	make(d, ".a\\2Eb/new");
	store_deliver(d, ".a\\2eb", "2.x", "a");
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
}

static void rmdir_of_cur_deletes_the_mailbox(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	outside_unlink(d, ".A/new/1.x"); /* what is not there any more does not hold it */
	assert_int_equal(drop(d, ".A/cur"), 0);
	assert_int_equal(log_last(d), REC_MAILBOX_DELETE);
	assert_false(store_has_box(d, "A"));
	assert_list(d, "");
	assert_int_equal(drop(d, ".A/new"), 0);
	assert_int_equal(drop(d, ".A/tmp"), 0);
	assert_int_equal(drop(d, ".A"), 0);
	store_make_box(d, ".A"); /* another one by that name */
	store_deliver(d, ".A", "2.x", "b");
	assert_list(d, "A/new/2.x");
	store_consistent(d);
}

static void a_mailbox_with_mail_in_cur_is_not_removed(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	assert_int_equal(store_move(d, ".A/new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(drop(d, ".A/cur"), -ENOTEMPTY);
	assert_list(d, "A/cur/1.x:2,");
}

static void a_mailbox_with_mail_in_new_is_not_removed(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	n = log_records(d);
	assert_int_equal(drop(d, ".A/cur"), -ENOTEMPTY);
	assert_list(d, "A/new/1.x");
	assert_int_equal(deleted_count(d), 0);
	assert_int_equal(log_records(d), n);
	assert_int_equal(store_unlink(d->s, ".A/new/1.x", &d->me), 0);
	outside_write(d, ".A/new/2.x", "b"); /* that nobody knows yet */
	assert_int_equal(drop(d, ".A/cur"), -ENOTEMPTY);
	outside_unlink(d, ".A/new/2.x");
	outside_write(d, ".A/new/.nfs1", "no mail");
	assert_int_equal(drop(d, ".A/cur"), 0);
	assert_false(store_has_box(d, "A"));
}

/* A directory with mail that becomes a mailbox by its new name, or by that of its cur/. */
static void mail_in_a_directory_that_becomes_a_mailbox_is_found(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_set_watched(d->s, true);
	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	assert_int_equal(store_move(d, ".A", "away"), 0);
	assert_list(d, "");
	assert_int_equal(store_move(d, "away", ".A"), 0);
	assert_int_equal(store_scan(d->s, false, &r), 0);
	assert_list(d, "A/new/1.x");
	assert_int_equal(make(d, ".B"), 0);
	assert_int_equal(make(d, ".B/x"), 0);
	assert_int_equal(make(d, ".B/new"), 0);
	outside_write(d, ".B/x/2.x:2,S", "b");
	assert_int_equal(store_move(d, ".B/x", ".B/cur"), 0);
	assert_int_equal(store_scan(d->s, false, &r), 0);
	assert_list(d, "A/new/1.x | B/cur/2.x:2,S");
	store_consistent(d);
}

static void inbox_is_not_removed_or_renamed(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(drop(d, "cur"), -EPERM);
	assert_int_equal(store_move(d, "cur", "cur2"), -EPERM);
	assert_int_equal(store_move(d, "new", ".A"), -EPERM);
	assert_true(tree_has(d, "cur") && tree_has(d, "new"));
}

static void a_rename_gives_the_mailbox_another_name(void **state)
{
	struct store_dir *d = *state;
	struct guid before, after;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	before = store_box(d, "A");
	assert_int_equal(store_move(d, ".A", ".B.C"), 0);
	after = store_box(d, "B/C");
	assert_true(guid_equal(&before, &after));
	assert_false(store_has_box(d, "A"));
	assert_list(d, "B/C/new/1.x");
	store_deliver(d, ".B.C", "2.x", "b");
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	assert_list(d, "B/C/new/1.x | B/C/new/2.x");
}

/* maildir++: a directory's rename moves only itself; its children keep their old parent's name. */
static void children_that_are_left_behind_get_a_structural_parent(void **state)
{
	struct store_dir *d = *state;
	struct mailbox m;
	struct guid child = {{0}}, again;

	store_make_box(d, ".A");
	store_make_box(d, ".A.B");
	store_deliver(d, ".A.B", "1.x", "a");
	child = store_box(d, "A/B");
	assert_int_equal(store_move(d, ".A", ".Z"), 0);
	again = store_box(d, "A/B");
	assert_true(guid_equal(&child, &again));
	store_get_box(d, "A", &m);
	assert_false(m.selectable);
	mailbox_release(&m);
	assert_true(store_has_box(d, "Z"));
	assert_list(d, "A/B/new/1.x");
	assert_int_equal(store_move(d, ".A.B", ".Z.B"), 0); /* as Dovecot goes on */
	assert_list(d, "Z/B/new/1.x");
	store_consistent(d);
}

/* .A.B becomes .A, which was only its parent. */
static void a_child_may_take_its_parents_name(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A.B");
	store_make_box(d, ".A.C");
	store_deliver(d, ".A.B", "1.x", "a");
	store_deliver(d, ".A.C", "2.x", "a");
	assert_int_equal(store_move(d, ".A.B", ".A"), 0);
	assert_list(d, "A/C/new/2.x | A/new/1.x");
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "A/C/new/2.x | A/new/1.x");
	store_consistent(d);
}

static void children_follow_in_fs_layout(void **state)
{
	struct store_dir *d = *state;
	struct guid child, again;

	assert_int_equal(make(d, "A"), 0);
	store_make_box(d, "A/B");
	assert_int_equal(make(d, "A/cur"), 0);
	store_deliver(d, "A/B", "1.x", "a");
	child = store_box(d, "A/B");
	assert_int_equal(store_move(d, "A", "Z"), 0);
	again = store_box(d, "Z/B");
	assert_true(guid_equal(&child, &again));
	assert_list(d, "Z/B/new/1.x");
	store_deliver(d, "Z/B", "2.x", "b");
	store_dir_reopen(d);
	assert_list(d, "Z/B/new/1.x | Z/B/new/2.x");
}

static void a_directory_that_only_holds_mailboxes_is_renamed_too(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(make(d, "A"), 0);
	store_make_box(d, "A/B");
	store_deliver(d, "A/B", "1.x", "a");
	assert_int_equal(store_move(d, "A", "Z"), 0);
	assert_list(d, "Z/B/new/1.x");
	store_consistent(d);
}

static void a_name_that_a_mailbox_has_is_not_taken(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".B", "1.x", "a");
	assert_int_equal(store_move(d, ".A", ".B"), -ENOTEMPTY);
	assert_true(store_has_box(d, "A") && store_has_box(d, "B"));
	store_consistent(d);
}

/* Dovecot's DELETE: the folder is renamed first and then emptied. */
static void a_rename_to_dovecots_trash_deletes_and_keeps_bodies(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, ".A", "2.x", "b");
	assert_int_equal(store_move(d, ".A", "..DOVECOT-TRASHED"), 0);
	assert_false(store_has_box(d, "A"));
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 2);
	assert_int_equal(store_unlink(d->s, "..DOVECOT-TRASHED/new/1.x", &d->me), 0);
	store_consistent(d);
	store_dir_reopen(d);
	assert_list(d, "");
}

static void a_folder_that_was_made_aside_becomes_a_mailbox_by_its_name(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	assert_int_equal(make(d, "aside"), 0);
	assert_int_equal(make(d, "aside/cur"), 0);
	assert_int_equal(make(d, "aside/new"), 0);
	outside_write(d, "aside/cur/1.x:2,", "a");
	assert_int_equal(store_move(d, "aside", ".A"), 0);
	assert_true(store_has_box(d, "A"));
	store_set_watched(d->s, true);
	store_dir_rescan(d, &r);
	assert_list(d, "A/cur/1.x:2,");
	store_consistent(d);
}

/* ---- steps that fail, stops ---- */

static int rename_a(struct store_dir *d)
{
	return store_move(d, ".A", ".B.C");
}

static int trash_a(struct store_dir *d)
{
	return store_move(d, ".A", "..DOVECOT-TRASHED");
}

static int make_n(struct store_dir *d)
{
	int err = make(d, ".N");

	err = err < 0 ? err : make(d, ".N/cur");
	return err < 0 ? err : make(d, ".N/new");
}

static int drop_e(struct store_dir *d)
{
	return drop(d, ".E/cur");
}

static int (*const changes[])(struct store_dir *) = {rename_a, trash_a, make_n, drop_e};

static struct store_dir *fresh(void **state)
{
	struct store_dir *d;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup(state), 0);
	d = *state;
	store_make_box(d, ".A");
	store_make_box(d, ".A.B");
	store_make_box(d, ".E");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, ".A.B", "2.x", "b");
	return d;
}

static void a_step_that_fails_leaves_the_store_consistent(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool hit = true;

		for (int n = 1; hit; n++) {
			struct store_dir *d = fresh(state);
			char *after;

			store_dir_fail_at(d, n, ENOSPC, changes[i], &hit);
			store_dir_reopen(d);
			store_consistent(d);
			after = store_list(d);
			assert_non_null(strstr(after, "2.x"));
			if (changes[i] != trash_a)
				assert_non_null(strstr(after, "1.x"));
			else
				assert_true(strstr(after, "1.x") || deleted_count(d) > 0);
			free(after);
		}
	}
}

static void a_kill_at_any_step_loses_nothing(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool killed = true;

		for (int n = 1; killed; n++) {
			struct store_dir *d = fresh(state);
			char *after;

			killed = store_dir_kill_at(d, n, changes[i]);
			store_dir_open(d);
			store_consistent(d);
			after = store_list(d);
			assert_non_null(strstr(after, "2.x"));
			if (changes[i] != trash_a)
				assert_non_null(strstr(after, "1.x"));
			else
				assert_true(strstr(after, "1.x") || deleted_count(d) > 0);
			free(after);
		}
	}
}

static void an_index_behind_the_log_finds_the_directories(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct store_dir *d = fresh(state);
		char *after;

		store_dir_close(d);
		store_dir_save_index(d);
		store_dir_kill(d, changes[i]);
		store_dir_open(d);
		after = store_list(d);
		store_dir_close(d);
		store_dir_restore_index(d);
		store_dir_kill(d, NULL);
		store_dir_open(d);
		store_consistent(d);
		assert_list(d, after);
		assert_int_equal(store_has_box(d, "N"), changes[i] == make_n);
		assert_int_equal(store_has_box(d, "E"), changes[i] != drop_e);
		free(after);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_directory_is_a_mailbox_as_soon_as_it_has_cur),
		TEST(a_child_gets_structural_parents),
		TEST(other_directories_are_local),
		TEST(a_second_spelling_does_not_take_the_mailbox_over),
		TEST(rmdir_of_cur_deletes_the_mailbox),
		TEST(a_mailbox_with_mail_in_cur_is_not_removed),
		TEST(a_mailbox_with_mail_in_new_is_not_removed),
		TEST(mail_in_a_directory_that_becomes_a_mailbox_is_found),
		TEST(inbox_is_not_removed_or_renamed),
		TEST(a_rename_gives_the_mailbox_another_name),
		TEST(children_that_are_left_behind_get_a_structural_parent),
		TEST(a_child_may_take_its_parents_name),
		FS_TEST(children_follow_in_fs_layout),
		FS_TEST(a_directory_that_only_holds_mailboxes_is_renamed_too),
		TEST(a_name_that_a_mailbox_has_is_not_taken),
		TEST(a_rename_to_dovecots_trash_deletes_and_keeps_bodies),
		TEST(a_folder_that_was_made_aside_becomes_a_mailbox_by_its_name),
		TEST(a_step_that_fails_leaves_the_store_consistent),
		TEST(a_kill_at_any_step_loses_nothing),
		TEST(an_index_behind_the_log_finds_the_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
