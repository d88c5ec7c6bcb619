/*
 * merge-pair.c - new messages of both sides that are one (design 5, rule 10).
 *
 * Considered are messages of which the other side never heard.  A live copy on each side, in one
 * mailbox, with one size and digest: the nth with the nth, so that twins stay two.  Of what is left,
 * those with one likeness (backends/mail/alike.h), in the same way: these are one message of which each
 * side keeps the bytes that it has.  One GUID is kept, the other becomes an alias of it, with all its
 * copies.
 */
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include "sync/scope.h"

struct candidate {
	const struct seen *seen;
	size_t message; /* index in the side's messages */
};

struct candidates {
	struct candidate *items; /* owned; sorted */
	size_t n, cap;
	bool *taken; /* owned; by index of message */
};

static bool heard_of(const struct merge_side *side, const struct guid *g)
{
	const struct message *m = merge_side_find(side, g);
	return m && m->n > 0;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

typedef int compare_fn(const struct seen *a, const struct seen *b);

/* What both of a pair have in common. */
static int compare_content(const struct seen *a, const struct seen *b)
{
	int order = guid_compare(&a->mailbox, &b->mailbox);
	if (!order)
		order = digest_compare(&a->copy->digest, &b->copy->digest);
	return order ? order : compare_u64(a->copy->size, b->copy->size);
}

/* … or at least. */
static int compare_likeness(const struct seen *a, const struct seen *b)
{
	int order = guid_compare(&a->mailbox, &b->mailbox);
	return order ? order : digest_compare(&a->copy->alike, &b->copy->alike);
}

static int compare_candidates(const struct candidate *x, const struct candidate *y,
			      compare_fn *compare)
{
	const struct seen *a = x->seen, *b = y->seen;
	int order = compare(a, b);
	if (!order)
		order = compare_u64(a->copy->place.uid, b->copy->place.uid);
	if (!order)
		order = guid_compare(&a->guid, &b->guid);
	return order ? order : compare_u64(a->id, b->id);
}

static int by_content(const void *x, const void *y)
{
	return compare_candidates(x, y, compare_content);
}

static int by_likeness(const void *x, const void *y)
{
	return compare_candidates(x, y, compare_likeness);
}

static void candidates_find(const struct merging *m, int side, struct candidates *c)
{
	const struct merge_side *mine = &m->in->side[side], *other = &m->in->side[!side];
	size_t message = 0;

	c->taken = mb_xcalloc(mine->n_messages, sizeof(*c->taken));
	for (size_t i = 0; i < m->n_seen[side]; i++) {
		const struct seen *s = &m->seen[side][i];
		while (!guid_equal(&mine->messages[message].guid, &s->guid))
			message++;
		if (!copy_alive(s->copy) || !digest_known(&s->copy->digest) ||
		    heard_of(other, &s->guid))
			continue;
		MB_GROW(c->items, c->cap, c->n + 1);
		c->items[c->n++] = (struct candidate){.seen = s, .message = message};
	}
	if (c->n)
		qsort(c->items, c->n, sizeof(*c->items), by_content);
}

/* Of those that are left, the ones that have a likeness. */
static void candidates_alike(struct candidates *c)
{
	size_t kept = 0;
	for (size_t i = 0; i < c->n; i++)
		if (!c->taken[c->items[i].message] && digest_known(&c->items[i].seen->copy->alike))
			c->items[kept++] = c->items[i];
	c->n = kept;
	if (c->n)
		qsort(c->items, c->n, sizeof(*c->items), by_likeness);
}

/* The side whose GUID gives way: never one that nothing is written to; the one that keeps no GUIDs
 * itself, else that of the higher. */
static int giving_way(const struct merging *m, const struct seen *const two[2])
{
	int source = scope_source(m->in->scope);
	if (source >= 0)
		return !source;
	bool keeps[2] = {m->in->side[0].caps & CAP_GUIDS, m->in->side[1].caps & CAP_GUIDS};
	if (keeps[0] != keeps[1])
		return keeps[0] ? 1 : 0;
	return guid_compare(&two[0]->guid, &two[1]->guid) > 0 ? 0 : 1;
}

static bool id_used(const struct message *msg, uint64_t id)
{
	return message_find(msg, id) != NULL;
}

/* The id of a further copy of the message that gives way: its own, or, when the other message has a
 * copy with that id, one made from its GUID, the same on every replica. */
static uint64_t further_id(const struct message *from, const struct message *to, uint64_t id)
{
	if (!id_used(to, id))
		return id;
	uint64_t made = get_le64(from->guid.b) ^ id;
	while (made == 0 || id_used(to, made) || id_used(from, made))
		made++;
	return made;
}

static void add_aliases(struct merging *m, int side, const struct message *from,
			const struct seen *pair, const struct message *to, uint64_t to_id)
{
	for (size_t i = 0; i < from->n; i++) {
		uint64_t id = from->copies[i].id;
		MB_GROW(m->aliases, m->cap_aliases, m->n_aliases + 1);
		m->aliases[m->n_aliases++] = (struct alias){
			.from = from->guid,
			.from_id = id,
			.to = to->guid,
			.to_id = id == pair->id ? to_id : further_id(from, to, id),
			.side = side,
		};
	}
}

static void take_pair(struct merging *m, struct candidates c[2], size_t i, size_t k)
{
	const struct candidate *two[2] = {&c[0].items[i], &c[1].items[k]};
	const struct seen *const seen[2] = {two[0]->seen, two[1]->seen};
	const struct message *messages[2] = {
		&m->in->side[0].messages[two[0]->message],
		&m->in->side[1].messages[two[1]->message],
	};
	int from = giving_way(m, seen);

	c[0].taken[two[0]->message] = c[1].taken[two[1]->message] = true;
	add_aliases(m, from, messages[from], seen[from], messages[!from], seen[!from]->id);
	bool same = compare_content(seen[0], seen[1]) == 0;
	notice_add(m, NOTICE_PAIRED, &seen[!from]->mailbox, &seen[!from]->guid,
		   mb_xstrdup(same ? "delivered on both sides with the same content; taken as one"
				   : "delivered on both sides with the same text; taken as one, "
				     "each side keeps its own bytes"));
}

static void pair_candidates(struct merging *m, struct candidates c[2], compare_fn *compare)
{
	size_t i = 0, k = 0;
	while (i < c[0].n && k < c[1].n) {
		int order = compare(c[0].items[i].seen, c[1].items[k].seen);
		if (order < 0 || c[0].taken[c[0].items[i].message]) {
			i++;
		} else if (order > 0 || c[1].taken[c[1].items[k].message]) {
			k++;
		} else {
			take_pair(m, c, i, k);
			i++;
			k++;
		}
	}
}

static int compare_aliases(const void *x, const void *y)
{
	const struct alias *a = x, *b = y;
	int order = guid_compare(&a->from, &b->from);
	return order ? order : compare_u64(a->from_id, b->from_id);
}

/* The side's copies get the keys that they will have. */
static void rename_seen(struct merging *m)
{
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < m->n_seen[side]; i++) {
			struct seen *s = &m->seen[side][i];
			struct alias key = {.from = s->guid, .from_id = s->id};
			const struct alias *a = bsearch(&key, m->aliases, m->n_aliases, sizeof(key),
							compare_aliases);
			if (a && a->side == side) {
				s->guid = a->to;
				s->id = a->to_id;
			}
		}
	}
	copies_sort(m);
}

/* Rows 22, 24, 65, 88 to 90, 116. */
void rule_pair_arrivals(struct merging *m)
{
	struct candidates c[2] = {0};
	candidates_find(m, 0, &c[0]);
	candidates_find(m, 1, &c[1]);
	pair_candidates(m, c, compare_content);
	for (int side = 0; side < 2; side++)
		candidates_alike(&c[side]);
	pair_candidates(m, c, compare_likeness);
	if (m->n_aliases) {
		qsort(m->aliases, m->n_aliases, sizeof(*m->aliases), compare_aliases);
		rename_seen(m);
	}
	for (int side = 0; side < 2; side++) {
		free(c[side].items);
		free(c[side].taken);
	}
}
