/* Directories follow the tree, whichever step fails. */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct failing {
	uint64_t at;
	int err;
	const char *what; /* the first step of this kind; NULL: step `at` */
	bool hit;
};

static int fail_step(uint64_t step, const char *what, void *arg)
{
	struct failing *x = arg;

	if (x->what ? x->hit || strcmp(what, x->what) != 0 : step != x->at)
		return 0;
	x->hit = true;
	return x->err;
}

static const char *const NAMES[] = {"A", "B", "C"};

static void rotate(struct foreign *f, const struct guid g[3])
{
	memory_rename(f->local, &g[0], &GUID_ZERO, "T");
	memory_rename(f->local, &g[2], &GUID_ZERO, "A");
	memory_rename(f->local, &g[1], &GUID_ZERO, "C");
	memory_rename(f->local, &g[0], &GUID_ZERO, "B");
}

/* Three folders, each with a child and mail in both. */
static void make_three(struct foreign *f, struct guid g[3])
{
	for (int i = 0; i < 3; i++) {
		struct guid below;

		memory_create(f->local, &GUID_ZERO, NAMES[i], &g[i]);
		memory_create(f->local, &g[i], "sub", &below);
		local_deliver(f, g[i], NAMES[i]);
		MB_AUTO_FREE char *text = mb_xasprintf("%s/sub", NAMES[i]);
		local_deliver(f, below, text);
	}
	foreign_sync(f);
}

static void check_rotated(struct foreign *f)
{
	bool fs = f->layout == LAYOUT_FS;

	for (int i = 0; i < 3; i++) {
		const char *now = NAMES[(i + 1) % 3];
		MB_AUTO_FREE char *dir = mb_xasprintf("%s%s", fs ? "" : ".", now);
		MB_AUTO_FREE char *below =
			mb_xasprintf("%s%s%csub", fs ? "" : ".", now, fs ? '/' : '.');
		MB_AUTO_FREE char *text = mb_xasprintf("%s/sub", NAMES[i]);
		MB_AUTO_FREE char *one = foreign_find(f, dir, NAMES[i]);
		MB_AUTO_FREE char *two = foreign_find(f, below, text);

		assert_non_null(one);
		assert_non_null(two);
	}
	assert_int_equal(local_live(f), 6);
}

/* Once at each step, and all is as it is to be after the next sync. */
static void any_step_may_fail(void **state, int (*setup)(void **), int err)
{
	struct failing x = {.err = err, .hit = true};
	struct guid g[3];

	for (uint64_t n = 1; x.hit; n++) {
		if (n > 1) {
			assert_int_equal(foreign_teardown(state), 0);
			assert_int_equal(setup(state), 0);
		}
		make_three(*state, g);
		rotate(*state, g);
		x.at = io_steps() + n;
		x.hit = false;
		io_set_hook(fail_step, &x);
		foreign_try(*state);
		io_set_hook(NULL, NULL);
		foreign_sync(*state);
		check_rotated(*state);
		check_rotated(*state);
		assert_true(n < 400);
	}
}

static void any_step_may_fail_pp(void **state)
{
	any_step_may_fail(state, foreign_setup, -EIO);
}

static void any_step_may_fail_fs(void **state)
{
	any_step_may_fail(state, foreign_setup_fs, -EBUSY);
}

/* One folder that cannot be renamed stays, says so, and stops no other. */
static void one_that_cannot_move(void **state)
{
	struct foreign *f = *state;
	struct failing x = {.what = "rename", .err = -EBUSY};
	struct guid first, second;

	memory_create(f->local, &GUID_ZERO, "A", &first);
	memory_create(f->local, &GUID_ZERO, "B", &second);
	local_deliver(f, first, "one\n");
	local_deliver(f, second, "two\n");
	foreign_sync(f);
	memory_rename(f->local, &first, &GUID_ZERO, "Y");
	memory_rename(f->local, &second, &GUID_ZERO, "Z");
	io_set_hook(fail_step, &x);
	assert_int_equal(foreign_try(f), -EBUSY);
	io_set_hook(NULL, NULL);
	assert_true(x.hit);
	assert_int_equal(foreign_exists(f, ".A/cur") + foreign_exists(f, ".B/cur"), 1);
	assert_int_equal(foreign_exists(f, ".Y/cur") + foreign_exists(f, ".Z/cur"), 1);
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".Y"), 1);
	assert_int_equal(foreign_count(f, ".Z"), 1);
	assert_false(foreign_exists(f, ".A") || foreign_exists(f, ".B"));
	assert_int_equal(local_live(f), 2);
}

/* F/G and G are swapped, and F/G/ab, which was removed here, is to stand above a new folder: that one is
 * planned in a directory that goes elsewhere, and cannot be put aside, as it was not made yet.  The
 * session never ended. */
static void one_to_be_made_in_one_that_goes(void **state)
{
	struct foreign *f = *state;
	struct guid top, g, ab, other, x;

	f->allow = true;
	memory_create(f->local, &GUID_ZERO, "F", &top);
	memory_create(f->local, &top, "G", &g);
	memory_create(f->local, &g, "ab", &ab);
	memory_create(f->local, &GUID_ZERO, "G", &other);
	local_deliver(f, g, "one");
	local_deliver(f, ab, "two");
	local_deliver(f, other, "three");
	foreign_sync(f);
	foreign_rmdir(f, "F/G/ab");
	memory_rename(f->local, &g, &GUID_ZERO, "T");
	memory_rename(f->local, &other, &top, "G");
	memory_rename(f->local, &g, &GUID_ZERO, "G");
	memory_create(f->local, &ab, "x", &x);
	foreign_sync(f);
	MB_AUTO_FREE char *one = foreign_find(f, "G", "one");
	MB_AUTO_FREE char *three = foreign_find(f, "F/G", "three");
	assert_non_null(one);
	assert_non_null(three);
	assert_true(foreign_exists(f, "G/ab/x/cur"));
	assert_false(foreign_exists(f, "G/ab/cur"));
	assert_int_equal(local_live(f), 2);
}

/* Three names are rotated, and one of the folders is deleted then: it is told last, and until then it has
 * the name that another one is to get.  That one was put aside and stayed there until the next sync. */
static void a_name_that_is_free_at_the_end(void **state)
{
	struct foreign *f = *state;
	bool fs = f->layout == LAYOUT_FS;

	for (int gone = 0; gone < 3; gone++) {
		struct guid g[3];

		for (int i = 0; i < 3; i++) {
			memory_create(f->local, &GUID_ZERO, NAMES[i], &g[i]);
			if (i != gone)
				local_deliver(f, g[i], NAMES[i]);
		}
		foreign_sync(f);
		rotate(f, g);
		memory_delete(f->local, &g[gone]);
		assert_int_equal(foreign_try(f), 0);
		for (int i = 0; i < 3; i++) {
			MB_AUTO_FREE char *dir =
				mb_xasprintf("%s%s", fs ? "" : ".", NAMES[(i + 1) % 3]);
			MB_AUTO_FREE char *found =
				i != gone ? foreign_find(f, dir, NAMES[i]) : NULL;

			assert_true(i == gone ? !foreign_exists(f, dir) : found != NULL);
		}
		for (int i = 0; i < 3; i++)
			memory_delete(f->local, &g[i]);
		f->allow = true;
		foreign_sync(f);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
#define FS(name) cmocka_unit_test_setup_teardown(name, foreign_setup_fs, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(any_step_may_fail_pp),
		FS(any_step_may_fail_fs),
		T(one_that_cannot_move),
		T(a_name_that_is_free_at_the_end),
		cmocka_unit_test_setup_teardown(a_name_that_is_free_at_the_end, foreign_setup_fs,
						foreign_teardown),
		cmocka_unit_test_setup_teardown(one_to_be_made_in_one_that_goes, foreign_setup_fs,
						foreign_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
