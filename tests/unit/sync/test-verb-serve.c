/*
 * test-verb-serve.c - its command line.  What it serves is played by tests/e2e/test_wire_par.py.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sync/cli.h"

#include <fcntl.h>
#include <unistd.h>

static int run(int argc, char **argv, const char *store)
{
	const struct cli cli = {.program = "mailbraid", .store = store};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(null >= 0);
	dup2(null, STDIN_FILENO);
	close(null);
	optind = 0;
	return verb_serve.run(&cli, &verb_serve, argc, argv);
}

static void what_it_does_not_know_is_refused(void **state)
{
	char serve[] = "serve", t[] = "-T", zero[] = "0", word[] = "x", more[] = "86401",
	     neg[] = "-5";
	char *bad[] = {zero, word, more, neg};

	for (int i = 0; i < 4; i++)
		assert_int_equal(run(3, (char *[]){serve, t, bad[i], NULL}, "/nonexistent"),
				 CLI_USAGE);
	assert_int_equal(run(2, (char *[]){serve, word, NULL}, "/nonexistent"), CLI_USAGE);
	assert_int_equal(run(2, (char *[]){serve, t, NULL}, "/nonexistent"), CLI_USAGE);
}

static void there_must_be_a_store(void **state)
{
	char serve[] = "serve";

	assert_int_equal(run(1, (char *[]){serve, NULL}, "/nonexistent"), CLI_FAILED);
	assert_int_equal(run(1, (char *[]){serve, NULL}, NULL), CLI_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_does_not_know_is_refused),
		cmocka_unit_test(there_must_be_a_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
