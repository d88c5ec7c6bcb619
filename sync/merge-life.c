/*
 * merge-life.c - deleted mailboxes that something the deleter did not know brings back.
 *
 * The registers alone tell whether a rename beat the delete.  Mail is told by the joined copies: one
 * that lives in a deleted mailbox was not seen by the deleter, or was moved there by somebody who
 * did not know of the delete.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"
#include <string.h>

/* ---- a rename beats a delete ---- */

/* The rename is one that its maker would not have done, had he known of the delete that expunged
 * `c`: it came before that; or it came to a mailbox that nothing else had brought back, and nobody
 * renames what is deleted.  A name that a rule made is no rename. */
static bool rename_did_not_know(const struct mailbox *box, const struct copy *c)
{
	return box->named_at.replica && stamp_compare(&box->named_at, &c->via_seen) > 0 &&
	       (stamp_compare(&box->revived, &c->via_seen) <= 0 ||
		stamp_compare(&box->named_at, &c->dead_at) < 0);
}

static bool expunge_is_void(const struct merging *m, const struct copy *c)
{
	if (copy_alive(c) || guid_is_zero(&c->via))
		return false;
	const struct mailbox *via = tree_find(m->tree, &c->via);
	struct guid now = tree_resolve(m->tree, c->via);
	struct guid place = tree_resolve(m->tree, c->place.mailbox);
	const struct mailbox *box = tree_find(m->tree, &now);
	return via && box && mailbox_alive(box) && guid_equal(&now, &place) &&
	       rename_did_not_know(via, c);
}

/* Row 52.  A mailbox was renamed where its delete was not known, and lives: so does the mail that is
 * still there on the side that did not know.  Each copy gets a new instance, as if it had been
 * restored.  Mail that only the deleter had stays expunged. */
void rule_void_expunge(struct merging *m)
{
	for (size_t i = 0; i < m->n_pairs; i++) {
		struct pair *p = &m->pairs[i];
		if ((seen_alive(p->was[0]) || seen_alive(p->was[1])) && expunge_is_void(m, &p->now))
			p->now.place.at = stamp_after(p->now.dead);
	}
}

/* ---- life ---- */

/* The same way from the top down, whatever is alive on it. */
static bool same_path(const struct tree *t, const struct mailbox *a, const struct mailbox *b)
{
	for (size_t steps = 0; a && b && steps <= t->n; steps++) {
		if (strcmp(a->part, b->part) != 0)
			return false;
		struct guid pa = tree_resolve(t, a->parent), pb = tree_resolve(t, b->parent);
		if (guid_equal(&pa, &pb))
			return true;
		a = tree_find(t, &pa);
		b = tree_find(t, &pb);
	}
	return false;
}

static struct mailbox *live_twin(const struct tree *t, const struct mailbox *box)
{
	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *other = &t->nodes[i];
		if (other != box && mailbox_alive(other) && same_path(t, other, box))
			return other;
	}
	return NULL;
}

static void revive(struct mailbox *box, struct stamp at, bool selectable)
{
	box->revived = stamp_max(at, stamp_after(box->dead));
	mailbox_set_selectable(box, selectable, box->dead);
}

static bool both_know(const struct merging *m, const struct mailbox *box)
{
	return tree_find(&m->in->side[0].tree, &box->guid) &&
	       tree_find(&m->in->side[1].tree, &box->guid);
}

static bool lives_on(const struct merging *m, int side, const struct mailbox *box)
{
	const struct mailbox *there = tree_find(&m->in->side[side].tree, &box->guid);
	return there && mailbox_alive(there);
}

/* Who has both beside each other made neither in place of the other. */
static bool live_apart(const struct merging *m, const struct mailbox *a, const struct mailbox *b)
{
	return (lives_on(m, 0, a) && lives_on(m, 0, b)) || (lives_on(m, 1, a) && lives_on(m, 1, b));
}

/* Row 60.  A deleted mailbox that must live was made again under its name: they become one.  As
 * everywhere the higher GUID becomes the lower, so that merges never form a loop; old mail stays
 * expunged whichever it is. */
static void rule_recreated(const struct merging *m, struct mailbox *box, struct mailbox *twin)
{
	int source = scope_source(m->in->scope);
	bool twin_stays =
		guid_equal(&twin->guid, &GUID_INBOX) || guid_compare(&twin->guid, &box->guid) < 0;
	if (source >= 0 && lives_on(m, source, box) != lives_on(m, source, twin))
		twin_stays = lives_on(m, source, twin); /* that side is told nothing */
	struct mailbox *winner = twin_stays ? twin : box, *loser = twin_stays ? box : twin;
	bool was_dead = !mailbox_alive(winner);
	mailbox_merge_into(loser, winner);
	/* Also when it lives by the other's name: that is not a rename, which brings old mail back.  And
	 * when only the loser was deleted, which is later than the winner's name. */
	if (was_dead || !mailbox_alive(winner))
		winner->revived = stamp_max(winner->revived, stamp_after(winner->dead));
}

/* The latest place of a copy that lives in each mailbox, by index; STAMP_NONE where none does. */
static struct stamp *latest_mail(const struct merging *m)
{
	struct stamp *latest = mb_xcalloc(m->tree->n, sizeof(*latest));
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *c = &m->pairs[i].now;
		if (!copy_alive(c))
			continue;
		struct guid guid = tree_resolve(m->tree, c->place.mailbox);
		struct mailbox *box = tree_find(m->tree, &guid);
		if (!box)
			continue;
		size_t index = (size_t)(box - m->tree->nodes);
		latest[index] = stamp_max(latest[index], c->place.at);
	}
	return latest;
}

/* `latest` is the birth of the mail that lives in the deleted `box`.  A mailbox that has its name by
 * now takes the mail only when one side has never heard of that mailbox: then all of its messages
 * are in this merge, and their UIDs are seen; and when no side has both: it was made in place of the
 * deleted one, or apart.  Else the deleted one gets another name. */
static void keep_for_mail(struct merging *m, struct mailbox *box, struct stamp latest)
{
	struct mailbox *twin = live_twin(m->tree, box);
	if (twin && !both_know(m, twin) && !live_apart(m, box, twin)) {
		rule_recreated(m, box, twin);
		notice_add(m, NOTICE_MAILBOX_KEPT,
			   !mailbox_merged(box) ? &box->guid : &box->merged_into, NULL,
			   mb_xstrdup("deleted and made again on one side; mail that the deleter "
				      "had not seen is in the new one"));
		return;
	}
	revive(box, latest, true);
	if (twin)
		mailbox_give_suffix(m, box);
}

/* Rows 42 and 60.  Mail that the deleter had not seen, or that was moved there meanwhile, keeps its
 * mailbox, with that mail only. */
static bool rule_unseen_mail(struct merging *m)
{
	MB_AUTO_FREE struct stamp *latest = latest_mail(m);
	bool changed = false;

	for (size_t i = 0; i < m->tree->n; i++) {
		struct mailbox *box = &m->tree->nodes[i];
		if (stamp_is_none(&latest[i]) || mailbox_merged(box) ||
		    (mailbox_alive(box) && box->selectable))
			continue;
		changed = true;
		if (mailbox_alive(box))
			mailbox_set_selectable(box, true, latest[i]);
		else
			keep_for_mail(m, box, latest[i]);
	}
	return changed;
}

/* As a mere name it may become one that both sides know.  It held other messages under these UIDs:
 * a new UIDVALIDITY says so. */
static void keep_as_parent(struct merging *m, struct mailbox *box)
{
	struct mailbox *twin = live_twin(m->tree, box);
	if (!twin) {
		revive(box, STAMP_NONE, false);
		return;
	}
	bool known = both_know(m, twin);
	rule_recreated(m, box, twin);
	struct guid now = tree_resolve(m->tree, box->guid);
	struct mailbox *winner = tree_find(m->tree, &now);
	if (known && winner)
		winner->uid_validity++;
}

/* Row 64.  A deleted mailbox lives on as a name above those in it. */
static bool rule_parent_stays(struct merging *m)
{
	bool changed = false;
	for (size_t i = 0; i < m->tree->n; i++) {
		if (!mailbox_alive(&m->tree->nodes[i]))
			continue;
		struct guid guid = tree_resolve(m->tree, m->tree->nodes[i].parent);
		struct mailbox *parent = tree_find(m->tree, &guid);
		if (!parent || mailbox_alive(parent) || mailbox_merged(parent))
			continue;
		changed = true;
		keep_as_parent(m, parent);
	}
	return changed;
}

static bool *live_parents(const struct tree *t)
{
	bool *parents = mb_xcalloc(t->n, sizeof(*parents));
	for (size_t i = 0; i < t->n; i++) {
		if (!mailbox_alive(&t->nodes[i]))
			continue;
		struct guid guid = tree_resolve(t, t->nodes[i].parent);
		struct mailbox *parent = tree_find(t, &guid);
		if (parent)
			parents[parent - t->nodes] = true;
	}
	return parents;
}

/* A name that only rule_parent_stays() kept goes with the last mailbox below it. */
static bool rule_parent_goes(struct merging *m)
{
	MB_AUTO_FREE bool *parents = live_parents(m->tree);
	bool changed = false;
	for (size_t i = 0; i < m->tree->n; i++) {
		struct mailbox *box = &m->tree->nodes[i];
		if (parents[i] || box->selectable || box->selectable_at.replica ||
		    stamp_is_none(&box->selectable_at) || !mailbox_alive(box))
			continue;
		box->dead = mailbox_seen(box);
		box->dead_at = stamp_after(box->dead);
		changed = true;
	}
	return changed;
}

/* The delete of `box` on this side, unknown to the other, is undone by the merge. */
static bool delete_lost(const struct merging *m, int side, const struct mailbox *box)
{
	const struct mailbox *mine = tree_find(&m->in->side[side].tree, &box->guid);
	const struct mailbox *other = tree_find(&m->in->side[!side].tree, &box->guid);
	return mine && other && !mailbox_merged(mine) && !mailbox_alive(mine) &&
	       stamp_compare(&other->dead, &mine->dead) < 0;
}

static void notice_kept(struct merging *m)
{
	for (size_t i = 0; i < m->tree->n; i++) {
		const struct mailbox *box = &m->tree->nodes[i];
		if (!mailbox_alive(box) || !box->selectable ||
		    (!delete_lost(m, 0, box) && !delete_lost(m, 1, box)))
			continue;
		notice_add(
			m, NOTICE_MAILBOX_KEPT, &box->guid, NULL,
			mb_xstrdup("deleted on one side; kept for what the deleter had not seen"));
	}
}

void tree_settle_life(struct merging *m)
{
	bool changed;
	do {
		changed = rule_cycles(m);
		changed |= rule_unseen_mail(m);
		changed |= rule_parent_stays(m);
		changed |= rule_parent_goes(m);
		changed |= rule_made_apart(m);
	} while (changed);
	notice_kept(m);
}
