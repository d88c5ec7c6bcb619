/*
 * merge-copy.c - copies of messages: seen, joined, and what joining alone does not settle.
 *
 * The join of the registers is most of the merge of mail: flags bit by bit, the later place, an
 * expunge against an older place (rows 1 to 13, 33 to 40).  The rules here deal with two copies at
 * a time: one message twice in a mailbox, an edit and what happened to the message that it
 * replaced, two files of one name.
 */
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "sync/merge-private.h"
#include <stdio.h>
#include <string.h>

/* ---- what each side has ---- */

static int compare_keys(const struct guid *a, uint64_t a_id, const struct guid *b, uint64_t b_id)
{
	int order = guid_compare(a, b);
	return order ? order : a_id < b_id ? -1 : a_id > b_id;
}

static int compare_seen(const void *x, const void *y)
{
	const struct seen *a = x, *b = y;
	return compare_keys(&a->guid, a->id, &b->guid, b->id);
}

void copies_sort(struct merging *m)
{
	for (int side = 0; side < 2; side++)
		if (m->n_seen[side])
			qsort(m->seen[side], m->n_seen[side], sizeof(*m->seen[side]), compare_seen);
}

static void see_side(struct merging *m, int side)
{
	const struct merge_side *s = &m->in->side[side];
	size_t n = 0;
	for (size_t i = 0; i < s->n_messages; i++)
		n += s->messages[i].n;
	m->seen[side] = mb_xcalloc(n, sizeof(*m->seen[side]));
	for (size_t i = 0; i < s->n_messages; i++) {
		const struct message *msg = &s->messages[i];
		for (size_t k = 0; k < msg->n; k++) {
			const struct copy *c = &msg->copies[k];
			m->seen[side][m->n_seen[side]++] = (struct seen){
				.copy = c,
				.guid = msg->guid,
				.id = c->id,
				.mailbox = tree_resolve(m->tree, c->place.mailbox),
			};
		}
	}
}

void copies_see(struct merging *m)
{
	see_side(m, 0);
	see_side(m, 1);
	copies_sort(m);
}

struct copy seen_copy(const struct seen *s)
{
	struct copy c = *s->copy;
	c.guid = s->guid;
	c.id = s->id;
	c.place.mailbox = s->mailbox;
	return c;
}

bool seen_alive(const struct seen *s)
{
	return s && copy_alive(s->copy);
}

/* ---- join ---- */

static void join_pair(struct pair *p, const struct seen *a, const struct seen *b)
{
	struct copy first = seen_copy(a ? a : b);
	p->was[0] = a;
	p->was[1] = b;
	copy_clone(&p->now, &first);
	if (a && b) {
		struct copy second = seen_copy(b);
		copy_join(&p->now, &second);
	}
}

void copies_join(struct merging *m)
{
	size_t i = 0, k = 0;
	m->pairs = mb_xcalloc(m->n_seen[0] + m->n_seen[1], sizeof(*m->pairs));
	while (i < m->n_seen[0] || k < m->n_seen[1]) {
		const struct seen *a = i < m->n_seen[0] ? &m->seen[0][i] : NULL;
		const struct seen *b = k < m->n_seen[1] ? &m->seen[1][k] : NULL;
		int order = !a ? 1 : !b ? -1 : compare_seen(a, b);
		join_pair(&m->pairs[m->n_pairs++], order <= 0 ? a : NULL, order >= 0 ? b : NULL);
		i += order <= 0;
		k += order >= 0;
	}
}

void copies_resolve(struct merging *m)
{
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < m->n_seen[side]; i++)
			m->seen[side][i].mailbox = tree_resolve(m->tree, m->seen[side][i].mailbox);
	for (size_t i = 0; i < m->n_pairs; i++) {
		struct place *p = &m->pairs[i].now.place;
		p->mailbox = tree_resolve(m->tree, p->mailbox);
	}
}

/* ---- one message twice in one mailbox ---- */

/* Rows 35, 39.  Each side put a copy of a message into one mailbox: that with the lower id stays, and
 * gets the flags of the other. */
static void rule_one_in_mailbox(struct copy *keep, struct copy *other)
{
	flags_join(&keep->flags, &other->flags);
	other->dead = other->place.at;
	other->dead_at = stamp_after(other->dead);
	other->via = GUID_ZERO;
	other->via_seen = STAMP_NONE;
}

/* Twins: somebody put both into one mailbox of his, and they stay two.  Not those that become copies
 * of one message by this very merge. */
static bool are_twins(const struct pair *a, const struct pair *b)
{
	for (int side = 0; side < 2; side++) {
		const struct seen *x = a->was[side], *y = b->was[side];
		if (seen_alive(x) && seen_alive(y) && guid_equal(&x->copy->guid, &y->copy->guid) &&
		    guid_equal(&x->copy->place.mailbox, &y->copy->place.mailbox))
			return true;
	}
	return false;
}

static void settle_message(struct pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n && copy_alive(&pairs[i].now); k++)
			if (copy_alive(&pairs[k].now) &&
			    guid_equal(&pairs[i].now.place.mailbox, &pairs[k].now.place.mailbox) &&
			    !are_twins(&pairs[i], &pairs[k]))
				rule_one_in_mailbox(&pairs[i].now, &pairs[k].now);
}

static void settle_messages(struct merging *m)
{
	size_t run;
	for (size_t i = 0; i < m->n_pairs; i += run) {
		run = 1;
		while (i + run < m->n_pairs &&
		       guid_equal(&m->pairs[i].now.guid, &m->pairs[i + run].now.guid))
			run++;
		if (run > 1)
			settle_message(m->pairs + i, run);
	}
}

/* ---- file names: edits and equal names ---- */

static size_t unique_length(const char *base)
{
	struct fname f;
	fname_parse(base, &f);
	return f.unique_len;
}

/* By mailbox and the part of the base name that names the mail; the living and the older first. */
static int compare_bases(const struct pair *a, const struct pair *b)
{
	const struct place *p = &a->now.place, *q = &b->now.place;
	int order = guid_compare(&p->mailbox, &q->mailbox);
	if (order)
		return order;
	size_t n = unique_length(p->base), k = unique_length(q->base);
	order = memcmp(p->base, q->base, n < k ? n : k);
	return order ? order : n < k ? -1 : n > k;
}

static int compare_by_base(const void *x, const void *y)
{
	const struct pair *a = *(struct pair *const *)x, *b = *(struct pair *const *)y;
	int order = compare_bases(a, b);
	if (!order)
		order = copy_alive(&b->now) - copy_alive(&a->now);
	if (!order)
		order = stamp_compare(&a->now.place.at, &b->now.place.at);
	return order ? order : compare_keys(&a->now.guid, a->now.id, &b->now.guid, b->now.id);
}

static struct pair **pairs_by_base(struct merging *m, size_t *ret_n)
{
	struct pair **sorted = mb_xcalloc(m->n_pairs, sizeof(struct pair *));
	size_t n = 0;
	for (size_t i = 0; i < m->n_pairs; i++)
		if (m->pairs[i].now.place.base)
			sorted[n++] = &m->pairs[i];
	if (n)
		qsort(sorted, n, sizeof(struct pair *), compare_by_base);
	*ret_n = n;
	return sorted;
}

/* `new` is what an edit made of `old`, as this side logged it: one record, one stamp. */
static bool is_edit(const struct pair *new, const struct pair *old, int side)
{
	const struct seen *n = new->was[side], *o = old->was[side];
	return n && o && !seen_alive(o) && !guid_equal(&n->guid, &o->guid) &&
	       stamp_compare(&n->copy->place.at, &o->copy->dead_at) == 0;
}

/* Rows 28 to 31.  An edit is a new message in place of an expunged one: it gets the flags that the
 * old one got elsewhere (and hands them on when it was edited in turn), and stays when the old one
 * was expunged elsewhere. */
static void rule_edit(struct merging *m, struct pair *new, const struct pair *old, int side)
{
	/* The other side has it: its flags are there.  But where the old one still lives it may have got
	 * some after that: its expunge is held up for it (put, MB_E_STALE). */
	if (new->was[!side] && !seen_alive(old->was[!side]))
		return;
	flags_join(&new->now.flags, &old->now.flags);
	const struct seen *other = old->was[!side];
	if (copy_alive(&new->now) && other && !copy_alive(other->copy) &&
	    stamp_compare(&other->copy->dead_at, &old->was[side]->copy->dead_at) != 0)
		notice_add(m, NOTICE_EDIT_BEAT_EXPUNGE, &new->now.place.mailbox, &new->now.guid,
			   mb_xstrdup("edited on one side, expunged on the other; the new content "
				      "is kept"));
}

static bool only_on(const struct pair *p, int side)
{
	return p->was[side] && !p->was[!side] && copy_alive(&p->now);
}

/* Row 32.  Both sides replaced the message `old`: both new ones stay.  True if so. */
static bool rule_both_edited(struct merging *m, struct pair **run, size_t n, const struct pair *old)
{
	const struct pair *of[2] = {NULL, NULL};
	if (!old->was[0] || !old->was[1] || seen_alive(old->was[0]) || seen_alive(old->was[1]) ||
	    stamp_compare(&old->was[0]->copy->dead_at, &old->was[1]->copy->dead_at) == 0)
		return false;
	for (size_t i = n; i-- > 0;)
		for (int side = 0; side < 2; side++)
			if (only_on(run[i], side))
				of[side] = run[i];
	if (!of[0] || !of[1])
		return false;
	const struct copy *first =
		guid_compare(&of[0]->now.guid, &of[1]->now.guid) < 0 ? &of[0]->now : &of[1]->now;
	notice_add(m, NOTICE_BOTH_EDITED, &first->place.mailbox, &first->guid,
		   mb_xstrdup("edited on both sides; both are kept"));
	return true;
}

/* Likewise, and a sync in one direction has told one side of the other's new one, perhaps under another file
 * name: `n` counts those, too. */
static bool were_both_edited(struct pair **run, size_t n, const struct pair *old)
{
	const struct pair *of[2] = {NULL, NULL};
	for (size_t i = 0; i < n; i++)
		for (int side = 0; side < 2; side++)
			if (is_edit(run[i], old, side) && (!of[side] || !run[i]->was[!side]))
				of[side] = run[i];
	return of[0] && of[1] && of[0] != of[1];
}

/* `old` is dead; an earlier edit comes before a later one. */
static void settle_edits(struct merging *m, struct pair **run, size_t n, size_t n_near,
			 const struct pair *old)
{
	if (rule_both_edited(m, run, n, old) || were_both_edited(run, n_near, old))
		return;
	for (size_t i = 0; i < n; i++)
		for (int side = 0; side < 2; side++)
			if (is_edit(run[i], old, side))
				rule_edit(m, run[i], old, side);
}

/* Row 47 and 32.  Two living files of one name in one mailbox: the later one is called otherwise.
 * The new base sorts after the old, so that it wins where both meet with one stamp. */
static void rule_same_base(struct copy *c)
{
	char guid[GUID_TEXT];
	const char *old = c->place.base;
	size_t unique = unique_length(old);
	struct guid tag = c->guid; /* copies of one message get names of their own */
	put_le64(tag.b, get_le64(tag.b) ^ c->id);
	guid_text(&tag, guid);
	size_t keep = unique + 9 <= FNAME_MAX ? unique : FNAME_MAX - 9;
	char *base = mb_xasprintf("%.*s-%.8s%s", (int)keep, old, guid, old + unique);
	if (strlen(base) > FNAME_MAX)
		base[keep + 9] = '\0';
	free(c->place.base);
	c->place.base = base;
}

/* A run: all copies with one mailbox and one unique name; up to n_near those whose name begins with it. */
static void settle_run(struct merging *m, struct pair **run, size_t n, size_t n_near)
{
	for (size_t i = 0; i < n; i++)
		if (!copy_alive(&run[i]->now))
			settle_edits(m, run, n, n_near, run[i]);
	for (size_t i = 1; i < n && copy_alive(&run[i]->now); i++)
		rule_same_base(&run[i]->now);
}

/* What rule_same_base() made of the name of `a`, or what looks like it. */
static bool begins_with_name_of(const struct pair *b, const struct pair *a)
{
	size_t n = unique_length(a->now.place.base), k = unique_length(b->now.place.base);
	return guid_equal(&a->now.place.mailbox, &b->now.place.mailbox) && n <= k &&
	       memcmp(a->now.place.base, b->now.place.base, n) == 0;
}

static void settle_bases(struct merging *m)
{
	size_t n, run;
	struct pair **sorted = pairs_by_base(m, &n);
	for (size_t i = 0; i < n; i += run) {
		run = 1;
		while (i + run < n && compare_bases(sorted[i], sorted[i + run]) == 0)
			run++;
		if (run == 1)
			continue;
		size_t near = run;
		while (i + near < n && begins_with_name_of(sorted[i + near], sorted[i]))
			near++;
		settle_run(m, sorted + i, run, near);
	}
	free(sorted);
}

/* ---- notices ---- */

/* Rows 7, 13 and 37: one side expunged what the other changed; `gone` is the side that expunged. */
static void notice_expunge(struct merging *m, const struct pair *p, int gone)
{
	const struct copy *dead = p->was[gone]->copy, *live = p->was[!gone]->copy;
	if (stamp_compare(&live->dead, &dead->dead) >= 0)
		return; /* it knew, and brought it back */
	if (copy_alive(&p->now)) {
		if (guid_is_zero(&dead->via))
			notice_add(m, NOTICE_MOVE_BEAT_EXPUNGE, &p->now.place.mailbox, &p->now.guid,
				   mb_xstrdup("moved on one side, expunged on the other; it stays "
					      "where it was moved to"));
	} else if (flags_later(&live->flags, &dead->flags)) {
		notice_add(m, NOTICE_EXPUNGE_BEAT_FLAGS, &p->now.place.mailbox, &p->now.guid,
			   mb_xstrdup("flags changed on one side, expunged on the other; it is "
				      "expunged and can be restored"));
	}
}

/* Row 38: the later move won when the registers were joined.  Two places by one replica are no conflict:
 * who gave the later one knew of the earlier one, and only a session that was cut off brought that. */
static void notice_moved_twice(struct merging *m, const struct pair *p)
{
	const struct place *a = &p->was[0]->copy->place, *b = &p->was[1]->copy->place;
	uint64_t agreed = m->in->agreed;
	if (!agreed || a->at.time <= agreed || b->at.time <= agreed ||
	    a->at.replica == b->at.replica || guid_equal(&p->was[0]->mailbox, &p->was[1]->mailbox))
		return;
	notice_add(m, NOTICE_MOVED_TWICE, &p->now.place.mailbox, &p->now.guid,
		   mb_xstrdup("moved to two mailboxes; it is in the one of the later move"));
}

static void give_notices(struct merging *m)
{
	for (size_t i = 0; i < m->n_pairs; i++) {
		const struct pair *p = &m->pairs[i];
		if (!p->was[0] || !p->was[1])
			continue;
		if (seen_alive(p->was[0]) && seen_alive(p->was[1]))
			notice_moved_twice(m, p);
		else if (seen_alive(p->was[0]))
			notice_expunge(m, p, 1);
		else if (seen_alive(p->was[1]))
			notice_expunge(m, p, 0);
	}
}

void copies_settle(struct merging *m)
{
	settle_messages(m);
	settle_bases(m);
	give_notices(m);
}
