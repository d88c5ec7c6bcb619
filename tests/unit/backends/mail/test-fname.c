/* The name of a message file: every name gives a result, and writing it again is sane. */
#include "backends/mail/fname.h"
#include "backends/base/mem.h"
#include "backends/mail/flags.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define S FLAG_MASK(FLAG_SEEN)
#define R FLAG_MASK(FLAG_ANSWERED)

static const struct {
	const char *name;
	size_t base, unique;
	char separator;
	unsigned flags;
	uint32_t keywords, others;
	bool canonical;
	const char *extra;
} rows[] = {
	{"1.x.h:2,S", 5, 5, ':', S, 0, 0, true, NULL},
	{"1.x.h:2,", 5, 5, ':', 0, 0, 0, true, NULL},
	{"1.x.h", 5, 5, 0, 0, 0, 0, false, NULL},
	{"1.x.h,S=40,W=44:2,RS", 15, 5, ':', R | S, 0, 0, true, NULL},
	{"1.x.h,U=7,FMD5=ab:2,S", 17, 5, ':', S, 0, 0, true, NULL},
	{"x!2,S", 1, 1, '!', S, 0, 0, true, NULL},
	{"x;2,S", 1, 1, ';', S, 0, 0, true, NULL},
	{"x:2,DFPRST", 1, 1, ':', FLAG_ALL, 0, 0, true, NULL},
	{"x:2,Sabz", 1, 1, ':', S, 1 | 2 | 1u << 25, 0, true, NULL},
	{"x:2,ASZ", 1, 1, ':', S, 0, 1 | 1u << 25, true, NULL},
	{"x:2,SR", 1, 1, ':', R | S, 0, 0, false, NULL}, /* not sorted */
	{"x:2,SS", 1, 1, ':', S, 0, 0, false, NULL},	 /* twice */
	{"x:2,aS", 1, 1, ':', S, 1, 0, false, NULL},
	{"x:2,S,extra:y", 1, 1, ':', S, 0, 0, false, ",extra:y"},
	{"x:2,S-?", 1, 1, ':', S, 0, 0, false, "-?"},
	{"x:2,,", 1, 1, ':', 0, 0, 0, false, ","},
	/* info parts in a row: the letters of the last, the base before the first */
	{"x:2,:2,S", 1, 1, ':', S, 0, 0, false, NULL},
	{"x:2,S:2,R", 1, 1, ':', R, 0, 0, false, NULL},
	{"x!2,T:2,S", 1, 1, ':', S, 0, 0, false, NULL},
	{"x:2,A:2,B:2,S", 1, 1, ':', S, 0, 0, false, NULL},
	{"x:2,,a:2,S", 6, 3, ':', S, 0, 0, true, NULL}, /* not a row: a strange base */
	/* the experimental semantics of the Maildir format */
	{"x:1,abc", 1, 1, ':', 0, 0, 0, false, NULL},
	{"x:1,:2,S", 1, 1, ':', S, 0, 0, false, NULL},
	{"x!1,a", 5, 3, 0, 0, 0, 0, false, NULL},
	/* no info part */
	{"x:2", 3, 3, 0, 0, 0, 0, false, NULL},
	{"x:", 2, 2, 0, 0, 0, 0, false, NULL},
	{"x:3,S", 5, 3, 0, 0, 0, 0, false, NULL},
	{"x-2,S", 5, 3, 0, 0, 0, 0, false, NULL},
	{":2,S", 4, 2, 0, 0, 0, 0, false, NULL}, /* a base is never empty */
	{":2,:2,S", 3, 2, ':', S, 0, 0, true, NULL},
	{",S=3:2,S", 4, 0, ':', S, 0, 0, true, NULL},
	{"", 0, 0, 0, 0, 0, 0, false, NULL},
	{"a b\xff=:2,S", 5, 5, ':', S, 0, 0, true, NULL},
};

static void the_grammar(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct fname f;

		fname_parse(rows[i].name, &f);
		if (f.base_len != rows[i].base || f.unique_len != rows[i].unique)
			print_error("%s: base %zu, unique %zu\n", rows[i].name, f.base_len,
				    f.unique_len);
		assert_int_equal(f.base_len, rows[i].base);
		assert_int_equal(f.unique_len, rows[i].unique);
		assert_int_equal(f.separator, rows[i].separator);
		assert_int_equal(f.flags, rows[i].flags);
		assert_int_equal(f.keywords, rows[i].keywords);
		assert_int_equal(f.others, rows[i].others);
		assert_int_equal(f.canonical, rows[i].canonical);
		if (rows[i].extra)
			assert_string_equal(f.extra, rows[i].extra);
		else
			assert_null(f.extra);
	}
}

static bool write_again(const char *name, struct fname *f, char out[FNAME_MAX + 1])
{
	fname_parse(name, f);
	return fname_write(name, f->base_len, f->separator, f->flags, f->keywords, f->others,
			   f->extra, out);
}

static void canonical_names_are_written_the_same(void **state)
{
	char out[FNAME_MAX + 1];
	struct fname f;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_true(write_again(rows[i].name, &f, out));
		if (f.canonical)
			assert_string_equal(out, rows[i].name);
		else if (!f.extra)
			assert_string_not_equal(out, rows[i].name);
	}
	write_again("x:2,:2,S", &f, out);
	assert_string_equal(out, "x:2,S");
	write_again("x!2,zaTS,k=v", &f, out);
	assert_string_equal(out, "x!2,STaz,k=v");
	write_again("x:1,abc", &f, out);
	assert_string_equal(out, "x:2,");
}

/* For any bytes: what was parsed is what the name that was written again says. */
static void random_names(void **state)
{
	struct prng p = {6};

	for (int i = 0; i < 200000; i++) {
		MB_AUTO_FREE char *name = prng_text(&p, 12, i & 1 ? ":;!2,,SRaZ1" : NULL);
		char out[FNAME_MAX + 1], again[FNAME_MAX + 1];
		struct fname f, g;

		assert_true(write_again(name, &f, out));
		assert_true(f.base_len && f.base_len <= strlen(name));
		assert_true(f.unique_len <= f.base_len);
		write_again(out, &g, again);
		assert_string_equal(out, again);
		assert_int_equal(f.flags, g.flags);
		assert_int_equal(f.keywords, g.keywords);
		assert_int_equal(f.others, g.others);
		assert_int_equal(f.canonical, f.separator && !f.extra && strcmp(name, out) == 0);
	}
}

static void no_room_for_flags(void **state)
{
	char base[300], out[FNAME_MAX + 1];

	memset(base, 'b', sizeof(base));
	assert_true(fname_write(base, 251, ':', S, 0, 0, NULL, out));
	assert_int_equal(strlen(out), 255);
	assert_false(fname_write(base, 252, ':', S, 0, 0, NULL, out));
	assert_int_equal(strlen(out), 252);
	assert_true(fname_write(base, 252, ':', 0, 0, 0, NULL, out));
	assert_false(fname_write(base, 255, 0, 0, 0, 0, NULL, out));
	assert_int_equal(strlen(out), 255);
	assert_false(fname_write(base, 256, 0, 0, 0, 0, NULL, out));
	assert_string_equal(out, "");
	assert_false(fname_write(base, SIZE_MAX, 0, 0, 0, 0, NULL, out));
	base[299] = '\0';
	assert_false(fname_write("x", 1, 0, 0, 0, 0, base, out));
	assert_string_equal(out, "x");
	assert_true(fname_write("x", 1, 0, 0xff, UINT32_MAX, UINT32_MAX, NULL, out));
	assert_string_equal(out, "x:2,ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
	assert_true(fname_write("x", 1, 0, S, 0, UINT32_MAX & ~(1u << 0), NULL, out));
	assert_string_equal(out, "x:2,BCEGHIJKLMNOQSUVWXYZ"); /* flags only from `flags` */
}

static void which_names_are_messages(void **state)
{
	char name[300];

	assert_true(fname_is_message("1.x.h:2,S"));
	assert_true(fname_is_message(":2,S"));
	assert_true(fname_is_message("\xff \n"));
	assert_false(fname_is_message(""));
	assert_false(fname_is_message("."));
	assert_false(fname_is_message(".."));
	assert_false(fname_is_message(".nfs0001"));
	assert_false(fname_is_message("a/b"));
	memset(name, 'x', sizeof(name));
	name[255] = '\0';
	assert_true(fname_is_message(name));
	name[255] = 'x';
	name[256] = '\0';
	assert_false(fname_is_message(name));
}

static bool field(const char *name, char key, uint64_t *ret)
{
	struct fname f;

	fname_parse(name, &f);
	return fname_field_u64(name, &f, key, ret);
}

static void fields_of_the_base(void **state)
{
	uint64_t v = 0;

	assert_true(field("x,S=40,W=44:2,S", 'S', &v) && v == 40);
	assert_true(field("x,S=40,W=44:2,S", 'W', &v) && v == 44);
	assert_true(field("x,S=18446744073709551615", 'S', &v) && v == UINT64_MAX);
	assert_true(field("x,S=,S=7", 'S', &v) && v == 7);
	assert_true(field("x,S=0", 'S', &v) && v == 0);
	assert_false(field("x,S=18446744073709551616", 'S', &v));
	assert_false(field("x,S=", 'S', &v));
	assert_false(field("x,S", 'S', &v));
	assert_false(field("x,", 'S', &v));
	assert_false(field("x,S=-1", 'S', &v));
	assert_false(field("x,S=1x", 'S', &v));
	assert_false(field("x,XS=1", 'S', &v));
	assert_false(field("S=1", 'S', &v));
	assert_false(field("x:2,S,S=4", 'S', &v)); /* not of the base */
}

static void new_bases_are_unique_and_plain(void **state)
{
	char a[FNAME_MAX + 1], b[FNAME_MAX + 1];
	struct fname f;
	uint64_t size;

	fname_new_base(UINT64_MAX, a);
	fname_new_base(4711, b);
	assert_string_not_equal(a, b);
	assert_true(strlen(a) < 200);
	assert_null(strpbrk(b, ":/!; "));
	assert_true(fname_is_message(b));
	fname_parse(b, &f);
	assert_int_equal(f.base_len, strlen(b));
	assert_true(fname_field_u64(b, &f, 'S', &size) && size == 4711);
	assert_non_null(strstr(b, ".M"));
	assert_non_null(strchr(b, 'P'));
	assert_non_null(strchr(b, 'Q'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_grammar),
		cmocka_unit_test(canonical_names_are_written_the_same),
		cmocka_unit_test(random_names),
		cmocka_unit_test(no_room_for_flags),
		cmocka_unit_test(which_names_are_messages),
		cmocka_unit_test(fields_of_the_base),
		cmocka_unit_test(new_bases_are_unique_and_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
