/*
 * test-peers.c - peers by name; what each keeps in the log.
 */
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "sync/peers.h"
#include "tests/support/store-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define DAY_NS (24ll * 3600 * 1000000000)

static void a_peer_is_found_by_destination_or_id(void **state)
{
	char one[] = "store:/one", none[] = "";
	struct peer_state list[] = {
		{.replica = 0x1234567890abcdef, .destination = one},
		{.replica = 0x1234ffffffffffff, .destination = none},
	};
	const struct peers p = {.list = list, .n = 2};

	assert_int_equal(peers_find(&p, "store:/one"), 0);
	assert_int_equal(peers_find(&p, "12345"), 0);
	assert_int_equal(peers_find(&p, "1234FFFF"), 1);
	assert_int_equal(peers_find(&p, "replica 1234ffffffffffff"), 1);
	assert_int_equal(peers_find(&p, "1234"), -2);
	assert_int_equal(peers_find(&p, "123"), -1);
	assert_int_equal(peers_find(&p, "store:/other"), -1);
	assert_int_equal(peers_find(&p, ""), -1);
}

static struct peer_state put_peer(struct store_dir *d, int64_t synced_ns)
{
	char destination[] = "store:/p";
	struct record r = {
		.type = REC_PEER,
		.peer = {.replica = 7, .destination = destination, .synced_ns = synced_ns}};

	assert_int_equal(log_end(store_log(d->s), &r.peer.local), 0);
	assert_int_equal(store_put(d->s, &r, NULL), 1);
	struct peer_state p = r.peer;
	p.destination = NULL;
	return p;
}

static void news_waits_and_files_stay(void **state)
{
	struct store_dir *d = *state;
	int64_t now = clock_wall_ns();
	struct peer_state p = put_peer(d, now);
	struct peer_pin pin;

	assert_int_equal(peer_pin_read(d->s, &p, now, &pin), 0);
	assert_true(pin.held && pin.pins);
	assert_int_equal(pin.news, 0); /* what is noted about peers is none */
	assert_int_equal(pin.pinned_files, 0);

	store_deliver(d, "", "1.a.host", "one\n");
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	assert_int_equal(peer_pin_read(d->s, &p, now, &pin), 0);
	assert_int_equal(pin.news, 1);
	assert_int_equal(pin.pinned_files, 1);
	assert_true(pin.pinned_bytes > 0 && pin.since_ns > 0);

	assert_int_equal(peer_pin_read(d->s, &p, now + 91 * DAY_NS, &pin), 0);
	assert_true(pin.held);
	assert_false(pin.pins);
}

static void a_position_that_the_log_never_gave(void **state)
{
	struct store_dir *d = *state;
	struct peer_state p = put_peer(d, clock_wall_ns());
	struct peer_pin pin;

	p.local.check++;
	assert_int_equal(peer_pin_read(d->s, &p, clock_wall_ns(), &pin), 0);
	assert_false(pin.held || pin.pins);
	assert_int_equal(pin.pinned_files, 0);
}

static void the_list_of_a_store(void **state)
{
	struct store_dir *d = *state;
	struct peers all;

	put_peer(d, 5);
	assert_int_equal(peers_read_store(d->s, &all), 0);
	assert_int_equal(all.n, 1);
	assert_int_equal(all.list[0].synced_ns, 5);
	assert_true(peer_is_ours(&all.list[0]));
	char *name MB_AUTO_FREE = peer_name(&all.list[0]);
	assert_string_equal(name, "store:/p");
	peers_release(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peer_is_found_by_destination_or_id),
		cmocka_unit_test_setup_teardown(news_waits_and_files_stay, store_dir_setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(a_position_that_the_log_never_gave, store_dir_setup,
						store_dir_teardown),
		cmocka_unit_test_setup_teardown(the_list_of_a_store, store_dir_setup,
						store_dir_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
