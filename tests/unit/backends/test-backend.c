/*
 * test-backend.c - values of the seam are released whole, and empty ones as well.
 */
#include "backends/backend.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static void change_sets(void **state)
{
	struct change_set c = {0};
	change_set_release(&c);
	c.messages = malloc(sizeof(*c.messages));
	c.mailboxes = malloc(sizeof(*c.mailboxes));
	c.aliases = malloc(sizeof(*c.aliases));
	c.n_messages = c.n_mailboxes = c.n_aliases = 1;
	change_set_release(&c);
	assert_null(c.messages);
	assert_int_equal(c.n_messages + c.n_mailboxes + c.n_aliases, 0);
	change_set_release(&c);
}

static void close_of_nothing(void **state)
{
	backend_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(change_sets),
		cmocka_unit_test(close_of_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
