/*
 * session.h - one sync between two backends: the local one (side 0) and another (side 1).
 *
 * Pure coordination: it asks each side for its news since the last agreed positions, reads the states
 * that may differ, lets merge() decide, has each side put its plan, and remembers where both are.
 *
 *   info -> refresh -> agree -> news -> (fill) -> gather -> merge -> apply (side 1, then 0) -> remember
 *
 * Invariants:
 *  - When there is no news on either side nothing is written anywhere.
 *  - Positions are remembered only after both sides committed without an error, and never past news
 *    that was not merged: a session may be cut at any point, the next one does the rest.
 *  - Positions belong to a scope.  A restricted session (scope.h) moves its own only, and what it puts
 *    bears an origin of its own: session_origin().  So the sync of everything takes nothing of it for
 *    an echo, and finds whatever it left out.
 *  - Memory follows the number of messages that changed, or, in a full comparison, differ; but for what
 *    one side alone has, in mailboxes of which the other has nothing new: see fill.h.
 */
#ifndef MB_SYNC_SESSION_H
#define MB_SYNC_SESSION_H

#include "backends/backend.h"
#include "sync/merge.h"
#include "sync/progress.h"
#include "sync/scope.h"
#include <stdbool.h>
#include <stdint.h>

struct session_options {
	const struct scope *scope; /* borrowed; NULL: everything, both ways */
	bool full;		   /* compare every message, look at every file */
	bool dry_run; /* decide only; nothing is written when io_set_read_only() came first, else
			 what a scan finds is logged */
	bool allow_mass_expunge; /* rule 9 is told to let go */
	bool accept_old;	 /* mail that old-mail.h holds may travel */
	bool replace_peer;	 /* another store lies where a known peer was: accept it */
	const char *state; /* -s: used instead of what is remembered; "" = none; NULL = not given */
	bool want_state;   /* fill session_result.state */
	/* Asked before each item; true ends the session with -EINTR.  May be NULL. */
	bool (*stop)(void *arg);
	void *stop_arg;
	/* Told of each item of a plan before it is put (of a dry run too), with the joined tree.  May
	 * be NULL. */
	void (*show)(int side, enum record_type what, const struct tree *names,
		     const struct record *item, void *arg);
	void *show_arg;
	/* Told of what was decided, before anything is put (not of a dry run), with the joined tree; a
	 * merge that has to be made again tells again.  May be NULL. */
	void (*decided)(const struct tree *names, const struct notice *list, size_t n, void *arg);
	void *decided_arg;
	struct progress_to progress;
};

/* What one side got, as people see it. */
struct session_counts {
	uint64_t arrived, flags, moved, expunged, mailboxes;
	uint64_t made, renamed,
		deleted; /* of `mailboxes`, which has subscriptions and such as well */
	uint64_t other;	 /* UIDs, file names, aliases */
};

struct session_result {
	struct session_counts to[2]; /* what side 0 and side 1 got */
	struct notice *notices;	     /* owned */
	size_t n_notices;
	uint64_t matched; /* of a first sync: messages that both had already, and were not copied */
	uint64_t conflicts; /* of the notices: what notice_is_conflict() */
	uint64_t errors;    /* items that could not be put */
	int first_error;    /* of those: the worst, one that never goes away before others */
	uint64_t held;	    /* expunges that the guard holds back */
	uint64_t
		held_old; /* messages that old-mail.h holds; nothing is remembered while there are */
	uint64_t left_out
		[2]; /* messages that were new and did not travel: too large, not in the range
				 of dates or without the flag */
	struct scope_list
		unmatched;  /* owned: scope_unmatched() of both sides, before anything was put */
	bool full;	    /* everything was compared */
	bool again;	    /* a side changed meanwhile: there is news already */
	bool changed;	    /* something was changed on either side */
	bool state_refused; /* options.state was of no use */
	char *state;	    /* owned; see want_state */
	int64_t took_ns;
};
void session_result_release(struct session_result *r);
/* *first becomes the result of both: the later one with the earlier one's counts and notices too.
 * Takes what `next` owns. */
void session_result_follow(struct session_result *first, struct session_result *next);

/* Origin of what a session puts that brings the news of `replica`: the replica itself, but for a
 * restricted scope. */
uint64_t session_origin(uint64_t replica, uint64_t scope);

/* Adds one item, as plan_what() calls it. */
void session_count(struct session_counts *c, enum record_type what);
/* true when either count has something that people see. */
bool session_counts_any(const struct session_counts *c);

/*
 * One sync.  0: done as far as `ret` says (errors of single items are in it); negative: ended early,
 * everything done so far stays and the next session does the rest.  MB_E_SAME, MB_E_WRONG_PEER,
 * -EINTR (stop), or what a backend said.  `ret` is filled in any case; release it.
 */
int session_run(struct backend *local, struct backend *remote, const struct session_options *opt,
		struct session_result *ret);

/* session_run() until neither side has news, at most 3 times. */
int session_run_until_stable(struct backend *local, struct backend *remote,
			     const struct session_options *opt, struct session_result *ret);

/* Exit code (design 5): 0 in step, 2 running again can do the rest, 1 only a person can help, and what
 * mb_err_exit() says of a session that ended early. */
int session_exit(int err, const struct session_result *r);

#endif
