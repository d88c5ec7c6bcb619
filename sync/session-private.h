/*
 * session-private.h - what the files of a session share.
 *
 *   session-agree.c  who is there, what was agreed; and remembering it
 *   session.c        news, the merge, acting, the whole
 */
#ifndef MB_SYNC_SESSION_PRIVATE_H
#define MB_SYNC_SESSION_PRIVATE_H

#include "sync/gather.h"
#include "sync/session.h"

struct session {
	struct backend *b[2];
	struct backend_info info[2];
	const struct session_options *opt;
	struct session_result *ret;
	uint64_t scope[2];	  /* hash of the scope, as each side sees it; 0: the default one */
	struct position since[2]; /* last agreed */
	struct position end[2];	  /* news was read up to here */
	struct change_set news[2];
	bool full;
	bool want_full;	   /* it cannot be done otherwise: once more, in full */
	uint64_t agreed;   /* clock time of that agreement, 0 = none */
	bool known;	   /* both sides have a sync state that agrees with `since` */
	bool met;	   /* both have such a state, whatever a state string says */
	bool acquainted;   /* either side remembers the other, from whatever session */
	bool borrowed;	   /* `since` is that of the default scope */
	uint64_t selected; /* mailboxes that were selected then, and after the merge now; 0 = all */
	uint64_t selected_before;
	struct gather gather;
	struct merge_result merged;
};

static inline bool session_has_log(const struct session *s, int side)
{
	return s->info[side].caps & CAP_LOG;
}

/* Both ends of a pair go to the two sides in the same order: so two that sync each other at the same
 * time wait for one another, never each for the other. */
static inline int session_in_order(const struct session *s, int k)
{
	return k ^ (s->info[0].replica > s->info[1].replica);
}

/* As what the other side's news comes to `side`. */
static inline uint64_t session_news_of(const struct session *s, int side)
{
	return session_origin(s->info[side].replica, s->scope[0] + s->scope[1]);
}

/* session-agree.c */
/* Becomes the writer of both stores, in the one order in which any session waits for them: whoever holds
 * the later one never waits for the earlier one.  Before anything is put. */
int session_take_roles(struct session *s);
/* Before `side` is asked to take changes: who is here lets its own store's role go, when that is the later
 * one and the other side is far away and takes its role only now. */
int session_before_begin(struct session *s, int side);
int session_foresee(struct session *s);	 /* tells one that is far away what will be asked */
int session_look(struct session *s);	 /* info and files of both sides */
int session_agree(struct session *s);	 /* fills since, known, acquainted, full */
int session_remember(struct session *s); /* `end` is what was agreed */
int session_confirm(
	struct session *s); /* the map of a side without a log: the other has its news */
/* Fills ret->state when it was asked for. */
void session_tell_state(struct session *s, const struct position at[2], uint64_t selected);

#endif
