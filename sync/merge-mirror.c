/*
 * merge-mirror.c - the target of a backup: what its source is.
 *
 * Where the destination differs, the source's value gets a stamp that beats the destination's.  What
 * the source lacks is expunged, so it is in deleted/ for a while; a mailbox that the source lacks is
 * deleted when it is empty by that.  A mailbox is never deleted to be made again.  The guard of rule 9
 * holds expunges of what the source never had, when there are many in a mailbox or in all together, or
 * when the source has nothing at all: then the destination is perhaps not what somebody took it for, or
 * the source's disk is not mounted.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"
#include <string.h>
#include <strings.h>

#define GUARD_COUNT 50
#define GUARD_PERCENT 25
#define GUARD_WHOLE 10

struct mirror {
	struct merging *m;
	int side; /* the destination */
	const bool *selected;
	struct target *t;
	size_t *living,
		*missing; /* owned; by index of the joined tree: copies of the destination */
	size_t all_living, all_missing;
	bool source_empty; /* of all mailboxes, none left out: it has no living message */
	bool *taken;	   /* owned; likewise: a UID there was shown as that of another message */
};

/* The source's stamp, or one that beats the destination's. */
static struct stamp beat(struct stamp source, struct stamp destination)
{
	return stamp_compare(&source, &destination) > 0 ? source : stamp_after(destination);
}

/* ---- flags ---- */

static bool keyword_set(const struct flags *f, const char *name, struct stamp *ret_at)
{
	const struct keyword *k = flags_find_keyword(f, name);
	*ret_at = k ? k->at : STAMP_NONE;
	return k && k->set;
}

static void mirror_keyword(struct flags *t, const struct flags *source, const char *name)
{
	struct stamp here, there;
	bool is = keyword_set(t, name, &here), want = keyword_set(source, name, &there);
	if (is != want)
		flags_put_keyword(t, name, want, beat(there, here));
	else if (stamp_compare(&there, &here) > 0)
		flags_put_keyword(t, name, want, there);
}

static void mirror_flags(struct flags *t, const struct flags *source)
{
	for (unsigned bit = 0; bit < FLAG_COUNT; bit++) {
		bool is = t->set & FLAG_MASK(bit), want = source->set & FLAG_MASK(bit);
		if (is != want)
			flags_put(t, bit, want, beat(source->at[bit], t->at[bit]));
		else
			t->at[bit] = stamp_max(t->at[bit], source->at[bit]);
	}
	/* names of the source may be added while the list is walked, so by a copy */
	struct flags before = {0};
	flags_copy(&before, t);
	for (size_t i = 0; i < before.n_keywords; i++)
		mirror_keyword(t, source, before.keywords[i].name);
	for (size_t i = 0; i < source->n_keywords; i++)
		mirror_keyword(t, source, source->keywords[i].name);
	flags_release(&before);
}

/* ---- copies ---- */

static bool same_base(const char *a, const char *b)
{
	return !a || !b || strcmp(a, b) == 0;
}

static bool same_place(const struct copy *t, const struct copy *source)
{
	return copy_alive(t) && guid_equal(&t->place.mailbox, &source->place.mailbox) &&
	       (!source->place.uid || t->place.uid == source->place.uid) &&
	       same_base(source->place.base, t->place.base);
}

static void set_place(struct copy *t, const struct copy *source, uint32_t uid)
{
	bool stays = guid_equal(&t->place.mailbox, &source->place.mailbox);
	const char *base = source->place.base ? source->place.base : stays ? t->place.base : NULL;
	char *own = base ? mb_xstrdup(base) : NULL;

	free(t->place.base);
	t->place.base = own;
	t->place.uid = uid;
	t->place.at = beat(source->place.at, stamp_max(t->place.at, t->dead));
	t->place.mailbox = source->place.mailbox;
}

/* The source has it. */
static void mirror_living(const struct pair *p, const struct copy *source, struct copy *t)
{
	uint32_t uid = source->place.uid ? source->place.uid : p->now.place.uid;

	if (guid_is_zero(&t->guid)) {
		copy_clone(t, source);
		t->place.uid = uid;
		return;
	}
	bool same = same_place(t, source);
	if (stamp_compare(&source->dead, &t->dead) > 0) {
		t->dead = source->dead;
		t->dead_at = source->dead_at;
		t->via = source->via;
		t->via_seen = source->via_seen;
	}
	if (!same)
		set_place(t, source, uid);
	else if (stamp_compare(&source->place.at, &t->place.at) > 0)
		t->place.at = source->place.at;
	if (!copy_alive(t))
		t->place.at = stamp_after(t->dead);
	mirror_flags(&t->flags, &source->flags);
	t->size = p->now.size;
	t->received_ns = p->now.received_ns;
	t->digest = p->now.digest;
}

static size_t *box_count(const struct mirror *mi, size_t *counts, const struct guid *g)
{
	const struct mailbox *box = tree_find(mi->m->tree, g);
	return box ? &counts[box - mi->m->tree->nodes] : NULL;
}

/* The source lacks it: true when nobody there was seen to expunge it. */
static bool is_missing(const struct pair *p, int side)
{
	return seen_alive(p->was[side]) && !seen_alive(p->was[!side]) && copy_alive(&p->now);
}

static void mirror_missing(const struct pair *p, int side, struct copy *t)
{
	if (!is_missing(p, side)) {
		copy_release(t);
		copy_clone(t, &p->now);
		return;
	}
	t->dead = t->place.at;
	t->dead_at = stamp_after(t->place.at);
	t->via = GUID_ZERO;
	t->via_seen = STAMP_NONE;
}

static void count(struct mirror *mi)
{
	struct merging *m = mi->m;
	mi->source_empty = !scope_selects(m->in->scope);
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct pair *p = &m->pairs[i];
		if (seen_alive(p->was[!mi->side]))
			mi->source_empty = false;
		if (!seen_alive(p->was[mi->side]) || !pair_is_selected(m, mi->selected, p))
			continue;
		size_t *living = box_count(mi, mi->living, &p->was[mi->side]->mailbox);
		size_t *missing = box_count(mi, mi->missing, &p->was[mi->side]->mailbox);
		if (!living)
			continue;
		bool lacks = is_missing(p, mi->side);
		++*living;
		*missing += lacks;
		mi->all_living++;
		mi->all_missing += lacks;
	}
}

/* More than half counts as a whole mailbox: what the source has arrives although the rest is held, and
 * a second run must not take that for a few strays among many. */
static bool most_missing(size_t missing, size_t living)
{
	return missing > GUARD_WHOLE && missing * 2 > living;
}

/* Rule 9. */
static bool is_held(struct mirror *mi, const struct guid *box)
{
	const size_t *living = box_count(mi, mi->living, box);
	const size_t *missing = box_count(mi, mi->missing, box);

	if (!missing || mi->m->in->allow_mass_expunge)
		return false;
	if (mi->all_missing <= GUARD_WHOLE && !mi->source_empty)
		return false;
	if (!mi->m->in->full) { /* the sides do not hold all that lives there */
		mi->m->out->want_full = true;
		return false;
	}
	return mi->source_empty || most_missing(mi->all_missing, mi->all_living) ||
	       most_missing(*missing, *living) ||
	       (*missing > GUARD_COUNT && *missing * 100 > *living * GUARD_PERCENT);
}

static void mirror_copy(struct mirror *mi, const struct pair *p, struct copy *t)
{
	const struct seen *source = p->was[!mi->side], *was = p->was[mi->side];

	if (seen_alive(source)) {
		struct copy s = seen_copy(source);
		if (seen_alive(was) || message_travels(mi->m, &s))
			mirror_living(p, &s, t);
	} else if (seen_alive(was)) {
		if (is_missing(p, mi->side) && is_held(mi, &was->mailbox))
			mi->m->out->held++;
		else
			mirror_missing(p, mi->side, t);
	}
}

/* ---- UIDs ---- */

struct by_uid {
	struct guid mailbox;
	uint32_t uid;
	size_t pair;
	bool kept; /* not of the source */
};

static int compare_by_uid(const void *x, const void *y)
{
	const struct by_uid *a = x, *b = y;
	int order = guid_compare(&a->mailbox, &b->mailbox);
	if (!order)
		order = (a->uid > b->uid) - (a->uid < b->uid);
	return order ? order : a->kept - b->kept;
}

static struct by_uid *living_by_uid(const struct mirror *mi, size_t *ret_n)
{
	struct merging *m = mi->m;
	struct by_uid *list = mb_xcalloc(m->n_pairs, sizeof(*list));
	size_t n = 0;
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *c = target_copy(m, mi->side, i);
		if (c && copy_alive(c))
			list[n++] = (struct by_uid){c->place.mailbox, c->place.uid, i,
						    !seen_alive(m->pairs[i].was[!mi->side])};
	}
	if (n)
		qsort(list, n, sizeof(*list), compare_by_uid);
	*ret_n = n;
	return list;
}

static uint32_t next_uid(const struct mirror *mi, const struct by_uid *list, size_t n,
			 const struct guid *box)
{
	uint64_t next = 1;
	for (int side = 0; side < 2; side++) {
		const struct mailbox *b = tree_find(&mi->m->in->side[side].tree, box);
		if (b && b->uid_next > next)
			next = b->uid_next;
	}
	for (size_t i = 0; i < n; i++)
		if (guid_equal(&list[i].mailbox, box) && list[i].uid >= next)
			next = (uint64_t)list[i].uid + 1;
	return next > UINT32_MAX ? 0 : (uint32_t)next;
}

/* What is kept against the source has the UID of none of its messages: it gets another. */
static void renumber_kept(struct mirror *mi, struct by_uid *list, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct by_uid *b = &list[i];
		if (!b->uid || list[i - 1].uid != b->uid ||
		    !guid_equal(&list[i - 1].mailbox, &b->mailbox))
			continue;
		struct copy *c = &mi->t->copies[b->pair];
		c->place.uid = b->uid = next_uid(mi, list, n, &b->mailbox);
		c->place.at = stamp_after(c->place.at);
	}
}

/* A copy whose UID another one is to have leaves it first. */
static void find_lifts(struct mirror *mi, const struct by_uid *list, size_t n)
{
	struct merging *m = mi->m;
	mi->t->lift = mb_xcalloc(m->n_pairs, sizeof(*mi->t->lift));
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct seen *was = m->pairs[i].was[mi->side];
		struct copy *now = &mi->t->copies[i];
		if (!seen_alive(was) || !copy_alive(now))
			continue;
		struct by_uid key = {was->mailbox, was->copy->place.uid, 0, false}, *holder;
		holder = bsearch(&key, list, n, sizeof(key), compare_by_uid);
		if (!holder || holder->pair == i)
			continue;
		mi->t->lift[i] = true;
		if (stamp_compare(&now->place.at, &was->copy->place.at) <= 0)
			now->place.at = stamp_after(was->copy->place.at);
	}
}

static void settle_uids(struct mirror *mi)
{
	size_t n;
	struct by_uid *list = living_by_uid(mi, &n);

	renumber_kept(mi, list, n);
	if (n)
		qsort(list, n, sizeof(*list), compare_by_uid);
	find_lifts(mi, list, n);
	free(list);
}

/* The mailboxes where a message is to have a UID that mail clients of the destination know as that of
 * another one, or as one that was passed over. */
static void find_taken(struct mirror *mi)
{
	struct merging *m = mi->m;
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *c = target_copy(m, mi->side, i);
		const struct seen *was = m->pairs[i].was[mi->side];
		if (!c || !copy_alive(c))
			continue;
		const struct mailbox *here =
			tree_find(&m->in->side[mi->side].tree, &c->place.mailbox);
		const struct mailbox *box = tree_find(m->tree, &c->place.mailbox);
		bool has_it = seen_alive(was) && was->copy->place.uid == c->place.uid &&
			      guid_equal(&was->mailbox, &c->place.mailbox);
		if (here && box && !has_it && c->place.uid < here->uid_shown)
			mi->taken[box - m->tree->nodes] = true;
	}
}

/* ---- mailboxes ---- */

static bool same_name(const struct mailbox *a, const struct mailbox *b)
{
	return guid_equal(&a->parent, &b->parent) && strcmp(a->part, b->part) == 0;
}

static void mirror_bit(bool *here, struct stamp *at, bool want, struct stamp there)
{
	*at = *here == want ? stamp_max(*at, there) : beat(there, *at);
	*here = want;
}

static void given_anew(struct target *t, const struct mailbox *source)
{
	MB_GROW(t->anew, t->cap_anew, t->n_anew + 1);
	t->anew[t->n_anew++] = (struct given_anew){source->guid, source->uid_next};
}

/* An earlier backup gave it, rule_own_uid_validity(): its stamp has a replica, which one that was taken
 * from the source has only when the source has it as well. */
static bool has_own_uid_validity(const struct mailbox *here, const struct mailbox *source)
{
	return here->uid_validity > source->uid_validity && here->uid_validity_at.replica &&
	       stamp_compare(&here->uid_validity_at, &source->uid_validity_at) > 0;
}

/* One that was not there before: as Dovecot, by the time. */
static uint32_t new_uid_validity(const struct mirror *mi, uint32_t above)
{
	int64_t now = mi->m->in->now_ns / 1000000000;

	return now > above && now < UINT32_MAX ? (uint32_t)now : above + 1;
}

/*
 * The source's UIDs cannot all be given under the UIDVALIDITY of the destination, where Dovecot gave
 * some of them to other messages; nor can the source's be changed.  So the destination gets a
 * UIDVALIDITY of its own, and keeps that as long as it does.  false: there is none above.
 */
static bool rule_own_uid_validity(struct mirror *mi, const struct mailbox *source,
				  struct mailbox *now)
{
	uint32_t above =
		now->uid_validity > source->uid_validity ? now->uid_validity : source->uid_validity;
	struct stamp at = stamp_max(now->uid_validity_at, source->uid_validity_at);

	if (above < now->uid_validity_shown) /* one from before the first backup */
		above = now->uid_validity_shown;
	if (above == UINT32_MAX)
		return false;
	now->uid_validity = new_uid_validity(mi, above);
	now->uid_validity_at = (struct stamp){at.time + 1, mi->m->in->side[mi->side].replica};
	given_anew(mi->t, source);
	notice_add(mi->m, NOTICE_RENUMBERED, &now->guid, NULL,
		   mb_xstrdup("mail clients of the destination knew UIDs of the source as those of "
			      "other messages: its UIDVALIDITY is a new one"));
	return true;
}

static void mirror_uid_validity(struct mirror *mi, const struct mailbox *source,
				struct mailbox *now)
{
	const struct mailbox *joined = tree_find(mi->m->tree, &source->guid);
	bool taken = joined && mi->taken[joined - mi->m->tree->nodes];
	bool own = has_own_uid_validity(now, source);

	if (taken && (own || now->uid_validity == source->uid_validity) &&
	    rule_own_uid_validity(mi, source, now))
		return;
	if (own)
		return;
	if (now->uid_validity != source->uid_validity) {
		now->uid_validity_at = beat(source->uid_validity_at, now->uid_validity_at);
		given_anew(mi->t, source);
	} else {
		now->uid_validity_at = stamp_max(now->uid_validity_at, source->uid_validity_at);
	}
	now->uid_validity = source->uid_validity;
}

/* Everything of `now` is the destination's; strings are borrowed until it is put. */
static void mirror_mailbox(struct mirror *mi, const struct mailbox *source,
			   const struct mailbox *here)
{
	struct mailbox now = *here;

	if (!same_name(here, source)) {
		now.parent = source->parent;
		now.part = source->part;
		now.old_parent = here->parent;
		now.old_part = here->part;
		now.named_at = beat(source->named_at, here->named_at);
	} else if (stamp_compare(&source->named_at, &here->named_at) > 0) {
		now.old_parent = source->old_parent;
		now.old_part = source->old_part;
		now.named_at = source->named_at;
	}
	if (mailbox_merged(&now))
		now.merged_into = now.guid;
	now.revived = stamp_max(here->revived, source->revived);
	if (!mailbox_alive(&now))
		now.revived = stamp_after(now.dead);
	mirror_bit(&now.selectable, &now.selectable_at, source->selectable, source->selectable_at);
	mirror_bit(&now.subscribed, &now.subscribed_at, source->subscribed, source->subscribed_at);
	mirror_uid_validity(mi, source, &now);
	if (source->uid_next > now.uid_next)
		now.uid_next = source->uid_next;
	struct mailbox whole = {0};
	mailbox_clone(&whole, &now);
	tree_put(&mi->t->own, &whole);
	mailbox_release(&whole);
}

/* `part` is one with `all` from now on. */
static void join_part(struct mailbox *all, const struct mailbox *part)
{
	struct mailbox as_all = *part; /* borrows its strings */

	as_all.guid = all->guid;
	as_all.merged_into = GUID_ZERO;
	if (guid_equal(&all->guid, &GUID_INBOX))
		as_all.named_at = as_all.dead = STAMP_NONE;
	mailbox_join(all, &as_all);
}

/* What the destination has of it: its own state, and that of all that became part of it, as it was and as
 * it is told, whose stamps are to be beaten as well.  Owned. */
static struct mailbox all_that_is_there(const struct mirror *mi, const struct mailbox *source)
{
	const struct tree *there = &mi->m->in->side[mi->side].tree;
	const struct mailbox *here = tree_find(there, &source->guid);
	struct mailbox all = {0};

	mailbox_clone(&all, here ? here : source);
	for (size_t i = 0; i < there->n; i++) {
		const struct mailbox *part = &there->nodes[i];
		struct guid to = tree_resolve(mi->m->tree, part->guid);
		if (!guid_equal(&to, &source->guid) || guid_equal(&part->guid, &source->guid))
			continue;
		join_part(&all, part);
		const struct mailbox *told = tree_find(mi->m->tree, &part->guid);
		if (told && mailbox_alive(part)) /* mirror_node() */
			join_part(&all, told);
	}
	return all;
}

/* true when it is to be deleted. */
static bool mirror_node(struct mirror *mi, const struct mailbox *now)
{
	struct tree *own = &mi->t->own;
	const struct mailbox *source = tree_find(&mi->m->in->side[!mi->side].tree, &now->guid);
	const struct mailbox *here = tree_find(own, &now->guid);

	if (mailbox_merged(now)) {
		if (here && mailbox_alive(here))
			tree_put(own, now);
		return false;
	}
	if (source && mailbox_alive(source)) {
		struct mailbox all = all_that_is_there(mi, source);
		mirror_mailbox(mi, source, &all);
		mailbox_release(&all);
		return false;
	}
	if (source && here && !same_name(here, source)) { /* it may stay as a name above others */
		struct mailbox named = *here;
		named.parent = source->parent;
		named.part = source->part;
		named.named_at = beat(source->named_at, here->named_at);
		struct mailbox whole = {0};
		mailbox_clone(&whole, &named);
		here = tree_put(own, &whole);
		mailbox_release(&whole);
	}
	/* Also one that the destination has only since one of its own became it. */
	return !guid_equal(&now->guid, &GUID_INBOX);
}

static void mirror_tree(struct mirror *mi)
{
	const struct tree *t = mi->m->tree;
	MB_AUTO_FREE bool *dying = mb_xcalloc(t->n, sizeof(*dying));

	for (size_t i = 0; i < t->n; i++)
		if (mi->selected[i])
			dying[i] = mirror_node(mi, &t->nodes[i]);
	target_tree_settle(mi->m, mi->side, dying);
}

void target_mirror(struct merging *m, int side, const bool *selected)
{
	struct target *t = &m->target[side];
	struct mirror mi = {.m = m, .side = side, .selected = selected, .t = t};

	t->copies = mb_xcalloc(m->n_pairs, sizeof(*t->copies));
	mi.living = mb_xcalloc(m->tree->n, sizeof(*mi.living));
	mi.missing = mb_xcalloc(m->tree->n, sizeof(*mi.missing));
	count(&mi);
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct pair *p = &m->pairs[i];
		if (p->was[side]) {
			struct copy was = seen_copy(p->was[side]);
			copy_clone(&t->copies[i], &was);
		}
		if (pair_is_selected(m, selected, p))
			mirror_copy(&mi, p, &t->copies[i]);
	}
	mi.taken = mb_xcalloc(m->tree->n, sizeof(*mi.taken));
	settle_uids(&mi);
	find_taken(&mi);
	mirror_tree(&mi);
	free(mi.taken);
	free(mi.living);
	free(mi.missing);
}
