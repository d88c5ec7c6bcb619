/* test-posix.c - what rename, link and unlink of local programs mean. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static int do_link(struct store_dir *d, const char *from, const char *to)
{
	return store_link(d->s, from, to, &d->me);
}

static int do_unlink(struct store_dir *d, const char *path)
{
	return store_unlink(d->s, path, &d->me);
}

static void a_rename_from_tmp_is_a_delivery(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	store_deliver(d, "", "1.x", "hello");
	assert_int_equal(log_last(d), REC_ARRIVE);
	store_find(d, "1.x", &e);
	assert_true(e.in_new && e.copy.recent);
	assert_int_equal(e.copy.size, 5);
	assert_int_equal(e.copy.place.uid, 1);
	assert_true(e.copy.received_ns > 0 && e.ordinal > 0);
	assert_int_equal(store_ordinal(d->s, "new/1.x"), e.ordinal);
	entry_release(&e);
	store_consistent(d);
}

static void a_link_from_tmp_is_a_delivery(void **state)
{
	struct store_dir *d = *state;

	outside_write(d, "tmp/1.x", "hello");
	assert_int_equal(do_link(d, "tmp/1.x", "new/1.x"), 0);
	assert_int_equal(do_unlink(d, "tmp/1.x"), 0);
	assert_list(d, "INBOX/new/1.x");
	assert_int_equal(log_last(d), REC_ARRIVE);
	assert_int_equal(deleted_count(d), 0);
}

static void a_delivery_may_carry_flags(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	outside_write(d, "tmp/1.x", "hello");
	assert_int_equal(store_move(d, "tmp/1.x", "cur/1.x:2,FS"), 0);
	store_find(d, "1.x:2,FS", &e);
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_FLAGGED) | FLAG_MASK(FLAG_SEEN));
	assert_string_equal(e.copy.place.base, "1.x");
	assert_false(e.copy.recent);
	entry_release(&e);
}

static void uids_are_given_in_order(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	store_deliver(d, "", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	assert_int_equal(do_unlink(d, "new/2.x"), 0);
	store_deliver(d, "", "3.x", "c");
	store_find(d, "3.x", &e);
	assert_int_equal(e.copy.place.uid, 3);
	entry_release(&e);
}

static void other_letters_are_a_flag_change(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct guid before;

	store_deliver(d, "", "1.x", "a");
	before = store_guid(d, "1.x");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,S"), 0);
	assert_int_equal(log_last(d), REC_FLAGS);
	assert_int_equal(store_move(d, "cur/1.x:2,S", "cur/1.x:2,F"), 0);
	store_find(d, "1.x:2,F", &e);
	assert_true(guid_equal(&e.copy.guid, &before));
	assert_int_equal(e.copy.flags.set, FLAG_MASK(FLAG_FLAGGED));
	assert_int_equal(e.copy.place.uid, 1);
	entry_release(&e);
}

static void new_to_cur_alone_is_no_change_of_flags(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,"), 0);
	assert_int_equal(log_last(d), REC_COPY_STATE);
	assert_list(d, "INBOX/cur/1.x:2,");
}

static void letters_are_keywords_by_name(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	outside_write(d, "dovecot-keywords", "0 work\n1 $Forwarded\n2 home\n");
	store_deliver(d, "", "1.x", "a");
	assert_int_equal(store_move(d, "new/1.x", "cur/1.x:2,acz"), 0);
	store_find(d, "1.x:2,acz", &e);
	assert_true(flags_find_keyword(&e.copy.flags, "work")->set);
	assert_true(flags_find_keyword(&e.copy.flags, "HOME")->set);
	entry_release(&e);
	assert_int_equal(store_move(d, "cur/1.x:2,acz", "cur/1.x:2,cz"), 0);
	store_find(d, "1.x:2,cz", &e);
	assert_false(flags_find_keyword(&e.copy.flags, "work")->set);
	assert_true(flags_find_keyword(&e.copy.flags, "home")->set);
	entry_release(&e);
}

/* Slots are each mailbox's own: Dovecot writes the letters of the target. */
static void letters_of_a_move_are_those_of_its_target(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};

	store_make_box(d, ".A");
	outside_write(d, "dovecot-keywords", "0 work\n1 home\n");
	outside_write(d, ".A/dovecot-keywords", "0 other\n3 work\n");
	outside_write(d, "tmp/1.x", "a");
	assert_int_equal(store_move(d, "tmp/1.x", "cur/1.x:2,ab"), 0);
	assert_int_equal(store_move(d, "cur/1.x:2,ab", ".A/cur/1.x:2,d"), 0);
	store_find(d, "1.x:2,d", &e);
	assert_true(flags_find_keyword(&e.copy.flags, "work")->set);
	assert_false(flags_find_keyword(&e.copy.flags, "home")->set);
	assert_null(flags_find_keyword(&e.copy.flags, "other"));
	entry_release(&e);
}

static void another_mailbox_is_a_move(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct guid before, box;

	store_make_box(d, ".A");
	store_deliver(d, "", "1.x", "a");
	before = store_guid(d, "1.x");
	box = store_box(d, "A");
	assert_int_equal(store_move(d, "new/1.x", ".A/cur/1.x:2,S"), 0);
	assert_int_equal(log_last(d), REC_MOVE);
	store_find(d, "1.x:2,S", &e);
	assert_true(guid_equal(&e.copy.guid, &before));
	assert_true(guid_equal(&e.copy.place.mailbox, &box));
	entry_release(&e);
	store_consistent(d);
}

static void an_unlink_is_one_rename_to_deleted(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	int fd;

	store_deliver(d, "", "1.x", "the body");
	store_find(d, "1.x", &e);
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_int_equal(log_last(d), REC_EXPUNGE);
	assert_list(d, "");
	assert_int_equal(deleted_count(d), 1);
	fd = store_open_body(d->s, &e.copy.guid, 0); /* kept for undo */
	assert_true(fd >= 0);
	close(fd);
	entry_release(&e);
}

/* Two bodies never get one name in deleted/, not even within one tick of the clock. */
static void kept_bodies_do_not_replace_each_other(void **state)
{
	struct store_dir *d = *state;

	for (int i = 0; i < 20; i++) {
		store_deliver(d, "", "1.x", "a");
		assert_int_equal(do_unlink(d, "new/1.x"), 0);
	}
	assert_int_equal(deleted_count(d), 20);
}

static void long_names_are_kept_too(void **state)
{
	struct store_dir *d = *state;
	char name[FNAME_MAX + 1], path[FNAME_MAX + 8];

	memset(name, 'n', FNAME_MAX);
	name[FNAME_MAX] = 0;
	store_deliver(d, "", name, "a");
	store_consistent(d);
	snprintf(path, sizeof(path), "new/%s", name);
	assert_int_equal(do_unlink(d, path), 0);
	assert_int_equal(deleted_count(d), 1);
}

static nlink_t n_names(struct store_dir *d, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(d->mail_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_nlink;
}

/* The one body in deleted/, as text; owned. */
static char *deleted_text(struct store_dir *d)
{
	char command[256];
	char *text = calloc(1, 100);
	FILE *f;

	snprintf(command, sizeof(command), "cat %s/deleted/*/*", d->dir);
	f = popen(command, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 99, f) > 0);
	pclose(f);
	return text;
}

/* What leaves the mailboxes, or has a name outside of them, is another file than the body that is kept. */
static void a_kept_body_is_nobody_elses_file(void **state)
{
	struct store_dir *d = *state;
	struct stat before, after;
	char *text;

	store_deliver(d, "", "1.x", "one");
	assert_int_equal(fstatat(d->mail_fd, "new/1.x", &before, 0), 0);
	assert_int_equal(store_move(d, "new/1.x", "gone"), 0);
	assert_int_equal(fstatat(d->mail_fd, "gone", &after, 0), 0);
	assert_true(before.st_ino == after.st_ino && after.st_nlink == 1);
	outside_write(d, "gone", "changed");
	text = deleted_text(d);
	assert_string_equal(text, "one");
	free(text);
	assert_int_equal(staging_count(d), 0);

	store_deliver(d, "", "2.x", "two");
	assert_int_equal(do_link(d, "new/2.x", "beside"), 0);
	assert_int_equal(do_unlink(d, "new/2.x"), 0);
	assert_int_equal(n_names(d, "beside"), 1);

	store_deliver(d, "", "3.x", "three");
	assert_int_equal(do_link(d, "new/3.x", "third"), 0);
	outside_write(d, "tmp/4.x", "four");
	assert_int_equal(store_move(d, "tmp/4.x", "new/3.x"), 0);
	assert_int_equal(n_names(d, "third"), 1);
	assert_int_equal(deleted_count(d), 3);
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	assert_list(d, "INBOX/new/3.x");
}

/* Hard links that are copies of the message share their file with a kept body: nothing is copied. */
static void a_kept_body_of_a_copy_is_shared(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "one");
	assert_int_equal(do_link(d, "new/1.x", "cur/2.x:2,"), 0);
	assert_int_equal(do_link(d, "new/1.x", "cur/3.x:2,"), 0);
	assert_int_equal(do_unlink(d, "new/1.x"), 0);
	assert_int_equal(do_unlink(d, "cur/2.x:2,"), 0);
	assert_true(n_names(d, "cur/3.x:2,") >= 2);
	store_consistent(d);
}

static void local_files_are_not_logged(void **state)
{
	struct store_dir *d = *state;
	uint64_t n = log_records(d);

	outside_write(d, "dovecot.index.tmp", "a");
	assert_int_equal(store_move(d, "dovecot.index.tmp", "dovecot.index"), 0);
	assert_int_equal(do_link(d, "dovecot.index", "dovecot.lock"), 0);
	assert_int_equal(do_unlink(d, "dovecot.lock"), 0);
	outside_write(d, "cur/.hidden", "a");
	assert_int_equal(do_unlink(d, "cur/.hidden"), 0);
	assert_int_equal(log_records(d), n);
}

static void only_files_become_messages(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(symlinkat("/etc/passwd", d->mail_fd, "tmp/link"), 0);
	assert_int_equal(mkfifoat(d->mail_fd, "tmp/fifo", 0600), 0);
	assert_int_equal(store_move(d, "tmp/link", "new/link"), 0);
	assert_int_equal(store_move(d, "tmp/fifo", "new/fifo"), 0);
	assert_list(d, "");
}

static void hostile_paths_are_refused(void **state)
{
	struct store_dir *d = *state;
	static const char *const bad[] = {"", "/etc/x", "../x", "cur/../../x", "cur//x", "a/./b"};

	store_deliver(d, "", "1.x", "a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(store_move(d, "new/1.x", bad[i]), -EINVAL);
		assert_int_equal(store_move(d, bad[i], "new/2.x"), -EINVAL);
		assert_int_equal(do_link(d, "new/1.x", bad[i]), -EINVAL);
		assert_int_equal(do_unlink(d, bad[i]), -EINVAL);
	}
	assert_int_equal(symlinkat("/tmp", d->mail_fd, "out"), 0);
	assert_true(store_move(d, "new/1.x", "out/1.x") < 0);
	assert_true(do_link(d, "new/1.x", "out/1.x") < 0);
	assert_list(d, "INBOX/new/1.x");
}

static void odd_names_are_kept(void **state)
{
	static const char *const odd[] = {"a b=c", "x:2,:2,S",	    "y;2,F", "z!2,S", "\xff\xfe",
					  "n\nl",  "1.x,S=999,W=1", "-rf",   "q\"'\\"};
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		store_deliver(d, "", odd[i], "");
	store_consistent(d);
	store_dir_reopen(d);
	store_consistent(d);
	store_dir_close(d);
	store_dir_drop(d, "index");
	store_dir_open(d);
	store_consistent(d);
}

/* ---- a step that fails ---- */

static int deliver(struct store_dir *d)
{
	return store_move(d, "tmp/2.x", "new/2.x");
}

static int flag(struct store_dir *d)
{
	return store_move(d, "new/1.x", "cur/1.x:2,S");
}

static int move(struct store_dir *d)
{
	return store_move(d, "new/1.x", ".A/cur/1.x:2,");
}

static int expunge(struct store_dir *d)
{
	return do_unlink(d, "new/1.x");
}

static int replace(struct store_dir *d)
{
	return store_move(d, "tmp/2.x", "new/1.x");
}

static int over(struct store_dir *d)
{
	return store_move(d, "new/3.x", "new/1.x");
}

static int copy(struct store_dir *d)
{
	return do_link(d, "new/1.x", ".A/cur/1.x:2,");
}

static int leave(struct store_dir *d)
{
	return store_move(d, "new/1.x", "gone");
}

static int link_move(struct store_dir *d)
{
	int err = do_link(d, "new/1.x", ".A/cur/1.x:2,");

	return err < 0 ? err : do_unlink(d, "new/1.x");
}

static int (*const changes[])(struct store_dir *) = {deliver, flag, move,  expunge,  replace,
						     over,    copy, leave, link_move};

static void clean(void **state, struct store_dir **d)
{
	void *fresh;

	store_dir_teardown(state);
	assert_int_equal(store_dir_setup(&fresh), 0);
	*state = fresh;
	*d = fresh;
	store_make_box(*d, ".A");
	store_deliver(*d, "", "1.x", "one");
	store_deliver(*d, "", "3.x", "three");
	outside_write(*d, "tmp/2.x", "two");
}

/* Every step of every change fails once with "no space": what the caller was told is true. */
static void a_step_that_fails_leaves_what_was(void **state)
{
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool hit = true;
		char *done;

		clean(state, &d);
		assert_true(changes[i](d) >= 0);
		done = store_list(d);
		for (int n = 1; hit; n++) {
			char *before, *after;
			struct scan_report r;
			int err;

			clean(state, &d);
			before = store_list(d);
			err = store_dir_fail_at(d, n, ENOSPC, changes[i], &hit);
			after = store_list(d);
			if (err < 0 && changes[i] != link_move)
				assert_string_equal(before, after);
			if (err >= 0) { /* a record may be missing: a scan finds it out */
				assert_int_equal(store_scan(d->s, false, &r), 0);
				free(after);
				after = store_list(d);
				assert_string_equal(after, done);
			}
			store_consistent(d);
			store_dir_reopen(d);
			store_consistent(d);
			assert_list(d, after);
			free(before);
			free(after);
		}
		free(done);
	}
}

/* The log takes the record and the index has no room: the change was made, and is told so.  What comes
 * after it says that there is no room, and changes nothing, until there is. */
static void a_change_that_only_the_index_lacks_was_made(void **state)
{
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct rlimit was, small;
		char *done, *after;

		clean(state, &d);
		assert_true(changes[i](d) >= 0);
		done = store_list(d);
		if (changes[i] == link_move) /* two calls */
			goto next;
		clean(state, &d);
		assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
		small = (struct rlimit){16384, was.rlim_max}; /* the log is smaller */
		signal(SIGXFSZ, SIG_IGN);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		int err = changes[i](d);
		bool other = tree_has(d, "new/3.x");
		int later = do_unlink(d, "new/3.x");
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
		assert_true(err >= 0);
		assert_true(later < 0 && tree_has(d, "new/3.x") == other);
		outside_write(d, "tmp/9.x", "nine");
		assert_int_equal(store_move(d, "tmp/9.x", "new/9.x"), 0);
		assert_int_equal(do_unlink(d, "new/9.x"), 0);
		after = store_list(d);
		assert_string_equal(after, done);
		free(after);
		store_consistent(d);
		store_dir_reopen(d);
		store_consistent(d);
		assert_list(d, done);
	next:
		free(done);
	}
}

/* Every change is cut before each of its steps, and right after the last: nothing is lost, and a
 * change that was logged is there. */
static void a_kill_at_any_step_loses_nothing(void **state)
{
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		bool killed = true;

		for (int n = 1; killed; n++) {
			bool one;

			clean(state, &d);
			killed = store_dir_kill_at(d, n, changes[i]);
			store_dir_open(d);
			store_consistent(d);
			one = tree_has(d, "new/1.x") || tree_has(d, "cur/1.x:2,S") ||
			      tree_has(d, ".A/cur/1.x:2,") || deleted_count(d) > 0;
			assert_true(one);
		}
	}
}

/* The log has the record, the index does not: as if the machine stopped between both. */
static void an_index_behind_the_log_catches_up(void **state)
{
	struct store_dir *d = *state;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		char *after;

		clean(state, &d);
		store_dir_close(d);
		store_dir_save_index(d);
		store_dir_kill(d, changes[i]);
		store_dir_open(d);
		after = store_list(d);
		store_dir_close(d);
		store_dir_restore_index(d);
		store_dir_kill(d, NULL);
		store_dir_open(d);
		store_consistent(d);
		assert_list(d, after);
		free(after);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_rename_from_tmp_is_a_delivery),
		TEST(a_link_from_tmp_is_a_delivery),
		TEST(a_delivery_may_carry_flags),
		TEST(uids_are_given_in_order),
		TEST(other_letters_are_a_flag_change),
		TEST(new_to_cur_alone_is_no_change_of_flags),
		TEST(letters_are_keywords_by_name),
		TEST(letters_of_a_move_are_those_of_its_target),
		TEST(another_mailbox_is_a_move),
		TEST(an_unlink_is_one_rename_to_deleted),
		TEST(kept_bodies_do_not_replace_each_other),
		TEST(long_names_are_kept_too),
		TEST(a_kept_body_is_nobody_elses_file),
		TEST(a_kept_body_of_a_copy_is_shared),
		TEST(local_files_are_not_logged),
		TEST(only_files_become_messages),
		TEST(hostile_paths_are_refused),
		TEST(odd_names_are_kept),
		TEST(a_step_that_fails_leaves_what_was),
		TEST(a_change_that_only_the_index_lacks_was_made),
		TEST(a_kill_at_any_step_loses_nothing),
		TEST(an_index_behind_the_log_catches_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
