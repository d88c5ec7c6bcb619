/*
 * Entries and the tables that follow from them: single changes, then random ones against a model,
 * then many.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void test_all_comes_back(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct entry e, got;

	num_entry(&e, 10, 1, 7);
	e.copy.id = 0x1234567890abcdef;
	e.copy.recent = true;
	e.state = ENTRY_DAMAGED;
	e.modseq = UINT64_MAX >> 1;
	e.in_new = true;
	e.ino = UINT64_MAX;
	e.mtime_ns = -5;
	e.ctime_ns = INT64_MAX;
	flags_put(&e.copy.flags, FLAG_SEEN, true, num_stamp(20));
	flags_put_keyword(&e.copy.flags, "$Junk", true, num_stamp(21));
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_int_equal(index_get_entry(tx, &e.copy.guid, e.copy.id, &got), 0);
	assert_true(copy_same_key(&e.copy, &got.copy));
	assert_true(copy_equal(&e.copy, &got.copy));
	assert_true(got.copy.recent && got.in_new);
	assert_int_equal(got.state, ENTRY_DAMAGED);
	assert_true(got.modseq == e.modseq && got.ordinal == 10 && got.ino == UINT64_MAX);
	assert_true(got.mtime_ns == -5 && got.ctime_ns == INT64_MAX);
	assert_string_equal(got.file, "10.x:2,");
	entry_release(&got);
	assert_int_equal(index_get_entry(tx, &e.copy.guid, 0, &got), -ENOENT);
	entry_release(&e);
	index_abort(tx);
}

static bool at_uid(struct index_txn *tx, uint64_t mb, uint32_t uid)
{
	struct guid g = num_guid(mb);
	struct entry e;
	int r = index_by_uid(tx, &g, uid, &e);

	if (r == -ENOENT)
		return false;
	assert_int_equal(r, 0);
	entry_release(&e);
	return true;
}

static bool has_name(struct index_txn *tx, uint64_t mb, const char *name)
{
	struct guid g = num_guid(mb);
	struct met m = {0};

	assert_int_equal(index_by_name(tx, &g, name, met_add, &m), 0);
	return m.n > 0;
}

static bool has_digest(struct index_txn *tx, uint64_t n)
{
	struct digest d = num_digest(n);
	struct met m = {0};

	assert_int_equal(index_by_digest(tx, &d, met_add, &m), 0);
	return m.n > 0;
}

static void test_move_and_rename(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct entry e;

	num_put_mailbox(tx, 1);
	num_put_mailbox(tx, 2);
	num_put_entry(tx, 10, 1, 7);
	assert_true(at_uid(tx, 1, 7) && has_name(tx, 1, "10.x") && has_digest(tx, 10));

	num_entry(&e, 10, 2, 3);
	e.modseq = 30;
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_false(at_uid(tx, 1, 7) || has_name(tx, 1, "10.x"));
	assert_true(at_uid(tx, 2, 3) && has_name(tx, 2, "10.x:2,S") && has_digest(tx, 10));
	assert_int_equal(num_live(tx, 1), 0);
	assert_int_equal(num_live(tx, 2), 1);
	assert_int_equal(num_uid_next(tx, 1), 8);
	assert_int_equal(num_uid_next(tx, 2), 4);

	free(e.file);
	e.file = mb_xstrdup("other:2,S");
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_false(has_name(tx, 2, "10.x"));
	assert_true(has_name(tx, 2, "other"));
	assert_int_equal(num_live(tx, 2), 1);
	entry_release(&e);
	index_abort(tx);
}

static void test_expunge_and_drop(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guid g = num_guid(10);
	struct entry e;

	num_put_mailbox(tx, 1);
	num_put_entry(tx, 10, 1, 7);
	num_entry(&e, 10, 1, 7);
	e.state = ENTRY_DEAD;
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_false(at_uid(tx, 1, 7) || has_name(tx, 1, "10.x") || has_digest(tx, 10));
	assert_int_equal(num_live(tx, 1), 0);
	e.state = ENTRY_LOST; /* live again, though without its file */
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_true(at_uid(tx, 1, 7) && has_name(tx, 1, "10.x") && has_digest(tx, 10));
	assert_int_equal(num_live(tx, 1), 1);
	entry_release(&e);

	assert_int_equal(index_drop_entry(tx, &g, 0), 0);
	assert_int_equal(index_drop_entry(tx, &g, 0), -ENOENT);
	assert_false(at_uid(tx, 1, 7) || has_name(tx, 1, "10.x") || has_digest(tx, 10));
	assert_int_equal(index_by_ordinal(tx, 10, &e), -ENOENT);
	assert_int_equal(num_live(tx, 1), 0);
	index_abort(tx);
}

/* Two live copies under one UID, for a moment: taking one away leaves the other findable. */
static void test_uid_clash(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guid mb = num_guid(1);
	struct entry e;

	num_put_entry(tx, 10, 1, 7);
	num_put_entry(tx, 11, 1, 7);
	num_put_entry(tx, 10, 1, 8);
	assert_int_equal(index_by_uid(tx, &mb, 7, &e), 0);
	assert_int_equal(e.ordinal, 11);
	entry_release(&e);
	assert_true(at_uid(tx, 1, 8));
	index_abort(tx);
}

static void test_long_file_is_refused(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct entry e;

	num_entry(&e, 10, 1, 7);
	free(e.file);
	e.file = mb_xcalloc(1, 257);
	memset(e.file, 'x', 256);
	assert_int_equal(index_put_entry(tx, &e), -ENAMETOOLONG);
	entry_release(&e);
	assert_int_equal(index_commit(tx), -ENAMETOOLONG);
}

/* ---- random operations against a model ---- */

#define COPIES 40
#define MAILBOXES 4

struct model {
	struct {
		bool there;
		uint64_t mb, name, digest, ordinal;
		uint32_t uid;
		enum entry_state state;
	} c[COPIES];
	uint64_t seed;
};

static uint64_t roll(struct model *m, uint64_t n)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (m->seed >> 33) % n;
}

static bool live(const struct model *m, size_t i)
{
	return m->c[i].there && m->c[i].state != ENTRY_DEAD;
}

static void random_put(struct index_txn *tx, struct model *m, size_t i)
{
	struct entry e;

	m->c[i].there = true;
	m->c[i].mb = 1 + roll(m, MAILBOXES);
	m->c[i].uid = (uint32_t)roll(m, 30);
	m->c[i].name = roll(m, 10);
	m->c[i].digest = roll(m, 10);
	m->c[i].ordinal = roll(m, 10);
	m->c[i].state = (enum entry_state)roll(m, 4);
	num_entry(&e, i / 2, m->c[i].mb, m->c[i].uid);
	e.copy.id = i % 2;
	e.copy.digest = m->c[i].digest ? num_digest(m->c[i].digest) : (struct digest){{0}};
	e.ordinal = m->c[i].ordinal;
	e.state = m->c[i].state;
	free(e.file);
	e.file = mb_xasprintf("n%u:2,%s", (unsigned)m->c[i].name, roll(m, 2) ? "S" : "");
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
}

static void random_drop(struct index_txn *tx, struct model *m, size_t i)
{
	struct guid g = num_guid(i / 2);

	assert_int_equal(index_drop_entry(tx, &g, i % 2), m->c[i].there ? 0 : -ENOENT);
	m->c[i].there = false;
}

static size_t expect_in(const struct model *m, uint64_t mb, uint64_t name)
{
	size_t n = 0;

	for (size_t i = 0; i < COPIES; i++)
		n += live(m, i) && m->c[i].mb == mb && (name == 99 || m->c[i].name == name);
	return n;
}

static void check_mailbox(struct index_txn *tx, const struct model *m, uint64_t mb)
{
	struct guid g = num_guid(mb);
	struct met met = {0};
	char name[8];

	assert_int_equal(index_each_in(tx, &g, 0, met_add, &met), 0);
	assert_int_equal(met.n, expect_in(m, mb, 99));
	for (size_t i = 1; i < met.n; i++)
		assert_true(met.uid[i - 1] <= met.uid[i]);
	assert_int_equal(num_live(tx, mb), met.n);
	for (uint64_t n = 0; n < 10; n++) {
		met.n = 0;
		snprintf(name, sizeof(name), "n%u", (unsigned)n);
		assert_int_equal(index_by_name(tx, &g, name, met_add, &met), 0);
		assert_int_equal(met.n, expect_in(m, mb, n));
	}
}

static void check_shared(struct index_txn *tx, const struct model *m, uint64_t n)
{
	size_t digests = 0, ordinals = 0, ordinals_live = 0;
	struct digest d = num_digest(n);
	struct met met = {0};
	struct entry e;

	for (size_t i = 0; i < COPIES; i++) {
		digests += live(m, i) && m->c[i].digest == n;
		ordinals += m->c[i].there && m->c[i].ordinal == n;
		ordinals_live += live(m, i) && m->c[i].ordinal == n;
	}
	assert_int_equal(index_by_digest(tx, &d, met_add, &met), 0);
	assert_int_equal(met.n, digests);
	int r = index_by_ordinal(tx, n, &e);
	assert_int_equal(r, ordinals ? 0 : -ENOENT);
	if (r < 0)
		return;
	assert_int_equal(e.state != ENTRY_DEAD, ordinals_live > 0);
	entry_release(&e);
}

static void check_model(struct index_txn *tx, const struct model *m)
{
	size_t there = 0;
	struct met met = {0};

	for (size_t i = 0; i < COPIES; i++)
		there += m->c[i].there;
	assert_int_equal(index_each(tx, met_add, &met), 0);
	assert_int_equal(met.n, there);
	for (uint64_t mb = 1; mb <= MAILBOXES; mb++)
		check_mailbox(tx, m, mb);
	for (uint64_t n = 1; n < 10; n++)
		check_shared(tx, m, n);
}

static void test_random_operations(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct model m = {.seed = 4711};

	for (uint64_t mb = 1; mb <= MAILBOXES; mb++)
		num_put_mailbox(tx, mb);
	for (int step = 0; step < 6000; step++) {
		size_t i = roll(&m, COPIES);
		if (roll(&m, 4))
			random_put(tx, &m, i);
		else
			random_drop(tx, &m, i);
		if (step % 10 == 0)
			check_model(tx, &m);
		if (step % 1000 == 999) {
			assert_int_equal(index_commit(tx), 0);
			index_dir_reopen(*state);
			tx = index_dir_begin(*state, true);
		}
	}
	index_abort(tx);
}

/* ---- many ---- */

#define MANY 100000

static void say_each(const char *what, int64_t since, int n)
{
	print_message("%-28s %6.2f us\n", what, (double)(clock_mono_ns() - since) / 1e3 / n);
}

static int count_entry(struct entry *e, void *arg)
{
	++*(size_t *)arg;
	return 0;
}

static void change_flags(struct index_txn *tx, uint64_t n)
{
	struct guid g = num_guid(n);
	struct entry e;

	assert_int_equal(index_get_entry(tx, &g, 0, &e), 0);
	flags_put(&e.copy.flags, FLAG_SEEN, true, num_stamp(n));
	free(e.file);
	e.file = mb_xasprintf("%u.x:2,S", (unsigned)n);
	e.modseq++;
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
}

static void walk_many(struct index_dir *d)
{
	struct index_txn *tx = index_dir_begin(d, false);
	struct guid mb = num_guid(1), g;
	struct entry e;
	size_t n = 0;

	int64_t t = clock_mono_ns();
	for (uint64_t i = 0; i < MANY; i++) {
		g = num_guid(1000 + i * 7919 % MANY);
		assert_int_equal(index_get_entry(tx, &g, 0, &e), 0);
		entry_release(&e);
	}
	say_each("get", t, MANY);
	t = clock_mono_ns();
	assert_int_equal(index_each_in(tx, &mb, 1, count_entry, &n), 0);
	assert_int_equal(n, MANY);
	say_each("each_in", t, MANY);
	index_abort(tx);
}

static void test_many_entries(void **state)
{
	struct index_dir *d = *state;
	struct index_txn *tx = index_dir_begin(d, true);

	num_put_mailbox(tx, 1);
	int64_t t = clock_mono_ns();
	for (uint32_t i = 0; i < MANY; i++)
		num_put_entry(tx, 1000 + i, 1, i + 1);
	assert_int_equal(index_commit(tx), 0);
	say_each("put, new", t, MANY);

	tx = index_dir_begin(d, true);
	t = clock_mono_ns();
	for (uint64_t i = 0; i < MANY; i++)
		change_flags(tx, 1000 + i * 7919 % MANY);
	assert_int_equal(num_live(tx, 1), MANY);
	assert_int_equal(index_commit(tx), 0);
	say_each("get and put, flags", t, MANY);

	t = clock_mono_ns();
	for (uint64_t i = 0; i < 1000; i++) {
		tx = index_dir_begin(d, true);
		change_flags(tx, 1000 + i * 7919 % MANY);
		assert_int_equal(index_commit(tx), 0);
	}
	say_each("the same with begin, commit", t, 1000);
	walk_many(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_comes_back),	 TEST(test_move_and_rename),
		TEST(test_expunge_and_drop),	 TEST(test_uid_clash),
		TEST(test_long_file_is_refused), TEST(test_random_operations),
		TEST(test_many_entries),
	};
	return cmocka_run_group_tests_name("index-entry", tests, NULL, NULL);
}
