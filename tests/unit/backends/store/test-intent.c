/*
 * test-intent.c - a peer's change that is cut off between file and record is taken back at the next
 * start: it never becomes a local change.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* What the process that is killed has to know. */
static struct guid message, box;
static int minutes; /* later than all before */

static void to_the_box(struct copy *c)
{
	c->place.mailbox = box;
	c->place.uid = 7;
	c->place.at = peer_stamp(minutes);
}

static void flagged(struct copy *c)
{
	flags_put(&c->flags, FLAG_FLAGGED, true, peer_stamp(minutes));
}

static void copied(struct copy *c)
{
	c->id = 42;
	c->place.mailbox = box;
	c->place.uid = 7;
	c->place.at = peer_stamp(minutes);
}

static int arrive(struct store_dir *d)
{
	struct record r;

	peer_copy(&r, &message, &box, "hello");
	peer_stage(d, "body", "hello");
	int err = store_put(d->s, &r, "body");

	record_release(&r);
	return err;
}

static int move_it(struct store_dir *d)
{
	return peer_change(d, &message, to_the_box);
}

static int flag_it(struct store_dir *d)
{
	return peer_change(d, &message, flagged);
}

static int copy_it(struct store_dir *d)
{
	return peer_change(d, &message, copied);
}

static int local_record(const struct record *r, const struct position *end, uint64_t modseq,
			void *arg)
{
	bool *found = arg;

	*found |= strcmp(r->origin.comm, "scan") == 0;
	return 0;
}

/* Nothing of it was taken for somebody's work here. */
static void no_local_change(struct store_dir *d)
{
	struct position start;
	bool found = false;

	assert_int_equal(log_start(store_log(d->s), &start), 0);
	assert_int_equal(log_read(store_log(d->s), &start, local_record, &found, NULL), 0);
	assert_false(found);
}

/* Killed before its n-th durable step, for each n; the next start finds the state before or after. */
static void cut_at_each_step(struct store_dir *d, int (*fn)(struct store_dir *d), bool arrival)
{
	char *before, *now;
	bool cut = true;

	for (int n = 1; cut; n++) {
		char *name MB_AUTO_FREE = mb_xasprintf("%d.a", n);

		minutes += 10;
		store_dir_open(d);
		if (arrival) {
			message = guid_new();
		} else {
			store_deliver(d, "", name, "hello");
			message = store_guid(d, name);
		}
		before = store_list(d);
		store_dir_close(d);
		cut = store_dir_kill_at(d, n, fn);
		store_dir_open(d);
		no_local_change(d);
		store_consistent(d);
		now = store_list(d);
		if (cut && strcmp(now, before) == 0)
			assert_int_equal(fn(d), 1); /* the peer sends it again */
		free(now);
		now = store_list(d);
		assert_string_not_equal(now, before);
		store_consistent(d);
		free(before);
		free(now);
		store_dir_close(d);
	}
	store_dir_open(d);
}

static void begin(struct store_dir *d)
{
	store_make_box(d, ".x");
	box = store_box(d, "x");
	store_dir_close(d);
}

static void an_arrival(void **state)
{
	begin(*state);
	cut_at_each_step(*state, arrive, true);
}

static void a_move(void **state)
{
	begin(*state);
	cut_at_each_step(*state, move_it, false);
}

static void a_change_of_flags(void **state)
{
	begin(*state);
	cut_at_each_step(*state, flag_it, false);
}

static void a_copy(void **state)
{
	begin(*state);
	cut_at_each_step(*state, copy_it, false);
}

/* The record could not be written, and the file went back: a program that does the same later means it. */
static void what_was_undone_is_forgotten(void **state)
{
	struct store_dir *d = *state;
	bool hit = true, failed = false;

	store_deliver(d, "", "1.a", "hello");
	message = store_guid(d, "1.a");
	for (int n = 1; hit && !failed; n++) {
		minutes += 10;
		failed = store_dir_fail_at(d, n, ENOSPC, flag_it, &hit) < 0 &&
			 tree_has(d, "new/1.a");
	}
	assert_true(failed);
	store_dir_close(d);
	outside_rename(d, "new/1.a", "cur/1.a:2,F");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_true(tree_has(d, "cur/1.a:2,F"));
	assert_list(d, "INBOX/cur/1.a:2,F");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(an_arrival),
		T(a_move),
		T(a_change_of_flags),
		T(a_copy),
		T(what_was_undone_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
