/*
 * demo-mail.h - sample mails of our own: threads, UTF-8 headers, attachments; the same each time.
 */
#ifndef MB_SYNC_DEMO_MAIL_H
#define MB_SYNC_DEMO_MAIL_H

#include "backends/base/buf.h"
#include <stddef.h>

#define DEMO_MAILS 200

extern const char *const demo_folders[]; /* directories of the tree, "" = INBOX; ends with NULL */

/* Text of sample mail n (from 0): a whole RFC 5322 message.  Appends. */
void demo_mail(unsigned n, struct buf *out);
/* A mail with this subject and some lines, for what arrives while the demo runs.  Appends. */
void demo_note(const char *subject, const char *text, struct buf *out);

/* Makes cur, new and tmp of each demo folder beneath directory fd `root`. */
int demo_make_folders(int root);
/* Writes all sample mails into the tree at `root`: most in cur with flags, some in new. */
int demo_fill(int root);

/* Delivers as an MDA does: tmp/NAME, then rename to new/.  NAME is `base`. */
int demo_deliver(int root, const char *folder, const char *base, const struct buf *mail);

#endif
