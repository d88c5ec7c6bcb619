/* What was found and told: until the local side has it, it is told the same. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The stamp of a change is of when it was found first: a later change here wins. */
static void told_again_is_told_the_same(void **state)
{
	struct foreign *f = *state;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	foreign_rename(f, "cur/1.a.host:2,", "cur/1.a.host:2,S");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_find(f, "one\n")->flags.set, FLAG_MASK(FLAG_SEEN));
	memory_flags(f->local, &one, 0, 0, FLAG_MASK(FLAG_SEEN));
	foreign_sync(f);
	assert_int_equal(local_find(f, "one\n")->flags.set, 0);
	MB_AUTO_FREE char *letters = foreign_letters(f, "", "one\n");
	assert_string_equal(letters, "");
}

/* What the sync brought over is agreed when it ends: a full comparison then has nothing to write. */
static void told_and_taken_is_agreed_at_once(void **state)
{
	struct foreign *f = *state;
	struct position before, after;

	foreign_write(f, "new/1.a.host", "one\n");
	foreign_sync(f);
	foreign_rename(f, "new/1.a.host", "cur/1.a.host:2,S");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->local->ops->position(f->local, &before), 0);
	f->full = true;
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->local->ops->position(f->local, &after), 0);
	assert_true(position_equal(&before, &after));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(told_again_is_told_the_same),
		T(told_and_taken_is_agreed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
