/*
 * merge.c - one run of the merge, from two sides to two plans.
 *
 * The order matters: copies are found again by mailbox, so mailboxes made apart are united first;
 * whether a deleted mailbox lives on is told by the joined copies; UIDs come when all places are
 * known.  The rules are in merge-*.c, see merge-private.h; mailbraid-merge(7) tells them to people.
 */
#include "sync/merge.h"
#include "backends/base/mem.h"
#include "sync/merge-private.h"
#include <string.h>

void notice_add(struct merging *m, enum notice_kind kind, const struct guid *mailbox,
		const struct guid *message, char *text)
{
	struct merge_result *r = m->out;
	MB_GROW(r->notices, r->cap_notices, r->n_notices + 1);
	r->notices[r->n_notices++] = (struct notice){
		.kind = kind,
		.mailbox = mailbox ? *mailbox : GUID_ZERO,
		.message = message ? *message : GUID_ZERO,
		.text = text,
	};
}

static void merging_release(struct merging *m)
{
	for (size_t i = 0; i < m->n_pairs; i++)
		copy_release(&m->pairs[i].now);
	free(m->pairs);
	free(m->seen[0]);
	free(m->seen[1]);
	free(m->aliases);
	targets_release(m);
}

int merge(const struct merge_input *in, struct merge_result *ret)
{
	struct merge_result result = {0};
	struct merging m = {.in = in, .out = &result, .tree = &result.tree};

	tree_join_sides(&m);
	copies_see(&m);
	if (!in->keep_twins)
		rule_pair_arrivals(&m);
	copies_join(&m);
	rule_void_expunge(&m);
	tree_settle_life(&m);
	tree_settle_names(&m);
	copies_resolve(&m);
	copies_settle(&m);
	rule_renumber(&m);
	targets_make(&m);
	plans_make(&m);
	notices_of_plans(&m);

	merging_release(&m);
	*ret = result;
	return 0;
}

static int compare_messages(const void *a, const void *b)
{
	const struct message *x = a, *y = b;
	return guid_compare(&x->guid, &y->guid);
}

void merge_side_sort(struct merge_side *side)
{
	if (side->n_messages)
		qsort(side->messages, side->n_messages, sizeof(*side->messages), compare_messages);
}

struct message *merge_side_find(const struct merge_side *side, const struct guid *guid)
{
	const struct message key = {.guid = *guid};
	if (!side->n_messages)
		return NULL;
	return bsearch(&key, side->messages, side->n_messages, sizeof(*side->messages),
		       compare_messages);
}

void merge_side_release(struct merge_side *s)
{
	tree_release(&s->tree);
	for (size_t i = 0; i < s->n_messages; i++)
		message_release(&s->messages[i]);
	free(s->messages);
	free(s->missing);
	memset(s, 0, sizeof(*s));
}

void merge_result_release(struct merge_result *r)
{
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < r->plan[side].n; i++)
			record_release(&r->plan[side].items[i]);
		free(r->plan[side].items);
	}
	for (size_t i = 0; i < r->n_notices; i++)
		free(r->notices[i].text);
	free(r->notices);
	tree_release(&r->tree);
	memset(r, 0, sizeof(*r));
}
