/* Buffers grow, readers never leave their bytes, varints have one form. */
#include "backends/base/buf.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void what_is_put_is_read(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	MB_AUTO_FREE char *s = NULL;
	const uint8_t *data;
	struct reader r;
	size_t len;

	buf_put_u8(&b, 0xab);
	buf_put_u16(&b, 0x1234);
	buf_put_u32(&b, 0xdeadbeef);
	buf_put_u64(&b, UINT64_MAX - 1);
	buf_put_str(&b, "mail");
	buf_put_str(&b, NULL);
	buf_put_bytes(&b, "\0x", 2);
	r = reader_of(b.data, b.len);
	assert_int_equal(reader_get_u8(&r), 0xab);
	assert_int_equal(reader_get_u16(&r), 0x1234);
	assert_int_equal(reader_get_u32(&r), 0xdeadbeef);
	assert_true(reader_get_u64(&r) == UINT64_MAX - 1);
	s = reader_get_str(&r, 4);
	assert_string_equal(s, "mail");
	assert_true(reader_get_bytes(&r, &data, &len));
	assert_int_equal(len, 0);
	assert_true(reader_get_bytes(&r, &data, &len));
	assert_memory_equal(data, "\0x", 2);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
}

static void byte_order_is_fixed(void **state)
{
	uint8_t b[8];

	put_le16(b, 0x0102);
	assert_memory_equal(b, "\2\1", 2);
	assert_int_equal(get_le16(b), 0x0102);
	put_le32(b, 0x01020384);
	assert_memory_equal(b, "\x84\3\2\1", 4);
	assert_int_equal(get_le32(b), 0x01020384);
	put_be32(b, 0x81020304);
	assert_memory_equal(b, "\x81\2\3\4", 4);
	assert_int_equal(get_be32(b), 0x81020304);
	put_le64(b, UINT64_C(0x8102030405060788));
	assert_memory_equal(b, "\x88\7\6\5\4\3\2\x81", 8);
	assert_true(get_le64(b) == UINT64_C(0x8102030405060788));
	put_be64(b, UINT64_C(0x8102030405060788));
	assert_memory_equal(b, "\x81\2\3\4\5\6\7\x88", 8);
	assert_true(get_be64(b) == UINT64_C(0x8102030405060788));
}

static void varint_edges(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  127,
					  128,
					  16383,
					  16384,
					  UINT32_MAX,
					  INT64_MAX,
					  (uint64_t)INT64_MAX + 1,
					  UINT64_MAX,
					  UINT64_MAX - 1};

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		BUF_AUTO struct buf b = BUF_INIT;
		struct reader r;

		buf_put_varint(&b, values[i]);
		assert_true(b.len <= 10);
		r = reader_of(b.data, b.len);
		assert_true(reader_get_varint(&r) == values[i]);
		assert_true(!r.failed && !reader_left(&r));
		r = reader_of(b.data, b.len - 1);
		assert_int_equal(reader_get_varint(&r), 0);
		assert_true(r.failed);
	}
}

static void a_varint_has_one_form(void **state)
{
	static const char *const bad[] = {"\x80\x00", "\xff\x80\x00",
					  "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
					  "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"};
	static const size_t len[] = {2, 3, 10, 11};

	for (size_t i = 0; i < 4; i++) {
		struct reader r = reader_of(bad[i], len[i]);

		assert_int_equal(reader_get_varint(&r), 0);
		assert_true(r.failed);
	}
}

static void a_failed_reader_stays_failed(void **state)
{
	struct reader r = reader_of("\1\2\3", 3);
	uint8_t dst[8] = {9, 9, 9, 9};
	const uint8_t *data;
	size_t len;

	assert_int_equal(reader_get_u32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(reader_left(&r), 0);
	assert_int_equal(reader_get_u8(&r), 0);
	assert_false(reader_get(&r, dst, 4));
	assert_memory_equal(dst, "\0\0\0\0", 4);
	assert_false(reader_get(&r, dst, 0));
	assert_false(reader_get_bytes(&r, &data, &len));
	assert_null(reader_get_str(&r, 10));
}

static void strings_are_bounded(void **state)
{
	MB_AUTO_FREE char *empty = NULL;
	struct reader r = reader_of("\4mail", 5);

	assert_null(reader_get_str(&r, 3));
	assert_true(r.failed);
	r = reader_of("\4ma\0l", 5);
	assert_null(reader_get_str(&r, 10));
	assert_true(r.failed);
	r = reader_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 11);
	assert_null(reader_get_str(&r, SIZE_MAX));
	r = reader_of("\0", 1);
	empty = reader_get_str(&r, 0);
	assert_string_equal(empty, "");
}

static void empty_input(void **state)
{
	struct reader r = reader_of(NULL, 0);

	assert_true(reader_get(&r, NULL, 0));
	assert_false(r.failed);
	assert_int_equal(reader_get_u64(&r), 0);
	assert_true(r.failed);
}

static void text_and_growth(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;

	assert_string_equal(buf_cstr(&b), "");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%03d", i);
	assert_int_equal(b.len, 3000);
	assert_int_equal(strlen(buf_cstr(&b)), 3000);
	assert_int_equal(b.len, 3000);
	assert_memory_equal(b.data + 2997, "999", 3);
	buf_reset(&b);
	buf_put(&b, NULL, 0);
	buf_put(&b, "x", 1);
	assert_string_equal(buf_cstr(&b), "x");
}

static void random_varints(void **state)
{
	struct prng p = {1};

	for (int i = 0; i < 20000; i++) {
		BUF_AUTO struct buf b = BUF_INIT;
		uint64_t v = prng_next(&p) >> prng_below(&p, 64);
		struct reader r;

		buf_put_varint(&b, v);
		r = reader_of(b.data, b.len);
		assert_true(reader_get_varint(&r) == v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_read),
		cmocka_unit_test(byte_order_is_fixed),
		cmocka_unit_test(varint_edges),
		cmocka_unit_test(a_varint_has_one_form),
		cmocka_unit_test(a_failed_reader_stays_failed),
		cmocka_unit_test(strings_are_bounded),
		cmocka_unit_test(empty_input),
		cmocka_unit_test(text_and_growth),
		cmocka_unit_test(random_varints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
