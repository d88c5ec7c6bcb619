/*
 * pool.c - chunks with a list of those that have room.
 *
 * An item's number is (chunk << shift | slot) + 1.  A chunk hands out slots that were never used in their
 * order, so that memory nobody needs is never touched; slots given back are chained through their first
 * four bytes.  One empty chunk is kept when no other has room, so that a thing that comes and goes does
 * not cost a system call each time.
 */
#include "fs/pool.h"
#include "backends/base/mem.h"
#include <string.h>
#include <sys/mman.h>

#define CHUNK ((size_t)256 * 1024)
#define HEAD ((size_t)64)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct chunk {
	struct pool *pool;
	struct chunk *next, *prev; /* ring of those with room, while in it */
	uint32_t number;
	uint32_t used;	/* items that are out */
	uint32_t fresh; /* slots from here on were never used */
	uint32_t given; /* last slot given back, plus 1 */
	uint32_t has_room;
};
_Static_assert(sizeof(struct chunk) <= HEAD, "items begin behind the head");

struct pool {
	size_t size, count, n_live;
	uint32_t per_chunk;
	unsigned shift;
	void *owner;
	struct chunk *room; /* any of the ring, or NULL */
	struct chunk **chunks;
	size_t n_chunks, cap; /* numbers of chunks: some may be NULL */
	uint32_t lowest_free; /* no smaller number of a chunk is free */
};

static struct chunk *chunk_of(const void *item)
{
	return (struct chunk *)((uintptr_t)item & ~(uintptr_t)(CHUNK - 1)); /* NOLINT: aligned */
}

static void *slot_at(const struct chunk *c, uint32_t slot)
{
	return (char *)(uintptr_t)c + HEAD + slot * c->pool->size;
}

static uint32_t slot_of(const struct chunk *c, const void *item)
{
	return (uint32_t)((size_t)((const char *)item - (const char *)c - HEAD) / c->pool->size);
}

struct pool *pool_new(size_t size, void *owner)
{
	struct pool *p = mb_xcalloc(1, sizeof(*p));

	p->size = size;
	p->owner = owner;
	p->per_chunk = (uint32_t)((CHUNK - HEAD) / size);
	while ((1u << p->shift) < p->per_chunk)
		p->shift++;
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_chunks; i++) {
		if (!p->chunks[i])
			continue;
		ASAN_UNPOISON_MEMORY_REGION(p->chunks[i], CHUNK);
		munmap(p->chunks[i], CHUNK);
	}
	free(p->chunks);
	free(p);
}

/* ---- chunks ---- */

static void room_in(struct pool *p, struct chunk *c)
{
	c->has_room = 1;
	if (p->room) {
		c->next = p->room;
		c->prev = p->room->prev;
		c->prev->next = c->next->prev = c;
	} else {
		c->next = c->prev = c;
		p->room = c;
	}
}

static void room_out(struct pool *p, struct chunk *c)
{
	c->has_room = 0;
	c->prev->next = c->next;
	c->next->prev = c->prev;
	if (p->room == c)
		p->room = c->next == c ? NULL : c->next;
}

static void *map_aligned(void)
{
	char *p = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		mb_out_of_memory();
	before = -(uintptr_t)p & (CHUNK - 1);
	if (before)
		munmap(p, before);
	munmap(p + before + CHUNK, CHUNK - before);
	return p + before;
}

static struct chunk *chunk_new(struct pool *p)
{
	struct chunk *c = map_aligned();
	uint32_t i = p->lowest_free;

	while (i < p->n_chunks && p->chunks[i])
		i++;
	if (i == p->n_chunks) {
		MB_GROW(p->chunks, p->cap, p->n_chunks + 1);
		p->n_chunks++;
	}
	p->chunks[i] = c;
	p->lowest_free = i + 1;
	p->n_live++;
	c->pool = p;
	c->number = i;
	ASAN_POISON_MEMORY_REGION((char *)c + HEAD, CHUNK - HEAD);
	room_in(p, c);
	return c;
}

static void chunk_free(struct pool *p, struct chunk *c)
{
	room_out(p, c);
	p->chunks[c->number] = NULL;
	if (c->number < p->lowest_free)
		p->lowest_free = c->number;
	p->n_live--;
	ASAN_UNPOISON_MEMORY_REGION(c, CHUNK);
	munmap(c, CHUNK);
}

/* ---- items ---- */

void *pool_take(struct pool *p)
{
	struct chunk *c = p->room ? p->room : chunk_new(p);
	void *item = slot_at(c, c->given ? c->given - 1 : c->fresh);

	ASAN_UNPOISON_MEMORY_REGION(item, p->size);
	if (c->given)
		memcpy(&c->given, item, sizeof(c->given));
	else
		c->fresh++;
	memset(item, 0, p->size);
	c->used++;
	p->count++;
	if (c->used == p->per_chunk)
		room_out(p, c);
	return item;
}

void pool_give(void *item)
{
	struct chunk *c = chunk_of(item);
	struct pool *p = c->pool;

	memcpy(item, &c->given, sizeof(c->given));
	c->given = slot_of(c, item) + 1;
	ASAN_POISON_MEMORY_REGION(item, p->size);
	c->used--;
	p->count--;
	if (!c->has_room)
		room_in(p, c);
	if (c->used == 0 && c->next != c)
		chunk_free(p, c);
}

uint32_t pool_id(const void *item)
{
	const struct chunk *c = chunk_of(item);

	return (c->number << c->pool->shift | slot_of(c, item)) + 1;
}

void *pool_at(const struct pool *p, uint32_t id)
{
	id--;
	return slot_at(p->chunks[id >> p->shift], id & ((1u << p->shift) - 1));
}

struct pool *pool_of(const void *item)
{
	return chunk_of(item)->pool;
}

void *pool_owner(const struct pool *p)
{
	return p->owner;
}

size_t pool_count(const struct pool *p)
{
	return p->count;
}

size_t pool_n_chunks(const struct pool *p)
{
	return p->n_live;
}
