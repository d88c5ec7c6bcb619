/*
 * sync-diff.h - what a dry run would do, as figures: for each direction, and for each mailbox.
 *
 * Filled from session_options.show, one item after the other.  Memory follows the number of mailboxes
 * that something happens in.
 */
#ifndef MB_SYNC_DIFF_H
#define MB_SYNC_DIFF_H

#include "sync/session.h"
#include <jansson.h>

struct sync_diff_mailbox;

struct sync_diff {
	struct sync_diff_mailbox *mailboxes; /* owned: a hash table by GUID */
};

void sync_diff_release(struct sync_diff *d);
/* Counts an item for its mailbox; `names` is the joined tree.  What people do not see is left out. */
void sync_diff_add(struct sync_diff *d, int side, enum record_type what, const struct tree *names,
		   const struct record *item);

/* "+ 812 mails  ~ 40 flags  > 3 moves  - 0 expunged", then folders and the rest when there are any.
 * Owned. */
char *sync_diff_figures(const struct session_counts *c);
/* The lines for people: one for each direction in which anything may travel ("-> PEER  + 812 …"), with
 * `each` one for every mailbox under it, by name.  Owned; control bytes are escaped. */
char *sync_diff_text(struct sync_diff *d, const char *peer, const struct session_result *r,
		     const struct scope *scope, bool each);
/* The mailboxes, by name: [{"name", "guid", "sent": {...}, "got": {...}}]. */
json_t *sync_diff_json(struct sync_diff *d);

#endif
