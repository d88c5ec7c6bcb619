/*
 * Records of copies: what each type does to the entry, and that doing it twice does no more.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
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

/* Message n in mailbox 1, as it is at time `at`; placed at 10. */
static struct record about(enum record_type type, uint64_t n, uint64_t at, const char *name)
{
	struct record r = {.type = type, .at = num_stamp(at)};

	r.copy = (struct copy){.guid = num_guid(n), .size = 10, .received_ns = 11};
	r.copy.place =
		(struct place){.mailbox = num_guid(1), .uid = (uint32_t)n, .at = num_stamp(10)};
	r.copy.place.base = mb_xasprintf("%u.x", (unsigned)n);
	r.new_name = name ? mb_xstrdup(name) : NULL;
	return r;
}

static struct index_txn *with_arrival(void **state, uint64_t n)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = about(REC_ARRIVE, n, 10, "new/5.x");

	num_put_mailbox(tx, 1);
	num_put_mailbox(tx, 2);
	r.ordinal = 55;
	apply(tx, &r, 100);
	return tx;
}

static struct entry get(struct index_txn *tx, uint64_t n, uint64_t id)
{
	struct guid g = num_guid(n);
	struct entry e;

	assert_int_equal(index_get_entry(tx, &g, id, &e), 0);
	return e;
}

static void expect(struct index_txn *tx, uint64_t n, enum entry_state state, bool in_new,
		   const char *file)
{
	struct entry e = get(tx, n, 0);

	assert_int_equal(e.state, state);
	if (file)
		assert_string_equal(e.file, file);
	else
		assert_null(e.file);
	assert_int_equal(e.in_new, in_new);
	assert_int_equal(e.copy.recent, in_new);
	entry_release(&e);
}

static void expect_none(struct index_txn *tx, uint64_t n)
{
	struct guid g = num_guid(n);
	struct entry e;

	assert_int_equal(index_get_entry(tx, &g, 0, &e), -ENOENT);
}

static void test_arrive(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct entry e = get(tx, 5, 0);

	assert_int_equal(e.ordinal, 55);
	assert_int_equal(e.modseq, 100);
	assert_int_equal(e.copy.size, 10);
	entry_release(&e);
	expect(tx, 5, ENTRY_PRESENT, true, "5.x");
	assert_int_equal(num_live(tx, 1), 1);
	assert_int_equal(num_uid_next(tx, 1), 6);
	index_abort(tx);
}

static void test_flags(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = about(REC_FLAGS, 5, 20, "cur/5.x:2,S");
	struct entry e = get(tx, 5, 0);

	e.ino = 7;
	e.mtime_ns = 8;
	e.ctime_ns = 9;
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
	flags_put(&r.copy.flags, FLAG_SEEN, true, num_stamp(20));
	apply(tx, &r, 101);
	expect(tx, 5, ENTRY_PRESENT, false, "5.x:2,S");
	e = get(tx, 5, 0);
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_SEEN));
	assert_true(e.ino == 7 && e.mtime_ns == 8 && e.ctime_ns == 0 && e.modseq == 101);
	entry_release(&e);
	index_abort(tx);
}

/* An older record joins its registers, and leaves file and state as they are. */
static void test_older_record(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = about(REC_FLAGS, 5, 20, "cur/5.x:2,S");

	apply(tx, &r, 110);
	r = about(REC_FLAGS, 5, 19, "cur/5.x:2,T");
	flags_put(&r.copy.flags, FLAG_DELETED, true, num_stamp(19));
	apply(tx, &r, 105);
	r = about(REC_LOST, 5, 18, NULL);
	apply(tx, &r, 104);
	expect(tx, 5, ENTRY_PRESENT, false, "5.x:2,S");
	struct entry e = get(tx, 5, 0);
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_DELETED));
	assert_int_equal(e.modseq, 110);
	entry_release(&e);
	index_abort(tx);
}

/* Names that are no file names leave the file alone. */
static void test_odd_names(void **state)
{
	static const char *const names[] = {"",	      "x",	 "tmp/x", "cur/",
					    "cur/..", "cur/a/b", "new/.x"};
	struct index_txn *tx = with_arrival(state, 5);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct record r = about(REC_FLAGS, 5, 20, names[i]);
		apply(tx, &r, 101);
		expect(tx, 5, ENTRY_PRESENT, true, "5.x");
	}
	index_abort(tx);
}

static void test_move(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = about(REC_MOVE, 5, 20, "cur/5.x:2,");
	struct guid mb = num_guid(2);
	struct entry e;

	r.copy.place.mailbox = num_guid(2);
	r.copy.place.uid = 9;
	r.copy.place.at = num_stamp(20);
	apply(tx, &r, 101);
	assert_int_equal(num_live(tx, 1), 0);
	assert_int_equal(num_live(tx, 2), 1);
	assert_int_equal(index_by_uid(tx, &mb, 9, &e), 0);
	entry_release(&e);
	r = about(REC_RENUMBER, 5, 21, NULL);
	r.copy.place.mailbox = num_guid(2);
	r.copy.place.uid = 12;
	r.copy.place.at = num_stamp(20);
	apply(tx, &r, 102);
	assert_int_equal(index_by_uid(tx, &mb, 9, &e), -ENOENT);
	assert_int_equal(index_by_uid(tx, &mb, 12, &e), 0);
	entry_release(&e);
	expect(tx, 5, ENTRY_PRESENT, false, "5.x:2,");
	index_abort(tx);
}

static struct record expunge_of(uint64_t n, uint64_t at)
{
	struct record r = about(REC_EXPUNGE, n, at, NULL);

	r.copy.dead = r.copy.place.at;
	r.copy.dead_at = num_stamp(at);
	return r;
}

static void test_expunge_and_back(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = expunge_of(5, 20);

	apply(tx, &r, 101);
	expect(tx, 5, ENTRY_DEAD, false, NULL);
	assert_int_equal(num_live(tx, 1), 0);
	r = about(REC_ARRIVE, 5, 30, "cur/again:2,S"); /* undo: a later place */
	r.copy.place.at = num_stamp(30);
	r.copy.place.uid = 6;
	apply(tx, &r, 102);
	expect(tx, 5, ENTRY_PRESENT, false, "again:2,S");
	assert_int_equal(num_live(tx, 1), 1);
	r = expunge_of(5, 20); /* the old expunge does not take it away again */
	apply(tx, &r, 101);
	r = about(REC_ARRIVE, 5, 10, "new/5.x");
	apply(tx, &r, 100);
	expect(tx, 5, ENTRY_PRESENT, false, "again:2,S");
	struct entry e = get(tx, 5, 0);
	assert_int_equal(e.ordinal, 55);
	entry_release(&e);
	index_abort(tx);
}

static void test_states(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = about(REC_COPY_STATE, 6, 20, NULL);

	r.copy.dead = r.copy.place.at; /* of a dead copy: a tombstone */
	apply(tx, &r, 0);
	expect(tx, 6, ENTRY_DEAD, false, NULL);
	r = about(REC_COPY_STATE, 7, 20, "cur/7.x:2,"); /* a checkpoint's line */
	apply(tx, &r, 0);
	expect(tx, 7, ENTRY_PRESENT, false, "7.x:2,");
	r = about(REC_LOST, 5, 21, NULL);
	apply(tx, &r, 101);
	expect(tx, 5, ENTRY_LOST, true, "5.x");
	assert_int_equal(num_live(tx, 1), 2);
	r = about(REC_FOUND, 5, 22, "cur/5.x:2,");
	apply(tx, &r, 102);
	expect(tx, 5, ENTRY_PRESENT, false, "5.x:2,");
	r = (struct record){.type = REC_LOST, .copy = {.guid = num_guid(8)}};
	apply(tx, &r, 103); /* of one that nobody knows */
	expect_none(tx, 8);
	index_abort(tx);
}

static void test_digest(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = {.type = REC_DIGEST, .at = num_stamp(20)};
	struct digest d = num_digest(5);
	struct met m = {0};

	r.copy = (struct copy){.guid = num_guid(5), .size = 10, .digest = d};
	apply(tx, &r, 101);
	assert_int_equal(index_by_digest(tx, &d, met_add, &m), 0);
	assert_int_equal(m.n, 1);
	expect(tx, 5, ENTRY_PRESENT, true, "5.x");
	index_abort(tx);
}

static struct record edit_of(uint64_t old, uint64_t n, uint64_t at)
{
	struct record r = about(REC_EDIT, n, at, "cur/5.x:2,S");

	r.old_guid = num_guid(old);
	r.copy.place.at = num_stamp(at);
	r.ordinal = 56;
	return r;
}

static void test_edit(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = edit_of(5, 6, 20);
	struct stamp want = num_stamp(10), want_at = num_stamp(20);

	apply(tx, &r, 101);
	expect(tx, 5, ENTRY_DEAD, false, NULL);
	expect(tx, 6, ENTRY_PRESENT, false, "5.x:2,S");
	struct entry e = get(tx, 5, 0);
	assert_int_equal(stamp_compare(&e.copy.dead, &want), 0);
	assert_int_equal(stamp_compare(&e.copy.dead_at, &want_at), 0);
	assert_int_equal(e.modseq, 101);
	entry_release(&e);
	assert_int_equal(num_live(tx, 1), 1);

	r = about(REC_MOVE, 5, 30, "cur/5.x:2,"); /* the old content comes back, later */
	r.copy.place.at = num_stamp(30);
	apply(tx, &r, 102);
	r = edit_of(5, 6, 20);
	apply(tx, &r, 101);
	expect(tx, 5, ENTRY_PRESENT, false, "5.x:2,");
	r = edit_of(99, 7, 40); /* of one that is not here */
	apply(tx, &r, 103);
	expect_none(tx, 99);
	expect(tx, 7, ENTRY_PRESENT, false, "5.x:2,S");
	index_abort(tx);
}

/* ---- aliases ---- */

static struct record alias_of(uint64_t old, uint64_t old_id, uint64_t n, uint64_t id, uint64_t at)
{
	struct record r = {.type = REC_ALIAS, .at = num_stamp(at)};

	r.copy = (struct copy){.guid = num_guid(n), .id = id};
	r.old_guid = num_guid(old);
	r.old_id = old_id;
	return r;
}

static void test_alias_takes_all_along(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = alias_of(5, 0, 3, 0, 20);

	apply(tx, &r, 101);
	expect_none(tx, 5);
	expect(tx, 3, ENTRY_PRESENT, true, "5.x");
	struct entry e = get(tx, 3, 0);
	assert_int_equal(e.ordinal, 55);
	assert_int_equal(e.copy.place.uid, 5);
	entry_release(&e);
	assert_int_equal(num_live(tx, 1), 1);
	r = about(REC_FLAGS, 5, 21, "cur/5.x:2,F"); /* by the old name */
	apply(tx, &r, 102);
	expect_none(tx, 5);
	expect(tx, 3, ENTRY_PRESENT, false, "5.x:2,F");
	r = alias_of(3, 0, 2, 0, 22); /* a chain */
	apply(tx, &r, 103);
	r = about(REC_FLAGS, 5, 23, "cur/5.x:2,R");
	apply(tx, &r, 104);
	expect_none(tx, 5);
	expect_none(tx, 3);
	expect(tx, 2, ENTRY_PRESENT, false, "5.x:2,R");
	r = edit_of(5, 9, 30);
	apply(tx, &r, 105);
	expect(tx, 2, ENTRY_DEAD, false, NULL);
	index_abort(tx);
}

/* Both are here: registers are joined, the living target keeps its file. */
static void test_alias_of_two(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = about(REC_ARRIVE, 3, 11, "cur/3.x:2,");

	flags_put(&r.copy.flags, FLAG_FLAGGED, true, num_stamp(11));
	apply(tx, &r, 101);
	r = about(REC_FLAGS, 5, 12, "");
	flags_put(&r.copy.flags, FLAG_SEEN, true, num_stamp(12));
	apply(tx, &r, 102);
	r = alias_of(5, 0, 3, 0, 20);
	apply(tx, &r, 103);
	expect_none(tx, 5);
	expect(tx, 3, ENTRY_PRESENT, false, "3.x:2,");
	struct entry e = get(tx, 3, 0);
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_SEEN) | FLAG_MASK(FLAG_FLAGGED));
	entry_release(&e);
	assert_int_equal(num_live(tx, 1), 1);
	index_abort(tx);
}

/* The target is a tombstone of an older place: it lives on in the other's file. */
static void test_alias_of_dead_target(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct record r = expunge_of(3, 9);

	r.copy.place.at = r.copy.dead = num_stamp(8);
	apply(tx, &r, 101);
	r = alias_of(5, 0, 3, 0, 20);
	apply(tx, &r, 102);
	expect_none(tx, 5);
	expect(tx, 3, ENTRY_PRESENT, true, "5.x");
	index_abort(tx);
}

/* Copies may get other ids, and a copy that no record speaks of stays. */
static void test_alias_with_ids(void **state)
{
	struct index_txn *tx = with_arrival(state, 5);
	struct guid g = num_guid(5);
	struct record r = about(REC_ARRIVE, 5, 11, "cur/copy:2,");
	struct entry e;

	r.copy.id = 77;
	apply(tx, &r, 101);
	r = alias_of(5, 0, 3, 44, 20);
	apply(tx, &r, 102);
	e = get(tx, 3, 44);
	assert_string_equal(e.file, "5.x");
	entry_release(&e);
	e = get(tx, 5, 77);
	entry_release(&e);
	r = about(REC_ARRIVE, 5, 10, "new/5.x"); /* replayed */
	apply(tx, &r, 100);
	assert_int_equal(index_get_entry(tx, &g, 0, &e), -ENOENT);
	e = get(tx, 3, 44);
	entry_release(&e);
	expect_none(tx, 3);
	r = alias_of(5, 77, 3, 77, 21);
	apply(tx, &r, 103);
	assert_int_equal(index_get_entry(tx, &g, 77, &e), -ENOENT);
	e = get(tx, 3, 77);
	assert_string_equal(e.file, "copy:2,");
	entry_release(&e);
	index_abort(tx);
}

/* A checkpoint's line: no copy is made by it. */
static void test_alias_alone(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct record r = alias_of(5, 0, 3, 0, 20);
	struct guid got, want = num_guid(3);

	apply(tx, &r, 0);
	expect_none(tx, 3);
	expect_none(tx, 5);
	got = index_resolve(tx, num_guid(5));
	assert_true(guid_equal(&got, &want));
	index_abort(tx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_arrive),	   TEST(test_flags),
		TEST(test_older_record),   TEST(test_odd_names),
		TEST(test_move),	   TEST(test_expunge_and_back),
		TEST(test_states),	   TEST(test_digest),
		TEST(test_edit),	   TEST(test_alias_takes_all_along),
		TEST(test_alias_of_two),   TEST(test_alias_of_dead_target),
		TEST(test_alias_with_ids), TEST(test_alias_alone),
	};
	return cmocka_run_group_tests_name("index-apply-copy", tests, NULL, NULL);
}
