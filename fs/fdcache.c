/*
 * fdcache.c - least recently used first out; pinned slots stay.
 *
 * Invariant: a slot is in the list and in the hash if and only if it has an owner.
 */
#include "fs/fdcache.h"
#include "backends/base/mem.h"
#include <pthread.h>

#define BUCKETS 256

struct fdcache {
	pthread_mutex_t lock;
	struct fdcache_slot list; /* ring: list.older is the newest */
	size_t n, max;
	struct fdcache_slot *by_owner[BUCKETS];
};

struct fdcache *fdcache_new(size_t max)
{
	struct fdcache *c = mb_xcalloc(1, sizeof(*c));

	pthread_mutex_init(&c->lock, NULL);
	c->list.newer = c->list.older = &c->list;
	c->max = max;
	return c;
}

/* Where the owner's slot hangs, or would. */
static struct fdcache_slot **place_of(struct fdcache *c, const void *owner)
{
	uint64_t h = (uintptr_t)owner * 0x9e3779b97f4a7c15ull;
	struct fdcache_slot **p = &c->by_owner[h >> 32 & (BUCKETS - 1)];

	while (*p && (*p)->owner != owner)
		p = &(*p)->hash_next;
	return p;
}

static void put_first(struct fdcache *c, struct fdcache_slot *s)
{
	s->newer = &c->list;
	s->older = c->list.older;
	s->older->newer = s;
	c->list.older = s;
}

static void take_out(struct fdcache_slot *s)
{
	s->newer->older = s->older;
	s->older->newer = s->newer;
}

/* Parts the slot from its owner; gives it to be closed, or NULL while it is pinned. */
static struct fdcache_slot *evict(struct fdcache *c, struct fdcache_slot *s)
{
	take_out(s);
	*place_of(c, s->owner) = s->hash_next;
	s->owner = NULL;
	c->n--;
	return s->pins ? NULL : s;
}

static void close_slot(struct fdcache_slot *s)
{
	if (!s)
		return;
	close(s->fd);
	free(s);
}

static struct fdcache_slot *oldest_idle(struct fdcache *c)
{
	struct fdcache_slot *s = c->list.newer;

	while (s != &c->list && s->pins)
		s = s->newer;
	return s == &c->list ? NULL : s;
}

void fdcache_free(struct fdcache *c)
{
	if (!c)
		return;
	while (c->list.newer != &c->list)
		close_slot(evict(c, c->list.newer));
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct fdcache_slot *fdcache_find(struct fdcache *c, const void *owner, bool write)
{
	struct fdcache_slot *s;

	pthread_mutex_lock(&c->lock);
	s = *place_of(c, owner);
	if (s && write && !s->writable)
		s = NULL;
	if (s) {
		s->pins++;
		take_out(s);
		put_first(c, s);
	}
	pthread_mutex_unlock(&c->lock);
	return s;
}

struct fdcache_slot *fdcache_add(struct fdcache *c, const void *owner, int fd, bool writable)
{
	struct fdcache_slot *s = mb_xcalloc(1, sizeof(*s));
	struct fdcache_slot *old = NULL, *victim = NULL;

	s->fd = fd;
	s->writable = writable;
	s->pins = 1;
	pthread_mutex_lock(&c->lock);
	if (*place_of(c, owner))
		old = evict(c, *place_of(c, owner));
	if (c->n >= c->max && oldest_idle(c))
		victim = evict(c, oldest_idle(c));
	if (c->n < c->max) {
		s->owner = owner;
		*place_of(c, owner) = s; /* there is none: at the end of its chain */
		put_first(c, s);
		c->n++;
	}
	pthread_mutex_unlock(&c->lock);
	close_slot(old);
	close_slot(victim);
	return s;
}

void fdcache_unpin(struct fdcache *c, struct fdcache_slot *slot)
{
	bool last;

	pthread_mutex_lock(&c->lock);
	last = --slot->pins == 0 && !slot->owner;
	pthread_mutex_unlock(&c->lock);
	if (last)
		close_slot(slot);
}

void fdcache_drop(struct fdcache *c, const void *owner)
{
	struct fdcache_slot *s;

	pthread_mutex_lock(&c->lock);
	s = *place_of(c, owner);
	s = s ? evict(c, s) : NULL;
	pthread_mutex_unlock(&c->lock);
	close_slot(s);
}

size_t fdcache_count(struct fdcache *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->n;
	pthread_mutex_unlock(&c->lock);
	return n;
}
