/* GUIDs: text and back, never zero by chance. */
#include "backends/mail/guid.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void text_and_back(void **state)
{
	struct guid g = guid_new(), back;
	char text[GUID_TEXT];

	assert_int_equal(strlen(guid_text(&g, text)), 32);
	assert_true(guid_parse(text, &back));
	assert_true(guid_equal(&g, &back));
	assert_string_equal(guid_text(&GUID_ZERO, text), "00000000000000000000000000000000");
	/* written into every store: never to change */
	assert_string_equal(guid_text(&GUID_INBOX, text), "1b0c5e937ad44f268e61b238f70dc945");
	assert_true(guid_parse("1B0C5E937AD44F268E61B238F70DC945", &back));
	assert_true(guid_equal(&GUID_INBOX, &back));
}

static void bad_text_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "1",
					  "1b0c5e937ad44f268e61b238f70dc94",
					  "1b0c5e937ad44f268e61b238f70dc9455",
					  "1b0c5e937ad44f268e61b238f70dc94g",
					  " 1b0c5e937ad44f268e61b238f70dc94",
					  "0x0c5e937ad44f268e61b238f70dc945"};
	struct guid g = GUID_INBOX;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(guid_parse(bad[i], &g));
	assert_true(guid_equal(&g, &GUID_INBOX)); /* left alone */
}

static void order_and_equality(void **state)
{
	struct guid a = {{1}}, b = {{2}}, last = {{[15] = 1}};

	assert_true(guid_compare(&a, &b) < 0 && guid_compare(&b, &a) > 0);
	assert_int_equal(guid_compare(&a, &a), 0);
	assert_true(guid_is_zero(&GUID_ZERO));
	assert_false(guid_is_zero(&last));
	assert_false(guid_equal(&a, &b));
}

static void new_ones_differ(void **state)
{
	struct guid a = guid_new(), b = guid_new();

	assert_false(guid_equal(&a, &b));
	assert_false(guid_is_zero(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_back),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(order_and_equality),
		cmocka_unit_test(new_ones_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
