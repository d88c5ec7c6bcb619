/* Frames: every cut and every flipped bit is noticed, and no bytes make the scanner read too far. */
#include "backends/store/log-private.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "tests/support/log-dir.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

static const struct guid ID = {{1, 2, 3, 4, 5, 6, 7, 8, 9}};
enum { START = 10 };

static void put_frame(struct buf *file, const void *payload, size_t len)
{
	BUF_AUTO struct buf b = BUF_INIT;

	buf_put_u64(&b, 0);
	buf_put(&b, payload, len);
	frame_seal(&b, frame_seed(&ID), file->len);
	buf_put(file, b.data, b.len);
}

static int fd_of(const struct buf *b)
{
	int fd = memfd_create("frames", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, b->data, b->len), b->len);
	return fd;
}

/* Three frames after START bytes of something else; where each ends. */
static void three(struct buf *b, size_t ends[4])
{
	buf_put(b, "0123456789", START);
	ends[0] = b->len;
	put_frame(b, "a", 1);
	ends[1] = b->len;
	put_frame(b, "bcd", 3);
	ends[2] = b->len;
	put_frame(b, "efghi", 5);
	ends[3] = b->len;
}

/* How many frames are right from START on, and what ends them. */
static int count(int fd, uint64_t limit, int *ret_end)
{
	struct frame f;
	struct scan s;
	int n = 0;

	scan_init(&s, fd, &ID, START, limit);
	while ((*ret_end = scan_next(&s, &f)) == 1)
		n++;
	scan_release(&s);
	return n;
}

static void frames_are_read_in_order(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	size_t ends[4];
	struct frame f;
	struct scan s;
	int fd, i;

	(void)state;
	three(&b, ends);
	fd = fd_of(&b);
	scan_init(&s, fd, &ID, START, b.len);
	for (i = 0; i < 3; i++) {
		assert_int_equal(scan_next(&s, &f), 1);
		assert_int_equal(f.offset, ends[i]);
		assert_int_equal(f.end, ends[i + 1]);
		assert_int_equal(f.len, 1 + 2 * i);
		assert_int_equal(f.payload[0], "abe"[i]);
		assert_int_equal(f.check, get_le64(b.data + f.end - 8));
	}
	assert_int_equal(scan_next(&s, &f), 0);
	assert_int_equal(scan_next(&s, &f), 0);
	scan_release(&s);
	close(fd);
}

static void every_limit_and_every_cut(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	size_t ends[4], at;
	int fd, end, n;

	(void)state;
	three(&b, ends);
	fd = fd_of(&b);
	for (at = b.len + 1; at-- > 0;) {
		n = (at >= ends[1]) + (at >= ends[2]) + (at >= ends[3]);
		assert_int_equal(count(fd, at, &end), n);
		assert_int_equal(end, at == ends[n] ? 0 : MB_E_CHECKSUM);
		assert_int_equal(ftruncate(fd, (off_t)at), 0);
		assert_int_equal(count(fd, b.len, &end), n);
		assert_int_equal(end, at == b.len ? 0 : MB_E_CHECKSUM);
	}
	close(fd);
}

static void every_flipped_bit_is_noticed(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	size_t ends[4], bit;
	int fd, end, n;

	(void)state;
	three(&b, ends);
	for (bit = START * 8; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		fd = fd_of(&b);
		n = (bit / 8 >= ends[1]) + (bit / 8 >= ends[2]);
		assert_int_equal(count(fd, b.len, &end), n);
		assert_int_equal(end, MB_E_CHECKSUM);
		close(fd);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void shifted_or_foreign_frames_do_not_fit(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct guid other = ID;
	size_t ends[4];
	struct frame f;
	struct scan s;
	int fd;

	(void)state;
	three(&b, ends);
	memmove(b.data + START - 1, b.data + START, b.len - START);
	fd = fd_of(&b);
	scan_init(&s, fd, &ID, START - 1, b.len - 1);
	assert_int_equal(scan_next(&s, &f), MB_E_CHECKSUM);
	assert_int_equal(scan_resync(&s, &f), 0);
	assert_int_equal(s.off, START - 1);
	scan_release(&s);
	memmove(b.data + START, b.data + START - 1, b.len - START);
	close(fd);
	fd = fd_of(&b);
	other.b[7] ^= 0x80;
	scan_init(&s, fd, &other, START, b.len);
	assert_int_equal(scan_next(&s, &f), MB_E_CHECKSUM);
	scan_release(&s);
	close(fd);
}

/* A length of zero, one over the bound, and one that goes beyond the end. */
static void lengths_are_bounded(void **state)
{
	static const uint32_t lengths[] = {0, RECORD_MAX + 1, 0x7fffffff, 0xffffffff, 200};
	BUF_AUTO struct buf b = BUF_INIT;
	uint8_t body[100] = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		int fd, end;

		buf_reset(&b);
		buf_put(&b, body, START);
		buf_put_u32(&b, lengths[i]);
		buf_put_u32(&b, ~lengths[i]);
		buf_put(&b, body, sizeof(body));
		fd = fd_of(&b);
		assert_int_equal(count(fd, b.len, &end), 0);
		assert_int_equal(end, MB_E_CHECKSUM);
		close(fd);
	}
}

static void largest_frame_is_read(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT, big = BUF_INIT;
	int fd, end, i;

	(void)state;
	for (i = 0; i < 1 << 17; i++)
		buf_put_u64(&big, (uint64_t)i);
	assert_int_equal(big.len, RECORD_MAX);
	buf_put(&b, "0123456789", START);
	for (i = 0; i < 3; i++) {
		put_frame(&b, "x", 1);
		put_frame(&b, big.data, big.len);
	}
	fd = fd_of(&b);
	assert_int_equal(count(fd, b.len, &end), 6);
	assert_int_equal(end, 0);
	close(fd);
}

static void resync_finds_what_is_behind_a_bad_place(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	size_t ends[4];
	struct frame f;
	struct scan s;
	int fd;

	(void)state;
	three(&b, ends);
	b.data[ends[1]] ^= 1;
	fd = fd_of(&b);
	scan_init(&s, fd, &ID, START, b.len);
	assert_int_equal(scan_next(&s, &f), 1);
	assert_int_equal(scan_next(&s, &f), MB_E_CHECKSUM);
	assert_int_equal(s.off, ends[1]);
	assert_int_equal(scan_resync(&s, &f), 1);
	assert_int_equal(f.offset, ends[2]);
	assert_int_equal(scan_next(&s, &f), 0);
	scan_release(&s);
	close(fd);
}

/* Megabytes of what look like heads of large frames: must end, and soon. */
static void resync_gives_up_on_made_up_heads(void **state)
{
	BUF_AUTO struct buf b = BUF_INIT;
	struct frame f;
	struct scan s;
	int fd, i;

	(void)state;
	for (i = 0; i < 1 << 19; i++) {
		buf_put_u32(&b, RECORD_MAX);
		buf_put_u32(&b, ~RECORD_MAX);
	}
	fd = fd_of(&b);
	scan_init(&s, fd, &ID, 0, b.len);
	assert_int_equal(scan_next(&s, &f), MB_E_CHECKSUM);
	assert_int_equal(scan_resync(&s, &f), 0);
	assert_int_equal(s.off, 0);
	scan_release(&s);
	close(fd);
}

static void random_bytes_are_no_frames(void **state)
{
	uint8_t noise[4096];
	struct buf b = {.data = noise, .len = sizeof(noise)};
	struct frame f;
	struct scan s;
	int i, fd;

	(void)state;
	for (i = 0; i < 50; i++) {
		random_bytes(noise, sizeof(noise));
		fd = fd_of(&b);
		scan_init(&s, fd, &ID, START, sizeof(noise));
		assert_int_equal(scan_next(&s, &f), MB_E_CHECKSUM);
		assert_int_equal(scan_resync(&s, &f), 0);
		scan_release(&s);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_read_in_order),
		cmocka_unit_test(every_limit_and_every_cut),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(shifted_or_foreign_frames_do_not_fit),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(largest_frame_is_read),
		cmocka_unit_test(resync_finds_what_is_behind_a_bad_place),
		cmocka_unit_test(resync_gives_up_on_made_up_heads),
		cmocka_unit_test(random_bytes_are_no_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
