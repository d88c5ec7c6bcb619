/*
 * test-retain.c - which log files and tombstones stay, and for how long.
 */
#include "backends/base/clock.h"
#include "backends/store/log.h"
#include "tests/support/store-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define DAY_NS (24ll * 3600 * 1000000000)
#define PEER 7

static int64_t offset_ns;

static int teardown(void **state)
{
	offset_ns = 0;
	clock_set_offset_ns(0);
	return store_dir_teardown(state);
}

static void days_pass(int n)
{
	offset_ns += n * DAY_NS;
	clock_set_offset_ns(offset_ns);
}

/* The peer is in step: it has seen the log up to here. */
static void peer_comes(struct store_dir *d, uint64_t replica)
{
	char destination[] = "";
	struct record r = {.type = REC_PEER,
			   .peer = {.replica = replica,
				    .destination = destination,
				    .synced_ns = clock_wall_ns()}};

	assert_int_equal(log_end(store_log(d->s), &r.peer.local), 0);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
}

static int count(struct entry *e, void *arg)
{
	int *n = arg;

	n[e->state == ENTRY_DEAD]++;
	return 0;
}

static int n_tombstones(struct store_dir *d)
{
	struct index_txn *tx;
	int n[2] = {0};

	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_each(tx, count, n), 0);
	index_abort(tx);
	return n[1];
}

static void one_expunged(struct store_dir *d)
{
	store_deliver(d, "", "1.a.host", "one\n");
	store_deliver(d, "", "2.a.host", "two\n");
	assert_int_equal(store_unlink(d->s, "new/1.a.host", &d->me), 0);
	assert_int_equal(n_tombstones(d), 1);
}

static int first_file(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	uint32_t *first = arg;

	if (!*first)
		*first = sequence;
	return 0;
}

static uint32_t oldest_log(struct store_dir *d)
{
	uint32_t first = 0;

	assert_int_equal(log_files(store_log(d->s), first_file, &first), 0);
	return first;
}

static void checkpoint(struct store_dir *d)
{
	assert_int_equal(store_checkpoint(d->s, 30 * DAY_NS), 0);
}

/* ---- tombstones ---- */

static void a_tombstone_stays_400_days(void **state)
{
	struct store_dir *d = *state;

	one_expunged(d);
	days_pass(399);
	checkpoint(d);
	assert_int_equal(n_tombstones(d), 1);
	assert_true(store_forgotten(d->s) == 0);
	days_pass(2);
	checkpoint(d);
	assert_int_equal(n_tombstones(d), 0);
	int64_t ms = (int64_t)(store_forgotten(d->s) >> 16);
	assert_true(ms < clock_wall_ns() / 1000000 - 400 * DAY_NS / 1000000);
	assert_true(ms > clock_wall_ns() / 1000000 - 402 * DAY_NS / 1000000);
}

static void what_was_forgotten_is_not_in_the_checkpoint(void **state)
{
	struct store_dir *d = *state;
	char command[128];

	one_expunged(d);
	days_pass(401);
	checkpoint(d);
	uint64_t forgotten = store_forgotten(d->s);
	store_dir_close(d);
	snprintf(command, sizeof(command), "rm -r %s/index", d->dir);
	assert_int_equal(system(command), 0);
	store_dir_open(d);
	assert_int_equal(n_tombstones(d), 0);
	assert_true(forgotten && store_forgotten(d->s) == forgotten);
}

static void a_tombstone_waits_for_a_peer(void **state)
{
	struct store_dir *d = *state;

	days_pass(1);
	peer_comes(d, PEER);
	one_expunged(d);
	store_set_limits(d->s, &(struct store_limits){.peer_pin_ns = 1000 * DAY_NS,
						      .peer_pin_bytes = 1ull << 30,
						      .tombstones_ns = STORE_TOMBSTONES_NS});
	days_pass(500);
	checkpoint(d);
	assert_int_equal(n_tombstones(d), 1);
	peer_comes(d, PEER);
	checkpoint(d);
	assert_int_equal(n_tombstones(d), 0);
}

static void a_tombstone_does_not_wait_for_a_peer_that_is_gone(void **state)
{
	struct store_dir *d = *state;

	peer_comes(d, PEER);
	one_expunged(d);
	days_pass(401);
	checkpoint(d);
	assert_int_equal(n_tombstones(d), 0);
}

/* ---- log files ---- */

static void the_log_waits_for_every_peer_but_not_for_ever(void **state)
{
	struct store_dir *d = *state;
	uint32_t first = oldest_log(d);

	peer_comes(d, PEER);
	peer_comes(d, PEER + 1);
	one_expunged(d);
	days_pass(40);
	checkpoint(d);
	days_pass(40);
	peer_comes(d, PEER + 1); /* the other does not come */
	checkpoint(d);
	assert_int_equal(oldest_log(d), first);
	days_pass(20);
	checkpoint(d);
	assert_true(oldest_log(d) > first);
}

static void the_log_waits_only_so_much(void **state)
{
	struct store_dir *d = *state;
	uint32_t first = oldest_log(d);
	struct store_limits l = {.peer_pin_ns = STORE_PEER_PIN_NS,
				 .peer_pin_bytes = 1 << 20,
				 .tombstones_ns = STORE_TOMBSTONES_NS};

	store_set_limits(d->s, &l);
	peer_comes(d, PEER);
	one_expunged(d);
	checkpoint(d);
	days_pass(40);
	checkpoint(d);
	assert_int_equal(oldest_log(d), first);
	l.peer_pin_bytes = 100;
	store_set_limits(d->s, &l);
	checkpoint(d);
	assert_true(oldest_log(d) > first);
	assert_int_equal(n_tombstones(d), 1); /* that still waits */
}

static void history_stays_whatever_peers_say(void **state)
{
	struct store_dir *d = *state;
	uint32_t first = oldest_log(d);

	one_expunged(d);
	checkpoint(d);
	days_pass(20);
	checkpoint(d);
	assert_int_equal(oldest_log(d), first);
	days_pass(31);
	checkpoint(d);
	assert_true(oldest_log(d) > first);
}

#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_tombstone_stays_400_days),
		T(what_was_forgotten_is_not_in_the_checkpoint),
		T(a_tombstone_waits_for_a_peer),
		T(a_tombstone_does_not_wait_for_a_peer_that_is_gone),
		T(the_log_waits_for_every_peer_but_not_for_ever),
		T(the_log_waits_only_so_much),
		T(history_stays_whatever_peers_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
