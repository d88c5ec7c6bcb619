/* Folders: made, renamed, swapped and deleted on either side. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void folders_go_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_mkdir(f, ".Work.2024");
	foreign_write(f, ".Work.2024/new/1.a.host", "one\n");
	memory_create(f->local, &GUID_ZERO, "Lists", &g);
	local_deliver(f, g, "two\n");
	foreign_sync(f);
	assert_true(foreign_exists(f, ".Lists/cur"));
	assert_int_equal(foreign_count(f, ".Lists"), 1);
	g = local_box(f, "Work/2024");
	assert_false(guid_is_zero(&g));
	/* renamed on either side */
	foreign_rename(f, ".Lists", ".Groups");
	memory_rename(f->local, &g, &GUID_ZERO, "Old");
	foreign_sync(f);
	assert_true(foreign_exists(f, ".Old/cur"));
	assert_false(foreign_exists(f, ".Work.2024"));
	assert_int_equal(foreign_count(f, ".Old"), 1);
	g = local_box(f, "Groups");
	assert_false(guid_is_zero(&g));
	g = local_box(f, "Lists");
	assert_true(guid_is_zero(&g));
}

/* A parent that is no mailbox is only a part of names; it is renamed all the same. */
static void a_parent_may_be_no_mailbox(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &a, "B", &b);
	local_deliver(f, b, "one\n");
	memory_delete(f->local, &a); /* B keeps it as a name */
	foreign_sync(f);
	assert_false(foreign_exists(f, ".A"));
	assert_int_equal(foreign_count(f, ".A.B"), 1);
	foreign_mkdir(f, ".A.C");
	foreign_sync(f);
	b = local_box(f, "A/C");
	assert_false(guid_is_zero(&b));
	memory_rename(f->local, &a, &GUID_ZERO, "Z");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".Z.B"), 1);
	assert_true(foreign_exists(f, ".Z.C/cur"));
	assert_false(foreign_exists(f, ".A.B"));
}

static void folders_are_deleted_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	local_deliver(f, a, "one\n");
	local_deliver(f, b, "two\n");
	foreign_sync(f);
	memory_delete(f->local, &a);
	foreign_rmdir(f, ".B");
	foreign_sync(f);
	assert_false(foreign_exists(f, ".A"));
	a = local_box(f, "B");
	assert_true(guid_is_zero(&a));
	assert_int_equal(local_live(f), 0);
}

static void a_swap_of_names_arrives(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	local_deliver(f, a, "one\n");
	local_deliver(f, b, "two\n");
	foreign_sync(f);
	memory_rename(f->local, &a, &GUID_ZERO, "C");
	memory_rename(f->local, &b, &GUID_ZERO, "A");
	memory_rename(f->local, &a, &GUID_ZERO, "B");
	foreign_sync(f);
	MB_AUTO_FREE char *one = foreign_find(f, ".B", "one\n");
	MB_AUTO_FREE char *two = foreign_find(f, ".A", "two\n");
	assert_non_null(one);
	assert_non_null(two);
	/* and back, by hand */
	foreign_rename(f, ".A", ".T");
	foreign_rename(f, ".B", ".A");
	foreign_rename(f, ".T", ".B");
	foreign_sync(f);
	assert_true(guid_equal(&local_find(f, "one\n")->place.mailbox, &a));
	assert_string_equal(tree_find(memory_tree(f->local), &a)->part, "A");
}

/* Row 64: it was deleted with its mail; the name above the child needs no directory. */
static void a_deleted_parent_is_not_made_again(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &a, "B", &b);
	local_deliver(f, a, "one\n");
	local_deliver(f, b, "two\n");
	foreign_sync(f);
	memory_expunge(f->local, &local_find(f, "one\n")->guid, 0);
	memory_delete(f->local, &a);
	foreign_sync(f);
	assert_false(foreign_exists(f, ".A"));
	assert_int_equal(foreign_count(f, ".A.B"), 1);
}

/* Mail that came meanwhile keeps its folder, and what is not ours is never removed. */
static void a_folder_with_unseen_mail_stays(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	local_deliver(f, a, "one\n");
	foreign_sync(f);
	memory_delete(f->local, &a);
	memory_delete(f->local, &b);
	foreign_write(f, ".A/new/2.a.host", "two\n");
	foreign_write(f, ".B/sieve.txt", "mine\n");
	foreign_sync(f);
	a = local_box(f, "A");
	assert_false(guid_is_zero(&a));
	assert_int_equal(foreign_count(f, ".A"), 1);
	assert_int_equal(local_live(f), 1);
	assert_false(foreign_exists(f, ".B/cur"));
	assert_true(foreign_exists(f, ".B/sieve.txt"));
}

/* The folder was made on both sides: one, with the mail of both. */
static void a_folder_made_on_both_sides_is_one(void **state)
{
	struct foreign *f = *state;
	struct guid a;

	foreign_sync(f);
	memory_create(f->local, &GUID_ZERO, "A", &a);
	local_deliver(f, a, "one\n");
	foreign_mkdir(f, ".A");
	foreign_write(f, ".A/new/2.a.host", "two\n");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".A"), 2);
	assert_true(guid_equal(&local_find(f, "two\n")->place.mailbox, &a));
}

static void renamed_while_mail_arrives(void **state)
{
	struct foreign *f = *state;
	struct guid a;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	local_deliver(f, a, "one\n");
	foreign_sync(f);
	foreign_rename(f, ".A", ".B");
	local_deliver(f, a, "two\n");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".B"), 2);
	assert_false(foreign_exists(f, ".A"));
	assert_string_equal(tree_find(memory_tree(f->local), &a)->part, "B");
}

/* LAYOUT=fs: what is in a folder goes with it. */
static void folders_in_folders(void **state)
{
	struct foreign *f = *state;
	struct guid a, b, c;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &a, "B", &b);
	local_deliver(f, b, "one\n");
	foreign_mkdir(f, "X/Y");
	foreign_write(f, "X/Y/new/2.a.host", "two\n");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, "A/B"), 1);
	c = local_box(f, "X/Y");
	assert_false(guid_is_zero(&c));
	memory_rename(f->local, &a, &GUID_ZERO, "Z");
	foreign_rename(f, "X", "W");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, "Z/B"), 1);
	assert_false(foreign_exists(f, "A"));
	b = local_box(f, "W/Y");
	assert_true(guid_equal(&b, &c));
	assert_int_equal(local_live(f), 2);
}

static void rotations_arrive(void **state)
{
	struct foreign *f = *state;
	const char *const names[] = {"A", "B", "C"};
	struct guid g[3];

	for (int i = 0; i < 3; i++) {
		memory_create(f->local, &GUID_ZERO, names[i], &g[i]);
		local_deliver(f, g[i], names[i]);
	}
	foreign_sync(f);
	memory_rename(f->local, &g[0], &GUID_ZERO, "T");
	memory_rename(f->local, &g[2], &GUID_ZERO, "A");
	memory_rename(f->local, &g[1], &GUID_ZERO, "C");
	memory_rename(f->local, &g[0], &GUID_ZERO, "B");
	foreign_sync(f);
	for (int i = 0; i < 3; i++) {
		MB_AUTO_FREE char *dir = mb_xasprintf(".%s", names[(i + 1) % 3]);
		MB_AUTO_FREE char *path = foreign_find(f, dir, names[i]);

		assert_non_null(path);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
#define FS(name) cmocka_unit_test_setup_teardown(name, foreign_setup_fs, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(folders_go_both_ways),
		T(a_parent_may_be_no_mailbox),
		T(folders_are_deleted_both_ways),
		T(a_swap_of_names_arrives),
		T(a_deleted_parent_is_not_made_again),
		T(a_folder_with_unseen_mail_stays),
		T(a_folder_made_on_both_sides_is_one),
		T(renamed_while_mail_arrives),
		T(rotations_arrive),
		FS(folders_in_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
