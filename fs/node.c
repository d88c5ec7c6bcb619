/*
 * node.c - the table of nodes and names.
 *
 * Two chained hash tables that double when they are full; both are intrusive, so that a mail costs
 * one node and one name.  Locks: the caller's (the table lock).
 */
#include "fs/node.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <string.h>

#define FIRST_BUCKETS 1024

static size_t hash_key(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev << 48) * 0x9e3779b97f4a7c15ull;

	return (size_t)(h ^ h >> 32);
}

static size_t hash_name(const struct node *dir, const char *name)
{
	uint64_t h = (uintptr_t)dir ^ 0xcbf29ce484222325ull;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
	h *= 0x9e3779b97f4a7c15ull;
	return (size_t)(h ^ h >> 32);
}

static void grow_keys(struct node_table *t)
{
	size_t mask = t->key_mask * 2 + 1;
	struct node **buckets = mb_xcalloc(mask + 1, sizeof(struct node *));

	for (size_t i = 0; i <= t->key_mask; i++) {
		for (struct node *n = t->by_key[i], *next; n; n = next) {
			struct node **b = &buckets[hash_key(n->dev, n->ino) & mask];

			next = n->hash_next;
			n->hash_next = *b;
			*b = n;
		}
	}
	free(t->by_key);
	t->by_key = buckets;
	t->key_mask = mask;
}

static void grow_names(struct node_table *t)
{
	size_t mask = t->name_mask * 2 + 1;
	struct link **buckets = mb_xcalloc(mask + 1, sizeof(struct link *));

	for (size_t i = 0; i <= t->name_mask; i++) {
		for (struct link *l = t->by_name[i], *next; l; l = next) {
			struct link **b = &buckets[hash_name(l->parent, l->name) & mask];

			next = l->hash_next;
			l->hash_next = *b;
			*b = l;
		}
	}
	free(t->by_name);
	t->by_name = buckets;
	t->name_mask = mask;
}

static void key_in(struct node_table *t, struct node *n)
{
	struct node **b;

	if (t->n_keys++ > t->key_mask)
		grow_keys(t);
	b = &t->by_key[hash_key(n->dev, n->ino) & t->key_mask];
	n->hash_next = *b;
	*b = n;
	n->hashed = true;
}

static struct node **gone_bucket(struct node_table *t, const struct node *n)
{
	return &t->gone[((uintptr_t)n >> 6) % NODE_GONE_BUCKETS];
}

static void chain_out(struct node **p, const struct node *n)
{
	while (*p != n)
		p = &(*p)->hash_next;
	*p = n->hash_next;
}

/* Not found by its inode any more; kept in sight until it is forgotten. */
static void key_out(struct node_table *t, struct node *n)
{
	struct node **gone = gone_bucket(t, n);

	if (!n->hashed)
		return;
	chain_out(&t->by_key[hash_key(n->dev, n->ino) & t->key_mask], n);
	n->hashed = false;
	t->n_keys--;
	n->hash_next = *gone;
	*gone = n;
}

static struct node *node_new(struct node_table *t, const struct stat *st)
{
	struct node *n = mb_xcalloc(1, sizeof(*n));

	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->type = st->st_mode & S_IFMT;
	n->kept_fd = -1;
	if (S_ISDIR(st->st_mode)) {
		n->dir = mb_xcalloc(1, sizeof(*n->dir));
		n->dir->next_cookie = 3; /* 1 and 2 are "." and ".." */
	}
	key_in(t, n);
	return n;
}

void node_table_init(struct node_table *t, const struct stat *root,
		     void (*on_free)(struct node *n, void *arg), void *arg)
{
	*t = (struct node_table){.on_free = on_free, .arg = arg};
	t->key_mask = t->name_mask = FIRST_BUCKETS - 1;
	t->by_key = mb_xcalloc(FIRST_BUCKETS, sizeof(struct node *));
	t->by_name = mb_xcalloc(FIRST_BUCKETS, sizeof(struct link *));
	t->root = node_new(t, root);
	node_ref(t->root);
}

static void node_free(struct node_table *t, struct node *n)
{
	key_out(t, n);
	chain_out(gone_bucket(t, n), n);
	if (t->on_free)
		t->on_free(n, t->arg);
	free(n->dir);
	free(n);
}

void node_table_release(struct node_table *t)
{
	for (size_t i = 0; i <= t->name_mask; i++) {
		for (struct link *l = t->by_name[i], *next; l; l = next) {
			next = l->hash_next;
			free(l);
		}
	}
	for (size_t i = 0; i <= t->key_mask; i++)
		while (t->by_key[i])
			node_free(t, t->by_key[i]);
	for (size_t i = 0; i < NODE_GONE_BUCKETS; i++)
		while (t->gone[i])
			node_free(t, t->gone[i]);
	free(t->by_key);
	free(t->by_name);
	*t = (struct node_table){0};
}

struct node *node_find(struct node_table *t, uint64_t dev, uint64_t ino)
{
	struct node *n = t->by_key[hash_key(dev, ino) & t->key_mask];

	while (n && (n->ino != ino || n->dev != dev))
		n = n->hash_next;
	return n;
}

struct node *node_next_sibling(const struct node *n)
{
	const struct node *next = n->hash_next;

	while (next && (next->ino != n->ino || next->dev != n->dev))
		next = next->hash_next;
	return (struct node *)(uintptr_t)next;
}

struct node *node_get(struct node_table *t, const struct stat *st)
{
	struct node *n = node_find(t, st->st_dev, st->st_ino);

	if (n && n->type == (st->st_mode & S_IFMT))
		return n;
	if (n) /* the inode number was given to a new file: the old one is gone */
		key_out(t, n);
	return node_new(t, st);
}

bool node_rekey(struct node_table *t, struct node *n, const struct stat *st)
{
	if (n->hashed && n->ino == st->st_ino && n->dev == st->st_dev)
		return true;
	if (node_find(t, st->st_dev, st->st_ino))
		return false;
	key_out(t, n);
	chain_out(gone_bucket(t, n), n);
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	key_in(t, n);
	return true;
}

struct link *node_find_name(struct node_table *t, const struct node *dir, const char *name)
{
	struct link *l = t->by_name[hash_name(dir, name) & t->name_mask];

	while (l && (l->parent != dir || strcmp(l->name, name) != 0))
		l = l->hash_next;
	return l;
}

struct link *node_add_name(struct node_table *t, struct node *n, struct node *dir, const char *name)
{
	size_t len = strlen(name) + 1;
	struct link *l = mb_xmalloc(sizeof(*l) + len);
	struct link **b;

	if (!n->hashed && !node_find(t, n->dev, n->ino)) { /* it had lost all its names */
		chain_out(gone_bucket(t, n), n);
		key_in(t, n);
	}
	if (t->n_names++ > t->name_mask)
		grow_names(t);
	memcpy(l->name, name, len);
	l->node = n;
	l->parent = dir;
	node_ref(dir);
	b = &t->by_name[hash_name(dir, name) & t->name_mask];
	l->hash_next = *b;
	*b = l;
	l->next = n->links;
	n->links = l;
	return l;
}

/* Out of both chains; gives the parent, whose reference the caller now holds. */
static struct node *name_out(struct node_table *t, struct link *l)
{
	struct link **p = &t->by_name[hash_name(l->parent, l->name) & t->name_mask];
	struct node *parent = l->parent;

	while (*p != l)
		p = &(*p)->hash_next;
	*p = l->hash_next;
	for (p = &l->node->links; *p != l; p = &(*p)->next)
		;
	*p = l->next;
	t->n_names--;
	free(l);
	return parent;
}

/* Frees n if nothing holds it, then each directory that only its names held. */
static void reap(struct node_table *t, struct node *n)
{
	while (n && n->nlookup == 0 && n->refs == 0) {
		struct node *parent = n->links ? name_out(t, n->links) : NULL;

		while (n->links)
			node_unref(t, name_out(t, n->links));
		node_free(t, n);
		if (parent)
			parent->refs--;
		n = parent;
	}
}

void node_drop_name(struct node_table *t, struct link *l)
{
	struct node *n = l->node;
	struct node *parent = name_out(t, l);

	if (!n->links)
		key_out(t, n);
	reap(t, n);
	node_unref(t, parent);
}

static void drop_other_names(struct node_table *t, struct node *n)
{
	node_ref(n);
	while (n->links)
		node_unref(t, name_out(t, n->links));
	n->refs--;
}

static bool is_node_of(const struct node *n, const struct stat *st)
{
	return n->hashed && n->ino == st->st_ino && n->dev == st->st_dev &&
	       n->type == (st->st_mode & S_IFMT);
}

static bool is_message_dir(const struct node *dir)
{
	return dir->dir->kind == NODE_CUR || dir->dir->kind == NODE_NEW;
}

/* The node for a name of this file in `dir` that is not known yet.  A link in tmp will be a message by a
 * rename, with which the kernel keeps its node: it is one of its own from the start. */
static struct node *node_for_name(struct node_table *t, const struct node *dir,
				  const struct stat *st)
{
	struct node *n = node_get(t, st);

	if (n->dir || st->st_nlink == 1 || !(is_message_dir(dir) || dir->dir->kind == NODE_TMP))
		return n;
	while (n && node_message_name(n))
		n = node_next_sibling(n);
	return n ? n : node_new(t, st);
}

struct node *node_bind(struct node_table *t, struct node *dir, const char *name,
		       const struct stat *st)
{
	struct link *l = node_find_name(t, dir, name);
	struct node *n;

	if (l && is_node_of(l->node, st))
		return l->node;
	n = node_for_name(t, dir, st);
	node_ref(n);
	if (l)
		node_drop_name(t, l);
	if (n->links && (n->dir || st->st_nlink == 1))
		drop_other_names(t, n);
	n->token = false;
	node_add_name(t, n, dir, name);
	n->refs--;
	return n;
}

void node_ref(struct node *n)
{
	n->refs++;
}

void node_unref(struct node_table *t, struct node *n)
{
	n->refs--;
	reap(t, n);
}

void node_forget(struct node_table *t, struct node *n, uint64_t nlookup)
{
	n->nlookup = nlookup < n->nlookup ? n->nlookup - nlookup : 0;
	reap(t, n);
}

int node_path(const struct node *dir, const char *name, char out[PATH_MAX])
{
	size_t at = PATH_MAX - 1;
	size_t len = name ? strlen(name) : 0;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	out[at] = '\0';
	at -= len;
	memcpy(out + at, name ? name : "", len);
	for (const struct link *l; dir->links; dir = l->parent) {
		l = dir->links;
		len = strlen(l->name);
		if (len + 1 > at)
			return -ENAMETOOLONG;
		if (out[at])
			out[--at] = '/';
		at -= len;
		memcpy(out + at, l->name, len);
	}
	memmove(out, out + at, PATH_MAX - at);
	/* Only the root has no name and is still found by its inode. */
	return dir->hashed ? 0 : -ENOENT;
}

const struct link *node_message_name(const struct node *n)
{
	const struct link *l = n->links;

	while (l && !is_message_dir(l->parent))
		l = l->next;
	return l;
}

int node_any_path(const struct node *n, char out[PATH_MAX])
{
	const struct link *l = node_message_name(n);

	if (n->dir)
		return node_path(n, NULL, out);
	if (!l)
		l = n->links;
	return l ? node_path(l->parent, l->name, out) : -ENOENT;
}

struct node *node_walk(struct node_table *t, const char *path, size_t len)
{
	struct node *n = t->root;
	char name[NAME_MAX + 1];

	while (len > 0 && n) {
		const char *slash = memchr(path, '/', len);
		size_t part = slash ? (size_t)(slash - path) : len;
		struct link *l;

		if (part > NAME_MAX)
			return NULL;
		memcpy(name, path, part);
		name[part] = '\0';
		l = node_find_name(t, n, name);
		n = l ? l->node : NULL;
		part += slash ? 1 : 0;
		path += part;
		len -= part;
	}
	return n;
}

unsigned node_n_message_names(const struct node *n)
{
	unsigned count = 0;

	for (const struct link *l = n->links; l; l = l->next)
		count += is_message_dir(l->parent);
	return count;
}

unsigned node_n_links(struct node_table *t, const struct node *n)
{
	unsigned count = 0;

	if (!n->hashed)
		return node_n_names(n);
	for (const struct node *s = node_find(t, n->dev, n->ino); s; s = node_next_sibling(s))
		count += node_n_names(s);
	return count;
}

unsigned node_n_names(const struct node *n)
{
	unsigned count = 0;

	for (const struct link *l = n->links; l; l = l->next)
		count++;
	return count;
}
