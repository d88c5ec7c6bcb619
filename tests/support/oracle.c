/*
 * oracle.c - see oracle.h.
 */
#include "tests/support/oracle.h"
#include "backends/base/mem.h"
#include "backends/mail/fname.h"
#include "backends/mail/layout.h"
#include <string.h>

void oracle_release(struct oracle *o)
{
	free(o->facts);
	free(o->sights);
	*o = (struct oracle){.all = o->all, .n_all = o->n_all};
}

/* ---- facts ---- */

static struct fact *fact_of(struct oracle *o, const struct guid *g, uint64_t id)
{
	for (size_t i = 0; i < o->n_facts; i++)
		if (o->facts[i].id == id && guid_equal(&o->facts[i].guid, g))
			return &o->facts[i];
	MB_GROW(o->facts, o->cap_facts, o->n_facts + 1);
	o->facts[o->n_facts] = (struct fact){.guid = *g, .id = id};
	return &o->facts[o->n_facts++];
}

static void note_flags(struct fact *f, const struct copy *c, uint64_t replica)
{
	for (unsigned bit = 0; bit < FLAG_COUNT; bit++) {
		const struct stamp *at = &c->flags.at[bit];
		if (at->replica != replica || stamp_compare(at, &f->flag_at[bit]) <= 0)
			continue;
		f->flag_at[bit] = *at;
		f->flags =
			(uint8_t)((f->flags & ~FLAG_MASK(bit)) | (c->flags.set & FLAG_MASK(bit)));
	}
}

void oracle_note(struct oracle *o, struct backend *b, const struct guid *g)
{
	const struct message *msg = memory_find(b, g);
	struct backend_info info;
	b->ops->info(b, &info);
	for (size_t i = 0; msg && i < msg->n; i++) {
		const struct copy *c = &msg->copies[i];
		struct fact *f = fact_of(o, g, c->id);
		if (c->place.at.replica == info.replica)
			f->place = stamp_max(f->place, c->place.at);
		if (c->dead_at.replica == info.replica) {
			struct stamp *dead = guid_is_zero(&c->via) ? &f->dead : &f->dead_via;
			*dead = stamp_max(*dead, c->dead);
		}
		note_flags(f, c, info.replica);
	}
}

void oracle_mixed(struct oracle *o, const struct guid *g)
{
	for (size_t i = 0; i < o->n_facts; i++)
		if (guid_equal(&o->facts[i].guid, g))
			o->facts[i].mixed = true;
}

/* ---- order on one replica ---- */

static const char *check_names(const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct mailbox *x = &t->nodes[i];
		struct guid parent = tree_resolve(t, x->parent);
		if (!mailbox_alive(x))
			continue;
		const struct mailbox *above = tree_find(t, &parent);
		char **parts;
		size_t n;
		if (tree_parts(t, &x->guid, &parts, &n) < 0)
			return "a mailbox cannot be reached from the top";
		layout_parts_free(parts);
		if (above && !mailbox_alive(above))
			return "a mailbox lives below a dead one";
		for (size_t k = i + 1; k < t->n; k++) {
			const struct mailbox *y = &t->nodes[k];
			struct guid other = tree_resolve(t, y->parent);
			if (mailbox_alive(y) && guid_equal(&parent, &other) &&
			    strcmp(x->part, y->part) == 0)
				return "two mailboxes have one name";
		}
	}
	return NULL;
}

static size_t unique_length(const char *base)
{
	struct fname f;
	fname_parse(base, &f);
	return f.unique_len;
}

static const char *check_two(const struct copy *x, const struct copy *y)
{
	if (!copy_alive(x) || !copy_alive(y) || !guid_equal(&x->place.mailbox, &y->place.mailbox))
		return NULL;
	if (x->place.uid == y->place.uid)
		return "two messages have one UID";
	size_t n = unique_length(x->place.base), k = unique_length(y->place.base);
	if (n == k && memcmp(x->place.base, y->place.base, n) == 0)
		return "two messages have one file name";
	return NULL;
}

static const char *check_place(struct backend *b, const struct copy *c)
{
	const struct mailbox *box = tree_find(memory_tree(b), &c->place.mailbox);
	if (!box || !mailbox_alive(box) || !box->selectable)
		return "a message lives in a mailbox that does not";
	if (c->place.uid >= box->uid_next)
		return "a UID is not below uid_next";
	return NULL;
}

static struct guid called_at(struct backend *b, const struct guid *g)
{
	struct message msg;
	b->ops->message(b, g, &msg);
	struct guid now = msg.guid;
	message_release(&msg);
	return now;
}

/* The GUID that g is known by now; who never had g need not have heard of its alias. */
static struct guid now_called(const struct oracle *o, const struct guid *g)
{
	struct guid now = *g, before;
	do {
		before = now;
		for (size_t i = 0; i < o->n_all; i++)
			now = called_at(o->all[i], &now);
	} while (!guid_equal(&before, &now));
	return now;
}

static const char *check_sight(struct oracle *o, struct backend *b, const struct copy *c)
{
	struct sight now = {
		.b = b,
		.mailbox = c->place.mailbox,
		.guid = c->guid,
		.uid_validity = tree_find(memory_tree(b), &c->place.mailbox)->uid_validity,
		.uid = c->place.uid,
	};
	for (size_t i = 0; i < o->n_sights; i++) {
		const struct sight *s = &o->sights[i];
		if (s->b != b || s->uid != now.uid || s->uid_validity != now.uid_validity ||
		    !guid_equal(&s->mailbox, &now.mailbox))
			continue;
		struct guid was = now_called(o, &s->guid), is = now_called(o, &c->guid);
		return guid_equal(&was, &is) ? NULL
					     : "a UID that a client saw means another message";
	}
	MB_GROW(o->sights, o->cap_sights, o->n_sights + 1);
	o->sights[o->n_sights++] = now;
	return NULL;
}

static const char *check_copy(struct oracle *o, struct backend *b, const struct copy *c)
{
	const char *wrong = check_place(b, c);
	if (!wrong)
		wrong = check_sight(o, b, c);
	for (size_t i = 0; !wrong && i < memory_n_messages(b); i++) {
		const struct message *msg = memory_message(b, i);
		for (size_t k = 0; !wrong && k < msg->n; k++)
			if (&msg->copies[k] != c)
				wrong = check_two(c, &msg->copies[k]);
	}
	return wrong;
}

const char *oracle_check_order(struct oracle *o, struct backend *b)
{
	const char *wrong = check_names(memory_tree(b));
	for (size_t i = 0; !wrong && i < memory_n_messages(b); i++) {
		const struct message *msg = memory_message(b, i);
		for (size_t k = 0; !wrong && k < msg->n; k++)
			if (copy_alive(&msg->copies[k]))
				wrong = check_copy(o, b, &msg->copies[k]);
	}
	return wrong;
}

/* ---- mail ---- */

static size_t n_alive(const struct message *msg)
{
	size_t n = 0;
	for (size_t i = 0; i < msg->n; i++)
		n += copy_alive(&msg->copies[i]);
	return n;
}

/* Of three twins one may have become each of the others, on different replicas. */
static bool became_somewhere(const struct oracle *o, const struct guid *from, const struct guid *to)
{
	for (size_t i = 0; i < o->n_all; i++) {
		struct guid here = called_at(o->all[i], from), now = here;
		if (guid_equal(&here, from))
			continue;
		now = now_called(o, &here);
		if (guid_equal(&here, to) || guid_equal(&now, to))
			return true;
	}
	return false;
}

static bool at_or_before(const struct stamp *a, const struct stamp *b)
{
	return stamp_compare(a, b) <= 0;
}

/* Somebody expunged this copy, in its latest place or with a later one of what it became. */
static bool was_expunged(const struct oracle *o, const struct fact *f, const struct guid *called)
{
	for (size_t i = 0; i < o->n_facts; i++) {
		const struct fact *g = &o->facts[i];
		struct guid other = now_called(o, &g->guid);
		bool same = guid_equal(&g->guid, &f->guid) && g->id == f->id;
		bool became = guid_equal(&other, called) && !guid_equal(&g->guid, &f->guid);
		if ((same || became) &&
		    (at_or_before(&f->place, &g->dead) || at_or_before(&f->place, &g->dead_via)))
			return true;
	}
	return false;
}

static const char *check_lost(const struct oracle *o, struct backend *b, const struct fact *f)
{
	struct guid called = now_called(o, &f->guid);
	const struct message *msg = memory_find(b, &called);
	if (stamp_is_none(&f->place) || was_expunged(o, f, &called))
		return NULL;
	if (!msg)
		return "a message is not known everywhere";
	const struct copy *c = message_find(msg, f->id);
	if (c && c->dead_at.time && !c->dead_at.replica)
		return NULL; /* a second copy in one mailbox; users see the other */
	if (!n_alive(msg))
		return "a message that nobody expunged is gone";
	return NULL;
}

/* An expunge in the latest place stays: only a rename of the mailbox makes one void that came with
 * the mailbox, and gives a stamp of nobody. */
static const char *check_resurrected(const struct oracle *o, struct backend *b,
				     const struct fact *f)
{
	const struct message *msg = memory_find(b, &f->guid);
	const struct copy *c = msg ? message_find(msg, f->id) : NULL;
	struct stamp dead = stamp_max(f->dead, f->dead_via);
	if (!c || !copy_alive(c) || stamp_compare(&f->place, &dead) > 0)
		return NULL;
	if (c->place.at.replica == 0 && stamp_compare(&c->place.at, &f->dead) > 0)
		return NULL;
	for (size_t i = 0; i < o->n_facts; i++) { /* another became this one, in a later place */
		struct guid called = now_called(o, &o->facts[i].guid);
		if (!guid_equal(&o->facts[i].guid, &f->guid) && guid_equal(&called, &f->guid))
			return NULL;
	}
	return "an expunged message is back";
}

static const char *check_flags(const struct oracle *o, struct backend *b, const struct fact *f)
{
	const struct message *msg = memory_find(b, &f->guid);
	const struct copy *c = msg ? message_find(msg, f->id) : NULL;
	if (!c || f->mixed || msg->n > 1)
		return NULL;
	for (size_t i = 0; i < o->n_facts; i++)
		if (!guid_equal(&o->facts[i].guid, &f->guid) &&
		    became_somewhere(o, &o->facts[i].guid, &f->guid))
			return NULL;
	return c->flags.set == f->flags ? NULL : "a flag is not as it was set last";
}

const char *oracle_check_mail(const struct oracle *o, struct backend *b)
{
	const char *wrong = NULL;
	for (size_t i = 0; !wrong && i < o->n_facts; i++) {
		wrong = check_lost(o, b, &o->facts[i]);
		if (!wrong)
			wrong = check_resurrected(o, b, &o->facts[i]);
		if (!wrong)
			wrong = check_flags(o, b, &o->facts[i]);
	}
	return wrong;
}
