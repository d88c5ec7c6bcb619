/*
 * session.c - see session.h.
 *
 * Which news is in the sync state: the positions are those up to which changes() was read before
 * anything was put.  After both commits each side is asked once more: when everything since came from
 * this session, the position goes on to the end; else somebody changed something meanwhile and the
 * session says `again`.
 */
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/apply.h"
#include "sync/conflicts.h"
#include "sync/fill.h"
#include "sync/scope-unmatched.h"
#include "sync/session-private.h"

#include <errno.h>
#include <string.h>

#define TRIES_STALE 5
#define TRIES_STABLE 3
/* A position is moved past echoes only when that saves reading this much; a REC_PEER is far shorter,
 * so remembering a position never asks for the next one. */
#define FAR_BYTES (16u << 10)

static void session_release(struct session *s)
{
	for (int i = 0; i < 2; i++)
		change_set_release(&s->news[i]);
	gather_release(&s->gather);
	merge_result_release(&s->merged);
}

uint64_t session_origin(uint64_t replica, uint64_t scope)
{
	return replica == scope ? replica : replica ^ scope;
}

/* ---- news ------------------------------------------------------------------------------------ */

static bool set_empty(const struct change_set *c)
{
	return !c->n_messages && !c->n_mailboxes && !c->n_aliases;
}

static bool has_news(const struct session *s)
{
	return s->full || !set_empty(&s->news[0]) || !set_empty(&s->news[1]);
}

static int read_news(struct session *s)
{
	for (int i = 0; i < 2 && !s->full; i++) {
		change_set_release(&s->news[i]);
		memset(&s->news[i], 0, sizeof(s->news[i]));
		int err = s->b[i]->ops->changes(s->b[i], &s->since[i], session_news_of(s, 1 - i),
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

/* Neither side is told of UIDs that the other gave without the messages that have them: what was given
 * is asked, and then what is new, once more.  A UID that comes after its uid_next could not be used
 * there. */
static int read_given(struct session *s)
{
	bool moved = false;

	for (int i = 0; i < 2; i++) {
		struct tree *given = &s->gather.given[i];
		struct position end;
		if (!(s->info[i].caps & CAP_UIDS))
			continue;
		tree_release(given);
		int err = s->b[i]->ops->tree(s->b[i], given);
		if (err >= 0)
			err = s->b[i]->ops->position(s->b[i], &end);
		if (err < 0)
			return err;
		moved |= !position_equal(&end, &s->end[i]);
	}
	return moved ? read_news(s) : 0;
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
		if (session_has_log(s, i) && far_apart(&s->since[i], &s->end[i]))
			return true;
	}
	return false;
}

/* ---- aliases --------------------------------------------------------------------------------- */

/* Tells side 1 - `side` that each copy of `from` that it has is one of `to`, in one record.  A side that does not know
 * `from` has nothing to do. */
static int put_alias(struct session *s, int side, const struct guid *from, const struct guid *to)
{
	struct backend *b = s->b[1 - side];
	struct message known = {0};
	bool changed = false;

	if (s->opt->dry_run)
		return 0;
	int err = b->ops->message(b, from, &known);
	if (err >= 0 && guid_equal(&known.guid, from) && known.n) {
		uint64_t id = known.copies[0].id;
		struct record alias = {.type = REC_ALIAS,
				       .origin.replica = session_news_of(s, side),
				       .old_guid = *from,
				       .old_id = id,
				       .copy = {.guid = *to, .id = id}};
		for (size_t i = 1; i < known.n; i++)
			record_add_further(&alias, known.copies[i].id, known.copies[i].id);
		err = b->ops->put(b, &alias, -1);
		record_release(&alias);
		if (err == -ENOENT)
			err = 0;
		changed = err > 0;
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
	int roles = (s->news[0].n_aliases || s->news[1].n_aliases) && !s->opt->dry_run
			    ? session_take_roles(s)
			    : 0;

	if (roles < 0)
		return roles;
	for (int i = 0; i < 2; i++) {
		const struct change_set *news = &s->news[i];
		if (!news->n_aliases || s->opt->dry_run || 1 - i == scope_source(s->opt->scope))
			continue;
		struct backend *b = s->b[1 - i];
		int err = session_before_begin(s, 1 - i);
		if (err >= 0)
			err = b->ops->begin(b, session_news_of(s, i), false);
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
	int changed = g->n_aliases && !s->opt->dry_run ? session_take_roles(s) : 0;

	if (changed < 0)
		return changed;
	for (int to = 0; to < 2 && g->n_aliases && !s->opt->dry_run; to++) {
		struct backend *b = s->b[to];
		if (to == scope_source(s->opt->scope))
			continue; /* nothing is written there */
		int err = session_before_begin(s, to);
		if (err >= 0)
			err = b->ops->begin(b, session_news_of(s, 1 - to), false);
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

static bool holds_old(const struct session *s)
{
	return !s->opt->accept_old && !(s->opt->scope && s->opt->scope->mirror);
}

static int before_begin(void *arg, int side)
{
	return session_before_begin(arg, side);
}

static int run_fill(struct session *s, struct fill *f)
{
	int err = session_take_roles(s);

	if (err >= 0)
		err = exchange_clocks(s);
	return err < 0 ? err : fill_run(f);
}

/* Compares everything; what needs no decision is put on the way. */
static int compare_and_fill(struct session *s)
{
	struct gather *g = &s->gather;
	struct fill f = {0};
	int err = fill_open(&f, g, s->opt, s->ret);

	f.hold_old = holds_old(s);
	f.before_begin = before_begin;
	f.before_begin_arg = s;
	for (int i = 0; i < 2; i++)
		f.origin[i] = session_news_of(s, i);
	g->fill = &f;
	if (err >= 0)
		err = gather_add_differences(g);
	g->fill = NULL;
	g->related |= s->acquainted;
	if (err >= 0 && fill_choose(&f))
		err = run_fill(s, &f);
	fill_release(&f);
	return err;
}

static int compare_all(struct session *s)
{
	if (s->opt->scope && s->opt->scope->mirror)
		return gather_add_all(&s->gather); /* its guard counts what is the same, too */
	return fill_may(s->info, s->opt) ? compare_and_fill(s) : gather_add_differences(&s->gather);
}

static int gather(struct session *s)
{
	struct gather *g = &s->gather;
	int err = put_news_aliases(s);

	if (err < 0)
		return err;
	g->progress = &s->opt->progress;
	g->in.agreed = s->known ? s->agreed : 0;
	g->in.scope = s->opt->scope;
	g->in.now_ns = clock_wall_ns();
	g->in.full = s->full;
	g->in.allow_mass_expunge = s->opt->allow_mass_expunge;
	for (int i = 0; i < 2; i++) {
		g->b[i] = s->b[i];
		g->info[i] = s->info[i];
		gather_add_news(g, &s->news[i]);
	}
	if (s->full)
		err = compare_all(s);
	if (err >= 0)
		err = gather_read(g);
	if (err >= 0)
		err = put_found_aliases(s);
	if (err >= 0)
		err = gather_digests(g);
	if (err >= 0)
		err = gather_alike(g);
	g->related |= s->acquainted;
	if (err >= 0)
		s->ret->held_old = holds_old(s) ? gather_hold_old(g) : 0;
	for (int i = 0; i < 2; i++)
		g->in.side[i].replica = session_news_of(s, i);
	return err;
}

static void keep_notices(struct session *s)
{
	for (size_t i = 0; i < s->ret->n_notices; i++)
		free(s->ret->notices[i].text);
	free(s->ret->notices);
	s->ret->notices = MB_TAKE(s->merged.notices);
	s->ret->n_notices = s->merged.n_notices;
	s->merged.n_notices = s->merged.cap_notices = 0;
	/* A second try finds what the first one has put already. */
	uint64_t n = notices_conflicts(s->ret->notices, s->ret->n_notices);
	if (n > s->ret->conflicts)
		s->ret->conflicts = n;
	if (s->opt->decided && !s->opt->dry_run && s->ret->n_notices)
		s->opt->decided(&s->merged.tree, s->ret->notices, s->ret->n_notices,
				s->opt->decided_arg);
}

/* ---- act ------------------------------------------------------------------------------------- */

static int act_on(struct session *s, const struct apply *a, int side, enum apply_part part)
{
	int err = session_before_begin(s, side);

	return err < 0 ? err : apply_and_commit(a, side, part, session_news_of(s, 1 - side));
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
	int roles = s->merged.plan[0].n || s->merged.plan[1].n ? session_take_roles(s) : 0;
	if (roles < 0)
		return roles;
	for (int side = 1; side >= 0 && apply_has_aliases(&a); side--) {
		int err = act_on(s, &a, side, APPLY_ALIASES);
		if (err < 0 && err != MB_E_STALE)
			return err;
	}
	apply_foresee(&a, 0, 0);
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
		if (!session_has_log(s, i))
			continue;
		int err = s->b[i]->ops->changes(s->b[i], &s->end[i], session_news_of(s, 1 - i), &c);
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

/* ---- the whole ------------------------------------------------------------------------------- */

static uint64_t count_paired(const struct merge_result *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n_notices; i++)
		n += r->notices[i].kind == NOTICE_PAIRED;
	return n;
}

static int merge_and_act(struct session *s)
{
	int err = gather(s);

	if (err >= 0 && !s->opt->dry_run)
		err = exchange_clocks(s);
	if (err >= 0)
		err = merge(&s->gather.in, &s->merged);
	if (err < 0)
		return err;
	/* Other mailboxes are selected now: what is in them is no news. */
	bool others = !s->borrowed && s->merged.selected != s->selected;
	if (!s->full && (s->merged.want_full || others)) {
		s->want_full = true;
		return MB_E_STALE;
	}
	s->selected = s->merged.selected;
	s->ret->matched = s->known ? 0 : s->gather.both + count_paired(&s->merged);
	s->ret->held += s->merged.held;
	memcpy(s->ret->left_out, s->merged.left_out, sizeof(s->ret->left_out));
	keep_notices(s);
	return act(s);
}

static int finish(struct session *s, bool changed_before)
{
	bool news = !set_empty(&s->news[0]) || !set_empty(&s->news[1]);

	if (s->opt->dry_run)
		return 0;
	/* What was not put, or is held back, is found again only from where it was found now. */
	if (s->ret->errors || s->merged.held || s->ret->held_old) {
		session_tell_state(s, s->since, s->selected_before);
		return 0;
	}
	bool lost = s->opt->state ? !s->met : !s->known;
	bool moved = lost || news || changed_before || s->ret->changed || worth_moving(s);
	int err = moved || s->full ? session_confirm(s) : 0;
	if (err >= 0 && s->ret->changed)
		err = move_past_echo(s);
	if (err >= 0 && moved)
		err = session_remember(s);
	if (err >= 0)
		session_tell_state(s, moved || s->full ? s->end : s->since,
				   moved || s->full ? s->selected : s->selected_before);
	return err;
}

/* What was asked for by name, and is not there. */
static int look_for_names(struct session *s)
{
	const struct scope *scope = s->opt->scope;
	struct tree trees[2] = {{0}};
	int err = 0;

	if (!scope || (!scope->names.n && !scope->guids.n))
		return 0;
	for (int i = 0; i < 2 && err >= 0; i++)
		err = s->b[i]->ops->tree(s->b[i], &trees[i]);
	if (err >= 0)
		scope_unmatched(scope, trees, &s->ret->unmatched);
	for (int i = 0; i < 2; i++)
		tree_release(&trees[i]);
	return err;
}

static int run_once(struct session *s, bool first)
{
	bool changed_before = s->ret->changed;
	int err = session_look(s);

	if (err >= 0 && first)
		err = look_for_names(s);
	if (err >= 0)
		err = session_agree(s);
	s->selected_before = s->selected;
	if (err >= 0)
		err = read_news(s);
	if (err < 0)
		return err;
	if (has_news(s))
		err = read_given(s);
	if (err >= 0 && has_news(s))
		err = merge_and_act(s);
	if (err >= 0)
		err = finish(s, changed_before);
	return err;
}

/* What one side could not look at is no news, and none of its business is done: an error of its own, after
 * the positions, for it is found again by whoever looks. */
static void count_unread(struct backend *const b[2], struct session_result *ret)
{
	for (int i = 0; i < 2; i++) {
		struct backend_info info = {0};
		if (b[i]->ops->info(b[i], &info) < 0 || !info.unread)
			continue;
		ret->errors++;
		if (!ret->first_error || mb_err_retry(ret->first_error) != MB_RETRY_NEVER)
			ret->first_error = info.unread;
	}
}

static int hold_both(struct backend *const b[2], bool on)
{
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++) {
		if (b[i]->ops->hold)
			err = b[i]->ops->hold(b[i], on);
	}
	return err;
}

int session_run(struct backend *local, struct backend *remote, const struct session_options *opt,
		struct session_result *ret)
{
	int64_t start = clock_mono_ns();
	struct backend *const both[2] = {local, remote};
	int held = hold_both(both, true), err = held < 0 ? held : MB_E_STALE;
	bool full = false;

	memset(ret, 0, sizeof(*ret));
	for (int try = 0; try < TRIES_STALE && err == MB_E_STALE; try++) {
		struct session s = {.b = {local, remote}, .opt = opt, .ret = ret, .full = full};
		for (int i = 0; i < 2; i++)
			s.scope[i] = scope_hash(opt->scope, i);
		ret->errors = 0; /* what was not put is in the next try's plan again */
		ret->first_error = 0;
		err = run_once(&s, try == 0);
		full |= s.want_full;
		session_release(&s);
	}
	if (err >= 0)
		count_unread(both, ret);
	hold_both(both, false);
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
