/*
 * frame.c - see frame.h.
 */
#include "backends/wire/frame.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"

#include <limits.h>
#include <string.h>

#define COPIES_MAX RECORD_FURTHER_MAX

/* ---- frames ---------------------------------------------------------------------------------- */

size_t frame_begin(struct buf *out, enum wire_type type, uint32_t id)
{
	size_t at = out->len;

	buf_put_u32(out, 0);
	buf_put_u8(out, (uint8_t)type);
	buf_put_u32(out, id);
	return at;
}

size_t frame_size(const struct buf *out, size_t at)
{
	return out->len - at;
}

void frame_end(struct buf *out, size_t at)
{
	put_le32(out->data + at, (uint32_t)(out->len - at - 4));
}

static bool is_type(uint8_t t)
{
	return (t >= WIRE_HELLO && t <= WIRE_DATA) || (t >= WIRE_PING && t <= WIRE_LAST);
}

int frame_parse(const void *data, size_t len, size_t max, struct frame *ret)
{
	const uint8_t *p = data;

	if (len >= 4 && (get_le32(p) < WIRE_HEAD - 4 || get_le32(p) > max))
		return MB_E_PROTOCOL;
	if (len >= 5 && !is_type(p[4]))
		return MB_E_PROTOCOL;
	if (len < WIRE_HEAD || len - 4 < get_le32(p))
		return 0;
	size_t size = 4 + (size_t)get_le32(p);
	*ret = (struct frame){.type = (enum wire_type)p[4],
			      .id = get_le32(p + 5),
			      .payload = reader_of(p + WIRE_HEAD, size - WIRE_HEAD)};
	return (int)size;
}

/* ---- small things ---------------------------------------------------------------------------- */

void wire_put_guid(struct buf *out, const struct guid *g)
{
	buf_put(out, g->b, sizeof(g->b));
}

struct guid wire_get_guid(struct reader *r)
{
	struct guid g;

	reader_get(r, g.b, sizeof(g.b));
	return g;
}

void wire_put_digest(struct buf *out, const struct digest *d)
{
	buf_put(out, d->b, sizeof(d->b));
}

struct digest wire_get_digest(struct reader *r)
{
	struct digest d;

	reader_get(r, d.b, sizeof(d.b));
	return d;
}

void wire_put_result(struct buf *out, int result)
{
	buf_put_u32(out, (uint32_t)result);
}

/* What is no error of ours must not be taken for one, nor for a count beyond any. */
int wire_get_result(struct reader *r)
{
	int result = (int)(int32_t)reader_get_u32(r);

	if (r->failed)
		return MB_E_PROTOCOL;
	if (result >= 0 || (result >= -4095 && result < 0) ||
	    (result >= MB_E_FIRST && result <= MB_E_LAST))
		return result;
	return WIRE_ERR_OTHER;
}

/* ---- states ---------------------------------------------------------------------------------- */

void wire_put_message(struct buf *out, const struct message *m)
{
	wire_put_guid(out, &m->guid);
	buf_put_u8(out, m->missing);
	buf_put_varint(out, m->n);
	for (size_t i = 0; i < m->n; i++)
		copy_encode(&m->copies[i], out);
}

/* Each copy once, all of this message. */
static bool get_copy(struct reader *r, struct message *m)
{
	struct copy c = {0};
	bool good = copy_decode(r, &c) && guid_equal(&c.guid, &m->guid) && !message_find(m, c.id);

	if (good) {
		*message_add(m, c.id) = c;
		return true;
	}
	copy_release(&c);
	return false;
}

bool wire_get_message(struct reader *r, struct message *ret)
{
	struct message m = {.guid = wire_get_guid(r)};

	m.missing = reader_get_u8(r) != 0;
	uint64_t n = reader_get_varint(r);
	bool good = !r->failed && n <= COPIES_MAX;
	for (uint64_t i = 0; good && i < n; i++)
		good = get_copy(r, &m);
	if (!good || r->failed || reader_left(r)) {
		message_release(&m);
		return false;
	}
	*ret = m;
	return true;
}

void wire_put_mailbox(struct buf *out, const struct mailbox *m)
{
	mailbox_encode(m, out);
	buf_put_varint(out, m->uid_shown);
	buf_put_varint(out, m->uid_validity_shown);
}

bool wire_get_mailbox(struct reader *r, struct mailbox *ret)
{
	struct mailbox m = {0};
	bool good = mailbox_decode(r, &m) && m.part;
	uint64_t shown = good ? reader_get_varint(r) : 0;
	uint64_t validity = good ? reader_get_varint(r) : 0;

	if (!good || r->failed || shown > UINT32_MAX || validity > UINT32_MAX) {
		mailbox_release(&m);
		return false;
	}
	m.uid_shown = (uint32_t)shown;
	m.uid_validity_shown = (uint32_t)validity;
	*ret = m;
	return true;
}

/* ---- who is there ---------------------------------------------------------------------------- */

void wire_put_info(struct buf *out, const struct wire_info *i)
{
	buf_put_u64(out, i->info.replica);
	wire_put_guid(out, &i->info.store);
	buf_put_u32(out, i->info.caps);
	buf_put_u64(out, i->info.missing);
	buf_put_u32(out, (uint32_t)-i->info.unread);
	buf_put_u64(out, i->info.misplaced);
	buf_put_u64(out, i->info.forgotten);
	buf_put_u64(out, i->clock.time);
	buf_put_u64(out, i->clock.replica);
}

bool wire_get_info(struct reader *r, struct wire_info *ret)
{
	struct wire_info i = {0};

	i.info.replica = reader_get_u64(r);
	i.info.store = wire_get_guid(r);
	i.info.caps = reader_get_u32(r);
	i.info.missing = reader_get_u64(r);
	uint32_t unread = reader_get_u32(r);
	i.info.misplaced = reader_get_u64(r);
	i.info.forgotten = reader_get_u64(r);
	i.clock.time = reader_get_u64(r);
	i.clock.replica = reader_get_u64(r);
	if (r->failed || !i.info.replica || unread > 5000)
		return false;
	i.info.unread = -(int)unread;
	*ret = i;
	return true;
}

void wire_put_hello(struct buf *out, const struct wire_hello *h, bool info)
{
	size_t at = frame_begin(out, WIRE_HELLO, 0);

	buf_put(out, WIRE_MAGIC, 8);
	buf_put_u16(out, h->lowest);
	buf_put_u16(out, h->highest);
	buf_put_u32(out, h->features);
	if (info)
		wire_put_info(out, &h->info);
	else
		buf_put_u8(out, h->bits);
	frame_end(out, at);
}

int wire_get_hello(struct reader *r, bool info, struct wire_hello *ret)
{
	struct wire_hello h = {0};
	char magic[8];

	reader_get(r, magic, sizeof(magic));
	h.lowest = reader_get_u16(r);
	h.highest = reader_get_u16(r);
	if (r->failed || memcmp(magic, WIRE_MAGIC, sizeof(magic)) != 0 || h.lowest > h.highest)
		return MB_E_PROTOCOL;
	if (h.lowest > WIRE_VERSION || h.highest < WIRE_VERSION)
		return MB_E_VERSION;
	h.features = reader_get_u32(r);
	if (!info)
		h.bits = reader_get_u8(r);
	if ((info && !wire_get_info(r, &h.info)) || r->failed)
		return MB_E_PROTOCOL;
	*ret = h;
	return 0;
}
