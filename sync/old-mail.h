/*
 * old-mail.h - mail that comes back after its expunge was forgotten (row 94).
 *
 * A replica remembers expunges for a long time, not for ever; up to which time some were dropped is
 * its `forgotten`.  Another one that was away for longer may still hold such a message, live.  Nobody
 * can tell it from one that never got here.  It is held: it stays where it is and does not travel,
 * until a person deletes it there or accepts it (sync --accept-old).
 */
#ifndef MB_SYNC_OLD_MAIL_H
#define MB_SYNC_OLD_MAIL_H

#include "sync/merge.h"

/*
 * Takes the copies that are held out of the input, and lets their mailboxes live on where the other
 * side deleted them.  forgotten[i]: of side i, 0 = it remembers everything.  A copy is held when it
 * lives on one side, has its place since before the other side's `forgotten`, and is not known there;
 * unless it was just found on a side without stamps (copy.unagreed), or the other side has a message that may be the same one (then they are paired).  Pure.
 * A side that gets no new mail in the scope of the input holds none back.  Returns how many.
 */
uint64_t old_mail_hold(struct merge_input *in, const uint64_t forgotten[2]);

#endif
