/* Which files a mailbox has: odd names, twins, races. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include "tests/support/rights.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define LETTERS_ARE(f, dir, text, want)                                                            \
	do {                                                                                       \
		MB_AUTO_FREE char *got_ = foreign_letters((f), (dir), (text));                     \
		assert_string_equal(got_, (want));                                                 \
	} while (0)

static void odd_names_are_taken_as_they_are(void **state)
{
	static const char *const names[] = {
		"cur/noinfo", "cur/a:2,SF",    "cur/b:2,SSF",  "cur/c;2,S",
		"cur/d!2,S",  "cur/e:1,x",     "cur/f:2,:2,S", "cur/with space=x:2,",
		"new/g:2,S",  "cur/h,S=5,W=6", "cur/i:2,SX",
	};
	struct foreign *f = *state;
	size_t n = sizeof(names) / sizeof(*names);

	for (size_t i = 0; i < n; i++)
		foreign_write(f, names[i], names[i]);
	foreign_sync(f);
	assert_int_equal(local_live(f), n);
	for (size_t i = 0; i < n; i++)
		assert_true(foreign_exists(f, names[i]));
	LETTERS_ARE(f, "", "cur/i:2,SX", "SX");
	struct guid g = local_find(f, "cur/i:2,SX")->guid;
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_FLAGGED), 0);
	foreign_sync(f);
	LETTERS_ARE(f, "", "cur/i:2,SX", "FSX");
}

/* One unique name twice: another content is another message. */
static void twins_of_a_name_are_two(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "new/1.a.host", "one\n");
	foreign_write(f, "cur/1.a.host:2,S", "two\n");
	foreign_sync(f);
	assert_int_equal(local_live(f), 2);
	foreign_unlink(f, "new/1.a.host");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	local_find(f, "two\n");
}

/* Each keeps its identity, whatever letters they get, in whatever order they are read. */
static void twins_do_not_swap(void **state)
{
	static const char *const letters[] = {"RS", "F", "", "FS", "T", "DFRST"};
	char from[] = "new/1.a.host", to[32];
	struct foreign *f = *state;
	char *now = from;

	foreign_write(f, "cur/1.a.host:2,S", "one\n");
	foreign_write(f, "new/1.a.host", "three, longer\n");
	foreign_sync(f);
	foreign_sync(f);
	struct guid one = local_find(f, "one\n")->guid,
		    three = local_find(f, "three, longer\n")->guid;
	for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++) {
		MB_AUTO_FREE char *was = mb_xstrdup(now);

		snprintf(to, sizeof(to), "cur/1.a.host:2,%s", letters[i]);
		foreign_rename(f, was, to);
		now = to;
		foreign_sync(f);
		assert_int_equal(local_live(f), 2);
		assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
		assert_true(guid_equal(&local_find(f, "three, longer\n")->guid, &three));
		LETTERS_ARE(f, "", "three, longer\n", letters[i]);
		LETTERS_ARE(f, "", "one\n", "S");
	}
	foreign_rename(f, "cur/1.a.host:2,S", "cur/1.a.host:2,FRS");
	foreign_sync(f);
	assert_true(guid_equal(&local_find(f, "one\n")->guid, &one));
	LETTERS_ARE(f, "", "one\n", "FRS");
}

static void new_to_cur_is_no_news(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "new/1.a.host", "one\n");
	foreign_sync(f);
	foreign_rename(f, "new/1.a.host", "cur/1.a.host:2,");
	assert_int_equal(foreign_try(f), 0);
	assert_false(f->last.changed);
}

/* A file in new gets its flags only in cur. */
static void seen_here_leaves_new_there(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_write(f, "new/1.a.host", "one\n");
	foreign_sync(f);
	g = local_find(f, "one\n")->guid;
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_SEEN), 0);
	foreign_sync(f);
	assert_true(foreign_exists(f, "cur/1.a.host:2,S"));
	assert_int_equal(foreign_count(f, ""), 1);
}

/* A mailbox that cannot be read says nothing about absence anywhere. */
static void an_unreadable_folder_judges_nothing(void **state)
{
	struct foreign *f = *state;

	foreign_mkdir(f, ".X");
	foreign_write(f, ".X/cur/1.a.host:2,", "one\n");
	foreign_write(f, "cur/2.a.host:2,", "two\n");
	foreign_sync(f);
	MB_AUTO_FREE char *dir = mb_xasprintf("%s/.X/cur", f->path);
	assert_int_equal(chmod(dir, 0), 0);
	foreign_unlink(f, "cur/2.a.host:2,");
	struct rights rights = rights_lay_down();
	foreign_try(f);
	rights_take_back(&rights);
	assert_int_equal(local_live(f), 2);
	assert_int_equal(f->last.errors, 1);
	assert_int_equal(f->last.first_error, -EACCES);
	assert_int_equal(chmod(dir, 0700), 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
}

/* Somebody writes straight into new, slowly: what is there later is what counts, and nothing of it
 * goes with what was there first. */
static void still_being_written(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "new/1.slow", "part one\n");
	foreign_sync(f);
	local_find(f, "part one\n");
	foreign_write(f, "new/1.slow", "part one\npart two\n");
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	local_find(f, "part one\npart two\n");
	assert_int_equal(foreign_count(f, ""), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(odd_names_are_taken_as_they_are),
		T(twins_of_a_name_are_two),
		T(twins_do_not_swap),
		T(new_to_cur_is_no_news),
		T(seen_here_leaves_new_there),
		T(an_unreadable_folder_judges_nothing),
		T(still_being_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
