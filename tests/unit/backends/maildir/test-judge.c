/* What it means that a file is there that was not, or is not that was. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void moves_keep_the_message(void **state)
{
	struct foreign *f = *state;
	struct guid x, one, two;

	memory_create(f->local, &GUID_ZERO, "X", &x);
	foreign_write(f, "cur/1.a.host,U=5:2,S", "one\n");
	two = local_deliver(f, GUID_INBOX, "two\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	foreign_rename(f, "cur/1.a.host,U=5:2,S", ".X/cur/1.a.host,U=5:2,S");
	memory_move(f->local, &two, 0, &x);
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ""), 0);
	assert_int_equal(foreign_count(f, ".X"), 2);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
	assert_true(guid_equal(&local_find(f, "one\n")->place.mailbox, &x));
}

static void what_both_have_is_paired(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_mkdir(f, ".Work");
	for (int i = 0; i < 20; i++) {
		char path[64], text[32];

		snprintf(path, sizeof(path), ".Work/cur/%d.x.host:2,", i);
		snprintf(text, sizeof(text), "message %d\n", i / 2); /* twins */
		foreign_write(f, path, text);
	}
	memory_create(f->local, &GUID_ZERO, "Work", &g);
	for (int i = 0; i < 20; i++) {
		char text[32];

		snprintf(text, sizeof(text), "message %d\n", i / 2);
		local_deliver(f, g, text);
	}
	foreign_sync(f);
	assert_int_equal(local_live(f), 20);
	assert_int_equal(foreign_count(f, ".Work"), 20);
	assert_true(foreign_exists(f, ".Work/cur/0.x.host:2,"));
}

/* Another file under the old name is another message. */
static void an_edit_is_a_new_message(void **state)
{
	struct foreign *f = *state;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	foreign_write(f, "tmp/x", "one, edited\n");
	foreign_rename(f, "tmp/x", "cur/1.a.host:2,S");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_false(guid_equal(&local_find(f, "one, edited\n")->guid, &one));
	assert_true(foreign_exists(f, "cur/1.a.host:2,S"));
}

static void edit(struct foreign *f, const char *name, const char *text)
{
	foreign_write(f, "tmp/x", text);
	foreign_rename(f, "tmp/x", name);
}

/* Rows 29 and 30: also when the sync that told of the edit was stopped, and it is told again. */
static void an_edit_meets_a_flag(void **state)
{
	for (int stop = 0; stop < 4; stop++) {
		struct foreign *f = *state;
		struct guid one;

		if (stop) {
			assert_int_equal(foreign_teardown(state), 0);
			assert_int_equal(foreign_setup(state), 0);
			f = *state;
		}
		foreign_write(f, "cur/1.a.host:2,S", "one\n");
		foreign_sync(f);
		one = local_find(f, "one\n")->guid;
		edit(f, "cur/1.a.host:2,S", "one, edited\n");
		memory_flags(f->local, &one, 0, FLAG_MASK(FLAG_FLAGGED), 0);
		f->stop_after = stop;
		if (stop)
			foreign_try(f);
		f->stop_after = 0;
		foreign_sync(f);
		assert_int_equal(local_live(f), 1);
		assert_true(local_find(f, "one, edited\n")->flags.set & FLAG_MASK(FLAG_FLAGGED));
		MB_AUTO_FREE char *letters = foreign_letters(f, "", "one, edited\n");
		assert_string_equal(letters, "FS");
	}
}

static void an_edit_meets_an_expunge(void **state)
{
	for (int stop = 0; stop < 3; stop++) {
		struct foreign *f = *state;
		struct guid one;

		if (stop) {
			assert_int_equal(foreign_teardown(state), 0);
			assert_int_equal(foreign_setup(state), 0);
			f = *state;
		}
		foreign_write(f, "cur/1.a.host:2,S", "one\n");
		foreign_sync(f);
		one = local_find(f, "one\n")->guid;
		edit(f, "cur/1.a.host:2,S", "one, edited\n");
		memory_expunge(f->local, &one, 0);
		f->stop_after = stop;
		if (stop)
			foreign_try(f);
		f->stop_after = 0;
		assert_int_equal(foreign_try(f), 0);
		assert_true(stop || f->last.n_notices == 1);
		foreign_sync(f);
		assert_int_equal(local_live(f), 1);
		assert_false(guid_equal(&local_find(f, "one, edited\n")->guid, &one));
		assert_int_equal(foreign_count(f, ""), 1);
	}
}

/* Edited here, expunged there: said, and the new content is in both. */
static void an_expunge_meets_an_edit(void **state)
{
	struct foreign *f = *state;
	struct guid one, two;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	assert_int_equal(memory_edit(f->local, &one, 0, "one, edited\n", 12, &two), 0);
	foreign_unlink(f, "cur/1.a.host:2,S");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.n_notices, 1);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	MB_AUTO_FREE char *path = foreign_find(f, "", "one, edited\n");
	assert_non_null(path);
}

/* The same mail expunged by both, in numbers: nothing is for the guard, nothing is said. */
static void many_expunged_by_both_are_not_held(void **state)
{
	struct foreign *f = *state;
	struct guid g[20];

	for (int i = 0; i < 20; i++) {
		char name[32], text[32];

		snprintf(name, sizeof(name), "cur/%d.a.host:2,S", i);
		snprintf(text, sizeof(text), "message %d\n", i);
		foreign_write(f, name, text);
		foreign_sync(f);
		g[i] = local_find(f, text)->guid;
	}
	for (int i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "cur/%d.a.host:2,S", i);
		foreign_unlink(f, name);
		memory_expunge(f->local, &g[i], 0);
	}
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 0);
	assert_int_equal(f->last.n_notices, 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
}

/* The map was cut while a file got another GUID: it has two, and is one message all the same. */
static void one_file_under_two_guids(void **state)
{
	struct foreign *f = *state;
	struct peer_entry twin = {.state = PEER_ENTRY_INTENT, .mailbox = GUID_INBOX};
	struct backend *b;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	struct maildir *m = maildir_of(b);
	assert_int_equal(md_load(m), 0);
	const struct md_file *file = md_find(m, &one, 0);
	assert_non_null(file);
	twin.guid = guid_new();
	twin.path = file->key;
	twin.ino = file->ino;
	twin.size = file->size;
	twin.mtimes[0] = file->mtime_ns;
	twin.mtimes[1] = (int64_t)((uint64_t)(KIND_IN | KIND_FRESH) << KIND_SHIFT);
	twin.placed_at = MD_BIRTH(m);
	assert_int_equal(md_batch_begin(m), 0);
	assert_int_equal(md_batch_entry(m, &twin), 0);
	assert_int_equal(md_batch_end(m, 0), 0);
	backend_close(b);
	f->full = true;
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
	assert_int_equal(foreign_count(f, ""), 1);
}

/* A file cut short is damage, not an edit. */
static void a_shorter_file_is_left_alone(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "cur/1.a.host:2,S", "one and more\n");
	foreign_sync(f);
	foreign_write(f, "tmp/x", "one an");
	foreign_rename(f, "tmp/x", "cur/1.a.host:2,S");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_live(f), 1);
	local_find(f, "one and more\n");
}

/* What is shorter and no part of the old body is an edit, and no expunge takes it away. */
static void a_shorter_edit_is_a_new_message(void **state)
{
	struct foreign *f = *state;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,S", "one and more\n");
	foreign_sync(f);
	one = local_find(f, "one and more\n")->guid;
	foreign_write(f, "tmp/x", "two\n");
	foreign_rename(f, "tmp/x", "cur/1.a.host:2,S");
	memory_expunge(f->local, &one, 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_false(guid_equal(&local_find(f, "two\n")->guid, &one));
	foreign_write(f, "tmp/x", "3\n");
	foreign_rename(f, "tmp/x", "cur/1.a.host:2,S");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	local_find(f, "3\n");
}

/* Written on in place, which no directory shows, and expunged at the local side. */
static void an_expunge_leaves_what_grew(void **state)
{
	struct foreign *f = *state;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	foreign_write(f, "cur/1.a.host:2,S", "one and more\n");
	memory_expunge(f->local, &one, 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_int_equal(foreign_count(f, ""), 1);
	local_find(f, "one and more\n");
}

static void damage_is_not_expunged(void **state)
{
	struct foreign *f = *state;
	struct guid one;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	foreign_write(f, "tmp/x", "");
	foreign_rename(f, "tmp/x", "cur/1.a.host:2,S");
	memory_expunge(f->local, &one, 0);
	foreign_try(f);
	assert_int_equal(f->last.errors, 1);
	assert_int_equal(f->last.first_error, MB_E_DAMAGED);
	assert_true(foreign_exists(f, "cur/1.a.host:2,S"));
}

/* Another base name in the same folder (mrefile), another folder with another name (afew). */
static void a_new_name_is_the_same_message(void **state)
{
	struct foreign *f = *state;
	struct guid one, two;

	foreign_mkdir(f, ".X");
	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_write(f, "cur/2.a.host:2,", "two\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	two = local_find(f, "two\n")->guid;
	foreign_rename(f, "cur/1.a.host:2,", "cur/other.host:2,S");
	foreign_rename(f, "cur/2.a.host:2,", ".X/cur/uuid:2,");
	foreign_sync(f);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
	assert_int_equal(local_find(f, "one\n")->flags.set, FLAG_MASK(FLAG_SEEN));
	assert_true(guid_equal(&local_find(f, "two\n")->guid, &two));
	assert_int_equal(local_live(f), 2);
}

/* A folder that was moved to another disk, with a link in its place. */
static void a_folder_that_is_a_link_is_held(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *from = mb_xasprintf("%s/.X", f->path);
	MB_AUTO_FREE char *to = mb_xasprintf("%s/disk", f->dir->path);

	foreign_mkdir(f, ".X");
	foreign_mkdir(f, ".Y");
	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_write(f, ".X/cur/2.a.host:2,", "two\n");
	foreign_sync(f);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(symlink(to, from), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(foreign_try(f), 0);
		assert_int_equal(f->last.held, 1);
		assert_int_equal(local_live(f), 2);
	}
	struct guid x = local_box(f, "X");
	assert_false(guid_is_zero(&x));
	assert_int_equal(unlink(from), 0);
	assert_int_equal(rename(to, from), 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 2);
	assert_int_equal(foreign_count(f, ".X"), 1);
	struct guid again = local_box(f, "X");
	assert_true(guid_equal(&again, &x));
}

/* Only its cur was moved. */
static void a_cur_that_is_a_link_is_held(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *from = mb_xasprintf("%s/.X/cur", f->path);
	MB_AUTO_FREE char *to = mb_xasprintf("%s/disk", f->dir->path);

	foreign_mkdir(f, ".X");
	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_write(f, ".X/cur/2.a.host:2,", "two\n");
	foreign_sync(f);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(symlink(to, from), 0);
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 1);
	assert_int_equal(local_live(f), 2);
	assert_int_equal(unlink(from), 0);
	assert_int_equal(rename(to, from), 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 2);
}

/* An expunge of what the local side moved to and fro since, and both had in step, counts. */
static void a_message_moved_back_can_be_expunged(void **state)
{
	struct foreign *f = *state;
	struct guid one, x;

	memory_create(f->local, &GUID_ZERO, "X", &x);
	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	memory_move(f->local, &one, 0, &x);
	memory_move(f->local, &one, 0, &GUID_INBOX);
	foreign_sync(f);
	foreign_unlink(f, "cur/1.a.host:2,");
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
	assert_int_equal(foreign_count(f, ""), 0);
}

/* Moved here, expunged there: it was moved later than what the expunge had seen, and stays. */
static void a_move_beats_an_expunge(void **state)
{
	struct foreign *f = *state;
	struct guid one, x;

	memory_create(f->local, &GUID_ZERO, "X", &x);
	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	one = local_find(f, "one\n")->guid;
	memory_move(f->local, &one, 0, &x);
	foreign_unlink(f, "cur/1.a.host:2,");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_int_equal(foreign_count(f, ".X"), 1);
}

static void many_expunged_at_the_local_side_are_not_held(void **state)
{
	struct foreign *f = *state;
	struct guid g[20];

	for (int i = 0; i < 20; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%d\n", i);
		g[i] = local_deliver(f, GUID_INBOX, text);
	}
	foreign_sync(f);
	for (int i = 0; i < 20; i++)
		memory_expunge(f->local, &g[i], 0);
	foreign_sync(f);
	assert_int_equal(f->last.held, 0);
	assert_int_equal(foreign_count(f, ""), 0);
}

/* Row 106: neither its half nor an expunge of what it was goes over before it is closed. */
static void a_file_that_is_being_written_is_waited_for(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *path = mb_xasprintf("%s/cur/1.a.host:2,", f->path);

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "two\n", 4), 4);
	f->full = true;
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_live(f), 1);
	local_find(f, "one\n");
	foreign_write(f, "new/2.a.host", "half");
	MB_AUTO_FREE char *fresh = mb_xasprintf("%s/new/2.a.host", f->path);
	int fd2 = open(fresh, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_live(f), 1);
	assert_int_equal(write(fd2, " and half", 9), 9);
	close(fd);
	close(fd2);
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_live(f), 2);
	local_find(f, "one\ntwo\n");
	local_find(f, "half and half");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(a_file_that_is_being_written_is_waited_for),
		T(moves_keep_the_message),
		T(a_folder_that_is_a_link_is_held),
		T(a_cur_that_is_a_link_is_held),
		T(what_both_have_is_paired),
		T(an_edit_is_a_new_message),
		T(an_edit_meets_a_flag),
		T(an_edit_meets_an_expunge),
		T(an_expunge_meets_an_edit),
		T(many_expunged_by_both_are_not_held),
		T(one_file_under_two_guids),
		T(a_shorter_file_is_left_alone),
		T(a_shorter_edit_is_a_new_message),
		T(an_expunge_leaves_what_grew),
		T(damage_is_not_expunged),
		T(a_new_name_is_the_same_message),
		T(a_message_moved_back_can_be_expunged),
		T(a_move_beats_an_expunge),
		T(many_expunged_at_the_local_side_are_not_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
