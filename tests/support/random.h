/*
 * random.h - random objects from a fixed seed, and bytes that were damaged.
 *
 * Stamps, names and ids come from small pools, so that equal stamps and equal keys, the hard cases
 * of a join, are frequent.
 */
#ifndef MB_TESTS_RANDOM_H
#define MB_TESTS_RANDOM_H

#include "backends/mail/record.h"

struct prng {
	uint64_t state; /* any number */
};

uint64_t prng_next(struct prng *p);
uint64_t prng_below(struct prng *p, uint64_t n); /* 0 to n - 1 */
bool prng_bool(struct prng *p);
/* An owned string of 1..max bytes without NUL; `from` holds the bytes, NULL means any. */
char *prng_text(struct prng *p, size_t max, const char *from);

struct stamp random_stamp(struct prng *p); /* sometimes STAMP_NONE */
struct guid random_guid(struct prng *p);   /* sometimes GUID_ZERO */
/* All of these expect an object that is empty or was made before. */
void random_flags(struct prng *p, struct flags *f);
void random_copy(struct prng *p, struct copy *c);
void random_mailbox(struct prng *p, struct mailbox *m);
void random_record(struct prng *p, struct record *r);

/* Calls fn with every prefix of the bytes and with every single bit turned over, each in memory of
 * exactly that size, so that a sanitizer sees a read past the end. */
void for_each_damage(const void *data, size_t len, void (*fn)(const void *data, size_t len));

#endif
