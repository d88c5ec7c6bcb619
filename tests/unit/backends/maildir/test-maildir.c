/* A foreign Maildir in two-way step with a replica in memory: what each side does reaches the other. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "tests/support/foreign.h"
#include <fcntl.h>
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

/* The mail of a store of ours has a log that must not be passed by. */
static void the_mail_of_a_store_is_refused(void **state)
{
	struct foreign *f = *state;
	MB_AUTO_FREE char *mail = mb_xasprintf("%s/mail", f->dir->path);
	MB_AUTO_FREE char *log = mb_xasprintf("%s/log", f->dir->path);
	MB_AUTO_FREE char *config = mb_xasprintf("%s/config", f->dir->path);
	struct backend *b = NULL;

	assert_int_equal(rename(f->path, mail), 0);
	assert_int_equal(mkdir(log, 0700), 0);
	assert_int_equal(backend_open_maildir(mail, (int)f->layout, f->local, &b), 0);
	b->ops->close(b);
	assert_int_equal(close(open(config, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	assert_int_equal(backend_open_maildir(mail, (int)f->layout, f->local, &b), MB_E_SAME);
	assert_int_equal(rename(mail, f->path), 0);
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	b->ops->close(b);
}

static void what_is_no_maildir_is_refused(void **state)
{
	struct foreign *f = *state;
	struct backend *b = NULL;

	assert_int_equal(backend_open_maildir(f->dir->path, 0, f->local, &b), MB_E_NOT_MAILDIR);
	assert_int_equal(backend_open_maildir("/nonexistent", 0, f->local, &b), MB_E_NOT_MAILDIR);
}

/* Two reconcilers of one store take turns at the same Maildir: the map is read anew each time. */
static void another_may_have_synced_meanwhile(void **state)
{
	struct foreign *f = *state;
	struct session_options opt = {0};
	struct session_result r;
	struct backend *b = NULL;

	foreign_write(f, "new/1.a.host", "one\n");
	assert_int_equal(backend_open_maildir(f->path, (int)f->layout, f->local, &b), 0);
	assert_int_equal(session_run(f->local, b, &opt, &r), 0);
	session_result_release(&r);
	foreign_write(f, "new/2.a.host", "two\n");
	foreign_sync(f); /* with a backend of its own */
	assert_int_equal(session_run(f->local, b, &opt, &r), 0);
	assert_false(r.changed);
	session_result_release(&r);
	assert_int_equal(local_live(f), 2);
	assert_int_equal(foreign_count(f, ""), 2);
	backend_close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(both_sides_deliver),
		T(the_mail_of_a_store_is_refused),
		T(flags_go_both_ways),
		T(expunges_go_both_ways),
		T(what_is_no_maildir_is_refused),
		T(another_may_have_synced_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
