/*
 * test-renames.c - a scan that is killed while it logs renames by hand: the next one, or the one
 * after, knows every directory again, and no name is taken for an order to rename one.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include "tests/support/store-dir.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLDERS 6 /* F, G, H, each with a child */

/* What a person does while nothing runs, as renames of top folders; in maildir++ each child is one
 * more rename, and `children` says whether it goes along. */
struct by_hand {
	const char *moves[5][2];
	bool children;
	const char *mail; /* afterwards */
};

static const struct by_hand stories[] = {
	{{{"F", "T"}, {"G", "F"}, {"T", "G"}},
	 true,
	 "F/new/g | F/sub/new/gs | G/new/f | G/sub/new/fs | H/new/h | H/sub/new/hs"},
	{{{"F", "T"}, {"H", "F"}, {"G", "H"}, {"T", "G"}},
	 true,
	 "F/new/h | F/sub/new/hs | G/new/f | G/sub/new/fs | H/new/g | H/sub/new/gs"},
	{{{"H", "I"}, {"G", "H"}, {"F", "G"}},
	 true,
	 "G/new/f | G/sub/new/fs | H/new/g | H/sub/new/gs | I/new/h | I/sub/new/hs"},
	{{{"F", "T"}, {"H", "F"}, {"G", "H"}, {"T", "G"}},
	 false,
	 "F/new/h | F/sub/new/fs | G/new/f | G/sub/new/gs | H/new/g | H/sub/new/hs"},
};

static char *dir_of(struct store_dir *d, const char *top, bool child)
{
	bool fs = store_layout(d->s) == LAYOUT_FS;

	return mb_xasprintf("%s%s%s", fs ? "" : ".", top, !child ? "" : fs ? "/sub" : ".sub");
}

static void make(struct store_dir *d)
{
	static const char *const tops[] = {"F", "G", "H"}, *const files[] = {"f", "g", "h"};

	for (int i = 0; i < FOLDERS; i++) {
		MB_AUTO_FREE char *dir = dir_of(d, tops[i / 2], i % 2);
		MB_AUTO_FREE char *file = mb_xasprintf("%s%s", files[i / 2], i % 2 ? "s" : "");

		store_make_box(d, dir);
		store_deliver(d, dir, file, file);
	}
}

/* Paths are made before the store closes: its layout is asked. */
static void play(struct store_dir *d, const struct by_hand *story)
{
	char *from[10], *to[10];
	int n = 0;
	bool fs = store_layout(d->s) == LAYOUT_FS;

	for (int i = 0; i < 5 && story->moves[i][0]; i++)
		for (int child = 0; child <= (story->children && !fs); child++) {
			from[n] = dir_of(d, story->moves[i][0], child);
			to[n++] = dir_of(d, story->moves[i][1], child);
		}
	store_dir_close(d);
	for (int i = 0; i < n; i++) {
		outside_rename(d, from[i], to[i]);
		free(from[i]);
		free(to[i]);
	}
}

static struct store_dir *fresh(void **state, bool fs)
{
	assert_int_equal(store_dir_teardown(state), 0);
	assert_int_equal(fs ? store_dir_setup_fs(state) : store_dir_setup(state), 0);
	make(*state);
	return *state;
}

static bool note_is_there(struct store_dir *d)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/renames", d->dir);
	return access(path, F_OK) == 0;
}

static void check(struct store_dir *d, const struct by_hand *story, const struct guid *f)
{
	struct scan_report r;
	struct guid now;

	assert_list(d, story->mail);
	store_consistent(d);
	now = store_box(d, "G");
	if (f)
		assert_true(guid_equal(&now, f)); /* not a new one with its mail */
	assert_false(note_is_there(d));
	assert_int_equal(deleted_count(d), 0);
	store_dir_rescan(d, &r);
	assert_int_equal(r.records, 0);
}

enum stop { KILL, KILL_TWICE, POWER_CUT, POWER_CUT_TWICE, STOPS };

/* The story, stopped at step n of the next opening.  false when that was done before. */
static bool run(void **state, bool fs, const struct by_hand *story, enum stop how, int n)
{
	struct store_dir *d = fresh(state, fs);
	struct guid f = store_box(d, "F");
	const struct guid *known = &f;
	bool was_stopped;

	play(d, story);
	was_stopped = store_dir_kill_open_at(d, n);
	if (was_stopped && how >= POWER_CUT) {
		if (!note_is_there(d))
			known = NULL; /* nothing but the lost index knew the directories */
		store_dir_power_cut(d);
	}
	if (was_stopped && (how == KILL_TWICE || how == POWER_CUT_TWICE))
		store_dir_kill_open_at(d, 1 + n * 7 % 23);
	if (was_stopped && how == POWER_CUT_TWICE)
		store_dir_power_cut(d);
	store_dir_open(d);
	check(d, story, known);
	store_dir_reopen(d);
	check(d, story, known);
	return was_stopped;
}

static void at_every_step(void **state, bool fs, enum stop how)
{
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		int n = 1;

		if (fs && !stories[i].children) /* they go along there */
			continue;
		while (run(state, fs, &stories[i], how, n))
			n++;
		assert_true(n > 10);
	}
}

static void killed_at_any_step(void **state)
{
	at_every_step(state, false, KILL);
}

static void killed_at_any_step_in_fs(void **state)
{
	at_every_step(state, true, KILL);
}

static void killed_twice(void **state)
{
	at_every_step(state, false, KILL_TWICE);
	at_every_step(state, true, KILL_TWICE);
}

/* The index is built anew from names of which half are new. */
static void power_cut_at_any_step(void **state)
{
	at_every_step(state, false, POWER_CUT);
	at_every_step(state, true, POWER_CUT);
}

static void power_cut_twice(void **state)
{
	at_every_step(state, false, POWER_CUT_TWICE);
	at_every_step(state, true, POWER_CUT_TWICE);
}

/* Whatever the person did next, it is the directories that tell. */
static void renamed_again_after_the_kill(void **state)
{
	for (int n = 1;; n++) {
		struct store_dir *d = fresh(state, false);
		bool more;

		play(d, &stories[1]);
		more = store_dir_kill_open_at(d, n);
		outside_rename(d, ".G", ".by-hand");
		outside_rename(d, ".H", ".G");
		store_dir_open(d);
		assert_list(d, "F/new/h | F/sub/new/hs | G/new/g | G/sub/new/fs | "
			       "H/sub/new/gs | by-hand/new/f");
		store_consistent(d);
		assert_false(note_is_there(d));
		if (!more)
			break;
	}
}

/* And when it is put back as it was, so are the names. */
static void put_back_after_the_kill(void **state)
{
	for (int n = 1;; n++) {
		struct store_dir *d = fresh(state, true);

		play(d, &stories[0]);
		if (!store_dir_kill_open_at(d, n))
			break;
		outside_rename(d, "F", "T");
		outside_rename(d, "G", "F");
		outside_rename(d, "T", "G");
		store_dir_open(d);
		assert_list(d, "F/new/f | F/sub/new/fs | G/new/g | G/sub/new/gs | H/new/h | "
			       "H/sub/new/hs");
		store_consistent(d);
		assert_false(note_is_there(d));
	}
}

static int scan_it(struct store_dir *d)
{
	struct scan_report r;

	return store_scan(d->s, false, &r);
}

/* The process lives on: the next scan finishes what this one began. */
static void a_step_that_fails(void **state)
{
	bool hit = true;

	for (int n = 1; hit; n++) {
		struct store_dir *d = fresh(state, true);
		struct guid f = store_box(d, "F");

		outside_rename(d, "F", "T");
		outside_rename(d, "G", "F");
		outside_rename(d, "T", "G");
		store_dir_fail_at(d, n, ENOSPC, scan_it, &hit);
		assert_int_equal(scan_it(d), 0);
		check(d, &stories[0], &f);
		store_dir_reopen(d);
		check(d, &stories[0], &f);
	}
}

/* It cannot be read: nothing is lost, and the store opens. */
static void a_damaged_note(void **state)
{
	struct store_dir *d = fresh(state, false);
	char path[128];
	FILE *file;

	store_dir_close(d);
	snprintf(path, sizeof(path), "%s/renames", d->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("this is no note of renames, but longer than sixteen bytes", file);
	fclose(file);
	store_dir_power_cut(d);
	store_dir_open(d);
	assert_list(d, "F/new/f | F/sub/new/fs | G/new/g | G/sub/new/gs | H/new/h | H/sub/new/hs");
	store_consistent(d);
	assert_false(note_is_there(d));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		TEST(killed_at_any_step),
		TEST(killed_at_any_step_in_fs),
		TEST(killed_twice),
		TEST(power_cut_at_any_step),
		TEST(power_cut_twice),
		TEST(renamed_again_after_the_kill),
		TEST(put_back_after_the_kill),
		TEST(a_step_that_fails),
		TEST(a_damaged_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
