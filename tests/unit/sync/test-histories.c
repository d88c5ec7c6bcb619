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
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "tests/support/link.h"
#include "tests/support/oracle.h"
#include "tests/support/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define REPLICAS_MAX 3
#define OPS_MAX 60
#define HISTORIES 1000

enum op_kind {
	OP_DELIVER,
	OP_FLAG,
	OP_KEYWORD,
	OP_MOVE,
	OP_COPY,
	OP_EXPUNGE,
	OP_RESTORE,
	OP_EDIT,
	OP_CREATE,
	OP_RENAME,
	OP_REPARENT,
	OP_DELETE,
	OP_SUBSCRIBE,
	OP_SYNC,
	OP_CUT,
	OP_KINDS,
};
static const struct {
	const char *name;
	unsigned weight;
} kinds[OP_KINDS] = {
	[OP_DELIVER] = {"deliver", 12},	   [OP_FLAG] = {"flag", 8},
	[OP_KEYWORD] = {"keyword", 2},	   [OP_MOVE] = {"move", 8},
	[OP_COPY] = {"copy", 3},	   [OP_EXPUNGE] = {"expunge", 5},
	[OP_RESTORE] = {"restore", 2},	   [OP_EDIT] = {"edit", 3},
	[OP_CREATE] = {"create", 5},	   [OP_RENAME] = {"rename", 4},
	[OP_REPARENT] = {"reparent", 3},   [OP_DELETE] = {"delete", 3},
	[OP_SUBSCRIBE] = {"subscribe", 1}, [OP_SYNC] = {"sync", 9},
	[OP_CUT] = {"cut sync", 2},
};

struct op {
	enum op_kind kind;
	uint8_t who;
	uint16_t x, y, z;
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

static enum op_kind random_kind(struct prng *p)
{
	unsigned sum = 0, pick;
	for (unsigned k = 0; k < OP_KINDS; k++)
		sum += kinds[k].weight;
	pick = (unsigned)prng_below(p, sum);
	unsigned k = 0;
	while (pick >= kinds[k].weight)
		pick -= kinds[k++].weight;
	return (enum op_kind)k;
}

static void make_history(struct history *h, uint64_t seed, size_t n_replicas)
{
	struct prng p = {seed * 2654435761u + n_replicas};
	h->seed = seed;
	h->n_replicas = n_replicas;
	h->n = 5 + prng_below(&p, OPS_MAX - 5);
	for (size_t i = 0; i < h->n; i++)
		h->ops[i] = (struct op){
			.kind = random_kind(&p),
			.who = (uint8_t)prng_below(&p, n_replicas),
			.x = (uint16_t)prng_next(&p),
			.y = (uint16_t)prng_next(&p),
			.z = (uint16_t)prng_next(&p),
		};
}

/* ---- what is there ---- */

static bool pick_mailbox(struct backend *b, unsigned n, struct guid *ret)
{
	const struct tree *t = memory_tree(b);
	size_t live = 0;
	for (size_t i = 0; i < t->n; i++)
		live += mailbox_alive(&t->nodes[i]);
	size_t nth = n % live;
	for (size_t i = 0; i < t->n; i++)
		if (mailbox_alive(&t->nodes[i]) && nth-- == 0)
			*ret = t->nodes[i].guid;
	return true;
}

static const struct copy *pick_copy(struct backend *b, unsigned n, bool alive)
{
	size_t count = 0;
	for (int pass = 0; pass < 2; pass++) {
		size_t nth = count ? n % count : 0;
		for (size_t i = 0; i < memory_n_messages(b); i++) {
			const struct message *msg = memory_message(b, i);
			for (size_t k = 0; k < msg->n; k++) {
				if (copy_alive(&msg->copies[k]) != alive)
					continue;
				if (pass == 0)
					count++;
				else if (nth-- == 0)
					return &msg->copies[k];
			}
		}
	}
	return NULL;
}

/* ---- operations ---- */

static int do_message(struct run *r, struct backend *b, const struct op *op, struct guid *ret)
{
	const struct copy *c = pick_copy(b, op->x, op->kind != OP_RESTORE);
	struct guid box, new;
	uint64_t id;
	char body[32];
	if (!c)
		return -1;
	*ret = c->guid;
	struct guid g = c->guid;
	pick_mailbox(b, op->y, &box);
	switch (op->kind) {
	case OP_FLAG:
		return memory_flags(b, &g, c->id, op->z & FLAG_ALL, (op->z >> 8) & FLAG_ALL);
	case OP_KEYWORD:
		return memory_keyword(b, &g, c->id, op->z & 1 ? "work" : "Work", op->z & 2);
	case OP_MOVE:
		return memory_move(b, &g, c->id, &box);
	case OP_COPY:
		oracle_mixed(&r->oracle, &g);
		return memory_copy(b, &g, c->id, &box, &id);
	case OP_EXPUNGE:
		return memory_expunge(b, &g, c->id);
	case OP_RESTORE:
		return memory_restore(b, &g, c->id);
	default:
		snprintf(body, sizeof(body), "edited %u", op->z);
		if (memory_edit(b, &g, c->id, body, strlen(body), &new) < 0)
			return -1;
		oracle_note(&r->oracle, b, &new);
		oracle_mixed(&r->oracle, &new);
		return 0;
	}
}

static int do_deliver(struct backend *b, const struct op *op, struct guid *ret)
{
	struct guid box;
	char body[32];
	bool twin = op->y % 4 == 0; /* a content that others deliver too */
	pick_mailbox(b, op->x, &box);
	snprintf(body, sizeof(body), "body %u", twin ? op->z % 3 : 3u + op->z);
	return memory_deliver(b, &box, body, strlen(body), op->y & FLAG_MASK(FLAG_SEEN), ret);
}

static int reparent(struct backend *b, const struct guid *box, const struct guid *parent)
{
	MB_AUTO_FREE char *part = mb_xstrdup(tree_find(memory_tree(b), box)->part);
	return memory_rename(b, box, parent, part);
}

static int do_mailbox(struct backend *b, const struct op *op)
{
	static const char *const parts[] = {"F", "G", "H", "f"};
	struct guid box, parent = GUID_ZERO, new;
	const char *part = parts[op->z % 4];
	pick_mailbox(b, op->x, &box);
	if (op->y % 3)
		pick_mailbox(b, op->y, &parent);
	if (guid_equal(&parent, &GUID_INBOX))
		parent = GUID_ZERO;
	switch (op->kind) {
	case OP_CREATE:
		return memory_create(b, &parent, part, &new);
	case OP_RENAME:
		parent = tree_find(memory_tree(b), &box)->parent;
		parent = tree_resolve(memory_tree(b), parent);
		return memory_rename(b, &box, &parent, part);
	case OP_REPARENT:
		return reparent(b, &box, &parent);
	case OP_DELETE:
		return memory_delete(b, &box);
	default:
		return memory_subscribe(b, &box, op->z & 1);
	}
}

/* A delete is an expunge of what was there. */
static void note_all(struct run *r, struct backend *b)
{
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		struct guid g = memory_message(b, i)->guid;
		oracle_note(&r->oracle, b, &g);
	}
}

static size_t n_links(const struct run *r)
{
	return r->h->n_replicas == 2 ? 1 : 3;
}

static const char *check_sides(struct run *r, const struct link *l)
{
	const char *wrong = oracle_check_order(&r->oracle, l->b[0]);
	if (!wrong)
		wrong = oracle_check_order(&r->oracle, l->b[1]);
	return wrong;
}

static const char *do_sync(struct run *r, const struct op *op)
{
	struct link *l = &r->links[op->x % n_links(r)];
	l->full = op->y % 8 == 0;
	l->cut = op->kind == OP_CUT ? 1 + op->z % 12u : 0;
	const char *wrong = link_sync(l);
	if (!wrong && !link_is_cut(l))
		wrong = check_sides(r, l);
	if (!wrong && !link_is_cut(l) && r->h->n_replicas == 2)
		wrong = link_compare(l->b[0], l->b[1]);
	return wrong;
}

static void set_clock(struct run *r, size_t who)
{
	int64_t at = r->now_ns + r->skew_ns[who];
	clock_set_offset_ns(0);
	clock_set_offset_ns(at + 500000 - clock_wall_ns());
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
	int done;
	r->now_ns += (op->z % 3) * INT64_C(1000000);
	set_clock(r, op->who);
	if (r->aloud)
		printf("  %s by %u: %u %u %u\n", kinds[op->kind].name, op->who, op->x, op->y,
		       op->z);
	if (op->kind == OP_SYNC || op->kind == OP_CUT)
		return do_sync(r, op);
	if (op->kind == OP_DELIVER)
		done = do_deliver(b, op, &g);
	else if (op->kind <= OP_EDIT)
		done = do_message(r, b, op, &g);
	else
		done = do_mailbox(b, op);
	print_subject(r, b, &g);
	if (done == 0 && op->kind <= OP_EDIT)
		oracle_note(&r->oracle, b, &g);
	if (done == 0 && op->kind == OP_DELETE)
		note_all(r, b);
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

/* Everybody with everybody, until nobody has anything to put. */
static const char *sync_all(struct run *r)
{
	for (int round = 0; round < 8; round++) {
		size_t items = 0;
		for (size_t i = 0; i < n_links(r); i++) {
			struct link *l = &r->links[i];
			l->cut = 0;
			l->full = round == 7;
			const char *wrong = link_sync(l);
			if (!wrong)
				wrong = check_sides(r, l);
			if (wrong)
				return wrong;
			items += l->n_items[0] + l->n_items[1];
		}
		if (!items)
			return NULL;
	}
	return "the replicas never come to rest";
}

static const char *judge(struct run *r)
{
	const char *wrong = sync_all(r);
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

static const char *run_history(const struct history *h, bool aloud)
{
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

static struct history without(const struct history *h, size_t i)
{
	struct history s = *h;
	s.n--;
	memmove(s.ops + i, s.ops + i + 1, (s.n - i) * sizeof(s.ops[0]));
	return s;
}

/* Leaves operations out as long as it fails with the same sentence. */
static void shrink(struct history *h, const char *wrong)
{
	bool shorter;
	do {
		shorter = false;
		for (size_t i = h->n; i-- > 0;) {
			struct history s = without(h, i);
			const char *now = run_history(&s, false);
			if (!now || strcmp(now, wrong) != 0)
				continue;
			*h = s;
			shorter = true;
		}
	} while (shorter);
}

static void check_seed(uint64_t seed, size_t n_replicas, bool aloud)
{
	struct history h;
	make_history(&h, seed, n_replicas);
	const char *wrong = run_history(&h, aloud);
	if (!wrong)
		return;
	shrink(&h, wrong);
	printf("seed %lu, %zu replicas: %s\n", (unsigned long)seed, n_replicas, wrong);
	run_history(&h, true);
	fail_msg("seed %lu, %zu replicas: %s", (unsigned long)seed, n_replicas, wrong);
}

static void check_many(size_t n_replicas)
{
	const char *one = getenv("MAILBRAID_SEED"), *many = getenv("MAILBRAID_HISTORIES");
	const char *first = getenv("MAILBRAID_FIRST");
	if (one) {
		check_seed(strtoul(one, NULL, 10), n_replicas, true);
		return;
	}
	uint64_t n = many ? strtoul(many, NULL, 10) : HISTORIES;
	uint64_t start = first ? strtoul(first, NULL, 10) : 1;
	for (uint64_t seed = start; seed < start + n; seed++)
		check_seed(seed, n_replicas, false);
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
