/*
 * test-frame.c - frames and what they carry, without I/O: what was put is got, anything else is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/frame.h"

#include <errno.h>
#include <string.h>

static void a_frame_comes_back(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct frame f;

	size_t at = frame_begin(&b, WIRE_PING, 7);
	buf_put(&b, "abc", 3);
	frame_end(&b, at);
	assert_int_equal(frame_size(&b, at), WIRE_HEAD + 3);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(frame_parse(b.data, n, WIRE_FRAME_MAX, &f), 0);
	assert_int_equal(frame_parse(b.data, b.len, WIRE_FRAME_MAX, &f), (int)b.len);
	assert_int_equal(f.type, WIRE_PING);
	assert_int_equal(f.id, 7);
	assert_int_equal(reader_left(&f.payload), 3);
}

static void lengths_are_checked_before_the_rest_comes(void **state)
{
	static const uint32_t bad[] = {0, 4, WIRE_FRAME_MAX + 1, 0x7fffffff, 0xffffffff};
	uint8_t head[4];
	struct frame f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_le32(head, bad[i]);
		assert_int_equal(frame_parse(head, 4, WIRE_FRAME_MAX, &f), MB_E_PROTOCOL);
	}
	put_le32(head, WIRE_HELLO_MAX + 1);
	assert_int_equal(frame_parse(head, 4, WIRE_HELLO_MAX, &f), MB_E_PROTOCOL);
	assert_int_equal(frame_parse(head, 4, WIRE_FRAME_MAX, &f), 0);
}

static void unknown_types_are_refused(void **state)
{
	static const uint8_t bad[] = {0, 6, 15, WIRE_LAST + 1, 255};
	uint8_t head[WIRE_HEAD] = {5};
	struct frame f;

	for (size_t i = 0; i < sizeof(bad); i++) {
		head[4] = bad[i];
		assert_int_equal(frame_parse(head, sizeof(head), WIRE_FRAME_MAX, &f),
				 MB_E_PROTOCOL);
	}
}

static struct copy some_copy(uint8_t guid, uint64_t id)
{
	struct copy c = {.guid = {{guid}}, .id = id, .size = 12};
	char base[] = "name";

	c.place = (struct place){
		.mailbox = GUID_INBOX, .uid = 3, .at = {5, 6}, .base = mb_xstrdup(base)};
	return c;
}

static void a_message_comes_back(void **state)
{
	struct message m = {.guid = {{9}}, .missing = true}, got;
	BUF_AUTO struct buf b = BUF_INIT;

	*message_add(&m, 0) = some_copy(9, 0);
	*message_add(&m, 4) = some_copy(9, 4);
	wire_put_message(&b, &m);
	struct reader r = reader_of(b.data, b.len);
	assert_true(wire_get_message(&r, &got));
	assert_int_equal(got.n, 2);
	assert_true(got.missing);
	assert_true(copy_equal(message_find(&got, 4), message_find(&m, 4)));
	message_release(&got);
	for (size_t n = 0; n < b.len; n++) {
		r = reader_of(b.data, n);
		assert_false(wire_get_message(&r, &got));
	}
	buf_put_u8(&b, 0); /* something behind it */
	r = reader_of(b.data, b.len);
	assert_false(wire_get_message(&r, &got));
	message_release(&m);
}

static void copies_of_others_and_twice_the_same_are_refused(void **state)
{
	struct copy c[2] = {some_copy(9, 1), some_copy(8, 2)};
	struct message got;

	for (int k = 0; k < 2; k++) {
		BUF_AUTO struct buf b = BUF_INIT;
		wire_put_guid(&b, &c[0].guid);
		buf_put_u8(&b, 0);
		buf_put_varint(&b, 2);
		copy_encode(&c[0], &b);
		copy_encode(&c[k], &b);
		struct reader r = reader_of(b.data, b.len);
		assert_false(wire_get_message(&r, &got));
	}
	copy_release(&c[0]);
	copy_release(&c[1]);
}

static void a_mailbox_brings_what_was_shown(void **state)
{
	char part[] = "x";
	struct mailbox m = {.guid = {{3}},
			    .part = part,
			    .uid_next = 4,
			    .uid_shown = 77,
			    .uid_validity_shown = UINT32_MAX};
	struct mailbox got;
	BUF_AUTO struct buf b = BUF_INIT;

	wire_put_mailbox(&b, &m);
	struct reader r = reader_of(b.data, b.len);
	assert_true(wire_get_mailbox(&r, &got));
	assert_int_equal(got.uid_shown, 77);
	assert_int_equal(got.uid_validity_shown, UINT32_MAX);
	assert_true(mailbox_equal(&m, &got));
	mailbox_release(&got);
	m.part = NULL; /* one without a name */
	buf_reset(&b);
	wire_put_mailbox(&b, &m);
	r = reader_of(b.data, b.len);
	assert_false(wire_get_mailbox(&r, &got));
}

static int hello_of(uint16_t lowest, uint16_t highest, bool info, struct wire_hello *ret)
{
	struct wire_hello h = {.lowest = lowest, .highest = highest, .bits = 1};
	BUF_AUTO struct buf b = BUF_INIT;
	struct frame f;

	h.info.info.replica = 5;
	h.info.info.unread = -EIO;
	wire_put_hello(&b, &h, info);
	assert_true(frame_parse(b.data, b.len, WIRE_HELLO_MAX, &f) > 0);
	return wire_get_hello(&f.payload, info, ret);
}

static void versions_are_agreed_on(void **state)
{
	struct wire_hello h;

	assert_int_equal(hello_of(1, 1, false, &h), 0);
	assert_int_equal(h.bits, 1);
	assert_int_equal(hello_of(1, 9, true, &h), 0);
	assert_int_equal(h.info.info.replica, 5);
	assert_int_equal(h.info.info.unread, -EIO);
	assert_int_equal(hello_of(2, 9, false, &h), MB_E_VERSION);
	assert_int_equal(hello_of(0, 0, false, &h), MB_E_VERSION);
	assert_int_equal(hello_of(3, 2, false, &h), MB_E_PROTOCOL);
}

static void what_is_no_hello_is_refused(void **state)
{
	static const char banner[] = "SSH-2.0-OpenSSH_9.2p1 Debian\r\n";
	struct reader r = reader_of(banner, sizeof(banner));
	struct wire_hello h;

	assert_int_equal(wire_get_hello(&r, false, &h), MB_E_PROTOCOL);
}

static int result_of(uint32_t raw)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_put_u32(&b, raw);
	struct reader r = reader_of(b.data, b.len);
	return wire_get_result(&r);
}

static void errors_are_those_of_the_table(void **state)
{
	assert_int_equal(result_of(3), 3);
	assert_int_equal(result_of((uint32_t)-ENOENT), -ENOENT);
	assert_int_equal(result_of((uint32_t)MB_E_STALE), MB_E_STALE);
	assert_int_equal(result_of((uint32_t)-4500), WIRE_ERR_OTHER);
	assert_int_equal(result_of((uint32_t)INT32_MIN), WIRE_ERR_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_comes_back),
		cmocka_unit_test(lengths_are_checked_before_the_rest_comes),
		cmocka_unit_test(unknown_types_are_refused),
		cmocka_unit_test(a_message_comes_back),
		cmocka_unit_test(copies_of_others_and_twice_the_same_are_refused),
		cmocka_unit_test(a_mailbox_brings_what_was_shown),
		cmocka_unit_test(versions_are_agreed_on),
		cmocka_unit_test(what_is_no_hello_is_refused),
		cmocka_unit_test(errors_are_those_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
