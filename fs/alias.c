/*
 * alias.c - a small hash of retired names; targets are found by walking it, which happens only when
 * a name changes while there are aliases at all.
 */
#include "fs/alias.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include <string.h>

static size_t bucket(const struct node *dir, const char *name)
{
	return checksum64(name, strlen(name), (uintptr_t)dir) % ALIAS_BUCKETS;
}

void alias_table_init(struct alias_table *t, struct node_table *nodes)
{
	*t = (struct alias_table){.nodes = nodes};
}

static void remove_at(struct alias_table *t, struct alias **p)
{
	struct alias *a = *p;

	*p = a->next;
	node_unref(t->nodes, a->dir);
	node_unref(t->nodes, a->to_dir);
	free(a->name);
	free(a->to_name);
	free(a);
	t->n--;
}

void alias_table_release(struct alias_table *t)
{
	for (size_t i = 0; i < ALIAS_BUCKETS; i++)
		while (t->by_name[i])
			remove_at(t, &t->by_name[i]);
}

static struct alias **find(struct alias_table *t, const struct node *dir, const char *name)
{
	struct alias **p = &t->by_name[bucket(dir, name)];

	while (*p && ((*p)->dir != dir || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

/* Of one mailbox: cur and new of the same directory. */
static bool together(const struct node *a, const struct node *b)
{
	return a == b || (a->name.dir && a->name.dir == b->name.dir);
}

void alias_add(struct alias_table *t, struct node *dir, const char *name, struct node *to_dir,
	       const char *to_name, int64_t now_ns)
{
	struct alias **p, *a;

	alias_shadowed(t, dir, name);
	if (!together(dir, to_dir))
		return;
	a = mb_xcalloc(1, sizeof(*a));
	a->dir = dir;
	a->to_dir = to_dir;
	a->name = mb_xstrdup(name);
	a->to_name = mb_xstrdup(to_name);
	a->expires_ns = now_ns + ALIAS_LIFE_NS;
	node_ref(dir);
	node_ref(to_dir);
	p = &t->by_name[bucket(dir, name)];
	a->next = *p;
	*p = a;
	t->n++;
}

const struct alias *alias_find(const struct alias_table *t, const struct node *dir,
			       const char *name, int64_t now_ns)
{
	const struct alias *a = t->n ? t->by_name[bucket(dir, name)] : NULL;

	while (a && (a->dir != dir || strcmp(a->name, name) != 0))
		a = a->next;
	return a && a->expires_ns > now_ns ? a : NULL;
}

void alias_shadowed(struct alias_table *t, const struct node *dir, const char *name)
{
	struct alias **p;

	if (!t->n)
		return;
	p = find(t, dir, name);
	if (*p)
		remove_at(t, p);
}

void alias_follow(struct alias_table *t, const struct node *dir, const char *name,
		  struct node *to_dir, const char *to_name)
{
	for (size_t i = 0; t->n && i < ALIAS_BUCKETS; i++) {
		for (struct alias **p = &t->by_name[i], *a; (a = *p);) {
			bool hit = a->to_dir == dir && strcmp(a->to_name, name) == 0;

			if (hit && (!to_dir || !together(a->dir, to_dir))) {
				remove_at(t, p);
				continue;
			}
			if (hit) {
				node_ref(to_dir);
				node_unref(t->nodes, a->to_dir);
				a->to_dir = to_dir;
				free(a->to_name);
				a->to_name = mb_xstrdup(to_name);
			}
			p = &a->next;
		}
	}
}

void alias_expire(struct alias_table *t, int64_t now_ns)
{
	for (size_t i = 0; t->n && i < ALIAS_BUCKETS; i++) {
		for (struct alias **p = &t->by_name[i]; *p;) {
			if ((*p)->expires_ns <= now_ns)
				remove_at(t, p);
			else
				p = &(*p)->next;
		}
	}
}

/* What `old` had and `wanted` has not goes from `real`; what only `wanted` has is added. */
static uint32_t merge(uint32_t old, uint32_t wanted, uint32_t real)
{
	return (real | (wanted & ~old)) & ~(old & ~wanted);
}

bool alias_merge_name(const char *old, const char *wanted, const char *real,
		      char out[FNAME_MAX + 1])
{
	struct fname o, w, r;
	bool same_base;

	fname_parse(old, &o);
	fname_parse(wanted, &w);
	fname_parse(real, &r);
	same_base = o.base_len == w.base_len && memcmp(old, wanted, o.base_len) == 0;
	return fname_write(same_base ? real : wanted, same_base ? r.base_len : w.base_len,
			   w.separator ? w.separator : r.separator,
			   (uint8_t)merge(o.flags, w.flags, r.flags),
			   merge(o.keywords, w.keywords, r.keywords),
			   merge(o.others, w.others, r.others), r.extra, out);
}
