/*
 * test-peer-state.c - scopes of a peer: found again, bounded, written and read.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "backends/mail/record.h"
#include "tests/support/random.h"

#include <string.h>

static struct peer_scope scope(uint64_t hash, int64_t when)
{
	return (struct peer_scope){
		.hash = hash,
		.selected = hash * 3,
		.local = {.sequence = (uint32_t)hash, .offset = 7},
		.remote = {.sequence = 9, .check = hash},
		.synced_ns = when,
	};
}

static void put(struct peer_state *p, uint64_t hash, int64_t when)
{
	struct peer_scope s = scope(hash, when);
	peer_state_put_scope(p, &s);
}

static void one_for_each_scope(void **state)
{
	struct peer_state p = {0};

	assert_null(peer_state_scope(&p, 5));
	put(&p, 5, 1);
	put(&p, 6, 2);
	put(&p, 5, 3);
	assert_int_equal(p.n_scopes, 2);
	assert_int_equal(peer_state_scope(&p, 5)->synced_ns, 3);
	assert_int_equal(peer_state_scope(&p, 6)->synced_ns, 2);
	peer_state_release(&p);
	assert_null(p.scopes);
}

static void the_one_not_used_for_longest_is_forgotten(void **state)
{
	struct peer_state p = {0};

	for (uint64_t i = 1; i <= PEER_SCOPES_MAX; i++)
		put(&p, i, i == 3 ? 1 : 100 + (int64_t)i);
	put(&p, 99, 500);
	assert_int_equal(p.n_scopes, PEER_SCOPES_MAX);
	assert_null(peer_state_scope(&p, 3));
	assert_non_null(peer_state_scope(&p, 99));
	peer_state_release(&p);
}

static void a_clone_is_its_own(void **state)
{
	struct peer_state p = {.replica = 4, .destination = mb_xstrdup("store:/x")}, q = {0};

	put(&p, 5, 1);
	peer_state_clone(&q, &p);
	peer_state_clone(&q, &p);
	put(&p, 5, 2);
	assert_int_equal(q.scopes[0].synced_ns, 1);
	peer_state_release(&p);
	assert_string_equal(q.destination, "store:/x");
	peer_state_release(&q);
}

static void written_and_read(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct peer_state p = {0}, q = {0};

	put(&p, 5, 1);
	put(&p, 6, -2);
	peer_scopes_encode(&p, &b);
	struct reader r = reader_of(b.data, b.len);
	assert_true(peer_scopes_decode(&r, &q));
	assert_int_equal(q.n_scopes, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(p.scopes[i].hash, q.scopes[i].hash);
		assert_int_equal(p.scopes[i].selected, q.scopes[i].selected);
		assert_int_equal(p.scopes[i].synced_ns, q.scopes[i].synced_ns);
		assert_true(position_equal(&p.scopes[i].local, &q.scopes[i].local));
		assert_true(position_equal(&p.scopes[i].remote, &q.scopes[i].remote));
	}
	peer_state_release(&q);

	struct reader none = reader_of(b.data, 0);
	assert_true(peer_scopes_decode(&none, &q)); /* as an older version wrote it */
	assert_int_equal(q.n_scopes, 0);
	peer_state_release(&p);
}

static void decode(const void *data, size_t len)
{
	struct reader r = reader_of(data, len);
	struct peer_state p = {0};

	peer_scopes_decode(&r, &p);
	assert_true(p.n_scopes <= PEER_SCOPES_MAX);
	peer_state_release(&p);
}

static void damaged(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct peer_state p = {0};

	put(&p, 5, 1);
	put(&p, 6, 1);
	peer_scopes_encode(&p, &b);
	for_each_damage(b.data, b.len, decode);
	for (int i = 0; i < 9; i++) /* each hash again and again */
		peer_scopes_encode(&p, &b);
	decode(b.data, b.len);
	peer_state_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_for_each_scope),
		cmocka_unit_test(the_one_not_used_for_longest_is_forgotten),
		cmocka_unit_test(a_clone_is_its_own),
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(damaged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
