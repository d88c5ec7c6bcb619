/*
 * wire.c - the initiator's connection: see wire.h, wire-private.h.
 *
 * A question is asked (its frame is in outbox), under way (in the list, in the order of ids) and answered.
 * Those that are kept are in a table, by what they ask, so that a verb finds what was foreseen; it takes
 * the answer, and what may change is taken once.
 */
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/wire/wire-private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static unsigned patience_s = 120;

void wire_patience(unsigned seconds)
{
	patience_s = seconds;
}

unsigned wire_patience_s(void)
{
	return patience_s;
}

struct wire_counts wire_counts(struct backend *b)
{
	const struct wire *w = wire_of(b);

	return (struct wire_counts){w->round_trips, w->s.n_sent, w->s.n_received};
}

void wire_on_close(struct backend *b, void (*fn)(void *arg), void *arg)
{
	wire_of(b)->on_close = fn;
	wire_of(b)->on_close_arg = arg;
}

/* ---- questions ------------------------------------------------------------------------------- */

void question_key_init(struct question_key *k, enum wire_type type, const struct buf *payload)
{
	memset(k, 0, sizeof(*k));
	k->type = (uint8_t)type;
	k->len = (uint8_t)(payload->len < sizeof(k->payload) ? payload->len : sizeof(k->payload));
	if (k->len)
		memcpy(k->payload, payload->data, k->len);
}

struct question *wire_find(struct wire *w, const struct question_key *k)
{
	struct question *q;

	HASH_FIND(hh, w->table, k, sizeof(*k), q);
	return q;
}

static void question_free(struct question *q)
{
	message_release(&q->message);
	change_set_release(&q->set);
	tree_release(&q->tree);
	peer_state_release(&q->peer);
	buf_release(&q->twins);
	spool_free(q->spool);
	free(q);
}

static void keep(struct wire *w, struct question *q)
{
	q->kept = true;
	HASH_ADD(hh, w->table, key, sizeof(q->key), q);
}

static void send_question(struct wire *w, struct question *q, const struct buf *payload)
{
	q->most = WIRE_BODY_MAX;
	q->id = ++w->last;
	if (w->dead) {
		q->answered = true;
		q->result = w->dead;
		return;
	}
	*w->end = q;
	w->end = &q->next;
	size_t at = frame_begin(&w->s.outbox, (enum wire_type)q->key.type, q->id);
	buf_put(&w->s.outbox, payload->data, payload->len);
	frame_end(&w->s.outbox, at);
	w->unasked = true;
}

struct question *wire_ask(struct wire *w, const struct question_key *k, const struct buf *payload)
{
	struct question *q = mb_xcalloc(1, sizeof(*q));

	q->key = *k;
	keep(w, q);
	send_question(w, q, payload);
	return q;
}

struct question *wire_ask_apart(struct wire *w, enum wire_type type, const struct buf *payload,
				bool loose)
{
	struct question *q = mb_xcalloc(1, sizeof(*q));

	q->key.type = (uint8_t)type;
	q->loose = loose && !w->dead;
	send_question(w, q, payload);
	if (!loose || !w->dead)
		return q;
	question_free(q);
	return NULL;
}

struct question *wire_add_told(struct wire *w, const struct question_key *k)
{
	struct question *q = mb_xcalloc(1, sizeof(*q));

	q->key = *k;
	q->answered = true;
	keep(w, q);
	return q;
}

struct question *wire_want(struct wire *w, enum wire_type type, const struct buf *payload)
{
	struct question_key k;

	question_key_init(&k, type, payload);
	struct question *q = wire_find(w, &k);
	return q ? q : wire_ask(w, &k, payload);
}

void wire_drop(struct wire *w, struct question *q)
{
	if (q->kept)
		HASH_DEL(w->table, q);
	q->kept = false;
	if (w->told.q == q)
		w->told.q = NULL;
	if (q->opened)
		w->kept_bytes -= q->spool->size;
	q->opened = false;
	if (q->answered)
		question_free(q);
	else
		q->loose = true;
}

static bool is_state(const struct question *q)
{
	switch (q->key.type) {
	case WIRE_MESSAGE:
	case WIRE_BY_UID:
	case WIRE_TREE:
	case WIRE_POSITION:
	case WIRE_CHANGES:
		return true;
	default:
		return false;
	}
}

void wire_drop_states(struct wire *w)
{
	struct question *q, *next;

	if (!w->changed)
		return;
	w->changed = false;
	HASH_ITER (hh, w->table, q, next)
		if (is_state(q))
			wire_drop(w, q);
}

void wire_drop_all(struct wire *w)
{
	struct question *q, *next;

	w->changed = false;
	HASH_ITER (hh, w->table, q, next)
		wire_drop(w, q);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct question *pop(struct wire *w)
{
	struct question *q = w->first;

	w->first = q->next;
	if (!w->first)
		w->end = &w->first;
	q->next = NULL;
	q->answered = true;
	return q;
}

static void finish(struct wire *w, struct question *q)
{
	if (q->key.type == WIRE_BEGIN && q->result < 0)
		w->batch = q->result;
	if (q->fn)
		q->fn(w->batch && q->result == MB_E_LOCKED ? w->batch : q->result, q->arg);
	if (q->loose)
		question_free(q);
}

/* Of the connection as a whole.  Any other error would be taken for an answer to each question: "there is no
 * such message", "it changed meanwhile". */
static int as_end(int err)
{
	switch (err) {
	case -EPIPE:
	case -ETIMEDOUT:
	case -EROFS:
	case MB_E_LOCKED:
	case MB_E_STOPPED:
	case MB_E_LOG_DEAD:
	case MB_E_PROTOCOL:
	case MB_E_VERSION:
	case MB_E_CHECKSUM:
		return err;
	default:
		return -ECONNRESET;
	}
}

int wire_fail(struct wire *w, int err)
{
	if (!w->dead)
		w->dead = as_end(err);
	if (w->told.q) /* it came in part */
		w->told.q->result = w->dead;
	w->told.q = NULL;
	while (w->first) {
		struct question *q = pop(w);
		q->result = w->dead;
		finish(w, q);
	}
	w->s.outbox.len = 0;
	return w->dead;
}

void wire_wrote(struct wire *w)
{
	int err = w->dead ? 0 : stream_wrote(&w->s);

	if (err < 0)
		wire_fail(w, err);
}

/* REFUSE in the midst of things: the other end says why it gives up. */
static int refused(struct frame *f)
{
	int err = wire_get_result(&f->payload);
	char *why MB_AUTO_FREE = reader_get_str(&f->payload, 500);

	if (why)
		mb_msg(MB_DEBUG, "the other end says: %s", why);
	return err < 0 ? err : MB_E_PROTOCOL;
}

static int take(struct wire *w, struct frame *f)
{
	struct question *q = w->first;

	if (f->type == WIRE_REFUSE)
		return refused(f);
	if (!q || f->id != q->id)
		return MB_E_PROTOCOL;
	switch (f->type) {
	case WIRE_PART:
		return wire_take_part(w, q, f);
	case WIRE_DATA:
		return wire_take_data(w, q, f);
	case WIRE_ANSWER:
		return wire_take_answer(w, q, f);
	default:
		return MB_E_PROTOCOL;
	}
}

static int pump(struct wire *w)
{
	struct frame f;
	int got;

	if (w->unasked)
		w->round_trips++;
	w->unasked = false;
	got = stream_next(&w->s, WIRE_FRAME_MAX, &f);
	if (got <= 0)
		return got ? got : -ECONNRESET;
	int err = take(w, &f);
	if (err < 0 || f.type != WIRE_ANSWER)
		return err;
	finish(w, pop(w));
	return 0;
}

int wire_wait(struct wire *w, struct question *q)
{
	while (!q->answered) {
		int err = pump(w);
		if (err < 0)
			wire_fail(w, err);
	}
	return q->result;
}

/* ---- the connection -------------------------------------------------------------------------- */

#define NEEDED_CAPS (CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_KEYWORDS | CAP_GUIDS | CAP_SUBSCRIBE)

static int greet(struct wire *w)
{
	struct wire_hello theirs, ours = {.lowest = WIRE_VERSION,
					  .highest = WIRE_VERSION,
					  .features = WIRE_FEATURES,
					  .bits = io_is_read_only() ? WIRE_HELLO_DRY : 0};
	struct frame f;

	wire_put_hello(&w->s.outbox, &ours, false);
	int got = stream_next(&w->s, WIRE_HELLO_MAX, &f);
	if (got <= 0)
		return got ? got : -ECONNRESET;
	if (f.type == WIRE_REFUSE)
		return refused(&f);
	int err = f.type != WIRE_HELLO ? MB_E_PROTOCOL : wire_get_hello(&f.payload, true, &theirs);
	if (err < 0)
		return err;
	w->info = theirs.info;
	return (w->info.info.caps & NEEDED_CAPS) == NEEDED_CAPS ? 0 : MB_E_PROTOCOL;
}

static void close_wire(struct backend *b)
{
	struct wire *w = wire_of(b);

	wire_tell_learnt(w);
	if (!w->dead && w->s.outbox.len)
		stream_flush(&w->s);
	mb_msg(MB_DEBUG, "%s: %" PRIu64 " round trips, %" PRIu64 " bytes sent, %" PRIu64 " got",
	       w->destination, w->round_trips, w->s.n_sent, w->s.n_received);
	wire_fail(w, -ECONNRESET);
	wire_drop_all(w);
	stream_close(&w->s);
	if (w->on_close)
		w->on_close(w->on_close_arg);
	buf_release(&w->learnt);
	free(w->destination);
	free(w);
}

/* It keeps what it knows of others to itself. */
static int each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	return 0;
}

static int each_entry(struct backend *b, uint64_t of, int (*fn)(struct peer_entry *e, void *arg),
		      void *arg)
{
	return 0;
}

static int watch_fd(struct backend *b)
{
	return -1;
}

static int woken(struct backend *b)
{
	return 0;
}

static void allow_mass_expunge(struct backend *b, bool allow)
{
	wire_of(b)->allow_mass_expunge = allow;
}

const struct backend_ops wire_ops = {
	.name = "wire",
	.close = close_wire,
	.info = wire_v_info,
	.refresh = wire_v_refresh,
	.position = wire_v_position,
	.changes = wire_v_changes,
	.tree = wire_v_tree,
	.message = wire_v_message,
	.each_message = wire_v_each_message,
	.by_uid = wire_v_by_uid,
	.digest = wire_v_digest,
	.learn = wire_v_learn,
	.by_digest = wire_v_by_digest,
	.body = wire_v_body,
	.begin = wire_v_begin,
	.put = wire_v_put,
	.put_later = wire_v_put_later,
	.settle = wire_v_settle,
	.foresee = wire_v_foresee,
	.wake = wire_v_wake,
	.commit = wire_v_commit,
	.now = wire_v_now,
	.peer = wire_v_peer,
	.each_peer = each_peer,
	.each_entry = each_entry,
	.watch_fd = watch_fd,
	.woken = woken,
	.allow_mass_expunge = allow_mass_expunge,
	.hold = wire_v_hold,
};

int backend_open_wire(int in, int out, const char *destination, struct backend **ret)
{
	struct wire *w = mb_xcalloc(1, sizeof(*w));

	w->backend.ops = &wire_ops;
	w->destination = mb_xstrdup(destination);
	w->end = &w->first;
	stream_open(&w->s, in, out, patience_s);
	int err = greet(w);
	if (err < 0) {
		w->dead = err;
		close_wire(&w->backend);
		return err;
	}
	*ret = &w->backend;
	return 0;
}
