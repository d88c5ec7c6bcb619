/* Names that look the same to a person. */
#include "backends/mail/layout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void composed_and_decomposed(void **state)
{
	static const struct {
		const char *nfc, *nfd;
	} rows[] = {
		{"\xc3\x80", "A\xcc\x80"},		 /* À, first of the table */
		{"\xc3\xa9", "e\xcc\x81"},		 /* é */
		{"Entw\xc3\xbcrfe", "Entwu\xcc\x88rfe"}, /* ü */
		{"\xc5\xbe", "z\xcc\x8c"},		 /* ž, last of the table */
		{"\xc4\x85", "a\xcc\xa8"},		 /* ą */
		{"\xc5\xb1", "u\xcc\x8b"},		 /* ű */
		{"\xc3\xa7", "c\xcc\xa7"},		 /* ç */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_true(mailbox_part_same(rows[i].nfc, rows[i].nfd, false));
		assert_true(mailbox_part_same(rows[i].nfd, rows[i].nfc, true));
	}
}

static void different_names(void **state)
{
	static const char *const rows[][2] = {
		{"a", "b"},
		{"a", "ab"},
		{"", "a"},
		{"e", "\xc3\xa9"},
		{"\xc3\xa9", "\xc3\xa8"},
		{"e\xcc\x81x", "e\xcc\x81"},
		{"\xc3\x86", "AE"},   /* Æ has no parts */
		{"q\xcc\x81", "q"},   /* q with acute is not in the table */
		{"\xc3", "\xc3\x83"}, /* half a letter */
		{"\xff", "\xfe"},
		{"\xe9", "\xc3\xa9"}, /* Latin-1 is not UTF-8 */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_false(mailbox_part_same(rows[i][0], rows[i][1], true));
		assert_false(mailbox_part_same(rows[i][1], rows[i][0], true));
		assert_true(mailbox_part_same(rows[i][0], rows[i][0], false));
	}
}

static void case_is_ascii_only(void **state)
{
	assert_false(mailbox_part_same("Foo", "foo", false));
	assert_true(mailbox_part_same("Foo", "fOO", true));
	assert_true(mailbox_part_same("\xc3\x89", "\xc3\xa9", true)); /* É é */
	assert_false(mailbox_part_same("\xc3\x89", "\xc3\xa9", false));
	assert_true(mailbox_part_same("E\xcc\x81", "e\xcc\x81", true));
	assert_true(mailbox_part_same("\xc4\x8c", "\xc4\x8d", true));  /* Č č */
	assert_true(mailbox_part_same("\xc5\xbd", "\xc5\xbe", true));  /* Ž ž */
	assert_true(mailbox_part_same("\xc5\xb8", "\xc3\xbf", true));  /* Ÿ ÿ */
	assert_true(mailbox_part_same("\xce\xa9", "\xcf\x89", true));  /* Ω ω */
	assert_true(mailbox_part_same("\xd0\x96", "\xd0\xb6", true));  /* Ж ж */
	assert_true(mailbox_part_same("\xd0\x81", "\xd1\x91", true));  /* Ё ё */
	assert_false(mailbox_part_same("\xc3\x97", "\xc3\xb7", true)); /* × ÷ */
	assert_false(mailbox_part_same("\xc4\xb0", "\xc4\xb1", true)); /* İ ı */
	assert_false(mailbox_part_same("\xc4\xb1", "i", true));
	assert_true(mailbox_part_same("E\xcc\x81X", "\xc3\x89x", true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(composed_and_decomposed),
		cmocka_unit_test(different_names),
		cmocka_unit_test(case_is_ascii_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
