/*
 * old-mail.c - see old-mail.h.
 */
#include "sync/old-mail.h"

#include "backends/base/mem.h"
#include "sync/gather.h"
#include "sync/merge-private.h"
#include "sync/scope.h"

#include <stdlib.h>
#include <string.h>

/* ---- what may be the same message ---- */

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

struct digests {
	struct digest *list; /* owned; sorted */
	size_t n, cap;
};

static void add_digest(struct digests *d, const struct digest *one)
{
	if (!digest_known(one))
		return;
	MB_GROW(d->list, d->cap, d->n + 1);
	d->list[d->n++] = *one;
}

static bool has_digest(const struct digests *d, const struct digest *one)
{
	return digest_known(one) && d->n &&
	       bsearch(one, d->list, d->n, sizeof(*one), compare_digests);
}

/* Digests and likenesses of the live copies of one side. */
static struct digests live_digests(const struct merge_side *s)
{
	struct digests d = {0};

	for (size_t i = 0; i < s->n_messages; i++) {
		for (size_t k = 0; k < s->messages[i].n; k++) {
			const struct copy *c = &s->messages[i].copies[k];
			if (!copy_alive(c))
				continue;
			add_digest(&d, &c->digest);
			add_digest(&d, &c->alike);
		}
	}
	if (d.n)
		qsort(d.list, d.n, sizeof(*d.list), compare_digests);
	return d;
}

struct other_side {
	const struct merge_side *side;
	uint64_t forgotten;
	struct digests digests; /* owned */
};

static bool is_held(const struct other_side *o, const struct copy *c)
{
	const struct message *known;

	if (!copy_alive(c) || c->unagreed || c->place.at.time > o->forgotten)
		return false;
	for (size_t i = 0; i < o->side->n_missing; i++)
		if (guid_equal(&o->side->missing[i], &c->guid))
			return false; /* known, and wanted */
	known = merge_side_find(o->side, &c->guid);
	if (known && message_find(known, c->id))
		return false;
	return !has_digest(&o->digests, &c->digest) && !has_digest(&o->digests, &c->alike);
}

/* ---- its mailbox ---- */

/* The other side deleted the mailbox, or made it a mere name: with mail in it it lives. */
static void keep_mailbox(struct merge_side *mine, const struct merge_side *theirs,
			 const struct guid *guid)
{
	struct guid now = tree_resolve(&mine->tree, *guid);
	struct mailbox *box = tree_find(&mine->tree, &now);
	const struct mailbox *other = tree_find(&theirs->tree, &now);
	struct stamp needed;

	if (!box || !other || mailbox_merged(other))
		return;
	needed = stamp_after(other->dead);
	if (!mailbox_alive(other) && stamp_compare(&box->revived, &needed) < 0)
		box->revived = needed;
	needed = stamp_after(other->selectable_at);
	if (!other->selectable && stamp_compare(&box->selectable_at, &needed) < 0) {
		box->selectable = true;
		box->selectable_at = needed;
	}
}

/* ---- the whole ---- */

static uint64_t hold_in(struct merge_side *mine, struct message *m, const struct other_side *o)
{
	uint64_t held = 0;
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++) {
		if (is_held(o, &m->copies[i])) {
			keep_mailbox(mine, o->side, &m->copies[i].place.mailbox);
			copy_release(&m->copies[i]);
			held++;
			continue;
		}
		if (kept != i)
			m->copies[kept] = m->copies[i];
		kept++;
	}
	m->n = kept;
	return held;
}

static uint64_t hold_side(struct merge_side *mine, const struct other_side *o)
{
	uint64_t held = 0;
	size_t kept = 0;

	for (size_t i = 0; i < mine->n_messages; i++) {
		struct message *m = &mine->messages[i];
		held += hold_in(mine, m, o);
		if (!m->n) {
			message_release(m);
			continue;
		}
		if (kept != i)
			mine->messages[kept] = *m;
		kept++;
	}
	mine->n_messages = kept;
	return held;
}

/* What would not travel anyway needs nobody's decision. */
static bool may_get_mail(const struct scope *s, int side)
{
	return !s || (s->let[side] & SCOPE_NEW);
}

uint64_t old_mail_hold(struct merge_input *in, const uint64_t forgotten[2])
{
	uint64_t held = 0;

	for (int i = 0; i < 2; i++) {
		struct other_side o = {.side = &in->side[1 - i], .forgotten = forgotten[1 - i]};
		if (!o.forgotten || !may_get_mail(in->scope, 1 - i))
			continue;
		o.digests = live_digests(o.side);
		held += hold_side(&in->side[i], &o);
		free(o.digests.list);
	}
	return held;
}
