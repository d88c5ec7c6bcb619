/* test-checkpoint.c - checkpoints hold all that the log held; old files go, when nobody needs them. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define DAY (24ll * 3600 * 1000000000)

static int count_one(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	(void)sequence;
	(void)created_ns;
	(void)size;
	++*(int *)arg;
	return 0;
}

static int log_file_count(struct store_dir *d)
{
	int n = 0;

	assert_int_equal(log_files(store_log(d->s), count_one, &n), 0);
	return n;
}

static void live_a_little(struct store_dir *d)
{
	struct record r = {.type = REC_ALIAS}, p = {.type = REC_PEER};

	store_make_box(d, ".A");
	store_make_box(d, ".A.B");
	outside_write(d, "dovecot-keywords", "0 work\n");
	store_deliver(d, "", "1.x", "one");
	store_deliver(d, "", "2.x", "two");
	store_deliver(d, "", "3.x", "three");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,Sa"), 0);
	assert_int_equal(store_move(d, "new/2.x", ".A/cur/2.x:2,"), 0);
	assert_int_equal(store_unlink(d->s, "new/3.x", &d->me), 0);
	r.old_guid = store_guid(d, "1.x:2,Sa");
	r.copy.guid = guid_new();
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	p.peer.replica = 42;
	p.peer.destination = mb_xstrdup("store:/elsewhere");
	assert_int_equal(store_put(d->s, &p, NULL), 1);
	record_release(&p);
	assert_int_equal(store_move(d, ".A", ".Z"), 0);
	assert_int_equal(store_rmdir(d->s, ".A.B/cur", &d->me), 0);
	assert_int_equal(store_rmdir(d->s, ".A.B/new", &d->me), 0);
	assert_int_equal(store_rmdir(d->s, ".A.B/tmp", &d->me), 0);
	assert_int_equal(store_rmdir(d->s, ".A.B", &d->me), 0);
}

/* modseqs start anew with a checkpoint: they are counters of this log, not facts of the mail.  So are
 * the first two lines, clock and place in the log. */
static char *dump_without_modseq(struct store_dir *d)
{
	char *text = store_dump(d), *at;

	while ((at = strstr(text, " modseq=")))
		memmove(at, at + strcspn(at + 1, " \n") + 1,
			strlen(at + strcspn(at + 1, " \n") + 1) + 1);
	for (at = text; strncmp(at, "meta ", 5) == 0;) {
		char *next = strchr(at, '\n') + 1;

		if (strncmp(at, "meta applied", 12) == 0 || strncmp(at, "meta clock", 10) == 0)
			memmove(at, next, strlen(next) + 1);
		else
			at = next;
	}
	return text;
}

static void rebuild(struct store_dir *d)
{
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
}

static void a_checkpoint_alone_gives_the_same_index(void **state)
{
	struct store_dir *d = *state;
	char *before, *after;

	live_a_little(d);
	for (int i = 0; i < 3; i++) { /* the file that spans the limit stays */
		time_passes(10);
		assert_int_equal(store_checkpoint(d->s, 0), 0);
	}
	store_dir_reopen(d);
	assert_true(log_sequence(store_log(d->s)) > 3 && log_file_count(d) == 2);
	before = dump_without_modseq(d);
	rebuild(d);
	after = dump_without_modseq(d);
	assert_string_equal(before, after);
	store_consistent(d);
	free(before);
	free(after);
}

static void a_checkpoint_and_a_log_after_it(void **state)
{
	struct store_dir *d = *state;
	char *before, *after;

	live_a_little(d);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	store_deliver(d, ".Z", "9.x", "nine");
	assert_int_equal(store_move(d, ".Z", ".Y"), 0);
	store_dir_reopen(d);
	before = dump_without_modseq(d);
	rebuild(d);
	after = dump_without_modseq(d);
	assert_string_equal(before, after);
	store_consistent(d);
	free(before);
	free(after);
}

static void modseqs_do_not_vanish(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	store_deliver(d, "", "1.x", "one");
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	rebuild(d);
	store_find(d, "1.x", &e);
	assert_true(e.modseq > 0);
	entry_release(&e);
}

static void a_lost_body_stays_lost(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	store_dir_close(d);
	outside_unlink(d, "new/1.x");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x lost");
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	rebuild(d);
	assert_list(d, "INBOX/new/1.x lost");
}

static void young_files_and_bodies_stay(void **state)
{
	struct store_dir *d = *state;
	int files;

	live_a_little(d);
	files = log_file_count(d);
	assert_int_equal(store_checkpoint(d->s, 30 * DAY), 0);
	assert_int_equal(log_file_count(d), files + 1);
	assert_int_equal(deleted_count(d), 1);
	time_passes(31 * 24 * 3600);
	assert_int_equal(store_checkpoint(d->s, 30 * DAY), 0);
	assert_true(log_file_count(d) <= 2);
	assert_int_equal(deleted_count(d), 0);
	rebuild(d);
	store_consistent(d);
}

/* A peer that has not seen the log yet holds it, but not for ever. */
static void a_peer_pins_the_log(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_PEER};
	struct position at;

	r.peer.replica = 42;
	r.peer.destination = mb_xstrdup("store:/elsewhere");
	assert_int_equal(log_end(store_log(d->s), &r.peer.local), 0);
	r.peer.synced_ns =
		(int64_t)(stamp_ms(&(struct stamp){.time = peer_stamp(0).time})) * 1000000;
	at = r.peer.local;
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	record_release(&r);
	live_a_little(d);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	assert_int_equal(log_check(store_log(d->s), &at), 0);
	time_passes(91 * 24 * 3600);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	assert_true(log_check(store_log(d->s), &at) < 0);
}

static int checkpoint(struct store_dir *d)
{
	return store_checkpoint(d->s, 0);
}

static void a_checkpoint_that_is_cut_changes_nothing(void **state)
{
	struct store_dir *d = *state;
	bool killed = true;

	live_a_little(d);
	store_dir_reopen(d);
	char *before = dump_without_modseq(d), *after;

	for (int n = 1; killed; n++) {
		killed = store_dir_kill_at(d, n, checkpoint);
		store_dir_drop(d, "index");
		store_dir_open(d);
		after = dump_without_modseq(d);
		assert_string_equal(before, after);
		free(after);
		assert_true(n < 1000);
	}
	free(before);
}

static void a_checkpoint_without_room_changes_nothing(void **state)
{
	struct store_dir *d = *state;
	bool hit = true;

	live_a_little(d);
	store_dir_reopen(d);
	char *before = dump_without_modseq(d), *after;

	for (int n = 1; hit; n++) {
		store_dir_fail_at(d, n, ENOSPC, checkpoint, &hit);
		store_dir_close(d);
		store_dir_drop(d, "index");
		store_dir_open(d);
		after = dump_without_modseq(d);
		assert_string_equal(before, after);
		free(after);
		assert_true(n < 1000);
	}
	free(before);
}

static int count_ckpt(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	(void)type;
	(void)ino;
	*(int *)arg += strstr(name, ".ckpt") != NULL;
	return 0;
}

static int checkpoints(struct store_dir *d)
{
	MB_AUTO_CLOSE int fd = at_open(d->fd, "store/log", O_RDONLY | O_DIRECTORY, 0);
	int n = 0;

	assert_true(fd >= 0);
	assert_int_equal(at_list(fd, count_ckpt, &n), 0);
	return n;
}

/* Nobody has to ask for it: a day on which something happened ends with one. */
static void a_checkpoint_a_day(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.a.host", "Subject: x\n\nx\n");
	store_dir_reopen(d);
	assert_int_equal(checkpoints(d), 0);
	time_passes(25 * 3600);
	store_deliver(d, "", "2.a.host", "Subject: y\n\ny\n");
	store_dir_reopen(d);
	assert_int_equal(checkpoints(d), 1);
	store_consistent(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	store_consistent(d);
	assert_list(d, "INBOX/new/1.a.host | INBOX/new/2.a.host");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_checkpoint_a_day),
		TEST(a_checkpoint_alone_gives_the_same_index),
		TEST(a_checkpoint_and_a_log_after_it),
		TEST(modseqs_do_not_vanish),
		TEST(a_lost_body_stays_lost),
		TEST(young_files_and_bodies_stay),
		TEST(a_peer_pins_the_log),
		TEST(a_checkpoint_that_is_cut_changes_nothing),
		TEST(a_checkpoint_without_room_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
