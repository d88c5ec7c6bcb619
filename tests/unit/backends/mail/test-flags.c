/* Flags merge bit by bit, the later stamp wins; the join does not depend on any order. */
#include "backends/mail/flags.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define FLAGS_AUTO __attribute__((cleanup(flags_release)))
#define AT(t) ((struct stamp){(t), 1})

static void names_and_letters(void **state)
{
	enum flag_bit bit;

	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		assert_true(flag_by_name(flag_name((enum flag_bit)i), &bit));
		assert_int_equal(bit, i);
	}
	assert_string_equal(FLAG_LETTERS, "DFPRST");
	assert_int_equal(FLAG_LETTERS[FLAG_ANSWERED], 'R');
	assert_true(flag_by_name("\\SEEN", &bit) && bit == FLAG_SEEN);
	assert_true(flag_by_name("$forwarded", &bit) && bit == FLAG_PASSED);
	assert_false(flag_by_name("Seen", &bit));
	assert_false(flag_by_name("", &bit));
	assert_string_equal(flag_name(FLAG_COUNT), "");
}

static void keyword_names(void **state)
{
	static const char *const good[] = {"a", "$Junk", "work/x", "~", "!", "a.b:c,d"};
	static const char *const bad[] = {"",	  " ",	"a b",	"\\Seen", "a\\b", "(",
					  ")",	  "{",	"%",	"*",	  "\"",	  "]",
					  "\x7f", "\t", "\xc3", "a\nb",	  "\x80"};
	char name[257];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(keyword_ok(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(keyword_ok(bad[i]));
	memset(name, 'x', 256);
	name[255] = '\0';
	assert_true(keyword_ok(name));
	name[255] = 'x';
	name[256] = '\0';
	assert_false(keyword_ok(name));
}

static void the_later_stamp_wins(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};

	flags_put(&a, FLAG_SEEN, true, AT(5));
	flags_put(&b, FLAG_SEEN, false, AT(6));
	flags_put(&b, FLAG_FLAGGED, true, AT(1));
	assert_true(flags_join(&a, &b));
	assert_int_equal(a.set, FLAG_MASK(FLAG_FLAGGED));
	assert_int_equal(a.at[FLAG_SEEN].time, 6);
	assert_false(flags_join(&a, &b));
}

static void what_is_later_and_otherwise(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};

	flags_put(&a, FLAG_SEEN, true, AT(5));
	assert_true(flags_later(&a, &b));
	assert_false(flags_later(&b, &a));
	flags_put(&b, FLAG_SEEN, true, AT(3));
	assert_false(flags_later(&a, &b)); /* as it is there */
	flags_put(&b, FLAG_SEEN, false, AT(7));
	assert_false(flags_later(&a, &b));
	assert_true(flags_later(&b, &a));
	flags_put_keyword(&a, "work", true, AT(1));
	assert_true(flags_later(&a, &b));
	flags_put_keyword(&b, "work", false, AT(2));
	assert_false(flags_later(&a, &b));
	assert_int_equal(a.n_keywords, 1); /* neither is changed by it */
	assert_true(a.set & FLAG_MASK(FLAG_SEEN));
}

static void equal_stamps_keep_the_flag(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};

	flags_put(&a, FLAG_SEEN, false, AT(5));
	flags_put(&b, FLAG_SEEN, true, AT(5));
	assert_true(flags_join(&a, &b));
	assert_int_equal(a.set, FLAG_MASK(FLAG_SEEN));
	assert_false(flags_join(&a, &b));
	flags_put(&b, FLAG_SEEN, false, AT(5));
	assert_false(flags_join(&a, &b));
	assert_int_equal(a.set, FLAG_MASK(FLAG_SEEN));
}

static void keywords_are_one_in_any_case(void **state)
{
	FLAGS_AUTO struct flags f = {0};

	flags_put_keyword(&f, "Work", true, AT(1));
	flags_put_keyword(&f, "alpha", true, AT(1));
	flags_put_keyword(&f, "WORK", false, AT(2));
	assert_int_equal(f.n_keywords, 2);
	assert_string_equal(f.keywords[0].name, "alpha");
	assert_string_equal(f.keywords[1].name, "Work"); /* the first spelling */
	assert_false(flags_find_keyword(&f, "work")->set);
	assert_null(flags_find_keyword(&f, "wor"));
}

static void a_cleared_keyword_keeps_its_stamp(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};

	flags_put_keyword(&a, "work", false, AT(9));
	flags_put_keyword(&b, "work", true, AT(5));
	assert_true(flags_join(&b, &a));
	assert_false(flags_find_keyword(&b, "work")->set);
	assert_true(flags_same_set(&a, &b));
}

static void the_same_set(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};

	assert_true(flags_same_set(&a, &b) && flags_equal(&a, &b));
	flags_put_keyword(&a, "work", true, AT(1));
	assert_false(flags_same_set(&a, &b));
	flags_put_keyword(&b, "a", false, AT(1));
	flags_put_keyword(&b, "WORK", true, AT(2));
	flags_put_keyword(&b, "z", false, AT(1));
	assert_true(flags_same_set(&a, &b) && flags_same_set(&b, &a));
	assert_false(flags_equal(&a, &b));
	flags_put_keyword(&b, "z", true, AT(1));
	assert_false(flags_same_set(&a, &b) || flags_same_set(&b, &a));
	flags_put_keyword(&b, "z", false, AT(1));
	flags_put(&b, FLAG_DRAFT, true, AT(1));
	assert_false(flags_same_set(&a, &b));
}

static void text_for_people(void **state)
{
	BUF_AUTO struct buf out = BUF_INIT;
	FLAGS_AUTO struct flags f = {0};

	flags_text(&f, &out);
	assert_int_equal(out.len, 0);
	flags_put(&f, FLAG_SEEN, true, AT(1));
	flags_put(&f, FLAG_PASSED, true, AT(1));
	flags_put_keyword(&f, "work", true, AT(1));
	flags_put_keyword(&f, "gone", false, AT(1));
	buf_put(&out, "flags ", 6); /* what is there is not looked at */
	flags_text(&f, &out);
	assert_string_equal(buf_cstr(&out), "flags $Forwarded \\Seen work");
}

static void join(struct flags *dst, const struct flags *a, const struct flags *b)
{
	struct flags before = {0};
	bool changed;

	flags_copy(dst, a);
	flags_copy(&before, dst);
	changed = flags_join(dst, b);
	assert_int_equal(changed, !flags_equal(&before, dst));
	flags_release(&before);
}

static void join_is_a_join(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0}, c = {0}, ab = {0}, ba = {0}, bc = {0}, x = {0},
				y = {0};
	struct prng p = {2};

	for (int i = 0; i < 20000; i++) {
		random_flags(&p, &a);
		random_flags(&p, &b);
		random_flags(&p, &c);
		join(&ab, &a, &b);
		join(&ba, &b, &a);
		assert_true(flags_equal(&ab, &ba));
		join(&bc, &b, &c);
		join(&x, &ab, &c);
		join(&y, &a, &bc);
		assert_true(flags_equal(&x, &y));
		join(&x, &ab, &b);
		assert_true(flags_equal(&x, &ab));
		assert_false(flags_join(&a, &a));
	}
}

static void fill(struct prng *p, struct flags *f, unsigned first)
{
	flags_release(f);
	for (unsigned i = first; i < first + KEYWORDS_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "k%u", i);
		flags_put_keyword(f, name, prng_bool(p), (struct stamp){prng_below(p, 9), 1});
	}
	assert_int_equal(f->n_keywords, KEYWORDS_MAX);
}

static void the_bound_does_not_depend_on_the_order(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0}, c = {0}, ab = {0}, bc = {0}, x = {0}, y = {0};
	struct prng p = {3};

	for (int i = 0; i < 5; i++) {
		fill(&p, &a, 0);
		fill(&p, &b, 500);
		fill(&p, &c, 1100);
		join(&ab, &a, &b);
		assert_int_equal(ab.n_keywords, KEYWORDS_MAX);
		join(&bc, &b, &c);
		join(&x, &ab, &c);
		join(&y, &a, &bc);
		assert_true(flags_equal(&x, &y));
		join(&y, &bc, &a);
		assert_true(flags_equal(&x, &y));
		join(&y, &x, &a);
		assert_true(flags_equal(&x, &y));
	}
	flags_put_keyword(&x, "new", true, AT(100));
	assert_int_equal(x.n_keywords, KEYWORDS_MAX);
	assert_non_null(flags_find_keyword(&x, "new"));
}

static void encoded_and_back(void **state)
{
	FLAGS_AUTO struct flags a = {0}, b = {0};
	struct prng p = {4};

	for (int i = 0; i < 5000; i++) {
		BUF_AUTO struct buf out = BUF_INIT, again = BUF_INIT;
		struct reader r;

		random_flags(&p, &a);
		flags_encode(&a, &out);
		r = reader_of(out.data, out.len);
		flags_release(&b);
		assert_true(flags_decode(&r, &b));
		assert_int_equal(reader_left(&r), 0);
		assert_true(flags_equal(&a, &b));
		flags_encode(&b, &again);
		assert_int_equal(out.len, again.len);
		assert_memory_equal(out.data, again.data, out.len);
	}
}

static void decode_damaged(const void *data, size_t len)
{
	struct reader r = reader_of(data, len);
	FLAGS_AUTO struct flags f;

	if (flags_decode(&r, &f)) {
		assert_true(f.n_keywords <= KEYWORDS_MAX);
		for (size_t i = 0; i < f.n_keywords; i++)
			assert_true(keyword_ok(f.keywords[i].name));
	} else {
		assert_null(f.keywords);
	}
}

static void damage_is_no_crash(void **state)
{
	FLAGS_AUTO struct flags a = {0};
	struct prng p = {5};

	for (int i = 0; i < 50; i++) {
		BUF_AUTO struct buf out = BUF_INIT;

		random_flags(&p, &a);
		flags_encode(&a, &out);
		for_each_damage(out.data, out.len, decode_damaged);
	}
}

static bool decodes(const char *bytes, size_t len)
{
	struct reader r = reader_of(bytes, len);
	FLAGS_AUTO struct flags f;

	return flags_decode(&r, &f);
}

#define STAMP16 "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"

static void odd_encodings_are_refused(void **state)
{
	assert_true(decodes("\0\0\0", 3));
	assert_false(decodes("\100\0\0", 3));			       /* a bit beyond */
	assert_false(decodes("\0\1\0" STAMP16 "\0", 20));	       /* an empty mask */
	assert_false(decodes("\0\2\1" STAMP16 "\1" STAMP16 "\0", 37)); /* a bit twice */
	assert_true(decodes("\0\0\1\1a\1" STAMP16, 22));
	assert_false(decodes("\0\0\1\1a\2" STAMP16, 22));		  /* set is 0 or 1 */
	assert_false(decodes("\0\0\1\1(\1" STAMP16, 22));		  /* no keyword */
	assert_false(decodes("\0\0\2\1a\1" STAMP16 "\1A\1" STAMP16, 41)); /* the same twice */
	assert_false(decodes("\0\0\2\1b\1" STAMP16 "\1a\1" STAMP16, 41)); /* not sorted */
	assert_false(decodes("\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 12)); /* count */
	assert_false(decodes("\0\0\x81\x08", 4));				 /* 1025 of them */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_letters),
		cmocka_unit_test(keyword_names),
		cmocka_unit_test(the_later_stamp_wins),
		cmocka_unit_test(what_is_later_and_otherwise),
		cmocka_unit_test(equal_stamps_keep_the_flag),
		cmocka_unit_test(keywords_are_one_in_any_case),
		cmocka_unit_test(a_cleared_keyword_keeps_its_stamp),
		cmocka_unit_test(the_same_set),
		cmocka_unit_test(text_for_people),
		cmocka_unit_test(join_is_a_join),
		cmocka_unit_test(the_bound_does_not_depend_on_the_order),
		cmocka_unit_test(encoded_and_back),
		cmocka_unit_test(damage_is_no_crash),
		cmocka_unit_test(odd_encodings_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
