/*
 * oracle.h - what must hold after a sync, told from what users did and nothing else.
 *
 * The oracle is told after each operation of a user, and keeps, for each copy, the latest place and
 * the latest expunge that a user made, and each flag as it was set last.  All checks give NULL or a
 * static sentence.
 */
#ifndef MB_TESTS_ORACLE_H
#define MB_TESTS_ORACLE_H

#include "backends/memory.h"

struct fact {
	struct guid guid;
	uint64_t id;
	struct stamp place, dead, dead_via; /* latest by users; dead_via: with its mailbox */
	struct stamp flag_at[FLAG_COUNT];
	uint8_t flags;
	bool mixed; /* edited or copied: flags come from elsewhere too */
};

/* A UID as a client of one replica saw it. */
struct sight {
	const struct backend *b;
	struct guid mailbox, guid;
	uint32_t uid_validity, uid;
};

struct oracle {
	struct backend *const *all; /* borrowed: every replica */
	size_t n_all;
	struct fact *facts; /* owned */
	size_t n_facts, cap_facts;
	struct sight *sights; /* owned */
	size_t n_sights, cap_sights;
};

void oracle_release(struct oracle *o);
/* A user of b did something to this message. */
void oracle_note(struct oracle *o, struct backend *b, const struct guid *g);
void oracle_mixed(struct oracle *o, const struct guid *g);
/* At any time: names, UIDs and file names of one replica are in order, and no UID that a client saw
 * means another message. */
const char *oracle_check_order(struct oracle *o, struct backend *b);
/* When everybody knows everything: nothing is lost, resurrected, doubled; flags are right. */
const char *oracle_check_mail(const struct oracle *o, struct backend *b);

#endif
