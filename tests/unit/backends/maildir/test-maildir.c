/* A foreign Maildir in two-way step with a replica in memory: what each side does reaches the other. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LETTERS_ARE(f, dir, text, want)                                                            \
	do {                                                                                       \
		MB_AUTO_FREE char *got_ = foreign_letters((f), (dir), (text));                     \
		assert_string_equal(got_, (want));                                                 \
	} while (0)

static void both_sides_deliver(void **state)
{
	struct foreign *f = *state;

	foreign_write(f, "new/1.a.host", "one\n");
	foreign_write(f, "cur/2.b.host:2,FS", "two\n");
	local_deliver(f, GUID_INBOX, "three\n");
	foreign_sync(f);
	assert_int_equal(local_live(f), 3);
	assert_int_equal(foreign_count(f, ""), 3);
	assert_int_equal(local_find(f, "two\n")->flags.set,
			 FLAG_MASK(FLAG_FLAGGED) | FLAG_MASK(FLAG_SEEN));
	assert_int_equal(foreign_tmp(f, ""), 0);
}

static void flags_go_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	g = local_deliver(f, GUID_INBOX, "two\n");
	foreign_sync(f);
	foreign_rename(f, "cur/1.a.host:2,", "cur/1.a.host:2,S");
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_ANSWERED), 0);
	foreign_sync(f);
	assert_int_equal(local_find(f, "one\n")->flags.set, FLAG_MASK(FLAG_SEEN));
	LETTERS_ARE(f, "", "two\n", "R");
	/* each side another bit of the same message */
	g = local_find(f, "one\n")->guid;
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_FLAGGED), 0);
	foreign_rename(f, "cur/1.a.host:2,S", "cur/1.a.host:2,R");
	foreign_sync(f);
	LETTERS_ARE(f, "", "one\n", "FR");
	assert_int_equal(local_find(f, "one\n")->flags.set,
			 FLAG_MASK(FLAG_FLAGGED) | FLAG_MASK(FLAG_ANSWERED));
}

static void expunges_go_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_write(f, "cur/1.a.host:2,", "one\n");
	g = local_deliver(f, GUID_INBOX, "two\n");
	local_deliver(f, GUID_INBOX, "three\n");
	foreign_sync(f);
	foreign_unlink(f, "cur/1.a.host:2,");
	memory_expunge(f->local, &g, 0);
	foreign_sync(f);
	assert_int_equal(local_live(f), 1);
	assert_int_equal(foreign_count(f, ""), 1);
}

static void folders_go_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_mkdir(f, ".Work.2024");
	foreign_write(f, ".Work.2024/new/1.a.host", "one\n");
	memory_create(f->local, &GUID_ZERO, "Lists", &g);
	local_deliver(f, g, "two\n");
	foreign_sync(f);
	assert_true(foreign_exists(f, ".Lists/cur"));
	assert_int_equal(foreign_count(f, ".Lists"), 1);
	g = local_box(f, "Work/2024");
	assert_false(guid_is_zero(&g));
	/* renamed on either side */
	foreign_rename(f, ".Lists", ".Groups");
	memory_rename(f->local, &g, &GUID_ZERO, "Old");
	foreign_sync(f);
	assert_true(foreign_exists(f, ".Old/cur"));
	assert_false(foreign_exists(f, ".Work.2024"));
	assert_int_equal(foreign_count(f, ".Old"), 1);
	g = local_box(f, "Groups");
	assert_false(guid_is_zero(&g));
	g = local_box(f, "Lists");
	assert_true(guid_is_zero(&g));
}

/* A parent that is no mailbox is only a part of names; it is renamed all the same. */
static void a_parent_may_be_no_mailbox(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &a, "B", &b);
	local_deliver(f, b, "one\n");
	memory_delete(f->local, &a); /* B keeps it as a name */
	foreign_sync(f);
	assert_false(foreign_exists(f, ".A"));
	assert_int_equal(foreign_count(f, ".A.B"), 1);
	foreign_mkdir(f, ".A.C");
	foreign_sync(f);
	b = local_box(f, "A/C");
	assert_false(guid_is_zero(&b));
	memory_rename(f->local, &a, &GUID_ZERO, "Z");
	foreign_sync(f);
	assert_int_equal(foreign_count(f, ".Z.B"), 1);
	assert_true(foreign_exists(f, ".Z.C/cur"));
	assert_false(foreign_exists(f, ".A.B"));
}

static void folders_are_deleted_both_ways(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	local_deliver(f, a, "one\n");
	local_deliver(f, b, "two\n");
	foreign_sync(f);
	memory_delete(f->local, &a);
	foreign_rmdir(f, ".B");
	foreign_sync(f);
	assert_false(foreign_exists(f, ".A"));
	a = local_box(f, "B");
	assert_true(guid_is_zero(&a));
	assert_int_equal(local_live(f), 0);
}

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

static void a_swap_of_names_arrives(void **state)
{
	struct foreign *f = *state;
	struct guid a, b;

	memory_create(f->local, &GUID_ZERO, "A", &a);
	memory_create(f->local, &GUID_ZERO, "B", &b);
	local_deliver(f, a, "one\n");
	local_deliver(f, b, "two\n");
	foreign_sync(f);
	memory_rename(f->local, &a, &GUID_ZERO, "C");
	memory_rename(f->local, &b, &GUID_ZERO, "A");
	memory_rename(f->local, &a, &GUID_ZERO, "B");
	foreign_sync(f);
	MB_AUTO_FREE char *one = foreign_find(f, ".B", "one\n");
	MB_AUTO_FREE char *two = foreign_find(f, ".A", "two\n");
	assert_non_null(one);
	assert_non_null(two);
	/* and back, by hand */
	foreign_rename(f, ".A", ".T");
	foreign_rename(f, ".B", ".A");
	foreign_rename(f, ".T", ".B");
	foreign_sync(f);
	assert_true(guid_equal(&local_find(f, "one\n")->place.mailbox, &a));
	assert_string_equal(tree_find(memory_tree(f->local), &a)->part, "A");
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

static void many_missing_are_held(void **state)
{
	struct foreign *f = *state;

	for (int i = 0; i < 20; i++) {
		char path[64];

		snprintf(path, sizeof(path), "cur/%d.x.host:2,", i);
		foreign_write(f, path, path);
	}
	foreign_sync(f);
	foreign_rmdir(f, "cur");
	foreign_mkdir(f, "");
	assert_int_equal(foreign_try(f), 0);
	assert_int_equal(f->last.held, 20);
	assert_int_equal(local_live(f), 20);
	f->allow = true;
	foreign_sync(f);
	assert_int_equal(local_live(f), 0);
}

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

static void letters_mean_keywords_by_the_folders_own_file(void **state)
{
	struct foreign *f = *state;
	struct guid g;
	struct keyword *k;

	foreign_write(f, "dovecot-keywords", "0 work\n1 home\n");
	foreign_write(f, "cur/1.a.host:2,Sac", "one\n");
	foreign_sync(f);
	k = flags_find_keyword(&local_find(f, "one\n")->flags, "work");
	assert_non_null(k);
	assert_true(k->set);
	g = local_find(f, "one\n")->guid;
	memory_keyword(f->local, &g, 0, "work", false);
	memory_keyword(f->local, &g, 0, "home", true);
	memory_keyword(f->local, &g, 0, "unknown-there", true);
	foreign_sync(f);
	LETTERS_ARE(f, "", "one\n", "Sbc");
}

static void what_is_no_maildir_is_refused(void **state)
{
	struct foreign *f = *state;
	struct backend *b = NULL;

	assert_int_equal(backend_open_maildir(f->dir->path, 0, f->local, &b), MB_E_NOT_MAILDIR);
	assert_int_equal(backend_open_maildir("/nonexistent", 0, f->local, &b), MB_E_NOT_MAILDIR);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(both_sides_deliver),
		T(flags_go_both_ways),
		T(expunges_go_both_ways),
		T(folders_go_both_ways),
		T(a_parent_may_be_no_mailbox),
		T(folders_are_deleted_both_ways),
		T(moves_keep_the_message),
		T(a_swap_of_names_arrives),
		T(what_both_have_is_paired),
		T(many_missing_are_held),
		T(an_empty_root_stops_everything),
		T(letters_mean_keywords_by_the_folders_own_file),
		T(what_is_no_maildir_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
