/*
 * test-histories.c - random histories of two and three replicas.
 *
 * A history is a list of operations of users, and of syncs, some of them cut.  What an operation does
 * is told by three numbers and by what is there; one that cannot be done is left out.  At the end all
 * replicas sync until they are quiet, and the oracle judges.  Clocks are off by up to an hour.
 *
 *	MAILBRAID_HISTORIES=N   so many of each kind, instead of 1000
 *	MAILBRAID_FIRST=N       from this seed on, instead of 1
 *	MAILBRAID_SEED=N        only that one, told aloud
 *
 * A history that fails is made as short as it can be, and printed.
 */
#include "backends/base/mem.h"
#include "tests/support/history.h"
#include "tests/support/link.h"
#include "tests/support/ops.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define REPLICAS_MAX 3
#define OPS_MAX 60
#define HISTORIES 1000

static const struct op_weight kinds[OP_KINDS] = {
	[OP_DELIVER] = {"deliver", 12},	   [OP_FLAG] = {"flag", 8},
	[OP_KEYWORD] = {"keyword", 2},	   [OP_MOVE] = {"move", 8},
	[OP_COPY] = {"copy", 3},	   [OP_EXPUNGE] = {"expunge", 5},
	[OP_RESTORE] = {"restore", 2},	   [OP_EDIT] = {"edit", 3},
	[OP_CREATE] = {"create", 5},	   [OP_RENAME] = {"rename", 4},
	[OP_REPARENT] = {"reparent", 3},   [OP_DELETE] = {"delete", 3},
	[OP_SUBSCRIBE] = {"subscribe", 1}, [OP_SYNC] = {"sync", 9},
	[OP_CUT] = {"cut sync", 2},
};

struct history {
	uint64_t seed;
	size_t n_replicas;
	struct op ops[OPS_MAX];
	size_t n;
};

struct run {
	const struct history *h;
	struct backend *b[REPLICAS_MAX];
	int64_t skew_ns[REPLICAS_MAX];
	struct link links[REPLICAS_MAX]; /* of the pairs 0-1, 0-2, 1-2 */
	struct oracle oracle;
	int64_t now_ns;
	bool aloud;
};

/* ---- making one ---- */

static void make_history(struct history *h, uint64_t seed, size_t n_replicas)
{
	struct prng p = {seed * 2654435761u + n_replicas};
	h->seed = seed;
	h->n_replicas = n_replicas;
	h->n = 5 + prng_below(&p, OPS_MAX - 5);
	for (size_t i = 0; i < h->n; i++)
		h->ops[i] = op_random(&p, kinds, OP_KINDS, n_replicas);
}

static size_t n_links(const struct run *r)
{
	return r->h->n_replicas == 2 ? 1 : 3;
}

static const char *check_sides(void *arg, size_t link)
{
	struct run *r = arg;
	const struct link *l = &r->links[link];
	const char *wrong = oracle_check_order(&r->oracle, l->b[0]);
	if (!wrong)
		wrong = oracle_check_order(&r->oracle, l->b[1]);
	return wrong;
}

static const char *do_sync(struct run *r, const struct op *op)
{
	size_t link = op->x % n_links(r);
	struct link *l = &r->links[link];
	l->full = op->y % 8 == 0;
	l->cut = op->kind == OP_CUT ? 1 + op->z % 12u : 0;
	const char *wrong = link_sync(l);
	if (!wrong && !link_is_cut(l))
		wrong = check_sides(r, link);
	if (!wrong && !link_is_cut(l) && r->h->n_replicas == 2)
		wrong = link_compare(l->b[0], l->b[1]);
	return wrong;
}

static void set_clock(struct run *r, size_t who)
{
	history_clock(r->now_ns + r->skew_ns[who]);
}

static void print_subject(const struct run *r, struct backend *b, const struct guid *g)
{
	const struct message *msg = r->aloud ? memory_find(b, g) : NULL;
	char guid[GUID_TEXT];
	for (size_t i = 0; msg && i < msg->n; i++) {
		const struct copy *c = &msg->copies[i];
		printf("    %.8s uid=%u alive=%d flags=%x base=%s\n", guid_text(g, guid),
		       c->place.uid, copy_alive(c), c->flags.set, c->place.base);
	}
}

static const char *do_op(struct run *r, const struct op *op)
{
	struct backend *b = r->b[op->who];
	struct guid g = GUID_ZERO;
	r->now_ns += (op->z % 3) * INT64_C(1000000);
	set_clock(r, op->who);
	if (r->aloud)
		printf("  %s by %u: %u %u %u\n", kinds[op->kind].name, op->who, op->x, op->y,
		       op->z);
	if (op->kind == OP_SYNC || op->kind == OP_CUT)
		return do_sync(r, op);
	op_do(&r->oracle, b, op, &g);
	print_subject(r, b, &g);
	return NULL;
}

/* ---- a whole history ---- */

static void run_open(struct run *r, const struct history *h, bool aloud)
{
	static const size_t pairs[REPLICAS_MAX][2] = {{0, 1}, {0, 2}, {1, 2}};
	struct prng p = {h->seed};
	*r = (struct run){.h = h, .aloud = aloud, .now_ns = INT64_C(1700000000000000000)};
	r->oracle.all = r->b;
	r->oracle.n_all = h->n_replicas;
	for (size_t i = 0; i < h->n_replicas; i++) {
		r->skew_ns[i] = (int64_t)prng_below(&p, 3) * INT64_C(3600000000000);
		set_clock(r, i);
		r->b[i] = backend_open_memory(h->seed * 8 + i + 1);
	}
	for (size_t i = 0; i < n_links(r); i++) {
		r->links[i].b[0] = r->b[pairs[i][0]];
		r->links[i].b[1] = r->b[pairs[i][1]];
		r->links[i].keep_twins = h->seed % 4 == 0;
		r->links[i].aloud = aloud;
	}
}

static void run_close(struct run *r)
{
	for (size_t i = 0; i < r->h->n_replicas; i++)
		backend_close(r->b[i]);
	oracle_release(&r->oracle);
}

static const char *judge(struct run *r)
{
	const char *wrong = link_sync_all(r->links, n_links(r), check_sides, r);
	for (size_t i = 1; !wrong && i < r->h->n_replicas; i++)
		wrong = link_compare(r->b[0], r->b[i]);
	for (size_t i = 0; !wrong && i < n_links(r); i++) {
		r->links[i].full = true;
		wrong = link_sync(&r->links[i]);
		if (!wrong && r->links[i].n_items[0] + r->links[i].n_items[1])
			wrong = "a full comparison finds what the news did not tell";
	}
	for (size_t i = 0; !wrong && i < r->h->n_replicas; i++)
		wrong = oracle_check_mail(&r->oracle, r->b[i]);
	return wrong;
}

static const char *run_history(const void *history, bool aloud)
{
	const struct history *h = history;
	struct run r;
	const char *wrong = NULL;
	run_open(&r, h, aloud);
	for (size_t i = 0; !wrong && i < h->n; i++)
		wrong = do_op(&r, &h->ops[i]);
	if (!wrong)
		wrong = judge(&r);
	run_close(&r);
	return wrong;
}

/* ---- many ---- */

static void check_seed(uint64_t seed, bool aloud, const void *arg)
{
	const size_t *n_replicas = arg;
	struct history h;
	const struct history_view v = {&h, h.ops, sizeof(h.ops[0]), &h.n, run_history};
	char name[80];
	make_history(&h, seed, *n_replicas);
	snprintf(name, sizeof(name), "seed %lu, %zu replicas", (unsigned long)seed, *n_replicas);
	history_check(&v, name, aloud);
}

static void check_many(size_t n_replicas)
{
	history_seeds("MAILBRAID_HISTORIES", HISTORIES, check_seed, &n_replicas);
}

static void two_replicas(void **state)
{
	check_many(2);
}

static void three_replicas(void **state)
{
	check_many(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_replicas),
		cmocka_unit_test(three_replicas),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
