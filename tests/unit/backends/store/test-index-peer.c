/*
 * Sync states, maps of peers without a log, aliases.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

static struct peer_state a_peer(uint64_t n)
{
	return (struct peer_state){
		.replica = n,
		.store = num_guid(n),
		.destination = mb_xasprintf("store:/x%u", (unsigned)n),
		.local = {.log = num_guid(1), .sequence = 2, .offset = 3, .check = 4},
		.remote = {.log = num_guid(5), .sequence = 6, .offset = 7, .check = 8},
		.synced_ns = -9,
	};
}

static void put_peer(struct index_txn *tx, uint64_t n)
{
	struct peer_state p = a_peer(n);
	const struct peer_scope scope = {.hash = n + 1, .selected = 7, .local = p.local};

	peer_state_put_scope(&p, &scope);
	assert_int_equal(index_put_peer(tx, &p), 0);
	peer_state_release(&p);
}

static void test_peer(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct peer_state p = a_peer(3), got;

	assert_int_equal(index_get_peer(tx, 3, &got), -ENOENT);
	put_peer(tx, 3);
	assert_int_equal(index_get_peer(tx, 3, &got), 0);
	assert_int_equal(got.replica, 3);
	assert_true(guid_equal(&got.store, &p.store));
	assert_string_equal(got.destination, p.destination);
	assert_true(position_equal(&got.local, &p.local));
	assert_true(position_equal(&got.remote, &p.remote));
	assert_int_equal(got.synced_ns, -9);
	assert_int_equal(got.n_scopes, 1);
	assert_non_null(peer_state_scope(&got, 4));
	assert_true(position_equal(&peer_state_scope(&got, 4)->local, &p.local));
	peer_state_release(&got);
	free(MB_TAKE(p.destination));
	assert_int_equal(index_put_peer(tx, &p), 0);
	assert_int_equal(index_get_peer(tx, 3, &got), 0);
	assert_null(got.destination);
	assert_int_equal(got.n_scopes, 0);
	peer_state_release(&got);
	index_abort(tx);
}

static int sum_peers(struct peer_state *p, void *arg)
{
	uint64_t *sum = arg;

	*sum = *sum * 10 + p->replica;
	return p->replica == 9;
}

static void test_each_peer(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	uint64_t sum = 0;

	put_peer(tx, 4);
	put_peer(tx, 2);
	assert_int_equal(index_each_peer(tx, sum_peers, &sum), 0);
	assert_int_equal(sum, 24);
	put_peer(tx, 9);
	assert_int_equal(index_each_peer(tx, sum_peers, &sum), 1);
	index_abort(tx);
}

static struct peer_entry an_entry(uint64_t peer, uint64_t mb, uint64_t n)
{
	return (struct peer_entry){
		.peer = peer,
		.mailbox = num_guid(mb),
		.guid = n ? num_guid(n) : GUID_ZERO,
		.id = n,
		.path = mb_xstrdup("1.x"),
		.flags = 3,
		.keywords = 1u << 25,
		.ino = 11,
		.size = 12,
		.placed_at = num_stamp(13),
		.state = PEER_ENTRY_INTENT,
		.mtimes = {1, -2, 3, -4},
		.digest = num_digest(14),
	};
}

static void put_entry(struct index_txn *tx, uint64_t peer, uint64_t mb, uint64_t n, uint8_t st)
{
	struct peer_entry e = an_entry(peer, mb, n);

	e.state = st;
	assert_int_equal(index_put_peer_entry(tx, &e), 0);
	peer_entry_release(&e);
}

static void test_entry(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct peer_entry e = an_entry(1, 2, 3), got;

	assert_int_equal(index_put_peer_entry(tx, &e), 0);
	assert_int_equal(index_get_peer_entry(tx, 1, &e.mailbox, &e.guid, 3, &got), 0);
	assert_int_equal(got.peer, 1);
	assert_true(guid_equal(&got.mailbox, &e.mailbox));
	assert_true(guid_equal(&got.guid, &e.guid));
	assert_int_equal(got.id, 3);
	assert_string_equal(got.path, "1.x");
	assert_int_equal(got.flags, 3);
	assert_int_equal(got.keywords, 1u << 25);
	assert_int_equal(got.ino, 11);
	assert_int_equal(got.size, 12);
	assert_int_equal(stamp_compare(&got.placed_at, &e.placed_at), 0);
	assert_int_equal(got.state, PEER_ENTRY_INTENT);
	assert_memory_equal(got.mtimes, e.mtimes, sizeof(e.mtimes));
	assert_true(digest_equal(&got.digest, &e.digest));
	peer_entry_release(&got);
	put_entry(tx, 1, 2, 3, PEER_ENTRY_GONE);
	put_entry(tx, 1, 2, 3, PEER_ENTRY_GONE);
	assert_int_equal(index_get_peer_entry(tx, 1, &e.mailbox, &e.guid, 3, &got), -ENOENT);
	peer_entry_release(&e);
	index_abort(tx);
}

static int count_entry(struct peer_entry *e, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

static size_t count(struct index_txn *tx, uint64_t peer, uint64_t mb)
{
	struct guid g = num_guid(mb);
	size_t n = 0;

	assert_int_equal(index_each_peer_entry(tx, peer, mb ? &g : NULL, count_entry, &n), 0);
	return n;
}

static void test_each_entry_and_drop(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct peer_state p;

	put_peer(tx, 1);
	put_peer(tx, 2);
	for (uint64_t n = 0; n < 600; n++)
		put_entry(tx, 1, 1 + n % 2, n, PEER_ENTRY_AGREED);
	put_entry(tx, 2, 1, 5, PEER_ENTRY_AGREED);
	assert_int_equal(count(tx, 1, 0), 600);
	assert_int_equal(count(tx, 1, 1), 300);
	assert_int_equal(count(tx, 1, 3), 0);
	assert_int_equal(index_drop_peer(tx, 1), 0);
	assert_int_equal(count(tx, 1, 0), 0);
	assert_int_equal(count(tx, 2, 0), 1);
	assert_int_equal(index_get_peer(tx, 1, &p), -ENOENT);
	assert_int_equal(index_get_peer(tx, 2, &p), 0);
	peer_state_release(&p);
	index_abort(tx);
}

static void put_alias(struct index_txn *tx, uint64_t from, uint64_t to)
{
	struct guid f = num_guid(from), t = num_guid(to);

	assert_int_equal(index_put_alias(tx, &f, &t), 0);
}

static void expect_alias(struct index_txn *tx, uint64_t from, uint64_t to)
{
	struct guid got = index_resolve(tx, num_guid(from)), want = num_guid(to);

	assert_true(guid_equal(&got, &want));
}

static int count_alias(const struct guid *from, const struct guid *to, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

static void test_alias_chains(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	size_t n = 0;

	expect_alias(tx, 3, 3);
	put_alias(tx, 3, 2);
	put_alias(tx, 2, 1);
	expect_alias(tx, 3, 1);
	expect_alias(tx, 2, 1);
	put_alias(tx, 1, 3); /* a circle: refused */
	put_alias(tx, 1, 1);
	expect_alias(tx, 1, 1);
	expect_alias(tx, 3, 1);
	assert_int_equal(index_each_alias(tx, count_alias, &n), 0);
	assert_int_equal(n, 2);
	index_abort(tx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_peer),	 TEST(test_each_peer),
		TEST(test_entry),	 TEST(test_each_entry_and_drop),
		TEST(test_alias_chains),
	};
	return cmocka_run_group_tests_name("index-peer", tests, NULL, NULL);
}
