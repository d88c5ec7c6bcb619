/* test-scan-judge.c - what a missing file means, and a changed one. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static struct scan_report scan(struct store_dir *d, bool full)
{
	struct scan_report r;

	assert_int_equal(store_scan(d->s, full, &r), 0);
	return r;
}

static void deliver_n(struct store_dir *d, int n)
{
	for (int i = 0; i < n; i++) {
		char *name = mb_xasprintf("m%03d.x", i);

		store_deliver(d, "", name, name);
		free(name);
	}
}

static void remove_n(struct store_dir *d, int n)
{
	for (int i = 0; i < n; i++) {
		char *path = mb_xasprintf("new/m%03d.x", i);

		outside_unlink(d, path);
		free(path);
	}
}

/* ---- absence ---- */

static void a_file_removed_by_hand_is_expunged(void **state)
{
	struct store_dir *d = *state;

	deliver_n(d, 3);
	remove_n(d, 1);
	assert_int_equal(scan(d, false).expunged, 1);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "INBOX/new/m001.x | INBOX/new/m002.x");
	assert_int_equal(scan(d, false).expunged, 0);
}

static void many_at_once_are_held(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	deliver_n(d, 120);
	remove_n(d, GUARD_COUNT + 1);
	r = scan(d, false);
	assert_int_equal(r.held, GUARD_COUNT + 1);
	assert_int_equal(r.expunged, 0);
	store_deliver(d, "", "else.x", "everything else goes on");
	r = scan(d, false);
	assert_int_equal(r.held, GUARD_COUNT + 1); /* still */
	store_allow_mass_expunge(d->s, true);
	assert_int_equal(scan(d, false).expunged, GUARD_COUNT + 1);
	store_consistent(d);
}

static void fifty_of_many_are_not(void **state)
{
	struct store_dir *d = *state;

	deliver_n(d, 120);
	remove_n(d, GUARD_COUNT);
	assert_int_equal(scan(d, false).expunged, GUARD_COUNT);
}

static void a_quarter_of_many_is_not(void **state)
{
	struct store_dir *d = *state;

	deliver_n(d, 240);
	remove_n(d, 60);
	assert_int_equal(scan(d, false).expunged, 60);
}

static void all_of_a_mailbox_are_held(void **state)
{
	struct store_dir *d = *state;

	deliver_n(d, GUARD_WHOLE + 1);
	remove_n(d, GUARD_WHOLE + 1);
	assert_int_equal(scan(d, false).held, GUARD_WHOLE + 1);
}

static void all_of_a_small_one_are_not(void **state)
{
	struct store_dir *d = *state;

	deliver_n(d, GUARD_WHOLE);
	remove_n(d, GUARD_WHOLE);
	assert_int_equal(scan(d, false).expunged, GUARD_WHOLE);
}

/* What went to deleted/ was expunged by us: no inference, no guard. */
static void what_is_in_deleted_is_never_held(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	deliver_n(d, 60);
	for (int i = 0; i < 60; i++) {
		char *name = mb_xasprintf("m%03d.x", i), *path = mb_xasprintf("new/%s", name);
		struct entry e = {0};

		store_find(d, name, &e);
		assert_int_equal(file_to_deleted(d->s, path, &e, false, NULL), 0);
		entry_release(&e);
		free(name);
		free(path);
	}
	r = scan(d, false);
	assert_int_equal(r.held, 0);
	assert_int_equal(r.expunged, 60);
	assert_list(d, "");
}

/* ---- content ---- */

static void change(struct store_dir *d, const char *path, const char *text)
{
	struct timespec t[2] = {{7000, 0}, {7000, 0}};

	outside_write(d, path, text);
	assert_int_equal(utimensat(d->mail_fd, path, t, 0), 0);
}

static void changed_bytes_after_a_clean_stop_are_an_edit(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;
	struct guid before, after;

	store_deliver(d, "", "1.x", "before");
	before = store_guid(d, "1.x");
	store_dir_reopen(d);
	change(d, "new/1.x", "longer than before");
	r = scan(d, true);
	assert_int_equal(r.edited, 1);
	assert_int_equal(log_last(d), REC_EDIT);
	after = store_guid(d, "1.x");
	assert_false(guid_equal(&before, &after));
	store_consistent(d);
	assert_int_equal(scan(d, true).records, 0);
}

static void the_same_size_is_told_by_its_digest(void **state)
{
	struct store_dir *d = *state;
	struct digest digest;
	struct guid g;

	store_deliver(d, "", "1.x", "before");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	change(d, "new/1.x", "afters");
	assert_int_equal(scan(d, true).edited, 1);
	store_consistent(d);
}

static void a_touch_is_no_change(void **state)
{
	struct store_dir *d = *state;
	struct digest digest;
	struct guid g;

	store_deliver(d, "", "1.x", "before");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	change(d, "new/1.x", "before");
	assert_int_equal(scan(d, true).records, 0);
	assert_list(d, "INBOX/new/1.x");
}

static void a_shorter_file_is_damaged(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_deliver(d, "", "1.x", "the whole body");
	change(d, "new/1.x", "the whole");
	r = scan(d, true);
	assert_int_equal(r.damaged, 1);
	assert_int_equal(r.expunged, 0);
	assert_int_equal(log_last(d), REC_DAMAGED);
	assert_list(d, "INBOX/new/1.x damaged");
	assert_text(d, "new/1.x", "the whole"); /* better than nothing, until a peer has it */
	assert_int_equal(deleted_count(d), 0);
	r = scan(d, true);
	assert_int_equal(r.expunged + r.damaged + r.records, 0); /* never a reason to; told once */
	store_dir_reopen(d);
	assert_list(d, "INBOX/new/1.x damaged");
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x damaged");
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x damaged");
	assert_text(d, "new/1.x", "the whole");
	store_consistent(d);
}

/* What its owner does with it is what it is with any message. */
static void a_damaged_file_is_flagged_and_moved_and_removed(void **state)
{
	struct store_dir *d = *state;
	struct guid g;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "the whole body");
	g = store_guid(d, "1.x");
	change(d, "new/1.x", "the whole");
	assert_int_equal(scan(d, true).damaged, 1);
	outside_rename(d, "new/1.x", "cur/1.x:2,S");
	assert_int_equal(scan(d, false).flagged, 1);
	assert_list(d, "INBOX/cur/1.x:2,S damaged");
	outside_rename(d, "cur/1.x:2,S", ".A/cur/other.name:2,SF");
	assert_int_equal(scan(d, false).moved, 1);
	assert_list(d, "A/cur/other.name:2,SF damaged");
	outside_write(d, "cur/other.name:2,SF", "the whole"); /* a move by copying */
	outside_unlink(d, ".A/cur/other.name:2,SF");
	assert_int_equal(scan(d, false).moved, 1);
	assert_list(d, "INBOX/cur/other.name:2,SF damaged");
	struct guid now = store_guid(d, "other.name:2,SF");
	assert_true(guid_equal(&g, &now));
	outside_unlink(d, "cur/other.name:2,SF");
	assert_int_equal(scan(d, false).expunged, 1);
	assert_list(d, "");
	store_consistent(d);
}

/* Nobody had looked at it before it was moved: not a new message, and not an expunge. */
static void a_damaged_file_is_known_after_a_move(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "the whole body");
	change(d, "new/1.x", "the whole");
	outside_rename(d, "new/1.x", ".A/cur/1.x:2,S");
	r = scan(d, false);
	assert_int_equal(r.moved, 1);
	assert_int_equal(r.damaged, 1);
	assert_int_equal(r.arrived + r.expunged, 0);
	assert_list(d, "A/cur/1.x:2,S damaged");
	store_consistent(d);
}

/* Through the store: a kept damaged body is never taken for the message's. */
static void a_damaged_file_that_was_unlinked_is_no_body(void **state)
{
	struct store_dir *d = *state;
	char *kept = NULL;
	struct guid g;

	store_deliver(d, "", "1.x", "the whole body");
	g = store_guid(d, "1.x");
	change(d, "new/1.x", "the whole");
	scan(d, true);
	assert_int_equal(store_open_body(d->s, &g, 0), MB_E_DAMAGED);
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,F"), 0);
	assert_list(d, "INBOX/cur/1.x:2,F damaged");
	assert_int_equal(store_unlink(d->s, "cur/1.x:2,F", &d->me), 0);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
	assert_int_equal(file_find_deleted(d->s, &GUID_INBOX, &g, 0, true, &kept), -ENOENT);
	assert_int_equal(file_find_deleted(d->s, &GUID_INBOX, &g, 0, false, &kept), 0);
	free(kept);
}

/* A program wrote it anew, in place: the truncation was only seen between. */
static void a_damaged_file_that_is_written_anew_is_an_edit(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "the whole body");
	change(d, "new/1.x", "");
	assert_int_equal(scan(d, true).damaged, 1);
	outside_write(d, "new/1.x", "what the editor writes is longer");
	assert_int_equal(scan(d, true).edited, 1);
	assert_list(d, "INBOX/new/1.x");
	store_consistent(d);
}

static void a_damaged_file_that_is_right_again_is_found(void **state)
{
	struct store_dir *d = *state;
	struct digest digest;
	struct guid g;

	store_deliver(d, "", "1.x", "the whole body");
	g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	change(d, "new/1.x", "the");
	assert_int_equal(scan(d, true).damaged, 1);
	outside_write(d, "new/1.x", "the whole body"); /* from a backup */
	scan(d, true);
	assert_int_equal(log_last(d), REC_FOUND);
	assert_list(d, "INBOX/new/1.x");
	struct guid now = store_guid(d, "1.x");
	assert_true(guid_equal(&g, &now));
}

/* An attachment was stripped, by a program that writes a new file and renames it. */
static void a_shorter_file_in_its_place_is_an_edit(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_deliver(d, "", "1.x", "the whole body, with an attachment");
	outside_write(d, "tmp/1.x", "the body");
	outside_rename(d, "tmp/1.x", "new/1.x");
	r = scan(d, false);
	assert_int_equal(r.edited, 1);
	assert_int_equal(r.damaged, 0);
	assert_text(d, "new/1.x", "the body");
	store_consistent(d);
	outside_write(d, "tmp/1.x", "");
	outside_rename(d, "tmp/1.x", "new/1.x");
	r = scan(d, false);
	assert_int_equal(r.damaged, 1);
	assert_list(d, "INBOX/new/1.x damaged");
}

static void zeros_are_damage(void **state)
{
	struct store_dir *d = *state;
	int fd;

	store_deliver(d, "", "1.x", "the whole body");
	fd = openat(d->mail_fd, "new/1.x", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 14), 0);
	close(fd);
	change(d, "tmp/x", "");
	assert_int_equal(scan(d, true).damaged, 1);
	assert_list(d, "INBOX/new/1.x damaged");
}

static struct digest learned(struct store_dir *d, const char *name)
{
	const struct guid g = store_guid(d, name);
	struct digest ret = {0};

	assert_int_equal(store_digest(d->s, &g, 0, &ret), 0);
	return ret;
}

static void bytes_of_one_size_differ_by_their_digest(void **state)
{
	struct store_dir *d = *state;
	const struct timespec later[2] = {{8000, 0}, {8000, 0}};
	struct digest before;
	struct guid old;
	struct scan_report r;

	store_deliver(d, "", "1.x", "the whole body");
	before = learned(d, "1.x");
	old = store_guid(d, "1.x");
	change(d, "new/1.x", "the whole body"); /* other times: as a backup that is put back */
	assert_int_equal(scan(d, true).edited, 0);
	change(d, "new/1.x", "the other body");
	assert_int_equal(utimensat(d->mail_fd, "new/1.x", later, 0), 0);
	r = scan(d, true);
	assert_int_equal(r.edited, 1);
	assert_int_equal(r.damaged, 0);
	struct digest now = learned(d, "1.x");
	struct guid new = store_guid(d, "1.x");
	assert_false(digest_equal(&before, &now));
	assert_false(guid_equal(&old, &new));
}

static void a_tail_of_zeros_is_damage(void **state)
{
	struct store_dir *d = *state;
	struct timespec t[2] = {{7000, 0}, {7000, 0}};
	char text[4096];
	int fd;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	store_deliver(d, "", "1.x", text);
	learned(d, "1.x");
	fd = openat(d->mail_fd, "new/1.x", O_WRONLY | O_CLOEXEC);
	memset(text + 1000, 0, sizeof(text) - 1000);
	assert_int_equal(pwrite(fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	assert_int_equal(futimens(fd, t), 0);
	close(fd);
	assert_int_equal(scan(d, true).damaged, 1);
	assert_list(d, "INBOX/new/1.x damaged");
}

static void an_empty_message_is_no_damage(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "");
	change(d, "new/1.x", "");
	assert_int_equal(scan(d, true).damaged, 0);
	assert_list(d, "INBOX/new/1.x");
}

/* After a power cut nobody knows who wrote: never an edit. */
static void changed_bytes_after_a_power_cut_are_damage(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "before");
	store_dir_close(d);
	change(d, "new/1.x", "longer than before");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x damaged");
	assert_text(d, "new/1.x", "longer than before");
	time_passes(60);
	store_dir_reopen(d);
	assert_int_equal(scan(d, true).edited, 0); /* nor later */
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_int_equal(scan(d, true).edited, 0);
	assert_list(d, "INBOX/new/1.x damaged");
}

/* A link of a damaged file that is made later is damaged as well. */
static void damage_of_a_link_is_found_on_both(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "the whole body");
	assert_int_equal(store_link(d->s, "new/1.x", ".A/cur/2.x:2,", &d->me), 0);
	change(d, "new/1.x", "the");
	assert_int_equal(scan(d, true).damaged, 2);
	assert_list(d, "A/cur/2.x:2, damaged | INBOX/new/1.x damaged");
	assert_int_equal(store_link(d->s, "new/1.x", ".A/cur/3.x:2,", &d->me), 0);
	outside_link(d, "new/1.x", ".A/cur/4.x:2,");
	scan(d, false);
	assert_list(d, "A/cur/2.x:2, damaged | A/cur/3.x:2, damaged | A/cur/4.x:2, damaged | "
		       "INBOX/new/1.x damaged");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_file_removed_by_hand_is_expunged),
		TEST(many_at_once_are_held),
		TEST(fifty_of_many_are_not),
		TEST(a_quarter_of_many_is_not),
		TEST(all_of_a_mailbox_are_held),
		TEST(all_of_a_small_one_are_not),
		TEST(what_is_in_deleted_is_never_held),
		TEST(changed_bytes_after_a_clean_stop_are_an_edit),
		TEST(the_same_size_is_told_by_its_digest),
		TEST(a_touch_is_no_change),
		TEST(a_shorter_file_is_damaged),
		TEST(a_damaged_file_is_flagged_and_moved_and_removed),
		TEST(a_damaged_file_is_known_after_a_move),
		TEST(a_damaged_file_that_was_unlinked_is_no_body),
		TEST(a_damaged_file_that_is_written_anew_is_an_edit),
		TEST(a_damaged_file_that_is_right_again_is_found),
		TEST(a_shorter_file_in_its_place_is_an_edit),
		TEST(zeros_are_damage),
		TEST(bytes_of_one_size_differ_by_their_digest),
		TEST(a_tail_of_zeros_is_damage),
		TEST(an_empty_message_is_no_damage),
		TEST(changed_bytes_after_a_power_cut_are_damage),
		TEST(damage_of_a_link_is_found_on_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
