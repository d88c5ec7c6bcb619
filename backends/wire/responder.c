/*
 * responder.c - see responder.h.
 */
#include "backends/wire/responder.h"

#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/wire/responder-private.h"

#include <errno.h>
#include <string.h>

size_t respond_begin(struct responder *r, uint32_t id, int result)
{
	size_t at = frame_begin(&r->s.outbox, WIRE_ANSWER, id);

	wire_put_result(&r->s.outbox, result);
	return at;
}

int respond_end(struct responder *r, size_t at)
{
	frame_end(&r->s.outbox, at);
	return stream_wrote(&r->s);
}

int respond(struct responder *r, uint32_t id, int result)
{
	return respond_end(r, respond_begin(r, id, result));
}

size_t part_begin(struct responder *r, uint32_t id, enum wire_part kind)
{
	size_t at = frame_begin(&r->s.outbox, WIRE_PART, id);

	buf_put_u8(&r->s.outbox, (uint8_t)kind);
	return at;
}

void responder_info(struct responder *r, struct wire_info *ret)
{
	*ret = (struct wire_info){0};
	if (r->b->ops->info(r->b, &ret->info) < 0)
		return;
	if (r->b->ops->now(r->b, NULL, &ret->clock) < 0)
		ret->clock = STAMP_NONE;
}

/* The role of the writer goes at once: what is put comes between BEGIN and COMMIT. */
static int respond_refresh(struct responder *r, struct frame *f)
{
	uint8_t bits = reader_get_u8(&f->payload);
	struct wire_info info;

	if (f->payload.failed)
		return MB_E_PROTOCOL;
	r->b->ops->allow_mass_expunge(r->b, bits & WIRE_REFRESH_ALLOW);
	int held = r->b->ops->refresh(r->b, bits & WIRE_REFRESH_FULL);
	if (held >= 0 && r->b->ops->hold && !r->began) {
		int err = r->b->ops->hold(r->b, false);
		held = err < 0 ? err : held;
	}
	if (held < 0)
		return respond(r, f->id, held);
	responder_info(r, &info);
	size_t at = respond_begin(r, f->id, held);
	wire_put_info(&r->s.outbox, &info);
	return respond_end(r, at);
}

static int dispatch(struct responder *r, struct frame *f)
{
	switch (f->type) {
	case WIRE_PING:
		return respond(r, f->id, 0);
	case WIRE_REFRESH:
		return respond_refresh(r, f);
	case WIRE_POSITION:
		return respond_position(r, f);
	case WIRE_CHANGES:
		return respond_changes(r, f);
	case WIRE_TREE:
		return respond_tree(r, f);
	case WIRE_MESSAGE:
		return respond_message(r, f);
	case WIRE_EACH:
		return respond_each(r, f);
	case WIRE_BY_UID:
		return respond_by_uid(r, f);
	case WIRE_DIGEST:
		return respond_digest(r, f);
	case WIRE_BY_DIGEST:
		return respond_by_digest(r, f);
	case WIRE_BODY:
		return respond_body(r, f);
	case WIRE_PEER:
		return respond_peer(r, f);
	case WIRE_NOW:
		return respond_now(r, f);
	case WIRE_BEGIN:
		return respond_begin_batch(r, f);
	case WIRE_PUT:
		return respond_put(r, f);
	case WIRE_COMMIT:
		return respond_commit(r, f);
	case WIRE_LET_GO:
		return respond_let_go(r, f);
	case WIRE_LEARN:
		return respond_learn(r, f);
	default:
		return MB_E_PROTOCOL; /* an answer, or a second HELLO */
	}
}

/* ---- the connection -------------------------------------------------------------------------- */

static int refuse(struct responder *r, int err)
{
	size_t at = frame_begin(&r->s.outbox, WIRE_REFUSE, 0);

	wire_put_result(&r->s.outbox, err);
	buf_put_str(&r->s.outbox, mb_err_str(err));
	frame_end(&r->s.outbox, at);
	stream_flush(&r->s);
	return err;
}

static int greet(struct responder *r, wire_open_fn *open, void *arg)
{
	struct wire_hello theirs, ours = {.lowest = WIRE_VERSION, .highest = WIRE_VERSION};
	struct frame f;
	int got = stream_next(&r->s, WIRE_HELLO_MAX, &f);

	if (got <= 0)
		return got ? refuse(r, got) : -ECONNRESET;
	int err = f.type != WIRE_HELLO ? MB_E_PROTOCOL : wire_get_hello(&f.payload, false, &theirs);
	if (err >= 0)
		err = open(theirs.bits & WIRE_HELLO_DRY, arg, &r->b);
	if (err < 0)
		return refuse(r, err);
	ours.features = theirs.features & WIRE_FEATURES;
	responder_info(r, &ours.info);
	if (!ours.info.info.replica)
		return refuse(r, MB_E_CHECKSUM);
	wire_put_hello(&r->s.outbox, &ours, true);
	return 0;
}

static int serve_requests(struct responder *r)
{
	struct frame f;
	int err = 0;

	while (err >= 0) {
		int got = stream_next(&r->s, WIRE_FRAME_MAX, &f);
		if (got <= 0)
			return got;
		if (f.id != r->last + 1)
			return MB_E_PROTOCOL;
		r->last = f.id;
		err = dispatch(r, &f);
	}
	return err;
}

int wire_serve(int in, int out, unsigned patience_s, wire_open_fn *open, void *arg)
{
	struct responder r = {0};

	stream_open(&r.s, in, out, patience_s);
	int err = greet(&r, open, arg);
	if (err >= 0)
		err = serve_requests(&r);
	/* A broken connection: what was put is durable, bodies before records, when others see it. */
	if (r.began)
		r.b->ops->commit(r.b);
	if (err < 0 && r.b && err != -ECONNRESET && err != -EPIPE)
		refuse(&r, err);
	backend_close(r.b);
	buf_release(&r.scratch);
	stream_close(&r.s);
	return err;
}
