/*
 * apply.h - has one side put its plan.
 *
 * Each item is put on its own; an error of one item is reported, counted, and the rest goes on.  A new
 * copy's body is opened at the giving side only when the taking side does not hold it already; of a long
 * plan up to 16 are opened before their turn, so that the disk reads ahead.
 */
#ifndef MB_SYNC_APPLY_H
#define MB_SYNC_APPLY_H

#include "backends/backend.h"
#include "sync/merge.h"
#include "sync/session.h"
#include <stdbool.h>
#include <stdint.h>

/* More items than this are put in bulk: no system call in a mount for each, only for the last of each
 * mailbox (wake.h). */
#define APPLY_MANY 2000

struct apply {
	struct backend *b[2];		   /* borrowed */
	const struct merge_input *in;	   /* borrowed: what the plan was made from */
	const struct merge_result *result; /* borrowed */
	const struct session_options *opt; /* borrowed */
	struct session_result *report;	   /* borrowed: counts and errors are added */
	/* For progress, of a plan that is one piece: items before it, and of all; else 0. */
	uint64_t before, all;
};

/* Shows and counts the items of the plan for `side` without putting them. */
void apply_show(const struct apply *a, int side);

/* 0: every item was tried (errors are in the report); MB_E_STALE: so, and some changed meanwhile;
 * -EINTR: told to stop; else the backend is gone.  apply_plan(): nothing is durable before commit. */
enum apply_part {
	APPLY_ALIASES, /* GUIDs that become others: on both sides before anything else, or a cut between
			  the sides could bring an expunged twin back */
	APPLY_REST,
};
int apply_plan(const struct apply *a, int side, enum apply_part part);
/* So, between begin() and commit(); `from` as in begin().  What was put stays, also when it is not all. */
int apply_and_commit(const struct apply *a, int side, enum apply_part part, uint64_t from);
bool apply_has_aliases(const struct apply *a); /* either plan */

/* Tells the giving side which bodies `side` will take from item `from` on, as many as are asked for at a
 * time; the first item after them. */
size_t apply_foresee(const struct apply *a, int side, size_t from);

/* Adds an error of one item to the report; the message says which mailbox and message. */
void apply_error(const struct apply *a, int side, const struct record *item, int err);

/* true when the error says that the whole backend cannot be used any more. */
bool backend_is_gone(int err);

#endif
