/*
 * test-fault.c - the n-th call fails, once; the others reach the wrapped backend.
 */
#include "tests/support/world.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void the_third(void **state)
{
	struct backend *b = backend_fault(backend_open_memory(1), 3, -EIO);
	struct position p;
	assert_int_equal(b->ops->position(b, &p), 0);
	assert_int_equal(b->ops->refresh(b, false), 0);
	b->ops->allow_mass_expunge(b, true); /* does not count */
	assert_int_equal(b->ops->commit(b), -EIO);
	assert_int_equal(b->ops->commit(b), 0);
	backend_close(b);
}

static void never(void **state)
{
	struct backend *b = backend_fault(backend_open_memory(1), 0, -EIO);
	for (int i = 0; i < 10; i++)
		assert_int_equal(b->ops->commit(b), 0);
	backend_close(b);
}

/* A sync cut at each of its calls, and run again, ends as one that was not cut. */
static void each_call_of_a_sync(void **state)
{
	bool failed = true;
	for (uint64_t n = 1; failed; n++) {
		struct backend *a = backend_open_memory(1);
		struct backend *inner = backend_open_memory(2), *b = backend_fault(inner, n, -EIO);
		struct guid box = mkbox(a, "X"), other = mkbox(inner, "X");
		struct guid m = has(a, box, "here");
		flag(a, m, FLAG_SEEN);
		has(inner, other, "there");
		has(inner, other, "here");
		expunge(inner, has(inner, GUID_INBOX, "gone"));
		struct link l = {.b = {a, b}};
		const char *wrong = link_sync(&l);
		failed = wrong != NULL;
		if (failed)
			assert_null(link_sync(&l));
		assert_null(link_compare(a, inner));
		assert_int_equal(memory_n_messages(a), 3);
		backend_close(a);
		backend_close(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_third),
		cmocka_unit_test(never),
		cmocka_unit_test(each_call_of_a_sync),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
