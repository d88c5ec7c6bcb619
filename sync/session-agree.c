/*
 * session-agree.c - who is there, and up to where both logs were seen.
 *
 * The positions of a restricted scope are its own.  It may begin where everything was last agreed, when
 * that was later: then both sides were equal, whatever a scope selects.  What is later is what reaches
 * further in both logs; clocks of several hosts, or one that was set back, do not tell.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/session-private.h"
#include "sync/state.h"

#include <errno.h>
#include <string.h>

#define SCOPE_UNUSED_NS (30 * INT64_C(86400000000000)) /* a scope is forgotten after that */

/* ---- who is there ---------------------------------------------------------------------------- */

static int ask_both(struct session *s)
{
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++)
		err = s->b[i]->ops->info(s->b[i], &s->info[i]);
	return err < 0 ? err : 0;
}

/* A copy of a store notices that it is one when it looks at its files, and is another replica then. */
static int tell_apart(struct session *s)
{
	int err = ask_both(s);

	for (int i = 1; i >= 0 && err >= 0 && s->info[0].replica == s->info[1].replica; i--) {
		err = s->b[i]->ops->refresh(s->b[i], false);
		if (err >= 0)
			err = ask_both(s);
	}
	if (err >= 0 && s->info[0].replica == s->info[1].replica)
		return MB_E_SAME;
	return err < 0 ? err : 0;
}

int session_take_roles(struct session *s)
{
	int err = 0;

	/* One that is far away takes its role when its turn comes; the later one waits until then. */
	if (s->info[1].caps & CAP_AFAR) {
		if (!session_has_log(s, 0) || session_in_order(s, 0) != 0)
			return 0;
		return s->b[0]->ops->begin(s->b[0], session_news_of(s, 1), false);
	}
	for (int k = 0; k < 2 && err >= 0; k++) {
		int i = session_in_order(s, k);
		if (session_has_log(s, i))
			err = s->b[i]->ops->begin(s->b[i], session_news_of(s, 1 - i), false);
	}
	return err < 0 ? err : 0;
}

int session_before_begin(struct session *s, int side)
{
	struct backend *here = s->b[0];
	bool later = session_has_log(s, 0) && session_in_order(s, 0) != 0;

	if (side == 0 || !later || !(s->info[1].caps & CAP_AFAR) || !here->ops->hold)
		return 0;
	return here->ops->hold(here, false);
}

static int look_at(struct session *s, int i)
{
	s->b[i]->ops->allow_mass_expunge(s->b[i], s->opt->allow_mass_expunge);
	progress_tell(&s->opt->progress, PROGRESS_LOOKING, 0, 0);
	int held = s->b[i]->ops->refresh(s->b[i], s->opt->full);
	if (held >= 0)
		s->ret->held += (uint64_t)held;
	return held < 0 ? held : 0;
}

/* Here first, so that what is new is known when the other side is asked; it keeps no role. */
static int look_afar(struct session *s)
{
	int err = look_at(s, 0);

	if (err >= 0 && s->b[0]->ops->hold && !s->opt->dry_run && session_has_log(s, 0))
		err = s->b[0]->ops->hold(s->b[0], false);
	if (err >= 0)
		err = ask_both(s);
	if (err >= 0)
		err = session_foresee(s);
	if (err >= 0)
		err = look_at(s, 1);
	return err < 0 ? err : ask_both(s);
}

int session_look(struct session *s)
{
	int same = tell_apart(s);

	if (same < 0)
		return same;

	s->ret->held = 0;
	if (s->info[1].caps & CAP_AFAR)
		return look_afar(s);
	for (int k = 0; k < 2; k++) {
		int err = look_at(s, session_in_order(s, k));
		if (err < 0)
			return err;
	}
	/* Who has the later store never waits for the earlier one: see session_take_roles(). */
	struct backend *later = s->b[session_in_order(s, 1)];
	int err = later->ops->hold && !s->opt->dry_run && session_has_log(s, 0) &&
				  session_has_log(s, 1)
			  ? later->ops->hold(later, false)
			  : 0;
	if (err < 0)
		return err;
	return ask_both(s); /* one that was copied is another replica by now */
}

static void keep_result(int result, void *arg)
{
	*(int *)arg = result;
}

/* One record about peers, durable when this returns. */
static int put_one(struct session *s, int side, struct record *r)
{
	struct backend *b = s->b[side];

	int put = 0;

	r->origin.replica = s->info[side].replica;
	int err = session_before_begin(s, side);
	if (err >= 0)
		err = b->ops->begin(b, s->info[1 - side].replica, false);
	if (err < 0)
		return err;
	backend_put_later(b, r, -1, keep_result, &put);
	if (!b->ops->put_later && put < 0)
		return put;
	err = b->ops->commit(b);
	return put < 0 ? put : err;
}

struct same_place {
	const struct backend_info *peer;
	uint64_t other;	  /* replica that was there before, of another store */
	uint64_t earlier; /* that this very store was before it was restored or lost its log */
};

static int find_other(struct peer_state *p, void *arg)
{
	struct same_place *f = arg;

	if (!p->destination || strcmp(p->destination, f->peer->destination) != 0 ||
	    p->replica == f->peer->replica || guid_is_zero(&p->store))
		return 0;
	if (guid_equal(&p->store, &f->peer->store))
		f->earlier = p->replica;
	else
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
	if (err < 0 || (!f.other && !f.earlier))
		return err;
	s->acquainted |= f.earlier != 0;
	if (f.other && !s->opt->replace_peer)
		return MB_E_WRONG_PEER;
	struct record forget = {.type = REC_PEER_FORGET,
				.peer = {.replica = f.other ? f.other : f.earlier}};
	return s->opt->dry_run ? 0 : put_one(s, 0, &forget);
}

/* ---- one replica that is there twice --------------------------------------------------------- */

/* The other side has seen `p` in the log of `side`, and that log never came so far: the store was
 * restored from a backup, or is a copy that went its own way (rows 91, 92). */
static bool never_given(struct session *s, int side, const struct position *p)
{
	struct change_set c = {0};
	struct position end;

	if (!session_has_log(s, side) || position_is_none(p))
		return false;
	int err = s->b[side]->ops->changes(s->b[side], p, 0, &c);
	change_set_release(&c);
	if (err != MB_E_POSITION || s->b[side]->ops->position(s->b[side], &end) < 0)
		return false;
	if (p->sequence != end.sequence)
		return p->sequence > end.sequence;
	return !guid_equal(&p->log, &end.log) || p->check;
}

/* So it goes on as a new replica, and nobody takes its news for those of the other. */
static int renew(struct session *s, int side)
{
	struct record r = {.type = REC_REPLICA, .replica_id = random_u64() | 1};
	int err = put_one(s, side, &r);

	if (err < 0)
		return err;
	mb_msg(MB_NOTICE,
	       "%s was restored from a backup, or is a copy of a store: it goes on as a new "
	       "replica, "
	       "and everything is compared",
	       side ? "the peer" : "this store");
	return MB_E_STALE; /* who is there is asked anew */
}

static int check_twice(struct session *s)
{
	for (int i = 0; i < 2; i++) {
		struct peer_state seen = {0};
		struct backend *other = s->b[1 - i];
		if (!session_has_log(s, 1 - i))
			continue;
		int err = other->ops->peer(other, s->info[i].replica, NULL, &seen);
		bool twice = err >= 0 && seen.replica == s->info[i].replica &&
			     never_given(s, i, &seen.remote);
		peer_state_release(&seen);
		if (err < 0 && err != -ENOENT)
			return err;
		if (twice && !s->opt->dry_run)
			return renew(s, i);
	}
	return 0;
}

/* ---- what was agreed ------------------------------------------------------------------------- */

/* What one side has of the scope's positions, own ones or those of the default scope. */
struct agreement {
	bool known, own;
	uint64_t selected;
	struct position local, remote;
	int64_t synced_ns;
};

static struct agreement of_everything(const struct peer_state *p)
{
	return (struct agreement){.known = !position_is_none(&p->local),
				  .local = p->local,
				  .remote = p->remote,
				  .synced_ns = p->synced_ns};
}

static struct agreement of_scope(const struct peer_state *p, uint64_t hash)
{
	const struct peer_scope *s = peer_state_scope(p, hash);

	if (!s)
		return (struct agreement){0};
	return (struct agreement){.known = true,
				  .own = true,
				  .selected = s->selected,
				  .local = s->local,
				  .remote = s->remote,
				  .synced_ns = s->synced_ns};
}

static bool reaches(const struct agreement *a, const struct agreement *b)
{
	return position_reaches(&a->local, &b->local) && position_reaches(&a->remote, &b->remote);
}

static struct agreement later_of(const struct peer_state *p, uint64_t hash)
{
	struct agreement all = of_everything(p);
	struct agreement own = hash ? of_scope(p, hash) : all;

	return own.known && (!all.known || reaches(&own, &all)) ? own : all;
}

/* true when the log of `side` still holds what comes after p. */
static bool position_good(struct session *s, int side, const struct position *p)
{
	struct change_set c = {0};
	int err = s->b[side]->ops->changes(s->b[side], p, s->info[1 - side].replica, &c);

	change_set_release(&c);
	return err >= 0;
}

/* The record is of that replica, or of what the same store was before. */
static bool is_of(const struct peer_state *p, const struct backend_info *i)
{
	return p->replica == i->replica ||
	       (!guid_is_zero(&i->store) && guid_equal(&p->store, &i->store));
}

/* The peer's own record of us: without one, or with one that our log never gave, one of the two was
 * copied back from a backup, and what it sent since would be taken for an echo. */
static int ask_peer(struct session *s)
{
	struct peer_state theirs = {0};

	if (!session_has_log(s, 1))
		return 0;
	int err = s->b[1]->ops->peer(s->b[1], s->info[0].replica, NULL, &theirs);
	if (err < 0 && err != -ENOENT)
		return err;
	s->acquainted |= err >= 0 && is_of(&theirs, &s->info[0]);
	struct agreement a = s->scope[1] && !s->borrowed ? of_scope(&theirs, s->scope[1])
							 : of_everything(&theirs);
	if (!a.known && s->opt->state)
		a = of_everything(&theirs);
	if (err < 0 || theirs.replica != s->info[0].replica || !a.known)
		s->known = s->met = false;
	else if (s->known && !position_equal(&a.remote, &s->since[0]))
		s->known = position_good(s, 0, &a.remote);
	peer_state_release(&theirs);
	return 0;
}

static void use_state(struct session *s)
{
	struct sync_state st;
	int err = sync_state_parse(s->opt->state, &st);
	const char *why = err < 0 ? mb_err_str(err) : NULL;

	if (err >= 0 &&
	    (st.replica[0] != s->info[0].replica || st.replica[1] != s->info[1].replica))
		why = mb_err_str(MB_E_WRONG_PEER);
	else if (err >= 0 && st.scope != s->scope[0])
		why = "it is of a sync with other options";
	s->known = !why;
	s->acquainted |= !why;
	s->borrowed = false;
	if (!why) {
		memcpy(s->since, st.position, sizeof(s->since));
		s->selected = st.selected;
	} else if (*s->opt->state) {
		s->ret->state_refused = true;
		mb_msg(MB_WARNING, "the state string is of no use (%s): everything is compared",
		       why);
	}
}

static void use_remembered(struct session *s, const struct agreement *a)
{
	s->known = a->known;
	if (!a->known)
		return;
	s->since[0] = a->local;
	s->since[1] = a->remote;
	s->selected = a->selected;
	s->borrowed = s->scope[0] && !a->own;
	s->agreed = (uint64_t)(a->synced_ns / 1000000) << 16;
}

int session_agree(struct session *s)
{
	struct peer_state mine = {0};
	struct agreement a = {0};
	int err = check_place(s);

	if (err >= 0)
		err = check_twice(s);
	if (err < 0)
		return err;
	err = s->b[0]->ops->peer(s->b[0], s->info[1].replica, s->info[1].destination, &mine);
	s->acquainted |= err >= 0 && is_of(&mine, &s->info[1]);
	if (err >= 0 && mine.replica == s->info[1].replica)
		a = later_of(&mine, s->scope[0]);
	peer_state_release(&mine);
	if (err < 0 && err != -ENOENT)
		return err;
	s->met = a.known;
	use_remembered(s, &a);
	if (s->opt->state)
		use_state(s);
	err = ask_peer(s);
	if (err < 0)
		return err;
	s->full |= s->opt->full || !s->known || scope_is_moving(s->opt->scope);
	return 0;
}

/* ---- remember -------------------------------------------------------------------------------- */

static void forget_unused(struct peer_state *p, int64_t now_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_scopes; i++)
		if (now_ns - p->scopes[i].synced_ns < SCOPE_UNUSED_NS)
			p->scopes[kept++] = p->scopes[i];
	p->n_scopes = kept;
}

static void set_positions(const struct session *s, int side, struct peer_state *p)
{
	struct peer_scope scope = {.hash = s->scope[side],
				   .selected = s->selected,
				   .local = s->end[side],
				   .remote = s->end[1 - side],
				   .synced_ns = clock_wall_ns()};

	forget_unused(p, scope.synced_ns);
	if (scope.hash) {
		peer_state_put_scope(p, &scope);
		return;
	}
	p->local = scope.local;
	p->remote = scope.remote;
	p->synced_ns = scope.synced_ns;
}

static int put_state(struct session *s, int side)
{
	const struct backend_info *peer = &s->info[1 - side];
	struct record r = {.type = REC_PEER};

	if (!session_has_log(s, side))
		return 0; /* see session_confirm() */
	int err = s->b[side]->ops->peer(s->b[side], peer->replica, peer->destination, &r.peer);
	if (err < 0 && err != -ENOENT)
		return err;
	if (err < 0 || r.peer.replica != peer->replica)
		peer_state_release(&r.peer);
	r.peer.replica = peer->replica;
	r.peer.store = peer->store;
	/* Who comes to it does not become a destination of the peer. */
	if (!side || !r.peer.destination) {
		char *own = mb_xstrdup(!side && peer->destination ? peer->destination : "");
		free(r.peer.destination);
		r.peer.destination = own;
	}
	set_positions(s, side, &r.peer);
	err = put_one(s, side, &r);
	peer_state_release(&r.peer);
	return err;
}

int session_confirm(struct session *s)
{
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++) {
		struct record r = {.type = REC_PEER, .peer = {.replica = s->info[1 - i].replica}};
		if (!session_has_log(s, i))
			err = put_one(s, i, &r);
	}
	return err;
}

int session_remember(struct session *s)
{
	int err = session_take_roles(s);

	if (err >= 0)
		err = put_state(s, 1);
	if (err >= 0)
		err = put_state(s, 0);
	return err < 0 ? err : 0;
}

/* ---- what will be asked of one that is far away ----------------------------------------------- */

#define FORESEEN_MAX 20000

struct foreseen {
	struct backend_ask_uid *uids; /* owned */
	size_t n, cap;
};

/* The UIDs that a message has here are looked for there. */
static int add_places(struct session *s, const struct guid *guid, struct foreseen *f)
{
	struct message m = {0};
	int err = s->b[0]->ops->message(s->b[0], guid, &m);

	for (size_t i = 0; err >= 0 && i < m.n; i++) {
		const struct place *p = &m.copies[i].place;
		if (!copy_alive(&m.copies[i]) || !p->uid)
			continue;
		MB_GROW(f->uids, f->cap, f->n + 1);
		f->uids[f->n++] = (struct backend_ask_uid){p->mailbox, p->uid};
	}
	message_release(&m);
	return err == -ENOENT ? 0 : err;
}

/* With what is new here, too. */
static int foresee_news(struct session *s, const struct position *since, struct backend_ask *ask)
{
	struct change_set news = {0};
	struct foreseen f = {0};
	int err = s->b[0]->ops->changes(s->b[0], since, session_news_of(s, 1), &news);
	size_t n = news.n_messages < FORESEEN_MAX ? news.n_messages : FORESEEN_MAX;

	for (size_t i = 0; err >= 0 && i < n; i++)
		err = add_places(s, &news.messages[i], &f);
	if (err >= 0) {
		ask->tree = news.n_messages || news.n_mailboxes || news.n_aliases;
		ask->messages = news.messages;
		ask->n_messages = n;
		ask->uids = f.uids;
		ask->n_uids = f.n;
	} else if (err == MB_E_POSITION) { /* everything is compared */
		ask->since = (struct position){0};
		err = 0;
	}
	if (err >= 0)
		backend_foresee(s->b[1], ask);
	change_set_release(&news);
	free(f.uids);
	return err;
}

#define FRESH_SLACK_NS INT64_C(2000000000) /* clocks of two hosts; and a sync takes its time */

/* As clock time: what arrived over there since then cannot be here. */
static uint64_t fresh_since(int64_t synced_ns)
{
	int64_t ns = synced_ns - FRESH_SLACK_NS;

	return ns > 0 ? (uint64_t)(ns / 1000000) << 16 : 0;
}

int session_foresee(struct session *s)
{
	struct peer_state mine = {0};
	struct agreement a = {0};
	struct backend_ask ask = {
		.begins = true,
		.full = s->opt->full,
		.allow_mass_expunge = s->opt->allow_mass_expunge,
		.peer = s->info[0].replica,
		.except = session_news_of(s, 0),
	};
	int err = s->b[0]->ops->peer(s->b[0], s->info[1].replica, s->info[1].destination, &mine);

	if (err >= 0 && mine.replica == s->info[1].replica) {
		a = later_of(&mine, s->scope[0]);
		ask.seen = mine.remote;
	}
	peer_state_release(&mine);
	if (err < 0 && err != -ENOENT)
		return err;
	if (a.known && !s->full && !s->opt->full && !s->opt->state) {
		ask.since = a.remote;
		ask.fresh = fresh_since(a.synced_ns);
		return foresee_news(s, &a.local, &ask);
	}
	backend_foresee(s->b[1], &ask);
	return 0;
}

void session_tell_state(struct session *s, const struct position at[2], uint64_t selected)
{
	struct sync_state st = {.replica = {s->info[0].replica, s->info[1].replica},
				.position = {at[0], at[1]},
				.scope = s->scope[0],
				.selected = selected};

	free(s->ret->state);
	s->ret->state = s->opt->want_state ? sync_state_text(&st) : NULL;
}
