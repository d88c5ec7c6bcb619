/*
 * put-plain.c - wanted records that change no file: aliases, and what is known of peers.
 */
#include "backends/base/mem.h"
#include "backends/store/put-copy.h"
#include <errno.h>
#include <string.h>

static bool is_listed(const struct record *alias, uint64_t id)
{
	for (size_t i = 0; i < alias->n_further; i++) {
		if (alias->further[i].from == id)
			return true;
	}
	return id == alias->old_id;
}

/* What is logged says of each copy what becomes of it, also of those that came since it was asked for. */
static void list_all(struct record *alias, const struct message *old)
{
	for (size_t i = 0; i < old->n; i++) {
		if (!is_listed(alias, old->copies[i].id))
			record_add_further(alias, old->copies[i].id, old->copies[i].id);
	}
}

int put_alias(struct store *s, const struct record *want)
{
	struct index_txn *tx;
	struct message old = {0};
	struct record r = {.type = REC_ALIAS, .origin = want->origin};
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	err = index_get_message(tx, &want->old_guid, &old);
	if (err == 0 && old.n > 0 && !guid_equal(&want->old_guid, &want->copy.guid)) {
		record_clone(&r, want);
		r.at = STAMP_NONE;
		list_all(&r, &old);
		err = change_record(s, tx, &r);
		if (err >= 0)
			err = 1;
	}
	message_release(&old);
	record_release(&r);
	return change_end(s, tx, err);
}

/* Two records that say the same; who made them and when does not count. */
static bool says_same(const struct record *a, const struct record *b)
{
	BUF_AUTO struct buf x = BUF_INIT, y = BUF_INIT;
	struct record p = {.type = a->type, .peer = a->peer, .entry = a->entry}; /* borrowed */
	struct record q = {.type = a->type, .peer = b->peer, .entry = b->entry};

	record_encode(&p, &x);
	record_encode(&q, &y);
	return x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
}

/* Is what this record of a peer says in already? */
static int plain_is_in(struct index_txn *tx, const struct record *want)
{
	const struct peer_entry *e = &want->entry;
	struct record have = {.type = want->type};
	int err;

	if (want->type == REC_PEER_ENTRY)
		err = index_get_peer_entry(tx, e->peer, &e->mailbox, &e->guid, e->id, &have.entry);
	else
		err = index_get_peer(tx, want->peer.replica, &have.peer);
	if (err == -ENOENT)
		return want->type == REC_PEER_FORGET ||
		       (want->type == REC_PEER_ENTRY && e->state == PEER_ENTRY_GONE);
	if (err >= 0)
		err = want->type != REC_PEER_FORGET && says_same(want, &have);
	record_release(&have);
	return err;
}

int put_plain(struct store *s, const struct record *want)
{
	struct index_txn *tx;
	struct record r = {0};
	int err = change_begin(s, &tx);

	if (err < 0)
		return err;
	err = plain_is_in(tx, want);
	if (err == 0) {
		record_clone(&r, want);
		r.at = STAMP_NONE;
		err = change_record(s, tx, &r);
		record_release(&r);
		return change_end(s, tx, err < 0 ? err : 1);
	}
	return change_end(s, tx, err < 0 ? err : 0);
}
