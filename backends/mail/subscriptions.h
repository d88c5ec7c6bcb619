/*
 * subscriptions.h - Dovecot's file of subscribed mailboxes, parsed and written.
 *
 *   version 2   "V\t2\n\n", then a line for each name, its parts separated by tabs
 *   version 1   a line for each name as it is on disk (maildir++: "A.B")
 *
 * Names are those of directories (modified UTF-7 where Dovecot made them), so a name is told here as
 * the directory of the mailbox.  Lines that name no mailbox are kept, and every line that was read is
 * written as it was.
 */
#ifndef MB_MAIL_SUBSCRIPTIONS_H
#define MB_MAIL_SUBSCRIPTIONS_H

#include "backends/base/buf.h"
#include "backends/base/hash.h"
#include "backends/mail/layout.h"
#include <stdbool.h>
#include <stddef.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

#define SUBSCRIPTIONS_NAME "subscriptions" /* beside INBOX's cur */
#define SUBSCRIPTIONS_FILE_MAX (16u << 20)
#define SUBSCRIPTIONS_MAX 100000

struct subscription {
	char *dir; /* owned: directory of the name, "" = INBOX; of a line that can be none: '\n', line */
	char *line; /* owned: as it is in the file; NULL: added here */
	UT_hash_handle hh;
};

struct subscriptions {
	struct subscription *lines; /* owned; in the order of the file */
	size_t n;
	bool version1;
};

/* Reads the text of a file.  -EINVAL: there are bytes in it that no program writes there (NUL), -EFBIG:
 * too many lines; nothing is to be concluded from such a file, and it is not to be written. */
int subscriptions_parse(enum layout layout, const char *text, size_t len,
			struct subscriptions *ret);
void subscriptions_release(struct subscriptions *s);
bool subscriptions_has(const struct subscriptions *s, const char *dir);
void subscriptions_add(struct subscriptions *s, const char *dir);    /* once */
void subscriptions_remove(struct subscriptions *s, const char *dir); /* if it is there */
/* The file's text, in the version that was read; appends to out. */
void subscriptions_write(const struct subscriptions *s, enum layout layout, struct buf *out);

#endif
