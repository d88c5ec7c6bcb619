/* test-put-plain.c - aliases and what is known of peers: logged once. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"

/* The first time 1, the second time 0 and no record. */
static void put_twice(struct store_dir *d, const struct record *r, const char *staged)
{
	uint64_t n;

	assert_int_equal(store_put(d->s, r, staged), 1);
	n = log_records(d);
	assert_int_equal(store_put(d->s, r, NULL), 0);
	assert_int_equal(log_records(d), n);
}

static void set_seen(struct copy *c)
{
	flags_put(&c->flags, FLAG_SEEN, true, peer_stamp(5));
}

static void two_guids_become_one_message(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_ALIAS};
	struct guid g;

	store_deliver(d, "", "1.x", "a");
	r.old_guid = store_guid(d, "1.x");
	g = r.copy.guid = guid_new();
	put_twice(d, &r, NULL);
	assert_list(d, "INBOX/new/1.x");
	struct guid now = store_guid(d, "1.x");
	assert_true(guid_equal(&now, &g));
	assert_int_equal(peer_change(d, &g, set_seen), 1);
	assert_list(d, "INBOX/cur/1.x:2,S");
	store_consistent(d);
	r.old_guid = r.copy.guid; /* itself */
	assert_int_equal(store_put(d->s, &r, NULL), 0);
	record_release(&r);
}

static void states_of_peers(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_PEER};

	r.peer.replica = 42;
	r.peer.destination = mb_xstrdup("store:/elsewhere");
	put_twice(d, &r, NULL);
	r.peer.synced_ns = 5;
	put_twice(d, &r, NULL);
	record_release(&r);
	r = (struct record){.type = REC_PEER_ENTRY};
	r.entry.peer = 42;
	r.entry.mailbox = GUID_INBOX;
	r.entry.guid = guid_new();
	r.entry.path = mb_xstrdup("1.x");
	r.entry.state = PEER_ENTRY_AGREED;
	put_twice(d, &r, NULL);
	r.entry.state = PEER_ENTRY_GONE;
	put_twice(d, &r, NULL);
	record_release(&r);
	r = (struct record){.type = REC_PEER_FORGET};
	r.peer.replica = 42;
	put_twice(d, &r, NULL);
	record_release(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(two_guids_become_one_message),
		TEST(states_of_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
