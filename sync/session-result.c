/*
 * session-result.c - what a session did: sums, exit codes.
 */
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "sync/apply.h"
#include "sync/session.h"

#include <errno.h>
#include <string.h>

void session_count(struct session_counts *c, enum record_type what)
{
	switch (what) {
	case REC_ARRIVE:
		c->arrived++;
		break;
	case REC_FLAGS:
		c->flags++;
		break;
	case REC_MOVE:
		c->moved++;
		break;
	case REC_EXPUNGE:
		c->expunged++;
		break;
	case REC_MAILBOX_CREATE:
	case REC_MAILBOX_REVIVE:
		c->made++;
		c->mailboxes++;
		break;
	case REC_MAILBOX_RENAME:
		c->renamed++;
		c->mailboxes++;
		break;
	case REC_MAILBOX_DELETE:
		c->deleted++;
		c->mailboxes++;
		break;
	case REC_MAILBOX_SUBSCRIBE:
	case REC_MAILBOX_MERGE:
		c->mailboxes++;
		break;
	case REC_NONE:
		break;
	default:
		c->other++;
		break;
	}
}

static void counts_add(struct session_counts *to, const struct session_counts *c)
{
	to->arrived += c->arrived;
	to->flags += c->flags;
	to->moved += c->moved;
	to->expunged += c->expunged;
	to->mailboxes += c->mailboxes;
	to->made += c->made;
	to->renamed += c->renamed;
	to->deleted += c->deleted;
	to->other += c->other;
}

void session_result_follow(struct session_result *first, struct session_result *next)
{
	size_t n = first->n_notices + next->n_notices;

	for (int i = 0; i < 2; i++)
		counts_add(&next->to[i], &first->to[i]);
	if (first->n_notices) {
		first->notices = mb_xreallocarray(first->notices, n, sizeof(*first->notices));
		if (next->n_notices)
			memcpy(first->notices + first->n_notices, next->notices,
			       next->n_notices * sizeof(*next->notices));
		free(next->notices);
		next->notices = MB_TAKE(first->notices);
		next->n_notices = n;
		first->n_notices = 0;
	}
	for (int i = 0; i < 2; i++) /* the same ones may have been seen again */
		if (next->left_out[i] < first->left_out[i])
			next->left_out[i] = first->left_out[i];
	next->conflicts += first->conflicts;
	next->matched += first->matched;
	next->changed |= first->changed;
	next->full |= first->full;
	next->state_refused |= first->state_refused;
	next->took_ns += first->took_ns;
	scope_list_release(&next->unmatched); /* what this session deleted had a mailbox */
	next->unmatched = first->unmatched;
	first->unmatched = (struct scope_list){0};
	session_result_release(first);
	*first = *next;
}

void session_result_release(struct session_result *r)
{
	for (size_t i = 0; i < r->n_notices; i++)
		free(r->notices[i].text);
	free(r->notices);
	free(r->state);
	scope_list_release(&r->unmatched);
	memset(r, 0, sizeof(*r));
}

bool session_counts_any(const struct session_counts *c)
{
	return c->arrived || c->flags || c->moved || c->expunged || c->mailboxes || c->other;
}

int session_exit(int err, const struct session_result *r)
{
	if (err == MB_E_STALE || err == -EINTR || (err < 0 && backend_is_gone(err)))
		return mb_err_exit(err) == 75 ? 75 : 2;
	if (err < 0)
		return mb_err_exit(err);
	if (r->held || r->held_old)
		return 1; /* also when something else only has to be tried again */
	if (r->errors)
		return mb_err_retry(r->first_error) == MB_RETRY_NEVER ? 1 : 2;
	return r->again || r->unmatched.n ? 2 : 0;
}
