/* test-recover-dirs.c - after a replay each mailbox has the directory that it has on disk. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <string.h>

static void swap_names(struct store_dir *d)
{
	assert_int_equal(store_move(d, ".A", ".T"), 0);
	assert_int_equal(store_move(d, ".B", ".A"), 0);
	assert_int_equal(store_move(d, ".T", ".B"), 0);
}

static void two_boxes(struct store_dir *d)
{
	store_make_box(d, ".A");
	store_make_box(d, ".B");
	store_deliver(d, ".A", "a.x", "in a");
	store_deliver(d, ".B", "b.x", "in b");
}

/* The checkpoint knows the directories from before: both are there, with the other's mail. */
static void a_swap_after_the_checkpoint(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	two_boxes(d);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	swap_names(d);
	store_dir_reopen(d);
	n = log_records(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, "A/new/b.x | B/new/a.x");
	assert_int_equal(log_records(d), n);
	store_consistent(d);
}

static void a_rename_after_the_checkpoint(void **state)
{
	struct store_dir *d = *state;

	two_boxes(d);
	assert_int_equal(store_checkpoint(d->s, 0), 0);
	assert_int_equal(store_move(d, ".A", ".Z"), 0);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	assert_list(d, "B/new/b.x | Z/new/a.x");
	store_consistent(d);
}

/* A stop while two mailboxes changed places: one is in its swap directory. */
static void a_swap_directory_is_brought_home(void **state)
{
	struct store_dir *d = *state;
	char text[GUID_TEXT], *swap;
	struct guid g;

	two_boxes(d);
	g = store_box(d, "A");
	swap = mb_xasprintf(SWAP_PREFIX "%s", guid_text(&g, text));
	for (int how = 0; how < 3; how++) {
		store_dir_close(d);
		outside_rename(d, ".A", swap);
		if (how == 0)
			store_dir_drop(d, "index");
		if (how == 1)
			store_dir_power_cut(d);
		if (how == 2) { /* killed in the same boot */
			outside_rename(d, swap, ".A");
			store_dir_kill(d, NULL);
			store_dir_open(d);
			store_deliver(d, "", how ? "c.x" : "d.x", "dirty");
			store_dir_kill(d, NULL);
			outside_rename(d, ".A", swap);
		}
		store_dir_open(d);
		assert_true(tree_has(d, ".A/new/a.x"));
		assert_false(tree_has(d, swap));
		store_consistent(d);
		struct guid now = store_box(d, "A");
		assert_true(guid_equal(&g, &now));
	}
	free(swap);
}

static int delete_a(struct store_dir *d)
{
	int err = store_unlink(d->s, ".A/new/a.x", &d->me);

	return err < 0 ? err : store_rmdir(d->s, ".A/cur", &d->me);
}

/* The deletion was logged, the index had not noted it: the name is free all the same. */
static void a_dead_mailbox_has_no_directory(void **state)
{
	struct store_dir *d = *state;

	two_boxes(d);
	store_dir_close(d);
	store_dir_save_index(d);
	store_dir_kill(d, delete_a);
	store_dir_restore_index(d);
	store_dir_kill(d, NULL);
	store_dir_open(d);
	assert_false(store_has_box(d, "A"));
	assert_int_equal(store_mkdir(d->s, ".A/cur", 0700, &d->me), 0);
	store_deliver(d, ".A", "new.x", "again");
	assert_list(d, "A/new/new.x | B/new/b.x");
	store_consistent(d);
}

static void inbox_always_has_the_root(void **state)
{
	struct store_dir *d = *state;
	struct node_info n;

	store_dir_close(d);
	store_dir_drop(d, "index");
	outside_remove(d, "cur");
	outside_remove(d, "new");
	store_dir_open(d);
	assert_int_equal(store_classify(d->s, "new", &n), 0);
	assert_int_equal(n.kind, NODE_NEW);
	store_deliver(d, "", "1.x", "a");
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_swap_after_the_checkpoint),	TEST(a_rename_after_the_checkpoint),
		TEST(a_swap_directory_is_brought_home), TEST(a_dead_mailbox_has_no_directory),
		TEST(inbox_always_has_the_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
