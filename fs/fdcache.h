/*
 * fdcache.h - a bounded cache of open descriptors, by owner.
 *
 * With no-open the kernel names a file by its node only and never says that it is done with it; so
 * descriptors are opened when needed, kept while there is room, and closed when the owner goes.  The
 * owner (a node) is known by its address and holds nothing: most never have a descriptor.
 *
 * A slot that is in use is pinned and never closed under its user.  More users at once than slots
 * get slots of their own that are closed after use.
 * Lock: one inside, innermost; no system call but close() is made with it.
 */
#ifndef MB_FS_FDCACHE_H
#define MB_FS_FDCACHE_H

#include <stdbool.h>
#include <stddef.h>

struct fdcache;

struct fdcache_slot {
	int fd;
	bool writable;
	/* private */
	unsigned pins;
	const void *owner; /* NULL: closed at the last unpin */
	struct fdcache_slot *hash_next;
	struct fdcache_slot *newer, *older;
};

struct fdcache *fdcache_new(size_t max);
void fdcache_free(struct fdcache *c); /* nothing may be pinned */

/* The owner's descriptor, pinned; NULL when it has none, or none that can write when `write`. */
struct fdcache_slot *fdcache_find(struct fdcache *c, const void *owner, bool write);
/* Puts a new descriptor in, owned by the cache from now on, and pins it.  One that another thread
 * put there meanwhile is replaced. */
struct fdcache_slot *fdcache_add(struct fdcache *c, const void *owner, int fd, bool writable);
void fdcache_unpin(struct fdcache *c, struct fdcache_slot *slot);
/* The owner's descriptor goes: now, or when its users are done. */
void fdcache_drop(struct fdcache *c, const void *owner);
size_t fdcache_count(struct fdcache *c);

#endif
