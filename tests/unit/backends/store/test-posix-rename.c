/* test-posix-rename.c - renames of local programs that end on a name that is there, or outside. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

/* As programs that edit do: what is not in the name stays, what was there is kept. */
static void a_file_renamed_over_a_message_is_an_edit(void **state)
{
	struct store_dir *d = *state;
	struct entry old = {0}, now = {0};

	outside_write(d, "tmp/1.x", "old");
	assert_int_equal(store_move(d, "tmp/1.x", "cur/1.x:2,S"), 0);
	store_find(d, "1.x:2,S", &old);
	outside_write(d, "tmp/2.x", "newer");
	assert_int_equal(store_move(d, "tmp/2.x", "cur/1.x:2,S"), 0);
	assert_int_equal(log_last(d), REC_EDIT);
	store_find(d, "1.x:2,S", &now);
	assert_false(guid_equal(&old.copy.guid, &now.copy.guid));
	assert_int_equal(now.copy.flags.set, FLAG_MASK(FLAG_SEEN));
	assert_int_equal(now.copy.received_ns, old.copy.received_ns);
	assert_true(now.copy.place.uid > old.copy.place.uid);
	entry_release(&old);
	entry_release(&now);
	assert_list(d, "INBOX/cur/1.x:2,S");
	assert_text(d, "cur/1.x:2,S", "newer");
	assert_int_equal(deleted_count(d), 1);
	store_consistent(d);
}

static void the_same_bytes_renamed_over_a_message_change_nothing(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	store_deliver(d, "", "1.x", "old");
	outside_write(d, "tmp/1.x", "old");
	n = log_records(d);
	assert_int_equal(store_move(d, "tmp/1.x", "new/1.x"), 0);
	assert_int_equal(log_records(d), n);
	assert_list(d, "INBOX/new/1.x");
	assert_int_equal(deleted_count(d), 0);
	store_consistent(d);
	store_dir_reopen(d);
	assert_int_equal(log_last(d), REC_ARRIVE);
}

static void a_message_renamed_over_another_takes_its_place(void **state)
{
	struct store_dir *d = *state;
	struct guid before, now;

	store_deliver(d, "", "1.x", "old");
	store_deliver(d, "", "2.x", "newer");
	before = store_guid(d, "2.x");
	assert_int_equal(store_move(d, "new/2.x", "new/1.x"), 0);
	now = store_guid(d, "1.x");
	assert_true(guid_equal(&before, &now));
	assert_list(d, "INBOX/new/1.x");
	assert_text(d, "new/1.x", "newer");
	assert_int_equal(deleted_count(d), 1);
	store_consistent(d);
}

static void noreplace_replaces_nothing(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	store_deliver(d, "", "1.x", "old");
	outside_write(d, "tmp/1.x", "newer");
	n = log_records(d);
	assert_int_equal(store_rename(d->s, "tmp/1.x", "new/1.x", RENAME_NOREPLACE, &d->me),
			 -EEXIST);
	assert_int_equal(log_records(d), n);
	assert_text(d, "new/1.x", "old");
	assert_int_equal(deleted_count(d), 0);
}

static void exchange_is_for_local_files(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	assert_int_equal(store_rename(d->s, "new/1.x", "new/2.x", RENAME_EXCHANGE, &d->me),
			 -EINVAL);
	outside_write(d, "a", "a");
	outside_write(d, "b", "b");
	assert_int_equal(store_rename(d->s, "a", "b", RENAME_EXCHANGE, &d->me), 0);
	assert_text(d, "a", "b");
}

/* POSIX: two names of one file; rename does nothing. */
static void renaming_onto_its_own_link_changes_nothing(void **state)
{
	struct store_dir *d = *state;
	uint64_t n;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_link(d->s, "new/1.x", ".A/cur/1.x:2,", &d->me), 0);
	n = log_records(d);
	assert_int_equal(store_move(d, "new/1.x", ".A/cur/1.x:2,"), 0);
	assert_int_equal(log_records(d), n);
	assert_list(d, "A/cur/1.x:2, | INBOX/new/1.x");
	store_consistent(d);
}

static void leaving_the_mailboxes_is_an_expunge(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	assert_int_equal(store_move(d, "new/1.x", "elsewhere"), 0);
	assert_int_equal(store_move(d, "new/2.x", "tmp/2.x"), 0);
	assert_list(d, "");
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_text(d, "elsewhere", "a");
	assert_int_equal(deleted_count(d), 2);
	assert_int_equal(store_move(d, "elsewhere", "cur/1.x:2,"), 0);
	assert_list(d, "INBOX/cur/1.x:2,");
}

static uint64_t ino_of(struct store_dir *d, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(d->mail_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_ino;
}

/* So that the mount need not ask again what the store has just looked at. */
static void a_rename_of_a_message_tells_what_its_file_is(void **state)
{
	struct store_dir *d = *state;
	struct stat seen;

	outside_write(d, "tmp/1.x", "body");
	assert_int_equal(store_rename_seen(d->s, "tmp/1.x", "tmp/2.x", 0, &d->me, &seen), 0);
	assert_int_equal(seen.st_ino, 0);
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_rename_seen(d->s, "new/1.x", "cur/1.x:2,S", 0, &d->me, &seen), 0);
	assert_int_equal(seen.st_ino, ino_of(d, "cur/1.x:2,S"));
	assert_int_equal(seen.st_size, 1);
	assert_int_equal(store_rename_seen(d->s, "new/none", "cur/n:2,", 0, &d->me, &seen),
			 -ENOENT);
	assert_int_equal(seen.st_ino, 0);
	assert_int_equal(store_rename_seen(d->s, "cur", "elsewhere", 0, &d->me, &seen), -EPERM);
	store_consistent(d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_file_renamed_over_a_message_is_an_edit),
		TEST(the_same_bytes_renamed_over_a_message_change_nothing),
		TEST(a_message_renamed_over_another_takes_its_place),
		TEST(noreplace_replaces_nothing),
		TEST(exchange_is_for_local_files),
		TEST(renaming_onto_its_own_link_changes_nothing),
		TEST(leaving_the_mailboxes_is_an_expunge),
		TEST(a_rename_of_a_message_tells_what_its_file_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
