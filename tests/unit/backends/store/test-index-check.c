/*
 * test-index-check.c - a key that is gone, one too many, a value that is damaged: the index is not whole.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/index-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/index-private.h"
#include <string.h>

static void fill(struct index_dir *d)
{
	struct index_txn *tx = index_dir_begin(d, true);

	for (uint64_t m = 1; m <= 3; m++)
		num_put_mailbox(tx, m);
	for (uint64_t n = 10; n < 400; n++) {
		struct entry e;

		num_entry(&e, n, n % 3 + 1, (uint32_t)n);
		e.ordinal = n;
		e.copy.digest = num_digest(n);
		assert_int_equal(index_put_entry(tx, &e), 0);
		entry_release(&e);
	}
	assert_int_equal(index_commit(tx), 0);
}

static int check(struct index_dir *d)
{
	struct index_txn *tx = index_dir_begin(d, false);
	int err = index_check(tx);

	index_abort(tx);
	return err;
}

struct nth {
	size_t left;
	uint8_t key[INDEX_KEY_MAX];
	size_t len;
};

static int take_nth(struct index_txn *tx, const uint8_t *key, size_t len, void *arg)
{
	struct nth *n = arg;

	(void)tx;
	memcpy(n->key, key, len);
	n->len = len;
	return n->left-- == 0;
}

static void a_whole_one_is_whole(void **state)
{
	struct index_dir *d = *state;

	assert_int_equal(check(d), 0); /* an empty one */
	fill(d);
	assert_int_equal(check(d), 0);
	assert_false(index_is_bad(d->ix));
}

/* In a transaction that is given up: each key of each table, one at a time. */
static void a_key_that_is_gone_is_missed(void **state)
{
	static const enum table tables[] = {T_UID,     T_NAME, T_DIGEST, T_ORDINAL,
					    T_MAILBOX, T_DIR,  T_COPY};
	struct index_dir *d = *state;

	fill(d);
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
		for (size_t i = 0; i < 3; i++) {
			struct index_txn *tx = index_dir_begin(d, true);
			struct nth n = {.left = i};

			assert_int_equal(table_walk(tx, tables[t], NULL, 0, NULL, 0, take_nth, &n),
					 1);
			assert_int_equal(table_del(tx, tables[t], n.key, n.len), 0);
			assert_int_equal(index_check(tx), MB_E_CHECKSUM);
			index_abort(tx);
		}
	}
	assert_int_equal(check(d), 0);
}

static void a_key_of_nothing_is_noticed(void **state)
{
	static const enum table tables[] = {T_UID, T_NAME, T_DIGEST, T_ORDINAL, T_DIR};
	struct index_dir *d = *state;

	fill(d);
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
		struct index_txn *tx = index_dir_begin(d, true);
		struct nth n = {.left = 1};

		assert_int_equal(table_walk(tx, tables[t], NULL, 0, NULL, 0, take_nth, &n), 1);
		n.key[n.len - 1] ^= 0x55;
		assert_int_equal(table_put(tx, tables[t], n.key, n.len, "0123456789abcdef",
					   tables[t] == T_DIR ? 16 : 0),
				 0);
		assert_int_equal(index_check(tx), MB_E_CHECKSUM);
		index_abort(tx);
	}
}

static void a_damaged_value_is_noticed_and_remembered(void **state)
{
	struct index_dir *d = *state;

	fill(d);
	index_dir_reopen(d);
	assert_true(index_dir_damage(d, "77.x:2,", 7) > 0);
	assert_int_equal(check(d), MB_E_CHECKSUM);
	assert_true(index_is_bad(d->ix));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, index_dir_setup, index_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(a_whole_one_is_whole),
		T(a_key_that_is_gone_is_missed),
		T(a_key_of_nothing_is_noticed),
		T(a_damaged_value_is_noticed_and_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
