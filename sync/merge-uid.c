/*
 * merge-uid.c - UIDs: what a client saw under a UID stays under it, or the UID is not used again.
 *
 * A UID is good for a side when the side has that very copy under it, or when it never gave it.  A
 * copy that is not good for both sides, and both of two copies with one UID, get UIDs above all
 * (dsync's rule).  The stamp of the place stays: of equal stamps the greater UID wins a join.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"

/* Raises those in `next`, by index of `t`, to what that side has, or has heard messages of. */
static void raise_to(const struct tree *mine, bool heard, const struct tree *t, uint32_t *next)
{
	for (size_t i = 0; i < mine->n; i++) {
		const struct mailbox *own = &mine->nodes[i];
		struct guid to = tree_resolve(t, own->guid);
		const struct mailbox *box = tree_find(t, &to);
		uint32_t n = heard && own->uid_unheard ? own->uid_unheard : own->uid_next;
		if (box && n > next[box - t->nodes])
			next[box - t->nodes] = n;
	}
}

uint32_t *side_uid_next(const struct merging *m, int side, const struct tree *t)
{
	uint32_t *next = mb_xcalloc(t->n, sizeof(*next));

	for (size_t i = 0; i < t->n; i++)
		next[i] = 1;
	raise_to(&m->in->side[side].tree, false, t, next);
	return next;
}

uint32_t *side_uid_most(const struct merging *m, int side, const struct tree *t)
{
	uint32_t *most = side_uid_next(m, side, t);

	raise_to(&m->in->side[!side].tree, true, t, most);
	return most;
}

static int compare_uids(const void *x, const void *y)
{
	const struct copy *a = &(*(struct pair *const *)x)->now;
	const struct copy *b = &(*(struct pair *const *)y)->now;
	int order = guid_compare(&a->place.mailbox, &b->place.mailbox);
	if (!order)
		order = (a->place.uid > b->place.uid) - (a->place.uid < b->place.uid);
	if (!order)
		order = guid_compare(&a->guid, &b->guid);
	return order ? order : (a->id > b->id) - (a->id < b->id);
}

static int compare_births(const void *x, const void *y)
{
	const struct copy *a = &(*(struct pair *const *)x)->now;
	const struct copy *b = &(*(struct pair *const *)y)->now;
	int order = stamp_compare(&a->place.at, &b->place.at);
	if (!order)
		order = guid_compare(&a->guid, &b->guid);
	return order ? order : (a->id > b->id) - (a->id < b->id);
}

static struct pair **live_pairs(struct merging *m, size_t *ret_n)
{
	struct pair **live = mb_xcalloc(m->n_pairs, sizeof(struct pair *));
	size_t n = 0;
	for (size_t i = 0; i < m->n_pairs; i++)
		if (copy_alive(&m->pairs[i].now))
			live[n++] = &m->pairs[i];
	if (n)
		qsort(live, n, sizeof(struct pair *), compare_uids);
	*ret_n = n;
	return live;
}

/* The side has this very copy under this UID in what is that mailbox now.  One that comes from a
 * mailbox which becomes this one now must not meet a UID that this one gave, long expunged perhaps,
 * under the same UIDVALIDITY. */
static bool has_there(const struct merge_side *side, const struct seen *was,
		      const struct place *now, uint32_t uid_validity)
{
	if (!seen_alive(was) || !guid_equal(&was->mailbox, &now->mailbox) ||
	    was->copy->place.uid != now->uid)
		return false;
	struct guid own = tree_resolve(&side->tree, was->copy->place.mailbox);
	const struct mailbox *box = tree_find(&side->tree, &now->mailbox);
	return guid_equal(&own, &now->mailbox) || !box || box->uid_validity != uid_validity ||
	       now->uid >= box->uid_next;
}

/* The copy's UID means nothing else to that side. */
static bool good_for(const struct merging *m, const struct pair *p, int side, uint32_t uid_next,
		     uint32_t uid_validity)
{
	return p->now.place.uid >= uid_next ||
	       has_there(&m->in->side[side], p->was[side], &p->now.place, uid_validity);
}

/* The live copies of one mailbox, by UID. */
struct box_run {
	struct pair **pairs;
	size_t n;
	const uint32_t *next[2]; /* NULL: the side keeps no UIDs */
	struct mailbox *box;
};

static bool is_clash(const struct merging *m, const struct box_run *r, size_t i)
{
	uint32_t uid = r->pairs[i]->now.place.uid;
	if ((i > 0 && r->pairs[i - 1]->now.place.uid == uid) ||
	    (i + 1 < r->n && r->pairs[i + 1]->now.place.uid == uid))
		return true;
	for (int side = 0; side < 2; side++)
		if (r->next[side] &&
		    !good_for(m, r->pairs[i], side, *r->next[side], r->box->uid_validity))
			return true;
	return false;
}

/* Above every UID that either side gave or has. */
static uint64_t first_free(const struct box_run *r)
{
	uint64_t next = (uint64_t)r->pairs[r->n - 1]->now.place.uid + 1;
	for (int side = 0; side < 2; side++)
		if (r->next[side] && *r->next[side] > next)
			next = *r->next[side];
	return next > r->box->uid_next ? next : r->box->uid_next;
}

static void give_uids(struct merging *m, struct pair **new, size_t n, struct box_run *r)
{
	uint64_t next = first_free(r);
	if (next + n > UINT32_MAX) {
		notice_add(m, NOTICE_RENUMBERED, &r->box->guid, NULL,
			   mb_xstrdup("no UIDs are left above those in use; it needs a new "
				      "UIDVALIDITY"));
		return;
	}
	if (n)
		qsort(new, n, sizeof(struct pair *), compare_births);
	for (size_t i = 0; i < n; i++)
		new[i]->now.place.uid = (uint32_t)next++;
	r->box->uid_next = (uint32_t)next;
}

static void settle_box(struct merging *m, struct box_run *r)
{
	struct pair **new = mb_xcalloc(r->n, sizeof(struct pair *));
	size_t n = 0, clashes = 0;
	for (size_t i = 0; i < r->n; i++) {
		if (!r->pairs[i]->now.place.uid) {
			new[n++] = r->pairs[i];
		} else if (is_clash(m, r, i)) {
			new[n++] = r->pairs[i];
			clashes++;
		}
	}
	give_uids(m, new, n, r);
	/* a backup gives the source's UIDs */
	if (clashes && !(m->in->scope && m->in->scope->mirror))
		notice_add(m, NOTICE_RENUMBERED, &r->box->guid, NULL,
			   mb_xasprintf("%zu messages got new UIDs: both sides had given theirs",
					clashes));
	free(new);
}

static void settle_uids(struct merging *m, const uint32_t *const next[2])
{
	size_t n, run;
	struct pair **live = live_pairs(m, &n);
	for (size_t i = 0; i < n; i += run) {
		const struct guid *box = &live[i]->now.place.mailbox;
		run = 1;
		while (i + run < n && guid_equal(box, &live[i + run]->now.place.mailbox))
			run++;
		struct box_run r = {.pairs = live + i, .n = run, .box = tree_find(m->tree, box)};
		if (!r.box)
			continue;
		size_t index = (size_t)(r.box - m->tree->nodes);
		for (int side = 0; side < 2; side++)
			r.next[side] = next[side] ? &next[side][index] : NULL;
		settle_box(m, &r);
	}
	free(live);
}

/* Rows 84 and 87, rule 5. */
void rule_renumber(struct merging *m)
{
	uint32_t *next[2];
	bool any = false;
	for (int side = 0; side < 2; side++) {
		bool keeps = m->in->side[side].caps & CAP_UIDS;
		next[side] = keeps ? side_uid_next(m, side, m->tree) : NULL;
		any |= keeps;
	}
	if (any)
		settle_uids(m, (const uint32_t *const *)next);
	free(next[0]);
	free(next[1]);
}
