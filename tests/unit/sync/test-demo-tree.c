/*
 * test-demo-tree.c - when two mail trees are the same to a reader.  Mail from demo-mail.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/mem.h"
#include "sync/demo-mail.h"
#include "sync/demo-tree.h"
#include "tests/support/tmp-dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *below(const struct tmp_dir *d, const char *name)
{
	return mb_xasprintf("%s/%s", d->path, name);
}

static int make_tree(const struct tmp_dir *d, const char *name)
{
	assert_int_equal(mkdirat(d->fd, name, 0700), 0);
	int fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(demo_make_folders(fd), 0);
	return fd;
}

static size_t difference(const struct tmp_dir *d)
{
	struct tree_list a, b;
	char *x = below(d, "a"), *y = below(d, "b");

	assert_int_equal(tree_list_read(x, &a), 0);
	assert_int_equal(tree_list_read(y, &b), 0);
	size_t n = tree_list_compare(&a, &b, 0);
	assert_int_equal(n == 0, tree_list_compare(&b, &a, 0) == 0);
	tree_list_release(&a);
	tree_list_release(&b);
	free(x);
	free(y);
	return n;
}

static void filled_trees_are_equal_and_large_enough(void **state)
{
	struct tmp_dir *d = *state;
	int a = make_tree(d, "a"), b = make_tree(d, "b");
	struct tree_list t;
	char *path = below(d, "a");

	assert_int_equal(demo_fill(a), 0);
	assert_int_equal(demo_fill(b), 0);
	assert_int_equal(difference(d), 0);
	assert_int_equal(tree_list_read(path, &t), 0);
	assert_int_equal(t.n, DEMO_MAILS);
	assert_int_equal(t.folders, 5);
	tree_list_release(&t);
	free(path);
	close(a);
	close(b);
}

static void deliver(int root, const char *folder, const char *base, const char *text)
{
	struct buf mail BUF_AUTO = BUF_INIT;

	buf_put(&mail, text, strlen(text));
	assert_int_equal(demo_deliver(root, folder, base, &mail), 0);
}

static void each_kind_of_difference_is_seen(void **state)
{
	struct tmp_dir *d = *state;
	int a = make_tree(d, "a"), b = make_tree(d, "b");

	deliver(a, "", "1.x", "one");
	assert_int_equal(difference(d), 1);
	deliver(b, "", "1.x", "one");
	assert_int_equal(difference(d), 0);
	/* Whether a program has looked is local; so are files that are no messages. */
	assert_int_equal(renameat(a, "new/1.x", a, "cur/1.x:2,"), 0);
	close(openat(a, "cur/.hidden", O_CREAT | O_WRONLY, 0600));
	close(openat(a, "notes", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(difference(d), 0);
	assert_int_equal(renameat(a, "cur/1.x:2,", a, "cur/1.x:2,S"), 0);
	assert_int_equal(difference(d), 2);
	assert_int_equal(renameat(b, "new/1.x", b, "cur/1.x:2,S"), 0);
	assert_int_equal(difference(d), 0);
	/* Same name and size, other bytes. */
	deliver(a, ".Work", "2.x", "two");
	deliver(b, ".Work", "2.x", "TWO");
	assert_int_equal(difference(d), 2);
	assert_int_equal(unlinkat(a, ".Work/new/2.x", 0), 0);
	assert_int_equal(unlinkat(b, ".Work/new/2.x", 0), 0);
	assert_int_equal(renameat(b, ".Sent", b, "Sent"), 0); /* no folder any more */
	assert_int_equal(difference(d), 1);
	close(a);
	close(b);
}

static void a_message_is_found_by_its_base(void **state)
{
	struct tmp_dir *d = *state;
	int a = make_tree(d, "a");
	char *path = below(d, "a"), *expect = below(d, "a/.Lists/new/1.x");

	deliver(a, ".Lists", "1.x", "one");
	char *found = tree_find_message(path, "1.x");
	assert_string_equal(found, expect);
	free(found);
	assert_null(tree_find_message(path, "2.x"));
	free(path);
	free(expect);
	close(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmp_dir_setup, tmp_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(filled_trees_are_equal_and_large_enough),
		T(each_kind_of_difference_is_seen),
		T(a_message_is_found_by_its_base),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
