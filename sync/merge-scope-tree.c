/*
 * merge-scope-tree.c - the mailboxes of a restricted target, made a proper tree.
 *
 * Some nodes are as the side has them, others as they are joined, so a name may be wanted twice, a
 * parent may be missing, and a cycle may be left that the joined tree has not: what is needed is taken
 * along.  When that is not enough, all names are taken from the joined tree; what is kept against
 * that gets a suffix, as rule_name_clash() gives it.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"
#include <string.h>

struct settling {
	struct merging *m;
	int side;
	struct tree *own;
};

static const struct mailbox *joined(const struct settling *s, const struct guid *g)
{
	return tree_find(s->m->tree, g);
}

/* ---- what is needed ---- */

static bool take_along(struct settling *s, const struct guid *g);

static bool take_losers(struct settling *s, const struct guid *winner)
{
	bool changed = false;
	for (size_t i = 0; i < s->own->n; i++) {
		const struct mailbox *box = &s->own->nodes[i];
		if (!mailbox_alive(box) || guid_equal(&box->guid, winner))
			continue;
		struct guid to = tree_resolve(s->m->tree, box->guid);
		const struct mailbox *now = joined(s, &box->guid);
		if (!guid_equal(&to, winner) || !now)
			continue;
		tree_put(s->own, now);
		changed = true;
	}
	return changed;
}

/* The mailbox lives, can hold mail, and so do those above it; true when something changed. */
static bool take_along(struct settling *s, const struct guid *g)
{
	const struct mailbox *now = joined(s, g), *here = tree_find(s->own, g);
	bool changed = false;

	if (!now || !mailbox_alive(now))
		return false;
	if (!here || !mailbox_alive(here) || (!here->selectable && now->selectable)) {
		changed = !here || !mailbox_equal(here, now);
		tree_put(s->own, now);
	}
	return take_losers(s, g) || changed;
}

/* A parent of a living mailbox that is missing or dead. */
static bool take_parents(struct settling *s)
{
	bool changed = false;
	for (size_t i = 0; i < s->own->n; i++) {
		if (!mailbox_alive(&s->own->nodes[i]))
			continue;
		struct guid parent = tree_resolve(s->own, s->own->nodes[i].parent);
		const struct mailbox *box = tree_find(s->own, &parent);
		if (guid_is_zero(&parent) || (box && mailbox_alive(box)))
			continue;
		const struct mailbox *now = joined(s, &parent);
		if (!box && now && mailbox_merged(now)) {
			tree_put(s->own, now); /* it became another: that it did is needed too */
			changed = true;
			continue;
		}
		parent = tree_resolve(s->m->tree, parent);
		changed |= take_along(s, &parent);
	}
	return changed;
}

static void take_needed(struct settling *s)
{
	struct merging *m = s->m;
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *c = target_copy(m, s->side, i);
		const struct seen *was = m->pairs[i].was[s->side];
		if (c && copy_alive(c) &&
		    (!seen_alive(was) || !guid_equal(&was->mailbox, &c->place.mailbox)))
			take_along(s, &c->place.mailbox);
	}
	for (size_t i = 0; i < s->own->n; i++) { /* those made apart that became one */
		const struct mailbox *box = &s->own->nodes[i];
		if (!mailbox_merged(box))
			continue;
		struct guid to = tree_resolve(m->tree, box->guid);
		const struct mailbox *winner = tree_find(s->own, &to);
		if (!winner || mailbox_merged(winner))
			take_along(s, &to);
	}
}

/* ---- names ---- */

/* What the rules of the joined tree do to this one; true when they had something to do. */
static bool apply_rules(struct settling *s, struct tree *t)
{
	struct merge_result scratch = {0};
	struct merging on = {.in = s->m->in, .out = &scratch, .tree = t};

	bool any = rule_cycles(&on);
	any |= tree_settle_names(&on);
	merge_result_release(&scratch);
	return any;
}

static bool is_proper(struct settling *s)
{
	struct tree copy = {0};
	tree_clone(&copy, s->own);
	bool proper = !apply_rules(s, &copy);
	tree_release(&copy);
	return proper;
}

static void take_names(struct settling *s)
{
	for (size_t i = 0; i < s->own->n; i++) {
		struct mailbox *box = &s->own->nodes[i];
		const struct mailbox *now = joined(s, &box->guid);
		if (!now || !mailbox_alive(box) || !mailbox_alive(now))
			continue;
		struct mailbox name = *box; /* borrows its strings */
		name.parent = now->parent;
		name.part = now->part;
		name.named_at = now->named_at;
		name.old_parent = now->old_parent;
		name.old_part = now->old_part;
		struct mailbox whole = {0};
		mailbox_clone(&whole, &name);
		mailbox_release(box);
		*box = whole;
	}
}

static void settle_names(struct settling *s)
{
	if (is_proper(s))
		return;
	take_names(s);
	while (take_parents(s))
		;
	apply_rules(s, s->own);
}

/* ---- deletes ---- */

enum { HAS_MAIL = 1, HAS_CHILD = 2 };

/* By index of the joined tree: what lives there on this side. */
static unsigned char *inhabited(const struct settling *s)
{
	struct merging *m = s->m;
	unsigned char *lives = mb_xcalloc(m->tree->n, sizeof(*lives));
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *c = target_copy(m, s->side, i);
		const struct mailbox *box = c ? joined(s, &c->place.mailbox) : NULL;
		if (box && copy_alive(c))
			lives[box - m->tree->nodes] |= HAS_MAIL;
	}
	for (size_t i = 0; i < s->own->n; i++) {
		if (!mailbox_alive(&s->own->nodes[i]))
			continue;
		struct guid parent = tree_resolve(s->own, s->own->nodes[i].parent);
		const struct mailbox *box = joined(s, &parent);
		if (box)
			lives[box - m->tree->nodes] |= HAS_CHILD;
	}
	return lives;
}

/* Whether a mailbox may go can be told only by who holds every message. */
static bool may_bury(struct settling *s)
{
	s->m->out->want_full |= !s->m->in->full;
	return s->m->in->full;
}

static void bury(struct mailbox *box, const struct mailbox *now)
{
	if (now && !mailbox_alive(now) && !mailbox_merged(now))
		mailbox_join(box, now);
	if (!mailbox_alive(box))
		return;
	box->dead = mailbox_seen(box);
	box->dead_at = stamp_after(box->dead);
}

/* Deepest first: one goes when all below it went. */
static void bury_all(struct settling *s, const bool *dying)
{
	bool changed = true;
	while (changed) {
		MB_AUTO_FREE unsigned char *lives = inhabited(s);
		changed = false;
		for (size_t i = 0; i < s->m->tree->n; i++) {
			const struct mailbox *now = &s->m->tree->nodes[i];
			struct mailbox *box = dying[i] ? tree_find(s->own, &now->guid) : NULL;
			if (!box || lives[i] || !mailbox_alive(box))
				continue;
			if (!may_bury(s))
				return;
			bury(box, now);
			changed = true;
		}
	}
}

/* What had to stay for those below it only is a mere name. */
static void leave_names(struct settling *s, const bool *dying)
{
	MB_AUTO_FREE unsigned char *lives = inhabited(s);

	for (size_t i = 0; i < s->m->tree->n; i++) {
		const struct mailbox *now = &s->m->tree->nodes[i];
		struct mailbox *box = dying[i] ? tree_find(s->own, &now->guid) : NULL;
		if (!box || lives[i] != HAS_CHILD || !mailbox_alive(box) || !box->selectable ||
		    !may_bury(s))
			continue;
		box->selectable = false;
		box->selectable_at = stamp_after(stamp_max(box->selectable_at, now->selectable_at));
	}
}

/* A mailbox becomes a mere name when no mail is in it any more, not before. */
static void keep_selectable(struct settling *s)
{
	const struct tree *was = &s->m->in->side[s->side].tree;
	MB_AUTO_FREE unsigned char *lives = inhabited(s);

	for (size_t i = 0; i < s->own->n; i++) {
		struct mailbox *box = &s->own->nodes[i];
		const struct mailbox *here = tree_find(was, &box->guid);
		const struct mailbox *now = joined(s, &box->guid);
		if (!mailbox_alive(box) || box->selectable || !now || !here || !here->selectable ||
		    !mailbox_alive(here))
			continue;
		if (may_bury(s) && !(lives[now - s->m->tree->nodes] & HAS_MAIL))
			continue;
		box->selectable = true;
		box->selectable_at = here->selectable_at;
	}
}

void target_tree_settle(struct merging *m, int side, const bool *dying)
{
	struct settling s = {.m = m, .side = side, .own = &m->target[side].own};

	take_needed(&s);
	bury_all(&s, dying);
	while (take_parents(&s))
		;
	leave_names(&s, dying);
	keep_selectable(&s);
	settle_names(&s);
}

/* ---- uid_next ---- */

/* What was given here, not what was given elsewhere to messages that did not travel: their UIDs stay
 * free until they do.  In one direction UIDs that clash do so each time, and what the joined tree says
 * grows each time. */
static void settle_uid_next(struct settling *s)
{
	for (size_t i = 0; i < s->own->n; i++) {
		struct mailbox *box = &s->own->nodes[i];
		const struct mailbox *here = tree_find(&s->m->in->side[s->side].tree, &box->guid);
		box->uid_next = here ? here->uid_next : 1;
	}
	for (size_t i = 0; i < s->m->n_pairs; i++) {
		const struct copy *c = target_copy(s->m, s->side, i);
		struct mailbox *box = c ? tree_find(s->own, &c->place.mailbox) : NULL;
		if (box && copy_alive(c) && c->place.uid >= box->uid_next &&
		    c->place.uid != UINT32_MAX)
			box->uid_next = c->place.uid + 1;
	}
}

/* ---- the part that a scope lets through ---- */

/* `now` in place of what the side has, if any; its deletion is left to target_tree_settle(). */
static bool take_folder(struct tree *own, const struct mailbox *now)
{
	const struct mailbox *here = tree_find(own, &now->guid);

	if (here && mailbox_alive(here) && !mailbox_alive(now) && !mailbox_merged(now))
		return true;
	tree_put(own, now);
	return false;
}

void target_tree_part(struct merging *m, int side, const bool *selected)
{
	struct tree *own = &m->target[side].own;
	bool folders = m->in->scope->let[side] & SCOPE_FOLDERS;
	MB_AUTO_FREE bool *dying = mb_xcalloc(m->tree->n, sizeof(*dying));

	for (size_t i = 0; i < m->tree->n; i++) {
		const struct mailbox *now = &m->tree->nodes[i];
		if (!selected[i])
			continue;
		if (folders)
			dying[i] = take_folder(own, now);
		else if (!guid_is_zero(&now->merged_into) && tree_find(own, &now->guid))
			tree_put(own, now); /* two that are one have one identity */
	}
	target_tree_settle(m, side, dying);
	struct settling s = {.m = m, .side = side, .own = own};
	settle_uid_next(&s);
}
