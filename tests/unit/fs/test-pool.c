/*
 * test-pool.c - numbers and addresses that stay, chunks that go back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "fs/pool.h"

enum { SIZE = 48, MANY = 40000 };

static void an_item_is_found_by_its_number(void **state)
{
	static void *items[MANY];
	int owner;
	struct pool *p = pool_new(SIZE, &owner);

	for (size_t i = 0; i < MANY; i++) {
		items[i] = pool_take(p);
		memset(items[i], (int)i, SIZE);
	}
	for (size_t i = 0; i < MANY; i++) {
		unsigned char expected[SIZE];

		memset(expected, (int)i, SIZE);
		assert_memory_equal(items[i], expected, SIZE);
		assert_true(pool_id(items[i]) != 0);
		assert_ptr_equal(pool_at(p, pool_id(items[i])), items[i]);
		assert_ptr_equal(pool_of(items[i]), p);
	}
	assert_ptr_equal(pool_owner(p), &owner);
	assert_int_equal(pool_count(p), MANY);
	pool_free(p);
}

static void what_was_given_back_is_used_again_and_zeroed(void **state)
{
	static const unsigned char zero[SIZE];
	struct pool *p = pool_new(SIZE, NULL);
	void *a = pool_take(p), *b = pool_take(p);
	uint32_t id = pool_id(a);

	memset(a, 7, SIZE);
	memset(b, 8, SIZE);
	pool_give(a);
	assert_int_equal(pool_count(p), 1);
	a = pool_take(p);
	assert_int_equal(pool_id(a), id);
	assert_memory_equal(a, zero, SIZE);
	assert_int_equal(*(unsigned char *)b, 8);
	pool_free(p);
}

static void empty_chunks_go_back(void **state)
{
	static void *items[MANY];
	struct pool *p = pool_new(SIZE, NULL);
	size_t full;
	uint32_t greatest = 0;

	for (size_t i = 0; i < MANY; i++)
		items[i] = pool_take(p);
	full = pool_n_chunks(p);
	assert_in_range(full, MANY * SIZE / (256 * 1024), MANY * SIZE / (256 * 1024) + 1);
	for (size_t i = 0; i < MANY; i++)
		if (pool_id(items[i]) > greatest)
			greatest = pool_id(items[i]);
	for (size_t i = 0; i < MANY; i++)
		if (i != MANY / 2)
			pool_give(items[i]);
	assert_int_equal(pool_count(p), 1);
	assert_in_range(pool_n_chunks(p), 1, 2);
	for (size_t i = 0; i < MANY; i++)
		if (i != MANY / 2)
			items[i] = pool_take(p);
	assert_int_equal(pool_n_chunks(p), full);
	for (size_t i = 0; i < MANY; i++) /* numbers are used again */
		assert_in_range(pool_id(items[i]), 1, greatest);
	for (size_t i = 0; i < MANY; i++)
		pool_give(items[i]);
	assert_int_equal(pool_n_chunks(p), 1);
	pool_free(p);
	pool_free(NULL);
}

static void it_holds_as_model(void **state)
{
	static void *items[3000];
	struct pool *p = pool_new(4096, NULL); /* few to a chunk */
	size_t n = 0;

	srandom(7);
	for (int i = 0; i < 20000; i++) {
		size_t at = (size_t)random() % 3000;

		if (items[at]) {
			assert_int_equal(*(size_t *)items[at], at);
			pool_give(items[at]);
			items[at] = NULL;
			n--;
		} else {
			items[at] = pool_take(p);
			*(size_t *)items[at] = at;
			assert_ptr_equal(pool_at(p, pool_id(items[at])), items[at]);
			n++;
		}
		assert_int_equal(pool_count(p), n);
	}
	pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_item_is_found_by_its_number),
		cmocka_unit_test(what_was_given_back_is_used_again_and_zeroed),
		cmocka_unit_test(empty_chunks_go_back),
		cmocka_unit_test(it_holds_as_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
