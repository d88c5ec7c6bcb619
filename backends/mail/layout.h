/*
 * layout.h - mailbox names and directories.
 *
 * A mailbox name is a path of parts separated by '/', for people and logs; a part is any bytes but
 * NUL, 1 to 255.  In the tree a mailbox is (parent GUID, part).  INBOX is the root directory itself;
 * "INBOX" in any ASCII case as the first part means it.
 *
 *   maildir++   A/B  is  .A.B   (INBOX/X is .INBOX.X)
 *   fs          A/B  is  A/B
 *
 * What a directory cannot hold is escaped as \hh (lower-case hex), reversibly, as Dovecot's
 * listescape does it: '.' in maildir++, '/' inside a part, control bytes, a leading '~' or '.',
 * reserved names in fs (cur new tmp maildirfolder, Dovecot's files, subscriptions, .mailbraid…) by escaping their first
 * byte, and a backslash that would read as an escape.
 */
#ifndef MB_MAIL_LAYOUT_H
#define MB_MAIL_LAYOUT_H

#include "backends/base/buf.h"
#include <stdbool.h>
#include <stddef.h>

enum layout { LAYOUT_MAILDIRPP, LAYOUT_FS };

#define MAILBOX_PART_MAX 255
#define MAILBOX_DEPTH_MAX 64
#define MAILBOX_NAME_MAX 4000 /* bytes of the whole name with separators and escapes */

const char *layout_name(enum layout l);		       /* "maildir++", "fs" */
bool layout_parse(const char *text, enum layout *ret); /* any case; "fs", "maildir++" */

/* A part from outside: 1..255 bytes, not "." or "..", no NUL, no control bytes (< 0x20, 0x7f). */
bool mailbox_part_ok(const char *part);

/*
 * Directory of the mailbox with these parts, relative to the root of the tree; "" for INBOX (no
 * parts, or the single part INBOX).  0, or MB_E_NAME when a part is not ok, or the directory would
 * have a component over 255 or a path over 4000 bytes.
 */
int layout_dir(enum layout l, const char *const *parts, size_t n_parts, struct buf *out);

/*
 * The parts of directory `dir` (relative, "" = INBOX).  Gives a NULL-terminated owned array (free
 * with layout_parts_free) with zero parts for INBOX.  Names that were not written by layout_dir()
 * are taken as they are.  MB_E_NAME for a directory that is no mailbox in this layout (maildir++: no
 * leading dot, empty parts; reserved names).
 */
int layout_parts(enum layout l, const char *dir, char ***ret_parts, size_t *ret_n);
void layout_parts_free(char **parts);

/* "A/B" for people: parts joined by '/', '/' and '\' inside a part escaped as \2f and \5c. */
void layout_join(const char *const *parts, size_t n_parts, struct buf *out);
/* The reverse; "INBOX" in any case gives zero parts; MB_E_NAME when a part is not ok. */
int layout_split(const char *name, char ***ret_parts, size_t *ret_n);

/* Files that Maildir programs put into a folder, "dovecot-uidlist" and the like; nobody misses them when
 * it goes. */
bool layout_is_dropping(const char *name);
extern const char *const LAYOUT_DROPPINGS[]; /* all of them, NULL at the end */

/* Same name for a person: equal after Unicode NFC composition of Latin, and, with `fold_case`,
 * without regard to the case of Latin, Greek and Cyrillic letters.  Used to notice collisions, never to change bytes. */
bool mailbox_part_same(const char *a, const char *b, bool fold_case);

#endif
