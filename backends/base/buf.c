/*
 * buf.c - growing byte buffer, bounded reader, little-endian integers.
 *
 * A reader that has failed stands at its end and stays failed, so that every loop over what is left
 * ends at once.
 */
#include "backends/base/buf.h"
#include "backends/base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
}

/* Room for `more` bytes after what is there. */
static uint8_t *buf_room(struct buf *b, size_t more)
{
	size_t need;

	if (__builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 4)
		abort();
	if (need > b->cap || !b->data) {
		size_t cap = b->cap ? b->cap * 2 : 64;

		if (cap < need)
			cap = need;
		b->data = mb_xrealloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *p = buf_room(b, len);

	if (len)
		memcpy(p, data, len);
	b->len += len;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	*buf_room(b, 1) = v;
	b->len++;
}

void buf_put_u16(struct buf *b, uint16_t v)
{
	put_le16(buf_room(b, 2), v);
	b->len += 2;
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	put_le32(buf_room(b, 4), v);
	b->len += 4;
}

void buf_put_u64(struct buf *b, uint64_t v)
{
	put_le64(buf_room(b, 8), v);
	b->len += 8;
}

void buf_put_varint(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_room(b, 10);
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	b->len += n;
}

void buf_put_bytes(struct buf *b, const void *data, size_t len)
{
	buf_put_varint(b, len);
	buf_put(b, data, len);
}

void buf_put_str(struct buf *b, const char *s)
{
	buf_put_bytes(b, s, s ? strlen(s) : 0);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	buf_room(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
	*buf_room(b, 1) = '\0';
	return (const char *)b->data;
}

static void reader_fail(struct reader *r)
{
	r->failed = true;
	r->p = r->end;
}

/* The next len bytes, or NULL. */
static const uint8_t *reader_take(struct reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->failed || reader_left(r) < len) {
		reader_fail(r);
		return NULL;
	}
	if (len) /* the input may be NULL when it is empty */
		r->p += len;
	return p;
}

uint8_t reader_get_u8(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);

	return p ? *p : 0;
}

uint16_t reader_get_u16(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);

	return p ? get_le16(p) : 0;
}

uint32_t reader_get_u32(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);

	return p ? get_le32(p) : 0;
}

uint64_t reader_get_u64(struct reader *r)
{
	const uint8_t *p = reader_take(r, 8);

	return p ? get_le64(p) : 0;
}

/* One value has one form: a last byte of zero, or bits beyond the 64th, make it fail. */
uint64_t reader_get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = reader_get_u8(r);

		if (r->failed || (shift == 63 && byte > 1))
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (byte || !shift)
			return v;
		break;
	}
	reader_fail(r);
	return 0;
}

bool reader_get(struct reader *r, void *dst, size_t len)
{
	const uint8_t *p = reader_take(r, len);

	if (!len)
		return p != NULL || !r->failed;
	if (p)
		memcpy(dst, p, len);
	else
		memset(dst, 0, len);
	return p != NULL;
}

bool reader_get_bytes(struct reader *r, const uint8_t **ret_data, size_t *ret_len)
{
	uint64_t len = reader_get_varint(r);
	const uint8_t *p;

	if (len > reader_left(r))
		reader_fail(r);
	p = reader_take(r, r->failed ? 0 : (size_t)len);
	if (r->failed)
		return false;
	*ret_data = p;
	*ret_len = (size_t)len;
	return true;
}

char *reader_get_str(struct reader *r, size_t max)
{
	const uint8_t *p;
	size_t len;

	if (!reader_get_bytes(r, &p, &len))
		return NULL;
	if (len > max || (len && memchr(p, 0, len))) {
		reader_fail(r);
		return NULL;
	}
	return mb_xstrndup(len ? (const char *)p : "", len);
}

void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void put_le32(uint8_t *p, uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16(p + 2, (uint16_t)(v >> 16));
}

void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

void put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}

uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t get_le32(const uint8_t *p)
{
	return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

uint64_t get_le64(const uint8_t *p)
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}
