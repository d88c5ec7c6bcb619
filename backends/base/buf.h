/*
 * buf.h - growing byte buffer, bounded reader, little-endian integers.
 *
 * Everything on disk and on the wire is written with buf_put_* and read with reader_get_*; the byte
 * order is little endian.  A reader never reads past its end: a read that does not fit sets
 * `failed` and gives zeros, so that a parser checks once at its end.
 */
#ifndef MB_BASE_BUF_H
#define MB_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned */
	size_t len, cap;
};

#define BUF_INIT                                                                                   \
	{                                                                                          \
		0                                                                                  \
	}

void buf_release(struct buf *b);
void buf_reset(struct buf *b); /* keeps the memory */
void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_varint(struct buf *b, uint64_t v);			 /* LEB128, at most 10 bytes */
void buf_put_bytes(struct buf *b, const void *data, size_t len); /* varint length, then bytes */
void buf_put_str(struct buf *b, const char *s);			 /* as bytes, no NUL; NULL = "" */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *b); /* appends a NUL that does not count; valid until next put */
#define BUF_AUTO __attribute__((cleanup(buf_release)))

struct reader {
	const uint8_t *p, *end; /* borrowed */
	bool failed;
};

static inline struct reader reader_of(const void *data, size_t len)
{
	const uint8_t *p = data;

	return (struct reader){.p = p, .end = len ? p + len : p};
}
static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->p);
}
uint8_t reader_get_u8(struct reader *r);
uint16_t reader_get_u16(struct reader *r);
uint32_t reader_get_u32(struct reader *r);
uint64_t reader_get_u64(struct reader *r);
uint64_t reader_get_varint(struct reader *r);
bool reader_get(struct reader *r, void *dst, size_t len); /* zeroes dst on failure */
/* varint length and that many bytes; *ret_data points into the input. */
bool reader_get_bytes(struct reader *r, const uint8_t **ret_data, size_t *ret_len);
/* as bytes, into a new NUL-terminated string; NULL when it fails, is longer than `max` or has a NUL. */
char *reader_get_str(struct reader *r, size_t max);

/* Fixed places in memory, for headers. */
void put_le16(uint8_t *p, uint16_t v);
void put_le32(uint8_t *p, uint32_t v);
void put_le64(uint8_t *p, uint64_t v);
void put_be32(uint8_t *p, uint32_t v); /* for LMDB keys, which sort as bytes */
void put_be64(uint8_t *p, uint64_t v);
uint16_t get_le16(const uint8_t *p);
uint32_t get_le32(const uint8_t *p);
uint64_t get_le64(const uint8_t *p);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);

#endif
