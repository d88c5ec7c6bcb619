/*
 * merge-scope.c - what a restricted scope lets each side have of the joined result.
 *
 * A side's target is what it was, and those groups of registers of the joined state that the scope
 * lets through in that direction, for copies and mailboxes that are selected.  The plans are then made
 * against the targets, so one-way sessions, --pull and --push and selections are one mechanism.  What
 * was left out differs from the joined state still: a later session with a wider scope finds it.
 *
 * A copy is selected when its mailbox is, on either side, before or after: one that is moved out of
 * the selection or into it travels, with the mailbox that it needs.
 */
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"
#include <string.h>

const struct copy *target_copy(const struct merging *m, int side, size_t pair)
{
	const struct target *t = &m->target[side];
	const struct copy *c = t->copies ? &t->copies[pair] : &m->pairs[pair].now;
	return guid_is_zero(&c->guid) ? NULL : c;
}

void targets_release(struct merging *m)
{
	for (int side = 0; side < 2; side++) {
		struct target *t = &m->target[side];
		for (size_t i = 0; t->copies && i < m->n_pairs; i++)
			copy_release(&t->copies[i]);
		free(t->copies);
		free(t->lift);
		free(t->anew);
		tree_release(&t->own);
	}
}

/* ---- selection ---- */

static bool name_selected(const struct merging *m, const struct tree *t, const struct guid *g)
{
	if (!tree_find(t, g))
		return false;
	MB_AUTO_FREE char *name = tree_name(t, g);
	return scope_has_mailbox(m->in->scope, name, g);
}

/* Mailboxes that became one are selected together. */
static void select_merged(const struct merging *m, bool *selected)
{
	const struct tree *t = m->tree;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < t->n; i++) {
			struct guid to = tree_resolve(t, t->nodes[i].guid);
			const struct mailbox *winner = tree_find(t, &to);
			if (!winner)
				continue;
			bool *other = &selected[winner - t->nodes];
			if (pass == 0)
				*other |= selected[i];
			else
				selected[i] = *other;
		}
}

bool *mailboxes_selected(const struct merging *m)
{
	const struct tree *t = m->tree;
	bool *selected = mb_xcalloc(t->n, sizeof(*selected));
	for (size_t i = 0; i < t->n; i++) {
		const struct guid *g = &t->nodes[i].guid;
		selected[i] = name_selected(m, t, g) || name_selected(m, &m->in->side[0].tree, g) ||
			      name_selected(m, &m->in->side[1].tree, g);
	}
	select_merged(m, selected);
	return selected;
}

static uint64_t hash_selected(const struct merging *m, const bool *selected)
{
	uint64_t hash = 0;
	if (!scope_selects(m->in->scope))
		return 0;
	for (size_t i = 0; i < m->tree->n; i++)
		if (selected[i] && mailbox_alive(&m->tree->nodes[i]))
			hash = checksum64(&m->tree->nodes[i].guid, sizeof(struct guid), hash);
	return hash ? hash : 1;
}

static bool guid_selected(const struct merging *m, const bool *selected, const struct guid *g)
{
	const struct mailbox *box = tree_find(m->tree, g);
	return box && selected[box - m->tree->nodes];
}

bool pair_is_selected(const struct merging *m, const bool *selected, const struct pair *p)
{
	if (guid_selected(m, selected, &p->now.place.mailbox))
		return true;
	for (int side = 0; side < 2; side++)
		if (p->was[side] && guid_selected(m, selected, &p->was[side]->mailbox))
			return true;
	return false;
}

bool message_travels(struct merging *m, const struct copy *c)
{
	switch (scope_message(m->in->scope, c, m->in->now_ns)) {
	case SCOPE_TRAVELS:
		return true;
	case SCOPE_TOO_LARGE:
		m->out->left_out[0]++;
		return false;
	default:
		m->out->left_out[1]++;
		return false;
	}
}

/* ---- a copy ---- */

static void set_text(char **dst, const char *src)
{
	char *copy = src ? mb_xstrdup(src) : NULL;
	free(*dst);
	*dst = copy;
}

static void take_place(struct copy *t, const struct copy *now)
{
	t->place.mailbox = now->place.mailbox;
	t->place.uid = now->place.uid;
	t->place.at = now->place.at;
	set_text(&t->place.base, now->place.base);
}

static void take_dead(struct copy *t, const struct copy *now)
{
	t->dead = now->dead;
	t->dead_at = now->dead_at;
	t->via = now->via;
	t->via_seen = now->via_seen;
}

static void take_content(struct copy *t, const struct copy *now)
{
	t->size = now->size;
	t->received_ns = now->received_ns;
	t->digest = now->digest;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* It arrives at that side by this same session. */
static bool arrives(const struct merging *m, const struct pair *p, int side)
{
	const struct scope *scope = m->in->scope;
	return copy_alive(&p->now) && !seen_alive(p->was[side]) && (scope->let[side] & SCOPE_NEW) &&
	       scope_message(scope, &p->now, m->in->now_ns) == SCOPE_TRAVELS;
}

/* In its mailbox another UID or file name travels when the other side has it there, or gets it as well. */
static bool place_travels(const struct merging *m, const struct pair *p, int side)
{
	const struct seen *was = p->was[side], *other = p->was[!side];
	const struct place *now = &p->now.place;

	if (!guid_equal(&was->mailbox, &now->mailbox) ||
	    stamp_compare(&was->copy->place.at, &now->at) != 0)
		return true;
	if (!seen_alive(other))
		return arrives(m, p, !side);
	return (m->in->scope->let[!side] & SCOPE_MOVES) ||
	       (guid_equal(&other->mailbox, &now->mailbox) && other->copy->place.uid == now->uid &&
		same_text(other->copy->place.base, now->base));
}

/* Both sides know it, and it lives on. */
static void part_of_living(const struct merging *m, const struct pair *p, int side, unsigned let,
			   struct copy *t)
{
	if ((let & SCOPE_MOVES) && place_travels(m, p, side)) {
		take_place(t, &p->now);
		take_dead(t, &p->now);
	}
	if (let & SCOPE_FLAGS)
		flags_copy(&t->flags, &p->now.flags);
	take_content(t, &p->now);
}

static void part_of_copy(struct merging *m, const struct pair *p, int side, struct copy *t)
{
	unsigned let = m->in->scope->let[side];
	bool lives = copy_alive(&p->now), lived = seen_alive(p->was[side]);

	if (lives && !lived) {
		if ((let & SCOPE_NEW) && message_travels(m, &p->now))
			copy_clone(t, &p->now);
	} else if (lives) {
		part_of_living(m, p, side, let, t);
	} else if (let & SCOPE_EXPUNGES) {
		copy_clone(t, &p->now); /* a tombstone, too: it says so to replicas further away */
	} else if (lived && (let & SCOPE_FLAGS)) {
		flags_copy(&t->flags, &p->now.flags);
	}
}

static void copy_as_it_was(const struct pair *p, int side, struct copy *t)
{
	if (!p->was[side])
		return;
	struct copy was = seen_copy(p->was[side]);
	copy_clone(t, &was);
}

static void target_part(struct merging *m, int side, const bool *selected)
{
	struct target *target = &m->target[side];

	target->copies = mb_xcalloc(m->n_pairs, sizeof(*target->copies));
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct pair *p = &m->pairs[i];
		copy_as_it_was(p, side, &target->copies[i]);
		if (pair_is_selected(m, selected, p))
			part_of_copy(m, p, side, &target->copies[i]);
	}
	target_tree_part(m, side, selected);
}

/* ---- both targets ---- */

void targets_make(struct merging *m)
{
	const struct scope *scope = m->in->scope;

	m->target[0].tree = m->target[1].tree = m->tree;
	if (scope_is_default(scope))
		return;
	MB_AUTO_FREE bool *selected = mailboxes_selected(m);
	m->out->selected = hash_selected(m, selected);
	for (int side = 0; side < 2; side++) {
		struct target *t = &m->target[side];
		t->nothing = !scope->let[side];
		if (t->nothing)
			continue;
		t->tree = &t->own;
		tree_clone(&t->own, &m->in->side[side].tree);
		if (scope->mirror)
			target_mirror(m, side, selected);
		else
			target_part(m, side, selected);
	}
}

/* ---- notices ---- */

static bool in_plans(const struct merge_result *r, const struct notice *n)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < r->plan[side].n; i++) {
			const struct record *item = &r->plan[side].items[i];
			if (!guid_is_zero(&n->message)
				    ? guid_equal(&n->message, &item->copy.guid)
				    : guid_equal(&n->mailbox, &item->mailbox.guid) ||
					      guid_equal(&n->mailbox, &item->copy.place.mailbox))
				return true;
		}
	return false;
}

/* What was decided and did not travel is decided, and told, in each session again. */
void notices_of_plans(struct merging *m)
{
	struct merge_result *r = m->out;
	size_t kept = 0;

	if (scope_is_default(m->in->scope))
		return;
	for (size_t i = 0; i < r->n_notices; i++) {
		if (in_plans(r, &r->notices[i]))
			r->notices[kept++] = r->notices[i];
		else
			free(r->notices[i].text);
	}
	r->n_notices = kept;
}
