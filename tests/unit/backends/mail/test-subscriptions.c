/*
 * test-subscriptions.c - Dovecot's subscriptions file: both versions are read, kept and written.
 */
#include "backends/mail/subscriptions.h"
#include "backends/base/mem.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void parse(enum layout layout, const char *text, struct subscriptions *ret)
{
	assert_int_equal(subscriptions_parse(layout, text, strlen(text), ret), 0);
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
	assert_writes(&s, LAYOUT_MAILDIRPP, "Foo.Sub\ninbox\nNew\n");
	subscriptions_release(&s);
}

/* What looks like a head, further down, does not become one. */
static void test_version1_does_not_become_version2(void **state)
{
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_FS, "Foo\nV\t2\nBar\n", &s);
	subscriptions_remove(&s, "Foo");
	assert_writes(&s, LAYOUT_FS, "\nV\t2\nBar\n");
	subscriptions_release(&s);
	parse(LAYOUT_FS, "\nV\t2\nBar\n", &s);
	assert_true(s.version1);
	assert_true(subscriptions_has(&s, "Bar"));
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

/* A part with the layout's separator in it: another namespace's name, to be kept letter by letter. */
static void test_lines_of_other_namespaces_stay_as_they_are(void **state)
{
	static const char v2[] = "V\t2\n\nshared\tbob@example.org\tBox\nFoo\n";
	static const char v1[] = "shared\tBox\nFoo\n";
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_MAILDIRPP, v2, &s);
	assert_false(subscriptions_has(&s, ".shared.bob@example.org.Box"));
	subscriptions_remove(&s, ".Foo");
	subscriptions_add(&s, ".Foo");
	assert_writes(&s, LAYOUT_MAILDIRPP, v2);
	subscriptions_release(&s);

	parse(LAYOUT_FS, "V\t2\n\nshared/bob\tBox\n", &s);
	assert_false(subscriptions_has(&s, "shared/bob/Box"));
	assert_writes(&s, LAYOUT_FS, "V\t2\n\nshared/bob\tBox\n");
	subscriptions_release(&s);

	parse(LAYOUT_MAILDIRPP, v1, &s);
	assert_false(subscriptions_has(&s, ".shared.Box"));
	assert_writes(&s, LAYOUT_MAILDIRPP, v1);
	subscriptions_release(&s);
}

static void test_a_line_too_long_for_a_name_stays(void **state)
{
	char text[MAILBOX_NAME_MAX + 32] = "V\t2\n\n";
	struct subscriptions s;

	(void)state;
	memset(text + strlen(text), 'x', MAILBOX_NAME_MAX + 1);
	strcat(text, "\nFoo\n");
	parse(LAYOUT_FS, text, &s);
	assert_int_equal(s.n, 2);
	assert_true(subscriptions_has(&s, "Foo"));
	assert_writes(&s, LAYOUT_FS, text);
	subscriptions_release(&s);
}

static void test_what_is_no_such_file_is_refused(void **state)
{
	static const char zeros[] = "V\t2\n\nGood\nbad\0name\n";
	size_t len = 2 * (SUBSCRIPTIONS_MAX + 1) + 8;
	MB_AUTO_FREE char *many = mb_xcalloc(len * 4, 1);
	struct subscriptions s;
	size_t n = 0;

	(void)state;
	assert_int_equal(subscriptions_parse(LAYOUT_FS, zeros, sizeof(zeros) - 1, &s), -EINVAL);
	assert_null(s.lines);
	for (size_t i = 0; i < SUBSCRIPTIONS_MAX + 1; i++)
		n += (size_t)sprintf(many + n, "%zx\n", i);
	assert_int_equal(subscriptions_parse(LAYOUT_FS, many, n, &s), -EFBIG);
	assert_null(s.lines);
	n = (size_t)(strrchr(many, '\n') - many); /* the last without its end */
	while (many[n - 1] != '\n')
		n--;
	assert_int_equal(subscriptions_parse(LAYOUT_FS, many, n, &s), 0);
	assert_int_equal(s.n, SUBSCRIPTIONS_MAX);
	subscriptions_release(&s);
}

static void test_a_text_that_is_cut_anywhere_is_read(void **state)
{
	static const char text[] = "V\t2\n\nGood\n\n\nlast without end";
	struct subscriptions s;

	(void)state;
	parse(LAYOUT_MAILDIRPP, text, &s);
	assert_int_equal(s.n, 2);
	assert_true(subscriptions_has(&s, ".Good"));
	assert_true(subscriptions_has(&s, ".last without end"));
	subscriptions_release(&s);
	for (size_t len = 0; len < sizeof(text); len++) {
		assert_int_equal(subscriptions_parse(LAYOUT_MAILDIRPP, text, len, &s), 0);
		assert_true(s.n <= 2);
		subscriptions_release(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version2_names_are_directories),
		cmocka_unit_test(test_version2_in_fs_layout),
		cmocka_unit_test(test_version1_stays_version1),
		cmocka_unit_test(test_version1_does_not_become_version2),
		cmocka_unit_test(test_a_new_file_is_version2),
		cmocka_unit_test(test_lines_of_other_namespaces_stay_as_they_are),
		cmocka_unit_test(test_a_line_too_long_for_a_name_stays),
		cmocka_unit_test(test_what_is_no_such_file_is_refused),
		cmocka_unit_test(test_a_text_that_is_cut_anywhere_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
