/*
 * gather-pair.c - what tells that two messages are one (rule 10): digests, and likenesses.
 *
 * Both mean reading bodies, so they are made only where there is something to compare with: digests in
 * a mailbox where both sides have a message of that size which the other never heard of; likenesses
 * where both sides have such ones left over, whole ones only of those whose headers meet.
 */
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/mail/alike.h"
#include "sync/apply.h"
#include "sync/gather.h"
#include "sync/scope.h"

#include <stdlib.h>
#include <string.h>

/* ---- candidates ------------------------------------------------------------------------------ */

struct candidate {
	uint64_t mailbox; /* key of the mailbox, the same on both sides */
	uint64_t size;
	struct digest head; /* of its header, once it was read */
	int side;
	struct copy *copy; /* borrowed */
};

struct candidates {
	struct candidate *list; /* owned */
	size_t n, cap;
};

/* By GUID where both sides have the mailbox, else by name: made apart, they become one.  One side may
 * have been told so already, in a run that was cut. */
static uint64_t mailbox_key(const struct gather *g, int side, const struct guid *guid)
{
	const struct tree *mine = &g->in.side[side].tree, *theirs = &g->in.side[1 - side].tree;
	struct guid there = tree_resolve(theirs, tree_resolve(mine, *guid));

	if (tree_find(mine, &there) && tree_find(theirs, &there))
		return checksum64(&there, sizeof(there), 1);
	char *name MB_AUTO_FREE = tree_name(tree_find(mine, &there) ? mine : theirs, &there);
	return checksum64(name, strlen(name), 2);
}

static void find_candidates(const struct gather *g, int side, struct candidates *c)
{
	const struct merge_side *s = &g->in.side[side];

	for (size_t i = 0; i < s->n_messages; i++) {
		const struct message *m = &s->messages[i];
		if (merge_side_find(&g->in.side[1 - side], &m->guid))
			continue;
		for (size_t k = 0; k < m->n; k++) {
			if (!copy_alive(&m->copies[k]))
				continue;
			MB_GROW(c->list, c->cap, c->n + 1);
			c->list[c->n++] = (struct candidate){
				.mailbox = mailbox_key(g, side, &m->copies[k].place.mailbox),
				.size = m->copies[k].size,
				.side = side,
				.copy = &m->copies[k],
			};
		}
	}
}

typedef int compare_fn(const void *a, const void *b);

/* A run of the sorted list, of candidates that are equal in what they were sorted by. */
struct run {
	struct candidate *first;
	size_t n;
	size_t of[2]; /* of each side */
};

/* The run that begins at `from`. */
static struct run next_run(const struct candidates *c, size_t from, compare_fn *compare)
{
	struct run r = {.first = c->list + from};

	while (from + r.n < c->n && compare(r.first, r.first + r.n) == 0)
		r.of[r.first[r.n++].side]++;
	return r;
}

static void sort_by(const struct candidates *c, compare_fn *compare)
{
	if (c->n)
		qsort(c->list, c->n, sizeof(*c->list), compare);
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_mailbox(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return compare_u64(x->mailbox, y->mailbox);
}

/* ---- digests --------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = by_mailbox(x, y);

	return order ? order : compare_u64(x->size, y->size);
}

static int make_digest(const struct gather *g, const struct candidate *c)
{
	struct backend *b = g->b[c->side];

	if (digest_known(&c->copy->digest))
		return 0;
	int err = b->ops->digest(b, &c->copy->guid, c->copy->id, &c->copy->digest);
	return err < 0 && backend_is_gone(err) ? err : 0;
}

static struct backend_ask_body ask_of(const struct candidate *c)
{
	return (struct backend_ask_body){c->copy->guid, c->copy->id, c->size};
}

static void foresee_digests(const struct gather *g, const struct candidates *c)
{
	for (int side = 0; side < 2; side++) {
		struct backend_ask_body *list MB_AUTO_FREE = NULL;
		size_t n = 0, cap = 0;
		struct run r;
		for (size_t from = 0; g->b[side]->ops->foresee && from < c->n; from += r.n) {
			r = next_run(c, from, by_size);
			for (size_t i = 0; r.of[0] && r.of[1] && i < r.n; i++) {
				if (r.first[i].side != side ||
				    digest_known(&r.first[i].copy->digest))
					continue;
				MB_GROW(list, cap, n + 1);
				list[n++] = ask_of(&r.first[i]);
			}
		}
		backend_foresee(g->b[side], &(struct backend_ask){.digests = list, .n_digests = n});
	}
}

int gather_digests(struct gather *g)
{
	struct candidates c = {0};
	struct run r;
	int err = 0;

	for (int i = 0; i < 2; i++)
		find_candidates(g, i, &c);
	sort_by(&c, by_size);
	foresee_digests(g, &c);
	for (size_t from = 0; err >= 0 && from < c.n; from += r.n) {
		r = next_run(&c, from, by_size);
		for (size_t i = 0; err >= 0 && r.of[0] && r.of[1] && i < r.n; i++) {
			progress_tell(g->progress, PROGRESS_READING, from, c.n);
			err = make_digest(g, &r.first[i]);
		}
	}
	free(c.list);
	return err;
}

/* ---- likenesses ------------------------------------------------------------------------------ */

static int by_digest(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = by_mailbox(x, y);

	return order ? order : digest_compare(&x->copy->digest, &y->copy->digest);
}

static int by_head(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = by_mailbox(x, y);

	return order ? order : digest_compare(&x->head, &y->head);
}

typedef bool keep_fn(const struct run *r);

/* Keeps those runs that `keep` says. */
static void keep_runs(struct candidates *c, compare_fn *compare, keep_fn *keep)
{
	size_t kept = 0;
	struct run r;

	sort_by(c, compare);
	for (size_t from = 0; from < c->n; from += r.n) {
		r = next_run(c, from, compare);
		if (!keep(&r))
			continue;
		memmove(c->list + kept, r.first, r.n * sizeof(*r.first));
		kept += r.n;
	}
	c->n = kept;
}

/* Not those that all find their like by their digest. */
static bool some_are_left(const struct run *r)
{
	return !digest_known(&r->first->copy->digest) || r->of[0] != r->of[1];
}

static bool on_both_sides(const struct run *r)
{
	return r->of[0] && r->of[1];
}

static bool same_header(const struct run *r)
{
	return digest_known(&r->first->head) && on_both_sides(r);
}

/* What cannot be read is like nothing. */
static int read_alike(const struct gather *g, struct candidate *c, bool whole)
{
	struct backend *b = g->b[c->side];
	int fd MB_AUTO_CLOSE = b->ops->body(b, &c->copy->guid, c->copy->id);

	if (fd < 0)
		return backend_is_gone(fd) ? fd : 0;
	alike_fd(fd, &c->head, whole ? &c->copy->alike : NULL);
	return 0;
}

#define AHEAD 256 /* bodies that are asked for at a time, */
#define AHEAD_BYTES (16u << 20)

/* The next ones from `from` on that are read; the first one after them. */
static size_t foresee_bodies(const struct gather *g, const struct candidates *c, size_t from)
{
	struct backend_ask_body list[2][AHEAD];
	size_t n[2] = {0}, i = from;
	uint64_t bytes = 0;

	for (; i < c->n && i < from + AHEAD && bytes < AHEAD_BYTES; i++) {
		int side = c->list[i].side;
		bytes += c->list[i].size;
		list[side][n[side]++] = ask_of(&c->list[i]);
	}
	for (int k = 0; k < 2; k++)
		backend_foresee(g->b[k],
				&(struct backend_ask){.bodies = list[k], .n_bodies = n[k]});
	return i;
}

static int read_heads(const struct gather *g, struct candidates *c)
{
	size_t foreseen = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < c->n; i++) {
		if (i == foreseen)
			foreseen = foresee_bodies(g, c, i);
		progress_tell(g->progress, PROGRESS_READING, i, c->n);
		err = read_alike(g, &c->list[i], false);
	}
	return err;
}

/* With its digest: from now on that tells its bytes from those of its like. */
static int read_whole(const struct gather *g, struct candidates *c)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < c->n; i++) {
		progress_tell(g->progress, PROGRESS_READING, i, c->n);
		err = make_digest(g, &c->list[i]);
		if (err >= 0 && digest_known(&c->list[i].copy->digest))
			err = read_alike(g, &c->list[i], true);
	}
	return err;
}

int gather_alike(struct gather *g)
{
	struct candidates c = {0};
	int err;

	if (g->in.keep_twins || (g->in.scope && g->in.scope->mirror))
		return 0;
	for (int i = 0; i < 2; i++)
		find_candidates(g, i, &c);
	keep_runs(&c, by_digest, some_are_left);
	keep_runs(&c, by_mailbox, on_both_sides);
	err = read_heads(g, &c);
	if (err >= 0) {
		keep_runs(&c, by_head, same_header);
		err = read_whole(g, &c);
	}
	free(c.list);
	return err;
}
