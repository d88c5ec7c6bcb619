/* test-mend.c - a damaged file stays until the right body is at hand, and then changes at once. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY "the whole body"

static void change(struct store_dir *d, const char *path, const char *text)
{
	struct timespec t[2] = {{7000, 0}, {7000, 0}};

	outside_write(d, path, text);
	assert_int_equal(utimensat(d->mail_fd, path, t, 0), 0);
}

static void scan(struct store_dir *d)
{
	struct scan_report r;

	assert_int_equal(store_scan(d->s, true, &r), 0);
}

/* new/1.x of INBOX, with a known digest, is cut short; what a peer would send of it. */
static struct record damage(struct store_dir *d)
{
	struct record r = {.type = REC_COPY_STATE, .origin = {.replica = 99}};
	struct digest digest;
	struct entry e = {0};

	store_deliver(d, "", "1.x", BODY);
	struct guid g = store_guid(d, "1.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	store_find(d, "1.x", &e);
	copy_clone(&r.copy, &e.copy);
	entry_release(&e);
	change(d, "new/1.x", "the whole");
	scan(d);
	assert_list(d, "INBOX/new/1.x damaged");
	return r;
}

static uint64_t missing(struct store_dir *d)
{
	struct index_txn *tx;
	uint64_t n = 99;

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_missing(tx, &n), 0);
	index_abort(tx);
	return n;
}

static int damaged_kept(struct store_dir *d)
{
	return faccessat(d->fd, "store/deleted/damaged", F_OK, 0) == 0 ? deleted_count(d) : 0;
}

static void a_peers_body_takes_its_place(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);
	struct entry e = {0};

	assert_int_equal(missing(d), 1);
	store_find(d, "1.x", &e);
	uint64_t ordinal = e.ordinal;
	entry_release(&e);
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_int_equal(log_last(d), REC_FOUND);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", BODY);
	assert_int_equal(damaged_kept(d), 1);
	assert_int_equal(staging_count(d), 0);
	assert_int_equal(missing(d), 0);
	store_find(d, "1.x", &e);
	assert_int_equal(e.ordinal, ordinal); /* st_ino in the mount */
	entry_release(&e);
	store_consistent(d);
	assert_int_equal(store_put(d->s, &r, NULL), 0);
	scan(d);
	assert_int_equal(log_last(d), REC_FOUND); /* nothing new */
	record_release(&r);
}

/* The peer's flags and its body in one put; ours, set while it was damaged, stay. */
static void flags_come_with_it(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,F"), 0);
	flags_put(&r.copy.flags, FLAG_SEEN, true, peer_stamp(5));
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_list(d, "INBOX/cur/1.x:2,FS");
	assert_text(d, "cur/1.x:2,FS", BODY);
	store_consistent(d);
	record_release(&r);
}

static void the_wrong_body_changes_nothing(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	peer_stage(d, "body", "the wrong body");
	assert_int_equal(store_put(d->s, &r, "body"), MB_E_DAMAGED);
	peer_stage(d, "body", "of another size altogether");
	assert_int_equal(store_put(d->s, &r, "body"), MB_E_DAMAGED);
	assert_int_equal(store_put(d->s, &r, NULL), -ENOENT);
	assert_list(d, "INBOX/new/1.x damaged");
	assert_text(d, "new/1.x", "the whole");
	assert_int_equal(damaged_kept(d), 0);
	record_release(&r);
}

/* Somebody may be writing it: its owner's bytes are not taken away under the pen. */
static void a_file_that_is_being_written_waits(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	outside_write(d, "new/1.x", "the");
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"),
			 MB_E_STALE); /* not the file that was judged */
	scan(d);
	assert_int_equal(store_put(d->s, &r, "body"), -EBUSY);
	assert_text(d, "new/1.x", "the");
	time_passes(3);
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_text(d, "new/1.x", BODY);
	store_consistent(d);
	record_release(&r);
}

/* Written through the mount: an edit, which stays as a message of its own. */
static void an_edit_in_the_mount_is_not_taken_away(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	outside_write(d, "new/1.x", "the program's own");
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"), MB_E_STALE);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "the program's own");
	record_release(&r);
}

static void an_expunge_takes_it_away(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	r.copy.dead = r.copy.place.at;
	r.copy.dead_at = peer_stamp(5);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	assert_list(d, "");
	assert_false(tree_has(d, "new/1.x"));
	assert_int_equal(missing(d), 0);
	store_consistent(d);
	record_release(&r);
}

static void a_good_copy_of_ours_will_do(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);
	struct digest digest;

	store_deliver(d, "", "2.x", BODY);
	struct guid g = store_guid(d, "2.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x");
	assert_text(d, "new/1.x", BODY);
	assert_text(d, "new/2.x", BODY);
	store_consistent(d);
	record_release(&r);
}

/* One that is damaged itself, and nobody has noticed: the peer is asked. */
static void a_bad_copy_of_ours_will_not_do(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);
	struct digest digest;

	store_deliver(d, "", "2.x", BODY);
	struct guid g = store_guid(d, "2.x");
	assert_int_equal(store_digest(d->s, &g, 0, &digest), 0);
	outside_write(d, "new/2.x", "the other body");
	assert_int_equal(store_put(d->s, &r, NULL), -ENOENT);
	assert_int_equal(staging_count(d), 0);
	assert_text(d, "new/1.x", "the whole");
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_text(d, "new/1.x", BODY);
	record_release(&r);
}

static void all_links_of_it_are_mended(void **state)
{
	struct store_dir *d = *state;
	struct record r = damage(d);

	assert_int_equal(store_link(d->s, "new/1.x", "cur/2.x:2,", &d->me), 0);
	assert_int_equal(missing(d), 2);
	peer_stage(d, "body", BODY);
	assert_int_equal(store_put(d->s, &r, "body"), 1);
	assert_list(d, "INBOX/cur/2.x:2, | INBOX/new/1.x");
	assert_text(d, "cur/2.x:2,", BODY);
	assert_int_equal(missing(d), 0);
	store_consistent(d);
	record_release(&r);
}

static struct record wanted;

static int put_it(struct store_dir *d)
{
	peer_stage(d, "body", BODY);
	return store_put(d->s, &wanted, "body");
}

/* Whatever a stop leaves, the message has a file under its name, and the damaged bytes are somewhere. */
static void killed_at_each_step(void **state)
{
	struct store_dir *d = *state;
	bool more = true;
	int n = 0;

	wanted = damage(d);
	while (more) {
		char *text;

		more = store_dir_kill_at(d, ++n, put_it);
		text = tree_text(d, "new/1.x");
		assert_true(strcmp(text, BODY) == 0 || strcmp(text, "the whole") == 0);
		store_dir_open(d);
		store_consistent(d);
		if (strcmp(text, BODY) == 0) {
			assert_list(d, "INBOX/new/1.x");
			assert_true(deleted_count(d) >= 1);
		} else {
			assert_list(d, "INBOX/new/1.x damaged");
			assert_int_equal(put_it(d), 1);
			assert_list(d, "INBOX/new/1.x");
			assert_true(deleted_count(d) >= 1);
		}
		assert_int_equal(missing(d), 0);
		free(text);
		change(d, "new/1.x", "the whole");
		scan(d);
		assert_list(d, "INBOX/new/1.x damaged");
		store_dir_close(d);
	}
	assert_true(n > 4);
	store_dir_open(d);
	record_release(&wanted);
}

static void failed_at_each_step(void **state)
{
	struct store_dir *d = *state;
	bool hit = true;

	wanted = damage(d);
	for (int n = 1; hit; n++) {
		int err = store_dir_fail_at(d, n, EIO, put_it, &hit);
		char *text = tree_text(d, "new/1.x");

		assert_true(strcmp(text, BODY) == 0 || strcmp(text, "the whole") == 0);
		assert_true(err < 0 || strcmp(text, BODY) == 0);
		scan(d);
		store_consistent(d);
		free(text);
		change(d, "new/1.x", "the whole");
		scan(d);
		assert_list(d, "INBOX/new/1.x damaged");
	}
	record_release(&wanted);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_peers_body_takes_its_place),
		TEST(flags_come_with_it),
		TEST(the_wrong_body_changes_nothing),
		TEST(a_file_that_is_being_written_waits),
		TEST(an_edit_in_the_mount_is_not_taken_away),
		TEST(an_expunge_takes_it_away),
		TEST(a_good_copy_of_ours_will_do),
		TEST(a_bad_copy_of_ours_will_not_do),
		TEST(all_links_of_it_are_mended),
		TEST(killed_at_each_step),
		TEST(failed_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
