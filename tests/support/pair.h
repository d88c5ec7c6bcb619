/*
 * pair.h - two replicas in memory, and a sync between them.
 */
#ifndef MB_TESTS_PAIR_H
#define MB_TESTS_PAIR_H

#include "backends/memory.h"
#include "sync/session.h"

#define A_ID 11
#define B_ID 22

struct pair {
	struct backend *a, *b;
};

/* For cmocka: *state becomes a struct pair. */
int pair_open(void **state);
int pair_close(void **state);

/* To INBOX. */
struct guid deliver(struct backend *b, const char *text);
/* One session with these options, which must end with `expect`. */
struct session_result run_with(struct pair *p, const struct session_options *o, int expect);
struct session_result sync_pair(struct pair *p);
/* Runs, expects everything to work, tells whether anything changed. */
bool sync_changed(struct pair *p);
struct position position_of(struct backend *b);
const struct copy *copy_of(struct backend *b, const struct guid *g);
bool lives(struct backend *b, const struct guid *g);
void assert_equal_sides(struct pair *p);

#endif
