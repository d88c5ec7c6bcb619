/*
 * test-replicas.c - random histories of three to five replicas that sync in pairs, as a star, a
 * chain, a ring or a full mesh.
 *
 * Whole sessions: positions, echoes and what each remembers of its peers are in play, not the merge
 * alone.  Between the operations of users replicas sync with a neighbour (from either side, some in
 * full, some cut, by a wish to stop or by a call that fails), are restarted, lose the older part of
 * their log, forget a peer, or are restored from an old backup.  Clocks are off by hours.
 *
 * At the end all links sync in turn.  After as many rounds as news needs to go round everybody is
 * the same, and then nothing moves any more: neither by news nor by a full comparison.  The oracle
 * says whether something was lost or came back, and whether each flag is as it was set last.
 *
 *	MAILBRAID_HISTORIES=N   so many, instead of 400
 *	MAILBRAID_FIRST=N       from this seed on, instead of 1
 *	MAILBRAID_SEED=N        only that one, told aloud
 *
 * A history that fails is made as short as it can be, and printed.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "sync/session.h"
#include "tests/support/history.h"
#include "tests/support/link.h"
#include "tests/support/ops.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define REPLICAS_MAX 5
#define LINKS_MAX (REPLICAS_MAX * (REPLICAS_MAX - 1) / 2)
#define OPS_MAX 80
#define HISTORIES 400
#define HOUR_NS INT64_C(3600000000000)

enum { OP_RESTART = OP_KINDS, OP_DROP_LOG, OP_FORGET, OP_BACKUP, OP_GO_BACK, KINDS };
static const struct op_weight kinds[KINDS] = {
	[OP_DELIVER] = {"deliver", 12},	   [OP_FLAG] = {"flag", 8},
	[OP_KEYWORD] = {"keyword", 2},	   [OP_MOVE] = {"move", 8},
	[OP_COPY] = {"copy", 3},	   [OP_EXPUNGE] = {"expunge", 5},
	[OP_RESTORE] = {"restore", 2},	   [OP_EDIT] = {"edit", 3},
	[OP_CREATE] = {"create", 5},	   [OP_RENAME] = {"rename", 4},
	[OP_REPARENT] = {"reparent", 3},   [OP_DELETE] = {"delete", 3},
	[OP_SUBSCRIBE] = {"subscribe", 1}, [OP_SYNC] = {"sync", 22},
	[OP_CUT] = {"cut sync", 5},	   [OP_RESTART] = {"restart", 2},
	[OP_DROP_LOG] = {"drop log", 1},   [OP_FORGET] = {"forget a peer", 1},
	[OP_BACKUP] = {"backup", 2},	   [OP_GO_BACK] = {"go back to the backup", 1},
};

enum shape { STAR, CHAIN, RING, MESH, SHAPES };
static const char *const shapes[SHAPES] = {"star", "chain", "ring", "mesh"};

struct history {
	uint64_t seed;
	size_t n_replicas;
	enum shape shape;
	bool backups; /* there are restores: what was not synced is lost with the disk */
	struct op ops[OPS_MAX];
	size_t n;
};

struct run {
	const struct history *h;
	/* Behind the replicas: what was lost with a disk, for the oracle to ask. */
	struct backend *b[REPLICAS_MAX + OPS_MAX];
	struct backend *backup[REPLICAS_MAX]; /* owned; NULL: there is none */
	int64_t skew_ns[REPLICAS_MAX];
	size_t links[LINKS_MAX][2];
	size_t n_links;
	struct oracle oracle;
	int64_t now_ns;
	bool aloud;
};

/* ---- making one ---- */

static void make_history(struct history *h, uint64_t seed)
{
	struct prng p = {seed * 2654435761u};
	*h = (struct history){.seed = seed};
	h->n_replicas = 3 + prng_below(&p, REPLICAS_MAX - 2);
	h->shape = (enum shape)prng_below(&p, SHAPES);
	h->backups = prng_below(&p, 3) == 0;
	h->n = 10 + prng_below(&p, OPS_MAX - 10);
	for (size_t i = 0; i < h->n; i++)
		h->ops[i] = op_random(&p, kinds, KINDS, h->n_replicas);
}

static void add_link(struct run *r, size_t a, size_t b)
{
	r->links[r->n_links][0] = a;
	r->links[r->n_links++][1] = b;
}

static void make_links(struct run *r)
{
	size_t n = r->h->n_replicas;
	for (size_t i = 1; i < n; i++) {
		if (r->h->shape == STAR)
			add_link(r, 0, i);
		else if (r->h->shape != MESH)
			add_link(r, i - 1, i);
		for (size_t k = 0; r->h->shape == MESH && k < i; k++)
			add_link(r, k, i);
	}
	if (r->h->shape == RING)
		add_link(r, n - 1, 0);
}

/* ---- one session ---- */

struct stopper {
	size_t left; /* items until it stops; 0 = never */
};

static bool stop_after(void *arg)
{
	struct stopper *s = arg;
	return s->left && --s->left == 0;
}

static const char *check_sides(struct run *r, const size_t link[2])
{
	const char *wrong = oracle_check_order(&r->oracle, r->b[link[0]]);
	return wrong ? wrong : oracle_check_order(&r->oracle, r->b[link[1]]);
}

static void print_item(int side, enum record_type what, const struct tree *names,
		       const struct record *item, void *arg)
{
	const struct run *r = arg;
	char guid[GUID_TEXT], box[GUID_TEXT];
	if (!r->aloud)
		return;
	printf("      to %s: %s %s %.8s %.8s\n", side ? "peer" : "us", record_type_name(item->type),
	       record_type_name(what), guid_text(&item->copy.guid, guid),
	       guid_text(guid_is_zero(&item->mailbox.guid) ? &item->copy.place.mailbox
							   : &item->mailbox.guid,
			 box));
}

/* `fail`: the so many-th call to the second side fails, as a line does that drops. */
static int run_session(struct run *r, size_t from, size_t to, bool full, size_t stop, size_t fail,
		       struct session_result *ret)
{
	struct stopper stopper = {stop};
	const struct session_options o = {.full = full,
					  .stop = stop_after,
					  .stop_arg = &stopper,
					  .show = print_item,
					  .show_arg = r};
	struct backend *peer = fail ? backend_fault(r->b[to], fail, -EPIPE) : r->b[to];
	int err = session_run(r->b[from], peer, &o, ret);
	if (r->aloud)
		printf("    %zu -> %zu: err=%d full=%d errors=%lu changed=%d again=%d\n", from, to,
		       err, ret->full, (unsigned long)ret->errors, ret->changed, ret->again);
	if (fail)
		free(peer); /* what it wraps goes on */
	return err;
}

static const char *do_sync(struct run *r, const struct op *op)
{
	const size_t *link = r->links[op->x % r->n_links];
	bool turned = op->y & 1, cut = op->kind == OP_CUT;
	struct session_result result;
	size_t stop = cut && op->z % 2 ? 1 + (op->z >> 1) % 12u : 0;
	size_t fail = cut && op->z % 2 == 0 ? 1 + (op->z >> 1) % 60u : 0;
	int err = run_session(r, link[turned], link[!turned], op->y % 16 < 2, stop, fail, &result);
	const char *wrong = NULL;
	if (err < 0 && !cut)
		wrong = mb_err_str(err);
	else if (result.errors && !cut)
		wrong = mb_err_str(result.first_error);
	session_result_release(&result);
	return wrong || cut ? wrong : check_sides(r, link);
}

/* ---- what befalls a replica ---- */

static void do_backup(struct run *r, size_t who)
{
	backend_close(r->backup[who]);
	r->backup[who] = memory_backup(r->b[who]);
}

/* The disk is lost right after a sync, and an old backup takes its place. */
static const char *do_go_back(struct run *r, const struct op *op)
{
	const struct op sync = {.kind = OP_SYNC, .x = op->x, .y = (uint16_t)(op->y | 2)};
	const size_t *link = r->links[op->x % r->n_links];
	size_t who = link[op->y & 1];
	struct session_result result;
	if (!r->h->backups || !r->backup[who])
		return NULL;
	const char *wrong = do_sync(r, &sync);
	for (int i = 0; !wrong && i < 3; i++) { /* nothing is only here */
		int err = run_session(r, link[0], link[1], false, 0, 0, &result);
		bool more = result.changed || result.again;
		session_result_release(&result);
		if (err < 0)
			return mb_err_str(err);
		if (!more)
			break;
	}
	r->b[r->oracle.n_all++] = r->b[who];
	r->b[who] = r->backup[who];
	r->backup[who] = NULL;
	return wrong;
}

static int forget(struct run *r, const struct op *op)
{
	const size_t *link = r->links[op->x % r->n_links];
	struct backend *b = r->b[link[op->y & 1]];
	struct backend_info peer;
	struct record gone = {.type = REC_PEER_FORGET};
	r->b[link[!(op->y & 1)]]->ops->info(r->b[link[!(op->y & 1)]], &peer);
	gone.peer.replica = peer.replica;
	return b->ops->put(b, &gone, -1);
}

static void set_clock(struct run *r, size_t who)
{
	history_clock(r->now_ns + r->skew_ns[who]);
}

static const char *do_op(struct run *r, const struct op *op)
{
	struct guid g;
	char guid[GUID_TEXT];
	bool done = true;
	r->now_ns += (op->z % 3) * INT64_C(1000000);
	set_clock(r, op->who);
	if (r->aloud)
		printf("  %s by %u: %u %u %u\n", kinds[op->kind].name, op->who, op->x, op->y,
		       op->z);
	switch (op->kind) {
	case OP_SYNC:
	case OP_CUT:
		return do_sync(r, op);
	case OP_RESTART:
		memory_restart(r->b[op->who]);
		return NULL;
	case OP_DROP_LOG:
		memory_drop_log(r->b[op->who]);
		return NULL;
	case OP_FORGET:
		forget(r, op);
		return NULL;
	case OP_BACKUP:
		do_backup(r, op->who);
		return NULL;
	case OP_GO_BACK:
		return do_go_back(r, op);
	default:
		done = op_do(&r->oracle, r->b[op->who], op, &g);
	}
	if (r->aloud)
		printf("    %s %.8s\n", done ? "done" : "could not be done", guid_text(&g, guid));
	return NULL;
}

/* ---- a whole history ---- */

static void run_open(struct run *r, const struct history *h, bool aloud)
{
	struct prng p = {h->seed};
	*r = (struct run){.h = h, .aloud = aloud, .now_ns = INT64_C(1700000000000000000)};
	r->oracle.all = r->b;
	r->oracle.n_all = h->n_replicas;
	for (size_t i = 0; i < h->n_replicas; i++) {
		r->skew_ns[i] = (int64_t)prng_below(&p, 3) * HOUR_NS;
		set_clock(r, i);
		r->b[i] = backend_open_memory(h->seed * 8 + i + 1);
	}
	make_links(r);
}

static void run_close(struct run *r)
{
	for (size_t i = 0; i < r->oracle.n_all; i++)
		backend_close(r->b[i]);
	for (size_t i = 0; i < REPLICAS_MAX; i++)
		backend_close(r->backup[i]);
	oracle_release(&r->oracle);
}

/* Every link in turn, until a whole round moves nothing, and nobody had to compare everything: who did
 * may be a new replica to the others, as one that was restored from a backup is. */
static const char *sync_all(struct run *r)
{
	size_t rounds = 2 * r->h->n_replicas + 4;
	for (size_t round = 0; round < rounds; round++) {
		bool changed = false;
		for (size_t i = 0; i < r->n_links; i++) {
			struct op op = {.kind = OP_SYNC, .x = (uint16_t)i};
			struct session_result result;
			const size_t *link = r->links[op.x];
			int err = run_session(r, link[round & 1], link[!(round & 1)], false, 0, 0,
					      &result);
			changed |= result.changed || result.again || result.full;
			bool errors = result.errors;
			session_result_release(&result);
			if (err < 0 || errors)
				return err < 0 ? mb_err_str(err) : "an item cannot be put";
			const char *wrong = check_sides(r, link);
			if (wrong)
				return wrong;
		}
		if (!changed)
			return NULL;
	}
	return "the replicas never come to rest";
}

/* A run more: by news, then in full. */
static const char *check_quiet(struct run *r, bool full)
{
	for (size_t i = 0; i < r->n_links; i++) {
		struct backend *a = r->b[r->links[i][0]], *b = r->b[r->links[i][1]];
		struct position before[2], after[2];
		struct session_result result;
		a->ops->position(a, &before[0]);
		b->ops->position(b, &before[1]);
		int err = run_session(r, r->links[i][0], r->links[i][1], full, 0, 0, &result);
		bool changed = result.changed || result.n_notices, was_full = result.full;
		session_result_release(&result);
		a->ops->position(a, &after[0]);
		b->ops->position(b, &after[1]);
		if (err < 0)
			return mb_err_str(err);
		if (full && changed)
			return "a full comparison finds what news did not tell";
		if (full)
			continue;
		if (was_full)
			return "two that are in step compare everything";
		if (changed || memcmp(before, after, sizeof(before)) != 0)
			return "two that are in step have something to tell";
	}
	return NULL;
}

static void print_mailbox(const struct mailbox *m)
{
	char guid[GUID_TEXT], into[GUID_TEXT];
	printf("    mailbox %.8s \"%s\" %s%s into %.8s validity=%u uid_next=%u named=%" PRIx64
	       " dead=%" PRIx64 " revived=%" PRIx64 " selectable=%" PRIx64 "\n",
	       guid_text(&m->guid, guid), m->part, mailbox_alive(m) ? "alive" : "dead",
	       m->selectable ? "" : " noselect", guid_text(&m->merged_into, into), m->uid_validity,
	       m->uid_next, m->named_at.time, m->dead.time, m->revived.time, m->selectable_at.time);
}

static void print_all(const struct run *r)
{
	char guid[GUID_TEXT], box[GUID_TEXT];
	for (size_t i = 0; i < r->h->n_replicas; i++) {
		const struct tree *t = memory_tree(r->b[i]);
		printf("  replica %zu\n", i);
		for (size_t k = 0; k < t->n; k++)
			print_mailbox(&t->nodes[k]);
		for (size_t k = 0; k < memory_n_messages(r->b[i]); k++) {
			const struct message *msg = memory_message(r->b[i], k);
			for (size_t c = 0; c < msg->n; c++)
				printf("    %.8s/%" PRIx64 " in %.8s uid=%u %s flags=%x\n",
				       guid_text(&msg->guid, guid), msg->copies[c].id,
				       guid_text(&msg->copies[c].place.mailbox, box),
				       msg->copies[c].place.uid,
				       copy_alive(&msg->copies[c]) ? "alive" : "dead",
				       msg->copies[c].flags.set);
		}
	}
}

static const char *judge(struct run *r)
{
	const char *wrong = sync_all(r);
	for (size_t i = 1; !wrong && i < r->h->n_replicas; i++)
		wrong = link_compare(r->b[0], r->b[i]);
	if (!wrong)
		wrong = check_quiet(r, false);
	if (!wrong)
		wrong = check_quiet(r, true);
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
	if (wrong && aloud)
		print_all(&r);
	run_close(&r);
	return wrong;
}

/* ---- many ---- */

static void check_seed(uint64_t seed, bool aloud, const void *arg)
{
	struct history h;
	const struct history_view v = {&h, h.ops, sizeof(h.ops[0]), &h.n, run_history};
	char name[80];
	make_history(&h, seed);
	snprintf(name, sizeof(name), "seed %lu, %s of %zu", (unsigned long)seed, shapes[h.shape],
		 h.n_replicas);
	history_check(&v, name, aloud);
}

static void replicas_come_to_rest_as_one(void **state)
{
	mb_msg_set_level(MB_ERROR);
	history_seeds("MAILBRAID_HISTORIES", HISTORIES, check_seed, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replicas_come_to_rest_as_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
