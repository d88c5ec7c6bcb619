/* test-tree.c - what a path is; mailboxes and the directories that their names say. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

static void assert_kind(struct store_dir *d, const char *path, enum node_kind kind, const char *box)
{
	struct node_info n;

	assert_int_equal(store_classify(d->s, path, &n), 0);
	assert_int_equal(n.kind, kind);
	if (box) {
		struct guid g = store_box(d, box);

		assert_true(guid_equal(&n.mailbox, &g));
	}
}

static void names_and_places_in_maildirpp(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	assert_kind(d, "", NODE_ROOT, "INBOX");
	assert_kind(d, "cur", NODE_CUR, "INBOX");
	assert_kind(d, "new", NODE_NEW, "INBOX");
	assert_kind(d, "tmp", NODE_TMP, "INBOX");
	assert_kind(d, "cur/x", NODE_MESSAGE, "INBOX");
	assert_kind(d, "tmp/x", NODE_TMPFILE, "INBOX");
	assert_kind(d, "tmp/.x", NODE_TMPFILE, "INBOX");
	assert_kind(d, "cur/.x", NODE_LOCAL, NULL);
	assert_kind(d, ".A", NODE_MAILBOX, "A");
	assert_kind(d, ".A/cur", NODE_CUR, "A");
	assert_kind(d, ".A/new/x:2,S", NODE_MESSAGE, "A");
	assert_kind(d, ".A/dovecot-uidlist", NODE_LOCAL, NULL);
	assert_kind(d, ".A/cur/x/y", NODE_LOCAL, NULL);
	assert_kind(d, ".B", NODE_LOCAL, NULL);
	assert_kind(d, ".B/cur/x", NODE_LOCAL, NULL);
	assert_kind(d, "dovecot.index", NODE_LOCAL, NULL);
}

static void names_and_places_in_fs(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, "A");
	store_make_box(d, "A/B");
	assert_kind(d, "A/B", NODE_MAILBOX, "A/B");
	assert_kind(d, "A/cur", NODE_CUR, "A");
	assert_kind(d, "A/B/cur/x", NODE_MESSAGE, "A/B");
	assert_kind(d, "A/C", NODE_LOCAL, NULL);
}

static void new_is_told_from_cur(void **state)
{
	struct store_dir *d = *state;
	struct node_info n;

	assert_int_equal(store_classify(d->s, "new/x", &n), 0);
	assert_true(n.in_new);
	assert_int_equal(store_classify(d->s, "cur/x", &n), 0);
	assert_false(n.in_new);
}

static void paths_that_leave_are_refused(void **state)
{
	struct store_dir *d = *state;
	struct node_info n;

	assert_int_equal(store_classify(d->s, "../x", &n), -EINVAL);
	assert_int_equal(store_classify(d->s, "/x", &n), -EINVAL);
	assert_int_equal(store_classify(d->s, "cur//x", &n), -EINVAL);
}

static void parts_of_paths_are_joined(void **state)
{
	static const char *const want[] = {"",	     "cur",	 "cur/x", ".A",
					   ".A/cur", ".A/cur/x", ".A/x",  "x"};
	char *got[] = {path_join("", NULL, NULL),    path_join("", "cur", NULL),
		       path_join("", "cur", "x"),    path_join(".A", NULL, NULL),
		       path_join(".A", "cur", NULL), path_join(".A", "cur", "x"),
		       path_join(".A", NULL, "x"),   path_join("", NULL, "x")};

	(void)state;
	for (size_t i = 0; i < sizeof(got) / sizeof(got[0]); i++) {
		assert_string_equal(got[i], want[i]);
		free(got[i]);
	}
}

/* A reader sees all of a new mailbox or nothing. */
static void a_new_mailbox_appears_whole(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(mailbox_make_dirs(d->s, NULL, NULL, ".A.B"), 0);
	assert_true(tree_has(d, ".A.B/cur") && tree_has(d, ".A.B/new") && tree_has(d, ".A.B/tmp"));
	outside_remove(d, ".A.B/new");
	assert_int_equal(mailbox_make_dirs(d->s, NULL, NULL, ".A.B"), 0);
	assert_true(tree_has(d, ".A.B/new"));
	assert_int_equal(staging_count(d), 0);
}

static int make_dirs(struct store_dir *d)
{
	return mailbox_make_dirs(d->s, NULL, NULL, ".A");
}

static void a_new_mailbox_without_room_is_not_there(void **state)
{
	struct store_dir *d = *state;
	bool hit = true;

	for (int n = 1; hit; n++) {
		int err = store_dir_fail_at(d, n, ENOSPC, make_dirs, &hit);

		assert_int_equal(tree_has(d, ".A"), err >= 0);
	}
	assert_int_equal(staging_count(d), 0);
}

static void names_say_directories(void **state)
{
	struct store_dir *d = *state;
	struct index_txn *tx;
	struct tree t = {0};
	struct guid a, other;
	char *dir;

	store_make_box(d, ".A.x\\2ey");
	a = store_box(d, "A/x.y");
	assert_int_equal(index_begin(store_index(d->s), false, &tx), 0);
	assert_int_equal(index_tree(tx, &t), 0);
	assert_int_equal(mailbox_wanted_dir(d->s, &t, &a, &dir), 0);
	assert_string_equal(dir, ".A.x\\2ey");
	free(dir);
	assert_int_equal(mailbox_wanted_dir(d->s, &t, &GUID_INBOX, &dir), 0);
	assert_string_equal(dir, "");
	free(dir);
	assert_int_equal(mailbox_by_parts(d->s, tx, ".A.x\\2ey", &other), 0);
	assert_true(guid_equal(&a, &other));
	assert_int_equal(mailbox_by_parts(d->s, tx, ".nothing", &other), -ENOENT);
	other = guid_new();
	assert_true(mailbox_wanted_dir(d->s, &t, &other, &dir) < 0);
	index_abort(tx);
	tree_release(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup_fs, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(names_and_places_in_maildirpp),
		FS_TEST(names_and_places_in_fs),
		TEST(new_is_told_from_cur),
		TEST(paths_that_leave_are_refused),
		TEST(parts_of_paths_are_joined),
		TEST(a_new_mailbox_appears_whole),
		TEST(a_new_mailbox_without_room_is_not_there),
		TEST(names_say_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
