/*
 * history.h - random histories: one seed or many, and of one that fails the shortest that does.
 *
 * A test keeps its history as it likes: a seed, whatever else, and operations one behind the other in
 * an array of which the first n count.
 */
#ifndef MB_TESTS_HISTORY_H
#define MB_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history_view {
	void *history; /* borrowed; what `run` gets */
	void *ops;     /* borrowed: in it */
	size_t op_size;
	size_t *n; /* borrowed: in it */
	/* Plays it from the start; NULL, or what is wrong: a static sentence. */
	const char *(*run)(const void *history, bool aloud);
};

/* Leaves operations out as long as it fails with the same sentence. */
void history_shrink(const struct history_view *v, const char *wrong);

/* Plays it.  When something is wrong: shrinks it, plays it aloud, and fails the test with
 * "NAME: what is wrong". */
void history_check(const struct history_view *v, const char *name, bool aloud);

/* Calls check for the seed $MAILBRAID_SEED, aloud; or else for n seeds, or as many as the environment
 * variable `many` says, from $MAILBRAID_FIRST (1) on. */
void history_seeds(const char *many, uint64_t n,
		   void (*check)(uint64_t seed, bool aloud, const void *arg), const void *arg);
/* The clock of this process is at `ns`, half a millisecond in.  It stands there, but for the moments at which
 * it goes on by some milliseconds, which are the seed's own: so a seed is one history, however busy the
 * machine is.  Outside of a history it stands. */
void history_clock(int64_t ns);
/* Is there $MAILBRAID_SEED? */
bool history_is_one_seed(void);

#endif
