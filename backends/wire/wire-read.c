/*
 * wire-read.c - verbs that read, of the initiator: see wire-private.h.
 *
 * What was foreseen is taken from the table.  News, positions and states of messages are taken once: who
 * asks again wants to know how it is by then.  All that may change is dropped when something was put, and
 * when news or a position is read anew: no state in the table is older than news_end, for what is
 * remembered as seen up to there would never be asked for again.
 */
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/wire/wire-private.h"

#include <errno.h>
#include <string.h>

#define PAGE 16384 /* GUIDs asked for at a time */
#define KEPT_BYTES                                                                                 \
	(16u << 20) /* of bodies that are kept after they were opened: some are wanted again */

int wire_v_info(struct backend *b, struct backend_info *ret)
{
	const struct wire *w = wire_of(b);

	*ret = w->info.info;
	ret->caps = (w->info.info.caps & (CAP_AFAR - 1)) | CAP_AFAR;
	ret->destination = w->destination;
	return 0;
}

/* The result of a question that is taken once; *ret is dropped by the caller when it is 0 or more. */
static int take_once(struct wire *w, struct question *q, struct question **ret)
{
	int result = wire_wait(w, q);

	if (result < 0)
		wire_drop(w, q);
	else
		*ret = q;
	return result;
}

int wire_v_refresh(struct backend *b, bool full)
{
	struct wire *w = wire_of(b);
	BUF_AUTO struct buf p = BUF_INIT;
	struct question *q;

	buf_put_u8(&p, (full ? WIRE_REFRESH_FULL : 0) |
			       (w->allow_mass_expunge ? WIRE_REFRESH_ALLOW : 0));
	int held = take_once(w, wire_want(w, WIRE_REFRESH, &p), &q);
	if (held >= 0)
		wire_drop(w, q);
	return held;
}

static void note_end(struct wire *w, const struct position *end)
{
	w->news_end = *end;
	w->has_news_end = true;
}

/* What was told before cannot go with what comes now. */
static void drop_older(struct wire *w)
{
	w->changed = true;
	wire_drop_states(w);
}

int wire_v_position(struct backend *b, struct position *ret)
{
	struct wire *w = wire_of(b);
	const struct buf nothing = BUF_INIT;
	struct question *q;

	wire_drop_states(w);
	int err = take_once(w, wire_want(w, WIRE_POSITION, &nothing), &q);
	if (err < 0)
		return err;
	*ret = q->position;
	wire_drop(w, q);
	if (!w->has_news_end || !position_equal(ret, &w->news_end))
		drop_older(w);
	note_end(w, ret);
	return 0;
}

/* ---- news ------------------------------------------------------------------------------------ */

static void changes_key(struct question_key *k, const struct position *since, uint64_t except)
{
	BUF_AUTO struct buf b = BUF_INIT;

	position_encode(since, &b);
	buf_put_u64(&b, except);
	question_key_init(k, WIRE_CHANGES, &b);
}

struct question *wire_ask_changes(struct wire *w, const struct position *since, uint64_t except,
				  uint8_t bits, uint64_t fresh)
{
	BUF_AUTO struct buf p = BUF_INIT;
	struct question_key k;

	changes_key(&k, since, except);
	struct question *q = wire_find(w, &k);
	if (q)
		return q;
	position_encode(since, &p);
	buf_put_u64(&p, except);
	buf_put_u8(&p, bits);
	buf_put_u64(&p, fresh);
	buf_put_u32(&p, fresh ? WIRE_FRESH_BYTES : 0);
	return wire_ask(w, &k, &p);
}

int wire_v_changes(struct backend *b, const struct position *since, uint64_t except,
		   struct change_set *ret)
{
	struct wire *w = wire_of(b);
	struct question_key k;
	struct question *q;

	wire_drop_states(w);
	changes_key(&k, since, except);
	if (!wire_find(w, &k))
		drop_older(w);
	int err = take_once(w, wire_ask_changes(w, since, except, 0, 0), &q);
	if (err < 0)
		return err;
	*ret = q->set;
	q->set = (struct change_set){0};
	note_end(w, &ret->end);
	wire_drop(w, q);
	return 0;
}

/* ---- states ---------------------------------------------------------------------------------- */

int wire_v_tree(struct backend *b, struct tree *ret)
{
	struct wire *w = wire_of(b);
	const struct buf nothing = BUF_INIT;
	struct question *q;

	wire_drop_states(w);
	int err = take_once(w, wire_want(w, WIRE_TREE, &nothing), &q);
	if (err < 0)
		return err;
	*ret = (struct tree){0};
	tree_clone(ret, &q->tree);
	return 0;
}

static struct question *want_message(struct wire *w, const struct guid *guid)
{
	BUF_AUTO struct buf p = BUF_INIT;

	wire_put_guid(&p, guid);
	return wire_want(w, WIRE_MESSAGE, &p);
}

int wire_v_message(struct backend *b, const struct guid *guid, struct message *ret)
{
	struct wire *w = wire_of(b);
	struct question *q;

	wire_drop_states(w);
	int err = take_once(w, want_message(w, guid), &q);
	if (err < 0)
		return err;
	*ret = q->message;
	q->message = (struct message){0};
	wire_drop(w, q);
	return 0;
}

/* One page; *ret as take_once(). */
static int ask_page(struct wire *w, const struct guid *after, struct question **ret)
{
	BUF_AUTO struct buf p = BUF_INIT;

	buf_put_u8(&p, after != NULL);
	wire_put_guid(&p, after ? after : &GUID_ZERO);
	buf_put_u32(&p, PAGE);
	return take_once(w, wire_want(w, WIRE_EACH, &p), ret);
}

int wire_v_each_message(struct backend *b, const struct guid *after,
			int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct wire *w = wire_of(b);
	struct guid last;
	size_t n;
	int err;

	do {
		struct question *q;
		err = ask_page(w, after, &q);
		if (err < 0)
			return err;
		struct guid *list MB_AUTO_FREE = MB_TAKE(q->set.messages);
		n = q->set.n_messages;
		q->set.n_messages = 0;
		wire_drop(w, q);
		err = 0;
		for (size_t i = 0; !err && i < n; i++)
			err = fn(&list[i], arg);
		if (n) {
			last = list[n - 1];
			after = &last;
		}
	} while (!err && n >= PAGE);
	return err;
}

static struct question *want_uid(struct wire *w, const struct guid *mailbox, uint32_t uid)
{
	BUF_AUTO struct buf p = BUF_INIT;

	wire_put_guid(&p, mailbox);
	buf_put_u32(&p, uid);
	return wire_want(w, WIRE_BY_UID, &p);
}

/* Kept: neighbours ask the same again. */
int wire_v_by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid, struct guid *ret)
{
	struct wire *w = wire_of(b);

	wire_drop_states(w);
	struct question *q = want_uid(w, mailbox, uid);
	int err = wire_wait(w, q);
	if (err < 0)
		return err;
	*ret = q->guid;
	return 0;
}

void wire_body_key(struct question_key *k, enum wire_type type, const struct guid *guid,
		   uint64_t id)
{
	BUF_AUTO struct buf b = BUF_INIT;

	wire_put_guid(&b, guid);
	buf_put_u64(&b, id);
	question_key_init(k, type, &b);
}

static struct question *want_digest(struct wire *w, const struct guid *guid, uint64_t id)
{
	BUF_AUTO struct buf p = BUF_INIT;

	wire_put_guid(&p, guid);
	buf_put_u64(&p, id);
	return wire_want(w, WIRE_DIGEST, &p);
}

int wire_v_digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret)
{
	struct wire *w = wire_of(b);
	struct question *q;
	int err = take_once(w, want_digest(w, guid, id), &q);

	if (err < 0)
		return err;
	*ret = q->digest;
	wire_drop(w, q);
	return 0;
}

int wire_v_by_digest(struct backend *b, const struct digest *d,
		     int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	struct wire *w = wire_of(b);
	BUF_AUTO struct buf p = BUF_INIT, twins = BUF_INIT;
	struct question *q;

	wire_put_digest(&p, d);
	int err = take_once(w, wire_want(w, WIRE_BY_DIGEST, &p), &q);
	if (err < 0)
		return err;
	buf_put(&twins, q->twins.data, q->twins.len);
	wire_drop(w, q);
	struct reader r = reader_of(twins.data, twins.len);
	err = 0;
	while (!err && reader_left(&r)) {
		struct guid g = wire_get_guid(&r);
		err = fn(&g, reader_get_u64(&r), arg);
	}
	return err;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static struct question *want_body(struct wire *w, const struct guid *guid, uint64_t id,
				  uint64_t size)
{
	BUF_AUTO struct buf p = BUF_INIT;
	struct question_key k;

	wire_body_key(&k, WIRE_BODY, guid, id);
	struct question *q = wire_find(w, &k);
	if (q)
		return q;
	uint64_t most = size && size < WIRE_BODY_MAX ? size : WIRE_BODY_MAX;
	wire_put_guid(&p, guid);
	buf_put_u64(&p, id);
	buf_put_u64(&p, most);
	q = wire_ask(w, &k, &p);
	q->most = most;
	return q;
}

int wire_v_body(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct wire *w = wire_of(b);
	struct question *q = want_body(w, guid, id, 0);
	int err = wire_wait(w, q);
	int fd = err < 0 ? err : spool_open(q->spool);

	if (fd < 0 || q->spool->fd >= 0 || w->kept_bytes + q->spool->size > KEPT_BYTES) {
		wire_drop(w, q);
	} else if (!q->opened) {
		q->opened = true;
		w->kept_bytes += q->spool->size;
	}
	return fd;
}

/* ---- peers ----------------------------------------------------------------------------------- */

static struct question *want_peer(struct wire *w, uint64_t replica)
{
	BUF_AUTO struct buf p = BUF_INIT;

	buf_put_u64(&p, replica);
	return wire_want(w, WIRE_PEER, &p);
}

/* Kept: nobody else changes it. */
int wire_v_peer(struct backend *b, uint64_t replica, const char *destination,
		struct peer_state *ret)
{
	struct wire *w = wire_of(b);

	if (!replica)
		return -ENOENT;
	struct question *q = want_peer(w, replica);
	int err = wire_wait(w, q);
	if (err < 0)
		return err;
	*ret = (struct peer_state){0};
	peer_state_clone(ret, &q->peer);
	return 0;
}

/* ---- what will be asked ---------------------------------------------------------------------- */

static void foresee_session(struct wire *w, const struct backend_ask *ask)
{
	BUF_AUTO struct buf refresh = BUF_INIT;
	const struct buf nothing = BUF_INIT;

	wire_drop_all(w);
	w->has_news_end = false;
	buf_put_u8(&refresh, (ask->full ? WIRE_REFRESH_FULL : 0) |
				     (ask->allow_mass_expunge ? WIRE_REFRESH_ALLOW : 0));
	wire_want(w, WIRE_REFRESH, &refresh);
	if (ask->peer)
		want_peer(w, ask->peer);
	if (!position_is_none(&ask->seen))
		wire_ask_changes(w, &ask->seen, 0, 0, 0);
	if (!position_is_none(&ask->since))
		wire_ask_changes(w, &ask->since, ask->except,
				 WIRE_CHANGES_STATES | (ask->tree ? 0 : WIRE_CHANGES_TREE),
				 ask->fresh);
	if (!ask->tree)
		return;
	wire_want(w, WIRE_TREE, &nothing);
	wire_want(w, WIRE_POSITION, &nothing);
}

void wire_v_foresee(struct backend *b, const struct backend_ask *ask)
{
	struct wire *w = wire_of(b);

	if (ask->begins)
		foresee_session(w, ask);
	wire_drop_states(w);
	for (size_t i = 0; i < ask->n_messages; i++, wire_wrote(w))
		want_message(w, &ask->messages[i]);
	for (size_t i = 0; i < ask->n_uids; i++, wire_wrote(w))
		want_uid(w, &ask->uids[i].mailbox, ask->uids[i].uid);
	for (size_t i = 0; i < ask->n_digests; i++, wire_wrote(w))
		want_digest(w, &ask->digests[i].guid, ask->digests[i].id);
	for (size_t i = 0; i < ask->n_bodies; i++, wire_wrote(w))
		want_body(w, &ask->bodies[i].guid, ask->bodies[i].id, ask->bodies[i].size);
}
