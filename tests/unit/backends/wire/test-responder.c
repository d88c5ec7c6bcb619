/*
 * test-responder.c - what serves a store, and ends that say what they should not: each is refused, and what
 * is served stays as it was.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/stream.h"
#include "tests/support/wire-pair.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* An initiator made by hand. */
static void connect_raw(struct wire_pair *p, struct stream *s)
{
	int fds[2];

	wire_pair_disconnect(p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	stream_open(s, fds[0], fds[0], 5);
	wire_pair_serve(p, fds[1]);
}

static void say_hello(struct stream *s, uint16_t lowest, uint16_t highest)
{
	const struct wire_hello h = {.lowest = lowest, .highest = highest};
	struct frame f;

	wire_put_hello(&s->outbox, &h, false);
	assert_int_equal(stream_next(s, WIRE_FRAME_MAX, &f), 1);
	assert_int_equal(f.type, lowest <= 1 && highest >= 1 ? WIRE_HELLO : WIRE_REFUSE);
	if (f.type == WIRE_REFUSE)
		assert_int_equal(wire_get_result(&f.payload), MB_E_VERSION);
}

static void send_frame(struct stream *s, uint8_t type, uint32_t id, const void *data, size_t len)
{
	size_t at = frame_begin(&s->outbox, (enum wire_type)type, id);

	buf_put(&s->outbox, data, len);
	frame_end(&s->outbox, at);
}

/* It says REFUSE at the end, or just closes; the thread has ended with this error. */
static void is_thrown_out(struct wire_pair *p, struct stream *s, int err)
{
	struct frame f;
	int got;

	while ((got = stream_next(s, WIRE_FRAME_MAX, &f)) > 0 && f.type != WIRE_REFUSE)
		;
	stream_close(s);
	wire_pair_join(p);
	assert_int_equal(p->served, err);
	assert_int_equal(memory_n_messages(p->pair.b), 0);
}

static void other_versions_are_refused(void **state)
{
	struct wire_pair *p = *state;
	struct stream s;

	connect_raw(p, &s);
	say_hello(&s, 2, 7);
	is_thrown_out(p, &s, MB_E_VERSION);
	connect_raw(p, &s);
	say_hello(&s, 1, 7);
	stream_close(&s);
	wire_pair_join(p);
	assert_int_equal(p->served, 0);
}

static void garbage_is_thrown_out(void **state)
{
	static const char *const words[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
					    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
					    "EHLO example.org\r\nMAIL FROM:<>\r\n"};
	struct wire_pair *p = *state;
	struct stream s;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		connect_raw(p, &s);
		buf_put(&s.outbox, words[i], strlen(words[i]));
		is_thrown_out(p, &s, MB_E_PROTOCOL);
	}
}

struct bad {
	uint8_t type;
	uint32_t id;
	const char *payload;
	size_t len;
};

static void bad_requests_are_thrown_out(void **state)
{
	static const char zeros[64];
	static const char ones[64] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				     "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
	static const struct bad list[] = {
		{WIRE_PING, 2, "", 0},					 /* ids begin at 1 */
		{WIRE_PING, 0, "", 0},	      {WIRE_HELLO, 1, "", 0},	 /* again */
		{WIRE_ANSWER, 1, zeros, 8},   {WIRE_DATA, 1, zeros, 8},	 /* of nothing */
		{WIRE_MESSAGE, 1, zeros, 15}, {WIRE_EACH, 1, zeros, 21}, /* none at a time */
		{WIRE_EACH, 1, ones, 21},				 /* four thousand million */
		{WIRE_BEGIN, 1, zeros, 9},				 /* from nobody */
		{WIRE_PUT, 1, zeros, 9},				 /* no record */
		{WIRE_PUT, 1, ones, 30},      {WIRE_LEARN, 1, zeros, 55},
		{WIRE_LEARN, 1, zeros, 56}, /* no digest */
		{WIRE_CHANGES, 1, zeros, 20}, {WIRE_BODY, 1, zeros, 24},
		{WIRE_DIGEST, 1, zeros, 3},   {WIRE_BY_DIGEST, 1, zeros, 31},
		{WIRE_BY_UID, 1, zeros, 16},  {WIRE_PEER, 1, zeros, 7},
		{WIRE_NOW, 1, zeros, 15},     {WIRE_REFRESH, 1, "", 0},
	};
	struct wire_pair *p = *state;

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		struct stream s;
		connect_raw(p, &s);
		say_hello(&s, 1, 1);
		send_frame(&s, list[i].type, list[i].id, list[i].payload, list[i].len);
		is_thrown_out(p, &s, MB_E_PROTOCOL);
	}
}

static void put_record(struct stream *s, uint32_t id, const struct record *r, uint64_t size)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_put_u8(&b, size ? WIRE_PUT_BODY : 0);
	buf_put_u64(&b, size);
	record_encode(r, &b);
	send_frame(s, WIRE_PUT, id, b.data, b.len);
}

static void begin_from_a(struct stream *s)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_put_u64(&b, A_ID);
	buf_put_u8(&b, 0);
	send_frame(s, WIRE_BEGIN, 1, b.data, b.len);
}

static void records_that_no_peer_puts_are_thrown_out(void **state)
{
	static const enum record_type types[] = {REC_PEER_FORGET, REC_PEER_ENTRY, REC_LOST,
						 REC_EDIT, (enum record_type)99};
	struct wire_pair *p = *state;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		struct record r = {
			.type = types[i], .copy = {.guid = {{1}}}, .peer = {.replica = 3}};
		struct stream s;
		connect_raw(p, &s);
		say_hello(&s, 1, 1);
		begin_from_a(&s);
		put_record(&s, 2, &r, 0);
		is_thrown_out(p, &s, MB_E_PROTOCOL);
	}
}

static void a_body_is_as_long_as_was_said(void **state)
{
	struct record r = {.type = REC_COPY_STATE,
			   .copy = {.guid = {{1}}, .size = 10, .place = {.mailbox = GUID_INBOX}}};
	struct wire_pair *p = *state;
	struct stream s;

	r.copy.place.at = (struct stamp){5, A_ID};
	connect_raw(p, &s);
	say_hello(&s, 1, 1);
	begin_from_a(&s);
	put_record(&s, 2, &r, 10);
	send_frame(&s, WIRE_DATA, 2, "01234567890", 11); /* one more */
	is_thrown_out(p, &s, MB_E_PROTOCOL);
	connect_raw(p, &s);
	say_hello(&s, 1, 1);
	begin_from_a(&s);
	put_record(&s, 2, &r, WIRE_BODY_MAX + 1);
	is_thrown_out(p, &s, MB_E_PROTOCOL);
	connect_raw(p, &s);
	say_hello(&s, 1, 1);
	begin_from_a(&s);
	put_record(&s, 2, &r, 10);
	send_frame(&s, WIRE_PING, 3, "", 0); /* instead of the rest */
	is_thrown_out(p, &s, MB_E_PROTOCOL);
}

static void a_wrong_digest_is_not_taken(void **state)
{
	struct record r = {.type = REC_COPY_STATE,
			   .copy = {.guid = {{1}}, .size = 10, .place = {.mailbox = GUID_INBOX}}};
	struct wire_pair *p = *state;
	struct stream s;
	struct frame f;

	r.copy.place.at = (struct stamp){5, A_ID};
	r.copy.digest.b[0] = 1;
	connect_raw(p, &s);
	say_hello(&s, 1, 1);
	begin_from_a(&s);
	put_record(&s, 2, &r, 10);
	send_frame(&s, WIRE_DATA, 2, "0123456789", 10);
	assert_int_equal(stream_next(&s, WIRE_FRAME_MAX, &f), 1);
	assert_int_equal(wire_get_result(&f.payload), 0);
	assert_int_equal(stream_next(&s, WIRE_FRAME_MAX, &f), 1);
	assert_int_equal(f.id, 2);
	assert_int_equal(wire_get_result(&f.payload), MB_E_DAMAGED);
	stream_close(&s);
	wire_pair_join(p);
	assert_int_equal(memory_n_messages(p->pair.b), 0);
}

/* It does not wait for ever for one that says nothing, or stops in the midst of a body. */
static void silence_ends_it(void **state)
{
	struct record r = {.type = REC_COPY_STATE, .copy = {.guid = {{1}}, .size = 10}};
	struct wire_pair *p = *state;
	struct stream s;
	struct frame f;

	connect_raw(p, &s);
	say_hello(&s, 1, 1);
	begin_from_a(&s);
	put_record(&s, 2, &r, 10);
	assert_int_equal(stream_next(&s, WIRE_FRAME_MAX, &f), 1);
	s.patience_s = 20;
	is_thrown_out(p, &s, -ETIMEDOUT);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_pair_open, wire_pair_close)
	const struct CMUnitTest tests[] = {
		T(other_versions_are_refused),
		T(garbage_is_thrown_out),
		T(bad_requests_are_thrown_out),
		T(records_that_no_peer_puts_are_thrown_out),
		T(a_body_is_as_long_as_was_said),
		T(a_wrong_digest_is_not_taken),
		T(silence_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
