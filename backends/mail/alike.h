/*
 * alike.h - is it one mail, although the bytes differ?
 *
 * What lies between two mailboxes changes little things in a mail: line ends, trace fields of the
 * servers on its way, what programs note in the header.  The likeness of a mail is a digest of all
 * the rest.  Fields that do not count: Received, Return-Path, Delivered-To, Envelope-To, Delivery-Date,
 * Received-SPF, Authentication-Results, ARC-*, Status, Content-Length, Lines, X-*, and the "From " line
 * of an mbox.  CRLF counts as LF, empty lines at the end do not count.  All else does, in its order:
 * a mail with the footer of a list, or its List-Id, is another one.
 *
 * A mail has a likeness only when it says which one it is: with one Message-ID and one Date.
 */
#ifndef MB_MAIL_ALIKE_H
#define MB_MAIL_ALIKE_H

#include "backends/base/hash.h"

/*
 * Reads the mail in `fd` (from offset 0, by pread).  ret_head: of the header alone, by which most that
 * are not alike are told apart; ret_whole, or NULL: of all of it.  Both are zero for a mail without a
 * likeness.  Reads no more than the header when ret_whole is NULL.  -errno on a read error.
 */
int alike_fd(int fd, struct digest *ret_head, struct digest *ret_whole);

#endif
