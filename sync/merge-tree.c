/*
 * merge-tree.c - mailboxes: joined by GUID, then made a proper tree.
 *
 * In a proper tree every live mailbox can be reached from the top and no two have one name.  A
 * parent register may name a mailbox that became another; it is resolved where it is used and never
 * rewritten, so that it stays the register that its stamp belongs to.
 */
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "sync/merge-private.h"
#include "sync/scope.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- join ---- */

static bool same_name_register(const struct mailbox *a, const struct mailbox *b)
{
	return guid_equal(&a->parent, &b->parent) && strcmp(a->part, b->part) == 0;
}

static bool renamed_since(const struct mailbox *m, uint64_t agreed)
{
	return m->old_part && m->named_at.time > agreed;
}

/* Both sides renamed one mailbox: the later rename won when the registers were joined. */
static void rule_renamed_twice(struct merging *m, const struct mailbox *a, const struct mailbox *b)
{
	uint64_t agreed = m->in->agreed;
	if (!agreed || !renamed_since(a, agreed) || !renamed_since(b, agreed) ||
	    stamp_compare(&a->named_at, &b->named_at) == 0 || same_name_register(a, b))
		return;
	notice_add(m, NOTICE_MAILBOX_RENAMED_TWICE, &a->guid, NULL,
		   mb_xstrdup("both sides renamed this mailbox; the later name stays"));
}

static void put_node(struct tree *t, const struct mailbox *src)
{
	MB_GROW(t->nodes, t->cap, t->n + 1);
	t->nodes[t->n] = (struct mailbox){0};
	mailbox_clone(&t->nodes[t->n++], src);
}

static void join_nodes(struct merging *m)
{
	const struct tree *a = &m->in->side[0].tree, *b = &m->in->side[1].tree;
	size_t i = 0, k = 0;

	while (i < a->n || k < b->n) {
		int order = i == a->n	? 1
			    : k == b->n ? -1
					: guid_compare(&a->nodes[i].guid, &b->nodes[k].guid);
		put_node(m->tree, order <= 0 ? &a->nodes[i] : &b->nodes[k]);
		if (order == 0) {
			mailbox_join(&m->tree->nodes[m->tree->n - 1], &b->nodes[k]);
			rule_renamed_twice(m, &a->nodes[i], &b->nodes[k]);
		}
		i += order <= 0;
		k += order >= 0;
	}
}

/* ---- names ---- */

/* A live mailbox and what its registers mean. */
struct named {
	struct mailbox *box;
	struct guid parent; /* resolved */
	const char *part;   /* "INBOX" at the top in any case is INBOX */
};

static int compare_name(const struct named *a, const struct named *b)
{
	int order = guid_compare(&a->parent, &b->parent);
	return order ? order : strcmp(a->part, b->part);
}

/* Within one name: INBOX, then the one that was there first. */
static int compare_named(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	int order = compare_name(a, b);
	if (order)
		return order;
	if (guid_equal(&a->box->guid, &b->box->guid))
		return 0;
	if (guid_equal(&a->box->guid, &GUID_INBOX))
		return -1;
	if (guid_equal(&b->box->guid, &GUID_INBOX))
		return 1;
	order = stamp_compare(&a->box->named_at, &b->box->named_at);
	return order ? order : guid_compare(&a->box->guid, &b->box->guid);
}

static struct named *live_names(const struct tree *t, size_t *ret_n)
{
	struct named *names = mb_xcalloc(t->n, sizeof(*names));
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *box = &t->nodes[i];
		if (!mailbox_alive(box))
			continue;
		struct named *name = &names[n++];
		name->box = box;
		name->parent = tree_resolve(t, box->parent);
		name->part = guid_is_zero(&name->parent) && strcasecmp(box->part, "INBOX") == 0
				     ? "INBOX"
				     : box->part;
	}
	qsort(names, n, sizeof(*names), compare_named);
	*ret_n = n;
	return names;
}

static bool has_birth_name(const struct mailbox *box)
{
	return guid_equal(&box->guid, &GUID_INBOX) || !box->old_part;
}

/* All that the one mailbox was, the other is as well.  Its name too, if that is later: a rename by
 * somebody who did not know that they are one; only INBOX keeps its own. */
static void join_merged(struct mailbox *winner, const struct mailbox *loser)
{
	struct mailbox as_winner = mailbox_as(loser, &winner->guid);
	if (guid_equal(&winner->guid, &GUID_INBOX))
		as_winner.named_at = as_winner.dead = STAMP_NONE;
	mailbox_join(winner, &as_winner);
}

void mailbox_set_selectable(struct mailbox *box, bool selectable, struct stamp than)
{
	if (box->selectable == selectable)
		return;
	box->selectable = selectable;
	box->selectable_at = stamp_after(stamp_max(box->selectable_at, than));
}

static bool is_open(const struct mailbox *box)
{
	return mailbox_alive(box) && box->selectable;
}

/* One that was only a name above others and one that holds mail are one that holds mail, whichever
 * was made later. */
void mailbox_merge_into(struct mailbox *loser, struct mailbox *winner)
{
	bool open = is_open(loser) || is_open(winner);
	join_merged(winner, loser);
	if (open)
		mailbox_set_selectable(winner, true, STAMP_NONE);
	loser->merged_into = winner->guid;
}

/* One replica made x part of y where another made y part of x: a sync in one direction, or with a mere
 * name, does not ask for the lower GUID.  The least of them stays, everywhere. */
static void break_loops(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct guid to = tree_resolve(t, t->nodes[i].guid);
		struct mailbox *least = tree_find(t, &to);
		if (least && mailbox_merged(least))
			least->merged_into = least->guid;
	}
}

/* Mailboxes that became others before, and were changed where that was not known. */
static void join_merged_before(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *loser = &t->nodes[i], *winner;
		if (!mailbox_merged(loser))
			continue;
		struct guid to = tree_resolve(t, loser->guid);
		winner = guid_equal(&to, &loser->guid) ? NULL : tree_find(t, &to);
		if (winner)
			join_merged(winner, loser);
	}
}

/* A side that nothing is written to knows it; more so, has it. */
static int must_stay(const struct merging *m, const struct mailbox *box)
{
	int source = scope_source(m->in->scope);
	const struct mailbox *there =
		source >= 0 ? tree_find(&m->in->side[source].tree, &box->guid) : NULL;
	return !there ? 0 : mailbox_alive(there) ? 2 : 1;
}

/* Of two with one name the one that the other becomes: INBOX, one that a side which gets nothing has, or
 * else knows, else the lowest GUID. */
static struct mailbox *winner_of(const struct merging *m, struct mailbox *a, struct mailbox *b)
{
	if (guid_equal(&a->guid, &GUID_INBOX) || guid_equal(&b->guid, &GUID_INBOX))
		return guid_equal(&a->guid, &GUID_INBOX) ? a : b;
	int order = must_stay(m, a) - must_stay(m, b);
	if (!order)
		order = guid_compare(&b->guid, &a->guid);
	return order > 0 ? a : b;
}

/* The one of these with one name that the others become. */
static struct mailbox *lowest(const struct merging *m, struct named *names, size_t n)
{
	struct mailbox *best = NULL;
	for (size_t i = 0; i < n; i++)
		if (has_birth_name(names[i].box))
			best = best ? winner_of(m, best, names[i].box) : names[i].box;
	return best;
}

static bool unite(struct merging *m, struct named *names, size_t n)
{
	struct mailbox *winner = lowest(m, names, n);
	bool changed = false;
	for (size_t i = 0; i < n; i++) {
		struct mailbox *box = names[i].box;
		if (box == winner || !has_birth_name(box) ||
		    !mailbox_may_become(box, &winner->guid))
			continue;
		mailbox_merge_into(box, winner);
		changed = true;
		notice_add(m, NOTICE_MAILBOX_MERGED, &winner->guid, NULL,
			   mb_xstrdup("made on both sides under one name; now it is one mailbox"));
	}
	return changed;
}

static size_t run_length(const struct named *names, size_t n)
{
	size_t run = 1;
	while (run < n && compare_name(&names[0], &names[run]) == 0)
		run++;
	return run;
}

/* Row 65.  Two mailboxes made apart that still have the name they were born with become one.  Then
 * their children may be two with one name, so again. */
bool rule_made_apart(struct merging *m)
{
	bool any = false, changed;
	do {
		size_t n, run;
		struct named *names = live_names(m->tree, &n);
		changed = false;
		for (size_t i = 0; i < n; i += run) {
			run = run_length(names + i, n - i);
			if (run > 1)
				changed |= unite(m, names + i, run);
		}
		free(names);
		any |= changed;
	} while (changed);
	return any;
}

void tree_join_sides(struct merging *m)
{
	join_nodes(m);
	break_loops(m->tree);
	join_merged_before(m->tree);
	rule_made_apart(m);
}

/* ---- cycles ---- */

/* The name before stays the one to go back to, unless there was none. */
static void set_name(struct mailbox *box, struct guid parent, const char *part)
{
	char *copy = mb_xstrdup(part);
	if (!box->old_part) {
		box->old_part = MB_TAKE(box->part);
		box->old_parent = box->parent;
	}
	free(box->part);
	box->part = copy;
	box->parent = parent;
	box->named_at = stamp_after(box->named_at);
}

/* Where the way up from `box` leads after more steps than there are mailboxes: NULL for the top,
 * else a mailbox on a cycle. */
static struct mailbox *way_up(const struct tree *t, struct mailbox *box)
{
	for (size_t steps = 0; box && steps <= t->n; steps++) {
		struct guid parent = tree_resolve(t, box->parent);
		if (guid_is_zero(&parent))
			return NULL;
		box = tree_find(t, &parent);
	}
	return box;
}

/* The mailbox of the cycle that was named last; only live ones can be renamed. */
static struct mailbox *latest_on_cycle(const struct tree *t, struct mailbox *start)
{
	struct mailbox *best = NULL, *box = start;
	do {
		if (mailbox_alive(box)) {
			int order = best ? stamp_compare(&box->named_at, &best->named_at) : 1;
			if (order > 0 || (order == 0 && guid_compare(&box->guid, &best->guid) > 0))
				best = box;
		}
		struct guid parent = tree_resolve(t, box->parent);
		box = tree_find(t, &parent);
	} while (box != start);
	return best;
}

/* Row 58.  Of mailboxes moved into each other the one that was moved last goes back to where it was;
 * if that leads into a cycle again, to the top. */
bool rule_cycles(struct merging *m)
{
	struct tree *t = m->tree;
	MB_AUTO_FREE bool *went_back = mb_xcalloc(t->n, sizeof(*went_back));
	bool changed = false;

	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *box = &t->nodes[i], *on;
		if (!mailbox_alive(box))
			continue;
		while ((on = way_up(t, box))) {
			struct mailbox *last = latest_on_cycle(t, on);
			if (!last)
				last = box; /* a cycle of deleted ones */
			size_t index = (size_t)(last - t->nodes);
			if (last->old_part && !went_back[index])
				set_name(last, last->old_parent, last->old_part);
			else
				set_name(last, GUID_ZERO, last->part);
			went_back[index] = true;
			changed = true;
			notice_add(m, NOTICE_CYCLE_BROKEN, &last->guid, NULL,
				   mb_xstrdup("moved into each other; the last move is undone"));
		}
	}
	return changed;
}

/* ---- equal names ---- */

/* part-1a2b3c4d, and with the whole GUID when that is taken too. */
static char *suffixed(const struct mailbox *box)
{
	char guid[GUID_TEXT], brief[10];
	guid_text(&box->guid, guid);
	snprintf(brief, sizeof(brief), "-%.8s", guid);
	size_t len = strlen(box->part), cut = strlen(brief);
	const char *suffix = brief;
	char whole[GUID_TEXT + 1];

	if (len > cut && strcmp(box->part + len - cut, brief) == 0) {
		len -= cut;
		snprintf(whole, sizeof(whole), "-%s", guid);
		suffix = whole;
	}
	if (len + strlen(suffix) > MAILBOX_PART_MAX)
		len = MAILBOX_PART_MAX - strlen(suffix);
	while (len > 1 && ((uint8_t)box->part[len] & 0xc0) == 0x80) /* never half a character */
		len--;
	return mb_xasprintf("%.*s%s", (int)len, box->part, suffix);
}

void mailbox_give_suffix(struct merging *m, struct mailbox *box)
{
	MB_AUTO_FREE char *part = suffixed(box);
	set_name(box, box->parent, part);
	notice_add(m, NOTICE_MAILBOX_SUFFIXED, &box->guid, NULL,
		   mb_xstrdup("two mailboxes wanted one name; the later one got a suffix"));
}

/* Only ever a name above others: no mail, and no UID that a client saw, has to be kept apart. */
static bool was_never_open(const struct mailbox *box)
{
	return !is_open(box) && box->uid_next <= 1 && !guid_equal(&box->guid, &GUID_INBOX);
}

/* A mere name becomes what else has its name, of two the higher GUID.  Not one that a side which gets
 * nothing keeps. */
static bool unite_mere(struct merging *m, struct mailbox *a, struct mailbox *b)
{
	struct mailbox *winner = was_never_open(a) && was_never_open(b) ? winner_of(m, a, b)
				 : was_never_open(a)			? b
									: a;
	struct mailbox *loser = winner == a ? b : a;
	if (!was_never_open(loser) || must_stay(m, loser) > must_stay(m, winner) ||
	    !mailbox_may_become(loser, &winner->guid))
		return false;
	mailbox_merge_into(loser, winner);
	rule_made_apart(m); /* those beneath may be two of one name now */
	return true;
}

/* Row 53, equal bytes. */
static bool clash_exact(struct merging *m, struct named *names, size_t n)
{
	bool changed = false;
	size_t first = 0; /* keeps its name */
	for (size_t i = 1; i < n; i++) {
		if (compare_name(&names[first], &names[i]) != 0) {
			first = i;
			continue;
		}
		if (unite_mere(m, names[first].box, names[i].box))
			return true;
		mailbox_give_suffix(m, names[i].box);
		changed = true;
	}
	return changed;
}

/* Row 66, for a file system that takes Foo and foo for one; names are sorted, so mailboxes with one
 * parent stand together.  The later one gets the suffix. */
static bool clash_folded(struct merging *m, struct named *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n && guid_equal(&names[i].parent, &names[k].parent);
		     k++) {
			if (!mailbox_part_same(names[i].part, names[k].part, true))
				continue;
			struct mailbox *a = names[i].box, *b = names[k].box;
			int order = stamp_compare(&a->named_at, &b->named_at);
			if (!order)
				order = guid_compare(&a->guid, &b->guid);
			mailbox_give_suffix(m, order > 0 && !guid_equal(&a->guid, &GUID_INBOX) ? a
											       : b);
			return true;
		}
	return false;
}

/* Rows 53 and 66.  Two mailboxes that want one name and were not both made under it: the later one
 * gets a suffix.  No mail is mixed. */
static bool rule_name_clash(struct merging *m)
{
	bool fold = m->in->side[0].case_insensitive || m->in->side[1].case_insensitive;
	size_t n;
	struct named *names = live_names(m->tree, &n);
	bool changed = clash_exact(m, names, n);
	if (!changed && fold)
		changed = clash_folded(m, names, n);
	free(names);
	return changed;
}

/* Each round makes one name longer or one mailbox fewer; the bound is for hostile input only. */
bool tree_settle_names(struct merging *m)
{
	size_t rounds = 4 * m->tree->n + 4;
	bool any = false;
	while (rounds-- && rule_name_clash(m))
		any = true;
	return any;
}
