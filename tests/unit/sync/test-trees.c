/*
 * test-trees.c - random trees of mailboxes on two and three replicas.
 *
 * A seed makes a tree of depth four that all replicas have, and a list of what users then do to it:
 * make, rename, move below another, swap, rotate, delete, delete with all below, delete and make
 * again, subscribe; with mail that is delivered, moved and expunged meanwhile; between them syncs of
 * any two, some of them cut.  Names come from a short list of nasty ones, so that they clash.  Some
 * replicas lie on file systems that fold case and normalise.
 *
 * After each sync (which link_sync() merges with the sides exchanged as well, and then again, to find
 * nothing to do) and at the end, when all have synced until they are quiet:
 *
 *   every live mailbox is reached from the top, no two have one name or one directory,
 *   a side is given nothing when the other did nothing,
 *   no mail is lost or back, no mailbox is gone that nobody deleted, subscriptions are the last set.
 *
 *	MAILBRAID_TREES=N   so many of each kind, instead of 1000
 *	MAILBRAID_FIRST=N   from this seed on, instead of 1
 *	MAILBRAID_SEED=N    only that one, told aloud
 *
 * One thing may wait until all are quiet: when a sync was cut between two mailboxes becoming one and
 * the news that the one lives, a third replica that knows it as deleted says so to mail in it.  A
 * store refuses to remove a mailbox with mail in it; these replicas in memory do as they are told.
 *
 * A history that fails is made as short as it can be, and printed.
 */
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "tests/support/box-facts.h"
#include "tests/support/history.h"
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
#define OPS_MAX 50
#define HISTORIES 1000

enum op_kind {
	OP_DELIVER,
	OP_MOVE,
	OP_EXPUNGE,
	OP_CREATE,
	OP_RENAME,
	OP_REPARENT,
	OP_SWAP,
	OP_ROTATE,
	OP_DELETE,
	OP_DELETE_ALL,
	OP_RECREATE,
	OP_SUBSCRIBE,
	OP_SYNC,
	OP_CUT,
	OP_KINDS,
};
static const struct {
	const char *name;
	unsigned weight;
} kinds[OP_KINDS] = {
	[OP_DELIVER] = {"deliver", 8},	 [OP_MOVE] = {"move", 4},
	[OP_EXPUNGE] = {"expunge", 3},	 [OP_CREATE] = {"create", 6},
	[OP_RENAME] = {"rename", 8},	 [OP_REPARENT] = {"reparent", 8},
	[OP_SWAP] = {"swap", 4},	 [OP_ROTATE] = {"rotate", 3},
	[OP_DELETE] = {"delete", 4},	 [OP_DELETE_ALL] = {"delete all below", 2},
	[OP_RECREATE] = {"recreate", 3}, [OP_SUBSCRIBE] = {"subscribe", 3},
	[OP_SYNC] = {"sync", 8},	 [OP_CUT] = {"cut sync", 2},
};

/* Few, so that they meet; some differ in case, in how an accent is written, or only when escaped. */
static const char *const names[] = {
	"F",   "G",	 "f",	"INBOX", "inbox",  "caf\xc3\xa9", "cafe\xcc\x81", "CAFE\xcc\x81",
	"a.b", "a\\2eb", "a/b", "cur",	 "\\63ur", "~x",	  ".x",		  "dovecot.index",
	"x ",
};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

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
	bool folds[REPLICAS_MAX];
	int64_t skew_ns[REPLICAS_MAX];
	bool idle[REPLICAS_MAX];	 /* did nothing since the last whole sync; of two */
	struct link links[REPLICAS_MAX]; /* of the pairs 0-1, 0-2, 1-2 */
	struct oracle oracle;
	struct box_facts boxes;
	int64_t now_ns;
	bool was_cut;
	bool aloud;
};

static const size_t pairs[REPLICAS_MAX][2] = {{0, 1}, {0, 2}, {1, 2}};

static size_t n_links(const struct run *r)
{
	return r->h->n_replicas == 2 ? 1 : 3;
}

static void set_clock(struct run *r, size_t who)
{
	history_clock(r->now_ns + r->skew_ns[who]);
}

/* ---- what users did ---- */

/* A delete is an expunge of what was there. */
static void note_mail(struct run *r, struct backend *b)
{
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		struct guid g = memory_message(b, i)->guid;
		oracle_note(&r->oracle, b, &g);
	}
}

/* ---- operations: 0, or negative when they cannot be done ---- */

/* The nth live mailbox, INBOX too. */
static struct guid pick_box(struct backend *b, unsigned n)
{
	const struct tree *t = memory_tree(b);
	struct guid found = GUID_INBOX;
	size_t live = 0;
	for (size_t i = 0; i < t->n; i++)
		live += mailbox_alive(&t->nodes[i]);
	size_t nth = n % live;
	for (size_t i = 0; i < t->n; i++)
		if (mailbox_alive(&t->nodes[i]) && nth-- == 0)
			found = t->nodes[i].guid;
	return found;
}

/* INBOX stands for the top. */
static struct guid pick_parent(struct backend *b, unsigned n)
{
	struct guid g = n % 4 ? pick_box(b, n / 4) : GUID_ZERO;
	return guid_equal(&g, &GUID_INBOX) && n % 8 < 6 ? GUID_ZERO : g;
}

/* What the file system of this replica would refuse. */
static bool name_taken(const struct run *r, size_t who, struct guid parent, const char *part,
		       const struct guid *but)
{
	const struct tree *t = memory_tree(r->b[who]);
	for (size_t i = 0; r->folds[who] && i < t->n; i++) {
		const struct mailbox *box = &t->nodes[i];
		struct guid above = tree_resolve(t, box->parent);
		if (mailbox_alive(box) && guid_equal(&above, &parent) &&
		    !(but && guid_equal(but, &box->guid)) &&
		    mailbox_part_same(box->part, part, true))
			return true;
	}
	return false;
}

static int create(struct run *r, size_t who, struct guid parent, const char *part)
{
	struct guid new;
	if (name_taken(r, who, parent, part, NULL) ||
	    memory_create(r->b[who], &parent, part, &new) < 0)
		return -1;
	box_made(&r->boxes, &new);
	return 0;
}

static int rename_box(struct run *r, size_t who, struct guid box, struct guid parent,
		      const char *part)
{
	return name_taken(r, who, parent, part, &box)
		       ? -1
		       : memory_rename(r->b[who], &box, &parent, part);
}

struct spot {
	struct guid box, parent;
	char *part; /* owned */
};

static struct spot spot_of(struct backend *b, unsigned n)
{
	struct spot s = {.box = pick_box(b, n)};
	const struct mailbox *box = tree_find(memory_tree(b), &s.box);
	s.parent = tree_resolve(memory_tree(b), box->parent);
	s.part = mb_xstrdup(box->part);
	return s;
}

/* The first gets the name of the second, and so on round. */
static int rotate(struct run *r, size_t who, const struct op *op, size_t n)
{
	const unsigned picks[3] = {op->x, op->y, op->z};
	struct spot spots[3];
	int done = 0;
	for (size_t i = 0; i < n; i++)
		spots[i] = spot_of(r->b[who], picks[i]);
	if (rename_box(r, who, spots[0].box, GUID_ZERO, "aside") < 0)
		done = -1;
	for (size_t i = n; !done && i-- > 1;) {
		const struct spot *to = &spots[(i + 1) % n];
		rename_box(r, who, spots[i].box, to->parent, to->part);
	}
	if (!done)
		rename_box(r, who, spots[0].box, spots[1].parent, spots[1].part);
	for (size_t i = 0; i < n; i++)
		free(spots[i].part);
	return done;
}

static int delete (struct run *r, size_t who, struct guid box)
{
	if (memory_delete(r->b[who], &box) < 0)
		return -1;
	box_deleted(&r->boxes, &box);
	note_mail(r, r->b[who]);
	return 0;
}

static int delete_below(struct run *r, size_t who, struct guid box)
{
	const struct tree *t = memory_tree(r->b[who]);
	for (size_t i = 0; i < t->n; i++) {
		struct guid parent = tree_resolve(t, t->nodes[i].parent), g = t->nodes[i].guid;
		if (mailbox_alive(&t->nodes[i]) && guid_equal(&parent, &box))
			delete_below(r, who, g);
	}
	return delete (r, who, box);
}

static int recreate(struct run *r, size_t who, unsigned n)
{
	struct spot s = spot_of(r->b[who], n);
	int done = delete (r, who, s.box);
	if (done == 0)
		create(r, who, s.parent, s.part);
	free(s.part);
	return done;
}

static int subscribe(struct run *r, size_t who, struct guid box, bool on)
{
	struct backend *b = r->b[who];
	if (memory_subscribe(b, &box, on) < 0)
		return -1;
	box_subscribed(&r->boxes, b, &box);
	return 0;
}

static int do_mailbox(struct run *r, const struct op *op)
{
	struct backend *b = r->b[op->who];
	struct guid box = pick_box(b, op->x), parent = pick_parent(b, op->y);
	const struct mailbox *now = tree_find(memory_tree(b), &box);
	const char *part = names[op->z % N_NAMES];
	switch (op->kind) {
	case OP_CREATE:
		return create(r, op->who, parent, part);
	case OP_RENAME:
		parent = tree_resolve(memory_tree(b), now->parent);
		return rename_box(r, op->who, box, parent, part);
	case OP_REPARENT: {
		MB_AUTO_FREE char *same = mb_xstrdup(now->part);
		return rename_box(r, op->who, box, parent, same);
	}
	case OP_SWAP:
		return rotate(r, op->who, op, 2);
	case OP_ROTATE:
		return rotate(r, op->who, op, 3);
	case OP_DELETE:
		return delete (r, op->who, box);
	case OP_DELETE_ALL:
		return delete_below(r, op->who, box);
	case OP_RECREATE:
		return recreate(r, op->who, op->x);
	default:
		return subscribe(r, op->who, box, op->z & 1);
	}
}

static const struct copy *pick_mail(struct backend *b, unsigned n)
{
	const struct copy *found = NULL;
	size_t seen = 0;
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		const struct copy *c = &memory_message(b, i)->copies[0];
		if (copy_alive(c) && ++seen && n % seen == 0)
			found = c;
	}
	return found;
}

static int do_mail(struct run *r, const struct op *op)
{
	struct backend *b = r->b[op->who];
	struct guid box = pick_box(b, op->x), g;
	char body[32];
	const struct copy *c;
	int done = -1;
	if (op->kind == OP_DELIVER) {
		snprintf(body, sizeof(body), "body %u %u", op->y, op->z);
		done = memory_deliver(b, &box, body, strlen(body), 0, &g);
	} else if ((c = pick_mail(b, op->y))) {
		g = c->guid;
		done = op->kind == OP_MOVE ? memory_move(b, &g, c->id, &box)
					   : memory_expunge(b, &g, c->id);
	}
	if (done == 0)
		oracle_note(&r->oracle, b, &g);
	return done;
}

/* ---- what must hold ---- */

static const char *check_side(struct run *r, size_t who)
{
	const char *wrong = oracle_check_order(&r->oracle, r->b[who]);
	if (wrong && r->was_cut && r->h->n_replicas > 2 &&
	    strcmp(wrong, "a message lives in a mailbox that does not") == 0)
		wrong = NULL;
	return wrong ? wrong : box_check_dirs(r->b[who], r->folds[who]);
}

static const char *check_link(void *arg, size_t link)
{
	struct run *r = arg;
	const struct link *l = &r->links[link];
	const char *wrong = check_side(r, pairs[link][0]);
	if (!wrong)
		wrong = check_side(r, pairs[link][1]);
	if (!wrong && r->h->n_replicas == 2)
		wrong = link_compare(l->b[0], l->b[1]);
	return wrong;
}

/* Of two: who is alone in having done something gets nothing.  But where case is folded, Foo, made while
 * the deleted foo lives on as a name above others, gets a suffix. */
static const char *check_idle(struct run *r)
{
	const struct link *l = &r->links[0];
	if (r->folds[0] && l->notices & 1u << NOTICE_MAILBOX_SUFFIXED)
		return NULL;
	if (r->h->n_replicas > 2 || r->folds[0] != r->folds[1])
		return NULL;
	for (int side = 0; side < 2; side++)
		if (r->idle[!side] && l->n_shown[side])
			return "a side is given something though the other did nothing";
	return NULL;
}

static const char *do_sync(struct run *r, const struct op *op)
{
	size_t link = op->x % n_links(r);
	struct link *l = &r->links[link];
	l->full = op->y % 8 == 0;
	l->cut = op->kind == OP_CUT ? 1 + op->z % 12u : 0;
	const char *wrong = link_sync(l);
	bool cut = link_is_cut(l);
	if (!wrong && !cut)
		wrong = check_link(r, link);
	if (!wrong && !cut)
		wrong = check_idle(r);
	r->idle[0] = r->idle[1] = !cut;
	r->was_cut |= cut;
	return wrong;
}

/* ---- a whole history ---- */

static void print_tree(const struct run *r, size_t who)
{
	const struct tree *t = memory_tree(r->b[who]);
	char guid[GUID_TEXT];
	for (size_t i = 0; r->aloud && i < t->n; i++) {
		MB_AUTO_FREE char *name = tree_name(t, &t->nodes[i].guid);
		printf("    at %zu: %.8s %s%s%s\n", who, guid_text(&t->nodes[i].guid, guid), name,
		       mailbox_alive(&t->nodes[i]) ? "" : " (dead)",
		       t->nodes[i].selectable ? "" : " (a name)");
	}
}

static void print_mail(const struct run *r, size_t who)
{
	struct backend *b = r->b[who];
	char guid[GUID_TEXT], box[GUID_TEXT];
	for (size_t i = 0; r->aloud && i < memory_n_messages(b); i++) {
		const struct copy *c = &memory_message(b, i)->copies[0];
		printf("    at %zu: mail %.8s in %.8s%s\n", who, guid_text(&c->guid, guid),
		       guid_text(&c->place.mailbox, box), copy_alive(c) ? "" : " (dead)");
	}
}

static const char *do_op(struct run *r, const struct op *op)
{
	r->now_ns += (op->z % 3) * INT64_C(1000000);
	set_clock(r, op->who);
	if (r->aloud)
		printf("  %s by %u: %u %u %u\n", kinds[op->kind].name, op->who, op->x, op->y,
		       op->z);
	if (op->kind >= OP_SYNC) {
		const char *wrong = do_sync(r, op);
		for (size_t i = 0; i < r->h->n_replicas; i++)
			print_tree(r, i), print_mail(r, i);
		return wrong;
	}
	int done = op->kind <= OP_EXPUNGE ? do_mail(r, op) : do_mailbox(r, op);
	r->idle[op->who] &= done != 0 && op->kind <= OP_REPARENT; /* some end half-done */
	return NULL;
}

static const char *judge(struct run *r)
{
	const char *wrong = link_sync_all(r->links, n_links(r), check_link, r);
	r->was_cut = false;
	for (size_t i = 0; !wrong && i < r->h->n_replicas; i++)
		wrong = check_side(r, i);
	for (size_t i = 1; !wrong && i < r->h->n_replicas; i++)
		wrong = link_compare(r->b[0], r->b[i]);
	for (size_t i = 0; !wrong && i < r->h->n_replicas; i++) {
		wrong = box_check_dirs(r->b[i], r->folds[i]);
		if (!wrong)
			wrong = oracle_check_mail(&r->oracle, r->b[i]);
		if (!wrong)
			wrong = box_check(&r->boxes, r->b[i]);
	}
	return wrong;
}

/* Ten mailboxes, four deep at most, and a mail in each third. */
static void plant(struct run *r)
{
	struct prng p = {r->h->seed * 77};
	struct guid above[4] = {GUID_ZERO};
	for (size_t i = 0; i < 10; i++) {
		size_t depth = prng_below(&p, 4), n = r->boxes.n;
		create(r, 0, above[depth], names[prng_below(&p, N_NAMES)]);
		if (r->boxes.n > n && depth < 3)
			above[depth + 1] = r->boxes.items[n].guid;
		if (i % 3 == 0)
			do_mail(r, &(struct op){OP_DELIVER, 0, (uint16_t)i, (uint16_t)i, 0});
	}
}

static const char *run_open(struct run *r, const struct history *h, bool aloud)
{
	struct prng p = {h->seed};
	const char *wrong = NULL;
	*r = (struct run){.h = h, .aloud = aloud, .now_ns = INT64_C(1700000000000000000)};
	r->oracle.all = r->b;
	r->oracle.n_all = h->n_replicas;
	for (size_t i = 0; i < h->n_replicas; i++) {
		r->skew_ns[i] = (int64_t)prng_below(&p, 3) * INT64_C(3600000000000);
		r->folds[i] = prng_below(&p, 4) == 0;
		set_clock(r, i);
		r->b[i] = backend_open_memory(h->seed * 8 + i + 1);
	}
	plant(r);
	for (size_t i = 0; i < n_links(r); i++) {
		struct link *l = &r->links[i];
		for (int side = 0; side < 2; side++) {
			l->b[side] = r->b[pairs[i][side]];
			l->folds[side] = r->folds[pairs[i][side]];
		}
		if (!wrong && h->seed % 4)
			wrong = link_sync(l);
		r->idle[0] = r->idle[1] = h->seed % 4;
		l->aloud = aloud;
	}
	print_tree(r, 0);
	return wrong;
}

static void run_close(struct run *r)
{
	for (size_t i = 0; i < r->h->n_replicas; i++)
		backend_close(r->b[i]);
	oracle_release(&r->oracle);
}

static const char *run_history(const void *history, bool aloud)
{
	const struct history *h = history;
	static struct run r;
	const char *wrong = run_open(&r, h, aloud);
	for (size_t i = 0; !wrong && i < h->n; i++)
		wrong = do_op(&r, &h->ops[i]);
	if (!wrong)
		wrong = judge(&r);
	for (size_t i = 0; i < h->n_replicas; i++)
		print_tree(&r, i), print_mail(&r, i);
	run_close(&r);
	return wrong;
}

/* ---- many ---- */

static enum op_kind random_kind(struct prng *p)
{
	unsigned sum = 0, k = 0;
	for (unsigned i = 0; i < OP_KINDS; i++)
		sum += kinds[i].weight;
	unsigned pick = (unsigned)prng_below(p, sum);
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

/* With three replicas these found: a mere name with mail in it after a cut; a mailbox below one that
 * became another, where neither was known; a UID used twice when a mailbox was made again; mail in a mere name that another became; a mere name that was made so later than
 * what it became was made (4203, 12444); one that lives and took a deleted one of its name in. */
static const uint64_t found_something[] = {1677, 21840, 22337, 25573, 4203, 12444, 75639};

static void check_many(size_t n_replicas)
{
	size_t n = history_is_one_seed() ? 0 : sizeof(found_something) / sizeof(*found_something);
	for (size_t i = 0; i < n; i++)
		check_seed(found_something[i], false, &n_replicas);
	history_seeds("MAILBRAID_TREES", HISTORIES, check_seed, &n_replicas);
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
