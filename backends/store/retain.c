/*
 * retain.c - how long log files and tombstones stay.
 *
 * A log file may go when a durable checkpoint covers it, every registered peer has passed it, and it
 * is older than what is kept in any case.  A peer that was away for too long, or for whose sake too
 * much would have to stay, is not waited for: it is compared in full when it comes back.
 *
 * A tombstone may go when it is older than limits.tombstones_ns and every peer that is waited for by
 * time has seen its expunge.  A replica that comes back later still may have the mail, and nobody knows
 * any more whether it was expunged: the time of the latest expunge that was forgotten is logged
 * ("forgotten"), so that mail which is older and unknown here is held (merge-old.c).
 */
#include "backends/base/buf.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

/* ---- peers ---- */

struct peer_walk {
	struct store *s;
	struct retention *r;
	int64_t now_ns;
};

static int look_at_peer(struct peer_state *p, void *arg)
{
	struct peer_walk *w = arg;
	struct retention *r = w->r;

	if (w->now_ns - p->synced_ns >= w->s->limits.peer_pin_ns)
		return 0;
	/* 0 for a position that the log does not hold: it has seen nothing that we could tell */
	uint64_t seen = log_check(w->s->log, &p->local) ? 0 : log_modseq(w->s->log, &p->local);
	if (seen < r->acked)
		r->acked = seen;
	if (!position_is_none(&p->local) && p->local.sequence < r->peers_from)
		r->peers_from = p->local.sequence;
	return 0;
}

int retain_peers(struct store *s, struct index_txn *tx, struct retention *r)
{
	struct peer_walk w = {.s = s, .r = r, .now_ns = clock_wall_ns()};

	r->acked = UINT64_MAX;
	r->peers_from = UINT32_MAX;
	return index_each_peer(tx, look_at_peer, &w);
}

/* ---- tombstones ---- */

struct tombstone_walk {
	struct index_txn *tx;
	const struct retention *r;
	int64_t before_ms;
	uint64_t forgotten; /* time of the latest expunge among those dropped */
};

static int look_at_copy(struct entry *e, void *arg)
{
	struct tombstone_walk *w = arg;
	const struct copy *c = &e->copy;

	if (e->state != ENTRY_DEAD || copy_alive(c) || stamp_ms(&c->dead_at) >= w->before_ms ||
	    e->modseq > w->r->acked)
		return 0;
	if (c->dead.time > c->dead_at.time) /* by clocks without sense: it stays */
		return 0;
	if (c->dead_at.time > w->forgotten)
		w->forgotten = c->dead_at.time;
	return index_drop_entry(w->tx, &c->guid, c->id);
}

int retain_tombstones(struct store *s, struct index_txn *tx, const struct retention *r)
{
	struct tombstone_walk w = {
		.tx = tx,
		.r = r,
		.before_ms = (clock_wall_ns() - s->limits.tombstones_ns) / 1000000,
	};
	struct record rec = {.type = REC_REPLICA, .replica_id = s->replica, .store_id = s->id};
	int err = index_each(tx, look_at_copy, &w);

	if (err < 0 || !w.forgotten)
		return err;
	rec.forgotten = w.forgotten;
	return change_record(s, tx, &rec);
}

/* ---- log files ---- */

struct log_file {
	uint32_t sequence;
	int64_t created_ns;
	uint64_t size;
};
struct log_table {
	struct log_file *files; /* owned; oldest first */
	size_t n, cap;
};

static int add_file(uint32_t sequence, int64_t created_ns, uint64_t size, void *arg)
{
	struct log_table *t = arg;

	MB_GROW(t->files, t->cap, t->n + 1);
	t->files[t->n++] = (struct log_file){sequence, created_ns, size};
	return 0;
}

/* The oldest file that has something younger than `since_ns`: a file is as young as the one after it
 * is old. */
static uint32_t first_younger(const struct log_table *t, int64_t since_ns)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->files[i].created_ns >= since_ns)
			return t->files[i ? i - 1 : 0].sequence;
	return t->n ? t->files[t->n - 1].sequence : 0;
}

/* The oldest file from which on the closed ones are no larger than `limit` together. */
static uint32_t first_within(const struct log_table *t, uint64_t limit)
{
	uint64_t sum = 0;

	for (size_t i = t->n; i-- > 1;) {
		sum += t->files[i - 1].size;
		if (sum > limit)
			return t->files[i].sequence;
	}
	return 0;
}

int retain_log(struct store *s, const struct retention *r)
{
	struct log_table t = {0};
	int err = log_files(s->log, add_file, &t);
	uint32_t keep = first_younger(&t, r->keep_before_ns);
	uint32_t peers = r->peers_from, within = first_within(&t, s->limits.peer_pin_bytes);

	free(t.files);
	if (err < 0)
		return err;
	if (peers < within)
		peers = within;
	return log_remove_before(s->log, keep < peers ? keep : peers);
}

/* ---- what others ask ---- */

uint64_t store_forgotten(struct store *s)
{
	struct index_txn *tx;
	uint8_t le[8] = {0};

	if (index_begin(s->index, false, &tx) < 0)
		return UINT64_MAX; /* when in doubt hold */
	int err = index_meta_get(tx, "forgotten", le, sizeof(le));
	index_abort(tx);
	return err < 0 && err != -ENOENT ? UINT64_MAX : get_le64(le);
}

void store_set_limits(struct store *s, const struct store_limits *l)
{
	s->limits = *l;
}
