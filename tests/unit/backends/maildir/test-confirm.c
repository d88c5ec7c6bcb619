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

/* One session, and a second one has nothing to say. */
static void in_one_session(struct foreign *f)
{
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(foreign_try(f), 0);
	assert_false(f->last.changed);
}

/* Removed here with its mail, and something is beneath it at the local side: there it is a mere name then,
 * and the same mere name here.  It was told gone once more, and the name above the other was a new one. */
static void removed_here_and_a_name_there(void **state)
{
	struct foreign *f = *state;
	const char *dir = f->layout == LAYOUT_FS ? "G" : ".G";
	const char *beneath = f->layout == LAYOUT_FS ? "G/x" : ".G.x";
	struct guid x, box;

	f->allow = true;
	foreign_mkdir(f, dir);
	MB_AUTO_FREE char *file = mb_xasprintf("%s/cur/1.a.host:2,", dir);
	foreign_write(f, file, "one\n");
	foreign_sync(f);
	box = local_box(f, "G");
	foreign_rmdir(f, dir);
	assert_int_equal(memory_create(f->local, &box, "x", &x), 0);
	in_one_session(f);
	assert_int_equal(local_live(f), 0);
	const struct mailbox *name = tree_find(memory_tree(f->local), &box);
	assert_true(mailbox_alive(name) && !name->selectable);
	struct guid at_x = local_box(f, "G/x");
	assert_true(guid_equal(&at_x, &x));
	assert_true(foreign_exists(f, beneath));
	/* and can be a mailbox again, from either side */
	foreign_mkdir(f, dir);
	foreign_write(f, file, "two\n");
	foreign_sync(f);
	assert_true(
		name = tree_find(memory_tree(f->local), &local_find(f, "two\n")->place.mailbox));
	assert_string_equal(name->part, "G");
	assert_true(mailbox_alive(name) && name->selectable);
	assert_int_equal(local_live(f), 1);
}

/* Cut before the local side has it: the mail that was removed is not brought back, and what is beneath
 * stays. */
static void removed_here_and_a_name_there_cut(void **state)
{
	struct foreign *f = *state;
	struct guid box, x;

	for (int after = 1; after < 5; after++) {
		MB_AUTO_FREE char *dir = mb_xasprintf(".G%d", after);
		MB_AUTO_FREE char *file = mb_xasprintf("%s/cur/1.a.host:2,", dir);
		MB_AUTO_FREE char *beneath = mb_xasprintf("%s.x", dir);
		MB_AUTO_FREE char *text = mb_xasprintf("one %d\n", after);

		f->allow = true;
		foreign_mkdir(f, dir);
		foreign_write(f, file, text);
		foreign_sync(f);
		box = local_box(f, dir + 1);
		foreign_rmdir(f, dir);
		assert_int_equal(memory_create(f->local, &box, "x", &x), 0);
		f->stop_after = after;
		foreign_try(f);
		f->stop_after = 0;
		foreign_sync(f);
		assert_int_equal(local_live(f), 0);
		assert_true(foreign_exists(f, beneath));
		assert_false(foreign_exists(f, file));
		assert_true(mailbox_alive(tree_find(memory_tree(f->local), &x)));
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(told_again_is_told_the_same),
		T(told_and_taken_is_agreed_at_once),
		T(removed_here_and_a_name_there),
		cmocka_unit_test_setup_teardown(removed_here_and_a_name_there, foreign_setup_fs,
						foreign_teardown),
		T(removed_here_and_a_name_there_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
