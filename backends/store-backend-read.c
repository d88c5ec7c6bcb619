/*
 * store-backend-read.c - the local store's side of the seam: what is read, from index and log.
 *
 * News is what both log and index have: the log may be ahead while another process writes, and a
 * record whose state cannot be read yet would be passed over for good.
 *
 * Nothing here needs the writer's role.  Each answer is one read transaction; what is given to a
 * callback is collected first, so that the callback may ask the backend, or change it.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store-backend.h"
#include "backends/store/dovecot.h"
#include "backends/store/index.h"
#include "backends/store/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_begin(struct store_backend *b, struct index_txn **ret)
{
	return index_begin(store_index(b->store), false, ret);
}

/* Read before the flush, so that all of it is durable after it. */
static int news_end(struct store_backend *b, struct position *ret)
{
	int err, err2;

	store_follow(b->store);
	err = store_applied(b->store, ret);
	err2 = store_backend_flush(b);

	/* nothing in it yet, or all that it has was dropped from the log */
	if (err == -ENOENT || (!err && log_check(store_log(b->store), ret) == MB_E_POSITION))
		err = log_end(store_log(b->store), ret);
	return err ? err : err2;
}

int sb_position(struct backend *backend, struct position *ret)
{
	struct store_backend *b = store_backend_of(backend);
	int err = news_end(b, ret);

	if (!err)
		b->known = *ret;
	return err;
}

/* ---- News ------------------------------------------------------------------------------------- */

struct collect {
	struct change_set *set;
	uint64_t except;
	struct position last; /* of what the index has */
	bool echo;
};

static bool is_after(const struct position *p, const struct position *q)
{
	return p->sequence != q->sequence ? p->sequence > q->sequence : p->offset > q->offset;
}

static void add_message(struct change_set *c, const struct guid *g)
{
	if (guid_is_zero(g))
		return;
	MB_GROW(c->messages, c->cap_messages, c->n_messages + 1);
	c->messages[c->n_messages++] = *g;
}

static void add_mailbox(struct change_set *c, const struct guid *g)
{
	if (guid_is_zero(g))
		return;
	MB_GROW(c->mailboxes, c->cap_mailboxes, c->n_mailboxes + 1);
	c->mailboxes[c->n_mailboxes++] = *g;
}

static void add_alias(struct change_set *c, const struct guid *from, const struct guid *to)
{
	MB_GROW(c->aliases, c->cap_aliases, c->n_aliases + 1);
	c->aliases[c->n_aliases].from = *from;
	c->aliases[c->n_aliases++].to = *to;
}

/* Records about this replica and its peers, and digests: nothing that a peer lacks. */
static bool is_news(enum record_type t)
{
	switch (t) {
	case REC_NONE:
	case REC_DIGEST:
	case REC_PEER:
	case REC_PEER_ENTRY:
	case REC_PEER_FORGET:
	case REC_REPLICA:
		return false;
	default:
		return true;
	}
}

/* A body that is gone concerns whoever can send it again, and while it was gone its message was told
 * to nobody (drop_missing()): so neither that nor its coming back is ever an echo. */
static bool about_body(enum record_type t)
{
	return t == REC_LOST || t == REC_DAMAGED || t == REC_FOUND;
}

static int collect_record(const struct record *r, const struct position *end, uint64_t modseq,
			  void *arg)
{
	struct collect *c = arg;

	(void)modseq;
	if (is_after(end, &c->last))
		return 1; /* it is news next time */
	c->set->end = *end;
	if (!is_news(r->type))
		return 0;
	if (r->origin.replica == c->except && !about_body(r->type)) {
		c->echo = true;
		return 0;
	}
	if (r->type < REC_ARRIVE) {
		add_mailbox(c->set, &r->mailbox.guid);
		add_mailbox(c->set, &r->mailbox.merged_into);
		return 0;
	}
	add_message(c->set, &r->copy.guid);
	add_message(c->set, &r->old_guid);
	if (r->type == REC_ALIAS)
		add_alias(c->set, &r->old_guid, &r->copy.guid);
	return 0;
}

/* It is in no log, and so has no position: `end` stays where it is. */
static int collect_found(const struct record *r, void *arg)
{
	struct collect *c = arg;
	struct position here = c->set->end;

	return collect_record(r, &here, 0, arg);
}

static int guid_order(const void *a, const void *b)
{
	return guid_compare(a, b);
}

static size_t guids_unique(struct guid *g, size_t n)
{
	size_t kept = 0;

	if (n)
		qsort(g, n, sizeof(*g), guid_order);
	for (size_t i = 0; i < n; i++)
		if (!kept || !guid_equal(&g[kept - 1], &g[i]))
			g[kept++] = g[i];
	return kept;
}

/* GUIDs that became others since their record: the name they have now. */
static int resolve_messages(struct store_backend *b, struct change_set *c)
{
	struct index_txn *tx;
	int err;

	if (!c->n_messages)
		return 0;
	err = read_begin(b, &tx);
	if (err)
		return err;
	for (size_t i = 0; i < c->n_messages; i++)
		c->messages[i] = index_resolve(tx, c->messages[i]);
	index_abort(tx);
	return 0;
}

int sb_changes(struct backend *backend, const struct position *since, uint64_t except,
	       struct change_set *ret)
{
	struct store_backend *b = store_backend_of(backend);
	struct position good;
	struct change_set set = {.end = *since};
	struct collect c = {.set = &set, .except = except};
	int err;

	store_backend_tell_sent(b);
	err = log_check(store_log(b->store), since);
	if (!err)
		err = news_end(b, &c.last);
	if (!err)
		err = log_read(store_log(b->store), since, collect_record, &c, &good);
	if (!err && b->is_trial)
		err = store_trial_each(b->store, collect_found, &c);
	if (!err) /* all of it: also a new file without a record counts, so that the old one may go */
		set.end = good;
	if (err >= 0)
		err = resolve_messages(b, &set);
	if (err) {
		change_set_release(&set);
		return err == MB_E_CHECKSUM ? MB_E_POSITION : err;
	}
	set.n_messages = guids_unique(set.messages, set.n_messages);
	set.n_mailboxes = guids_unique(set.mailboxes, set.n_mailboxes);
	set.only_echo = c.echo && !set.n_messages && !set.n_mailboxes && !set.n_aliases;
	b->known = set.end;
	*ret = set;
	return 0;
}

/* ---- States ----------------------------------------------------------------------------------- */

int sb_tree(struct backend *backend, struct tree *ret)
{
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	err = index_tree(tx, ret);
	if (!err)
		uidlists_tell(tx, ret);
	index_abort(tx);
	return err;
}

static bool is_missing(struct index_txn *tx, const struct copy *c)
{
	struct entry e = {0};
	bool missing = false;

	if (index_get_entry(tx, &c->guid, c->id, &e) == 0)
		missing = e.state == ENTRY_LOST || e.state == ENTRY_DAMAGED;
	entry_release(&e);
	return missing;
}

/* A copy whose body is gone is left out, as if it had never come: so a peer sends it again. */
static void drop_missing(struct index_txn *tx, struct message *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (copy_alive(&m->copies[i]) && is_missing(tx, &m->copies[i])) {
			copy_release(&m->copies[i]);
			m->missing = true;
			continue;
		}
		if (kept != i)
			m->copies[kept] = m->copies[i];
		kept++;
	}
	m->n = kept;
}

int sb_message(struct backend *backend, const struct guid *guid, struct message *ret)
{
	struct message m = {0};
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	err = index_get_message(tx, guid, &m);
	if (!err && !m.n) { /* known by another name, if at all */
		struct guid now = index_resolve(tx, *guid);

		message_release(&m);
		err = index_get_message(tx, &now, &m);
	}
	if (!err) {
		drop_missing(tx, &m);
		*ret = m;
	}
	index_abort(tx);
	return err;
}

struct guid_list {
	struct guid *guids; /* owned */
	uint64_t *ids;	    /* owned; only when they count */
	size_t n, cap, cap_ids;
};

static void guid_list_release(struct guid_list *l)
{
	free(l->guids);
	free(l->ids);
}

#define PAGE 4096 /* GUIDs read at a time: the callback runs outside of the transaction */

static int list_message(const struct guid *g, void *arg)
{
	struct guid_list *l = arg;

	MB_GROW(l->guids, l->cap, l->n + 1);
	l->guids[l->n++] = *g;
	return l->n == PAGE;
}

static int read_page(struct store_backend *b, const struct guid *after, struct guid_list *l)
{
	struct index_txn *tx;
	int err = read_begin(b, &tx);

	if (err)
		return err;
	l->n = 0;
	err = index_each_guid(tx, after, list_message, l);
	index_abort(tx);
	return err < 0 ? err : 0;
}

int sb_each_message(struct backend *backend, const struct guid *after,
		    int (*fn)(const struct guid *g, void *arg), void *arg)
{
	struct guid_list l = {0};
	struct guid last;
	int err;

	do {
		err = read_page(store_backend_of(backend), after, &l);
		for (size_t i = 0; !err && i < l.n; i++)
			err = fn(&l.guids[i], arg);
		if (l.n) {
			last = l.guids[l.n - 1];
			after = &last;
		}
	} while (!err && l.n == PAGE);
	guid_list_release(&l);
	return err;
}

int sb_by_uid(struct backend *backend, const struct guid *mailbox, uint32_t uid, struct guid *ret)
{
	struct entry e = {0};
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	err = index_by_uid(tx, mailbox, uid, &e);
	if (!err)
		*ret = e.copy.guid;
	entry_release(&e);
	index_abort(tx);
	return err;
}

static int list_copy(struct entry *e, void *arg)
{
	struct guid_list *l = arg;

	if (e->state != ENTRY_PRESENT)
		return 0;
	MB_GROW(l->guids, l->cap, l->n + 1);
	MB_GROW(l->ids, l->cap_ids, l->n + 1);
	l->guids[l->n] = e->copy.guid;
	l->ids[l->n++] = e->copy.id;
	return 0;
}

int sb_by_digest(struct backend *backend, const struct digest *d,
		 int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	struct guid_list l = {0};
	struct index_txn *tx;
	int err;

	if (!digest_known(d))
		return 0;
	err = read_begin(store_backend_of(backend), &tx);
	if (err)
		return err;
	err = index_by_digest(tx, d, list_copy, &l);
	index_abort(tx);
	for (size_t i = 0; !err && i < l.n; i++)
		err = fn(&l.guids[i], l.ids[i], arg);
	guid_list_release(&l);
	return err;
}

static int first_present(struct entry *e, void *arg)
{
	(void)arg;
	return e->state == ENTRY_PRESENT;
}

bool store_backend_holds(struct store_backend *b, const struct copy *c)
{
	struct message m = {0};
	struct index_txn *tx;
	bool found = false;

	if (read_begin(b, &tx))
		return false;
	if (digest_known(&c->digest))
		found = index_by_digest(tx, &c->digest, first_present, NULL) > 0;
	if (!found && !index_get_message(tx, &c->guid, &m)) {
		drop_missing(tx, &m);
		for (size_t i = 0; i < m.n; i++)
			found = found || copy_alive(&m.copies[i]);
	}
	message_release(&m);
	index_abort(tx);
	return found;
}

/* ---- Peers ------------------------------------------------------------------------------------ */

struct peer_list {
	struct peer_state *peers; /* owned */
	size_t n, cap;
};

static int list_peer(struct peer_state *p, void *arg)
{
	struct peer_list *l = arg;

	MB_GROW(l->peers, l->cap, l->n + 1);
	l->peers[l->n++] = *p;
	memset(p, 0, sizeof(*p));
	return 0;
}

int sb_each_peer(struct backend *backend, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	struct peer_list l = {0};
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	err = index_each_peer(tx, list_peer, &l);
	index_abort(tx);
	for (size_t i = 0; i < l.n; i++) {
		if (!err)
			err = fn(&l.peers[i], arg);
		peer_state_release(&l.peers[i]);
	}
	free(l.peers);
	return err;
}

struct peer_search {
	const char *destination;
	struct peer_state *ret;
};

static int match_peer(struct peer_state *p, void *arg)
{
	struct peer_search *s = arg;

	if (!p->destination || strcmp(p->destination, s->destination) != 0)
		return 0;
	*s->ret = *p;
	memset(p, 0, sizeof(*p));
	return 1;
}

int sb_peer(struct backend *backend, uint64_t replica, const char *destination,
	    struct peer_state *ret)
{
	struct peer_search s = {.destination = destination, .ret = ret};
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	if (replica) {
		err = index_get_peer(tx, replica, ret);
	} else if (destination) {
		err = index_each_peer(tx, match_peer, &s);
		if (err >= 0)
			err = err ? 0 : -ENOENT;
	} else {
		err = -ENOENT;
	}
	index_abort(tx);
	return err;
}

struct entry_list {
	struct peer_entry *entries; /* owned */
	size_t n, cap;
};

static int list_entry(struct peer_entry *e, void *arg)
{
	struct entry_list *l = arg;

	MB_GROW(l->entries, l->cap, l->n + 1);
	l->entries[l->n++] = *e;
	memset(e, 0, sizeof(*e));
	return 0;
}

int sb_each_entry(struct backend *backend, uint64_t peer,
		  int (*fn)(struct peer_entry *e, void *arg), void *arg)
{
	struct entry_list l = {0};
	struct index_txn *tx;
	int err = read_begin(store_backend_of(backend), &tx);

	if (err)
		return err;
	err = index_each_peer_entry(tx, peer, NULL, list_entry, &l);
	index_abort(tx);
	for (size_t i = 0; i < l.n; i++) {
		if (!err)
			err = fn(&l.entries[i], arg);
		peer_entry_release(&l.entries[i]);
	}
	free(l.entries);
	return err;
}
