/*
 * conflicts.h - what merges decided against somebody, kept in the store that ran the sync.
 *
 * STORE/conflicts holds one JSON object a line, oldest first; above CONFLICTS_MAX bytes it becomes
 * STORE/conflicts.1, and the one before that is gone.  So the newest half megabyte is always there.
 *
 *   {"v":1,"when":"2026-11-22T12:00:00.000Z","peer":"store:/x","kind":"moved-twice",
 *    "mailbox":"Work","mailbox_guid":"…","message":"…","decided":"moved to two mailboxes; …"}
 *
 * Never a subject.  "mailbox" is missing when its name is not UTF-8 or too long, "message" when the
 * conflict is about a mailbox.  It is written and synced before the first change is put: who is killed
 * then may find a conflict that the next run decides again, never a decision that was not told.  A line
 * that a crash left torn is skipped by readers, and ended by the next writer.
 */
#ifndef MB_SYNC_CONFLICTS_H
#define MB_SYNC_CONFLICTS_H

#include "sync/merge.h"
#include <jansson.h>
#include <stdbool.h>

#define CONFLICTS_FILE "conflicts"
#define CONFLICTS_OLD_FILE "conflicts.1"
#define CONFLICTS_MAX (512u << 10)
/* The same conflict with the same peer again within this time is a run that was tried again. */
#define CONFLICTS_AGAIN_NS (60 * INT64_C(1000000000))

/* true when somebody's change did not take effect as it was made.  Pairing, new UIDs, and one mailbox
 * out of two of one name are nobody's loss. */
bool notice_is_conflict(enum notice_kind kind);
size_t notices_conflicts(const struct notice *list, size_t n); /* how many are */
/* "moved-twice"; a constant. */
const char *notice_kind_name(enum notice_kind kind);
/* How the other side is had back, for the kind that is called so; a constant, "" of an unknown one. */
const char *conflict_remedy(const char *kind);

/* For session_options.decided. */
struct conflicts_keeper {
	const char *dir;  /* borrowed: of the store */
	const char *peer; /* borrowed: its destination */
};
/* Keeps the conflicts among the notices; arg: struct conflicts_keeper.  When that cannot be done a
 * warning says so, and the sync goes on: mail comes before reports. */
void conflicts_keep(const struct tree *names, const struct notice *list, size_t n, void *arg);

/* The same, with a result: 0 when they are durable, or an error.  Takes a lock on the file for as long as
 * it writes; at most two syncs of it (three steps more when it begins a new file). */
int conflicts_add(const char *dir, const char *peer, const struct tree *names,
		  const struct notice *list, size_t n);
/* Every conflict that is kept, oldest first; lines that are none are skipped.  0 and an array that the
 * caller owns, or an error. */
int conflicts_read(const char *dir, json_t **ret);
/* Forgets all of them.  How many there were, or an error. */
int conflicts_clear(const char *dir);

#endif
