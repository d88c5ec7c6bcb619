/*
 * tlv.c - tagged values; tlv.h has the format.
 */
#include "backends/mail/tlv.h"
#include "backends/base/mem.h"
#include <string.h>

void tlv_put(struct buf *out, uint8_t tag, const void *data, size_t len)
{
	buf_put_u8(out, tag);
	buf_put_bytes(out, data, len);
}

void tlv_put_varint(struct buf *out, uint8_t tag, uint64_t v)
{
	size_t at;

	if (!v)
		return;
	buf_put_u8(out, tag);
	at = out->len;
	buf_put_u8(out, 0); /* the length: a varint has at most ten bytes */
	buf_put_varint(out, v);
	out->data[at] = (uint8_t)(out->len - at - 1);
}

void tlv_put_le64(struct buf *out, uint8_t tag, uint64_t v)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	if (v)
		tlv_put(out, tag, bytes, sizeof(bytes));
}

void tlv_put_str(struct buf *out, uint8_t tag, const char *s)
{
	if (s && *s)
		tlv_put(out, tag, s, strlen(s));
}

void tlv_put_guid(struct buf *out, uint8_t tag, const struct guid *g)
{
	if (!guid_is_zero(g))
		tlv_put(out, tag, g->b, sizeof(g->b));
}

void tlv_put_stamp(struct buf *out, uint8_t tag, const struct stamp *s)
{
	if (stamp_is_none(s))
		return;
	buf_put_u8(out, tag);
	buf_put_u8(out, 16);
	stamp_encode(s, out);
}

void tlv_put_digest(struct buf *out, uint8_t tag, const struct digest *d)
{
	if (digest_known(d))
		tlv_put(out, tag, d->b, sizeof(d->b));
}

void tlv_end(struct buf *out)
{
	buf_put_u8(out, 0);
}

bool tlv_next(struct tlv *t)
{
	const uint8_t *data;
	uint8_t tag;
	size_t len;

	if (t->failed || (t->whole && !reader_left(t->in) && !t->in->failed))
		return false;
	tag = reader_get_u8(t->in);
	if (!t->in->failed && tag == 0 && !t->whole)
		return false;
	if (t->in->failed || tag <= t->tag || !reader_get_bytes(t->in, &data, &len)) {
		t->failed = true;
		return false;
	}
	t->tag = tag;
	t->value = reader_of(data, len);
	return true;
}

void tlv_check(struct tlv *t, bool ok)
{
	if (!ok || t->value.failed || reader_left(&t->value))
		t->failed = true;
}

uint64_t tlv_varint(struct tlv *t, uint64_t max)
{
	uint64_t v = reader_get_varint(&t->value);

	tlv_check(t, v <= max);
	return t->failed ? 0 : v;
}

uint64_t tlv_le64(struct tlv *t)
{
	uint64_t v = reader_get_u64(&t->value);

	tlv_check(t, true);
	return v;
}

char *tlv_str(struct tlv *t, size_t max)
{
	size_t len = reader_left(&t->value);
	const char *s = (const char *)t->value.p;

	t->value.p = t->value.end;
	tlv_check(t, len && len <= max && !memchr(s, 0, len));
	return t->failed ? NULL : mb_xstrndup(s, len);
}

struct guid tlv_guid(struct tlv *t)
{
	struct guid g;

	reader_get(&t->value, g.b, sizeof(g.b));
	tlv_check(t, true);
	return g;
}

struct stamp tlv_stamp(struct tlv *t)
{
	struct stamp s = stamp_decode(&t->value);

	tlv_check(t, true);
	return s;
}

struct digest tlv_digest(struct tlv *t)
{
	struct digest d;

	reader_get(&t->value, d.b, sizeof(d.b));
	tlv_check(t, true);
	return d;
}

void stamp_encode(const struct stamp *s, struct buf *out)
{
	buf_put_u64(out, s->time);
	buf_put_u64(out, s->replica);
}

struct stamp stamp_decode(struct reader *r)
{
	struct stamp s;

	s.time = reader_get_u64(r);
	s.replica = reader_get_u64(r);
	return s;
}
