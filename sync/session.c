/*
 * session.c - see session.h.
 *
 * Which news is in the sync state: the positions are those up to which changes() was read before
 * anything was put.  After both commits each side is asked once more: when everything since came from
 * this session, the position goes on to the end; else somebody changed something meanwhile and the
 * session says `again`.
 */
#include "sync/session.h"

#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/apply.h"
#include "sync/gather.h"
#include "sync/state.h"

#include <errno.h>
#include <string.h>

#define TRIES_STALE 5
#define TRIES_STABLE 3
/* A position is moved past echoes only when that saves reading this much; a REC_PEER is far shorter,
 * so remembering a position never asks for the next one. */
#define FAR_BYTES (16u << 10)

struct session {
	struct backend *b[2];
	struct backend_info info[2];
	const struct session_options *opt;
	struct session_result *ret;
	struct position since[2]; /* last agreed */
	struct position end[2];	  /* news was read up to here */
	struct change_set news[2];
	bool full;
	uint64_t agreed; /* clock time of that agreement, 0 = none */
	bool known;	 /* both sides have a sync state that agrees with `since` */
	bool met;	 /* both have a sync state of each other, whatever a state string says */
	char *home;	 /* owned: the destination by which the peer goes to us, if it does */
	struct gather gather;
	struct merge_result merged;
};

static void session_release(struct session *s)
{
	for (int i = 0; i < 2; i++)
		change_set_release(&s->news[i]);
	gather_release(&s->gather);
	merge_result_release(&s->merged);
	free(s->home);
}

static bool has_log(const struct session *s, int side)
{
	return s->info[side].caps & CAP_LOG;
}

/* ---- who is there, and what was agreed ------------------------------------------------------- */

/* Both ends of a pair go to the two sides in the same order: so two that sync each other at the same
 * time wait for one another, never each for the other. */
static int in_order(const struct session *s, int k)
{
	return k ^ (s->info[0].replica > s->info[1].replica);
}

static int look(struct session *s)
{
	for (int i = 0; i < 2; i++) {
		int err = s->b[i]->ops->info(s->b[i], &s->info[i]);
		if (err < 0)
			return err;
	}
	if (!guid_is_zero(&s->info[0].store) && guid_equal(&s->info[0].store, &s->info[1].store))
		return MB_E_SAME;
	if (s->info[0].replica == s->info[1].replica)
		return MB_E_SAME;

	s->ret->held = 0;
	for (int k = 0; k < 2; k++) {
		int i = in_order(s, k);
		s->b[i]->ops->allow_mass_expunge(s->b[i], s->opt->allow_mass_expunge);
		int held = s->b[i]->ops->refresh(s->b[i], s->opt->full);
		if (held < 0)
			return held;
		s->ret->held += (uint64_t)held;
	}
	return 0;
}

/* One record about peers, durable when this returns. */
static int put_one(struct session *s, int side, struct record *r)
{
	struct backend *b = s->b[side];

	r->origin.replica = s->info[side].replica;
	int err = b->ops->begin(b, s->info[1 - side].replica, false);
	if (err >= 0)
		err = b->ops->put(b, r, -1);
	if (err >= 0)
		err = b->ops->commit(b);
	return err;
}

struct same_place {
	const struct backend_info *peer;
	uint64_t other; /* replica that was there before */
};

static int find_other(struct peer_state *p, void *arg)
{
	struct same_place *f = arg;

	if (p->destination && strcmp(p->destination, f->peer->destination) == 0 &&
	    p->replica != f->peer->replica && !guid_is_zero(&p->store) &&
	    !guid_equal(&p->store, &f->peer->store))
		f->other = p->replica;
	return 0;
}

/* Another store where a known peer was: somebody mounted the wrong disk, or means it (row 95). */
static int check_place(struct session *s)
{
	struct same_place f = {.peer = &s->info[1]};

	if (!s->info[1].destination)
		return 0;
	int err = s->b[0]->ops->each_peer(s->b[0], find_other, &f);
	if (err < 0 || !f.other)
		return err;
	if (!s->opt->replace_peer)
		return MB_E_WRONG_PEER;
	struct record forget = {.type = REC_PEER_FORGET, .peer = {.replica = f.other}};
	return s->opt->dry_run ? 0 : put_one(s, 0, &forget);
}

/* true when the log of `side` still holds what comes after p. */
static bool position_good(struct session *s, int side, const struct position *p)
{
	struct change_set c = {0};
	int err = s->b[side]->ops->changes(s->b[side], p, s->info[1 - side].replica, &c);

	change_set_release(&c);
	return err >= 0;
}

/* The peer's own record of us: without one, or with one that our log never gave, one of the two was
 * copied back from a backup, and what it sent since would be taken for an echo. */
static int ask_peer(struct session *s)
{
	struct peer_state theirs = {0};

	if (!has_log(s, 1))
		return 0;
	int err = s->b[1]->ops->peer(s->b[1], s->info[0].replica, NULL, &theirs);
	if (err == -ENOENT || (err >= 0 && theirs.replica != s->info[0].replica)) {
		s->known = s->met = false;
		err = 0;
	} else if (err >= 0 && s->known && !position_equal(&theirs.remote, &s->since[0])) {
		s->known = position_good(s, 0, &theirs.remote);
	}
	if (err >= 0)
		s->home = MB_TAKE(theirs.destination);
	peer_state_release(&theirs);
	return err < 0 ? err : 0;
}

static void use_state(struct session *s)
{
	struct sync_state st;
	int err = sync_state_parse(s->opt->state, &st);

	if (err >= 0 &&
	    (st.replica[0] != s->info[0].replica || st.replica[1] != s->info[1].replica))
		err = MB_E_WRONG_PEER;
	s->known = err >= 0;
	if (err >= 0) {
		memcpy(s->since, st.position, sizeof(s->since));
	} else if (*s->opt->state) {
		s->ret->state_refused = true;
		mb_msg(MB_WARNING, "the state string is of no use (%s): everything is compared",
		       mb_err_str(err));
	}
}

static int agree(struct session *s)
{
	struct peer_state mine = {0};
	int err = check_place(s);

	if (err < 0)
		return err;
	err = s->b[0]->ops->peer(s->b[0], s->info[1].replica, s->info[1].destination, &mine);
	s->known = s->met = err >= 0 && mine.replica == s->info[1].replica;
	if (s->known) {
		s->since[0] = mine.local;
		s->since[1] = mine.remote;
		s->agreed = (uint64_t)(mine.synced_ns / 1000000) << 16;
	}
	peer_state_release(&mine);
	if (err < 0 && err != -ENOENT)
		return err;
	if (s->opt->state)
		use_state(s);
	err = ask_peer(s);
	if (err < 0)
		return err;
	s->full = s->opt->full || !s->known;
	return 0;
}

/* ---- news ------------------------------------------------------------------------------------ */

static int read_news(struct session *s)
{
	for (int i = 0; i < 2 && !s->full; i++) {
		int err = s->b[i]->ops->changes(s->b[i], &s->since[i], s->info[1 - i].replica,
						&s->news[i]);
		if (err == MB_E_POSITION) {
			s->known = false;
			s->full = true;
		} else if (err < 0) {
			return err;
		}
		s->end[i] = s->news[i].end;
	}
	/* In full: where the news ends is asked before the first message is read. */
	for (int i = 0; i < 2 && s->full; i++) {
		change_set_release(&s->news[i]);
		memset(&s->news[i], 0, sizeof(s->news[i]));
		int err = s->b[i]->ops->position(s->b[i], &s->end[i]);
		if (err < 0)
			return err;
	}
	s->ret->full = s->full;
	return 0;
}

static bool set_empty(const struct change_set *c)
{
	return !c->n_messages && !c->n_mailboxes && !c->n_aliases;
}

static bool far_apart(const struct position *a, const struct position *b)
{
	return a->sequence != b->sequence || !guid_equal(&a->log, &b->log) ||
	       b->offset - a->offset > FAR_BYTES;
}

/* Moving the positions on saves reading the same echoes each time. */
static bool worth_moving(const struct session *s)
{
	for (int i = 0; i < 2; i++) {
		if (has_log(s, i) && far_apart(&s->since[i], &s->end[i]))
			return true;
	}
	return false;
}

/* ---- aliases --------------------------------------------------------------------------------- */

/* Tells side 1 - `side` that each copy of `from` that it has is one of `to`.  A side that does not know
 * `from` has nothing to do. */
static int put_alias(struct session *s, int side, const struct guid *from, const struct guid *to)
{
	struct backend *b = s->b[1 - side];
	struct message known = {0};
	bool changed = false;

	if (s->opt->dry_run)
		return 0;
	int err = b->ops->message(b, from, &known);
	for (size_t i = 0; err >= 0 && guid_equal(&known.guid, from) && i < known.n; i++) {
		uint64_t id = known.copies[i].id;
		struct record alias = {.type = REC_ALIAS,
				       .origin.replica = s->info[side].replica,
				       .old_guid = *from,
				       .old_id = id,
				       .copy = {.guid = *to, .id = id}};
		err = b->ops->put(b, &alias, -1);
		if (err == -ENOENT)
			err = 0;
		changed |= err > 0;
	}
	message_release(&known);
	if (changed) {
		s->ret->changed = true;
		s->ret->to[1 - side].other++;
	}
	return err < 0 && err != -ENOENT ? err : changed;
}

static int put_news_aliases(struct session *s)
{
	for (int i = 0; i < 2; i++) {
		const struct change_set *news = &s->news[i];
		if (!news->n_aliases || s->opt->dry_run)
			continue;
		struct backend *b = s->b[1 - i];
		int err = b->ops->begin(b, s->info[i].replica, false);
		for (size_t k = 0; err >= 0 && k < news->n_aliases; k++)
			err = put_alias(s, i, &news->aliases[k].from, &news->aliases[k].to);
		if (err >= 0)
			err = b->ops->commit(b);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Aliases that turned up while reading: when they change a side, its states are read again. */
static int put_found_aliases(struct session *s)
{
	const struct gather *g = &s->gather;
	int changed = 0;

	for (int to = 0; to < 2 && g->n_aliases && !s->opt->dry_run; to++) {
		struct backend *b = s->b[to];
		int err = b->ops->begin(b, s->info[1 - to].replica, false);
		for (size_t k = 0; err >= 0 && k < g->n_aliases; k++) {
			if (g->aliases[k].side == to)
				continue;
			err = put_alias(s, 1 - to, &g->aliases[k].from, &g->aliases[k].to);
			changed += err > 0;
		}
		if (err >= 0)
			err = b->ops->commit(b);
		if (err < 0)
			return err;
	}
	return changed ? MB_E_STALE : 0;
}

/* ---- decide ---------------------------------------------------------------------------------- */

static int gather(struct session *s)
{
	struct gather *g = &s->gather;
	int err = put_news_aliases(s);

	if (err < 0)
		return err;
	g->in.agreed = s->known ? s->agreed : 0;
	for (int i = 0; i < 2; i++) {
		g->b[i] = s->b[i];
		g->info[i] = s->info[i];
		gather_add_news(g, &s->news[i]);
	}
	err = s->full ? gather_add_differences(g) : 0;
	if (err >= 0)
		err = gather_read(g);
	if (err >= 0)
		err = put_found_aliases(s);
	if (err >= 0)
		err = gather_digests(g);
	return err;
}

/* Each clock sees the other's: what is changed after this session comes after all it has seen. */
static int exchange_clocks(struct session *s)
{
	struct stamp seen = STAMP_NONE;

	for (int i = 0; i < 3; i++) {
		struct backend *b = s->b[i % 2];
		struct stamp now = STAMP_NONE;
		int err = b->ops->now(b, &seen, &now);
		if (err < 0)
			return err;
		seen = now;
	}
	return 0;
}

static void keep_notices(struct session *s)
{
	for (size_t i = 0; i < s->ret->n_notices; i++)
		free(s->ret->notices[i].text);
	free(s->ret->notices);
	s->ret->notices = MB_TAKE(s->merged.notices);
	s->ret->n_notices = s->merged.n_notices;
	s->merged.n_notices = s->merged.cap_notices = 0;
}

/* ---- act ------------------------------------------------------------------------------------- */

static int act_on(struct session *s, const struct apply *a, int side, enum apply_part part)
{
	struct backend *b = s->b[side];
	int stale, err = b->ops->begin(b, s->info[1 - side].replica,
				       s->merged.plan[side].n > APPLY_MANY);

	if (err < 0)
		return err;
	stale = err = apply_plan(a, side, part);
	if (err < 0 && err != MB_E_STALE && err != -EINTR)
		return err;
	err = b->ops->commit(b); /* what was put stays, also when it is not all */
	return err < 0 ? err : stale;
}

/* Becomes the writer of both stores before anything is put. */
static int take_roles(struct session *s)
{
	int err = 0;

	for (int k = 0; k < 2 && err >= 0; k++) {
		int i = in_order(s, k);
		if (has_log(s, i) && s->merged.plan[i].n)
			err = s->b[i]->ops->begin(s->b[i], s->info[1 - i].replica, false);
	}
	return err;
}

static int act(struct session *s)
{
	struct apply a = {.b = {s->b[0], s->b[1]},
			  .in = &s->gather.in,
			  .result = &s->merged,
			  .opt = s->opt,
			  .report = s->ret};

	if (s->opt->dry_run) {
		apply_show(&a, 1);
		apply_show(&a, 0);
		return 0;
	}
	int roles = take_roles(s);
	if (roles < 0)
		return roles;
	for (int side = 1; side >= 0 && apply_has_aliases(&a); side--) {
		int err = act_on(s, &a, side, APPLY_ALIASES);
		if (err < 0 && err != MB_E_STALE)
			return err;
	}
	/* The peer first: it gives bodies to us only after it has ours under their final names. */
	int other = act_on(s, &a, 1, APPLY_REST);
	if (other < 0 && other != MB_E_STALE)
		return other;
	int err = act_on(s, &a, 0, APPLY_REST);
	if (err < 0)
		return err;
	return other;
}

/* ---- remember -------------------------------------------------------------------------------- */

/* Moves `end` past this session's own records, or says that somebody else made some. */
static int move_past_echo(struct session *s)
{
	for (int i = 0; i < 2; i++) {
		struct change_set c = {0};
		if (!has_log(s, i))
			continue;
		int err = s->b[i]->ops->changes(s->b[i], &s->end[i], s->info[1 - i].replica, &c);
		if (err >= 0 && set_empty(&c))
			s->end[i] = c.end;
		else if (err >= 0 || err == MB_E_POSITION)
			s->ret->again = true;
		change_set_release(&c);
		if (err < 0 && err != MB_E_POSITION)
			return err;
	}
	return 0;
}

static int put_state(struct session *s, int side)
{
	const struct backend_info *peer = &s->info[1 - side];
	struct record r = {.type = REC_PEER,
			   .peer = {.replica = peer->replica,
				    .store = peer->store,
				    .local = s->end[side],
				    .remote = s->end[1 - side],
				    .synced_ns = clock_wall_ns()}};

	if (!has_log(s, side))
		return 0; /* see confirm() */
	/* Who comes to it does not become a destination of the peer. */
	const char *destination = side ? s->home : peer->destination;
	char *own MB_AUTO_FREE = mb_xstrdup(destination ? destination : "");
	r.peer.destination = own;
	return put_one(s, side, &r);
}

/* The map of a side without a log is told that the other has its news. */
static int confirm(struct session *s)
{
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++) {
		struct record r = {.type = REC_PEER, .peer = {.replica = s->info[1 - i].replica}};
		if (!has_log(s, i))
			err = put_one(s, i, &r);
	}
	return err;
}

static int remember(struct session *s)
{
	int err = put_state(s, 1);

	if (err >= 0)
		err = put_state(s, 0);
	return err < 0 ? err : 0;
}

static void tell_state(struct session *s, const struct position at[2])
{
	struct sync_state st = {.replica = {s->info[0].replica, s->info[1].replica},
				.position = {at[0], at[1]}};

	free(s->ret->state);
	s->ret->state = s->opt->want_state ? sync_state_text(&st) : NULL;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int merge_and_act(struct session *s)
{
	int err = gather(s);

	if (err >= 0 && !s->opt->dry_run)
		err = exchange_clocks(s);
	if (err >= 0)
		err = merge(&s->gather.in, &s->merged);
	if (err < 0)
		return err;
	keep_notices(s);
	return act(s);
}

static int finish(struct session *s, bool changed_before)
{
	bool news = !set_empty(&s->news[0]) || !set_empty(&s->news[1]);

	if (s->opt->dry_run)
		return 0;
	if (s->ret->errors) {
		tell_state(s, s->since);
		return 0;
	}
	bool lost = s->opt->state ? !s->met : !s->known;
	bool moved = lost || news || changed_before || s->ret->changed || worth_moving(s);
	int err = moved || s->full ? confirm(s) : 0;
	if (err >= 0 && s->ret->changed)
		err = move_past_echo(s);
	if (err >= 0 && moved)
		err = remember(s);
	if (err >= 0)
		tell_state(s, moved || s->full ? s->end : s->since);
	return err;
}

static int run_once(struct session *s)
{
	bool changed_before = s->ret->changed;
	int err = look(s);

	if (err >= 0)
		err = agree(s);
	if (err >= 0)
		err = read_news(s);
	if (err < 0)
		return err;
	if (s->full || !set_empty(&s->news[0]) || !set_empty(&s->news[1]))
		err = merge_and_act(s);
	if (err >= 0)
		err = finish(s, changed_before);
	return err;
}

int session_run(struct backend *local, struct backend *remote, const struct session_options *opt,
		struct session_result *ret)
{
	int64_t start = clock_mono_ns();
	int err = MB_E_STALE;

	memset(ret, 0, sizeof(*ret));
	for (int try = 0; try < TRIES_STALE && err == MB_E_STALE; try++) {
		struct session s = {.b = {local, remote}, .opt = opt, .ret = ret};
		ret->errors = 0; /* what was not put is in the next try's plan again */
		ret->first_error = 0;
		err = run_once(&s);
		session_release(&s);
	}
	ret->took_ns = clock_mono_ns() - start;
	return err < 0 ? err : 0;
}

int session_run_until_stable(struct backend *local, struct backend *remote,
			     const struct session_options *opt, struct session_result *ret)
{
	struct session_options again = *opt;
	int err = session_run(local, remote, opt, ret);

	again.full = false;
	again.replace_peer = false;
	for (int i = 1; i < TRIES_STABLE && err >= 0 && ret->again && !ret->errors; i++) {
		struct session_result next;
		char *state MB_AUTO_FREE = MB_TAKE(ret->state);
		again.state = opt->state ? state : NULL;
		err = session_run(local, remote, &again, &next);
		session_result_follow(ret, &next);
	}
	return err;
}
