/*
 * responder-put.c - requests that change what is served: see responder-private.h.
 *
 * Only what a session puts at a peer is taken.  Where this store goes itself nobody from outside may say:
 * of a sync state that comes, the destination is the one that is kept here.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/responder-private.h"
#include "backends/wire/spool.h"

#include <errno.h>
#include <string.h>

int respond_begin_batch(struct responder *r, struct frame *f)
{
	uint64_t from = reader_get_u64(&f->payload);
	bool many = reader_get_u8(&f->payload) != 0;

	if (f->payload.failed || !from)
		return MB_E_PROTOCOL;
	int err = r->b->ops->begin(r->b, from, many);
	r->began |= err >= 0;
	r->from = from;
	return respond(r, f->id, err < 0 ? err : 0);
}

int respond_commit(struct responder *r, const struct frame *f)
{
	int err = r->began ? r->b->ops->commit(r->b) : 0;

	r->began = false;
	return respond(r, f->id, err < 0 ? err : 0);
}

int respond_let_go(struct responder *r, const struct frame *f)
{
	int err = r->b->ops->hold && !r->began ? r->b->ops->hold(r->b, false) : 0;

	return respond(r, f->id, err < 0 ? err : 0);
}

int respond_now(struct responder *r, struct frame *f)
{
	struct stamp seen, now = STAMP_NONE;

	seen.time = reader_get_u64(&f->payload);
	seen.replica = reader_get_u64(&f->payload);
	if (f->payload.failed)
		return MB_E_PROTOCOL;
	int err = r->b->ops->now(r->b, &seen, &now);
	if (err < 0)
		return respond(r, f->id, err);
	size_t at = respond_begin(r, f->id, 0);
	buf_put_u64(&r->s.outbox, now.time);
	buf_put_u64(&r->s.outbox, now.replica);
	return respond_end(r, at);
}

int respond_learn(struct responder *r, struct frame *f)
{
	struct reader *in = &f->payload;
	size_t n = reader_left(in) / 56;
	int err = 0;

	if (reader_left(in) % 56 || n > WIRE_LEARN_MAX)
		return MB_E_PROTOCOL;
	for (size_t i = 0; i < n && err >= 0 && r->b->ops->learn; i++) {
		struct guid guid = wire_get_guid(in);
		uint64_t id = reader_get_u64(in);
		struct digest d = wire_get_digest(in);
		if (!digest_known(&d))
			return MB_E_PROTOCOL;
		err = r->b->ops->learn(r->b, &guid, id, &d);
	}
	return respond(r, f->id, err < 0 ? err : 0);
}

/* ---- PUT ------------------------------------------------------------------------------------- */

/* The bytes are read whatever becomes of them. */
static int read_body(struct responder *r, uint32_t id, uint64_t size, struct spool *to,
		     int *ret_err)
{
	uint64_t left = size;
	struct frame f;

	while (left) {
		int got = stream_next(&r->s, WIRE_FRAME_MAX, &f);
		if (got <= 0)
			return got ? got : -ECONNRESET;
		size_t n = reader_left(&f.payload);
		if (f.type != WIRE_DATA || f.id != id || !n || n > left)
			return MB_E_PROTOCOL;
		left -= n;
		if (*ret_err >= 0)
			*ret_err = spool_add(to, f.payload.p, n);
	}
	return 0;
}

/* Where this store goes stays as it is. */
static void keep_destination(struct responder *r, struct peer_state *want)
{
	struct peer_state known = {0};

	free(MB_TAKE(want->destination));
	if (r->b->ops->peer(r->b, want->replica, NULL, &known) >= 0 && known.destination)
		want->destination = MB_TAKE(known.destination);
	else
		want->destination = mb_xstrdup("");
	peer_state_release(&known);
}

static int check_record(struct responder *r, struct record *want)
{
	want->origin.pid = 0;
	memset(want->origin.comm, 0, sizeof(want->origin.comm));
	switch (want->type) {
	case REC_MAILBOX_STATE:
		return guid_is_zero(&want->mailbox.guid) || !want->mailbox.part ? MB_E_PROTOCOL : 0;
	case REC_COPY_STATE:
	case REC_RENUMBER:
	case REC_ALIAS:
		return guid_is_zero(&want->copy.guid) ? MB_E_PROTOCOL : 0;
	case REC_PEER: /* nobody says how far another one is */
		keep_destination(r, &want->peer);
		return want->peer.replica && want->peer.replica == r->from ? 0 : MB_E_PROTOCOL;
	case REC_REPLICA: /* it came twice, and one has to become another */
		return want->replica_id ? 0 : MB_E_PROTOCOL;
	default:
		return MB_E_PROTOCOL;
	}
}

static int put(struct responder *r, const struct record *want, const struct spool *body, bool wake)
{
	int fd MB_AUTO_CLOSE = body ? spool_open(body) : -1;

	if (body && fd < 0)
		return fd;
	if (wake && r->b->ops->wake)
		r->b->ops->wake(r->b, true);
	int ret = r->b->ops->put(r->b, want, fd);
	if (wake && r->b->ops->wake)
		r->b->ops->wake(r->b, false);
	return ret;
}

int respond_put(struct responder *r, struct frame *f)
{
	uint32_t id = f->id;
	uint8_t bits = reader_get_u8(&f->payload);
	uint64_t size = reader_get_u64(&f->payload);
	struct record want = {0};
	bool has_body = bits & WIRE_PUT_BODY;

	if (f->payload.failed || size > WIRE_BODY_MAX || (size && !has_body) ||
	    record_decode(f->payload.p, reader_left(&f->payload), &want) < 0)
		return MB_E_PROTOCOL;
	int result = check_record(r, &want);
	if (result == MB_E_PROTOCOL) {
		record_release(&want);
		return MB_E_PROTOCOL;
	}
	struct spool *body = has_body ? spool_new(false) : NULL;
	int err = has_body ? read_body(r, id, size, body, &result) : 0;
	if (err >= 0 && result >= 0)
		result = r->began ? put(r, &want, body, bits & WIRE_PUT_WAKE) : MB_E_LOCKED;
	spool_free(body);
	record_release(&want);
	return err < 0 ? err : respond(r, id, result);
}
