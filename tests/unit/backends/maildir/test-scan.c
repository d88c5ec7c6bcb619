/* Which mailboxes a foreign Maildir has, and what is none. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void an_empty_root_stops_everything(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	foreign_rmdir(f, "cur");
	foreign_rmdir(f, "new");
	foreign_rmdir(f, "tmp");
	local_deliver(f, GUID_INBOX, "two\n");
	foreign_try(f);
	assert_int_equal(f->last.held, 1);
	assert_int_equal(local_live(f), 2);
	assert_false(foreign_exists(f, "cur"));
}

static void links_and_dotfiles_are_no_mail(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *out = mb_xasprintf("%s/outside", f->dir->path);
	MB_AUTO_FREE char *file = mb_xasprintf("%s/cur/1.link:2,", f->path);
	MB_AUTO_FREE char *folder = mb_xasprintf("%s/.Link", f->path);

	assert_int_equal(mkdir(out, 0700), 0);
	assert_int_equal(symlink("/etc/passwd", file), 0);
	assert_int_equal(symlink(out, folder), 0);
	foreign_write(f, "cur/.hidden", "x\n");
	foreign_write(f, "maildirsize", "x\n");
	foreign_mkdir(f, "cur/dir");
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
	struct guid g = local_box(f, "Link");
	assert_true(guid_is_zero(&g));
}

static void a_folder_without_new_and_tmp_is_repaired(void **state)
{
	struct foreign *f = *state;
	struct guid x;

	foreign_mkdir(f, ".X");
	foreign_rmdir(f, ".X/new");
	foreign_rmdir(f, ".X/tmp");
	foreign_write(f, ".X/cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	x = local_box(f, "X");
	local_deliver(f, x, "two\n");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".X"), 2);
}

static void an_empty_directory_is_filled(void **state)
{
	struct foreign *f = *state;

	foreign_rmdir(f, "cur");
	foreign_rmdir(f, "new");
	foreign_rmdir(f, "tmp");
	local_deliver(f, GUID_INBOX, "one\n");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ""), 1);
	assert_true(foreign_exists(f, "tmp"));
}

/* Copied back from a backup: every inode is another, and nothing else. */
/* Its stamp is that of the revival; the name is as old as it was. */
static void a_revived_mailbox_was_not_renamed(void **state)
{
	struct foreign *f = *state;
	struct position before, after;

	foreign_mkdir(f, ".F");
	foreign_write(f, ".F/cur/1.a.host:2,", "one\n");
	foreign_sync(f);
	struct guid box = local_box(f, "F");
	foreign_rmdir(f, ".F");
	local_deliver(f, box, "late\n");
	foreign_sync(f);
	assert_true(foreign_exists(f, ".F/cur"));
	assert_int_equal(f->local->ops->position(f->local, &before), 0);
	f->full = true;
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->local->ops->position(f->local, &after), 0);
	assert_true(position_equal(&before, &after));
}

static void another_inode_is_no_change(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *copy = mb_xasprintf("cp -a %s %s.copy && rm -r %s && mv %s.copy %s",
					       f->path, f->path, f->path, f->path, f->path);

	foreign_mkdir(f, ".X");
	foreign_write(f, ".X/cur/1.a.host:2,S", "one\n");
	foreign_write(f, "cur/2.a.host:2,S", "two\n");
	foreign_sync(f);
	assert_int_equal(system(copy), 0);
	assert_int_equal(foreign_try(f), 0);
	assert_false(f->last.changed);
	assert_int_equal(local_live(f), 2);
}

/* F was a mere name above c only, and c is elsewhere by now: when what F was in is removed, no other one is
 * made in its place for F to have one. */
static void a_name_above_nothing(void **state)
{
	struct foreign *f = *state;
	bool fs = f->layout == LAYOUT_FS;
	const char *dir = fs ? "G" : ".G";
	struct guid c;

	foreign_mkdir(f, dir);
	foreign_mkdir(f, fs ? "G/F/c" : ".G.F.c");
	foreign_write(f, fs ? "G/cur/1.a:2," : ".G/cur/1.a:2,", "in G");
	foreign_write(f, fs ? "G/F/c/cur/2.a:2," : ".G.F.c/cur/2.a:2,", "in c");
	foreign_sync(f);
	c = local_box(f, "G/F/c");
	memory_rename(f->local, &c, &GUID_ZERO, "c");
	assert_int_equal(foreign_try(f), 0);
	size_t known = memory_tree(f->local)->n;
	foreign_rmdir(f, dir);
	f->allow = true;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(foreign_try(f), 0);
		assert_int_equal(memory_tree(f->local)->n, known);
		assert_false(foreign_exists(f, dir));
		assert_int_equal(f->last.changed, i == 0);
	}
	assert_int_equal(local_live(f), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(an_empty_root_stops_everything),
		T(links_and_dotfiles_are_no_mail),
		T(a_folder_without_new_and_tmp_is_repaired),
		T(an_empty_directory_is_filled),
		T(a_revived_mailbox_was_not_renamed),
		T(another_inode_is_no_change),
		cmocka_unit_test_setup_teardown(a_name_above_nothing, foreign_setup,
						foreign_teardown),
		cmocka_unit_test_setup_teardown(a_name_above_nothing, foreign_setup_fs,
						foreign_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
