/* Directories of mailboxes: made, renamed, cleared, and never with mail in them. */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/maildir/maildir.h"
#include "tests/support/foreign.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct maildir *opened(struct foreign *f)
{
	struct backend *b;

	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	return maildir_of(b);
}

static void made_and_cleared(void **state)
{
	struct foreign *f = *state;
	struct maildir *m = opened(f);

	assert_false(md_dir_is_mailbox(m, ".A"));
	assert_int_equal(md_box_make(m, ".A"), 0);
	assert_int_equal(md_box_make(m, ".A"), 0);
	assert_true(md_dir_is_mailbox(m, ".A"));
	assert_true(foreign_exists(f, ".A/maildirfolder"));
	foreign_write(f, ".A/tmp/left", "half a mail");
	assert_int_equal(md_box_clear(m, ".A"), 0);
	assert_false(foreign_exists(f, ".A"));
	assert_int_equal(md_box_clear(m, ".A"), 0);
	backend_close(&m->base);
}

static void never_with_mail(void **state)
{
	struct foreign *f = *state;
	struct maildir *m = opened(f);

	assert_int_equal(md_box_make(m, ".A"), 0);
	foreign_write(f, ".A/new/1.a.host", "one\n");
	assert_int_equal(md_box_clear(m, ".A"), MB_E_STALE);
	assert_true(md_dir_is_mailbox(m, ".A"));
	assert_int_equal(foreign_count(f, ".A"), 1);
	foreign_unlink(f, ".A/new/1.a.host");
	foreign_write(f, ".A/notes.txt", "mine\n");
	assert_int_equal(md_box_clear(m, ".A"), 0);
	assert_false(md_dir_is_mailbox(m, ".A"));
	assert_true(foreign_exists(f, ".A/notes.txt"));
	backend_close(&m->base);
}

static void a_rename_replaces_nothing(void **state)
{
	struct foreign *f = *state;
	struct maildir *m = opened(f);

	foreign_mkdir(f, "A");
	foreign_mkdir(f, "B");
	assert_int_equal(md_dir_rename(m, "A", "B"), -EEXIST);
	assert_int_equal(md_dir_rename(m, "A", "P/Q/A"), 0);
	assert_int_equal(md_dir_renamed(m, "A", "P/Q/A"), 0);
	assert_true(md_dir_is_mailbox(m, "P/Q/A"));
	assert_int_equal(md_dir_rename(m, "A", "C"), -ENOENT);
	assert_int_equal(md_dir_renamed(m, "gone/A", "P/C"), 0);
	backend_close(&m->base);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
#define FS(name) cmocka_unit_test_setup_teardown(name, foreign_setup_fs, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(made_and_cleared),
		T(never_with_mail),
		FS(a_rename_replaces_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
