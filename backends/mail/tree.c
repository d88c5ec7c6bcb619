/*
 * tree.c - the copies of a message and the tree of mailboxes.
 *
 * Both are plain sorted or listed arrays: pointers into them are valid until the next put or add.
 * A tree may hold any nodes that a peer sent: parents that are missing, cycles, loops of merges.
 */
#include "backends/base/ascii.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/mail/object.h"
#include <string.h>

void message_release(struct message *m)
{
	for (size_t i = 0; i < m->n; i++)
		copy_release(&m->copies[i]);
	free(m->copies);
	*m = (struct message){0};
}

struct copy *message_find(const struct message *m, uint64_t id)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->copies[i].id == id)
			return &m->copies[i];
	return NULL;
}

bool message_alive(const struct message *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (copy_alive(&m->copies[i]))
			return true;
	return false;
}

struct copy *message_add(struct message *m, uint64_t id)
{
	struct copy *c;

	if (m->n == m->cap) { /* nearly all have one, and there may be a million of them */
		m->cap = m->cap ? 2 * m->cap : 1;
		m->copies = mb_xreallocarray(m->copies, m->cap, sizeof(*m->copies));
	}
	c = &m->copies[m->n++];
	*c = (struct copy){.guid = m->guid, .id = id};
	return c;
}

void tree_release(struct tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		mailbox_release(&t->nodes[i]);
	free(t->nodes);
	*t = (struct tree){0};
}

void tree_clone(struct tree *dst, const struct tree *src)
{
	if (dst == src)
		return;
	tree_release(dst);
	dst->nodes = mb_xcalloc(src->n, sizeof(*dst->nodes));
	dst->n = dst->cap = src->n;
	for (size_t i = 0; i < src->n; i++)
		mailbox_clone(&dst->nodes[i], &src->nodes[i]);
}

/* Where g is, or belongs. */
static size_t node_index(const struct tree *t, const struct guid *g, bool *ret_found)
{
	size_t low = 0, high = t->n;

	*ret_found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = guid_compare(&t->nodes[mid].guid, g);

		if (order == 0) {
			*ret_found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct mailbox *tree_find(const struct tree *t, const struct guid *g)
{
	bool found;
	size_t i = node_index(t, g, &found);

	return found ? &t->nodes[i] : NULL;
}

struct mailbox *tree_put(struct tree *t, const struct mailbox *m)
{
	struct mailbox copy = {0}; /* m may lie in the tree */
	bool found;
	size_t i = node_index(t, &m->guid, &found);

	mailbox_clone(&copy, m);
	if (found) {
		mailbox_release(&t->nodes[i]);
	} else {
		MB_GROW(t->nodes, t->cap, t->n + 1);
		memmove(t->nodes + i + 1, t->nodes + i, (t->n - i) * sizeof(*t->nodes));
		t->n++;
	}
	t->nodes[i] = copy;
	return &t->nodes[i];
}

/* What g was merged into, or NULL. */
static const struct guid *merged_into(const struct tree *t, const struct guid *g)
{
	const struct mailbox *m = tree_find(t, g);

	return m && mailbox_merged(m) ? &m->merged_into : NULL;
}

/* In a loop every member resolves to its least GUID. */
struct guid tree_resolve(const struct tree *t, struct guid g)
{
	const struct guid *next = NULL;
	struct guid least, stop;

	for (size_t i = 0; i <= t->n; i++) {
		next = merged_into(t, &g);
		if (!next)
			return g;
		g = *next;
	}
	least = stop = g;
	do {
		next = merged_into(t, &g);
		if (!next)
			break;
		g = *next;
		if (guid_compare(&g, &least) < 0)
			least = g;
	} while (!guid_equal(&g, &stop));
	return least;
}

/* Fills `up` from g upwards; the number of nodes, or MB_E_NAME. */
static int walk_up(const struct tree *t, const struct guid *g,
		   const struct mailbox *up[MAILBOX_DEPTH_MAX])
{
	struct guid next = *g;
	int n = 0;

	do {
		const struct mailbox *m = tree_find(t, &next);

		if (!m || !m->part || n == MAILBOX_DEPTH_MAX)
			return MB_E_NAME;
		up[n++] = m;
		next = m->parent;
		if (!guid_is_zero(&next))
			next = tree_resolve(t, next);
	} while (!guid_is_zero(&next));
	return n;
}

int tree_parts(const struct tree *t, const struct guid *g, char ***ret_parts, size_t *ret_n)
{
	const struct mailbox *up[MAILBOX_DEPTH_MAX];
	int n = walk_up(t, g, up);
	char **parts;

	if (n < 0)
		return n;
	parts = mb_xcalloc((size_t)n + 1, sizeof(*parts));
	for (int i = 0; i < n; i++)
		parts[i] = mb_xstrdup(up[n - 1 - i]->part);
	*ret_parts = parts;
	*ret_n = (size_t)n;
	return 0;
}

char *tree_name(const struct tree *t, const struct guid *g)
{
	struct buf out = BUF_INIT;
	char text[GUID_TEXT], **parts;
	size_t n;

	if (tree_parts(t, g, &parts, &n) < 0)
		return mb_xasprintf("?%s", guid_text(g, text));
	layout_join((const char *const *)parts, n, &out);
	layout_parts_free(parts);
	buf_cstr(&out);
	return (char *)out.data;
}

/* A mailbox whose parent was merged into another is a child of that one. */
static bool is_child(const struct tree *t, const struct mailbox *m, const struct guid *parent)
{
	struct guid resolved;

	if (guid_is_zero(&m->parent) || guid_is_zero(parent))
		return guid_equal(&m->parent, parent);
	resolved = tree_resolve(t, m->parent);
	return guid_equal(&resolved, parent);
}

static bool is_below(const struct tree *t, const struct mailbox *m, const struct guid *g)
{
	for (int depth = 0; m && depth < MAILBOX_DEPTH_MAX; depth++) {
		struct guid parent = tree_resolve(t, m->parent);

		if (guid_equal(&parent, g))
			return true;
		m = tree_find(t, &parent);
	}
	return false;
}

/* A live mailbox beneath g: then g is needed as a parent even when it is dead. */
static bool has_live_below(const struct tree *t, const struct guid *g)
{
	for (size_t i = 0; i < t->n; i++)
		if (mailbox_alive(&t->nodes[i]) && is_below(t, &t->nodes[i], g))
			return true;
	return false;
}

static bool has_name(const struct mailbox *m, const char *part)
{
	if (!m->part)
		return false;
	if (guid_is_zero(&m->parent) && ascii_casecmp(part, "INBOX") == 0)
		return ascii_casecmp(m->part, part) == 0;
	return strcmp(m->part, part) == 0;
}

struct mailbox *tree_child(const struct tree *t, const struct guid *parent, const char *part)
{
	struct mailbox *structural = NULL;

	for (size_t i = 0; i < t->n; i++) {
		struct mailbox *m = &t->nodes[i];

		if (!is_child(t, m, parent) || !has_name(m, part))
			continue;
		if (mailbox_alive(m))
			return m;
		if (!structural && !mailbox_merged(m) && has_live_below(t, &m->guid))
			structural = m;
	}
	return structural;
}
