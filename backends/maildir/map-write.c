/*
 * map-write.c - the map of a foreign Maildir, written to the local store.
 *
 * Entries of changes that are only nice to know (times, digests) wait for the next batch that has to
 * be written.  The sync state with our id for the Maildir comes before the first entry.
 */
#include "backends/base/mem.h"
#include "backends/maildir/maildir.h"
#include <string.h>

static uint64_t letters_pack(const struct letters *l)
{
	return l->flags | (uint64_t)l->keywords << 8;
}

int md_batch_entry(struct maildir *m, struct peer_entry *e)
{
	struct record r = {.type = REC_PEER_ENTRY, .origin = {.replica = m->local_replica}};
	int ret;

	e->peer = m->replica;
	r.entry = *e; /* borrows */
	ret = m->local->ops->put(m->local, &r, -1);
	return ret < 0 ? ret : 0;
}

/* The sync state comes before the first entry: without it the id that the entries are kept under
 * would be forgotten by a cut. */
static int register_peer(struct maildir *m)
{
	struct record r = {.type = REC_PEER, .origin = {.replica = m->local_replica}};
	int ret;

	if (m->registered)
		return 0;
	r.peer.replica = m->replica;
	r.peer.destination = m->destination;
	ret = m->local->ops->put(m->local, &r, -1);
	if (ret < 0)
		return ret;
	m->registered = true;
	return 0;
}

int md_batch_begin(struct maildir *m)
{
	int err = m->local->ops->begin(m->local, m->local_replica, m->many);

	return err < 0 ? err : register_peer(m);
}

int md_batch_end(struct maildir *m, int err)
{
	int err2 = m->local->ops->commit(m->local);

	return err < 0 ? err : err2 < 0 ? err2 : 0;
}

/* A directory that is not where the mailbox was put tells nobody its name. */
static int put_box(struct maildir *m, struct md_box *box)
{
	bool misplaced = box->misplaced || md_box_waits(m, box);
	struct peer_entry e = {.mailbox = box->guid,
			       .path = box->dir,
			       .ino = box->ino,
			       .placed_at = misplaced ? STAMP_NONE : box->named_at,
			       .state = PEER_ENTRY_AGREED};

	if (!box->dir)
		return 0;
	if (box->structural)
		e.flags |= BOX_STRUCTURAL;
	if (!box->agreed || misplaced || box->unmade) {
		e.state = PEER_ENTRY_INTENT;
		e.flags |= misplaced || box->unmade ? 0 : BOX_IN;
	} else {
		memcpy(e.mtimes, box->times, sizeof(e.mtimes));
	}
	return md_batch_entry(m, &e);
}

static void fill_entry(const struct md_file *f, struct peer_entry *e)
{
	*e = (struct peer_entry){.mailbox = f->box->guid,
				 .guid = f->guid,
				 .id = f->id,
				 .path = f->key,
				 .flags = f->now.flags,
				 .keywords = f->now.keywords,
				 .ino = f->ino,
				 .size = f->size,
				 .placed_at = f->placed_at,
				 .state = PEER_ENTRY_AGREED,
				 .digest = f->digest};
	e->mtimes[0] = f->mtime_ns;
}

static void as_intent(struct peer_entry *e, uint64_t kind, const struct letters *before)
{
	e->state = PEER_ENTRY_INTENT;
	e->mtimes[1] = (int64_t)(kind << KIND_SHIFT | letters_pack(before));
}

/* What is held comes back, if it does, to what it was. */
static bool is_intent(const struct md_file *f)
{
	return f->kept_back ? f->out || md_differs(f) : !f->missing && md_is_news(f);
}

static int put_file(struct maildir *m, struct md_file *f)
{
	bool moved = !guid_equal(&f->agreed_box, &f->box->guid);
	struct peer_entry e;

	fill_entry(f, &e);
	if (is_intent(f)) {
		as_intent(&e, (f->out ? 0 : KIND_IN) | (!f->agreed || moved ? KIND_FRESH : 0),
			  &f->before);
		if (!f->out) {
			e.mtimes[2] = (int64_t)f->changed_at.time;
			e.mtimes[3] = (int64_t)f->changed_at.replica;
		}
	}
	if (f->kept_back)
		e.mtimes[1] |= (int64_t)KIND_HELD << KIND_SHIFT;
	return md_batch_entry(m, &e);
}

/* A missing one is left as it was, to be judged again; but for one that is held, and one whose name
 * another file has: the next run would take that file for it. */
static bool to_be_written(const struct md_file *f)
{
	return f->dirty && !f->queued && (!f->missing || f->kept_back || strchr(f->key, '/'));
}

static int put_dirty_files(struct maildir *m)
{
	struct md_message *msg, *next;

	HASH_ITER (hh, m->messages, msg, next) {
		for (struct md_file *f = msg->files; f; f = f->next) {
			int err = to_be_written(f) ? put_file(m, f) : 0;

			if (err)
				return err;
			f->dirty = f->dirty && !to_be_written(f);
		}
	}
	return 0;
}

int md_batch_boxes(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		int err = box->dirty || box->stale_times ? put_box(m, box) : 0;

		if (!err)
			err = md_subs_batch(m, box);
		if (err)
			return err;
		box->dirty = box->stale_times = false;
	}
	return 0;
}

/* An entry of the same key may have come again since it went. */
static bool is_used(struct maildir *m, const struct peer_entry *e)
{
	struct md_file *f;

	if (guid_is_zero(&e->guid))
		return md_box_find(m, &e->mailbox) != NULL;
	if (md_subs_is_entry(e)) {
		const struct md_box *box = md_box_find(m, &e->mailbox);
		return box && box->subs.stored;
	}
	f = md_find(m, &e->guid, e->id);
	return f &&
	       (guid_equal(&f->box->guid, &e->mailbox) || guid_equal(&f->agreed_box, &e->mailbox));
}

static int put_gone(struct maildir *m)
{
	for (size_t i = 0; i < m->n_gone; i++) {
		struct peer_entry *e = &m->gone[i];
		int err = 0;

		e->state = PEER_ENTRY_GONE;
		if (!is_used(m, e))
			err = md_batch_entry(m, e);
		if (err)
			return err;
	}
	m->n_gone = 0;
	return 0;
}

static bool anything_dirty(struct maildir *m)
{
	struct md_message *msg, *next;
	struct md_box *box, *next_box;

	if (m->n_gone || m->must_write)
		return true;
	HASH_ITER (hh, m->boxes, box, next_box) {
		if (box->dirty || box->subs.dirty)
			return true;
	}
	HASH_ITER (hh, m->messages, msg, next) {
		for (struct md_file *f = msg->files; f; f = f->next)
			if (to_be_written(f))
				return true;
	}
	return false;
}

/* What is there is written before what is gone is taken out: a cut in between leaves too much, which
 * the next look puts right. */
int md_write(struct maildir *m)
{
	int err;

	if (!anything_dirty(m))
		return 0;
	err = md_batch_begin(m);
	if (err < 0)
		return err;
	err = md_batch_boxes(m);
	if (!err)
		err = put_dirty_files(m);
	if (!err)
		err = put_gone(m);
	err = md_batch_end(m, err);
	if (!err)
		m->must_write = false;
	return err;
}

static int put_intent(struct maildir *m, const struct md_op *op)
{
	const struct md_file *f = op->file;
	bool fresh = op->kind == OP_ARRIVE || op->to != f->box;
	MB_AUTO_FREE char *key = md_key(op->name);
	struct peer_entry e;
	struct fname n;

	fname_parse(op->name, &n);
	fill_entry(f, &e);
	e.mailbox = op->to->guid;
	e.path = key;
	e.flags = n.flags;
	e.keywords = n.keywords;
	e.placed_at = op->placed_at;
	as_intent(&e, fresh ? KIND_FRESH : 0, &f->now);
	return md_batch_entry(m, &e);
}

/* A file whose own news is still under way keeps its intent in: that one must not be forgotten. */
static bool needs_intent(const struct md_op *op)
{
	return op->kind == OP_ARRIVE ||
	       (op->kind == OP_CHANGE && (op->to != op->file->box || !md_is_news(op->file)));
}

int md_write_intents(struct maildir *m, const struct md_op *ops, size_t n)
{
	bool any = false;
	int err = 0;

	for (size_t i = 0; i < n; i++)
		any = any || needs_intent(&ops[i]);
	if (!any)
		return 0;
	err = md_batch_begin(m);
	if (err < 0)
		return err;
	err = md_batch_boxes(m); /* an entry of a message needs that of its mailbox */
	for (size_t i = 0; !err && i < n; i++)
		if (needs_intent(&ops[i]))
			err = put_intent(m, &ops[i]);
	return md_batch_end(m, err);
}
