/*
 * gather.c - see gather.h.
 */
#include "sync/gather.h"

#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "sync/apply.h"
#include "sync/fill.h"
#include "sync/old-mail.h"

#include <errno.h>
#include <string.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

struct gather_key {
	struct guid guid;
	UT_hash_handle hh;
};

void gather_release(struct gather *g)
{
	struct gather_key *k, *next;

	HASH_ITER (hh, g->keys, k, next) {
		HASH_DEL(g->keys, k);
		free(k);
	}
	free(g->order);
	free(g->aliases);
	for (int i = 0; i < 2; i++) {
		tree_release(&g->given[i]);
		merge_side_release(&g->in.side[i]);
	}
	memset(g, 0, sizeof(*g));
}

void gather_add(struct gather *g, const struct guid *key)
{
	struct gather_key *k;

	HASH_FIND(hh, g->keys, key, sizeof(*key), k);
	if (k)
		return;
	k = mb_xcalloc(1, sizeof(*k));
	k->guid = *key;
	HASH_ADD(hh, g->keys, guid, sizeof(k->guid), k);
	MB_GROW(g->order, g->cap_order, g->n_order + 1);
	g->order[g->n_order++] = *key;
}

void gather_add_news(struct gather *g, const struct change_set *news)
{
	for (size_t i = 0; i < news->n_messages; i++)
		gather_add(g, &news->messages[i]);
	for (size_t i = 0; i < news->n_aliases; i++)
		gather_add(g, &news->aliases[i].to);
}

/* ---- a full comparison ----------------------------------------------------------------------- */

#define PAGE 16384

/* The GUIDs of one side, in order, a page at a time. */
struct guid_stream {
	struct backend *b;
	struct backend *other; /* will be asked for the messages of a page, too */
	struct guid *page;     /* owned */
	size_t n, at;
	bool last; /* there is no page after this one */
};

static int keep_guid(const struct guid *key, void *arg)
{
	struct guid_stream *s = arg;

	s->page[s->n++] = *key;
	return s->n == PAGE;
}

/* The next GUID, or NULL at the end. */
static int stream_peek(struct guid_stream *s, const struct guid **ret)
{
	if (s->at == s->n && !s->last) {
		struct guid after = s->n ? s->page[s->n - 1] : GUID_ZERO;
		bool first = s->n == 0;

		s->n = s->at = 0;
		int err = s->b->ops->each_message(s->b, first ? NULL : &after, keep_guid, s);
		if (err < 0)
			return err;
		s->last = s->n < PAGE;
		const struct backend_ask ask = {.messages = s->page, .n_messages = s->n};
		backend_foresee(s->b, &ask);
		backend_foresee(s->other, &ask);
	}
	*ret = s->at < s->n ? &s->page[s->at] : NULL;
	return 0;
}

static bool same_message(const struct guid *key, const struct message *a, const struct message *b)
{
	bool same = a->n == b->n && guid_equal(&a->guid, key) && guid_equal(&b->guid, key);

	for (size_t i = 0; same && i < a->n; i++) {
		const struct copy *c = message_find(b, a->copies[i].id);
		same = c && copy_equal(&a->copies[i], c);
	}
	return same;
}

static int compare_message(struct gather *g, const struct guid *key)
{
	struct message m[2] = {0};
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++)
		err = g->b[i]->ops->message(g->b[i], key, &m[i]);
	if (err == -ENOENT || (err >= 0 && !same_message(key, &m[0], &m[1]))) {
		gather_add(g, key);
		for (int i = 0; i < 2 && g->fill; i++)
			fill_touch(g->fill, &m[i]);
		err = 0;
	}
	g->both += err >= 0 && message_alive(&m[0]) && message_alive(&m[1]);
	message_release(&m[0]);
	message_release(&m[1]);
	return err < 0 ? err : 0;
}

/* The lower of both, or the one that both have: compared, or on one side only. */
static int step(struct gather *g, struct guid_stream s[2], const struct guid *const next[2])
{
	int order = !next[0] ? 1 : !next[1] ? -1 : guid_compare(next[0], next[1]);
	int err = 0;

	g->related |= order == 0;
	if (order == 0)
		err = compare_message(g, next[0]);
	else if (g->fill)
		err = fill_see(g->fill, order > 0, next[order > 0]);
	else
		gather_add(g, next[order > 0]);
	s[0].at += order <= 0;
	s[1].at += order >= 0;
	return err;
}

int gather_add_differences(struct gather *g)
{
	struct guid_stream s[2] = {{.b = g->b[0], .other = g->b[1]},
				   {.b = g->b[1], .other = g->b[0]}};
	const struct guid *next[2];
	uint64_t done = 0;
	int err = 0;

	g->compared = true;
	for (int i = 0; i < 2; i++)
		s[i].page = mb_xcalloc(PAGE, sizeof(struct guid));
	do {
		for (int i = 0; i < 2 && err >= 0; i++)
			err = stream_peek(&s[i], &next[i]);
		if (err >= 0 && (next[0] || next[1]))
			err = step(g, s, next);
		progress_tell(g->progress, PROGRESS_COMPARING, ++done, 0);
	} while (err >= 0 && (next[0] || next[1]));
	free(s[0].page);
	free(s[1].page);
	return err;
}

static int add_one(const struct guid *key, void *arg)
{
	gather_add(arg, key);
	return 0;
}

int gather_add_all(struct gather *g)
{
	int err = 0;

	for (int i = 0; i < 2 && err >= 0; i++)
		err = g->b[i]->ops->each_message(g->b[i], NULL, add_one, g);
	return err;
}

/* ---- states ---------------------------------------------------------------------------------- */

static void add_alias(struct gather *g, int side, const struct guid *from, const struct guid *to)
{
	MB_GROW(g->aliases, g->cap_aliases, g->n_aliases + 1);
	g->aliases[g->n_aliases++] = (struct gather_alias){.side = side, .from = *from, .to = *to};
}

static int read_message(struct gather *g, int i, const struct guid *key)
{
	struct merge_side *s = &g->in.side[i];
	struct message m = {0};

	int err = g->b[i]->ops->message(g->b[i], key, &m);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	if (m.missing) {
		MB_GROW(s->missing, g->cap_missing[i], s->n_missing + 1);
		s->missing[s->n_missing++] = m.guid;
	}
	if (m.n == 0) {
		message_release(&m);
		return 0;
	}
	if (!guid_equal(&m.guid, key)) { /* it knows the message under another name */
		gather_add(g, &m.guid);
		add_alias(g, i, key, &m.guid);
		message_release(&m);
		return 0;
	}
	MB_GROW(s->messages, g->cap_messages[i], s->n_messages + 1);
	s->messages[s->n_messages++] = m;
	return 0;
}

static int add_holder(struct gather *g, int other, const struct guid *mailbox, uint32_t uid,
		      void *arg)
{
	struct guid holder;
	int err = g->b[other]->ops->by_uid(g->b[other], mailbox, uid, &holder);

	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	gather_add(g, &holder);
	return 0;
}

/* Calls fn for each place that a message of side i has, as either side calls its mailbox. */
static int each_place(struct gather *g, int i, const struct message *m,
		      int (*fn)(struct gather *g, int other, const struct guid *mailbox,
				uint32_t uid, void *arg),
		      void *arg)
{
	const struct tree *there_tree = &g->in.side[1 - i].tree;
	int err = 0;

	for (size_t c = 0; err >= 0 && c < m->n; c++) {
		const struct place *p = &m->copies[c].place;
		if (!copy_alive(&m->copies[c]) || !p->uid)
			continue;
		err = fn(g, 1 - i, &p->mailbox, p->uid, arg);
		struct guid there = tree_resolve(there_tree, p->mailbox);
		if (err >= 0 && !guid_equal(&there, &p->mailbox))
			err = fn(g, 1 - i, &there, p->uid, arg);
	}
	return err;
}

struct uid_list {
	struct backend_ask_uid *list; /* owned */
	size_t n, cap;
};

static int list_uid(struct gather *g, int other, const struct guid *mailbox, uint32_t uid,
		    void *arg)
{
	struct uid_list *l = arg;

	MB_GROW(l->list, l->cap, l->n + 1);
	l->list[l->n++] = (struct backend_ask_uid){*mailbox, uid};
	return 0;
}

/* Messages of the other side that have the UIDs of those of side i, from the one with that index on. */
static int add_neighbours(struct gather *g, int i, size_t from)
{
	const struct merge_side *s = &g->in.side[i];
	struct uid_list uids = {0};
	int err = 0;

	for (size_t k = from; g->b[1 - i]->ops->foresee && k < s->n_messages; k++)
		each_place(g, i, &s->messages[k], list_uid, &uids);
	backend_foresee(g->b[1 - i], &(struct backend_ask){.uids = uids.list, .n_uids = uids.n});
	free(uids.list);
	for (size_t k = from; err >= 0 && k < s->n_messages; k++)
		err = each_place(g, i, &s->messages[k], add_holder, NULL);
	return err;
}

/* Of UIDs that were given while the news was read, the messages may not be in it. */
static void mark_given_since(struct tree *t, const struct tree *before)
{
	for (size_t i = 0; before->n && i < t->n; i++) {
		struct mailbox *now = &t->nodes[i];
		const struct mailbox *was = tree_find(before, &now->guid);
		uint32_t next = was && was->uid_next ? was->uid_next : 1;
		if (next < now->uid_next)
			now->uid_unheard = next;
	}
}

static int read_trees(struct gather *g)
{
	for (int i = 0; i < 2; i++) {
		struct merge_side *s = &g->in.side[i];
		int err = g->b[i]->ops->tree(g->b[i], &s->tree);
		if (err < 0)
			return err;
		mark_given_since(&s->tree, &g->given[i]);
		s->caps = g->info[i].caps;
		s->replica = g->info[i].replica;
		s->case_insensitive = s->caps & CAP_FOLDS;
	}
	return 0;
}

/* The keys from `from` to `to`, on both sides, and their neighbours. */
static int read_keys(struct gather *g, size_t from, size_t to)
{
	size_t first[2];
	int err = 0;

	for (int i = 0; i < 2; i++) {
		first[i] = g->in.side[i].n_messages;
		backend_foresee(g->b[i], &(struct backend_ask){.messages = g->order + from,
							       .n_messages = to - from});
	}
	for (size_t k = from; err >= 0 && k < to; k++) {
		struct guid key = g->order[k];
		progress_tell(g->progress, PROGRESS_COMPARING, k, g->n_order);
		for (int i = 0; err >= 0 && i < 2; i++)
			err = read_message(g, i, &key);
	}
	for (int i = 0; err >= 0 && i < 2; i++)
		err = add_neighbours(g, i, first[i]);
	return err;
}

int gather_read(struct gather *g)
{
	int err = read_trees(g);

	/* The list grows by neighbours while it is walked; it ends because each key comes once. */
	for (size_t k = 0, to; err >= 0 && k < g->n_order; k = to) {
		to = g->n_order;
		err = read_keys(g, k, to);
	}
	if (err < 0)
		return err;
	for (int i = 0; i < 2; i++)
		merge_side_sort(&g->in.side[i]);
	return 0;
}

/* ---- old mail -------------------------------------------------------------------------------- */

bool gather_share_a_mailbox(const struct tree *a, const struct tree *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (!guid_equal(&a->nodes[i].guid, &GUID_INBOX) && tree_find(b, &a->nodes[i].guid))
			return true;
	return false;
}

uint64_t gather_hold_old(struct gather *g)
{
	const uint64_t forgotten[2] = {g->info[0].forgotten, g->info[1].forgotten};

	if (!g->filled)
		g->strangers = g->compared && !g->related &&
			       !gather_share_a_mailbox(&g->in.side[0].tree, &g->in.side[1].tree);
	if (g->strangers)
		return 0;
	return old_mail_hold(&g->in, forgotten);
}
