/*
 * box-facts.c - see box-facts.h.
 */
#include "tests/support/box-facts.h"
#include "backends/mail/layout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

struct box_fact *box_fact_of(struct box_facts *f, const struct guid *g)
{
	for (size_t i = 0; i < f->n; i++)
		if (guid_equal(&f->items[i].guid, g))
			return &f->items[i];
	assert_true(f->n < BOX_FACTS_MAX);
	f->items[f->n] = (struct box_fact){.guid = *g};
	return &f->items[f->n++];
}

void box_made(struct box_facts *f, const struct guid *g)
{
	box_fact_of(f, g);
}

void box_deleted(struct box_facts *f, const struct guid *g)
{
	box_fact_of(f, g)->deleted = true;
}

void box_subscribed(struct box_facts *f, struct backend *b, const struct guid *g)
{
	const struct mailbox *now = tree_find(memory_tree(b), g);
	struct box_fact *fact = box_fact_of(f, g);
	if (stamp_compare(&now->subscribed_at, &fact->subscribed_at) > 0) {
		fact->subscribed_at = now->subscribed_at;
		fact->subscribed = now->subscribed;
	}
}

static bool dir_of(const struct tree *t, enum layout l, const struct mailbox *box, struct buf *out)
{
	char **parts;
	size_t n;
	if (tree_parts(t, &box->guid, &parts, &n) < 0)
		return false;
	int r = layout_dir(l, (const char *const *)parts, n, out);
	layout_parts_free(parts);
	return r == 0;
}

static bool same_dir(const char *a, const char *b, bool folds)
{
	return folds ? mailbox_part_same(a, b, true) : strcmp(a, b) == 0;
}

const char *box_check_dirs(struct backend *b, bool folds)
{
	const struct tree *t = memory_tree(b);
	for (int l = LAYOUT_MAILDIRPP; l <= LAYOUT_FS; l++)
		for (size_t i = 0; i < t->n; i++) {
			BUF_AUTO struct buf x = BUF_INIT;
			if (!mailbox_alive(&t->nodes[i]) ||
			    !dir_of(t, (enum layout)l, &t->nodes[i], &x))
				continue;
			for (size_t k = i + 1; k < t->n; k++) {
				BUF_AUTO struct buf y = BUF_INIT;
				if (mailbox_alive(&t->nodes[k]) &&
				    dir_of(t, (enum layout)l, &t->nodes[k], &y) &&
				    same_dir(buf_cstr(&x), buf_cstr(&y), folds))
					return "two mailboxes have one directory";
			}
		}
	return NULL;
}

/* Whether anything that this mailbox is by now was deleted by somebody. */
static bool was_deleted(const struct box_facts *f, const struct tree *t, const struct guid *now)
{
	for (size_t i = 0; i < f->n; i++) {
		struct guid g = tree_resolve(t, f->items[i].guid);
		if (f->items[i].deleted && guid_equal(&g, now))
			return true;
	}
	return false;
}

static bool is_merge(const struct tree *t, const struct guid *g)
{
	for (size_t i = 0; i < t->n; i++)
		if (guid_equal(&t->nodes[i].merged_into, g))
			return true;
	return false;
}

const char *box_check(const struct box_facts *facts, struct backend *b)
{
	const struct tree *t = memory_tree(b);
	for (size_t i = 0; i < facts->n; i++) {
		const struct box_fact *f = &facts->items[i];
		struct guid now = tree_resolve(t, f->guid);
		const struct mailbox *box = tree_find(t, &now);
		if (!box)
			return "a mailbox is not known everywhere";
		if (!was_deleted(facts, t, &now) && !(mailbox_alive(box) && box->selectable))
			return "a mailbox that nobody deleted is gone";
		if (guid_equal(&now, &f->guid) && !is_merge(t, &now) &&
		    !stamp_is_none(&f->subscribed_at) && box->subscribed != f->subscribed)
			return "a subscription is not as it was set last";
	}
	return NULL;
}
