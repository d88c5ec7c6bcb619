/* places.c - see places.h. */
#include "backends/mail/places.h"
#include "backends/base/mem.h"
#include <stdlib.h>
#include <string.h>

#define NOBODY ((size_t)-1)

enum { DIR, WANTED };

struct entry {
	const char *path;
	size_t box;
};

/* Paths in an order in which what is beneath one follows it at once. */
struct sorted {
	struct entry *v; /* owned */
	size_t n;
};

struct state {
	const char *wanted; /* NULL: none; of one at home its directory */
	size_t above;	    /* the nearest one whose directory it is in, or NOBODY */
	bool home;
	bool waits; /* its place is another's: it is not brought there */
	bool goes;  /* is to be moved */
};

struct places {
	const struct place_box *b;
	size_t n;
	bool nested;
	struct state *st; /* owned */
	struct sorted by[2];
	size_t *queue; /* owned; those that go */
	size_t n_queue;
};

/* ---- Paths ------------------------------------------------------------------------------------ */

static int rank(char c)
{
	return !c ? 0 : c == '/' ? 1 : (unsigned char)c + 2;
}

static int path_compare(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return rank(*a) - rank(*b);
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = path_compare(x->path, y->path);

	return order ? order : (x->box > y->box) - (x->box < y->box);
}

/* "/…" when path is in top, else NULL. */
static const char *beneath(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && path[n] == '/' ? path + n : NULL;
}

/* The first that is not before `path`; with `in` the first that is beneath it. */
static size_t seek(const struct sorted *s, const char *path, bool in)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = path_compare(s->v[mid].path, path);

		if (order < 0 || (in && order == 0))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t depth(const char *path)
{
	size_t n = 0;

	while ((path = strchr(path, '/')))
		path++, n++;
	return n;
}

/* ---- What is so ------------------------------------------------------------------------------- */

static void sort_paths(struct places *p, int which)
{
	struct sorted *s = &p->by[which];

	s->v = mb_xcalloc(p->n + 1, sizeof(*s->v));
	for (size_t i = 0; i < p->n; i++) {
		const char *path = which == DIR ? p->b[i].dir : p->st[i].wanted;

		if (path)
			s->v[s->n++] = (struct entry){path, i};
	}
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), entry_compare);
}

static void find_above(struct places *p)
{
	size_t at = NOBODY;

	for (size_t i = 0; i < p->n; i++) {
		size_t box = p->by[DIR].v[i].box;

		while (at != NOBODY && !beneath(p->b[box].dir, p->b[at].dir))
			at = p->st[at].above;
		p->st[box].above = p->nested ? at : NOBODY;
		at = p->nested ? box : NOBODY;
	}
}

/* It is right where it is in the one above it: it goes along with that one. */
static bool belongs(const struct places *p, size_t i)
{
	size_t top = p->st[i].above;
	const char *own, *in;

	if (top == NOBODY || !p->st[i].wanted || !p->st[top].wanted)
		return false;
	own = beneath(p->b[i].dir, p->b[top].dir);
	in = beneath(p->st[i].wanted, p->st[top].wanted);
	return own && in && strcmp(own, in) == 0;
}

/* Of those that want one place: is there another, at home, or with the right to be? */
static bool has_rival(const struct places *p, size_t i)
{
	const struct sorted *s = &p->by[WANTED];
	const char *path = p->st[i].wanted;

	for (size_t k = seek(s, path, false); k < s->n && strcmp(s->v[k].path, path) == 0; k++) {
		size_t other = s->v[k].box;

		if (other != i && (p->b[other].first || (!p->b[i].first && p->st[other].home)))
			return true;
	}
	return false;
}

static void find_who_waits(struct places *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->st[i].wanted && !p->b[i].first)
			p->st[i].waits = has_rival(p, i);
	for (size_t k = 0; k < p->n; k++) {
		size_t i = p->by[DIR].v[k].box, top = p->st[i].above;

		/* they wait together */
		if (top != NOBODY && p->st[top].waits && !p->b[i].scope && belongs(p, i))
			p->st[i].waits = true;
	}
	for (size_t i = 0; i < p->n; i++)
		p->st[i].home = p->st[i].home && !p->st[i].waits;
}

/* ---- Who has to go ---------------------------------------------------------------------------- */

static void add(struct places *p, size_t i)
{
	if (p->st[i].goes)
		return;
	p->st[i].goes = true;
	p->queue[p->n_queue++] = i;
}

static const char *target(const struct places *p, size_t i)
{
	return p->st[i].waits ? NULL : p->st[i].wanted;
}

static void add_who_is_there(struct places *p, size_t i)
{
	const struct sorted *s = &p->by[DIR];
	const char *path = target(p, i), *dir = p->b[i].dir;
	size_t k = path ? seek(s, path, false) : s->n;

	if (k < s->n && strcmp(s->v[k].path, path) == 0) {
		if (s->v[k].box != i)
			add(p, s->v[k].box);
		k++;
	}
	for (; p->nested && k < s->n && beneath(s->v[k].path, path); k++) {
		size_t x = s->v[k].box, top = p->st[x].above;
		bool along = belongs(p, x) &&
			     (strcmp(p->b[top].dir, path) == 0 || beneath(p->b[top].dir, path));

		if (x != i && !beneath(p->b[x].dir, dir) && !along)
			add(p, x);
	}
}

/* At home, and in one that goes elsewhere. */
static void add_who_stays(struct places *p, size_t i)
{
	const struct sorted *s = &p->by[DIR];
	const char *dir = p->b[i].dir;

	for (size_t k = seek(s, dir, true); p->nested && k < s->n && beneath(s->v[k].path, dir);
	     k++) {
		size_t x = s->v[k].box;

		if (p->st[x].home && !belongs(p, x))
			add(p, x);
	}
}

static void find_who_goes(struct places *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->b[i].scope && target(p, i) && !p->st[i].home)
			add(p, i);
	for (size_t k = 0; k < p->n_queue; k++) {
		add_who_is_there(p, p->queue[k]);
		add_who_stays(p, p->queue[k]);
	}
}

/* ---- The next one ----------------------------------------------------------------------------- */

/* Is anybody that goes at `path`, or to be there? */
static bool is_restless(const struct places *p, const char *path, size_t but)
{
	for (int which = DIR; which <= WANTED; which++) {
		const struct sorted *s = &p->by[which];

		for (size_t k = seek(s, path, false); k < s->n && strcmp(s->v[k].path, path) == 0;
		     k++) {
			size_t x = s->v[k].box;

			if (x != but && p->st[x].goes && (which == DIR || !p->st[x].waits))
				return true;
		}
	}
	return false;
}

static bool waits_for_parents(const struct places *p, size_t i)
{
	MB_AUTO_FREE char *path = mb_xstrdup(p->st[i].wanted);
	char *slash;

	while ((slash = strrchr(path, '/'))) {
		*slash = '\0';
		if (is_restless(p, path, i))
			return true;
	}
	return false;
}

/* Would it take somebody along who is at home? */
static bool takes_along(const struct places *p, size_t i)
{
	const struct sorted *s = &p->by[DIR];
	const char *dir = p->b[i].dir;

	for (size_t k = seek(s, dir, true); k < s->n && beneath(s->v[k].path, dir); k++)
		if (p->st[s->v[k].box].home)
			return true;
	return false;
}

static bool can_go_home(const struct places *p, size_t i)
{
	const struct sorted *s = &p->by[DIR];
	const char *path = target(p, i), *dir = p->b[i].dir;
	size_t k;

	if (!path || p->st[i].home)
		return false;
	k = seek(s, path, false);
	if (k < s->n && strcmp(s->v[k].path, path) == 0)
		return s->v[k].box == i; /* where it is already, spelled so */
	if (!p->nested)
		return true;
	return !beneath(path, dir) && !beneath(dir, path) &&
	       (k == s->n || !beneath(s->v[k].path, path)) && !takes_along(p, i) &&
	       !waits_for_parents(p, i);
}

/* Those that are only in the way first, and of them those that are in others. */
static bool goes_aside_first(const struct places *p, size_t a, size_t b)
{
	bool own_a = p->b[a].scope && target(p, a), own_b = p->b[b].scope && target(p, b);

	return own_a != own_b ? own_b : depth(p->b[a].dir) > depth(p->b[b].dir);
}

static bool choose(const struct places *p, struct place_move *ret)
{
	size_t best = NOBODY;

	for (size_t k = 0; k < p->n_queue; k++)
		if (can_go_home(p, p->queue[k])) {
			*ret = (struct place_move){.box = p->queue[k]};
			return true;
		}
	for (size_t k = 0; k < p->n_queue; k++) {
		size_t i = p->queue[k];

		if (!p->b[i].aside && (best == NOBODY || goes_aside_first(p, i, best)))
			best = i;
	}
	*ret = (struct place_move){.box = best, .aside = true};
	return best != NOBODY;
}

bool places_next(const struct place_box *boxes, size_t n, bool nested, struct place_move *ret)
{
	struct places p = {.b = boxes, .n = n, .nested = nested};
	struct place_move move;
	bool any;

	p.st = mb_xcalloc(n + 1, sizeof(*p.st));
	p.queue = mb_xcalloc(n + 1, sizeof(*p.queue));
	for (size_t i = 0; i < n; i++) {
		p.st[i].home = boxes[i].home;
		p.st[i].wanted = boxes[i].home ? boxes[i].dir : boxes[i].wanted;
	}
	sort_paths(&p, DIR);
	sort_paths(&p, WANTED);
	find_above(&p);
	find_who_waits(&p);
	find_who_goes(&p);
	any = choose(&p, &move);
	if (any)
		*ret = move;
	free(p.st);
	free(p.queue);
	free(p.by[DIR].v);
	free(p.by[WANTED].v);
	return any;
}
