/* Directory renames in an order that a file system takes, to the end, on random trees. */
#include "backends/base/mem.h"
#include "backends/mail/places.h"
#include "tests/support/random.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define MOST 12
#define PATH 128

struct world {
	size_t n;
	bool nested;
	char dir[MOST][PATH], wanted[MOST][PATH];
	bool scope[MOST], first[MOST], was_home[MOST];
	size_t moves;
};

static const char *rest_of(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && path[n] == '/' ? path + n : NULL;
}

static bool is_home(const struct world *w, size_t i)
{
	return *w->wanted[i] && strcmp(w->dir[i], w->wanted[i]) == 0;
}

static bool is_aside(const struct world *w, size_t i)
{
	char own[PATH];

	snprintf(own, sizeof(own), ".aside-%zu", i);
	return strcmp(w->dir[i], own) == 0;
}

/* What rename(2) refuses is a failure here. */
static void rename_dir(struct world *w, size_t i, const char *to)
{
	char from[PATH], path[2 * PATH];

	snprintf(from, sizeof(from), "%s", w->dir[i]);
	for (size_t k = 0; k < w->n; k++) {
		assert_string_not_equal(w->dir[k], to);
		if (w->nested)
			assert_null(rest_of(w->dir[k], to));
	}
	if (w->nested) {
		assert_null(rest_of(to, from));
		assert_null(rest_of(from, to));
	}
	for (size_t k = 0; k < w->n; k++) {
		const char *rest = w->nested ? rest_of(w->dir[k], from) : NULL;

		if (k != i && !rest)
			continue;
		snprintf(path, sizeof(path), "%s%s", to, rest ? rest : "");
		snprintf(w->dir[k], sizeof(w->dir[k]), "%.127s", path);
	}
	w->moves++;
}

static bool next(const struct world *w, struct place_move *ret)
{
	struct place_box b[MOST];

	for (size_t i = 0; i < w->n; i++)
		b[i] = (struct place_box){.dir = w->dir[i],
					  .wanted = *w->wanted[i] ? w->wanted[i] : NULL,
					  .home = is_home(w, i),
					  .scope = *w->wanted[i] && (w->scope[i] || is_aside(w, i)),
					  .first = w->first[i],
					  .aside = is_aside(w, i)};
	return places_next(b, w->n, w->nested, ret);
}

static void run(struct world *w)
{
	struct place_move move;
	char aside[PATH];

	for (size_t i = 0; i < w->n; i++)
		w->was_home[i] = is_home(w, i);
	while (next(w, &move)) {
		snprintf(aside, sizeof(aside), ".aside-%zu", move.box);
		rename_dir(w, move.box, move.aside ? aside : w->wanted[move.box]);
		assert_true(w->moves <= 4 * w->n);
	}
}

static bool has_rival(const struct world *w, size_t i)
{
	for (size_t k = 0; k < w->n; k++)
		if (k != i && strcmp(w->wanted[k], w->wanted[i]) == 0 && is_home(w, k))
			return true;
	return false;
}

static bool is_in_one_that_waits(const struct world *w, size_t i)
{
	for (size_t k = 0; k < w->n; k++)
		if (rest_of(w->dir[i], w->dir[k]) && !is_home(w, k))
			return true;
	return false;
}

/* Home are those that are to be, but for who has a rival there; and who was before. */
static bool is_done(const struct world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		bool meant = w->was_home[i] || w->scope[i];

		if (w->first[i] && !is_home(w, i))
			return false;
		if (meant && *w->wanted[i] && !is_home(w, i) && !has_rival(w, i) &&
		    !(w->nested && is_in_one_that_waits(w, i)))
			return false;
	}
	return true;
}

static void random_path(struct prng *p, char *ret)
{
	size_t n = 1 + prng_below(p, 4), len = 0;

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(ret + len, PATH - len, "%s%c", i ? "/" : "",
					(char)('a' + prng_below(p, 2 + (i > 0))));
}

static bool is_taken(const struct world *w, size_t n, const char *dir)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(w->dir[i], dir) == 0)
			return true;
	return false;
}

static void random_world(struct prng *p, struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->nested = prng_below(p, 4) > 0;
	w->n = 1 + prng_below(p, MOST);
	for (size_t i = 0; i < w->n; i++) {
		do
			random_path(p, w->dir[i]);
		while (is_taken(w, i, w->dir[i]));
		w->scope[i] = prng_below(p, 3) > 0;
		if (prng_below(p, 3) == 0)
			memcpy(w->wanted[i], w->dir[i], PATH);
		else if (prng_below(p, 12) > 0)
			random_path(p, w->wanted[i]);
	}
	w->first[0] = *w->wanted[0] && prng_below(p, 2) == 0;
	w->scope[0] |= w->first[0];
}

static void dump(const struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		print_error("%zu %s -> %s%s%s%s\n", i, w->dir[i], w->wanted[i],
			    w->scope[i] ? " scope" : "", w->first[i] ? " first" : "",
			    w->nested ? " nested" : "");
}

static void random_trees(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40000; seed++) {
		struct prng p = {seed};
		struct world w, before;

		random_world(&p, &w);
		before = w;
		run(&w);
		if (is_done(&w))
			continue;
		dump(&before);
		dump(&w);
		fail_msg("seed %" PRIu64, seed);
	}
}

/* ---- Single cases ----------------------------------------------------------------------------- */

static struct world world_of(size_t n, const char *const (*v)[2])
{
	struct world w = {.n = n, .nested = true};

	for (size_t i = 0; i < n; i++) {
		snprintf(w.dir[i], PATH, "%s", v[i][0]);
		snprintf(w.wanted[i], PATH, "%s", v[i][1]);
		w.scope[i] = true;
	}
	return w;
}

static void moves_of(size_t n, const char *const (*v)[2], size_t moves)
{
	struct world w = world_of(n, v);

	run(&w);
	assert_true(is_done(&w));
	assert_int_equal(w.moves, moves);
}

static void as_few_as_can_be(void **state)
{
	(void)state;
	moves_of(1, (const char *const[][2]){{"a", "a"}}, 0);
	moves_of(3, (const char *const[][2]){{"a", "b"}, {"a/x", "b/x"}, {"a/x/y", "b/x/y"}}, 1);
	moves_of(2, (const char *const[][2]){{"a", "b"}, {"b", "c"}}, 2);
	moves_of(2, (const char *const[][2]){{"a", "b"}, {"b", "a"}}, 3);
	moves_of(1, (const char *const[][2]){{"a/x", "a"}}, 2); /* its parent's name */
	moves_of(1, (const char *const[][2]){{"a", "a/x"}}, 2); /* below itself */
	moves_of(2, (const char *const[][2]){{"b", "a"}, {"a/x", "a/x"}}, 3); /* in its place */
	moves_of(2, (const char *const[][2]){{"a/x", "a"}, {"a/y", "a/y"}}, 4);
	moves_of(2, (const char *const[][2]){{"a", "b"}, {"a/x", "a/x"}}, 3); /* stays behind */
}

static void who_is_there_stays_unless_another_is_first(void **state)
{
	struct world w = world_of(2, (const char *const[][2]){{"a", "b"}, {"b", "b"}});

	(void)state;
	run(&w);
	assert_int_equal(w.moves, 0);
	w.first[0] = true;
	run(&w);
	assert_true(is_home(&w, 0));
	assert_true(is_aside(&w, 1));
	snprintf(w.wanted[1], PATH, "c");
	run(&w);
	assert_true(is_home(&w, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_few_as_can_be),
		cmocka_unit_test(who_is_there_stays_unless_another_is_first),
		cmocka_unit_test(random_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
