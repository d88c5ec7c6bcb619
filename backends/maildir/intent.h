/*
 * intent.h - the durable list of the directory renames of one plan.
 *
 * Written whole, before the first rename, as entries of the map whose mailbox is zero; forgotten in
 * the batch that says where the mailboxes are now.  An entry of the list:
 *   id         its number, from 1
 *   size       how many there are
 *   mtimes[0]  random, the same in one list
 *   keywords   LINE_FROM, LINE_TO: a rename, two entries in a row; then LINE_BOX: a mailbox and where
 *              it is after all renames; its GUID is in `guid`
 *   path       directory, relative to the root of the Maildir
 *   ino        at_identity() of the directory; of a box without a directory: 0
 *   flags, placed_at   of LINE_BOX: BOX_* bits; named_at
 * A list that is not whole is one that was being written, or being forgotten: nothing is done by it.
 */
#ifndef MB_MAILDIR_INTENT_H
#define MB_MAILDIR_INTENT_H

#include "backends/maildir/maildir.h"

/* Append to the list in memory. */
void md_intent_rename(struct maildir *m, const char *from, const char *to, uint64_t identity);
void md_intent_box(struct maildir *m, const struct md_box *box, uint64_t identity);

/* Makes the list durable. */
int md_intent_write(struct maildir *m);

/* Writes the entries of mailboxes that are dirty and takes the list out of the map, in one batch. */
int md_intent_done(struct maildir *m);

/* Is this entry of the map one of a list? */
bool md_intent_is_line(const struct peer_entry *e);
/* Takes over e->path. */
void md_intent_load(struct maildir *m, struct peer_entry *e);
void md_intent_release(struct maildir *m);

/*
 * Finishes what a list says, which the last run had no time for, and forgets it.  May be stopped
 * anywhere and begun again.  A directory that is not where the list has it, or whose new place is
 * taken, is left alone: the scan looks at it.  Before anything is scanned.
 */
int md_intent_replay(struct maildir *m);

#endif
