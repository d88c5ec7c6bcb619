/*
 * wire-put.c - verbs that change the other end: see wire-private.h.
 *
 * BEGIN goes out with the first put, and nothing is waited for before commit(): puts, bodies and COMMIT are
 * one round trip.  With COMMIT goes the question whether anything but this came meanwhile, which a session
 * asks next.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/wire/wire-private.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ---- small things ---------------------------------------------------------------------------- */

void wire_tell_learnt(struct wire *w)
{
	if (w->learnt.len)
		wire_ask_apart(w, WIRE_LEARN, &w->learnt, true);
	buf_reset(&w->learnt);
}

int wire_v_learn(struct backend *b, const struct guid *guid, uint64_t id, const struct digest *d)
{
	struct wire *w = wire_of(b);

	wire_put_guid(&w->learnt, guid);
	buf_put_u64(&w->learnt, id);
	wire_put_digest(&w->learnt, d);
	if (w->learnt.len >= WIRE_LEARN_MAX * 56)
		wire_tell_learnt(w);
	return w->dead;
}

/* The other clock sees it before it is shown anything else; what that gave last, we know. */
int wire_v_now(struct backend *b, const struct stamp *seen, struct stamp *ret)
{
	struct wire *w = wire_of(b);
	BUF_AUTO struct buf p = BUF_INIT;
	struct stamp now = w->info.clock;

	if (seen && !stamp_is_none(seen)) {
		buf_put_u64(&p, seen->time);
		buf_put_u64(&p, seen->replica);
		wire_ask_apart(w, WIRE_NOW, &p, true);
		now.time = seen->time > now.time ? seen->time : now.time;
	}
	if (ret)
		*ret = now;
	return w->dead;
}

int wire_v_hold(struct backend *b, bool on)
{
	struct wire *w = wire_of(b);
	const struct buf nothing = BUF_INIT;

	if (!on && w->has_role && !w->dead) {
		wire_ask_apart(w, WIRE_LET_GO, &nothing, true);
		int err = stream_flush(&w->s);
		if (err < 0)
			wire_fail(w, err);
		w->has_role = false;
	}
	return 0;
}

int wire_v_begin(struct backend *b, uint64_t from, bool many)
{
	struct wire *w = wire_of(b);

	w->from = from;
	w->many = many;
	w->wants_begin = true;
	w->wake = false;
	w->batch = 0;
	return w->dead;
}

void wire_v_wake(struct backend *b, bool on)
{
	wire_of(b)->wake = on;
}

static void begin_now(struct wire *w)
{
	BUF_AUTO struct buf p = BUF_INIT;

	if (w->began)
		return;
	buf_put_u64(&p, w->from);
	buf_put_u8(&p, w->many);
	wire_ask_apart(w, WIRE_BEGIN, &p, true);
	w->began = w->has_role = true;
}

/* ---- puts ------------------------------------------------------------------------------------ */

/* Exactly `size` bytes; a file that got shorter ends the connection, as nothing can be unsaid. */
static int send_body(struct wire *w, uint32_t id, int fd, uint64_t size, struct digest *ret)
{
	char *chunk MB_AUTO_FREE = mb_xmalloc(WIRE_CHUNK);
	struct hasher *h = ret ? hasher_new() : NULL;
	int err = 0;

	for (uint64_t at = 0; err >= 0 && at < size;) {
		size_t want = size - at < WIRE_CHUNK ? (size_t)(size - at) : WIRE_CHUNK;
		ssize_t n = io_pread_full(fd, chunk, want, (off_t)at);
		if (n != (ssize_t)want) {
			err = n < 0 ? (int)n : -EIO;
			break;
		}
		if (h)
			hasher_add(h, chunk, want);
		size_t frame = frame_begin(&w->s.outbox, WIRE_DATA, id);
		buf_put(&w->s.outbox, chunk, want);
		frame_end(&w->s.outbox, frame);
		err = stream_wrote(&w->s);
		at += want;
	}
	if (h)
		hasher_end(h, ret);
	return err;
}

/* Who gave the body asks for its digest next. */
static void note_digest(struct wire *w, const struct copy *c, const struct digest *d)
{
	struct question_key k;

	wire_body_key(&k, WIRE_DIGEST, &c->guid, c->id);
	struct question *q = wire_find(w, &k);
	if (q && !q->answered)
		return;
	if (!q)
		q = wire_add_told(w, &k);
	q->result = 0;
	q->digest = *d;
}

static int body_size(int fd, uint64_t *ret)
{
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return *ret > WIRE_BODY_MAX ? MB_E_LIMIT : 0;
}

static int check_put(const struct wire *w)
{
	if (w->dead)
		return w->dead;
	if (w->batch)
		return w->batch;
	return w->wants_begin || w->began ? 0 : MB_E_LOCKED;
}

void wire_v_put_later(struct backend *b, const struct record *want, int body, backend_put_fn *fn,
		      void *arg)
{
	struct wire *w = wire_of(b);
	BUF_AUTO struct buf p = BUF_INIT;
	bool unknown = body >= 0 && !digest_known(&want->copy.digest);
	struct digest d;
	uint64_t size = 0;
	int err = check_put(w);

	if (err >= 0)
		err = body_size(body, &size);
	buf_put_u8(&p, (body >= 0 ? WIRE_PUT_BODY : 0) | (w->wake ? WIRE_PUT_WAKE : 0));
	buf_put_u64(&p, size);
	record_encode(want, &p);
	if (err >= 0 && p.len > RECORD_MAX)
		err = MB_E_LIMIT;
	if (err < 0) {
		fn(err, arg);
		return;
	}
	begin_now(w);
	w->changed = true;
	w->ending |= want->type == REC_PEER;
	struct question *q = wire_ask_apart(w, WIRE_PUT, &p, true);
	q->fn = fn;
	q->arg = arg;
	err = body < 0 ? 0 : send_body(w, q->id, body, size, unknown ? &d : NULL);
	if (err >= 0 && unknown)
		note_digest(w, &want->copy, &d);
	if (err < 0)
		wire_fail(w, err);
	else
		wire_wrote(w);
}

static void take_result(int result, void *arg)
{
	*(int *)arg = result;
}

void wire_v_settle(struct backend *b)
{
	struct wire *w = wire_of(b);
	struct question *last = NULL;

	/* A question that is in the list is waited for by keeping it. */
	for (struct question *q = w->first; q; q = q->next)
		if (q->key.type == WIRE_PUT)
			last = q;
	if (!last)
		return;
	last->loose = false;
	wire_wait(w, last);
	wire_drop(w, last);
}

int wire_v_put(struct backend *b, const struct record *want, int body)
{
	int result = -EIO;

	wire_v_put_later(b, want, body, take_result, &result);
	wire_v_settle(b);
	return result;
}

int wire_v_commit(struct backend *b)
{
	struct wire *w = wire_of(b);
	const struct buf nothing = BUF_INIT;

	w->wants_begin = false;
	wire_tell_learnt(w);
	if (!w->began)
		return w->dead;
	w->began = false;
	struct question *q = wire_ask_apart(w, WIRE_COMMIT, &nothing, false);
	wire_drop_states(w);
	if (w->has_news_end && !w->ending)
		wire_ask_changes(w, &w->news_end, w->from, 0, 0);
	w->has_role &= !w->ending;
	w->ending = false;
	int err = wire_wait(w, q);
	wire_drop(w, q);
	return w->batch ? w->batch : err < 0 ? err : 0;
}
