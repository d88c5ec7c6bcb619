/*
 * test-later.c - the index follows the log: nothing is left out, whoever settles, and whatever fails.
 *
 * A test that must have changes wait holds the one write transaction of the index meanwhile.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static void nap_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void start(struct store_dir *d)
{
	assert_int_equal(later_start(d->s), 0);
}

static struct index_txn *hold(struct store_dir *d)
{
	struct index_txn *tx;

	assert_int_equal(index_begin_now(d->s->index, true, &tx), 0);
	return tx;
}

/* Is a message of this name in INBOX, in new/?  `now`: as the index is, without what is to come. */
static bool has(struct store_dir *d, const char *name, bool now)
{
	struct index_txn *tx;
	struct entry e = {0};
	int err = now ? index_begin_now(d->s->index, false, &tx)
		      : index_begin(d->s->index, false, &tx);

	assert_int_equal(err, 0);
	err = entry_at(tx, &GUID_INBOX, name, true, &e);
	assert_true(err == 0 || err == -ENOENT);
	entry_release(&e);
	index_abort(tx);
	return err == 0;
}

static void deliver(struct store_dir *d, const char *box, unsigned i)
{
	char name[32];

	snprintf(name, sizeof(name), "%u.x", i);
	store_deliver(d, box, name, "a");
}

/* The index is what the log and the files make of it. */
static void assert_rebuilt_alike(struct store_dir *d)
{
	char *before, *after;

	store_consistent(d);
	before = store_dump(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	after = store_dump(d);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void what_waits_is_on_the_list_and_comes(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *held;

	start(d);
	assert_false(later_has(d->s, "1.x"));
	held = hold(d);
	deliver(d, "", 1);
	deliver(d, "", 2);
	nap_ms(20); /* the first is on its way, the second too, or waits */
	deliver(d, "", 3);
	for (unsigned i = 1; i <= 3; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%u.x:2,S", i);
		assert_true(later_has(d->s, name)); /* under any name */
		name[3] = 0;
		assert_false(has(d, name, true));
	}
	assert_false(later_has(d->s, "4.x"));
	index_abort(held);
	for (int i = 0; i < 500 && later_has(d->s, "3.x"); i++)
		nap_ms(10);
	assert_true(has(d, "1.x", true) && has(d, "2.x", true) && has(d, "3.x", true));
	assert_int_equal(store_uid(d, "1.x"), 1);
	assert_int_equal(store_uid(d, "2.x"), 2);
	assert_int_equal(store_uid(d, "3.x"), 3);
	later_stop(d->s);
	assert_rebuilt_alike(d);
}

static void who_begins_a_transaction_sees_it_all(void **state)
{
	struct store_dir *d = *state;

	start(d);
	for (unsigned i = 1; i <= 100; i++) {
		char name[32];

		deliver(d, "", i);
		snprintf(name, sizeof(name), "%u.x", i);
		assert_true(has(d, name, false));
		assert_false(later_has(d->s, name));
	}
	later_stop(d->s);
}

/* More than the list takes, and more mailboxes than there is a note of UIDNEXT for. */
static void many_at_once_get_uids_in_order(void **state)
{
	struct store_dir *d = *state;
	unsigned n = 0;
	char box[16];

	for (unsigned b = 0; b < 20; b++) {
		snprintf(box, sizeof(box), ".b%u", b);
		store_make_box(d, box);
	}
	start(d);
	for (unsigned round = 0; round < 20; round++)
		for (unsigned b = 0; b < 20; b++) {
			snprintf(box, sizeof(box), ".b%u", b);
			deliver(d, box, n++);
		}
	for (unsigned i = 0; i < 600; i++)
		deliver(d, "", n++);
	for (unsigned i = 0; i < 400; i++) {
		snprintf(box, sizeof(box), "%u.x", i);
		assert_int_equal(store_uid(d, box), i / 20 + 1);
	}
	for (unsigned i = 400; i < n; i++) {
		snprintf(box, sizeof(box), "%u.x", i);
		assert_int_equal(store_uid(d, box), i - 400 + 1);
	}
	later_stop(d->s);
	assert_rebuilt_alike(d);
}

static rlim_t limit_files(rlim_t to)
{
	struct rlimit l;
	rlim_t was;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	was = l.rlim_cur;
	l.rlim_cur = to;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
	return was;
}

/* The batch with the first message cannot be committed; the second one, which was added meanwhile, must
 * not be put in as if nothing were missing before it. */
static void a_batch_that_fails_is_not_passed_over(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *held;
	rlim_t was;

	signal(SIGXFSZ, SIG_IGN);
	start(d);
	held = hold(d);
	deliver(d, "", 1);
	nap_ms(50);
	deliver(d, "", 2);
	was = limit_files(8192);
	index_abort(held);
	for (int i = 0; i < 1000000 && later_has(d->s, "1.x"); i++)
		;
	limit_files(was);
	assert_false(later_has(d->s, "1.x"));
	nap_ms(50);
	assert_false(has(d, "1.x", false));
	assert_false(has(d, "2.x", false)); /* not behind the gap */
	assert_false(d->s->behind);
	deliver(d, "", 3); /* replays the log */
	assert_true(has(d, "1.x", false) && has(d, "2.x", false) && has(d, "3.x", false));
	assert_int_equal(store_uid(d, "1.x"), 1);
	assert_int_equal(store_uid(d, "2.x"), 2);
	assert_int_equal(store_uid(d, "3.x"), 3);
	held = hold(d); /* and later is possible again */
	deliver(d, "", 4);
	assert_true(later_has(d->s, "4.x"));
	index_abort(held);
	later_stop(d->s);
	assert_rebuilt_alike(d);
}

/* The same, and nothing comes after it but the end. */
static void a_batch_that_fails_is_there_after_a_stop(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *held;
	rlim_t was;

	signal(SIGXFSZ, SIG_IGN);
	start(d);
	held = hold(d);
	deliver(d, "", 1);
	nap_ms(50);
	was = limit_files(8192);
	index_abort(held);
	for (int i = 0; i < 500 && later_has(d->s, "1.x"); i++)
		nap_ms(10);
	limit_files(was);
	later_stop(d->s);
	assert_true(d->s->behind);
	store_dir_reopen(d);
	assert_list(d, "INBOX/new/1.x");
	assert_int_equal(store_opening_scan(d->s)->arrived, 0);
	assert_rebuilt_alike(d);
}

static void after_the_stop_nothing_waits(void **state)
{
	struct store_dir *d = *state;

	start(d);
	deliver(d, "", 1);
	later_stop(d->s);
	assert_true(has(d, "1.x", true));
	later_stop(d->s);
	deliver(d, "", 2);
	assert_true(has(d, "2.x", true));
	assert_false(later_can(d->s));
	start(d);
	assert_true(later_can(d->s));
	deliver(d, "", 3);
	later_stop(d->s);
	assert_true(has(d, "3.x", true));
	assert_rebuilt_alike(d);
}

static void an_idle_store_wakes_nobody(void **state)
{
	struct store_dir *d = *state;
	struct timespec a, b;

	start(d);
	deliver(d, "", 1);
	nap_ms(50);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	nap_ms(500);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true(clock_timespec_ns(&b) - clock_timespec_ns(&a) < 2000000);
	later_stop(d->s);
}

/* ---- readers that do not have the store's lock ---- */

struct readers {
	struct store_dir *d;
	atomic_uint answered; /* messages that were delivered */
	atomic_bool done;
	atomic_uint missed, looked;
};

static void *read_on(void *arg)
{
	struct readers *r = arg;

	while (!r->done) {
		unsigned n = r->answered;
		struct index_txn *tx;
		struct entry e = {0};
		char name[32];

		snprintf(name, sizeof(name), "%u.x", n);
		if (!n || index_begin(r->d->s->index, false, &tx) < 0)
			continue;
		r->missed += entry_at(tx, &GUID_INBOX, name, true, &e) != 0;
		r->looked++;
		entry_release(&e);
		index_abort(tx);
	}
	return NULL;
}

static void answer(struct readers *r, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++) {
		deliver(r->d, "", i);
		r->answered = i;
	}
}

static void who_reads_sees_what_was_answered(void **state)
{
	struct readers r = {.d = *state};
	pthread_t t[3];

	start(r.d);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_on, &r), 0);
	answer(&r, 1, 1500);
	/* the end comes while they read */
	later_stop(r.d->s);
	answer(&r, 1501, 1510);
	for (unsigned round = 0; round < 20; round++) {
		start(r.d);
		answer(&r, 1511 + round * 10, 1520 + round * 10);
		later_stop(r.d->s);
	}
	r.done = true;
	for (size_t i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(r.missed, 0);
	assert_true(r.looked > 100);
	assert_int_equal(store_uid(r.d, "1710.x"), 1710);
	assert_rebuilt_alike(r.d);
}

/* ---- rotation and checkpoint ---- */

static void the_log_may_begin_another_file(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *held;

	start(d);
	held = hold(d);
	deliver(d, "", 1);
	assert_int_equal(log_rotate(d->s->log), 0);
	deliver(d, "", 2);
	assert_true(later_has(d->s, "1.x") && later_has(d->s, "2.x"));
	index_abort(held);
	assert_true(has(d, "1.x", false) && has(d, "2.x", false));
	deliver(d, "", 3);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	deliver(d, "", 4);
	later_stop(d->s);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x | INBOX/new/2.x | INBOX/new/3.x | INBOX/new/4.x");
	assert_int_equal(store_uid(d, "4.x"), 4);
	assert_int_equal(store_opening_scan(d->s)->arrived, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, store_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_waits_is_on_the_list_and_comes),
		TEST(who_begins_a_transaction_sees_it_all),
		TEST(many_at_once_get_uids_in_order),
		TEST(a_batch_that_fails_is_not_passed_over),
		TEST(a_batch_that_fails_is_there_after_a_stop),
		TEST(after_the_stop_nothing_waits),
		TEST(an_idle_store_wakes_nobody),
		TEST(who_reads_sees_what_was_answered),
		TEST(the_log_may_begin_another_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
