/* test-store.c - a store is created, located, opened by one writer, closed cleanly. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/store-dir.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void a_new_store_has_an_empty_inbox(void **state)
{
	struct store_dir *d = *state;
	struct mailbox m;

	store_get_box(d, "INBOX", &m);
	assert_true(guid_equal(&m.guid, &GUID_INBOX));
	assert_true(m.selectable && m.uid_validity && m.uid_next == 1);
	mailbox_release(&m);
	assert_true(tree_has(d, "cur") && tree_has(d, "new") && tree_has(d, "tmp"));
	assert_list(d, "");
	assert_true(store_replica(d->s) != 0);
}

static void creating_needs_an_empty_directory(void **state)
{
	struct store_dir *d = *state;

	assert_int_equal(store_create(d->dir, LAYOUT_FS), -ENOTEMPTY);
	assert_true(tree_has(d, "cur"));
}

static int create_other(struct store_dir *d)
{
	char *dir = mb_xasprintf("%s/other", d->path);
	int err = store_create(dir, LAYOUT_MAILDIRPP);

	free(dir);
	return err;
}

static void a_failed_creation_leaves_an_empty_directory(void **state)
{
	struct store_dir *d = *state;
	char *dir = mb_xasprintf("%s/other", d->path);
	struct store *s;

	for (int n = 1; n < 200; n++) {
		bool hit = false;
		int err = store_dir_fail_at(d, n, ENOSPC, create_other, &hit);

		if (!hit) {
			assert_int_equal(err, 0);
			break;
		}
		if (err == 0) /* a step that may fail */
			assert_int_equal(at_remove_tree(d->fd, "other"), 0);
	}
	assert_int_equal(store_open(dir, STORE_READ, &s), 0);
	store_close(s);
	free(dir);
}

static void a_store_keeps_its_identity(void **state)
{
	struct store_dir *d = *state;
	uint64_t replica = store_replica(d->s);
	struct guid id = store_id(d->s), again;

	store_dir_reopen(d);
	again = store_id(d->s);
	assert_true(store_replica(d->s) == replica && guid_equal(&id, &again));
}

static void the_clock_never_goes_back(void **state)
{
	struct store_dir *d = *state;
	struct entry e = {0};
	struct stamp after;

	time_passes(3600);
	store_deliver(d, "", "1.x", "a");
	store_find(d, "1.x", &e);
	time_passes(-7200);
	store_dir_reopen(d);
	after = store_now(d->s);
	assert_true(stamp_compare(&after, &e.copy.place.at) > 0);
	entry_release(&e);
	time_passes(3600);
}

static void a_second_writer_is_locked_out(void **state)
{
	struct store_dir *d = *state;
	struct store *second;
	pid_t pid;
	int status;

	assert_int_equal(store_open(d->dir, STORE_WRITE, &second), MB_E_LOCKED);
	pid = fork();
	if (pid == 0)
		_exit(store_open(d->dir, STORE_WRITE, &second) == MB_E_LOCKED ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	store_deliver(d, "", "1.x", "the first goes on");
	assert_list(d, "INBOX/new/1.x");
}

static void a_reader_sees_what_the_writer_left(void **state)
{
	struct store_dir *d = *state;

	store_deliver(d, "", "1.x", "a");
	store_dir_close(d);
	assert_int_equal(store_open(d->dir, STORE_READ, &d->s), 0);
	assert_list(d, "INBOX/new/1.x");
	assert_int_equal(store_unlink(d->s, "new/1.x", &d->me), -EROFS);
	assert_true(tree_has(d, "new/1.x"));
}

static void a_store_that_others_may_write_is_refused(void **state)
{
	struct store_dir *d = *state;
	struct store *s;

	store_dir_close(d);
	assert_int_equal(chmod(d->dir, 0770), 0);
	assert_int_equal(store_open(d->dir, STORE_WRITE, &s), MB_E_UNSAFE);
	assert_int_equal(store_open(d->dir, STORE_READ, &s), MB_E_UNSAFE);
	assert_int_equal(chmod(d->dir, 0702), 0);
	assert_int_equal(store_open(d->dir, STORE_WRITE, &s), MB_E_UNSAFE);
	assert_int_equal(chmod(d->dir, 0755), 0);
	store_dir_open(d);
}

static void a_directory_that_is_no_store_is_refused(void **state)
{
	struct store_dir *d = *state;
	struct store *s;

	assert_int_equal(store_open(d->path, STORE_WRITE, &s), MB_E_NOT_STORE);
	assert_int_equal(store_open("/no/such/directory", STORE_WRITE, &s), MB_E_NOT_STORE);
	assert_int_equal(store_open("/dev/null", STORE_READ, &s), MB_E_NOT_STORE);
}

static void locating_gives_the_absolute_path(void **state)
{
	struct store_dir *d = *state;
	char *dir = NULL;

	assert_int_equal(store_locate(d->dir, &dir), 0);
	assert_string_equal(dir, d->dir);
	free(dir);
	assert_int_equal(store_locate(d->mail, &dir), MB_E_NOT_STORE);
	assert_true(store_locate("/no/such/directory", &dir) < 0);
}

static void closing_says_clean_and_nothing_is_read_again(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_deliver(d, "", "1.x", "a");
	time_passes(10);
	store_dir_reopen(d);
	store_dir_close(d);
	store_dir_open(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.dirs_read, 0);
	assert_int_equal(r.records, 0);
}

static void a_clean_store_goes_on_in_the_same_log_file(void **state)
{
	struct store_dir *d = *state;
	uint32_t sequence;

	store_deliver(d, "", "1.x", "a");
	sequence = log_sequence(store_log(d->s));
	store_dir_reopen(d);
	assert_int_equal(log_sequence(store_log(d->s)), sequence);
}

static int deliver_two(struct store_dir *d)
{
	store_deliver(d, "", "2.x", "bb");
	return 0;
}

static void a_killed_writer_leaves_no_lock(void **state)
{
	struct store_dir *d = *state;
	uint32_t sequence = log_sequence(store_log(d->s));

	store_dir_kill(d, deliver_two);
	store_dir_open(d);
	assert_true(log_sequence(store_log(d->s)) > sequence);
	assert_list(d, "INBOX/new/2.x");
	store_consistent(d);
}

static void an_empty_place_where_the_mail_was_expunges_nothing(void **state)
{
	struct store_dir *d = *state;
	struct scan_report r;

	store_make_box(d, ".A");
	store_deliver(d, ".A", "1.x", "a");
	store_deliver(d, "", "2.x", "b");
	store_dir_close(d);
	assert_int_equal(renameat(d->fd, "store/mail", d->fd, "unmounted"), 0);
	assert_int_equal(mkdirat(d->fd, "store/mail", 0700), 0);
	store_dir_open(d);
	store_dir_rescan(d, &r);
	assert_int_equal(r.held, 2);
	assert_int_equal(r.expunged, 0);
	assert_list(d, "A/new/1.x | INBOX/new/2.x");
	store_dir_close(d);
	store_dir_drop(d, "mail");
	assert_int_equal(renameat(d->fd, "unmounted", d->fd, "store/mail"), 0);
	store_dir_open(d);
	assert_list(d, "A/new/1.x | INBOX/new/2.x");
	store_consistent(d);
}

/* Kills the birth of a store at each step; what is left opens, or is no store. */
static void a_birth_can_be_killed_anywhere(void **state)
{
	struct store_dir *d = *state;
	char *dir = mb_xasprintf("%s/other", d->path);
	bool killed = true;

	for (int n = 1; killed && n < 200; n++) {
		struct store *s = NULL;
		int err;

		killed = store_dir_kill_at(d, n, create_other);
		err = store_open(dir, STORE_WRITE, &s);
		if (err != MB_E_NOT_STORE)
			assert_int_equal(err, 0);
		if (s) {
			struct node_info info;

			assert_int_equal(store_classify(s, "new", &info), 0);
			assert_int_equal(info.kind, NODE_NEW);
			store_close(s);
		}
		at_remove_tree(d->fd, "other");
	}
	assert_false(killed);
	free(dir);
}

static int note_steps(uint64_t step, const char *what, void *arg)
{
	char *steps = arg;

	(void)step;
	if (strcmp(what, "syncfs") == 0)
		strcat(steps, "tree ");
	else if (strcmp(what, "fdatasync") == 0)
		strcat(steps, "log ");
	return 0;
}

/* Where the file system does not keep the order by itself, files are flushed before their records. */
static void files_are_durable_before_their_records(void **state)
{
	struct store_dir *d = *state;
	char steps[256] = "";

	d->s->in_order = false;
	store_deliver(d, "", "1.a.host", "Subject: x\n\nx\n");
	io_set_hook(note_steps, steps);
	assert_int_equal(store_flush(d->s), 0);
	assert_string_equal(steps, "tree log ");
	assert_int_equal(store_flush(d->s), 0);
	assert_string_equal(steps, "tree log ");
	d->s->in_order = true;
	store_deliver(d, "", "2.a.host", "Subject: x\n\nx\n");
	assert_int_equal(store_flush(d->s), 0);
	io_set_hook(NULL, NULL);
	assert_string_equal(steps, "tree log log ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_store_has_an_empty_inbox),
		TEST(creating_needs_an_empty_directory),
		TEST(a_failed_creation_leaves_an_empty_directory),
		TEST(a_store_keeps_its_identity),
		TEST(the_clock_never_goes_back),
		TEST(a_second_writer_is_locked_out),
		TEST(a_reader_sees_what_the_writer_left),
		TEST(a_store_that_others_may_write_is_refused),
		TEST(a_directory_that_is_no_store_is_refused),
		TEST(locating_gives_the_absolute_path),
		TEST(closing_says_clean_and_nothing_is_read_again),
		TEST(a_clean_store_goes_on_in_the_same_log_file),
		TEST(a_killed_writer_leaves_no_lock),
		TEST(an_empty_place_where_the_mail_was_expunges_nothing),
		TEST(a_birth_can_be_killed_anywhere),
		TEST(files_are_durable_before_their_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
