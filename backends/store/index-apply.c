/*
 * index-apply.c - one record into the index: mailboxes, peers, identity; copies are in
 * index-apply-copy.c.
 *
 * Everything in the index speaks of mailboxes as they are now: a merged mailbox's copies, dead ones
 * too, are in the one that it became, and a record from before the merge is read that way.
 */
#include "backends/store/index-private.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/served.h"
#include <errno.h>
#include <string.h>

#define CHAIN_MAX 64

/* ---- marks: greatest clock and ordinal ---- */

static int load_mark(struct index_txn *tx, const char *name, uint64_t *ret)
{
	uint8_t le[8];
	int r = index_meta_get(tx, name, le, sizeof(le));

	*ret = r < 0 ? 0 : get_le64(le);
	return r == -ENOENT ? 0 : r;
}

static int raise_marks(struct index_txn *tx, const struct record *r)
{
	struct marks *m = &tx->marks;
	int err = 0;

	if (!m->loaded) {
		err = load_mark(tx, "clock", &m->clock);
		if (err >= 0)
			err = load_mark(tx, "ordinal", &m->ordinal);
		if (err < 0)
			return err;
		m->loaded = true;
	}
	if (r->at.time > m->clock) {
		m->clock = r->at.time;
		m->changed = true;
	}
	if (r->ordinal > m->ordinal) {
		m->ordinal = r->ordinal;
		m->changed = true;
	}
	return 0;
}

/* ---- mailboxes ---- */

int index_resolve_mailbox(struct index_txn *tx, struct guid *g)
{
	struct guid least = *g;

	for (int i = 0; i < 2 * CHAIN_MAX; i++) {
		struct mailbox m;
		int r = index_get_mailbox(tx, g, &m, NULL);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		struct guid next = m.merged_into;
		bool merged = mailbox_merged(&m);
		mailbox_release(&m);
		if (!merged)
			return 0;
		*g = next;
		/* more steps than a chain has: from here on all are of the loop */
		if (i <= CHAIN_MAX || guid_compare(g, &least) < 0)
			least = *g;
	}
	*g = least;
	return 0;
}

struct rekey {
	struct index_txn *tx;
	struct guid from, to;
	uint64_t modseq;
	bool dead;
};

static int next_uid(struct index_txn *tx, const struct guid *mb, uint32_t *ret)
{
	struct mailbox m;
	int r = index_get_mailbox(tx, mb, &m, NULL);

	if (r < 0)
		return r;
	*ret = m.uid_next;
	mailbox_release(&m);
	return *ret ? 0 : -EOVERFLOW;
}

static int put_renumbered(struct index_txn *tx, struct entry *e)
{
	int r = next_uid(tx, &e->copy.place.mailbox, &e->copy.place.uid);

	return r == -ENOENT ? 0 : r < 0 ? r : index_put_entry(tx, e);
}

/* Two live copies under one UID: the one that came to its place later gets a new one. */
static int settle_uid(struct index_txn *tx, struct entry *e)
{
	struct entry other;
	int r = index_by_uid(tx, &e->copy.place.mailbox, e->copy.place.uid, &other);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (copy_same_key(&other.copy, &e->copy)) {
		entry_release(&other);
		return 0;
	}
	if (stamp_compare(&other.copy.place.at, &e->copy.place.at) > 0)
		r = put_renumbered(tx, &other);
	else
		r = next_uid(tx, &e->copy.place.mailbox, &e->copy.place.uid);
	entry_release(&other);
	return r == -ENOENT ? 0 : r;
}

static int rekey_entry(struct entry *e, void *arg)
{
	const struct rekey *k = arg;
	int r = 0;

	if (!guid_equal(&e->copy.place.mailbox, &k->from))
		return 0;
	if ((e->state == ENTRY_DEAD) != k->dead)
		return 0;
	e->copy.place.mailbox = k->to;
	if (k->modseq > e->modseq)
		e->modseq = k->modseq;
	if (!k->dead && e->copy.place.uid)
		r = settle_uid(k->tx, e);
	return r < 0 ? r : index_put_entry(k->tx, e);
}

/* The live ones by UID, so that they keep their order; then the tombstones, which a walk over all
 * copies finds: a merge is rare. */
static int rekey_all(struct index_txn *tx, const struct guid *from, uint64_t modseq)
{
	struct rekey k = {.tx = tx, .from = *from, .to = *from, .modseq = modseq};
	int r = index_resolve_mailbox(tx, &k.to);

	if (r < 0 || guid_equal(&k.to, from))
		return r;
	r = index_each_in(tx, from, 0, rekey_entry, &k);
	k.dead = true;
	return r < 0 ? r : index_each(tx, rekey_entry, &k);
}

/* m := what is there, joined with the record's.  Returns 1 when that is something new. */
static int join_mailbox(struct index_txn *tx, const struct mailbox *src, struct mailbox *m,
			struct mailbox_local *local)
{
	int r = index_get_mailbox(tx, &src->guid, m, local);

	if (r == -ENOENT) {
		mailbox_clone(m, src);
		return 1;
	}
	return r < 0 ? r : mailbox_join(m, src);
}

static int put_joined(struct index_txn *tx, const struct mailbox *m, struct mailbox_local *l,
		      bool changed, uint64_t modseq)
{
	if (!changed && modseq <= l->modseq)
		return 0;
	if (modseq > l->modseq)
		l->modseq = modseq;
	return index_put_mailbox(tx, m, l);
}

static int apply_mailbox(struct index_txn *tx, const struct record *rec, uint64_t modseq)
{
	struct mailbox_local local = {0};
	struct mailbox m = {0};
	int r;

	if (guid_is_zero(&rec->mailbox.guid))
		return MB_E_FORMAT;
	r = join_mailbox(tx, &rec->mailbox, &m, &local);
	if (r >= 0) {
		bool changed = r > 0;
		r = put_joined(tx, &m, &local, changed, modseq);
		if (r >= 0 && changed && mailbox_merged(&m))
			r = rekey_all(tx, &m.guid, modseq);
	}
	mailbox_release(&m);
	mailbox_local_release(&local);
	return r;
}

/* ---- the rest ---- */

static int apply_replica(struct index_txn *tx, const struct record *rec)
{
	uint8_t le[8];

	put_le64(le, rec->replica_id);
	int r = index_meta_put(tx, "replica", le, sizeof(le));
	if (r >= 0)
		r = index_meta_put(tx, "store", rec->store_id.b, sizeof(rec->store_id.b));
	uint64_t forgotten;
	if (r >= 0)
		r = load_mark(tx, "forgotten", &forgotten);
	if (r < 0 || rec->forgotten <= forgotten)
		return r;
	put_le64(le, rec->forgotten);
	return index_meta_put(tx, "forgotten", le, sizeof(le));
}

static int apply_type(struct index_txn *tx, const struct record *rec, uint64_t modseq)
{
	switch (rec->type) {
	case REC_MAILBOX_CREATE:
	case REC_MAILBOX_RENAME:
	case REC_MAILBOX_DELETE:
	case REC_MAILBOX_REVIVE:
	case REC_MAILBOX_SUBSCRIBE:
	case REC_MAILBOX_MERGE:
	case REC_MAILBOX_STATE:
		return apply_mailbox(tx, rec, modseq);
	case REC_ARRIVE:
	case REC_FLAGS:
	case REC_MOVE:
	case REC_RENAME:
	case REC_EXPUNGE:
	case REC_RENUMBER:
	case REC_DIGEST:
	case REC_EDIT:
	case REC_ALIAS:
	case REC_COPY_STATE:
	case REC_LOST:
	case REC_FOUND:
	case REC_DAMAGED:
		return index_apply_copy(tx, rec, modseq);
	case REC_PEER:
		return index_put_peer(tx, &rec->peer);
	case REC_PEER_ENTRY:
		return index_put_peer_entry(tx, &rec->entry);
	case REC_PEER_FORGET:
		return index_drop_peer(tx, rec->peer.replica);
	case REC_REPLICA:
		return apply_replica(tx, rec);
	case REC_NONE:
		break;
	}
	return MB_E_VERSION;
}

int index_apply(struct index_txn *tx, const struct record *r, uint64_t modseq)
{
	int err = raise_marks(tx, r);

	if (err >= 0)
		err = apply_type(tx, r, modseq);
	if (err >= 0)
		err = served_noticed(tx, &r->origin);
	if (err == MB_E_VERSION || err == MB_E_FORMAT) /* refused before anything was written */
		return err;
	return err < 0 ? txn_spoil(tx, err) : 0;
}
