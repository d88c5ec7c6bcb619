/*
 * list.h - the files of the mailboxes that changed.
 */
#ifndef MB_MAILDIR_LIST_H
#define MB_MAILDIR_LIST_H

#include "backends/maildir/maildir.h"

#define MD_ASIDE "aside-mailbraid-" /* a mailbox that had to leave its name for a while */

/* Stats cur and new of each mailbox; lists those that are not as the map says, or all.  Afterwards
 * each file of a listed mailbox is seen or missing, and m->fresh has what the map does not know. */
int md_list_changed(struct maildir *m, bool full);

/* Is there a file of `box` in directory `dir`? */
bool md_shares_file(struct maildir *m, const struct md_box *box, const char *dir);

/* Flags as the map means them, with what the name says now. */
void md_set_now(struct md_file *f);

#endif
