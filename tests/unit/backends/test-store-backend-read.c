/* What the store tells of its index and log: news, states, peers. */
#include "backends/backend.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store-backend.h"
#include "backends/store/store-private.h"
#include "backends/store/log.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct peered {
	struct store_dir *d;
	struct backend *b;
};

/* Two messages delivered; then the store is closed and open behind the seam. */
static int setup(void **state)
{
	struct peered *p = mb_xcalloc(1, sizeof(*p));
	void *d = NULL;

	if (store_dir_setup(&d))
		return -1;
	p->d = d;
	store_deliver(p->d, "", "1.a.host", "one\n");
	store_deliver(p->d, "", "2.a.host", "two\n");
	store_dir_close(p->d);
	*state = p;
	return backend_open_store(p->d->dir, &p->b);
}

static int teardown(void **state)
{
	struct peered *p = *state;
	void *d = p->d;

	backend_close(p->b);
	free(p);
	return store_dir_teardown(&d);
}

static int keep_guid(const struct guid *g, void *arg)
{
	struct guid **next = arg;

	*(*next)++ = *g;
	return 0;
}

static void two_messages(struct peered *p, struct guid g[2])
{
	struct guid *next = g;

	assert_int_equal(p->b->ops->each_message(p->b, NULL, keep_guid, &next), 0);
	assert_ptr_equal(next, g + 2);
}

/* In the log, and not yet in the index: as a reader sees it while another process writes. */
static void no_news_ahead_of_the_index(void **state)
{
	struct peered *p = *state;
	struct store *s;
	struct position since, end;
	struct change_set c = {0};
	struct record r = {.type = REC_EXPUNGE, .at = {.time = 1, .replica = 1}};
	struct guid g[2];

	two_messages(p, g);
	assert_int_equal(p->b->ops->begin(p->b, 1, false), 0);
	s = store_backend_of(p->b)->store;
	assert_int_equal(p->b->ops->position(p->b, &since), 0);
	r.copy.guid = g[0];
	r.copy.place.mailbox = GUID_INBOX;
	assert_int_equal(log_append(store_log(s), &r, &end, NULL), 0);
	assert_int_equal(p->b->ops->changes(p->b, &since, 1, &c), 0);
	assert_int_equal(c.n_messages, 0);
	assert_true(position_equal(&c.end, &since));
	change_set_release(&c);
	assert_int_equal(p->b->ops->position(p->b, &end), 0);
	assert_true(position_equal(&end, &since));
	record_release(&r);
}

static void every_message_once(void **state)
{
	struct peered *p = *state;
	struct guid g[3];

	two_messages(*state, g);
	assert_false(guid_equal(&g[0], &g[1]));
	struct message m = {0};
	assert_int_equal(p->b->ops->message(p->b, &g[0], &m), 0);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.copies[0].size, 4);
	struct guid found;
	uint32_t uid = m.copies[0].place.uid;
	assert_int_equal(p->b->ops->by_uid(p->b, &GUID_INBOX, uid, &found), 0);
	assert_true(guid_equal(&found, &g[0]));
	assert_int_equal(p->b->ops->by_uid(p->b, &GUID_INBOX, 1000, &found), -ENOENT);
	message_release(&m);
	assert_int_equal(p->b->ops->message(p->b, &GUID_INBOX, &m), 0);
	assert_int_equal(m.n, 0);
	message_release(&m);
}

static void news_are_keys_once_and_no_echoes(void **state)
{
	struct peered *p = *state;
	struct position at;
	struct change_set c = {0};
	struct guid g[3];

	two_messages(p, g);
	assert_int_equal(p->b->ops->refresh(p->b, false), 0);
	assert_int_equal(p->b->ops->position(p->b, &at), 0);
	assert_int_equal(p->b->ops->changes(p->b, &at, 0, &c), 0);
	assert_int_equal(c.n_messages, 0);
	assert_false(c.only_echo);
	change_set_release(&c);
	outside_rename(p->d, "new/1.a.host", "cur/1.a.host:2,S");
	assert_int_equal(p->b->ops->refresh(p->b, false), 0);
	assert_int_equal(p->b->ops->changes(p->b, &at, 0, &c), 0);
	assert_int_equal(c.n_messages, 1);
	assert_false(position_equal(&c.end, &at));
	change_set_release(&c);
	at.check ^= 1; /* a log that went on with other content */
	assert_int_equal(p->b->ops->changes(p->b, &at, 0, &c), MB_E_POSITION);
}

/* A lost body is as if the message had never come: so a peer sends it again. */
static void a_lost_message_is_left_out(void **state)
{
	struct peered *p = *state;
	struct guid g[3];
	struct message m = {0};
	struct position at;
	struct change_set c = {0};
	size_t copies = 0;

	two_messages(p, g);
	assert_int_equal(p->b->ops->refresh(p->b, false), 0);
	assert_int_equal(p->b->ops->position(p->b, &at), 0);
	store_dir_power_cut(p->d);
	outside_unlink(p->d, "new/1.a.host");
	p->b->ops->allow_mass_expunge(p->b, false);
	assert_int_equal(p->b->ops->refresh(p->b, false), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p->b->ops->message(p->b, &g[i], &m), 0);
		for (size_t k = 0; k < m.n; k++)
			copies += copy_alive(&m.copies[k]);
		message_release(&m);
	}
	assert_int_equal(copies, 1);
	assert_int_equal(p->b->ops->changes(p->b, &at, 0, &c), 0);
	assert_int_equal(c.n_messages, 1);
	change_set_release(&c);
}

/* A damaged one too; its coming back is news even to the peer that gave it: what happened to it
 * meanwhile was told to nobody. */
static void a_body_that_is_back_is_no_echo(void **state)
{
	struct peered *p = *state;
	struct record r = {.type = REC_FOUND, .origin = {.replica = 42}};
	struct backend_info info;
	struct position at;
	struct change_set c = {0};
	struct message m = {0};
	struct guid g[2];
	struct index_txn *tx;
	struct store *s;

	two_messages(p, g);
	assert_int_equal(p->b->ops->begin(p->b, 42, false), 0);
	s = store_backend_of(p->b)->store;
	assert_int_equal(p->b->ops->info(p->b, &info), 0);
	assert_int_equal(info.missing, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(p->b->ops->position(p->b, &at), 0);
		r.type = i ? REC_FOUND : REC_DAMAGED;
		r.copy.guid = g[0];
		r.copy.place.mailbox = GUID_INBOX;
		assert_int_equal(change_begin(s, &tx), 0);
		assert_int_equal(change_end(s, tx, change_record(s, tx, &r)), 0);
		assert_int_equal(p->b->ops->changes(p->b, &at, 42, &c), 0);
		assert_int_equal(c.n_messages, 1);
		assert_true(guid_equal(&c.messages[0], &g[0]));
		change_set_release(&c);
		assert_int_equal(p->b->ops->message(p->b, &g[0], &m), 0);
		assert_int_equal(m.n, i);
		message_release(&m);
		assert_int_equal(p->b->ops->info(p->b, &info), 0);
		assert_int_equal(info.missing, 1 - i);
	}
	record_release(&r);
}

/* A peer without news passes on to the new file, so that the old one may go. */
static void news_end_in_the_newest_file(void **state)
{
	struct peered *p = *state;
	struct position at, end;
	struct change_set c = {0};

	assert_int_equal(p->b->ops->begin(p->b, 1, false), 0);
	assert_int_equal(p->b->ops->position(p->b, &at), 0);
	assert_int_equal(log_rotate(store_log(store_backend_of(p->b)->store)), 0);
	assert_int_equal(p->b->ops->changes(p->b, &at, 0, &c), 0);
	assert_int_equal(c.n_messages, 0);
	assert_int_equal(c.end.sequence, at.sequence + 1);
	end = c.end;
	change_set_release(&c);
	assert_int_equal(p->b->ops->changes(p->b, &end, 0, &c), 0);
	assert_true(position_equal(&c.end, &end));
	change_set_release(&c);
}

static int count_peer(struct peer_state *s, void *arg)
{
	assert_non_null(s->destination);
	++*(int *)arg;
	return 0;
}

static int count_entry(struct peer_entry *e, void *arg)
{
	assert_string_equal(e->path, "1.a.host");
	++*(int *)arg;
	return 0;
}

static void peers_and_their_maps(void **state)
{
	struct peered *p = *state;
	struct record r = {.type = REC_PEER}, e = {.type = REC_PEER_ENTRY};
	struct peer_state got = {0};
	int n = 0;

	assert_int_equal(p->b->ops->peer(p->b, 9, NULL, &got), -ENOENT);
	assert_int_equal(p->b->ops->begin(p->b, 9, false), 0);
	r.peer.replica = 9;
	r.peer.destination = mb_xstrdup("maildir:/x");
	assert_int_equal(p->b->ops->put(p->b, &r, -1), 1);
	e.entry = (struct peer_entry){.peer = 9,
				      .mailbox = GUID_INBOX,
				      .guid = guid_new(),
				      .path = mb_xstrdup("1.a.host"),
				      .state = PEER_ENTRY_AGREED};
	assert_true(p->b->ops->put(p->b, &e, -1) >= 0);
	assert_int_equal(p->b->ops->commit(p->b), 0);
	assert_int_equal(p->b->ops->peer(p->b, 0, "maildir:/x", &got), 0);
	assert_true(got.replica == 9);
	peer_state_release(&got);
	assert_int_equal(p->b->ops->each_peer(p->b, count_peer, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(p->b->ops->each_entry(p->b, 9, count_entry, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(p->b->ops->each_entry(p->b, 8, count_entry, &n), 0);
	assert_int_equal(n, 2);
	record_release(&r);
	record_release(&e);
}

/* A peer that still calls a message by the name it had is told the one it has now. */
static void a_message_under_its_former_name(void **state)
{
	struct peered *p = *state;
	struct message m = {0};
	struct guid g[2];
	struct record alias = {.type = REC_ALIAS};

	two_messages(p, g);
	alias.old_guid = g[1];
	alias.copy.guid = guid_new();
	assert_int_equal(p->b->ops->begin(p->b, 7, false), 0);
	assert_int_equal(p->b->ops->put(p->b, &alias, -1), 1);
	assert_int_equal(p->b->ops->commit(p->b), 0);
	assert_int_equal(p->b->ops->message(p->b, &g[1], &m), 0);
	assert_int_equal(m.n, 1);
	assert_memory_equal(&m.guid, &alias.copy.guid, sizeof(m.guid));
	message_release(&m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_message_under_its_former_name),
		T(no_news_ahead_of_the_index),
		T(every_message_once),
		T(news_are_keys_once_and_no_echoes),
		T(a_lost_message_is_left_out),
		T(a_body_that_is_back_is_no_echo),
		T(news_end_in_the_newest_file),
		T(peers_and_their_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
