/*
 * test-uidlist.c - dovecot-uidlist: both versions are read, what is unknown is kept, what Dovecot
 * would throw away says nothing, and no bytes whatever break the reader.
 */
#include "backends/mail/uidlist.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define GUID_HEX "50385f36b5c4026b8c0f000083ecc375"

/* As Dovecot 2.3.19 writes it: the header is not touched when lines are appended. */
static const char dovecot[] = "3 V1795343541 N1 G" GUID_HEX "\n"
			      "1 :1700000001.M1P1.host\n"
			      "2 W512 S498 :1700000002.M1P1.host,S=498\n"
			      "7 G0123456789abcdef0123456789abcdef P12 :1700000003.M1P1.host\n";

static int parse(const char *text, struct uidlist *ret)
{
	return uidlist_parse(text, strlen(text), ret);
}

static void assert_writes(const struct uidlist *l, const char *text)
{
	struct buf b = BUF_INIT;

	uidlist_write(l, &b);
	assert_string_equal(buf_cstr(&b), text);
	buf_release(&b);
}

static uint32_t uid_of(const struct uidlist *l, const char *file)
{
	const struct uidlist_line *line = uidlist_find(l, file);

	return line ? uidlist_uid(line) : 0;
}

static void test_reads_what_dovecot_writes(void **state)
{
	struct uidlist l;
	struct guid g, want;

	(void)state;
	assert_int_equal(parse(dovecot, &l), 0);
	assert_int_equal(l.uid_validity, 1795343541);
	assert_int_equal(l.uid_next, 8);
	assert_true(guid_parse(GUID_HEX, &want));
	assert_true(guid_equal(&l.guid, &want));
	assert_int_equal(l.n, 3);
	assert_true(l.whole);
	assert_int_equal(uid_of(&l, "1700000001.M1P1.host:2,FS"), 1);
	assert_int_equal(uid_of(&l, "1700000002.M1P1.host,S=498"), 2);
	assert_int_equal(uid_of(&l, "1700000002.M1P1.host"), 0);
	assert_string_equal(uidlist_name(uidlist_by_uid(&l, 7)), "1700000003.M1P1.host");
	assert_null(uidlist_by_uid(&l, 3));
	assert_true(uidlist_line_guid(uidlist_by_uid(&l, 7), &g));
	assert_true(guid_parse("0123456789abcdef0123456789abcdef", &want));
	assert_true(guid_equal(&g, &want));
	assert_false(uidlist_line_guid(uidlist_by_uid(&l, 2), &g));
	uidlist_release(&l);
}

static void test_keeps_fields_it_does_not_know(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("3 V5 N9 Gabc Xfuture\n4 W1 Zwhat :a,S=1\n", &l), 0);
	assert_true(guid_is_zero(&l.guid));
	assert_writes(&l, "3 V5 N9 Gabc Xfuture\n4 W1 Zwhat :a,S=1\n");
	uidlist_release(&l);
}

static void test_version1_is_read_and_becomes_3(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("1 1100000000 12\n3 a.b:2,S\n11 c d\n", &l), 0);
	assert_int_equal(l.uid_validity, 1100000000);
	assert_int_equal(l.uid_next, 12);
	assert_false(l.whole);
	assert_int_equal(uid_of(&l, "a.b:2,FS"), 3);
	assert_writes(&l, "3 V1100000000 N12\n3 :a.b\n11 :c d\n");
	uidlist_release(&l);
}

static void test_set_gives_a_uid(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("3 V5 N4\n1 W7 :a\n2 :b\n3 :c\n", &l), 0);
	uidlist_set(&l, "d:2,S", 4); /* at the end: may be appended */
	assert_true(l.whole);
	uidlist_set(&l, "a", 9); /* keeps its fields */
	assert_false(l.whole);
	uidlist_set(&l, "b", 2); /* as it is */
	uidlist_set(&l, "e", 3); /* takes c's */
	assert_null(uidlist_find(&l, "c"));
	uidlist_remove(&l, "b");
	uidlist_remove(&l, "none");
	assert_int_equal(l.uid_next, 10);
	assert_writes(&l, "3 V5 N10\n3 :e\n4 :d\n9 W7 :a\n");
	uidlist_release(&l);
}

static void test_set_begins_a_list(void **state)
{
	struct uidlist l = {.uid_validity = 3, .uid_next = 1};

	(void)state;
	uidlist_set(&l, "x", 6);
	assert_writes(&l, "3 V3 N7\n6 :x\n");
	uidlist_release(&l);
}

/* Dovecot takes the last of two lines with one name, and so do we. */
static void test_the_last_of_two_names_counts(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("3 V5 N4\n1 :a\n2 :b\n3 :a\n", &l), 0);
	assert_int_equal(l.n, 2);
	assert_int_equal(uid_of(&l, "a"), 3);
	assert_false(l.whole);
	uidlist_release(&l);
}

static void test_an_unfinished_line_does_not_count(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("3 V5 N1\n1 :a\n2 :170000", &l), 0);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.uid_next, 2);
	assert_false(l.whole);
	uidlist_release(&l);
}

static void test_greatest_numbers(void **state)
{
	struct uidlist l;

	(void)state;
	assert_int_equal(parse("3 V4294967295 N4294967295\n4294967294 :a\n", &l), 0);
	assert_int_equal(l.uid_next, UINT32_MAX);
	uidlist_release(&l);
}

static void test_what_says_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		"3",
		"3 ",
		"3 V5 N1", /* no line end */
		"2 V5 N1\n",
		"4 V5 N1\n",
		"3 V0 N1\n",
		"3 V5 N0\n",
		"3 V5\n",
		"3 N1\n",
		"3 V-5 N1\n",
		"3 V5x N1\n",
		"3 V N1\n",
		"3 V4294967296 N1\n",
		"3 V18446744073709551617 N1\n",
		"3 V5  N1\n",
		"1 5\n",
		"1 5 1 2\n",
		"1 0 1\n",
		"3 V5 N1\n:a\n",
		"3 V5 N1\n0 :a\n",
		"3 V5 N1\n4294967295 :a\n",
		"3 V5 N1\n4294967296 :a\n",
		"3 V5 N1\n1\n",
		"3 V5 N1\n1 \n",
		"3 V5 N1\n1 a\n",
		"3 V5 N1\n1 w5 :a\n",
		"3 V5 N1\n1 W5:a\n",
		"3 V5 N1\n1 :\n",
		"3 V5 N1\n1 ::2,S\n",
		"3 V5 N1\n1 :a/b\n",
		"3 V5 N1\n1 :..\n",
		"3 V5 N1\n1 :.hidden\n",
		"3 V5 N1\n2 :a\n1 :b\n", /* descends */
		"3 V5 N1\n2 :a\n2 :b\n",
		"3 V5 N1\n\n",
	};
	struct uidlist l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &l) != MB_E_FORMAT)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(uidlist_parse("3 V5 N1\n1 :a\0b\n", 16, &l), MB_E_FORMAT);
}

static void test_long_names_and_headers_are_refused(void **state)
{
	MB_AUTO_FREE char *text = mb_xcalloc(1, 10000);
	struct uidlist l;

	(void)state;
	snprintf(text, 10000, "3 V5 N1\n1 :%0300d\n", 0);
	assert_int_equal(parse(text, &l), MB_E_FORMAT);
	snprintf(text, 10000, "3 V5 N1 X%05000d\n", 0);
	assert_int_equal(parse(text, &l), MB_E_FORMAT);
}

/* What every list that was read is like, whatever the bytes were. */
static void assert_sound(const struct uidlist *l)
{
	struct buf b = BUF_INIT, again = BUF_INIT;
	struct uidlist copy;
	uint32_t last = 0;

	assert_true(l->uid_validity && l->uid_next);
	for (size_t i = 0; i < l->n; i++) {
		uint32_t uid = uidlist_uid(l->lines[i]);

		assert_true(uid > last && uid < l->uid_next);
		assert_ptr_equal(uidlist_find(l, uidlist_name(l->lines[i])), l->lines[i]);
		last = uid;
	}
	uidlist_write(l, &b);
	assert_int_equal(uidlist_parse((char *)b.data, b.len, &copy), 0);
	uidlist_write(&copy, &again);
	assert_int_equal(b.len, again.len);
	assert_memory_equal(b.data, again.data, b.len);
	uidlist_release(&copy);
	buf_release(&b);
	buf_release(&again);
}

static void try(const char *text, size_t len)
{
	char *exact = mb_xcalloc(1, len ? len : 1); /* so that a read past the end is noticed */
	struct uidlist l;
	int err;

	memcpy(exact, text, len);
	err = uidlist_parse(exact, len, &l);
	assert_true(err == 0 || err == MB_E_FORMAT);
	if (err == 0)
		assert_sound(&l);
	uidlist_release(&l);
	free(exact);
}

static const char *const corpus[] = {
	dovecot,
	"1 1100000000 12\n3 a.b:2,S\n11 c d\n",
	"3 V5 N4\n1 :a\n2 :b\n3 :a\n",
	"3 V4294967295 N4294967295 Gx Y\n4294967294 A B1 :a\n",
};

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t c = 0; c < sizeof(corpus) / sizeof(corpus[0]); c++)
		for (size_t len = 0; len <= strlen(corpus[c]); len++)
			try(corpus[c], len);
}

static void test_every_flipped_bit(void **state)
{
	(void)state;
	for (size_t c = 0; c < sizeof(corpus) / sizeof(corpus[0]); c++) {
		MB_AUTO_FREE char *text = mb_xstrdup(corpus[c]);
		size_t len = strlen(text);

		for (size_t i = 0; i < 8 * len; i++) {
			text[i / 8] ^= (char)(1 << i % 8);
			try(text, len);
			text[i / 8] ^= (char)(1 << i % 8);
		}
	}
}

/* Pieces of good files in any order. */
static void test_random_pieces(void **state)
{
	static const char *const pieces[] = {"3 ", "1 ", "V5 ", "N1 ",	     "G",      "\n",
					     " ",  ":a", ":b ", "7",	     "8 W12 ", "V5\n",
					     "N3", "\t", "0",	"9999999999"};
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char text[256] = "3 V5 N1\n";
		size_t len = round % 2 ? strlen(text) : 0;

		for (int i = 0; i < 12; i++) {
			const char *p = pieces[(seed = seed * 1103515245 + 12345) >> 16 & 15];

			memcpy(text + len, p, strlen(p));
			len += strlen(p);
		}
		try(text, len);
	}
}

static void test_random_changes_stay_sound(void **state)
{
	struct uidlist l = {.uid_validity = 1, .uid_next = 1};
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		char name[16];

		seed = seed * 1103515245 + 12345;
		snprintf(name, sizeof(name), "n%u", seed >> 16 & 63);
		if (seed >> 24 & 3)
			uidlist_set(&l, name, 1 + (seed >> 8 & 255));
		else
			uidlist_remove(&l, name);
		if (i % 100 == 0)
			assert_sound(&l);
	}
	assert_sound(&l);
	uidlist_release(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_dovecot_writes),
		cmocka_unit_test(test_keeps_fields_it_does_not_know),
		cmocka_unit_test(test_version1_is_read_and_becomes_3),
		cmocka_unit_test(test_set_gives_a_uid),
		cmocka_unit_test(test_set_begins_a_list),
		cmocka_unit_test(test_the_last_of_two_names_counts),
		cmocka_unit_test(test_an_unfinished_line_does_not_count),
		cmocka_unit_test(test_greatest_numbers),
		cmocka_unit_test(test_what_says_nothing),
		cmocka_unit_test(test_long_names_and_headers_are_refused),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_every_flipped_bit),
		cmocka_unit_test(test_random_pieces),
		cmocka_unit_test(test_random_changes_stay_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
