/* test-settle.c - files written in place: published when they settle, edits that keep what was. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int settled(struct store_dir *d, const char *path)
{
	return store_settled(d->s, path, &d->me);
}

static void set_mtime(struct store_dir *d, const char *path, time_t at)
{
	struct timespec t[2] = {{.tv_sec = at}, {.tv_sec = at}};

	assert_int_equal(utimensat(d->s->mail_fd, path, t, 0), 0);
}

static void a_file_written_in_new_is_published_when_it_settles(void **state)
{
	struct store_dir *d = *state;

	outside_write(d, "new/1.x", "hello");
	assert_list(d, "");
	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_list(d, "INBOX/new/1.x");
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_list(d, "INBOX/new/1.x");
	store_consistent(d);
}

static void other_paths_are_nothing(void **state)
{
	struct store_dir *d = *state;
	uint64_t n = log_records(d);

	outside_write(d, "tmp/1.x", "a");
	outside_write(d, "local", "a");
	assert_int_equal(settled(d, "tmp/1.x"), 0);
	assert_int_equal(settled(d, "local"), 0);
	assert_int_equal(store_before_write(d->s, "local", true), 0);
	assert_int_equal(settled(d, "../x"), -EINVAL);
	assert_int_equal(log_records(d), n);
}

static void an_edit_is_a_new_message_under_the_old_name(void **state)
{
	struct store_dir *d = *state;
	struct entry old = {0}, new = {0};
	int fd;

	store_deliver(d, "", "1.x", "before");
	store_find(d, "1.x", &old);
	assert_int_equal(store_before_write(d->s, "new/1.x", true), 0);
	outside_write(d, "new/1.x", "after!!");
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_int_equal(log_last(d), REC_EDIT);
	store_find(d, "1.x", &new);
	assert_false(guid_equal(&old.copy.guid, &new.copy.guid));
	assert_int_equal(new.copy.size, 7);
	assert_true(new.copy.place.uid > old.copy.place.uid);
	assert_int_equal(deleted_count(d), 1);
	assert_int_equal(staging_count(d), 0);
	fd = store_open_body(d->s, &old.copy.guid, 0);
	assert_true(fd >= 0);
	close(fd);
	entry_release(&old);
	entry_release(&new);
	store_consistent(d);
}

/* A peer's put settled the edit while the program was in the middle of it. */
static void what_is_written_after_the_edit_is_an_edit_too(void **state)
{
	struct store_dir *d = *state;
	struct guid first, second, third;
	uint64_t n;

	store_deliver(d, "", "1.x", "before");
	assert_int_equal(store_before_write(d->s, "new/1.x", true), 0);
	outside_write(d, "new/1.x", "half");
	assert_int_equal(settled(d, "new/1.x"), 0);
	first = store_guid(d, "1.x");
	n = log_records(d);
	assert_int_equal(settled(d, "new/1.x"), 0); /* nothing since */
	assert_int_equal(log_records(d), n);
	outside_write(d, "new/1.x", "half, and the rest");
	assert_int_equal(settled(d, "new/1.x"), 0);
	second = store_guid(d, "1.x");
	assert_false(guid_equal(&first, &second));
	assert_int_equal(log_last(d), REC_EDIT);
	outside_write(d, "new/1.x", "half, and THE REST"); /* as long as it was: the time tells */
	set_mtime(d, "new/1.x", 7000);
	assert_int_equal(settled(d, "new/1.x"), 0);
	third = store_guid(d, "1.x");
	assert_false(guid_equal(&second, &third));
	store_consistent(d);
}

static void the_same_bytes_again_are_no_edit(void **state)
{
	struct store_dir *d = *state;
	struct guid g;
	struct digest digest;
	uint64_t n;

	store_deliver(d, "", "1.x", "same");
	g = store_guid(d, "1.x");
	assert_true(store_digest(d->s, &g, 0, &digest) >= 0);
	n = log_records(d);
	set_mtime(d, "new/1.x", 7000);
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_int_equal(log_records(d), n);
}

static void the_same_content_is_no_edit(void **state)
{
	struct store_dir *d = *state;
	struct guid before;
	uint64_t n;

	store_deliver(d, "", "1.x", "same");
	before = store_guid(d, "1.x");
	n = log_records(d);
	assert_int_equal(store_before_write(d->s, "new/1.x", true), 0);
	outside_write(d, "new/1.x", "same");
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_int_equal(log_records(d), n);
	struct guid after = store_guid(d, "1.x");
	assert_true(guid_equal(&before, &after));
	assert_int_equal(staging_count(d), 0);
}

/* Copies share an inode: writing one leaves the other as it was. */
static void an_edit_leaves_linked_copies_alone(void **state)
{
	struct store_dir *d = *state;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "before");
	assert_int_equal(store_link(d->s, "new/1.x", ".A/cur/1.x:2,", &d->me), 0);
	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	outside_write(d, "new/1.x", "after");
	assert_int_equal(settled(d, "new/1.x"), 0);
	assert_text(d, ".A/cur/1.x:2,", "before");
	assert_text(d, "new/1.x", "after");
	store_consistent(d);
}

static void a_rename_in_the_middle_of_an_edit_is_followed(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "before");
	assert_int_equal(store_before_write(d->s, "new/1.x", false), 0);
	outside_write(d, "new/1.x", "after");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,S"), 0);
	assert_int_equal(settled(d, "cur/1.x:2,S"), 0);
	assert_int_equal(log_last(d), REC_EDIT);
	store_consistent(d);
}

/* ---- stops ---- */

static int begin_edit(struct store_dir *d)
{
	return store_before_write(d->s, "new/1.x", true);
}

static int edit(struct store_dir *d)
{
	int err = begin_edit(d);

	if (err < 0)
		return err;
	outside_write(d, "new/1.x", "entirely new");
	return settled(d, "new/1.x");
}

static int half_an_edit(struct store_dir *d)
{
	int err = begin_edit(d);

	outside_write(d, "new/1.x", "bef"); /* a shorter prefix */
	return err;
}

static int written_edit(struct store_dir *d)
{
	int err = begin_edit(d);

	outside_write(d, "new/1.x", "entirely new");
	return err;
}

static void an_edit_that_had_not_begun_changes_nothing(void **state)
{
	struct store_dir *d = *state;
	struct stat before, after;
	uint64_t n;

	store_deliver(d, "", "1.x", "before");
	assert_int_equal(fchmodat(d->mail_fd, "new/1.x", 0640, 0), 0);
	struct timespec t[2] = {{1000, 0}, {1000, 0}};
	assert_int_equal(utimensat(d->mail_fd, "new/1.x", t, 0), 0);
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &before, 0), 0);
	n = log_records(d);
	store_dir_kill(d, begin_edit);
	store_dir_open(d);
	assert_int_equal(log_records(d), n);
	assert_text(d, "new/1.x", "before");
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &after, 0), 0);
	assert_int_equal(after.st_mtime, before.st_mtime);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(staging_count(d), 0);
	store_consistent(d);
}

static void a_half_written_edit_is_undone(void **state)
{
	struct store_dir *d = *state;
	struct stat before, after;
	struct guid was, is;

	store_deliver(d, "", "1.x", "before");
	was = store_guid(d, "1.x");
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &before, 0), 0);
	store_dir_kill(d, half_an_edit);
	store_dir_open(d);
	assert_text(d, "new/1.x", "before");
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &after, 0), 0);
	assert_int_equal(after.st_mtime, before.st_mtime); /* the date of arrival */
	is = store_guid(d, "1.x");
	assert_true(guid_equal(&was, &is));
	store_consistent(d);
}

static void a_whole_edit_is_finished(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "before");
	store_dir_kill(d, written_edit);
	store_dir_open(d);
	assert_int_equal(log_last(d), REC_EDIT);
	assert_text(d, "new/1.x", "entirely new");
	assert_int_equal(deleted_count(d), 1);
	store_consistent(d);
}

static void a_kill_at_any_step_keeps_one_of_both(void **state)
{
	struct store_dir *d = *state;
	bool killed = true;

	for (int n = 1; killed; n++) {
		char *text;

		store_dir_teardown(state);
		assert_int_equal(store_dir_setup(state), 0);
		d = *state;
		store_deliver(d, "", "1.x", "before");
		killed = store_dir_kill_at(d, n, edit);
		store_dir_open(d);
		store_consistent(d);
		text = tree_text(d, "new/1.x");
		assert_true(strcmp(text, "before") == 0 || strcmp(text, "entirely new") == 0);
		if (strcmp(text, "before") != 0)
			assert_int_equal(deleted_count(d), 1); /* what was is kept */
		free(text);
		assert_int_equal(staging_count(d), 0);
	}
}

static void what_nobody_knows_in_staging_is_not_thrown_away(void **state)
{
	struct store_dir *d = *state;
	int dir = dup(store_staging_fd(d->s)), fd;

	store_dir_close(d);
	fd = openat(dir, "edit-00112233445566778899aabbccddeeff.0", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "mail", 4), 4);
	close(fd);
	fd = openat(dir, "half-a-body", O_WRONLY | O_CREAT, 0600);
	close(fd);
	close(dir);
	store_dir_open(d);
	assert_int_equal(staging_count(d), 0);
	assert_int_equal(deleted_count(d), 1);
}

/* A folder was being removed; mail came into it at the last moment. */
static void mail_in_a_folder_that_went_is_salvaged(void **state)
{
	static const char *const forms[] = {"trash-00/new", "trash-01/cur", "trash-02"};
	struct store_dir *d = *state;

	store_deliver(d, "", "0.x", "another mail of this name");
	for (int i = 0; i < 3; i++) {
		char *path = mb_xasprintf("%s/%d.x", forms[i], i);
		int dir = dup(store_staging_fd(d->s)), fd;

		store_dir_close(d);
		assert_int_equal(at_mkdirs(dir, forms[i], 0700), 0);
		fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, "came late", 9), 9);
		close(fd);
		close(dir);
		free(path);
		store_dir_open(d);
		assert_int_equal(staging_count(d), 0);
		store_consistent(d);
	}
	char *list = store_list(d);
	assert_non_null(strstr(list, "1.x"));
	assert_non_null(strstr(list, "2.x"));
	free(list);
	assert_text(d, "new/0.x", "another mail of this name");
	assert_text(d, "new/1.x", "came late");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_file_written_in_new_is_published_when_it_settles),
		TEST(other_paths_are_nothing),
		TEST(an_edit_is_a_new_message_under_the_old_name),
		TEST(what_is_written_after_the_edit_is_an_edit_too),
		TEST(the_same_bytes_again_are_no_edit),
		TEST(the_same_content_is_no_edit),
		TEST(an_edit_leaves_linked_copies_alone),
		TEST(a_rename_in_the_middle_of_an_edit_is_followed),
		TEST(an_edit_that_had_not_begun_changes_nothing),
		TEST(a_half_written_edit_is_undone),
		TEST(a_whole_edit_is_finished),
		TEST(a_kill_at_any_step_keeps_one_of_both),
		TEST(what_nobody_knows_in_staging_is_not_thrown_away),
		TEST(mail_in_a_folder_that_went_is_salvaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
