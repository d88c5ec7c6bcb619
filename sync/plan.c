/*
 * plan.c - each side's difference from the result, as what it has to put.
 *
 * Wanted states are whole: all registers of the object, whatever differs, so that a put is a join
 * and may be done twice.  What people will see of an item is told beside it.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include <string.h>

struct planner {
	struct merging *m;
	int side;
	const struct merge_side *have;
	const struct tree *tree; /* of the side's target */
	struct plan *plan;
	uint32_t *
		uid_next; /* owned; by index of `tree`: what the side has, then what its puts will make */
	uint32_t *uid_most; /* owned, likewise: see side_uid_most() */
};

/* A copy that differs from the target. */
struct work {
	const struct pair *pair;
	const struct copy *now; /* as the side is to have it */
	bool lift;
};

/* ---- what people see ---- */

static bool is_shown(const struct mailbox *box)
{
	return box && mailbox_alive(box) && box->selectable;
}

/* Another parent, and not what its parent became. */
static bool is_renamed(const struct tree *joined, const struct mailbox *was,
		       const struct mailbox *now)
{
	struct guid from = joined ? tree_resolve(joined, was->parent) : was->parent;
	struct guid to = joined ? tree_resolve(joined, now->parent) : now->parent;

	return !guid_equal(&from, &to) || strcmp(was->part, now->part) != 0;
}

static enum record_type what_register(const struct merge_side *side, const struct tree *joined,
				      const struct mailbox *was, const struct mailbox *now)
{
	if (is_renamed(joined, was, now))
		return REC_MAILBOX_RENAME;
	if (!is_shown(now))
		return REC_NONE;
	if (was->subscribed != now->subscribed && (side->caps & CAP_SUBSCRIBE))
		return REC_MAILBOX_SUBSCRIBE;
	if (was->uid_validity != now->uid_validity && (side->caps & CAP_UIDS))
		return REC_MAILBOX_STATE;
	return REC_NONE;
}

static enum record_type what_mailbox(const struct merge_side *side, const struct tree *joined,
				     const struct mailbox *now)
{
	const struct mailbox *was = tree_find(&side->tree, &now->guid);
	if (mailbox_merged(now))
		return was && mailbox_alive(was) ? REC_MAILBOX_MERGE : REC_NONE;
	if (!is_shown(was) && is_shown(now))
		return was ? REC_MAILBOX_REVIVE : REC_MAILBOX_CREATE;
	if (is_shown(was) && !is_shown(now))
		return REC_MAILBOX_DELETE;
	if (!was || !mailbox_alive(was) || !mailbox_alive(now))
		return REC_NONE;
	return what_register(side, joined, was, now);
}

static bool base_differs(const struct copy *was, const struct copy *now)
{
	return now->place.base && was->place.base && strcmp(was->place.base, now->place.base) != 0;
}

const struct copy *plan_side_copy(const struct merge_side *side, const struct record *item)
{
	bool renamed = !guid_is_zero(&item->old_guid);
	const struct message *m =
		merge_side_find(side, renamed ? &item->old_guid : &item->copy.guid);
	return m ? message_find(m, renamed ? item->old_id : item->copy.id) : NULL;
}

/* Another mailbox, by a move: when a mailbox becomes another, the stamp of the place stays. */
static bool is_moved(const struct place *was, const struct place *now)
{
	return !guid_equal(&was->mailbox, &now->mailbox) && stamp_compare(&was->at, &now->at) != 0;
}

static bool became(const struct tree *joined, const struct guid *was, const struct guid *now)
{
	struct guid there = joined ? tree_resolve(joined, *was) : *was;

	return !guid_equal(was, now) && guid_equal(&there, now);
}

static enum record_type what_copy(const struct merge_side *side, const struct tree *joined,
				  const struct record *item)
{
	const struct copy *was = plan_side_copy(side, item), *now = &item->copy;
	bool lived = was && copy_alive(was);

	if (!copy_alive(now))
		return lived ? REC_EXPUNGE : REC_NONE;
	if (!lived)
		return REC_ARRIVE;
	if (is_moved(&was->place, &now->place) &&
	    !became(joined, &was->place.mailbox, &now->place.mailbox))
		return REC_MOVE;
	if (!flags_same_set(&was->flags, &now->flags))
		return REC_FLAGS;
	if (was->place.uid != now->place.uid && (side->caps & CAP_UIDS))
		return REC_RENUMBER;
	if (base_differs(was, now) && (side->caps & CAP_STAMPS))
		return REC_RENAME;
	return REC_NONE;
}

enum record_type plan_what(const struct merge_side *side, const struct record *item)
{
	return plan_what_joined(side, NULL, item);
}

enum record_type plan_what_joined(const struct merge_side *side, const struct tree *joined,
				  const struct record *item)
{
	switch (item->type) {
	case REC_MAILBOX_STATE:
		return what_mailbox(side, joined, &item->mailbox);
	case REC_COPY_STATE:
		return what_copy(side, joined, item);
	default:
		return REC_NONE;
	}
}

/* ---- items ---- */

/* An item that borrows what it holds is put on the list as a clone. */
static void add_item(struct planner *p, struct record *item)
{
	struct plan *plan = p->plan;
	item->origin.replica = p->m->in->side[!p->side].replica;
	MB_GROW(plan->items, plan->cap, plan->n + 1);
	plan->items[plan->n] = (struct record){0};
	record_clone(&plan->items[plan->n++], item);
}

static void add_visible(struct planner *p, struct record *item)
{
	enum record_type what = item->type == REC_MAILBOX_STATE
					? plan_what_joined(p->have, p->m->tree, item)
					: plan_what(p->have, item);
	if ((p->have->caps & CAP_STAMPS) || what != REC_NONE)
		add_item(p, item);
}

/* `uid_next`: what the item says of it, which is less than the result while arrivals will raise it. */
static void plan_mailbox(struct planner *p, const struct mailbox *now, uint32_t uid_next)
{
	const struct mailbox *was = tree_find(&p->have->tree, &now->guid);
	struct record item = {.type = REC_MAILBOX_STATE, .mailbox = *now};
	item.mailbox.uid_next = uid_next;
	if (!was || !mailbox_equal(was, &item.mailbox))
		add_visible(p, &item);
}

/*
 * `now` as it is told to `side`: borrows everything.  Two mails may be one message by their likeness;
 * so a side that has the message keeps its own size and digest, also a digest that it has not made
 * yet, and one that gets it gets those of the body that comes.
 */
static struct copy with_content(const struct pair *pair, int side, const struct copy *now)
{
	const struct seen *mine = pair->was[side], *theirs = pair->was[!side];
	const struct seen *of = seen_alive(mine) || !seen_alive(theirs) ? mine : theirs;
	struct copy c = *now;
	if (of) {
		c.size = of->copy->size;
		c.digest = of->copy->digest;
	}
	return c;
}

/* One by their likeness, in this merge: each side is told its own digest, to keep it. */
static bool just_alike(const struct pair *pair)
{
	const struct seen *const *was = pair->was;
	return was[0] && was[1] && digest_known(&was[0]->copy->alike) &&
	       digest_equal(&was[0]->copy->alike, &was[1]->copy->alike);
}

static bool copy_differs(const struct pair *pair, int side, const struct copy *want)
{
	if (!want || !pair->was[side])
		return want;
	if (just_alike(pair))
		return true;
	struct copy was = seen_copy(pair->was[side]), now = *want;
	now.size = was.size;
	now.digest = was.digest;
	return !copy_equal(&was, &now);
}

static void plan_copy(struct planner *p, const struct pair *pair, const struct copy *now)
{
	struct record item = {.type = REC_COPY_STATE, .copy = with_content(pair, p->side, now)};
	const struct seen *was = pair->was[p->side];
	if (was && !copy_same_key(was->copy, now)) {
		item.old_guid = was->copy->guid;
		item.old_id = was->copy->id;
	}
	add_visible(p, &item);
}

/* A message and all its copies: an item. */
static void plan_aliases(struct planner *p)
{
	const struct merging *m = p->m;
	size_t next;
	for (size_t i = 0; i < m->n_aliases; i = next) {
		const struct alias *a = &m->aliases[i];
		struct record item = {
			.type = REC_ALIAS,
			.copy = {.guid = a->to, .id = a->to_id},
			.old_guid = a->from,
			.old_id = a->from_id,
		};
		for (next = i + 1; next < m->n_aliases && m->aliases[next].side == a->side &&
				   guid_equal(&m->aliases[next].from, &a->from);
		     next++)
			if (!record_add_further(&item, m->aliases[next].from_id,
						m->aliases[next].to_id))
				break;
		if (a->side == p->side)
			add_item(p, &item);
		record_release(&item);
	}
}

/* ---- order ---- */

static int compare_u(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* The dead first; the living by mailbox and UID. */
static int compare_work(const void *x, const void *y)
{
	const struct copy *a = ((const struct work *)x)->now;
	const struct copy *b = ((const struct work *)y)->now;
	int order = copy_alive(a) - copy_alive(b);
	if (!order)
		order = guid_compare(&a->place.mailbox, &b->place.mailbox);
	if (!order)
		order = compare_u(a->place.uid, b->place.uid);
	if (!order)
		order = guid_compare(&a->guid, &b->guid);
	return order ? order : compare_u(a->id, b->id);
}

/* When it goes: first the dead, then who takes another file name where it is, then who leaves a
 * mailbox, then the others: the later ones may be given names that the earlier ones gave up. */
static int turn(const struct planner *p, const struct work *w)
{
	const struct seen *was = w->pair->was[p->side];

	if (!copy_alive(w->now))
		return 0;
	if (!seen_alive(was))
		return 3;
	if (!guid_equal(&was->mailbox, &w->now->place.mailbox))
		return 2;
	return base_differs(was->copy, w->now) ? 1 : 3;
}

static void room_first(const struct planner *p, struct work *work, size_t n)
{
	struct work *sorted = mb_xcalloc(n, sizeof(*sorted));
	size_t k = 0;
	for (int pass = 0; pass < 4; pass++)
		for (size_t i = 0; i < n; i++)
			if (turn(p, &work[i]) == pass)
				sorted[k++] = work[i];
	memcpy(work, sorted, n * sizeof(*sorted));
	free(sorted);
}

static struct work *copies_to_do(const struct planner *p, size_t *ret_n)
{
	struct merging *m = p->m;
	const bool *lift = m->target[p->side].lift;
	struct work *work = mb_xcalloc(m->n_pairs, sizeof(*work));
	size_t n = 0;
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct copy *now = target_copy(m, p->side, i);
		if (copy_differs(&m->pairs[i], p->side, now))
			work[n++] = (struct work){&m->pairs[i], now, lift && lift[i]};
	}
	if (n) {
		qsort(work, n, sizeof(*work), compare_work);
		room_first(p, work, n);
	}
	*ret_n = n;
	return work;
}

struct node_order {
	const struct mailbox *box;
	size_t depth;
	/* New on a side that folds case: after those that may have to give up a name that is another
	 * in the tree and the same there. */
	bool late;
};

static int compare_depth(const void *x, const void *y)
{
	const struct node_order *a = x, *b = y;
	int order = compare_u(a->depth, b->depth);
	if (!order)
		order = a->late - b->late;
	return order ? order : guid_compare(&a->box->guid, &b->box->guid);
}

static size_t depth_of(const struct tree *t, const struct mailbox *box)
{
	size_t depth = 0;
	while (box && depth <= t->n) {
		struct guid parent = tree_resolve(t, box->parent);
		box = guid_is_zero(&parent) ? NULL : tree_find(t, &parent);
		depth++;
	}
	return depth;
}

/* All mailboxes of the result, parents first. */
static struct node_order *nodes_in_order(const struct tree *t, const struct merge_side *have)
{
	struct node_order *order = mb_xcalloc(t->n, sizeof(*order));
	for (size_t i = 0; i < t->n; i++)
		order[i] = (struct node_order){
			.box = &t->nodes[i],
			.depth = depth_of(t, &t->nodes[i]),
			.late = have->case_insensitive &&
				!tree_find(&have->tree, &t->nodes[i].guid),
		};
	if (t->n)
		qsort(order, t->n, sizeof(*order), compare_depth);
	return order;
}

/* ---- one side ---- */

static size_t index_of(const struct planner *p, const struct mailbox *box)
{
	return (size_t)(box - p->tree->nodes);
}

/* Lets uid_next grow by what will be put; marks the mailboxes where it does. */
static bool *raise_uid_next(struct planner *p, const struct work *work, size_t n,
			    uint32_t *ret_before)
{
	size_t nodes = p->tree->n;
	bool *grows = mb_xcalloc(nodes, sizeof(*grows));
	memcpy(ret_before, p->uid_next, nodes * sizeof(*ret_before));
	for (size_t i = 0; i < n; i++) {
		const struct place *place = &work[i].now->place;
		const struct mailbox *box = tree_find(p->tree, &place->mailbox);
		if (!box || !copy_alive(work[i].now) || place->uid == UINT32_MAX)
			continue;
		size_t index = index_of(p, box);
		if (place->uid < p->uid_next[index])
			continue;
		p->uid_next[index] = place->uid + 1;
		grows[index] = true;
	}
	return grows;
}

enum merged_when {
	/* It becomes one which this side never heard of, or that had become it: the other begins in its
	 * place, directory and all, and no file has to move.  Or this side never heard of it: mailboxes beneath may
	 * name it as their parent. */
	MERGED_FIRST,
	MERGED_AFTER_LIVE,
	MERGED_LAST, /* it becomes a deleted one */
};

static enum merged_when merged_when(const struct planner *p, const struct mailbox *box)
{
	struct guid now = tree_resolve(p->tree, box->guid);
	const struct mailbox *into = tree_find(p->tree, &now);
	if (!into || !mailbox_alive(into))
		return MERGED_LAST;
	const struct tree *have = &p->have->tree;
	struct guid there = tree_resolve(have, box->merged_into);
	if (!tree_find(have, &box->merged_into) || !tree_find(have, &box->guid) ||
	    guid_equal(&there, &box->guid))
		return MERGED_FIRST;
	return MERGED_AFTER_LIVE;
}

static void plan_merged_mailboxes(struct planner *p, const struct node_order *order,
				  enum merged_when when)
{
	for (size_t i = 0; i < p->tree->n; i++) {
		const struct mailbox *box = order[i].box;
		if (mailbox_merged(box) && merged_when(p, box) == when)
			plan_mailbox(p, box, box->uid_next);
	}
}

/* This side has mail in it, or may have: as it is, or in what becomes it now. */
static bool is_shown_here(const struct planner *p, const struct mailbox *box)
{
	const struct tree *have = &p->have->tree;
	for (size_t i = 0; i < have->n; i++) {
		struct guid to = tree_resolve(p->tree, have->nodes[i].guid);
		if (is_shown(&have->nodes[i]) && guid_equal(&to, &box->guid))
			return true;
	}
	return false;
}

/* What was a mailbox here and will be a mere name above others: only when its mail is gone. */
static bool becomes_name(const struct planner *p, const struct mailbox *box)
{
	return mailbox_alive(box) && !box->selectable && is_shown_here(p, box);
}

/* Under another UIDVALIDITY it may be lower than what the mailbox gave before: a join keeps the greater
 * one, and who shows UIDs to others learns of it. */
static uint32_t first_uid_next(const struct planner *p, const struct mailbox *box,
			       uint32_t otherwise)
{
	const struct target *t = &p->m->target[p->side];
	for (size_t i = 0; i < t->n_anew; i++)
		if (guid_equal(&t->anew[i].mailbox, &box->guid))
			return t->anew[i].uid_next;
	return otherwise;
}

/* Not of UIDs whose messages come only later: they would be taken by then. */
static uint32_t uid_next_for(const struct planner *p, const struct mailbox *box, uint32_t wanted)
{
	uint32_t most = p->uid_most[index_of(p, box)];
	return wanted < most ? wanted : most;
}

static void plan_live_mailboxes(struct planner *p, const struct node_order *order,
				const bool *grows, const uint32_t *before)
{
	for (size_t i = 0; i < p->tree->n; i++) {
		const struct mailbox *box = order[i].box;
		size_t index = index_of(p, box);
		if (!mailbox_alive(box) || becomes_name(p, box))
			continue;
		uint32_t next =
			first_uid_next(p, box, grows[index] ? before[index] : box->uid_next);
		plan_mailbox(p, box, uid_next_for(p, box, next));
	}
}

/* uid_next where arrivals alone do not raise it enough: UIDs that were given and are gone. */
static void plan_uid_next(struct planner *p, const struct node_order *order, const bool *grows)
{
	if (!(p->have->caps & CAP_STAMPS))
		return;
	for (size_t i = 0; i < p->tree->n; i++) {
		const struct mailbox *box = order[i].box;
		size_t index = index_of(p, box);
		struct record item = {.type = REC_MAILBOX_STATE, .mailbox = *box};
		item.mailbox.uid_next = uid_next_for(p, box, box->uid_next);
		if (grows[index] && item.mailbox.uid_next > p->uid_next[index] &&
		    !becomes_name(p, box))
			add_item(p, &item);
	}
}

static void plan_dead_mailboxes(struct planner *p, const struct node_order *order)
{
	for (size_t i = p->tree->n; i-- > 0;) {
		const struct mailbox *box = order[i].box;
		if ((!mailbox_alive(box) && !mailbox_merged(box)) || becomes_name(p, box))
			plan_mailbox(p, box, uid_next_for(p, box, box->uid_next));
	}
}

/* A UID for a while, above all: the later item gives the one that is meant. */
static void plan_lifts(struct planner *p, const struct work *work, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!work[i].lift)
			continue;
		struct copy up = seen_copy(work[i].pair->was[p->side]);
		const struct mailbox *box = tree_find(p->tree, &up.place.mailbox);
		if (!box)
			continue;
		uint32_t *next = &p->uid_next[index_of(p, box)];
		if (*next < box->uid_next)
			*next = box->uid_next;
		if (*next == UINT32_MAX)
			continue;
		up.place.uid = (*next)++;
		plan_copy(p, work[i].pair, &up);
	}
}

static void plan_side(struct planner *p, const struct node_order *order)
{
	size_t n, nodes = p->tree->n;
	MB_AUTO_FREE uint32_t *before = mb_xcalloc(nodes, sizeof(*before));
	struct work *work = copies_to_do(p, &n);
	p->uid_next = side_uid_next(p->m, p->side, p->tree);
	p->uid_most = side_uid_most(p->m, p->side, p->tree);
	bool *grows = raise_uid_next(p, work, n, before);

	if (n)
		MB_GROW(p->plan->items, p->plan->cap, n + nodes);
	plan_merged_mailboxes(p, order, MERGED_FIRST);
	plan_live_mailboxes(p, order, grows, before);
	plan_merged_mailboxes(p, order, MERGED_AFTER_LIVE);
	plan_aliases(p);
	plan_lifts(p, work, n);
	for (size_t i = 0; i < n; i++)
		plan_copy(p, work[i].pair, work[i].now);
	plan_uid_next(p, order, grows);
	plan_dead_mailboxes(p, order);
	plan_merged_mailboxes(p, order, MERGED_LAST);

	free(grows);
	free(work);
	free(p->uid_next);
	free(p->uid_most);
}

void plans_make(struct merging *m)
{
	for (int side = 0; side < 2; side++) {
		if (m->target[side].nothing)
			continue;
		struct node_order *order = nodes_in_order(m->target[side].tree, &m->in->side[side]);
		struct planner p = {
			.m = m,
			.side = side,
			.have = &m->in->side[side],
			.tree = m->target[side].tree,
			.plan = &m->out->plan[side],
		};
		plan_side(&p, order);
		free(order);
	}
}
