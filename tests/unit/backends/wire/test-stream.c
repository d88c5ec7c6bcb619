/*
 * test-stream.c - frames over descriptors: both ends may send at once, and silence has an end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/stream.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void open_both(struct stream s[2], unsigned patience)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < 2; i++)
		stream_open(&s[i], fds[i], fds[i], patience);
}

static void put_frame(struct stream *s, uint32_t id, size_t len)
{
	static const char zeros[65536];
	size_t at = frame_begin(&s->outbox, WIRE_DATA, id);

	buf_put(&s->outbox, zeros, len);
	frame_end(&s->outbox, at);
}

static void frames_arrive_in_order(void **state)
{
	struct stream s[2];
	struct frame f;

	open_both(s, 5);
	for (uint32_t i = 1; i <= 20; i++)
		put_frame(&s[0], i, i * 10);
	assert_int_equal(stream_flush(&s[0]), 0);
	for (uint32_t i = 1; i <= 20; i++) {
		assert_int_equal(stream_next(&s[1], WIRE_FRAME_MAX, &f), 1);
		assert_int_equal(f.id, i);
		assert_int_equal(reader_left(&f.payload), i * 10);
	}
	stream_close(&s[0]);
	assert_int_equal(stream_next(&s[1], WIRE_FRAME_MAX, &f), 0);
	stream_close(&s[1]);
}

#define MANY 300 /* of 64 KiB: far more than a socket holds */

static bool send_many(struct stream *s)
{
	for (uint32_t i = 0; i < MANY; i++) {
		put_frame(s, i, 65536);
		if (stream_wrote(s) < 0)
			return false;
	}
	return stream_flush(s) >= 0;
}

static bool receive_many(struct stream *s)
{
	struct frame f;

	for (uint32_t i = 0; i < MANY; i++)
		if (stream_next(s, WIRE_FRAME_MAX, &f) != 1 || f.id != i)
			return false;
	return true;
}

static void *do_both(void *arg)
{
	return send_many(arg) && receive_many(arg) ? NULL : arg;
}

static void both_may_send_at_once(void **state)
{
	struct stream s[2];
	pthread_t t;
	void *bad;

	open_both(s, 10);
	assert_int_equal(pthread_create(&t, NULL, do_both, &s[1]), 0);
	assert_null(do_both(&s[0]));
	pthread_join(t, &bad);
	assert_null(bad);
	stream_close(&s[0]);
	stream_close(&s[1]);
}

static void silence_has_an_end(void **state)
{
	struct stream s[2];
	struct frame f;
	int64_t start = clock_mono_ns();

	open_both(s, 1);
	assert_int_equal(stream_next(&s[0], WIRE_FRAME_MAX, &f), -ETIMEDOUT);
	while (s[0].outbox.len < (4u << 20))
		put_frame(&s[0], 1, 65536);
	assert_int_equal(stream_flush(&s[0]), -ETIMEDOUT);
	assert_in_range(clock_mono_ns() - start, 1900000000, 4000000000);
	stream_close(&s[0]);
	stream_close(&s[1]);
}

static void a_cut_frame_is_an_error(void **state)
{
	struct stream s[2];
	struct frame f;

	open_both(s, 5);
	put_frame(&s[0], 1, 100);
	s[0].outbox.len -= 1;
	assert_int_equal(stream_flush(&s[0]), 0);
	stream_close(&s[0]);
	assert_int_equal(stream_next(&s[1], WIRE_FRAME_MAX, &f), -ECONNRESET);
	stream_close(&s[1]);
}

static void who_is_gone_gives_no_signal(void **state)
{
	struct stream s[2];

	open_both(s, 5);
	stream_close(&s[1]);
	put_frame(&s[0], 1, 100);
	assert_true(stream_flush(&s[0]) < 0);
	stream_close(&s[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_in_order),
		cmocka_unit_test(both_may_send_at_once),
		cmocka_unit_test(silence_has_an_end),
		cmocka_unit_test(a_cut_frame_is_an_error),
		cmocka_unit_test(who_is_gone_gives_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
