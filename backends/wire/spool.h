/*
 * spool.h - one body on its way: in memory while it is small, else in a file without a name.
 */
#ifndef MB_WIRE_SPOOL_H
#define MB_WIRE_SPOOL_H

#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include <stdint.h>

struct spool {
	struct buf data; /* owned; or: */
	int fd;		 /* owned, -1 = in memory */
	uint64_t size;
	struct hasher *hasher; /* owned; NULL: nobody wants the digest, or it was told */
};

struct spool *spool_new(bool digest);
void spool_free(struct spool *s);
int spool_add(struct spool *s, const void *data, size_t len);
/* Once. */
void spool_digest(struct spool *s, struct digest *ret);
/* A new descriptor of these bytes, at offset 0, that the caller closes; or -errno. */
int spool_open(const struct spool *s);

#endif
