/* Tagged values: what is empty is not written, what is unknown is skipped, the rest is exact. */
#include "backends/mail/tlv.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void what_is_empty_is_not_written(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;

	tlv_put_varint(&b, 1, 0);
	tlv_put_le64(&b, 2, 0);
	tlv_put_str(&b, 3, "");
	tlv_put_str(&b, 4, NULL);
	tlv_put_guid(&b, 5, &GUID_ZERO);
	tlv_put_stamp(&b, 6, &STAMP_NONE);
	tlv_put_digest(&b, 7, &(struct digest){{0}});
	assert_int_equal(b.len, 0);
}

static void values_come_back(void **state)
{
	const struct stamp stamp = {UINT64_MAX, 5};
	const struct digest digest = {{1, 2, 3}};
	BUF_AUTO struct buf b = BUF_INIT;
	MB_AUTO_FREE char *s = NULL;
	struct reader r;
	struct tlv t = {.in = &r};
	struct guid g;
	struct stamp st;
	struct digest d;

	tlv_put_varint(&b, 1, UINT64_MAX);
	tlv_put_le64(&b, 2, 7);
	tlv_put_str(&b, 3, "x");
	tlv_put_guid(&b, 200, &GUID_INBOX);
	tlv_put_stamp(&b, 201, &stamp);
	tlv_put_digest(&b, 255, &digest);
	tlv_end(&b);
	buf_put_u8(&b, 0xee); /* what follows the list is left */
	r = reader_of(b.data, b.len);
	assert_true(tlv_next(&t) && t.tag == 1 && tlv_varint(&t, UINT64_MAX) == UINT64_MAX);
	assert_true(tlv_next(&t) && t.tag == 2 && tlv_le64(&t) == 7);
	assert_true(tlv_next(&t) && t.tag == 3);
	s = tlv_str(&t, 1);
	assert_string_equal(s, "x");
	assert_true(tlv_next(&t) && t.tag == 200);
	g = tlv_guid(&t);
	assert_true(guid_equal(&g, &GUID_INBOX));
	assert_true(tlv_next(&t) && t.tag == 201);
	st = tlv_stamp(&t);
	assert_int_equal(stamp_compare(&st, &stamp), 0);
	assert_true(tlv_next(&t) && t.tag == 255);
	d = tlv_digest(&t);
	assert_true(digest_equal(&d, &digest));
	assert_false(tlv_next(&t));
	assert_false(t.failed);
	assert_int_equal(reader_left(&r), 1);
}

/* Reads a list to its end without looking at the values. */
static bool skip_all(const char *bytes, size_t len, bool whole)
{
	struct reader r = reader_of(bytes, len);
	struct tlv t = {.in = &r, .whole = whole};

	while (tlv_next(&t))
		;
	return !t.failed;
}

static void the_list_is_checked(void **state)
{
	assert_true(skip_all("\1\0\2\1x\0", 6, false));
	assert_true(skip_all("\1\0\2\1x", 5, true));
	assert_true(skip_all("", 0, true));
	assert_false(skip_all("", 0, false));		/* no end */
	assert_false(skip_all("\1\0", 2, false));	/* no end */
	assert_false(skip_all("\1\0\0", 3, true));	/* an end that is none */
	assert_false(skip_all("\2\0\1\0\0", 5, false)); /* descending */
	assert_false(skip_all("\1\0\1\0\0", 5, false)); /* twice */
	assert_false(skip_all("\1\2x", 3, true));	/* longer than the input */
	assert_false(skip_all("\1", 1, true));
	assert_false(skip_all("\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, true));
}

static struct tlv first_value(struct reader *r, const char *bytes, size_t len)
{
	struct tlv t = {.in = r, .whole = true};

	*r = reader_of(bytes, len);
	assert_true(tlv_next(&t));
	return t;
}

static void values_fill_their_length(void **state)
{
	struct reader r;
	struct tlv t = first_value(&r, "\1\2\1\1", 4);

	assert_int_equal(tlv_varint(&t, 9), 0);
	assert_true(t.failed);
	t = first_value(&r, "\1\1\5", 3);
	assert_int_equal(tlv_varint(&t, 4), 0);
	assert_true(t.failed);
	t = first_value(&r, "\1\7xxxxxxx", 9);
	assert_int_equal(tlv_le64(&t), 0);
	assert_true(t.failed);
	t = first_value(&r, "\1\17xxxxxxxxxxxxxxx", 17);
	tlv_guid(&t);
	assert_true(t.failed);
	t = first_value(&r, "\1\0", 2);
	assert_null(tlv_str(&t, 4));
	assert_true(t.failed);
	t = first_value(&r, "\1\3x\0y", 5);
	assert_null(tlv_str(&t, 4));
	assert_true(t.failed);
	t = first_value(&r, "\1\3xyz", 5);
	assert_null(tlv_str(&t, 2));
	assert_true(t.failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_empty_is_not_written),
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(the_list_is_checked),
		cmocka_unit_test(values_fill_their_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
