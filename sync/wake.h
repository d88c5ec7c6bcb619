/*
 * wake.h - which items of a bulk are made where programs that watch can see them.
 *
 * What is put in bulk makes no system call in a mount, so inotify(7) tells nobody.  A mail program waits
 * for a rename into the directory (neomutt, mutt), or for any change of its names (Dovecot, KMail, aerc).
 * So the last item of each kind in each mailbox is put as if it came alone: its event is the last, and
 * who then looks finds all that came before it.
 */
#ifndef MB_SYNC_WAKE_H
#define MB_SYNC_WAKE_H

#include "sync/merge.h"
#include <stdbool.h>

/*
 * For each item of the plan for `side` whether it is the last arrival in new/ or in cur/, the last change
 * of a file's name, or the last that leaves, of its mailbox; or the last mailbox that is made, renamed or
 * removed below its parent.  Owned array of plan->n (NULL when that is 0).  Items that change nothing to
 * see are none of these.  Pure; a search in `side` for each item.
 */
bool *wake_choose(const struct merge_side *side, const struct tree *joined,
		  const struct plan *plan);

#endif
