/*
 * scope-unmatched.h - names that were mistyped, and folders that have been renamed since.
 */
#ifndef MB_SYNC_SCOPE_UNMATCHED_H
#define MB_SYNC_SCOPE_UNMATCHED_H

#include "backends/mail/object.h"
#include "sync/scope.h"

/*
 * The names and GUIDs of `s` that no mailbox with mail has in either tree, added to `ret`, in their
 * order.  A special use is never among them: not everybody has a mailbox for each.  A mailbox that became
 * another is found as that one; one that is deleted, or only a parent of others, is none.  Cost: the
 * number of mailboxes for each name.
 */
void scope_unmatched(const struct scope *s, const struct tree trees[2], struct scope_list *ret);

#endif
