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

/* The files 1.x, 2.x and 3.x are these copies of this message. */
static void are_copies(struct store_dir *d, const struct guid *g, const uint64_t ids[3])
{
	static const char *const names[] = {"1.x", "2.x", "3.x"};

	for (int i = 0; i < 3; i++) {
		struct entry e;
		store_find(d, names[i], &e);
		assert_true(guid_equal(&e.copy.guid, g));
		assert_int_equal(e.copy.id, ids[i]);
		entry_release(&e);
	}
	store_consistent(d);
}

/* One record, that says of each copy what becomes of it; also of one that nobody asked for. */
static void all_copies_become_those_of_the_other(void **state)
{
	struct store_dir *d = *state;
	struct record r = {.type = REC_ALIAS};
	struct entry second, third;

	store_deliver(d, "", "1.x", "a");
	store_make_box(d, ".F");
	outside_link(d, "new/1.x", ".F/new/2.x");
	outside_link(d, "new/1.x", ".F/new/3.x");
	store_dir_reopen(d);
	store_find(d, "2.x", &second);
	store_find(d, "3.x", &third);
	struct guid old = store_guid(d, "1.x");
	are_copies(d, &old, (uint64_t[]){0, second.copy.id, third.copy.id});

	r.old_guid = old;
	r.old_id = second.copy.id;
	r.copy.guid = guid_new();
	assert_true(record_add_further(&r, 0, 77));
	uint64_t n = log_records(d);
	put_twice(d, &r, NULL);
	assert_int_equal(log_records(d), n + 1);
	are_copies(d, &r.copy.guid, (uint64_t[]){77, 0, third.copy.id});
	store_dir_close(d);
	store_dir_drop(d, "index"); /* the log alone tells it, too */
	store_dir_open(d);
	are_copies(d, &r.copy.guid, (uint64_t[]){77, 0, third.copy.id});
	entry_release(&second);
	entry_release(&third);
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
		TEST(all_copies_become_those_of_the_other),
		TEST(states_of_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
