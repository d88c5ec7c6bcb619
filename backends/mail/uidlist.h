/*
 * uidlist.h - Dovecot's file dovecot-uidlist, parsed and written.
 *
 *   version 3   "3 V<uidvalidity> N<next uid> G<mailbox guid>", more fields may follow; then lines
 *               "<uid> <fields>:<name>", fields being letter and value, each with a space after it
 *   version 1   "1 <uidvalidity> <next uid>", then lines "<uid> <name>"
 *
 * A name is that of the file up to the first ':'.  UIDs ascend.  Lines are appended without changing
 * the header, so the next UID is also above the last line's.  A last line without a line end is still
 * being written, and counts for nothing.  Fields that mean nothing here are kept.
 */
#ifndef MB_MAIL_UIDLIST_H
#define MB_MAIL_UIDLIST_H

#include "backends/base/buf.h"
#include "backends/mail/guid.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UIDLIST_FILE_MAX (256u << 20) /* a million messages have lines of some 60 bytes */

struct uidlist_line;
struct uidlist_names; /* lines by name */

struct uidlist {
	uint32_t uid_validity; /* 0: there was no such file yet */
	uint32_t uid_next;     /* above every line's UID, at least 1 */
	struct guid guid;      /* G of the header, or zero */
	char *fields; /* owned: header fields but V and N, each with a space before it; NULL = none */
	struct uidlist_line **lines; /* owned: by UID */
	size_t n, cap;
	struct uidlist_names *names; /* owned */
	bool whole; /* version 3, no line was cut or twice: lines may be appended to the file */
};

/* Reads the text of a file.  MB_E_FORMAT: no header of a version that is known, UIDVALIDITY or next
 * UID 0 or too large, a line without UID or name, UIDs that do not ascend: Dovecot throws such a file
 * away, and so it says nothing.  Of two lines with one name the last counts, as for Dovecot. */
int uidlist_parse(const char *text, size_t len, struct uidlist *ret);
void uidlist_release(struct uidlist *l); /* zeros are fine */

uint32_t uidlist_uid(const struct uidlist_line *line);
const char *uidlist_name(const struct uidlist_line *line);
/* The G field of a line, when it is a GUID. */
bool uidlist_line_guid(const struct uidlist_line *line, struct guid *ret);

/* Line of the message file `file` (its info part does not count), or NULL. */
const struct uidlist_line *uidlist_find(const struct uidlist *l, const char *file);
const struct uidlist_line *uidlist_by_uid(const struct uidlist *l, uint32_t uid);
/* Do both names have the same line? */
bool uidlist_same_name(const char *a, const char *b);

/* Gives `file` this UID: its line, with its fields, goes there; a line of another name that has it
 * goes.  Raises uid_next. */
void uidlist_set(struct uidlist *l, const char *file, uint32_t uid);
/* The line of `file` gets the fields of `like`, which may be of another list, or NULL: none then. */
void uidlist_set_fields(struct uidlist *l, const char *file, const struct uidlist_line *like);
void uidlist_remove(struct uidlist *l, const char *file);

/* The whole file, version 3; a line as it is appended.  Both append to out. */
void uidlist_write(const struct uidlist *l, struct buf *out);
void uidlist_write_line(const struct uidlist_line *line, struct buf *out);

#endif
