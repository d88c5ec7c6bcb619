/*
 * hash.h - digests (SHA-256, OpenSSL) and checksums (XXH3, xxHash), random bytes.
 */
#ifndef MB_BASE_HASH_H
#define MB_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
	uint8_t b[32]; /* SHA-256; all zero = not known */
};

bool digest_known(const struct digest *d);
bool digest_equal(const struct digest *a, const struct digest *b);
int digest_compare(const struct digest *a, const struct digest *b);

/* SHA-256 of all bytes of `fd` from offset 0 (pread; the offset of fd is left alone).
 * Also gives the number of bytes read when ret_size is not NULL.  -errno on a read error. */
int digest_fd(int fd, struct digest *ret, uint64_t *ret_size);

/* SHA-256 of memory. */
void digest_mem(const void *data, size_t len, struct digest *ret);

/* A running SHA-256, for streams. */
struct hasher;
struct hasher *hasher_new(void);
void hasher_add(struct hasher *h, const void *data, size_t len);
void hasher_end(struct hasher *h, struct digest *ret); /* frees h */

/* XXH3, 64 bits, with a seed. */
uint64_t checksum64(const void *data, size_t len, uint64_t seed);

/* Fills with random bytes from getrandom(); never fails (aborts if the kernel has none). */
void random_bytes(void *dst, size_t len);
uint64_t random_u64(void);

#endif
