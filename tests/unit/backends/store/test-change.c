/* test-change.c - log and index are written in one way; events come in order, without the lock. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

static struct record subscribe(struct store_dir *d)
{
	struct record r = {.type = REC_MAILBOX_SUBSCRIBE, .origin = d->me};

	store_get_box(d, "INBOX", &r.mailbox);
	r.mailbox.subscribed = !r.mailbox.subscribed;
	r.mailbox.subscribed_at = store_now(d->s);
	return r;
}

static bool is_subscribed(struct store_dir *d)
{
	struct mailbox m;

	store_get_box(d, "INBOX", &m);
	bool is = m.subscribed;
	mailbox_release(&m);
	return is;
}

static void a_record_gets_stamp_and_origin(void **state)
{
	struct store_dir *d = *state;
	struct record r = subscribe(d);
	struct stamp before = store_now(d->s);
	struct index_txn *tx;

	store_lock(d->s);
	assert_int_equal(change_begin(d->s, &tx), 0);
	assert_int_equal(change_record(d->s, tx, &r), 0);
	assert_int_equal(change_end(d->s, tx, 0), 0);
	store_unlock(d->s);
	assert_true(stamp_compare(&r.at, &before) > 0);
	assert_true(r.origin.replica == store_replica(d->s));
	assert_true(is_subscribed(d));
	record_release(&r);
}

/* What is in the log is so, whatever went wrong after it. */
static void a_change_that_was_logged_is_not_undone(void **state)
{
	struct store_dir *d = *state;
	struct record r = subscribe(d);
	struct index_txn *tx;

	store_lock(d->s);
	assert_int_equal(change_begin(d->s, &tx), 0);
	assert_int_equal(change_record(d->s, tx, &r), 0);
	assert_int_equal(change_end(d->s, tx, -EIO), -EIO);
	store_unlock(d->s);
	assert_true(is_subscribed(d));
	store_dir_reopen(d);
	assert_true(is_subscribed(d));
	record_release(&r);
}

static int no_room(uint64_t step, const char *what, void *arg)
{
	return -ENOSPC;
}

static void a_change_that_was_not_logged_is_not_made(void **state)
{
	struct store_dir *d = *state;
	struct record r = subscribe(d);
	struct index_txn *tx;

	store_lock(d->s);
	assert_int_equal(change_begin(d->s, &tx), 0);
	io_set_hook(no_room, NULL);
	assert_int_equal(change_record(d->s, tx, &r), -ENOSPC);
	io_set_hook(NULL, NULL);
	assert_int_equal(change_end(d->s, tx, -ENOSPC), -ENOSPC);
	store_unlock(d->s);
	assert_false(is_subscribed(d));
	store_dir_reopen(d);
	assert_false(is_subscribed(d));
	record_release(&r);
}

static void the_store_says_that_it_is_being_written_before_it_is(void **state)
{
	struct store_dir *d = *state;
	struct store_state st;
	int fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	store_dir_close(d);
	assert_int_equal(state_read(fd, &st), 0);
	assert_true(st.clean);
	time_passes(10);
	store_dir_open(d);
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(state_read(fd, &st), 0);
	assert_false(st.clean);
	store_dir_close(d);
	assert_int_equal(state_read(fd, &st), 0);
	assert_true(st.clean);
	close(fd);
	store_dir_open(d);
}

/* No state file, no change: else a power cut would leave an index that is believed. */
static void without_room_for_the_state_nothing_is_written(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	time_passes(10);
	store_dir_reopen(d);
	store_dir_reopen(d);
	n = log_records(d);
	outside_write(d, "tmp/1.x", "a");
	io_set_hook(no_room, NULL);
	assert_int_equal(store_move(d, "tmp/1.x", "new/1.x"), -ENOSPC);
	io_set_hook(NULL, NULL);
	assert_true(tree_has(d, "tmp/1.x") && !tree_has(d, "new/1.x"));
	assert_int_equal(log_records(d), n);
}

static int no_new_file(uint64_t step, const char *what, void *arg)
{
	int *n = arg;

	if (strcmp(what, "create") != 0)
		return 0;
	++*n;
	return -ENOSPC;
}

/* An expunge needs no new file: "clean" is written over in its place. */
static void on_a_full_disk_the_state_is_marked_in_place(void **state)
{
	struct store_dir *d = *state;
	struct store_state st;
	int n = 0, fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	store_deliver(d, "", "1.x", "a");
	time_passes(10);
	store_dir_reopen(d);
	store_dir_reopen(d);
	assert_int_equal(state_read(fd, &st), 0);
	assert_true(st.clean);
	io_set_hook(no_new_file, &n);
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	io_set_hook(NULL, NULL);
	assert_true(n > 0);
	assert_int_equal(state_read(fd, &st), 0);
	assert_false(st.clean);
	close(fd);
	store_dir_reopen(d);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
}

/* Readers know the index of a clean store by its time, which the room moves. */
static void room_for_a_store_that_nobody_changes_leaves_it_clean(void **state)
{
	struct store_dir *d = *state;
	struct store_state st;
	struct store *reader;

	store_deliver(d, "", "1.x", "a");
	time_passes(10);
	store_dir_reopen(d);
	store_dir_reopen(d);
	usleep(20000); /* a tick of the file system's clock */
	store_lock(d->s);
	assert_int_equal(change_keep_room(d->s), 0);
	store_unlock(d->s);
	assert_int_equal(state_read(d->s->dir_fd, &st), 0);
	assert_true(st.clean && !d->s->dirty);
	assert_true(index_is_as_left(d->s->dir_fd, &st));
	assert_int_equal(store_open(d->dir, STORE_READ, &reader), 0);
	store_close(reader);
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	assert_int_equal(state_read(d->s->dir_fd, &st), 0);
	assert_true(!st.clean && d->s->dirty);
	store_lock(d->s);
	assert_int_equal(change_keep_room(d->s), 0);
	store_unlock(d->s);
	assert_int_equal(state_read(d->s->dir_fd, &st), 0);
	assert_true(!st.clean && d->s->dirty);
}

/* The state says so before the time moves: a reader that comes between does not call it damage. */
static void a_change_says_so_before_it_takes_room(void **state)
{
	struct store_dir *d = *state;
	struct store_state st;

	store_deliver(d, "", "1.x", "a");
	time_passes(10);
	store_dir_reopen(d);
	store_dir_reopen(d);
	store_lock(d->s);
	assert_int_equal(change_room(d->s, ROOM_HALF), 0);
	store_unlock(d->s);
	assert_int_equal(state_read(d->s->dir_fd, &st), 0);
	assert_true(!st.clean && d->s->dirty);
	store_dir_reopen(d);
	assert_int_equal(state_read(d->s->dir_fd, &st), 0);
	assert_true(st.clean);
}

/* What the next change needs is on the disk already; nobody sees it in sizes. */
static void room_is_kept_for_log_and_index(void **state)
{
	struct store_dir *d = *state;
	struct stat log, index;
	uint64_t before = log_file_size(d->s->log);
	int probe = io_create_at(d->fd, "probe", O_RDWR, 0600);

	store_lock(d->s);
	assert_int_equal(change_room(d->s, ROOM_ALL), 0);
	store_unlock(d->s);
	assert_int_equal(fstatat(d->fd, "store/log/00000001.log", &log, 0), 0);
	assert_int_equal(fstatat(d->fd, "store/index/data.mdb", &index, 0), 0);
	assert_int_equal(log.st_size, before);
	if (io_reserve(probe, 0, 1) == 1) {
		assert_true(log.st_blocks * 512 >= 64 << 10);
		assert_true(index.st_blocks * 512 >= 256 << 10);
	}
	for (int i = 0; i < 50; i++) {
		char name[20];

		snprintf(name, sizeof(name), "%d.x", i);
		store_deliver(d, "", name, "a");
	}
	store_consistent(d);
	assert_int_equal(log_rotate(d->s->log), 0); /* the old file keeps no room */
	assert_int_equal(fstatat(d->fd, "store/log/00000001.log", &log, 0), 0);
	assert_true(log.st_blocks * 512 <= log.st_size + (16 << 10));
	close(probe);
	store_dir_reopen(d);
	store_consistent(d);
}

/* ---- events ---- */

struct heard {
	struct store_dir *d;
	char text[1024];
};

static void listener(const struct store_event *e, void *arg)
{
	static const char *const what[] = {"added", "removed", "renamed", "changed"};
	struct heard *h = arg;
	size_t len = strlen(h->text);
	struct node_info n;

	snprintf(h->text + len, sizeof(h->text) - len, "%s %s%s%s%s; ", what[e->what], e->path,
		 e->old_path ? " < " : "", e->old_path ? e->old_path : "",
		 e->retired_by_peer ? " by peer" : "");
	assert_int_equal(store_classify(h->d->s, e->path, &n), 0);
	store_now(h->d->s); /* the lock is free */
}

static void set_seen(struct copy *c)
{
	flags_put(&c->flags, FLAG_SEEN, true, peer_stamp(5));
}

static void a_put_is_told_and_a_programs_call_is_not(void **state)
{
	struct store_dir *d = *state;
	struct heard h = {.d = d};
	struct guid g;

	store_set_listener(d->s, listener, &h);
	store_deliver(d, "", "1.x", "a");
	assert_string_equal(h.text, "");
	g = store_guid(d, "1.x");
	assert_int_equal(peer_change(d, &g, set_seen), 1);
	assert_string_equal(h.text, "renamed cur/1.x:2,S < new/1.x by peer; ");
	store_set_listener(d->s, NULL, NULL);
}

static void *put_many(void *arg)
{
	struct store_dir *d = arg;

	for (int i = 0; i < 100; i++)
		store_now(d->s);
	return NULL;
}

static void calls_may_come_from_any_thread(void **state)
{
	struct store_dir *d = *state;
	struct stamp a = store_now(d->s), b;
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, put_many, d), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	b = store_now(d->s);
	assert_true(stamp_compare(&b, &a) > 0);
}

static void the_index_remembers_how_far_it_is(void **state)
{
	struct store_dir *d = *state;
	struct position end, applied;
	struct index_txn *tx;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(log_end(store_log(d->s), &end), 0);
	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_read_applied(tx, &applied), 0);
	index_abort(tx);
	assert_true(position_equal(&end, &applied));
}

/* ---- batches ---- */

static int put_arrivals(struct store_dir *d, int n)
{
	for (int i = 0; i < n; i++) {
		struct guid g = guid_new();
		struct record r;

		peer_copy(&r, &g, &GUID_INBOX, "hello");
		peer_stage(d, "body", "hello");
		int err = store_put(d->s, &r, "body");
		record_release(&r);
		if (err != 1)
			return err < 0 ? err : -EINVAL;
	}
	return 0;
}

static uint32_t uid_next(struct store_dir *d)
{
	struct mailbox m;

	store_get_box(d, "INBOX", &m);
	uint32_t next = m.uid_next;
	mailbox_release(&m);
	return next;
}

static void a_batch_is_seen_by_its_own_process(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *tx;
	struct position in_index, end;

	store_batch_begin(d->s);
	store_batch_begin(d->s);
	assert_int_equal(put_arrivals(d, 600), 0); /* more than two transactions hold */
	assert_int_equal(uid_next(d), 601);
	assert_int_equal(index_begin(d->s->index, false, &tx), 0);
	assert_int_equal(index_read_applied(tx, &in_index), 0);
	index_abort(tx);
	assert_int_equal(log_end(d->s->log, &end), 0);
	assert_true(position_equal(&in_index, &end));
	assert_int_equal(store_batch_end(d->s), 0);
	assert_int_equal(store_batch_end(d->s), 0);
	store_consistent(d);
	store_dir_reopen(d);
	assert_int_equal(uid_next(d), 601);
	store_consistent(d);
}

static int die_in_a_batch(struct store_dir *d)
{
	store_batch_begin(d->s);
	return put_arrivals(d, 300);
}

/* The index lacks what was not committed; the log has it, and nothing is taken for new. */
static void a_batch_that_is_cut_is_in_the_log(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, die_in_a_batch);
	store_dir_open(d);
	assert_int_equal(uid_next(d), 301);
	uint64_t records = log_records(d);
	store_consistent(d);
	store_dir_reopen(d);
	assert_int_equal(log_records(d), records);
	assert_int_equal(uid_next(d), 301);
}

static void what_fails_in_a_batch_fails_alone(void **state)
{
	struct store_dir *d = *state;
	struct record r = subscribe(d), missing;
	struct guid g = guid_new();
	struct index_txn *tx;

	peer_copy(&missing, &g, &GUID_INBOX, "hello");
	store_batch_begin(d->s);
	assert_int_equal(put_arrivals(d, 3), 0);
	assert_int_equal(store_put(d->s, &missing, NULL), -ENOENT); /* before it wrote anything */
	assert_non_null(d->s->batch.tx);
	assert_int_equal(put_arrivals(d, 3), 0);
	assert_int_equal(change_begin(d->s, &tx), 0); /* after it was logged */
	assert_int_equal(change_record(d->s, tx, &r), 0);
	assert_int_equal(change_end(d->s, tx, -EIO), -EIO);
	assert_null(d->s->batch.tx);
	assert_true(is_subscribed(d));
	assert_int_equal(put_arrivals(d, 3), 0);
	assert_int_equal(uid_next(d), 10);
	store_dir_reopen(d); /* closing it ends the batch */
	assert_int_equal(uid_next(d), 10);
	assert_true(is_subscribed(d));
	store_consistent(d);
	record_release(&missing);
	record_release(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_record_gets_stamp_and_origin),
		TEST(a_change_that_was_logged_is_not_undone),
		TEST(a_change_that_was_not_logged_is_not_made),
		TEST(the_store_says_that_it_is_being_written_before_it_is),
		TEST(without_room_for_the_state_nothing_is_written),
		TEST(on_a_full_disk_the_state_is_marked_in_place),
		TEST(room_is_kept_for_log_and_index),
		TEST(room_for_a_store_that_nobody_changes_leaves_it_clean),
		TEST(a_change_says_so_before_it_takes_room),
		TEST(a_put_is_told_and_a_programs_call_is_not),
		TEST(calls_may_come_from_any_thread),
		TEST(the_index_remembers_how_far_it_is),
		TEST(a_batch_is_seen_by_its_own_process),
		TEST(a_batch_that_is_cut_is_in_the_log),
		TEST(what_fails_in_a_batch_fails_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
