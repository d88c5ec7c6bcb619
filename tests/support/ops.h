/*
 * ops.h - what users do to a replica in memory, at random: for tests of whole histories.
 *
 * What an operation does is told by three numbers and by what is there; one that cannot be done is
 * left out.  Kinds from OP_DELIVER to OP_SUBSCRIBE are those of users; the rest is the caller's.
 */
#ifndef MB_TESTS_OPS_H
#define MB_TESTS_OPS_H

#include "tests/support/oracle.h"
#include "tests/support/random.h"

enum op_kind {
	OP_DELIVER,
	OP_FLAG,
	OP_KEYWORD,
	OP_MOVE,
	OP_COPY,
	OP_EXPUNGE,
	OP_RESTORE,
	OP_EDIT,
	OP_CREATE,
	OP_RENAME,
	OP_REPARENT,
	OP_DELETE,
	OP_SUBSCRIBE,
	OP_SYNC,
	OP_CUT,
	OP_KINDS,
};

struct op_weight {
	const char *name;
	unsigned weight;
};

struct op {
	unsigned kind;
	uint8_t who;
	uint16_t x, y, z;
};

/* One of n kinds, by their weights. */
struct op op_random(struct prng *p, const struct op_weight *kinds, unsigned n, size_t n_replicas);

/* Does an operation of a user of b and tells the oracle.  true when it could be done; *ret_subject is
 * the message that it was about, or zero. */
bool op_do(struct oracle *o, struct backend *b, const struct op *op, struct guid *ret_subject);

#endif
