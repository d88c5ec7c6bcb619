/* Letters a to z of a foreign mailbox. */
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

static void letters_without_the_file_stay(void **state)
{
	struct foreign *f = *state;
	struct guid g;

	foreign_write(f, "cur/1.a.host:2,Sac", "one\n");
	foreign_sync(f);
	assert_int_equal(local_find(f, "one\n")->flags.n_keywords, 0);
	g = local_find(f, "one\n")->guid;
	memory_flags(f->local, &g, 0, FLAG_MASK(FLAG_FLAGGED), 0);
	foreign_sync(f);
	LETTERS_ARE(f, "", "one\n", "FSac");
}

/* Each folder has its own letters. */
static void a_move_spells_keywords_anew(void **state)
{
	struct foreign *f = *state;
	struct guid g, x;

	foreign_mkdir(f, ".X");
	foreign_write(f, "dovecot-keywords", "0 work\n");
	foreign_write(f, ".X/dovecot-keywords", "0 home\n1 work\n");
	foreign_write(f, "cur/1.a.host:2,Sa", "one\n");
	foreign_sync(f);
	g = local_find(f, "one\n")->guid;
	x = local_box(f, "X");
	memory_move(f->local, &g, 0, &x);
	foreign_sync(f);
	LETTERS_ARE(f, ".X", "one\n", "Sb");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, foreign_setup, foreign_teardown)
	const struct CMUnitTest tests[] = {
		T(letters_mean_keywords_by_the_folders_own_file),
		T(letters_without_the_file_stay),
		T(a_move_spells_keywords_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
