/* A change that is cut at each durable step, and then synced again: nothing doubled, nothing lost. */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define STEPS_MAX 60

/* From step `at` on nothing is done any more, as after a kill. */
static uint64_t cut_at;
static bool was_cut;

static int cut(uint64_t step, const char *what, void *arg)
{
	(void)what, (void)arg;
	if (step < cut_at)
		return 0;
	was_cut = true;
	return -EIO;
}

struct story {
	void (*before)(struct foreign *f); /* then both are in step */
	void (*change)(struct foreign *f); /* at the local side, and at the other */
	void (*check)(struct foreign *f);  /* in step again */
};

/* The story with a cut at step n of the sync after the change.  false: it has fewer steps. */
static bool run_cut(const struct story *s, uint64_t n)
{
	void *state = NULL;
	struct foreign *f;

	assert_int_equal(foreign_setup(&state), 0);
	f = state;
	s->before(f);
	foreign_sync(f);
	s->change(f);
	was_cut = false;
	cut_at = io_steps() + n;
	io_set_hook(cut, NULL);
	mb_msg_set_level(MB_ERROR);
	foreign_try(f);
	io_set_hook(NULL, NULL);
	print_message("cut at %d\n", (int)n);
	foreign_sync(f);
	s->check(f);
	assert_int_equal(foreign_tmp(f, ""), 0);
	assert_int_equal(foreign_teardown(&state), 0);
	return was_cut;
}

static void run_all(const struct story *s)
{
	uint64_t n = 1;

	while (run_cut(s, n))
		assert_true(++n < STEPS_MAX);
	assert_true(n > 1);
}

/* ---- stories ---- */

static struct guid x, one;

static void begin(struct foreign *f)
{
	assert_int_equal(memory_create(f->local, &GUID_ZERO, "X", &x), 0);
	one = local_deliver(f, GUID_INBOX, "one\n");
	local_deliver(f, x, "two\n");
}

static void arrive(struct foreign *f)
{
	local_deliver(f, GUID_INBOX, "three\n");
	local_deliver(f, x, "three\n"); /* a twin elsewhere */
}

static void arrived(struct foreign *f)
{
	assert_int_equal(foreign_count(f, ""), 2);
	assert_int_equal(foreign_count(f, ".X"), 2);
	assert_int_equal(local_live(f), 4);
}

static void flag(struct foreign *f)
{
	memory_flags(f->local, &one, 0, FLAG_MASK(FLAG_SEEN) | FLAG_MASK(FLAG_FLAGGED), 0);
}

static void flagged(struct foreign *f)
{
	MB_AUTO_FREE char *letters = foreign_letters(f, "", "one\n");

	assert_string_equal(letters, "FS");
	assert_int_equal(local_live(f), 2);
}

static void move(struct foreign *f)
{
	assert_int_equal(memory_move(f->local, &one, 0, &x), 0);
	memory_flags(f->local, &one, 0, FLAG_MASK(FLAG_SEEN), 0);
}

static void moved(struct foreign *f)
{
	MB_AUTO_FREE char *letters = foreign_letters(f, ".X", "one\n");

	assert_string_equal(letters, "S");
	assert_int_equal(foreign_count(f, ""), 0);
	assert_int_equal(foreign_count(f, ".X"), 2);
	assert_int_equal(local_live(f), 2);
	assert_true(guid_equal(&local_find(f, "one\n")->place.mailbox, &x));
}

static void expunge(struct foreign *f)
{
	assert_int_equal(memory_expunge(f->local, &one, 0), 0);
}

static void expunged(struct foreign *f)
{
	assert_int_equal(foreign_count(f, ""), 0);
	assert_int_equal(foreign_count(f, ".X"), 1);
	assert_int_equal(local_live(f), 1);
}

static void make_folder(struct foreign *f)
{
	struct guid y;

	assert_int_equal(memory_create(f->local, &x, "Y", &y), 0);
	local_deliver(f, y, "three\n");
}

static void folder_made(struct foreign *f)
{
	assert_int_equal(foreign_count(f, ".X.Y"), 1);
	assert_int_equal(local_live(f), 3);
}

static void rename_folder(struct foreign *f)
{
	assert_int_equal(memory_rename(f->local, &x, &GUID_ZERO, "Z"), 0);
	local_deliver(f, x, "three\n");
}

static void folder_renamed(struct foreign *f)
{
	struct guid g = local_box(f, "X");

	assert_true(guid_is_zero(&g));
	assert_false(foreign_exists(f, ".X"));
	assert_int_equal(foreign_count(f, ".Z"), 2);
	assert_int_equal(local_live(f), 3);
}

static void delete_folder(struct foreign *f)
{
	assert_int_equal(memory_delete(f->local, &x), 0);
}

static void folder_deleted(struct foreign *f)
{
	assert_false(foreign_exists(f, ".X"));
	assert_int_equal(local_live(f), 1);
}

static void swap_folders_begin(struct foreign *f)
{
	struct guid y;

	begin(f);
	assert_int_equal(memory_create(f->local, &GUID_ZERO, "Y", &y), 0);
	local_deliver(f, y, "three\n");
}

static void swap_folders(struct foreign *f)
{
	struct guid y = local_box(f, "Y");

	assert_int_equal(memory_rename(f->local, &x, &GUID_ZERO, "T"), 0);
	assert_int_equal(memory_rename(f->local, &y, &GUID_ZERO, "X"), 0);
	assert_int_equal(memory_rename(f->local, &x, &GUID_ZERO, "Y"), 0);
}

static void folders_swapped(struct foreign *f)
{
	MB_AUTO_FREE char *two = foreign_find(f, ".Y", "two\n");
	MB_AUTO_FREE char *three = foreign_find(f, ".X", "three\n");

	assert_non_null(two);
	assert_non_null(three);
	assert_int_equal(local_live(f), 3);
	assert_string_equal(tree_find(memory_tree(f->local), &x)->part, "Y");
}

/* ---- found in the Maildir, told, and cut before the local side was done ---- */

static void run_stopped(const struct story *s)
{
	for (int n = 1; n < 6; n++) {
		void *state = NULL;
		struct foreign *f;

		assert_int_equal(foreign_setup(&state), 0);
		f = state;
		s->before(f);
		foreign_sync(f);
		s->change(f);
		f->stop_after = n;
		mb_msg_set_level(MB_ERROR);
		foreign_try(f);
		f->stop_after = 0;
		foreign_sync(f);
		s->check(f);
		assert_int_equal(foreign_teardown(&state), 0);
	}
}

static void change_there(struct foreign *f)
{
	MB_AUTO_FREE char *from = foreign_find(f, "", "one\n");
	MB_AUTO_FREE char *other = foreign_find(f, ".X", "two\n");
	MB_AUTO_FREE char *path = mb_xasprintf(".X/%s", other);

	foreign_rename(f, from, ".X/cur/moved:2,S");
	foreign_unlink(f, path);
	foreign_write(f, "new/1.a.host", "three\n");
	foreign_write(f, "new/2.a.host", "three\n");
	foreign_mkdir(f, ".Y");
	foreign_write(f, ".Y/cur/3.a.host:2,F", "four\n");
}

static void changed_there(struct foreign *f)
{
	assert_int_equal(local_live(f), 4);
	assert_int_equal(foreign_count(f, ""), 2);
	assert_int_equal(foreign_count(f, ".X"), 1);
	assert_int_equal(foreign_count(f, ".Y"), 1);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
	assert_int_equal(local_find(f, "one\n")->flags.set, FLAG_MASK(FLAG_SEEN));
	assert_int_equal(local_find(f, "four\n")->flags.set, FLAG_MASK(FLAG_FLAGGED));
}

#define CUT(name, b, c, k)                                                                         \
	static void name(void **state)                                                             \
	{                                                                                          \
		(void)state;                                                                       \
		run_all(&(struct story){b, c, k});                                                 \
	}

CUT(cut_arrival, begin, arrive, arrived)
CUT(cut_flags, begin, flag, flagged)
CUT(cut_move, begin, move, moved)
CUT(cut_expunge, begin, expunge, expunged)
CUT(cut_make_folder, begin, make_folder, folder_made)
CUT(cut_rename_folder, begin, rename_folder, folder_renamed)
CUT(cut_delete_folder, begin, delete_folder, folder_deleted)
CUT(cut_swap, swap_folders_begin, swap_folders, folders_swapped)

static void stopped_after_telling(void **state)
{
	(void)state;
	run_stopped(&(struct story){begin, change_there, changed_there});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_arrival),
		cmocka_unit_test(cut_flags),
		cmocka_unit_test(cut_move),
		cmocka_unit_test(cut_expunge),
		cmocka_unit_test(cut_make_folder),
		cmocka_unit_test(cut_rename_folder),
		cmocka_unit_test(cut_delete_folder),
		cmocka_unit_test(cut_swap),
		cmocka_unit_test(stopped_after_telling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
