/*
 * box-facts.h - what users did to mailboxes, and what must hold of them after a sync.
 *
 * The part of the oracle that is about trees; oracle.h is about mail.  All checks give NULL or a
 * static sentence.
 */
#ifndef MB_TESTS_BOX_FACTS_H
#define MB_TESTS_BOX_FACTS_H

#include "backends/memory.h"

#define BOX_FACTS_MAX 600

struct box_fact {
	struct guid guid;
	bool deleted; /* by anybody, ever */
	struct stamp subscribed_at;
	bool subscribed; /* as it was set last */
};

struct box_facts {
	struct box_fact items[BOX_FACTS_MAX];
	size_t n;
};

/* The fact of this mailbox; made when there is none.  Valid for good. */
struct box_fact *box_fact_of(struct box_facts *f, const struct guid *g);
/* A user of b made, deleted or subscribed it. */
void box_made(struct box_facts *f, const struct guid *g);
void box_deleted(struct box_facts *f, const struct guid *g);
void box_subscribed(struct box_facts *f, struct backend *b, const struct guid *g);

/* At any time: no two live mailboxes would be one directory, in either layout; `folds`: on a file
 * system that folds case and normalises. */
const char *box_check_dirs(struct backend *b, bool folds);
/* When everybody knows everything: none is gone that nobody deleted, subscriptions are right. */
const char *box_check(const struct box_facts *f, struct backend *b);

#endif
