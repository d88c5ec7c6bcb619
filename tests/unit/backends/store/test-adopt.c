/* test-adopt.c - an existing Maildir becomes a store in place. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void write_in(int fd, const char *path, const char *text)
{
	int f = openat(fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(f, text, strlen(text)), strlen(text));
	close(f);
}

/* A Maildir with two folders beside the store of the test. */
static char *make_maildir(struct store_dir *d)
{
	static const char *const dirs[] = {"M",	   "M/cur",    "M/new",	   "M/tmp",
					   "M/.A", "M/.A/cur", "M/.A/new", "M/.A/tmp"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		assert_int_equal(mkdirat(d->fd, dirs[i], 0700), 0);
	write_in(d->fd, "M/new/1.x", "one");
	write_in(d->fd, "M/.A/cur/2.x:2,S", "two");
	return mb_xasprintf("%s/M", d->path);
}

static bool exists(struct store_dir *d, const char *path)
{
	struct stat st;

	return fstatat(d->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The adopted store, open in place of the test's own. */
static void open_it(struct store_dir *d, const char *dir)
{
	store_dir_close(d);
	close(d->mail_fd);
	d->mail_fd = openat(d->fd, "M", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(d->dir, sizeof(d->dir), "%s", dir);
	store_dir_open(d);
}

static void state_goes_to_a_sibling(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *dir = NULL, *located = NULL;

	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), 0);
	assert_non_null(strstr(dir, "/M.mailbraid"));
	assert_true(exists(d, "M/.mailbraid") && exists(d, "M.mailbraid/log"));
	assert_false(exists(d, "M.mailbraid/mail"));
	assert_int_equal(store_locate(maildir, &located), 0);
	assert_string_equal(located, dir);
	open_it(d, dir);
	assert_list(d, "A/cur/2.x:2,S | INBOX/new/1.x");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), 0);
	store_consistent(d);
	free(maildir);
	free(dir);
	free(located);
}

static void state_may_go_elsewhere(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *where = mb_xasprintf("%s/state", d->path), *dir = NULL;

	assert_int_equal(store_adopt(maildir, where, LAYOUT_MAILDIRPP, &dir), 0);
	assert_string_equal(dir, where);
	open_it(d, dir);
	assert_list(d, "A/cur/2.x:2,S | INBOX/new/1.x");
	free(maildir);
	free(where);
	free(dir);
}

static void the_mail_is_as_it_was(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *dir = NULL;
	struct stat before, after;

	assert_int_equal(fstatat(d->fd, "M/new/1.x", &before, 0), 0);
	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), 0);
	assert_int_equal(fstatat(d->fd, "M/new/1.x", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_mtime, after.st_mtime);
	free(maildir);
	free(dir);
}

static void what_is_no_maildir_is_refused(void **state)
{
	struct store_dir *d = *state;
	char *plain = mb_xasprintf("%s/plain", d->path), *dir = NULL;

	assert_int_equal(store_adopt(plain, NULL, LAYOUT_MAILDIRPP, &dir), -ENOENT);
	assert_int_equal(mkdirat(d->fd, "plain", 0700), 0);
	assert_int_equal(store_adopt(plain, NULL, LAYOUT_MAILDIRPP, &dir), MB_E_NOT_MAILDIR);
	assert_false(exists(d, "plain.mailbraid"));
	free(plain);
}

static void nobody_adopts_twice(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *other = mb_xasprintf("%s/other", d->path), *dir = NULL;

	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), 0);
	free(MB_TAKE(dir));
	assert_int_equal(store_adopt(maildir, other, LAYOUT_MAILDIRPP, &dir), -EEXIST);
	assert_false(exists(d, "other"));
	free(maildir);
	free(other);
}

static void a_state_directory_that_is_there_is_left_alone(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *dir = NULL;

	assert_int_equal(mkdirat(d->fd, "M.mailbraid", 0700), 0);
	write_in(d->fd, "M.mailbraid/precious", "mine");
	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), -EEXIST);
	assert_true(exists(d, "M.mailbraid/precious"));
	assert_false(exists(d, "M/.mailbraid"));
	free(maildir);
}

/* A state inside the tree would be mail to every program that reads it. */
static void the_state_is_not_inside_the_maildir(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *in = mb_xasprintf("%s/.state", maildir), *dir = NULL;

	assert_int_equal(store_adopt(maildir, in, LAYOUT_MAILDIRPP, &dir), -EINVAL);
	assert_false(exists(d, "M/.state"));
	assert_false(exists(d, "M/.mailbraid"));
	free(maildir);
	free(in);
}

/* The config is a text of lines. */
static void a_path_with_a_line_break_is_refused(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *odd = mb_xasprintf("%s/M\nmail=x", d->path), *dir = NULL;

	assert_int_equal(rename(maildir, odd), 0);
	assert_int_equal(store_adopt(odd, NULL, LAYOUT_MAILDIRPP, &dir), MB_E_NAME);
	free(maildir);
	free(odd);
}

/* A copy of the tree is not the store: it points to the state of another. */
static void a_copy_of_the_tree_is_no_store(void **state)
{
	struct store_dir *d = *state;
	char *maildir = make_maildir(d), *dir = NULL, *located = NULL;

	assert_int_equal(store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir), 0);
	assert_int_equal(renameat(d->fd, "M", d->fd, "M2"), 0);
	char *moved = mb_xasprintf("%s/M2", d->path);
	assert_int_equal(store_locate(moved, &located), MB_E_NOT_STORE);
	free(moved);
	free(maildir);
	free(dir);
}

static int adopt(struct store_dir *d)
{
	char *maildir = mb_xasprintf("%s/M", d->path), *dir = NULL;
	int err = store_adopt(maildir, NULL, LAYOUT_MAILDIRPP, &dir);

	free(maildir);
	free(dir);
	return err;
}

static void a_step_that_fails_leaves_nothing_behind(void **state)
{
	struct store_dir *d = *state;
	bool hit = true;

	free(make_maildir(d));
	for (int n = 1; hit; n++) {
		int err = store_dir_fail_at(d, n, ENOSPC, adopt, &hit);

		assert_true(exists(d, "M/new/1.x") && exists(d, "M/.A/cur/2.x:2,S"));
		if (err == 0 && hit) { /* a step that may fail: begin again */
			assert_int_equal(unlinkat(d->fd, "M/.mailbraid", 0), 0);
			assert_int_equal(at_remove_tree(d->fd, "M.mailbraid"), 0);
		} else if (hit) {
			assert_false(exists(d, "M/.mailbraid"));
			assert_false(exists(d, "M.mailbraid"));
		}
	}
	assert_true(exists(d, "M/.mailbraid"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(state_goes_to_a_sibling),
		TEST(state_may_go_elsewhere),
		TEST(the_mail_is_as_it_was),
		TEST(what_is_no_maildir_is_refused),
		TEST(nobody_adopts_twice),
		TEST(a_state_directory_that_is_there_is_left_alone),
		TEST(the_state_is_not_inside_the_maildir),
		TEST(a_path_with_a_line_break_is_refused),
		TEST(a_copy_of_the_tree_is_no_store),
		TEST(a_step_that_fails_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
