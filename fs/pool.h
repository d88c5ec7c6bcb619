/*
 * pool.h - small things of one size, each with a number of 32 bits and an address that both stay.
 *
 * They lie in chunks of CHUNK bytes, aligned to their size: so the number follows from the address,
 * nothing but the thing itself takes memory, and a chunk whose last thing was given back goes back to
 * the system at once.  Under AddressSanitizer what was given back is poisoned, as after free().
 * The caller's lock.
 */
#ifndef MB_FS_POOL_H
#define MB_FS_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool;

/* `size`: a multiple of 8, at least 16.  `owner` is whatever pool_owner() shall give. */
struct pool *pool_new(size_t size, void *owner);
/* Every item becomes invalid.  NULL is fine. */
void pool_free(struct pool *p);

void *pool_take(struct pool *p); /* zeroed; constant time */
void pool_give(void *item);
/* Number of an item: never 0; used again once the item was given back. */
uint32_t pool_id(const void *item);
void *pool_at(const struct pool *p, uint32_t id); /* of a number that is in use */
struct pool *pool_of(const void *item);
void *pool_owner(const struct pool *p);
size_t pool_count(const struct pool *p);
size_t pool_n_chunks(const struct pool *p);

#endif
