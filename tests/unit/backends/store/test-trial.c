/* test-trial.c - a store of which nothing is written: what it finds, and that nothing stays of it. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/backend.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

/* What fn does and what a step would cost are told apart by the count, which stays. */
static struct store *open_trial(struct store_dir *d, int expected)
{
	struct store *s = NULL;

	io_set_read_only(true);
	uint64_t before = io_steps();
	assert_int_equal(store_open(d->dir, STORE_TRIAL, &s), expected);
	assert_int_equal(io_steps(), before);
	return s;
}

static void close_trial(struct store *s)
{
	uint64_t before = io_steps();

	store_close(s);
	assert_int_equal(io_steps(), before);
	io_set_read_only(false);
}

static int count_type(const struct record *r, void *arg)
{
	unsigned *n = arg;

	n[r->type]++;
	return 0;
}

/* One of each kind of change behind the store's back. */
static void change_by_hand(struct store_dir *d)
{
	outside_write(d, "new/3.x", "ccc");
	outside_rename(d, "new/1.x", "cur/1.x:2,S");
	outside_unlink(d, ".A/new/2.x");
	outside_mailbox(d, ".B");
}

static void fill(struct store_dir *d)
{
	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	store_deliver(d, ".A", "2.x", "bb");
}

static void what_the_scan_finds_is_read_and_nothing_stays(void **state)
{
	struct store_dir *d = *state;
	unsigned n[256] = {0};

	fill(d);
	uint64_t records = log_records(d);
	store_dir_close(d);
	change_by_hand(d);
	for (int round = 0; round < 2; round++) { /* the second finds the same */
		struct store *s = open_trial(d, 0);

		assert_int_equal(store_opening_scan(s)->arrived, 1);
		assert_int_equal(store_opening_scan(s)->flagged, 1);
		assert_int_equal(store_opening_scan(s)->expunged, 1);
		memset(n, 0, sizeof(n));
		assert_int_equal(store_trial_each(s, count_type, n), 0);
		assert_int_equal(n[REC_ARRIVE], 1);
		assert_int_equal(n[REC_FLAGS], 1);
		assert_int_equal(n[REC_EXPUNGE], 1);
		assert_int_equal(n[REC_MAILBOX_CREATE], 1);
		d->s = s; /* the index shows it to every read of this process */
		assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/3.x");
		d->s = NULL;
		close_trial(s);
	}
	store_dir_open(d);
	assert_int_equal(log_records(d), records + 4);
	assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/3.x");
	store_consistent(d);
}

static void a_second_scan_in_it_adds_to_the_first(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	fill(d);
	store_dir_close(d);
	change_by_hand(d);
	struct store *s = open_trial(d, 0);
	outside_write(d, "new/4.x", "dddd");
	assert_int_equal(store_scan(s, true, &r), 0);
	assert_int_equal(r.arrived, 1);
	d->s = s;
	assert_list(d, "INBOX/cur/1.x:2,S | INBOX/new/3.x | INBOX/new/4.x");
	d->s = NULL;
	close_trial(s);
}

static void a_missing_cur_is_not_made(void **state)
{
	struct store_dir *d = *state;

	fill(d);
	store_dir_close(d);
	outside_remove(d, ".A/cur");
	struct store *s = open_trial(d, 0);
	assert_int_equal(store_opening_scan(s)->errors, 0);
	close_trial(s);
	assert_false(tree_has(d, ".A/cur"));
	store_dir_open(d);
	assert_true(tree_has(d, ".A/cur"));
	assert_list(d, "A/new/2.x | INBOX/new/1.x");
}

static void it_takes_no_change(void **state)
{
	struct store_dir *d = *state;
	struct record want = {.type = REC_PEER, .peer = {.replica = 7}};

	fill(d);
	store_dir_close(d);
	struct store *s = open_trial(d, 0);
	assert_true(store_put(s, &want, NULL) < 0);
	assert_true(store_unlink(s, "new/1.x", &d->me) < 0);
	close_trial(s);
	assert_true(tree_has(d, "new/1.x"));
	store_dir_open(d);
	assert_list(d, "A/new/2.x | INBOX/new/1.x");
}

static int add_one(struct store_dir *d)
{
	store_deliver(d, "", "9.x", "nine");
	return 0;
}

static void only_a_clean_store_is_opened_so(void **state)
{
	struct store_dir *d = *state;

	fill(d);
	assert_null(open_trial(d, MB_E_LOCKED)); /* the writer is here */
	io_set_read_only(false);
	store_dir_kill(d, add_one);
	assert_null(open_trial(d, MB_E_UNCLEAN));
	io_set_read_only(false);
	store_dir_reopen(d);
	store_dir_close(d);
	close_trial(open_trial(d, 0));
	store_dir_drop(d, "index");
	assert_null(open_trial(d, MB_E_UNCLEAN));
	io_set_read_only(false);
	store_dir_open(d);
	assert_list(d, "A/new/2.x | INBOX/new/1.x | INBOX/new/9.x");
}

/* Whatever comes to mind to write: no file system call is made for it. */
static void every_step_is_refused_and_none_counted(void **state)
{
	struct store_dir *d = *state;
	uint64_t before = io_steps();

	io_set_read_only(true);
	assert_true(io_is_read_only());
	assert_int_equal(io_mkdirat(d->fd, "x", 0700), -EROFS);
	assert_int_equal(io_create_at(d->fd, "x", 0, 0600), -EROFS);
	assert_int_equal(io_unlinkat(d->fd, "store", 0), -EROFS);
	assert_int_equal(io_steps(), before);
	io_set_read_only(false);
	assert_int_equal(io_mkdirat(d->fd, "x", 0700), 0);
}

/* The seam: news of it is in changes(), without a position of its own. */
static void a_backend_tells_what_was_found(void **state)
{
	struct store_dir *d = *state;
	struct backend *b = NULL;
	struct position since, end;
	struct change_set c = {0};

	fill(d);
	store_dir_close(d);
	change_by_hand(d);
	io_set_read_only(true);
	assert_int_equal(backend_open_store(d->dir, &b), 0);
	assert_int_equal(b->ops->position(b, &since), 0);
	assert_int_equal(b->ops->refresh(b, false), 0);
	assert_int_equal(b->ops->changes(b, &since, 99, &c), 0);
	assert_int_equal(c.n_messages, 3);
	assert_int_equal(c.n_mailboxes, 1);
	assert_true(position_equal(&c.end, &since));
	change_set_release(&c);
	assert_int_equal(b->ops->position(b, &end), 0);
	assert_true(position_equal(&end, &since));
	assert_int_equal(b->ops->refresh(b, true), 0);
	assert_int_equal(b->ops->begin(b, 99, false), -EROFS);
	backend_close(b);
	io_set_read_only(false);
	store_dir_open(d);
	assert_int_equal(store_opening_scan(d->s)->arrived, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_the_scan_finds_is_read_and_nothing_stays),
		T(a_second_scan_in_it_adds_to_the_first),
		T(a_missing_cur_is_not_made),
		T(it_takes_no_change),
		T(only_a_clean_store_is_opened_so),
		T(every_step_is_refused_and_none_counted),
		T(a_backend_tells_what_was_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
