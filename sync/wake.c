/*
 * wake.c - see wake.h.
 */
#include "sync/wake.h"

#include "backends/base/hash.h"
#include "backends/base/mem.h"

#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

enum wake_kind { WAKE_NEW, WAKE_CUR, WAKE_NAME, WAKE_LEFT, WAKE_TREE };

struct wake_key {
	struct guid mailbox;
	uint32_t kind;
};
_Static_assert(sizeof(struct wake_key) == sizeof(struct guid) + sizeof(uint32_t),
	       "a key has no padding");

struct woken {
	struct wake_key key;
	UT_hash_handle hh;
};

/* true: nobody further back in the plan had it. */
static bool take(struct woken **all, const struct guid *mailbox, enum wake_kind kind)
{
	const struct wake_key key = {.mailbox = *mailbox, .kind = kind};
	struct woken *found;

	HASH_FIND(hh, *all, &key, sizeof(key), found);
	if (found)
		return false;
	found = mb_xcalloc(1, sizeof(*found));
	found->key = key;
	HASH_ADD(hh, *all, key, sizeof(found->key), found);
	return true;
}

/* It is gone from where the side has it. */
static bool take_left(struct woken **all, const struct merge_side *side, const struct record *item)
{
	const struct copy *was = plan_side_copy(side, item);

	return was && take(all, &was->place.mailbox, WAKE_LEFT);
}

static bool is_last(struct woken **all, const struct merge_side *side, const struct tree *joined,
		    const struct record *item)
{
	const struct guid *box = &item->copy.place.mailbox;
	bool left;

	switch (plan_what_joined(side, joined, item)) {
	case REC_ARRIVE:
		return take(all, box, item->copy.recent ? WAKE_NEW : WAKE_CUR);
	case REC_MOVE:
		left = take_left(all, side, item);
		return take(all, box, WAKE_CUR) || left;
	case REC_FLAGS:
	case REC_RENAME:
		return take(all, box, WAKE_NAME);
	case REC_EXPUNGE:
		return take_left(all, side, item);
	case REC_MAILBOX_CREATE:
	case REC_MAILBOX_REVIVE:
	case REC_MAILBOX_RENAME:
	case REC_MAILBOX_DELETE:
	case REC_MAILBOX_MERGE:
		return take(all, &item->mailbox.parent, WAKE_TREE);
	default:
		return false;
	}
}

bool *wake_choose(const struct merge_side *side, const struct tree *joined, const struct plan *plan)
{
	bool *ret = plan->n ? mb_xcalloc(plan->n, sizeof(*ret)) : NULL;
	struct woken *all = NULL, *one, *next;

	for (size_t i = plan->n; i-- > 0;)
		ret[i] = is_last(&all, side, joined, &plan->items[i]);
	HASH_ITER (hh, all, one, next) {
		HASH_DEL(all, one);
		free(one);
	}
	return ret;
}
