/*
 * log-scan.c - frames: the form that records have in log files and checkpoints (log-format.h).
 *
 * Whatever the bytes are, nothing is read beyond the scanner's limit, nothing longer than
 * RECORD_MAX is believed, and no memory beyond one window is used.  The file is read with pread and
 * not mapped: a file that is cut short meanwhile must not end the process with SIGBUS.
 *
 * A scanner belongs to one thread.
 */
#include "backends/store/log-private.h"

#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <stdlib.h>
#include <string.h>

#define WINDOW ((size_t)256 << 10)
/* What scan_resync() may hash before it gives up: bytes may be made to look like heads. */
#define RESYNC_BUDGET ((uint64_t)1 << 30)

uint64_t frame_seed(const struct guid *log)
{
	return get_le64(log->b);
}

int frame_record(struct buf *b, const struct record *rec)
{
	struct record back = {0};
	int r;

	buf_reset(b);
	buf_put_u64(b, 0);
	record_encode(rec, b);
	if (b->len - FRAME_HEAD > RECORD_MAX)
		return MB_E_LIMIT;
	r = record_decode(b->data + FRAME_HEAD, b->len - FRAME_HEAD, &back);
	record_release(&back);
	return r;
}

uint64_t frame_seal(struct buf *b, uint64_t seed, uint64_t offset)
{
	uint32_t len = (uint32_t)(b->len - FRAME_HEAD);
	uint64_t check;

	put_le32(b->data, len);
	put_le32(b->data + 4, ~len);
	check = checksum64(b->data, b->len, seed ^ offset);
	buf_put_u64(b, check);
	return check;
}

void scan_init(struct scan *s, int fd, const struct guid *log, uint64_t from, uint64_t limit)
{
	*s = (struct scan){.fd = fd, .seed = frame_seed(log), .off = from, .limit = limit};
}

void scan_release(struct scan *s)
{
	free(s->window);
	*s = (struct scan){.fd = -1};
}

/* Points *ret at bytes [off, off + len) of the file, which the caller knows to lie below the limit. */
static int window_at(struct scan *s, uint64_t off, size_t len, const uint8_t **ret)
{
	uint64_t want = len > WINDOW ? len : WINDOW;
	ssize_t n;

	if (off < s->window_off || off + len > s->window_off + s->len) {
		if (want > s->limit - off)
			want = s->limit - off;
		if (want > s->cap) {
			s->window = mb_xrealloc(s->window, want);
			s->cap = want;
		}
		s->len = 0;
		n = io_pread_full(s->fd, s->window, want, (off_t)off);
		if (n < 0)
			return (int)n;
		s->window_off = off;
		s->len = (size_t)n;
		if (s->len < len)
			return MB_E_CHECKSUM; /* the file is shorter than it was */
	}
	*ret = s->window + (off - s->window_off);
	return 0;
}

/* The length of the frame whose head this is, 0 = this is no head. */
static size_t head_len(const uint8_t *head)
{
	uint32_t len = get_le32(head);

	return len == ~get_le32(head + 4) && len <= RECORD_MAX ? len : 0;
}

int scan_next(struct scan *s, struct frame *ret)
{
	const uint8_t *p;
	size_t len;
	int r;

	if (s->off == s->limit)
		return 0;
	if (s->off > s->limit || s->limit - s->off <= FRAME_EXTRA)
		return MB_E_CHECKSUM;
	r = window_at(s, s->off, FRAME_HEAD, &p);
	if (r)
		return r;
	len = head_len(p);
	if (!len || len + FRAME_EXTRA > s->limit - s->off)
		return MB_E_CHECKSUM;
	r = window_at(s, s->off, len + FRAME_EXTRA, &p);
	if (r)
		return r;
	if (head_len(p) != len ||
	    checksum64(p, FRAME_HEAD + len, s->seed ^ s->off) != get_le64(p + FRAME_HEAD + len))
		return MB_E_CHECKSUM;
	*ret = (struct frame){.offset = s->off,
			      .end = s->off + len + FRAME_EXTRA,
			      .payload = p + FRAME_HEAD,
			      .len = len,
			      .check = get_le64(p + FRAME_HEAD + len)};
	s->off = ret->end;
	return 1;
}

int scan_resync(struct scan *s, struct frame *ret)
{
	uint64_t bad = s->off, off, cost = 0;
	const uint8_t *p;
	int r;

	for (off = bad + 1; off + FRAME_EXTRA < s->limit && cost < RESYNC_BUDGET; off++) {
		r = window_at(s, off, FRAME_HEAD, &p);
		if (r == MB_E_CHECKSUM)
			break;
		if (r)
			return r;
		if (!head_len(p))
			continue;
		cost += WINDOW + head_len(p);
		s->off = off;
		r = scan_next(s, ret);
		if (r != MB_E_CHECKSUM)
			return r;
	}
	s->off = bad;
	return 0;
}
