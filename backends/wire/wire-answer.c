/*
 * wire-answer.c - what comes from the other end, taken into the question that asked for it.
 *
 * Nothing here is believed: only what was asked for is taken, lists are bounded and in order, a body is no
 * longer than it may be, and is what its digest says.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/wire/wire-private.h"

#include <string.h>

/* ---- parts ----------------------------------------------------------------------------------- */

static int take_guids(struct reader *r, struct guid **list, size_t *n, size_t *cap)
{
	size_t more = reader_left(r) / sizeof(struct guid);

	if (reader_left(r) % sizeof(struct guid) || *n + more > WIRE_GUIDS_MAX)
		return MB_E_PROTOCOL;
	MB_GROW(*list, *cap, *n + more);
	for (size_t i = 0; i < more; i++)
		(*list)[(*n)++] = wire_get_guid(r);
	return 0;
}

/* What EACH lists goes upwards, or who asks for page after page would never be done. */
static bool goes_up(const struct question *q, size_t from)
{
	struct guid before = GUID_ZERO;
	bool has_before = q->key.payload[0] != 0;

	memcpy(before.b, q->key.payload + 1, sizeof(before.b));
	for (size_t i = 0; i < q->set.n_messages; i++) {
		const struct guid *g = &q->set.messages[i];
		if (i >= from && has_before && guid_compare(g, &before) <= 0)
			return false;
		before = *g;
		has_before = true;
	}
	return true;
}

static int take_messages(struct question *q, struct reader *r)
{
	size_t from = q->set.n_messages;
	int err = take_guids(r, &q->set.messages, &q->set.n_messages, &q->set.cap_messages);

	return err >= 0 && q->key.type == WIRE_EACH && !goes_up(q, from) ? MB_E_PROTOCOL : err;
}

static int take_aliases(struct question *q, struct reader *r)
{
	const size_t one = 2 * sizeof(struct guid);
	size_t more = reader_left(r) / one;
	struct change_set *s = &q->set;

	if (reader_left(r) % one || s->n_aliases + more > WIRE_GUIDS_MAX)
		return MB_E_PROTOCOL;
	MB_GROW(s->aliases, s->cap_aliases, s->n_aliases + more);
	for (; more; more--) {
		s->aliases[s->n_aliases].from = wire_get_guid(r);
		s->aliases[s->n_aliases++].to = wire_get_guid(r);
	}
	return 0;
}

/* In the order of GUIDs: then each is appended. */
static int take_mailboxes(struct question *q, struct reader *r)
{
	q->tree_bytes += reader_left(r);
	while (reader_left(r)) {
		struct mailbox m;
		const struct tree *t = &q->tree;
		if (q->tree_bytes > WIRE_TREE_MAX || t->n >= WIRE_MAILBOXES_MAX ||
		    !wire_get_mailbox(r, &m))
			return MB_E_PROTOCOL;
		bool good = !t->n || guid_compare(&t->nodes[t->n - 1].guid, &m.guid) < 0;
		if (good)
			tree_put(&q->tree, &m);
		mailbox_release(&m);
		if (!good)
			return MB_E_PROTOCOL;
	}
	return 0;
}

static void message_key(struct question_key *k, const struct guid *g)
{
	BUF_AUTO struct buf b = BUF_INIT;

	wire_put_guid(&b, g);
	question_key_init(k, WIRE_MESSAGE, &b);
}

/* Who has a UID is told by the message that has it. */
static void note_places(struct wire *w, const struct message *m)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct place *p = &m->copies[i].place;
		BUF_AUTO struct buf b = BUF_INIT;
		struct question_key k;
		if (!copy_alive(&m->copies[i]) || !p->uid)
			continue;
		wire_put_guid(&b, &p->mailbox);
		buf_put_u32(&b, p->uid);
		question_key_init(&k, WIRE_BY_UID, &b);
		if (!wire_find(w, &k))
			wire_add_told(w, &k)->guid = m->guid;
	}
}

static int take_state(struct wire *w, struct question *q, struct reader *r)
{
	struct question_key k;
	struct message m;

	q->told_bytes += reader_left(r);
	struct guid asked = wire_get_guid(r);
	if (q->n_told++ >= WIRE_TOLD_MESSAGES || q->told_bytes > WIRE_TOLD_BYTES + WIRE_FRAME_MAX ||
	    !wire_get_message(r, &m))
		return MB_E_PROTOCOL;
	message_key(&k, &asked);
	if (wire_find(w, &k))
		message_release(&m);
	else
		wire_add_told(w, &k)->message = m;
	struct question *told = wire_find(w, &k);
	note_places(w, &told->message);
	return 0;
}

/* All that was told of the news is told: the tree, and where the log ended after it. */
static int take_end(struct wire *w, struct question *q, struct reader *r)
{
	struct question_key tree, position;
	const struct buf nothing = BUF_INIT;
	struct position end;

	if (!position_decode(r, &end))
		return MB_E_PROTOCOL;
	q->told_all = true;
	question_key_init(&tree, WIRE_TREE, &nothing);
	question_key_init(&position, WIRE_POSITION, &nothing);
	if (wire_find(w, &tree) || wire_find(w, &position))
		return 0;
	struct question *told = wire_add_told(w, &tree);
	told->tree = q->tree;
	q->tree = (struct tree){0};
	wire_add_told(w, &position)->position = end;
	return 0;
}

static int begin_body(struct wire *w, struct question *q, struct reader *r)
{
	struct question_key k;
	struct guid guid = wire_get_guid(r);
	uint64_t id = reader_get_u64(r), size = reader_get_u64(r);
	struct digest d = wire_get_digest(r);

	if (r->failed || w->told.left || !size || size > WIRE_FRESH_BYTES - q->told_body_bytes)
		return MB_E_PROTOCOL;
	q->told_body_bytes += size;
	wire_body_key(&k, WIRE_BODY, &guid, id);
	w->told = (struct told_body){.left = size, .digest = d};
	if (wire_find(w, &k))
		return 0; /* it was asked for already */
	w->told.q = wire_add_told(w, &k);
	w->told.q->spool = spool_new(true);
	return 0;
}

static int take_changes_part(struct wire *w, struct question *q, uint8_t kind, struct reader *r)
{
	if (w->told.left || q->told_all)
		return MB_E_PROTOCOL; /* in the midst of a body, or after the end */
	switch (kind) {
	case PART_MESSAGES:
		return take_messages(q, r);
	case PART_FOLDERS:
		return take_guids(r, &q->set.mailboxes, &q->set.n_mailboxes, &q->set.cap_mailboxes);
	case PART_ALIASES:
		return take_aliases(q, r);
	case PART_STATE:
		return take_state(w, q, r);
	case PART_MAILBOXES:
		return take_mailboxes(q, r);
	case PART_END:
		return take_end(w, q, r);
	case PART_BODY:
		return begin_body(w, q, r);
	default:
		return MB_E_PROTOCOL;
	}
}

int wire_take_part(struct wire *w, struct question *q, struct frame *f)
{
	uint8_t kind = reader_get_u8(&f->payload);
	int err = MB_E_PROTOCOL;

	/* One that says nothing could be followed by another for ever. */
	if (!reader_left(&f->payload))
		return MB_E_PROTOCOL;
	if (q->key.type == WIRE_CHANGES)
		err = take_changes_part(w, q, kind, &f->payload);
	else if (q->key.type == WIRE_TREE && kind == PART_MAILBOXES)
		err = take_mailboxes(q, &f->payload);
	else if (q->key.type == WIRE_EACH && kind == PART_MESSAGES)
		err = take_messages(q, &f->payload);
	return err < 0 || f->payload.failed || reader_left(&f->payload) ? MB_E_PROTOCOL : 0;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static int end_told(struct wire *w)
{
	struct question *q = w->told.q;
	struct digest d;

	if (!q)
		return 0;
	spool_digest(q->spool, &d);
	if (!digest_equal(&d, &w->told.digest))
		return MB_E_PROTOCOL;
	w->told.q = NULL;
	return 0;
}

static int take_told_data(struct wire *w, const struct reader *r)
{
	size_t n = reader_left(r);

	if (!n || n > w->told.left)
		return MB_E_PROTOCOL;
	w->told.left -= n;
	int err = w->told.q ? spool_add(w->told.q->spool, r->p, n) : 0;
	return err < 0 || w->told.left ? err : end_told(w);
}

/* What cannot be kept here (a full disk) is an error of that body alone; the rest is read all the same. */
int wire_take_data(struct wire *w, struct question *q, struct frame *f)
{
	size_t n = reader_left(&f->payload);

	if (q->key.type == WIRE_CHANGES)
		return take_told_data(w, &f->payload);
	if (q->key.type != WIRE_BODY || !n)
		return MB_E_PROTOCOL;
	if (!q->spool)
		q->spool = spool_new(true);
	if (n > q->most)
		return MB_E_PROTOCOL;
	q->most -= n;
	if (q->result >= 0)
		q->result = spool_add(q->spool, f->payload.p, n);
	return 0;
}

static int end_body(struct question *q, struct reader *r)
{
	uint64_t size = reader_get_u64(r);
	struct digest said = wire_get_digest(r), is;

	if (!q->spool)
		q->spool = spool_new(true);
	if (q->result < 0)
		return 0;
	spool_digest(q->spool, &is);
	return r->failed || q->spool->size != size || !digest_equal(&said, &is) ? MB_E_PROTOCOL : 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static int take_info(struct wire *w, struct reader *r)
{
	return wire_get_info(r, &w->info) ? 0 : MB_E_PROTOCOL;
}

static int end_changes(const struct wire *w, struct question *q, struct reader *r)
{
	if (!position_decode(r, &q->set.end) || w->told.left)
		return MB_E_PROTOCOL;
	q->set.only_echo = reader_get_u8(r) != 0;
	return 0;
}

static int take_peer(struct question *q, struct reader *r)
{
	struct record rec;

	if (record_decode(r->p, reader_left(r), &rec) < 0)
		return MB_E_PROTOCOL;
	r->p = r->end;
	peer_state_clone(&q->peer, &rec.peer);
	bool good = rec.type == REC_PEER;
	record_release(&rec);
	return good ? 0 : MB_E_PROTOCOL;
}

static int take_twins(struct question *q, struct reader *r)
{
	size_t n = reader_left(r);

	if (n % 24 || n / 24 > WIRE_TWINS_MAX)
		return MB_E_PROTOCOL;
	buf_put(&q->twins, r->p, n);
	r->p = r->end;
	return 0;
}

static int take_result(struct wire *w, struct question *q, struct reader *r)
{
	switch (q->key.type) {
	case WIRE_REFRESH:
		return take_info(w, r);
	case WIRE_POSITION:
		return position_decode(r, &q->position) ? 0 : MB_E_PROTOCOL;
	case WIRE_CHANGES:
		return end_changes(w, q, r);
	case WIRE_MESSAGE:
		if (!wire_get_message(r, &q->message))
			return MB_E_PROTOCOL;
		note_places(w, &q->message);
		return 0;
	case WIRE_BY_UID:
		q->guid = wire_get_guid(r);
		return 0;
	case WIRE_DIGEST:
		q->digest = wire_get_digest(r);
		return 0;
	case WIRE_BY_DIGEST:
		return take_twins(q, r);
	case WIRE_BODY:
		return end_body(q, r);
	case WIRE_PEER:
		return take_peer(q, r);
	case WIRE_NOW:
		w->info.clock.time = reader_get_u64(r);
		w->info.clock.replica = reader_get_u64(r);
		return 0;
	default:
		return 0;
	}
}

int wire_take_answer(struct wire *w, struct question *q, struct frame *f)
{
	int result = wire_get_result(&f->payload);

	/* MB_E_PROTOCOL is a verdict on the connection, never an answer. */
	if (f->payload.failed || result == MB_E_PROTOCOL || (result < 0 && w->told.left))
		return MB_E_PROTOCOL;
	int err = result < 0 ? 0 : take_result(w, q, &f->payload);
	if (err < 0 || f->payload.failed || reader_left(&f->payload))
		return err < 0 ? err : MB_E_PROTOCOL;
	if (q->result >= 0)
		q->result = result;
	return 0;
}
