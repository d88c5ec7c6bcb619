/*
 * Records of mailboxes, peers and identity; and whole logs, replayed.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

/* Applies it twice; the second time changes nothing. */
static void apply(struct index_txn *tx, struct record *r, uint64_t modseq)
{
	assert_int_equal(index_apply(tx, r, modseq), 0);
	char *once = index_dir_dump(tx);
	assert_int_equal(index_apply(tx, r, modseq), 0);
	char *twice = index_dir_dump(tx);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	record_release(r);
}

static struct record mailbox_record(enum record_type type, uint64_t n, uint64_t at)
{
	struct record r = {.type = type, .at = num_stamp(at)};

	num_mailbox(&r.mailbox, n);
	return r;
}

static void expect_text(struct index_txn *tx, const char *what)
{
	char *text = index_dir_dump(tx);

	if (!strstr(text, what))
		print_error("no \"%s\" in:\n%s", what, text);
	assert_non_null(strstr(text, what));
	free(text);
}

static void test_mailbox(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = mailbox_record(REC_MAILBOX_CREATE, 1, 5);
	struct mailbox_local l;
	struct guid g = num_guid(1);

	apply(tx, &r, 100);
	num_put_mailbox(tx, 1); /* the store gives it its directory */
	r = mailbox_record(REC_MAILBOX_RENAME, 1, 6);
	r.mailbox.named_at = num_stamp(6);
	free(r.mailbox.part);
	r.mailbox.part = mb_xstrdup("other");
	apply(tx, &r, 101);
	r = mailbox_record(REC_MAILBOX_SUBSCRIBE, 1, 7); /* does not know the rename */
	r.mailbox.subscribed = true;
	r.mailbox.subscribed_at = num_stamp(7);
	apply(tx, &r, 0);
	expect_text(tx, "\"other\"");
	expect_text(tx, "subscribed=1@70000.1");
	assert_int_equal(index_get_mailbox(tx, &g, NULL, &l), 0);
	assert_string_equal(l.dir, ".m1");
	assert_int_equal(l.modseq, 101);
	mailbox_local_release(&l);
	index_abort(tx);
}

static void test_marks(void **state)
{
	struct index_dir *d = *state;
	struct index_txn *tx = index_dir_begin(d, true);
	struct record r = mailbox_record(REC_MAILBOX_CREATE, 1, 50);
	uint8_t le[8];

	r.ordinal = 9;
	apply(tx, &r, 0);
	r = mailbox_record(REC_MAILBOX_STATE, 1, 40);
	r.ordinal = 3;
	apply(tx, &r, 0);
	assert_int_equal(index_meta_get(tx, "clock", le, 8), 0);
	assert_int_equal(get_le64(le), 50u << 16);
	put_le64(le, 60u << 16); /* by the store: counts from now on */
	assert_int_equal(index_meta_put(tx, "clock", le, 8), 0);
	r = mailbox_record(REC_MAILBOX_STATE, 1, 55);
	apply(tx, &r, 0);
	assert_int_equal(index_commit(tx), 0);
	tx = index_dir_begin(d, false);
	assert_int_equal(index_meta_get(tx, "clock", le, 8), 0);
	assert_int_equal(get_le64(le), 60u << 16);
	assert_int_equal(index_meta_get(tx, "ordinal", le, 8), 0);
	assert_int_equal(get_le64(le), 9);
	index_abort(tx);
}

static void test_replica(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = {.type = REC_REPLICA, .replica_id = 0x1122, .store_id = num_guid(8)};
	struct guid store, want = num_guid(8);
	uint8_t le[8];

	apply(tx, &r, 1);
	assert_int_equal(index_meta_get(tx, "replica", le, 8), 0);
	assert_int_equal(get_le64(le), 0x1122);
	assert_int_equal(index_meta_get(tx, "store", store.b, 16), 0);
	assert_true(guid_equal(&store, &want));
	index_abort(tx);
}

static void test_peers(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = {.type = REC_PEER, .peer = {.replica = 5, .synced_ns = 77}};
	struct peer_state p;

	r.peer.destination = mb_xstrdup("maildir:/y");
	apply(tx, &r, 1);
	assert_int_equal(index_get_peer(tx, 5, &p), 0);
	assert_int_equal(p.synced_ns, 77);
	peer_state_release(&p);
	r = (struct record){.type = REC_PEER_ENTRY};
	r.entry = (struct peer_entry){.peer = 5, .id = 3, .state = PEER_ENTRY_AGREED};
	apply(tx, &r, 2);
	expect_text(tx, "\nentry ");
	r = (struct record){.type = REC_PEER_FORGET, .peer = {.replica = 5}};
	apply(tx, &r, 3);
	assert_int_equal(index_get_peer(tx, 5, &p), -ENOENT);
	index_abort(tx);
}

/* Refused without harm: what was done before in the transaction can be committed. */
static void test_refused(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = {.type = (enum record_type)999};

	assert_int_equal(index_apply(tx, &r, 0), MB_E_VERSION);
	r.type = REC_NONE;
	assert_int_equal(index_apply(tx, &r, 0), MB_E_VERSION);
	r.type = REC_ARRIVE;
	assert_int_equal(index_apply(tx, &r, 0), MB_E_FORMAT);
	r.type = REC_MAILBOX_CREATE;
	assert_int_equal(index_apply(tx, &r, 0), MB_E_FORMAT);
	r.type = REC_ALIAS;
	r.copy.guid = num_guid(1);
	assert_int_equal(index_apply(tx, &r, 0), MB_E_FORMAT);
	assert_int_equal(index_commit(tx), 0);
}

/* ---- merged mailboxes ---- */

static struct record arrival(uint64_t n, uint64_t mb, uint32_t uid, uint64_t at)
{
	struct record r = {.type = REC_ARRIVE, .at = num_stamp(at), .ordinal = n};

	r.copy.guid = num_guid(n);
	r.copy.place.mailbox = num_guid(mb);
	r.copy.place.uid = uid;
	r.copy.place.at = num_stamp(at);
	r.copy.place.base = mb_xasprintf("%u.x", (unsigned)n);
	r.copy.size = 10;
	r.new_name = mb_xasprintf("new/%u.x", (unsigned)n);
	return r;
}

static struct record merge_of(uint64_t loser, uint64_t winner)
{
	struct record r = mailbox_record(REC_MAILBOX_MERGE, loser, 90);

	r.mailbox.merged_into = num_guid(winner);
	return r;
}

static uint32_t uid_of(struct index_txn *tx, uint64_t n, uint64_t mb)
{
	struct guid g = num_guid(n), want = num_guid(mb);
	struct entry e;

	assert_int_equal(index_get_entry(tx, &g, 0, &e), 0);
	uint32_t uid = e.copy.place.uid;
	assert_true(guid_equal(&e.copy.place.mailbox, &want));
	entry_release(&e);
	return uid;
}

static void two_mailboxes(struct index_txn *tx)
{
	struct record r;

	for (uint64_t n = 1; n <= 2; n++) {
		r = mailbox_record(REC_MAILBOX_CREATE, n, 1);
		apply(tx, &r, n);
	}
	r = arrival(10, 1, 1, 20);
	apply(tx, &r, 3);
	r = arrival(11, 2, 1, 21); /* the same UID, later: gets a new one */
	apply(tx, &r, 4);
	r = arrival(12, 2, 5, 22);
	apply(tx, &r, 5);
	r = arrival(13, 2, 6, 23);
	apply(tx, &r, 6);
	r = arrival(13, 2, 6, 23);
	r.type = REC_EXPUNGE;
	r.copy.dead = num_stamp(23);
	r.copy.dead_at = num_stamp(24);
	apply(tx, &r, 7);
}

static void test_merge(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = merge_of(2, 1);

	two_mailboxes(tx);
	apply(tx, &r, 8);
	assert_int_equal(num_live(tx, 1), 3);
	assert_int_equal(num_live(tx, 2), 0);
	assert_int_equal(uid_of(tx, 10, 1), 1);
	assert_int_equal(uid_of(tx, 11, 1), 2);
	assert_int_equal(uid_of(tx, 12, 1), 5);
	assert_int_equal(uid_of(tx, 13, 1), 6); /* the tombstone went along */
	assert_int_equal(num_uid_next(tx, 1), 7);
	r = arrival(14, 2, 9, 95); /* from one that does not know of the merge */
	apply(tx, &r, 9);
	assert_int_equal(uid_of(tx, 14, 1), 9);
	assert_int_equal(num_live(tx, 1), 4);

	char *before = index_dir_dump(tx);
	two_mailboxes(tx); /* replayed from before the merge */
	char *after = index_dir_dump(tx);
	assert_string_equal(before, after);
	free(before);
	free(after);
	index_abort(tx);
}

/* The one that came to its place later is renumbered, also when it was there first. */
static void test_merge_with_later_winner(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = merge_of(2, 1);

	num_put_mailbox(tx, 1);
	num_put_mailbox(tx, 2);
	struct record a = arrival(10, 1, 1, 40), b = arrival(11, 2, 1, 30);
	apply(tx, &a, 3);
	apply(tx, &b, 4);
	apply(tx, &r, 5);
	assert_int_equal(uid_of(tx, 11, 1), 1);
	assert_int_equal(uid_of(tx, 10, 1), 2);
	assert_int_equal(num_uid_next(tx, 1), 3);
	index_abort(tx);
}

static void test_merge_chain(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r;

	for (uint64_t n = 1; n <= 3; n++)
		num_put_mailbox(tx, n);
	r = arrival(10, 3, 1, 20);
	apply(tx, &r, 1);
	r = merge_of(2, 1);
	apply(tx, &r, 2);
	r = merge_of(3, 2);
	apply(tx, &r, 3);
	assert_int_equal(uid_of(tx, 10, 1), 1);
	r = arrival(11, 3, 2, 21);
	apply(tx, &r, 4);
	assert_int_equal(uid_of(tx, 11, 1), 2);
	index_abort(tx);
}

/* ---- whole logs ---- */

#define LOG_LEN 400

struct story {
	struct record r[LOG_LEN];
	size_t n;
	uint64_t seed, now;
	struct copy c[30]; /* as the replica that writes the log has them */
	bool made[30];
};

static uint64_t roll(struct story *s, uint64_t n)
{
	s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
	return (s->seed >> 33) % n;
}

static struct record *next_record(struct story *s, enum record_type type, const struct copy *c)
{
	struct record *r = &s->r[s->n++];

	*r = (struct record){.type = type, .at = num_stamp(++s->now)};
	if (c)
		copy_clone(&r->copy, c);
	return r;
}

static void arrive(struct story *s, size_t i)
{
	struct copy *c = &s->c[i];

	*c = (struct copy){.guid = num_guid(100 + i), .size = i, .received_ns = 4};
	c->place = (struct place){.mailbox = num_guid(1 + roll(s, 3)), .uid = (uint32_t)s->n};
	c->place.at = num_stamp(s->now + 1);
	c->place.base = mb_xasprintf("b%zu", i);
	s->made[i] = true;
	struct record *r = next_record(s, REC_ARRIVE, c);
	r->ordinal = s->n;
	r->new_name = mb_xasprintf("new/b%zu", i);
}

static void change_place(struct story *s, struct copy *c, enum record_type type)
{
	c->place.at = num_stamp(s->now + 1);
	c->place.uid = (uint32_t)s->n;
	if (type == REC_MOVE)
		c->place.mailbox = num_guid(1 + roll(s, 3));
	struct record *r = next_record(s, type, c);
	r->new_name = mb_xasprintf("cur/b%u:2,", (unsigned)roll(s, 50));
}

static void change_flags(struct story *s, struct copy *c)
{
	flags_put(&c->flags, (enum flag_bit)roll(s, FLAG_COUNT), roll(s, 2), num_stamp(s->now + 1));
	struct record *r = next_record(s, REC_FLAGS, c);
	r->new_name = mb_xasprintf("cur/%s:2,%s", c->place.base, roll(s, 2) ? "S" : "F");
}

static void expunge(struct story *s, struct copy *c)
{
	c->dead = c->place.at;
	c->dead_at = num_stamp(s->now + 1);
	next_record(s, REC_EXPUNGE, c);
}

static void edit(struct story *s, size_t i)
{
	struct copy old = {0};

	copy_clone(&old, &s->c[i]);
	struct record *r = next_record(s, REC_EDIT, &old);
	r->old_guid = old.guid;
	r->copy.guid = s->c[i].guid = num_guid(1000 + s->n);
	r->copy.place.at = s->c[i].place.at = r->at;
	r->copy.place.uid = s->c[i].place.uid = (uint32_t)s->n;
	r->copy.dead = s->c[i].dead = STAMP_NONE;
	r->copy.dead_at = s->c[i].dead_at = STAMP_NONE;
	r->ordinal = s->n;
	r->new_name = mb_xasprintf("cur/b%zu", i);
	copy_release(&old);
}

static void become(struct story *s, size_t i)
{
	struct guid old = s->c[i].guid;

	s->c[i].guid = num_guid(3000 - s->n);
	struct record *r = next_record(s, REC_ALIAS, &s->c[i]);
	r->old_guid = old;
}

static void one_change(struct story *s)
{
	size_t i = roll(s, 30);
	struct copy *c = &s->c[i];

	if (!s->made[i]) {
		arrive(s, i);
		return;
	}
	switch (roll(s, 9)) {
	case 0:
		change_place(s, c, REC_MOVE);
		break;
	case 1:
		change_place(s, c, REC_RENAME);
		break;
	case 2:
		expunge(s, c);
		break;
	case 3:
		edit(s, i);
		break;
	case 4:
		become(s, i);
		break;
	case 5:
		next_record(s, REC_LOST, c);
		break;
	case 6:
		next_record(s, REC_FOUND, c);
		break;
	default:
		change_flags(s, c);
	}
}

static struct story *new_story(uint64_t seed)
{
	struct story *s = mb_xcalloc(1, sizeof(*s));

	s->seed = seed;
	s->now = 100;
	for (uint64_t n = 1; n <= 3; n++) {
		struct record *r = next_record(s, REC_MAILBOX_CREATE, NULL);
		num_mailbox(&r->mailbox, n);
	}
	while (s->n < LOG_LEN) {
		if (s->n == 300)
			s->r[s->n++] = merge_of(2, 1);
		else
			one_change(s);
	}
	return s;
}

static void free_story(struct story *s)
{
	for (size_t i = 0; i < s->n; i++)
		record_release(&s->r[i]);
	for (size_t i = 0; i < 30; i++)
		copy_release(&s->c[i]);
	free(s);
}

static void replay(struct index_txn *tx, const struct story *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		assert_int_equal(index_apply(tx, &s->r[i], 1000 + i), 0);
}

/* The log again from any place on: nothing changes.  And each record alone, in any order. */
static void check_replay(struct index_txn *tx, struct story *s)
{
	char *want = index_dir_dump(tx);

	for (int k = 0; k < 6; k++) {
		replay(tx, s, k ? roll(s, LOG_LEN) : 0, LOG_LEN);
		char *got = index_dir_dump(tx);
		assert_string_equal(want, got);
		free(got);
	}
	for (int k = 0; k < 1000; k++) {
		size_t i = roll(s, LOG_LEN);
		replay(tx, s, i, i + 1);
	}
	char *got = index_dir_dump(tx);
	assert_string_equal(want, got);
	free(got);
	free(want);
}

/* Each entry's registers are those that the writer of the log had last. */
static int is_in_story(struct entry *e, void *arg)
{
	const struct story *s = arg;

	assert_int_equal(e->state == ENTRY_DEAD, !copy_alive(&e->copy));
	for (size_t i = 0; i < 30; i++)
		if (guid_equal(&s->c[i].guid, &e->copy.guid))
			assert_true(flags_equal(&s->c[i].flags, &e->copy.flags));
	return 0;
}

static void test_replayed_logs(void **state)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct index_txn *tx = index_dir_begin(*state, true);
		struct story *s = new_story(seed);
		replay(tx, s, 0, LOG_LEN);
		check_replay(tx, s);
		assert_int_equal(index_each(tx, is_in_story, s), 0);
		free_story(s);
		index_abort(tx);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mailbox),
		TEST(test_marks),
		TEST(test_replica),
		TEST(test_peers),
		TEST(test_refused),
		TEST(test_merge),
		TEST(test_merge_with_later_winner),
		TEST(test_merge_chain),
		TEST(test_replayed_logs),
	};
	return cmocka_run_group_tests_name("index-apply", tests, NULL, NULL);
}
