/* Requests of the socket as bytes: what is no request is refused and changes nothing. */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/serve.h"
#include "backends/store/socket-format.h"
#include "tests/support/random.h"
#include "tests/support/store-dir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct serve serve_of(struct store_dir *d)
{
	return (struct serve){.store = d->s, .mount = "/mnt/x"};
}

static int ask(struct serve *v, const struct buf *request, struct buf *out)
{
	buf_reset(out);
	return store_serve(v, 1, request->data, request->len, out);
}

static void hello_tells_the_mount(void **state)
{
	struct serve v = serve_of(*state);
	BUF_AUTO struct buf in = BUF_INIT, out = BUF_INIT;

	buf_put_u8(&in, VERB_HELLO);
	buf_put_u32(&in, SOCKET_VERSION);
	assert_int_equal(ask(&v, &in, &out), 0);
	struct reader r = reader_of(out.data, out.len);
	assert_true(reader_get_u64(&r) == store_replica(v.store));
	MB_AUTO_FREE char *mount = reader_get_str(&r, 100);
	assert_string_equal(mount, "/mnt/x");
	buf_reset(&in);
	buf_put_u8(&in, VERB_HELLO);
	buf_put_u32(&in, SOCKET_VERSION + 1);
	assert_int_equal(ask(&v, &in, &out), MB_E_VERSION);
}

static void a_staged_name_is_a_plain_name(void **state)
{
	static const char *const names[] = {"../mail/cur/x", "a/b", "/etc/passwd", "..", "."};
	struct serve v = serve_of(*state);
	struct record want = {.type = REC_COPY_STATE};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		BUF_AUTO struct buf in = BUF_INIT, out = BUF_INIT;

		buf_put_u8(&in, VERB_PUT);
		buf_put_str(&in, names[i]);
		record_encode(&want, &in);
		assert_int_equal(ask(&v, &in, &out), MB_E_PROTOCOL);
	}
}

static void short_requests_are_refused(void **state)
{
	struct serve v = serve_of(*state);

	for (uint8_t verb = VERB_HELLO; verb <= VERB_LEARN + 1; verb++) {
		BUF_AUTO struct buf in = BUF_INIT, out = BUF_INIT;

		buf_put_u8(&in, verb);
		if (verb == VERB_FLUSH || verb == VERB_COUNTERS)
			continue;
		assert_true(ask(&v, &in, &out) < 0);
		assert_int_equal(out.len, 0);
	}
}

static void noise_does_no_harm(void **state)
{
	struct serve v = serve_of(*state);
	struct prng p = {7};

	for (int i = 0; i < 20000; i++) {
		BUF_AUTO struct buf in = BUF_INIT, out = BUF_INIT;
		unsigned len = 1 + (unsigned)prng_below(&p, 80);

		buf_put_u8(&in, (uint8_t)(VERB_PUT + prng_below(&p, 2)));
		while (in.len < len)
			buf_put_u8(&in, (uint8_t)prng_below(&p, 256));
		ask(&v, &in, &out);
	}
}

static void a_clock_goes_past_what_it_is_shown(void **state)
{
	struct serve v = serve_of(*state);
	BUF_AUTO struct buf in = BUF_INIT, out = BUF_INIT;
	struct stamp mine = store_now(v.store), last = STAMP_NONE;

	mine.time += 1000ull << 16; /* a second ahead */
	for (int i = 0; i < 3; i++) {
		buf_reset(&in);
		buf_put_u8(&in, VERB_NOW);
		buf_put_u64(&in, mine.time);
		buf_put_u64(&in, 5);
		assert_int_equal(ask(&v, &in, &out), 0);
		struct reader r = reader_of(out.data, out.len);
		struct stamp now = {.time = reader_get_u64(&r)};
		now.replica = reader_get_u64(&r);
		assert_true(now.time > mine.time && now.time > last.time);
		assert_true(now.replica == store_replica(v.store));
		last = now;
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, store_dir_setup, store_dir_teardown)
	const struct CMUnitTest tests[] = {
		T(hello_tells_the_mount),
		T(a_staged_name_is_a_plain_name),
		T(short_requests_are_refused),
		T(noise_does_no_harm),
		T(a_clock_goes_past_what_it_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
