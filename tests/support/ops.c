/*
 * ops.c - see ops.h.
 */
#include "tests/support/ops.h"
#include "backends/base/mem.h"
#include <stdio.h>
#include <string.h>

static unsigned random_kind(struct prng *p, const struct op_weight *kinds, unsigned n)
{
	unsigned sum = 0, k = 0;
	for (unsigned i = 0; i < n; i++)
		sum += kinds[i].weight;
	unsigned pick = (unsigned)prng_below(p, sum);
	while (pick >= kinds[k].weight)
		pick -= kinds[k++].weight;
	return k;
}

struct op op_random(struct prng *p, const struct op_weight *kinds, unsigned n, size_t n_replicas)
{
	struct op op = {.kind = random_kind(p, kinds, n)};
	op.who = (uint8_t)prng_below(p, n_replicas);
	op.x = (uint16_t)prng_next(p);
	op.y = (uint16_t)prng_next(p);
	op.z = (uint16_t)prng_next(p);
	return op;
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

static int do_message(struct oracle *o, struct backend *b, const struct op *op, struct guid *ret)
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
		oracle_mixed(o, &g);
		return memory_copy(b, &g, c->id, &box, &id);
	case OP_EXPUNGE:
		return memory_expunge(b, &g, c->id);
	case OP_RESTORE:
		return memory_restore(b, &g, c->id);
	default:
		snprintf(body, sizeof(body), "edited %u", op->z);
		if (memory_edit(b, &g, c->id, body, strlen(body), &new) < 0)
			return -1;
		oracle_note(o, b, &new);
		oracle_mixed(o, &new);
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
static void note_all(struct oracle *o, struct backend *b)
{
	for (size_t i = 0; i < memory_n_messages(b); i++) {
		struct guid g = memory_message(b, i)->guid;
		oracle_note(o, b, &g);
	}
}

bool op_do(struct oracle *o, struct backend *b, const struct op *op, struct guid *ret_subject)
{
	int done;
	*ret_subject = GUID_ZERO;
	if (op->kind == OP_DELIVER)
		done = do_deliver(b, op, ret_subject);
	else if (op->kind <= OP_EDIT)
		done = do_message(o, b, op, ret_subject);
	else
		done = do_mailbox(b, op);
	if (done == 0 && op->kind <= OP_EDIT)
		oracle_note(o, b, ret_subject);
	if (done == 0 && op->kind == OP_DELETE)
		note_all(o, b);
	return done == 0;
}
