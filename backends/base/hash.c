/*
 * hash.c - SHA-256 by OpenSSL, XXH3 by xxHash, random bytes by the kernel.
 *
 * The SHA-256 implementation is fetched once: an implicit fetch for each body costs more than the
 * hash of a small mail.  OpenSSL failing here means no memory or a broken library: the process ends.
 */
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

enum { READ_SIZE = 64 * 1024 };

struct hasher {
	EVP_MD_CTX *ctx;
};

static const EVP_MD *sha256;

static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!sha256)
		sha256 = EVP_sha256();
}

static const EVP_MD *get_sha256(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fetch_sha256);
	return sha256;
}

bool digest_known(const struct digest *d)
{
	static const struct digest none;

	return !digest_equal(d, &none);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return digest_compare(a, b) == 0;
}

int digest_compare(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

struct hasher *hasher_new(void)
{
	struct hasher *h = mb_xmalloc(sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, get_sha256(), NULL) != 1)
		abort();
	return h;
}

void hasher_add(struct hasher *h, const void *data, size_t len)
{
	if (len && EVP_DigestUpdate(h->ctx, data, len) != 1)
		abort();
}

void hasher_end(struct hasher *h, struct digest *ret)
{
	if (EVP_DigestFinal_ex(h->ctx, ret->b, NULL) != 1)
		abort();
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

int digest_fd(int fd, struct digest *ret, uint64_t *ret_size)
{
	MB_AUTO_FREE uint8_t *data = mb_xmalloc(READ_SIZE);
	struct hasher *h = hasher_new();
	struct digest digest;
	uint64_t size = 0;
	ssize_t n;

	do {
		n = io_pread_full(fd, data, READ_SIZE, (off_t)size);
		if (n > 0) {
			hasher_add(h, data, (size_t)n);
			size += (uint64_t)n;
		}
	} while (n == READ_SIZE);
	hasher_end(h, &digest);
	if (n < 0)
		return (int)n;
	*ret = digest;
	if (ret_size)
		*ret_size = size;
	return 0;
}

void digest_mem(const void *data, size_t len, struct digest *ret)
{
	struct hasher *h = hasher_new();

	hasher_add(h, data, len);
	hasher_end(h, ret);
}

uint64_t checksum64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

void random_bytes(void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}
