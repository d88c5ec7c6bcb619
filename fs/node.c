/*
 * node.c - the table of nodes: by inode, and their life.  Their names are in node-name.c.
 *
 * Nodes lie in a pool and are chained by their numbers in a hash table that doubles when it is full.
 * Locks: the caller's (the table lock).
 */
#include "fs/node.h"
#include "backends/base/mem.h"
#include "fs/folder.h"
#include "fs/node-private.h"
#include <string.h>

#define FIRST_BUCKETS 1024

static struct node_table *table_of(const struct node *n)
{
	return pool_owner(pool_of(n));
}

struct node *node_by_id(const struct node *any, uint32_t id)
{
	return id ? pool_at(pool_of(any), id) : NULL;
}

/* ---- devices ---- */

/* Mail and what lies about it are on one, or on very few.  Should there ever be more than the table
 * holds, the files of the last ones are not found again, and looked up anew each time. */
static uint8_t dev_number(struct node_table *t, uint64_t dev)
{
	for (unsigned i = 0; i < t->n_devs; i++)
		if (t->devs[i] == dev)
			return (uint8_t)i;
	if (t->n_devs < NODE_DEVS)
		t->n_devs++;
	t->devs[t->n_devs - 1] = dev;
	return (uint8_t)(t->n_devs - 1);
}

uint64_t node_dev(const struct node *n)
{
	return table_of(n)->devs[n->dev];
}

bool node_is(const struct node *n, const struct stat *st)
{
	return n->ino == st->st_ino && node_dev(n) == st->st_dev;
}

/* ---- found by inode ---- */

static size_t hash_key(uint8_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ (uint64_t)dev << 48) * 0x9e3779b97f4a7c15ull;

	return (size_t)(h ^ h >> 32);
}

static uint32_t *bucket_of(struct node_table *t, uint8_t dev, uint64_t ino)
{
	return &t->by_key[hash_key(dev, ino) & t->key_mask];
}

static void chain_in(uint32_t *bucket, struct node *n)
{
	n->hash_next = *bucket;
	*bucket = pool_id(n);
}

static void chain_out(struct node_table *t, uint32_t *p, struct node *n)
{
	uint32_t id = pool_id(n);

	while (*p != id)
		p = &((struct node *)pool_at(t->pool, *p))->hash_next;
	*p = n->hash_next;
}

static void resize_keys(struct node_table *t, size_t mask)
{
	uint32_t *old = t->by_key;
	size_t old_mask = t->key_mask;

	t->by_key = mb_xcalloc(mask + 1, sizeof(*t->by_key));
	t->key_mask = mask;
	for (size_t i = 0; i <= old_mask; i++) {
		for (uint32_t id = old[i], next; id; id = next) {
			struct node *n = pool_at(t->pool, id);

			next = n->hash_next;
			chain_in(bucket_of(t, n->dev, n->ino), n);
		}
	}
	free(old);
}

static void key_in(struct node_table *t, struct node *n)
{
	if (t->n_keys++ > t->key_mask)
		resize_keys(t, t->key_mask * 2 + 1);
	chain_in(bucket_of(t, n->dev, n->ino), n);
	n->hashed = true;
}

static uint32_t *gone_bucket(struct node_table *t, const struct node *n)
{
	return &t->gone[pool_id(n) % NODE_GONE_BUCKETS];
}

void node_hide(struct node_table *t, struct node *n)
{
	if (!n->hashed)
		return;
	chain_out(t, bucket_of(t, n->dev, n->ino), n);
	n->hashed = false;
	t->n_keys--;
	chain_in(gone_bucket(t, n), n);
}

void node_unhide(struct node_table *t, struct node *n)
{
	if (n->hashed || node_find(t, node_dev(n), n->ino))
		return;
	chain_out(t, gone_bucket(t, n), n);
	key_in(t, n);
}

struct node *node_find(struct node_table *t, uint64_t dev, uint64_t ino)
{
	uint8_t number = dev_number(t, dev);
	uint32_t id = *bucket_of(t, number, ino);
	struct node *n;

	for (; id; id = n->hash_next) {
		n = pool_at(t->pool, id);
		if (n->ino == ino && n->dev == number)
			return n;
	}
	return NULL;
}

struct node *node_next_sibling(const struct node *n)
{
	struct node *next = node_by_id(n, n->hash_next);

	while (next && (next->ino != n->ino || next->dev != n->dev))
		next = node_by_id(n, next->hash_next);
	return next;
}

/* ---- life ---- */

static void more_init(struct more *m)
{
	m->kept_fd = -1;
}

struct more *node_more(struct node *n)
{
	struct more *m = n->more;

	if (m)
		return m;
	m = mb_xcalloc(1, sizeof(*m));
	more_init(m);
	__atomic_store_n(&n->more, m, __ATOMIC_RELEASE);
	return m;
}

struct node *node_new(struct node_table *t, const struct stat *st)
{
	struct node *n = pool_take(t->pool);

	n->dev = dev_number(t, st->st_dev);
	n->ino = st->st_ino;
	n->type = (uint8_t)((st->st_mode & S_IFMT) >> 12);
	if (S_ISDIR(st->st_mode)) {
		n->dir = mb_xcalloc(1, sizeof(*n->dir));
		more_init(&n->dir->more);
	}
	key_in(t, n);
	return n;
}

void node_table_init(struct node_table *t, const struct stat *root,
		     void (*on_free)(struct node *n, void *arg), void *arg)
{
	*t = (struct node_table){.on_free = on_free, .arg = arg};
	t->pool = pool_new(sizeof(struct node), t);
	t->key_mask = FIRST_BUCKETS - 1;
	t->by_key = mb_xcalloc(FIRST_BUCKETS, sizeof(*t->by_key));
	t->root = node_new(t, root);
	node_ref(t->root);
}

static void node_free(struct node_table *t, struct node *n)
{
	node_hide(t, n);
	chain_out(t, gone_bucket(t, n), n);
	if (t->on_free)
		t->on_free(n, t->arg);
	if (node_is_dir(n))
		folder_free(n->dir->folder);
	if (n->more)
		free(n->more->names);
	free(n->more); /* its first part, for a directory */
	pool_give(n);
	if (t->key_mask > FIRST_BUCKETS && t->n_keys < t->key_mask / 4)
		resize_keys(t, t->key_mask / 2);
}

void node_table_release(struct node_table *t)
{
	for (size_t i = 0; i <= t->key_mask; i++)
		while (t->by_key[i])
			node_hide(t, pool_at(t->pool, t->by_key[i]));
	for (size_t i = 0; i < NODE_GONE_BUCKETS; i++)
		while (t->gone[i])
			node_free(t, pool_at(t->pool, t->gone[i]));
	free(t->by_key);
	pool_free(t->pool);
	*t = (struct node_table){0};
}

struct node *node_get(struct node_table *t, const struct stat *st)
{
	struct node *n = node_find(t, st->st_dev, st->st_ino);

	if (n && node_type(n) == (st->st_mode & S_IFMT))
		return n;
	if (n) /* the inode number was given to a new file: the old one is gone */
		node_hide(t, n);
	return node_new(t, st);
}

bool node_rekey(struct node_table *t, struct node *n, const struct stat *st)
{
	if (n->hashed && node_is(n, st))
		return true;
	if (node_find(t, st->st_dev, st->st_ino))
		return false;
	node_hide(t, n);
	n->dev = dev_number(t, st->st_dev);
	n->ino = st->st_ino;
	node_unhide(t, n);
	return true;
}

/* Frees n if nothing holds it, then each directory that only its names held. */
static void reap(struct node_table *t, struct node *n)
{
	while (n && n->nlookup == 0 && n->refs == 0) {
		struct node *parent = node_name_out(t, n);

		while (node_has_name(n))
			node_unref(t, node_name_out(t, n));
		node_free(t, n);
		if (parent)
			parent->refs--;
		n = parent;
	}
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

bool node_look(struct node *n)
{
	if (n->nlookup < UINT32_MAX)
		n->nlookup++;
	return n->nlookup == 1;
}

void node_forget(struct node_table *t, struct node *n, uint64_t nlookup)
{
	if (n->nlookup < UINT32_MAX)
		n->nlookup = nlookup < n->nlookup ? n->nlookup - (uint32_t)nlookup : 0;
	reap(t, n);
}
