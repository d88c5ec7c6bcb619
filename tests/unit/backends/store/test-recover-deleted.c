/* test-recover-deleted.c - a kept link of a message that lives is no sign of its expunge. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void keep(struct store_dir *d, const char *name, bool link)
{
	struct entry e = {0};
	char *path = mb_xasprintf("new/%s", name);

	store_find(d, name, &e);
	assert_int_equal(file_to_deleted(d->s, path, &e, link, NULL), 0);
	entry_release(&e);
	free(path);
}

static int link_it(struct store_dir *d)
{
	store_deliver(d, "", "1.x", "body");
	keep(d, "1.x", true);
	return 0;
}

static void a_link_that_a_stop_left_goes(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, link_it);
	store_dir_open(d);
	assert_int_equal(deleted_count(d), 0);
	assert_list(d, "INBOX/new/1.x");
	store_dir_close(d);
	outside_unlink(d, "new/1.x");
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "INBOX/new/1.x lost"); /* and not expunged */
}

static int take_it(struct store_dir *d)
{
	store_deliver(d, "", "1.x", "body");
	keep(d, "1.x", false);
	return 0;
}

static void a_body_that_was_taken_away_stays(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, take_it);
	store_dir_open(d);
	assert_int_equal(deleted_count(d), 1);
	assert_list(d, "");
}

/* Of two copies with one file only one is gone. */
static int take_one_of_two(struct store_dir *d)
{
	store_deliver(d, "", "1.x", "body");
	assert_int_equal(store_link(d->s, "new/1.x", "cur/2.x:2,", &d->me), 0);
	keep(d, "1.x", false);
	return 0;
}

static void a_copy_that_was_taken_away_stays(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, take_one_of_two);
	store_dir_open(d);
	assert_int_equal(deleted_count(d), 1);
	assert_list(d, "INBOX/cur/2.x:2,");
}

/* Replaced by a rename whose record is missing: the link is all that is left of it. */
static int replace_it(struct store_dir *d)
{
	link_it(d);
	outside_write(d, "tmp/other", "another");
	outside_rename(d, "tmp/other", "new/1.x");
	return 0;
}

static void what_was_replaced_stays(void **state)
{
	struct store_dir *d = *state;

	store_dir_kill(d, replace_it);
	store_dir_open(d);
	assert_int_equal(deleted_count(d), 1);
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "another");
	store_consistent(d);
}

static void names_of_others_are_left_alone(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "body");
	assert_int_equal(mkdirat(d->fd, "store/deleted/x", 0700), 0);
	assert_int_equal(linkat(d->mail_fd, "new/1.x", d->fd, "store/deleted/x/mine", 0), 0);
	assert_int_equal(recover_deleted(d->s), 0);
	assert_int_equal(deleted_count(d), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_link_that_a_stop_left_goes),	TEST(a_body_that_was_taken_away_stays),
		TEST(a_copy_that_was_taken_away_stays), TEST(what_was_replaced_stays),
		TEST(names_of_others_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
