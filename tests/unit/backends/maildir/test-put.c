/* Names that messages get in the Maildir. */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static void a_taken_name_is_not_used(void **state)
{
	struct foreign *f = *state;
	struct guid g, x;

	foreign_mkdir(f, ".X");
	foreign_write(f, ".X/cur/1.a.host:2,", "one\n");
	foreign_write(f, "cur/1.a.host:2,", "two\n");
	foreign_sync(f);
	g = local_find(f, "two\n")->guid;
	x = local_box(f, "X");
	memory_move(f->local, &g, 0, &x);
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".X"), 2);
	assert_int_equal(foreign_count(f, ""), 0);
	assert_true(foreign_exists(f, ".X/cur/1.a.host:2,"));
}

/* ,U=5 is a UID in its own folder only; other fields are kept byte for byte. */
static void a_moved_name_loses_its_uid(void **state)
{
	struct foreign *f = *state;
	struct guid g, x;

	foreign_mkdir(f, ".X");
	foreign_write(f, "cur/1.a.host,U=5,S=4,Q=z:2,", "two\n");
	foreign_sync(f);
	g = local_find(f, "two\n")->guid;
	x = local_box(f, "X");
	memory_move(f->local, &g, 0, &x);
	foreign_sync(f);
	assert_true(foreign_exists(f, ".X/cur/1.a.host,S=4,Q=z:2,"));
}

/* No room for flags: the name stays as it is, and says the same again. */
static void a_name_without_room_keeps_its_flags_out(void **state)
{
	struct foreign *f = *state;
	char path[300];
	struct guid g;

	memset(path, 'x', sizeof(path));
	memcpy(path, "cur/", 4);
	path[4 + 254] = '\0';
	foreign_write(f, path, "one\n");
	foreign_sync(f);
	g = local_find(f, "one\n")->guid;
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_SEEN), 0);
	assert_int_equal(foreign_try(f), 0);
	assert_true(foreign_exists(f, path));
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(local_find(f, "one\n")->flags.set, FLAG_MASK(FLAG_SEEN));
	assert_int_equal(local_live(f), 1);
}

static void the_received_date_is_kept(void **state)
{
	struct foreign *f = *state;
	struct guid g = local_deliver(f, GUID_INBOX, "one\n");
	struct stat st;

	foreign_sync(f);
	MB_AUTO_FREE char *name = foreign_find(f, "", "one\n");
	MB_AUTO_FREE char *path = mb_xasprintf("%s/%s", f->path, name);
	assert_int_equal(stat(path, &st), 0);
	const struct copy *c = message_find(memory_find(f->local, &g), 0);
	assert_true(c->received_ns == clock_timespec_ns(&st.st_mtim));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(a_taken_name_is_not_used),
		T(a_moved_name_loses_its_uid),
		T(a_name_without_room_keeps_its_flags_out),
		T(the_received_date_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
