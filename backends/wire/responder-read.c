/*
 * responder-read.c - requests that only read: see responder-private.h.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/wire/responder-private.h"

#include <errno.h>
#include <string.h>

int respond_position(struct responder *r, const struct frame *f)
{
	struct position p;
	int err = r->b->ops->position(r->b, &p);

	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	position_encode(&p, &r->s.outbox);
	return respond_end(r, at);
}

/* ---- lists ----------------------------------------------------------------------------------- */

int tell_guids(struct responder *r, uint32_t id, enum wire_part kind, const struct guid *list,
	       size_t n)
{
	const size_t most = WIRE_CHUNK / sizeof(*list);
	int err = 0;

	for (size_t i = 0; err >= 0 && i < n; i += most) {
		size_t at = part_begin(r, id, kind);
		for (size_t k = i; k < n && k < i + most; k++)
			wire_put_guid(&r->s.outbox, &list[k]);
		err = respond_end(r, at);
	}
	return err;
}

int tell_tree(struct responder *r, uint32_t id)
{
	struct tree t = {0};
	int err = r->b->ops->tree(r->b, &t);

	if (err < 0)
		return err;
	for (size_t i = 0; err >= 0 && i < t.n;) {
		size_t at = part_begin(r, id, PART_MAILBOXES);
		while (i < t.n && frame_size(&r->s.outbox, at) < WIRE_CHUNK)
			wire_put_mailbox(&r->s.outbox, &t.nodes[i++]);
		err = respond_end(r, at);
	}
	tree_release(&t);
	return err < 0 ? err : 0;
}

int respond_tree(struct responder *r, const struct frame *f)
{
	return respond(r, f->id, tell_tree(r, f->id));
}

struct listing {
	struct guid *list; /* owned */
	size_t n, most;
};

static int list_guid(const struct guid *g, void *arg)
{
	struct listing *l = arg;

	l->list[l->n++] = *g;
	return l->n == l->most;
}

int respond_each(struct responder *r, struct frame *f)
{
	bool has_after = reader_get_u8(&f->payload) != 0;
	struct guid after = wire_get_guid(&f->payload);
	struct listing l = {.most = reader_get_u32(&f->payload)};

	if (f->payload.failed || !l.most || l.most > WIRE_GUIDS_MAX)
		return MB_E_PROTOCOL;
	l.list = mb_xcalloc(l.most, sizeof(*l.list));
	int err = r->b->ops->each_message(r->b, has_after ? &after : NULL, list_guid, &l);
	int told = err < 0 ? 0 : tell_guids(r, f->id, PART_MESSAGES, l.list, l.n);
	free(l.list);
	return told < 0 ? told : respond(r, f->id, err < 0 ? err : 0);
}

/* ---- one message ----------------------------------------------------------------------------- */

int respond_message(struct responder *r, struct frame *f)
{
	struct guid guid = wire_get_guid(&f->payload);
	struct message m = {0};

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int err = r->b->ops->message(r->b, &guid, &m);
	if (err < 0)
		return respond(r, f->id, err);
	size_t start = respond_begin(r, f->id, 0);
	wire_put_message(&r->s.outbox, &m);
	message_release(&m);
	if (frame_size(&r->s.outbox, start) <= WIRE_FRAME_MAX)
		return respond_end(r, start);
	r->s.outbox.len = start;
	return respond(r, f->id, MB_E_LIMIT);
}

int respond_by_uid(struct responder *r, struct frame *f)
{
	struct guid box = wire_get_guid(&f->payload), holder;
	uint32_t uid = reader_get_u32(&f->payload);

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int err = r->b->ops->by_uid(r->b, &box, uid, &holder);
	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	wire_put_guid(&r->s.outbox, &holder);
	return respond_end(r, at);
}

int respond_digest(struct responder *r, struct frame *f)
{
	struct guid guid = wire_get_guid(&f->payload);
	uint64_t id = reader_get_u64(&f->payload);
	struct digest d;

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int err = r->b->ops->digest(r->b, &guid, id, &d);
	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	wire_put_digest(&r->s.outbox, &d);
	return respond_end(r, at);
}

struct twins {
	struct buf *out;
	size_t n;
};

static int add_twin(const struct guid *g, uint64_t id, void *arg)
{
	struct twins *t = arg;

	wire_put_guid(t->out, g);
	buf_put_u64(t->out, id);
	return ++t->n == WIRE_TWINS_MAX;
}

int respond_by_digest(struct responder *r, struct frame *f)
{
	struct digest d = wire_get_digest(&f->payload);
	struct twins t = {.out = &r->scratch};

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	buf_reset(&r->scratch);
	int err = r->b->ops->by_digest(r->b, &d, add_twin, &t);
	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	buf_put(&r->s.outbox, r->scratch.data, r->scratch.len);
	return respond_end(r, at);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

int tell_data(struct responder *r, uint32_t id, int fd, uint64_t most, struct digest *ret,
	      uint64_t *ret_size)
{
	char *chunk MB_AUTO_FREE = mb_xmalloc(WIRE_CHUNK);
	struct hasher *h = hasher_new();
	uint64_t size = 0;
	int err = 0;

	for (;;) {
		ssize_t n = io_pread_full(fd, chunk, WIRE_CHUNK, (off_t)size);
		if (n <= 0) {
			err = (int)n;
			break;
		}
		size += (uint64_t)n;
		if (size > most) {
			err = MB_E_LIMIT;
			break;
		}
		hasher_add(h, chunk, (size_t)n);
		size_t at = frame_begin(&r->s.outbox, WIRE_DATA, id);
		buf_put(&r->s.outbox, chunk, (size_t)n);
		err = respond_end(r, at);
		if (err < 0)
			break;
	}
	hasher_end(h, ret);
	*ret_size = size;
	return err;
}

int respond_body(struct responder *r, struct frame *f)
{
	struct guid guid = wire_get_guid(&f->payload);
	uint64_t id = reader_get_u64(&f->payload), most = reader_get_u64(&f->payload), size;
	struct digest d;

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int fd MB_AUTO_CLOSE = r->b->ops->body(r->b, &guid, id);
	int err = fd < 0 ? fd : tell_data(r, f->id, fd, most, &d, &size);
	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	buf_put_u64(&r->s.outbox, size);
	wire_put_digest(&r->s.outbox, &d);
	return respond_end(r, at);
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* Where it goes itself is no business of who asks. */
int respond_peer(struct responder *r, struct frame *f)
{
	uint64_t replica = reader_get_u64(&f->payload);
	struct record rec = {.type = REC_PEER};

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int err = replica ? r->b->ops->peer(r->b, replica, NULL, &rec.peer) : -ENOENT;
	if (err < 0)
		return respond(r, f->id, err);
	free(MB_TAKE(rec.peer.destination));
	size_t at = respond_begin(r, f->id, 0);
	record_encode(&rec, &r->s.outbox);
	record_release(&rec);
	return respond_end(r, at);
}
