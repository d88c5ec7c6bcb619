/*
 * Walks: order, beginnings, ends, batches, and writing while walking.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

static void expect_uids(const struct met *m, const uint32_t *uid, size_t n)
{
	assert_int_equal(m->n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(m->uid[i], uid[i]);
}

static void test_by_uid_order(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guid mb = num_guid(1);
	struct met m = {0};

	num_put_entry(tx, 10, 1, 300);
	num_put_entry(tx, 11, 1, 2);
	num_put_entry(tx, 12, 1, 256);
	num_put_entry(tx, 13, 2, 1); /* elsewhere */
	num_put_entry(tx, 14, 1, UINT32_MAX);
	assert_int_equal(index_each_in(tx, &mb, 0, met_add, &m), 0);
	expect_uids(&m, (uint32_t[]){2, 256, 300, UINT32_MAX}, 4);
	m = (struct met){0};
	assert_int_equal(index_each_in(tx, &mb, 256, met_add, &m), 0);
	expect_uids(&m, (uint32_t[]){256, 300, UINT32_MAX}, 3);
	m = (struct met){.stop_after = 2};
	assert_int_equal(index_each_in(tx, &mb, 3, met_add, &m), 7);
	expect_uids(&m, (uint32_t[]){256, 300}, 2);
	mb = num_guid(3);
	m = (struct met){0};
	assert_int_equal(index_each_in(tx, &mb, 0, met_add, &m), 0);
	assert_int_equal(m.n, 0);
	index_abort(tx);
}

static void test_many_batches(void **state)
{
	static const uint32_t counts[] = {255, 256, 257, 512, 700};
	struct guid mb = num_guid(1);

	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		struct index_txn *tx = index_dir_begin(*state, true);
		struct met m = {0};
		for (uint32_t i = 1; i <= counts[c]; i++)
			num_put_entry(tx, 1000 + i, 1, i);
		assert_int_equal(index_each_in(tx, &mb, 1, met_add, &m), 0);
		assert_int_equal(m.n, counts[c]);
		for (uint32_t i = 0; i < counts[c]; i++)
			assert_int_equal(m.uid[i], i + 1);
		m = (struct met){0};
		assert_int_equal(index_each(tx, met_add, &m), 0);
		assert_int_equal(m.n, counts[c]);
		index_abort(tx);
	}
}

struct guids {
	struct guid first, last;
	size_t n, stop_after;
};

static int count_guid(const struct guid *g, void *arg)
{
	struct guids *s = arg;

	if (s->n++ == 0)
		s->first = *g;
	else
		assert_true(guid_compare(&s->last, g) < 0);
	s->last = *g;
	return s->n == s->stop_after ? 7 : 0;
}

static void test_each_guid_once(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guids all = {0}, rest = {0}, some = {.stop_after = 3};

	for (uint32_t i = 1; i <= 600; i++) {
		struct entry e;

		num_entry(&e, 1000 + i, 1, i);
		for (uint64_t id = 0; id < 1 + i % 2; id++) { /* every other one has two copies */
			e.copy.id = id ? UINT64_MAX : 0;
			e.copy.place.uid = i + 1000 * (uint32_t)id;
			assert_int_equal(index_put_entry(tx, &e), 0);
		}
		entry_release(&e);
	}
	assert_int_equal(index_each_guid(tx, NULL, count_guid, &all), 0);
	assert_int_equal(all.n, 600);
	assert_int_equal(index_each_guid(tx, NULL, count_guid, &some), 7);
	assert_int_equal(some.n, 3);
	assert_int_equal(index_each_guid(tx, &some.last, count_guid, &rest), 0);
	assert_int_equal(rest.n, 597);
	assert_true(guid_compare(&some.last, &rest.first) < 0);
	assert_true(guid_equal(&all.last, &rest.last));
	rest = (struct guids){0};
	assert_int_equal(index_each_guid(tx, &all.last, count_guid, &rest), 0);
	assert_int_equal(rest.n, 0);
	index_abort(tx);
}

struct hand {
	struct index_txn *tx;
	uint32_t calls;
};

/* Each copy takes out the one with the next UID. */
static int drop_next(struct entry *e, void *arg)
{
	struct hand *h = arg;
	struct guid next = num_guid(1000 + e->copy.place.uid + 1);

	h->calls++;
	return e->copy.place.uid % 2 ? index_drop_entry(h->tx, &next, 0) : -EINVAL;
}

static void test_what_is_taken_out_is_not_met(void **state)
{
	struct hand h = {.tx = index_dir_begin(*state, true)};
	struct guid mb = num_guid(1);

	for (uint32_t i = 1; i <= 600; i++)
		num_put_entry(h.tx, 1000 + i, 1, i);
	assert_int_equal(index_each_in(h.tx, &mb, 0, drop_next, &h), 0);
	assert_int_equal(h.calls, 300);
	index_abort(h.tx);
}

/* Each copy goes to the end of its mailbox, once. */
static int renumber(struct entry *e, void *arg)
{
	struct hand *h = arg;

	if (e->copy.place.uid > 600)
		return 1;
	h->calls++;
	e->copy.place.uid += 600;
	return index_put_entry(h->tx, e);
}

static void test_writing_while_walking(void **state)
{
	struct hand h = {.tx = index_dir_begin(*state, true)};
	struct guid mb = num_guid(1);
	struct met m = {0};

	num_put_mailbox(h.tx, 1);
	for (uint32_t i = 1; i <= 600; i++)
		num_put_entry(h.tx, 1000 + i, 1, i);
	assert_int_equal(index_each_in(h.tx, &mb, 0, renumber, &h), 1);
	assert_int_equal(h.calls, 600);
	assert_int_equal(num_live(h.tx, 1), 600);
	assert_int_equal(index_each_in(h.tx, &mb, 0, met_add, &m), 0);
	assert_int_equal(m.n, 600);
	assert_int_equal(m.uid[0], 601);
	index_abort(h.tx);
}

static void put_named(struct index_txn *tx, uint64_t n, uint64_t id, const char *file)
{
	struct entry e;

	num_entry(&e, n, 1, (uint32_t)n);
	e.copy.id = id;
	free(e.file);
	e.file = file ? mb_xstrdup(file) : NULL;
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
}

static size_t count_name(struct index_txn *tx, uint64_t mb, const char *name)
{
	struct guid g = num_guid(mb);
	struct met m = {0};

	assert_int_equal(index_by_name(tx, &g, name, met_add, &m), 0);
	return m.n;
}

static void test_by_name(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);

	put_named(tx, 10, 0, "a.b,S=5:2,S");
	put_named(tx, 10, 1, "a.b");
	put_named(tx, 11, 0, "a.bc:2,");
	put_named(tx, 12, 0, NULL); /* its base counts: "12.x" */
	assert_int_equal(count_name(tx, 1, "a.b:2,FRS"), 2);
	assert_int_equal(count_name(tx, 1, "a.b,S=9"), 2);
	assert_int_equal(count_name(tx, 1, "a.bc"), 1);
	assert_int_equal(count_name(tx, 1, "a"), 0);
	assert_int_equal(count_name(tx, 1, "a.bcd"), 0);
	assert_int_equal(count_name(tx, 2, "a.b"), 0);
	assert_int_equal(count_name(tx, 1, "12.x:2,T"), 1);
	assert_int_equal(count_name(tx, 1, ""), 0);
	assert_int_equal(count_name(tx, 1, ".."), 0);
	index_abort(tx);
}

/* The longest name there can be. */
static void test_long_name(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	char name[256];

	memset(name, 'n', 255);
	name[255] = 0;
	put_named(tx, 10, 0, name);
	assert_int_equal(count_name(tx, 1, name), 1);
	name[254] = 0;
	assert_int_equal(count_name(tx, 1, name), 0);
	index_abort(tx);
}

static void test_twins_by_digest(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct digest d = num_digest(10), none = {{0}};
	struct met m = {0};
	struct entry e;

	num_put_entry(tx, 10, 1, 1);
	num_entry(&e, 11, 2, 1);
	e.copy.digest = d;
	assert_int_equal(index_put_entry(tx, &e), 0);
	e.copy.id = 5;
	e.copy.digest = none;
	assert_int_equal(index_put_entry(tx, &e), 0);
	entry_release(&e);
	assert_int_equal(index_by_digest(tx, &d, met_add, &m), 0);
	assert_int_equal(m.n, 2);
	assert_int_equal(index_by_digest(tx, &none, met_add, &m), 0);
	assert_int_equal(m.n, 2);
	index_abort(tx);
}

static void test_message(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct guid g = num_guid(10);
	struct message m;

	assert_int_equal(index_get_message(tx, &g, &m), 0);
	assert_int_equal(m.n, 0);
	put_named(tx, 10, 0, "a");
	put_named(tx, 10, UINT64_MAX, "b");
	put_named(tx, 11, 0, "c");
	assert_int_equal(index_get_message(tx, &g, &m), 0);
	assert_int_equal(m.n, 2);
	assert_true(guid_equal(&m.guid, &g));
	assert_non_null(message_find(&m, 0));
	assert_non_null(message_find(&m, UINT64_MAX));
	assert_int_equal(message_find(&m, 0)->place.uid, 10);
	message_release(&m);
	index_abort(tx);
}

/* Hard links share an ordinal: a live copy is preferred to a dead one. */
static void test_by_ordinal(void **state)
{
	struct index_txn *tx = index_dir_begin(*state, true);
	struct entry e, got;

	num_entry(&e, 10, 1, 1);
	e.ordinal = 77;
	e.state = ENTRY_DEAD;
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_int_equal(index_by_ordinal(tx, 77, &got), 0);
	assert_int_equal(got.copy.id, 0);
	entry_release(&got);
	e.copy.id = 3;
	e.state = ENTRY_LOST;
	assert_int_equal(index_put_entry(tx, &e), 0);
	assert_int_equal(index_by_ordinal(tx, 77, &got), 0);
	assert_int_equal(got.copy.id, 3);
	entry_release(&got);
	entry_release(&e);
	assert_int_equal(index_by_ordinal(tx, 78, &got), -ENOENT);
	index_abort(tx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, index_dir_setup, index_dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_by_uid_order),
		TEST(test_many_batches),
		TEST(test_each_guid_once),
		TEST(test_what_is_taken_out_is_not_met),
		TEST(test_writing_while_walking),
		TEST(test_by_name),
		TEST(test_long_name),
		TEST(test_twins_by_digest),
		TEST(test_message),
		TEST(test_by_ordinal),
	};
	return cmocka_run_group_tests_name("index-walk", tests, NULL, NULL);
}
