/*
 * The merge of states that no program of ours ever made, as a damaged store or a hostile peer may
 * have them: it ends, gives whole plans, says the same with the sides exchanged, and once both plans
 * are put the joined trees are proper ones.
 *
 * Input: u8 (bit 0: keep twins, bit 1: side 1 folds case), then records, each: u8 side, u16 length,
 * bytes of record_encode().
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "sync/merge.h"
#include "backends/backend.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/random.h"
#include <string.h>

static int by_guid(const void *x, const void *y)
{
	const struct message *a = x, *b = y;

	return guid_compare(&a->guid, &b->guid);
}

static struct message *message_of(struct merge_side *s, const struct guid *guid)
{
	for (size_t i = 0; i < s->n_messages; i++) {
		if (guid_equal(&s->messages[i].guid, guid))
			return &s->messages[i];
	}
	s->messages = mb_xreallocarray(s->messages, s->n_messages + 1, sizeof(*s->messages));
	s->messages[s->n_messages] = (struct message){.guid = *guid};
	return &s->messages[s->n_messages++];
}

static void add(struct merge_side *s, const struct record *r)
{
	if (!guid_is_zero(&r->mailbox.guid) && r->mailbox.part) {
		tree_put(&s->tree, &r->mailbox);
	} else if (!guid_is_zero(&r->copy.guid)) {
		struct message *m = message_of(s, &r->copy.guid);
		if (message_find(m, r->copy.id))
			return;
		struct copy *c = message_add(m, r->copy.id);
		copy_clone(c, &r->copy);
		/* What is no register is the same in every state of a copy: no merge can tell
		 * which of two is right. */
		c->size = 1 + c->guid.b[0];
		c->received_ns = 1;
		c->digest = (struct digest){0};
		c->recent = false;
	}
}

static void read_input(const uint8_t *data, size_t len, struct merge_input *in)
{
	struct reader from = reader_of(data, len);
	uint8_t bits = reader_get_u8(&from);

	in->keep_twins = bits & 1;
	in->side[1].case_insensitive = bits & 2;
	for (int i = 0; i < 2; i++) {
		in->side[i].caps =
			CAP_LOG | CAP_STAMPS | CAP_UIDS | CAP_KEYWORDS | CAP_GUIDS | CAP_SUBSCRIBE;
		in->side[i].replica = 1 + (uint64_t)i;
	}
	while (reader_left(&from) > 3) {
		unsigned side = reader_get_u8(&from) & 1, n = reader_get_u16(&from);
		struct record r = {0};
		if (n > reader_left(&from))
			break;
		if (record_decode(from.p, n, &r) == 0)
			add(&in->side[side], &r);
		record_release(&r);
		from.p += n;
	}
	for (int i = 0; i < 2; i++) {
		if (in->side[i].n_messages)
			qsort(in->side[i].messages, in->side[i].n_messages,
			      sizeof(*in->side[i].messages), by_guid);
	}
}

/* One of its parents is known to neither side. */
static bool is_orphan(const struct tree *t, const struct mailbox *box)
{
	for (size_t depth = 0; box && depth <= t->n; depth++) {
		struct guid parent = tree_resolve(t, box->parent);
		if (guid_is_zero(&parent))
			return false;
		box = tree_find(t, &parent);
	}
	return !box;
}

/* Every live mailbox has a name that ends at the top, and no two have the same. */
static void check_tree(const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct mailbox *box = &t->nodes[i];
		char **parts;
		size_t n;
		if (!mailbox_alive(box))
			continue;
		if (is_orphan(t, box))
			continue;
		FUZZ_CHECK(tree_parts(t, &box->guid, &parts, &n) == 0);
		for (size_t k = 0; k < n; k++)
			free(parts[k]);
		free(parts);
		for (size_t k = 0; k < i; k++) {
			const struct mailbox *other = &t->nodes[k];
			FUZZ_CHECK(!mailbox_alive(other) ||
				   !guid_equal(&other->parent, &box->parent) ||
				   strcmp(other->part, box->part) != 0);
		}
	}
}

static void same_plan(const struct plan *a, const struct plan *b)
{
	FUZZ_CHECK(a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		BUF_AUTO struct buf x = BUF_INIT, y = BUF_INIT;
		record_encode(&a->items[i], &x);
		record_encode(&b->items[i], &y);
		FUZZ_CHECK(x.len == y.len && memcmp(x.data, y.data, x.len) == 0);
	}
}

void fuzz_one(const uint8_t *data, size_t len)
{
	struct merge_input in = {0};
	struct merge_result one = {0}, two = {0};

	read_input(data, len, &in);
	int err = merge(&in, &one);
	if (err == 0)
		check_tree(&one.tree);
	for (int i = 0; i < 2 && err == 0; i++)
		for (size_t k = 0; k < one.plan[i].n; k++)
			plan_what(&in.side[i], &one.plan[i].items[k]);
	struct merge_side first = in.side[0];
	in.side[0] = in.side[1];
	in.side[1] = first;
	FUZZ_CHECK(merge(&in, &two) == err);
	for (int i = 0; i < 2 && err == 0; i++)
		same_plan(&one.plan[i], &two.plan[1 - i]);
	merge_result_release(&one);
	merge_result_release(&two);
	merge_side_release(&in.side[0]);
	merge_side_release(&in.side[1]);
}

static void put(struct buf *out, unsigned side, const struct record *r)
{
	BUF_AUTO struct buf b = BUF_INIT;

	record_encode(r, &b);
	if (b.len > UINT16_MAX)
		return;
	buf_put_u8(out, (uint8_t)side);
	buf_put_u16(out, (uint16_t)b.len);
	buf_put(out, b.data, b.len);
}

const unsigned fuzz_rounds = 5000, fuzz_cuts = 100;

bool fuzz_seed(unsigned n, struct buf *out)
{
	struct prng p = {n + 11};

	if (n >= 40)
		return false;
	buf_put_u8(out, (uint8_t)n);
	for (unsigned i = 0; i < 4 + n / 2; i++) {
		struct record r = {.type = i % 2 ? REC_COPY_STATE : REC_MAILBOX_STATE};
		if (i % 2)
			random_copy(&p, &r.copy);
		else
			random_mailbox(&p, &r.mailbox);
		put(out, (unsigned)prng_below(&p, 2), &r);
		record_release(&r);
	}
	return true;
}
