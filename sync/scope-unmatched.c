/*
 * scope-unmatched.c - see scope-unmatched.h.
 */
#include "sync/scope-unmatched.h"

#include "backends/base/mem.h"

/* Does this mailbox, or the one that it became, hold mail? */
static bool holds_mail(const struct tree *t, const struct guid *guid)
{
	struct guid now = tree_resolve(t, *guid);
	const struct mailbox *m = tree_find(t, &now);

	return m && mailbox_alive(m) && m->selectable;
}

static bool any_matches(const struct scope *one, const struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct guid *guid = &t->nodes[i].guid;
		char *name MB_AUTO_FREE = tree_name(t, guid);
		if (scope_has_mailbox(one, name, guid) && holds_mail(t, guid))
			return true;
	}
	return false;
}

/* Each is asked for alone, in the words in which all are asked for. */
static void add_unmatched(const struct scope_list *items, bool are_names,
			  const struct tree trees[2], struct scope_list *ret)
{
	for (size_t i = 0; i < items->n; i++) {
		struct scope_list alone = {.items = &items->items[i], .n = 1};
		struct scope one = {0};
		if (are_names)
			one.names = alone;
		else
			one.guids = alone;
		if (*items->items[i] == '\\' || any_matches(&one, &trees[0]) ||
		    any_matches(&one, &trees[1]))
			continue;
		MB_GROW(ret->items, ret->cap, ret->n + 1);
		ret->items[ret->n++] = mb_xstrdup(items->items[i]);
	}
}

void scope_unmatched(const struct scope *s, const struct tree trees[2], struct scope_list *ret)
{
	add_unmatched(&s->names, true, trees, ret);
	add_unmatched(&s->guids, false, trees, ret);
}
