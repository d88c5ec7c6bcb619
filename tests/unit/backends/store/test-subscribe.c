/*
 * test-subscribe.c - Dovecot's subscriptions file is read when it is replaced and written when a peer
 * subscribes.
 */
#include "backends/store/store-private.h"
#include "backends/base/mem.h"
#include "tests/support/store-dir.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static bool subscribed(struct store_dir *d, const char *box)
{
	struct mailbox m = {0};
	bool is;

	store_get_box(d, box, &m);
	is = m.subscribed;
	mailbox_release(&m);
	return is;
}

static void test_a_file_replaced_behind_our_back_is_read_by_the_scan(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".Foo");
	store_make_box(d, ".Foo.Sub");
	outside_write(d, "subscriptions", "V\t2\n\nFoo\tSub\nNowhere\n");
	store_dir_rescan(d, &r);
	assert_true(subscribed(d, "Foo/Sub"));
	assert_false(subscribed(d, "Foo"));
	assert_int_equal(log_last(d), REC_MAILBOX_SUBSCRIBE);

	uint64_t before = log_records(d);
	store_dir_rescan(d, &r);
	assert_int_equal(log_records(d), before);
}

static void test_a_file_renamed_into_place_by_a_program_is_read_at_once(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".Foo");
	outside_write(d, "subscriptions.lock", "V\t2\n\nFoo\n");
	assert_int_equal(store_move(d, "subscriptions.lock", "subscriptions"), 0);
	assert_true(subscribed(d, "Foo"));
	outside_write(d, "subscriptions.lock", "V\t2\n\n");
	assert_int_equal(store_move(d, "subscriptions.lock", "subscriptions"), 0);
	assert_false(subscribed(d, "Foo"));
}

static int put_subscribed(struct store_dir *d, const char *box, bool subscribe, int minutes)
{
	struct record want = {.type = REC_MAILBOX_STATE, .origin = {.replica = 77}};
	int err;

	store_get_box(d, box, &want.mailbox);
	want.mailbox.subscribed = subscribe;
	want.mailbox.subscribed_at = peer_stamp(minutes);
	err = store_put(d->s, &want, NULL);
	record_release(&want);
	return err;
}

static void test_a_peers_subscription_makes_and_changes_the_file(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".Foo");
	store_make_box(d, ".Foo.Sub");
	assert_false(tree_has(d, "subscriptions"));
	assert_int_equal(put_subscribed(d, "Foo/Sub", true, 1), 1);
	assert_text(d, "subscriptions", "V\t2\n\nFoo\tSub\n");
	assert_int_equal(put_subscribed(d, "Foo", true, 2), 1);
	assert_int_equal(put_subscribed(d, "Foo/Sub", false, 3), 1);
	assert_text(d, "subscriptions", "V\t2\n\nFoo\n");
	assert_int_equal(put_subscribed(d, "Foo/Sub", false, 3), 0);
}

static void test_lines_that_name_no_mailbox_are_kept(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".Foo");
	outside_write(d, "subscriptions", "Shared.Box\n");
	store_dir_rescan(d, &r);
	assert_int_equal(put_subscribed(d, "Foo", true, 1), 1);
	assert_text(d, "subscriptions", "Shared.Box\nFoo\n");
}

static int put_renamed(struct store_dir *d, const char *box, const char *part, int minutes)
{
	struct record want = {.type = REC_MAILBOX_STATE, .origin = {.replica = 77}};
	int err;

	store_get_box(d, box, &want.mailbox);
	free(want.mailbox.part);
	want.mailbox.part = mb_xstrdup(part);
	want.mailbox.named_at = peer_stamp(minutes);
	err = store_put(d->s, &want, NULL);
	record_release(&want);
	return err;
}

static void test_lines_below_a_renamed_mailbox_follow_it(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".Foo");
	store_make_box(d, ".Foo.Sub");
	outside_write(d, "subscriptions", "Foo.Sub\nFoo.none\n");
	store_dir_rescan(d, &r);
	assert_int_equal(put_renamed(d, "Foo", "Bar", 1), 1);
	assert_text(d, "subscriptions", "Foo.none\nBar.Sub\n");
	outside_write(d, "subscriptions", "Foo.none\nBar.Sub\nmore\n");
	store_dir_rescan(d, &r);
	assert_true(subscribed(d, "Bar/Sub"));
}

/* The name that the one gives up is the other's by then. */
static void test_two_that_change_their_names(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	outside_write(d, "subscriptions", "A\nB\n");
	store_dir_rescan(d, &r);
	assert_int_equal(put_renamed(d, "A", "T", 1), 1);
	assert_int_equal(put_renamed(d, "B", "A", 2), 1);
	assert_int_equal(put_renamed(d, "T", "B", 3), 1);
	assert_text(d, "subscriptions", "A\nB\n");
	assert_int_equal(put_subscribed(d, "A", false, 4), 1);
	assert_text(d, "subscriptions", "B\n");
}

/* Or the next change of the file would unsubscribe the others. */
static void test_a_file_that_went_is_made_with_all(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_make_box(d, ".B");
	outside_write(d, "subscriptions", "V\t2\n\nA\n");
	store_dir_rescan(d, &r);
	outside_unlink(d, "subscriptions");
	store_dir_rescan(d, &r);
	assert_true(subscribed(d, "A"));
	assert_int_equal(put_subscribed(d, "B", true, 1), 1);
	assert_true(tree_has(d, "subscriptions"));
	/* in any order: the next look finds both, and neither is news */
	uint64_t before = log_records(d);
	store_dir_reopen(d);
	store_dir_rescan(d, &r);
	assert_true(subscribed(d, "A"));
	assert_true(subscribed(d, "B"));
	assert_int_equal(log_records(d), before);
	assert_int_equal(put_subscribed(d, "B", false, 2), 1);
	assert_text(d, "subscriptions", "V\t2\n\nA\n");
}

#define test(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_a_file_replaced_behind_our_back_is_read_by_the_scan),
		test(test_a_file_renamed_into_place_by_a_program_is_read_at_once),
		test(test_a_peers_subscription_makes_and_changes_the_file),
		test(test_lines_that_name_no_mailbox_are_kept),
		test(test_lines_below_a_renamed_mailbox_follow_it),
		test(test_two_that_change_their_names),
		test(test_a_file_that_went_is_made_with_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
