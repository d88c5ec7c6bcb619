/*
 * test-subscriptions.c - Dovecot's subscriptions file: both versions are read, kept and written.
 */
#include "backends/mail/subscriptions.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void parse(enum layout layout, const char *text, struct subscriptions *ret)
{
	subscriptions_parse(layout, text, strlen(text), ret);
}

static void assert_writes(const struct subscriptions *s, enum layout layout, const char *text)
{
	struct buf b = BUF_INIT;

	subscriptions_write(s, layout, &b);
	assert_string_equal(buf_cstr(&b), text);
	buf_release(&b);
}

static void test_version2_names_are_directories(void **state)
{
	static const char text[] = "V\t2\n\nFoo\nFoo\tB&AOQ-r\nINBOX\n";
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_MAILDIRPP, text, &s);
	assert_int_equal(s.n, 3);
	assert_true(subscriptions_has(&s, ".Foo"));
	assert_true(subscriptions_has(&s, ".Foo.B&AOQ-r"));
	assert_true(subscriptions_has(&s, ""));
	assert_writes(&s, LAYOUT_MAILDIRPP, text);
	subscriptions_release(&s);
}

static void test_version2_in_fs_layout(void **state)
{
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_FS, "V\t2\n\nFoo\tB.x\n", &s);
	assert_true(subscriptions_has(&s, "Foo/B.x"));
	assert_writes(&s, LAYOUT_FS, "V\t2\n\nFoo\tB.x\n");
	subscriptions_release(&s);
}

static void test_version1_stays_version1(void **state)
{
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_MAILDIRPP, "Foo\nFoo.Sub\ninbox\n", &s);
	assert_true(s.version1);
	assert_true(subscriptions_has(&s, ".Foo.Sub"));
	subscriptions_remove(&s, ".Foo");
	subscriptions_add(&s, ".New");
	assert_writes(&s, LAYOUT_MAILDIRPP, "Foo.Sub\nINBOX\nNew\n");
	subscriptions_release(&s);
}

static void test_a_new_file_is_version2(void **state)
{
	struct subscriptions s = {0};

	(void)state;
	subscriptions_add(&s, ".A.B");
	subscriptions_add(&s, ".A.B");
	assert_writes(&s, LAYOUT_MAILDIRPP, "V\t2\n\nA\tB\n");
	subscriptions_release(&s);
}

static void test_damaged_text_is_passed_over(void **state)
{
	static const char text[] = "V\t2\n\nGood\nbad\0name\n\n\nlast without end";
	struct subscriptions s;

	(void)state;
	subscriptions_parse(LAYOUT_MAILDIRPP, text, sizeof(text) - 1, &s);
	assert_int_equal(s.n, 2);
	assert_true(subscriptions_has(&s, ".Good"));
	assert_true(subscriptions_has(&s, ".last without end"));
	subscriptions_release(&s);
	for (size_t len = 0; len < sizeof(text); len++) {
		subscriptions_parse(LAYOUT_MAILDIRPP, text, len, &s);
		assert_true(s.n <= 3);
		subscriptions_release(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version2_names_are_directories),
		cmocka_unit_test(test_version2_in_fs_layout),
		cmocka_unit_test(test_version1_stays_version1),
		cmocka_unit_test(test_a_new_file_is_version2),
		cmocka_unit_test(test_damaged_text_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
