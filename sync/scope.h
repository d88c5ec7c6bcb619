/*
 * scope.h - what a session covers: modes, what may travel in which direction, which mailboxes, which
 * messages.
 *
 * The default scope is everything both ways.  Any other one is restricted: each side gets only what
 * `let` allows it, of the mailboxes and messages that are selected; see merge-scope.c.  A scope has
 * one text, whatever way it was asked for, and a hash of that text, under which the positions of its
 * sessions are remembered.
 */
#ifndef MB_SYNC_SCOPE_H
#define MB_SYNC_SCOPE_H

#include "backends/mail/object.h"
#include <stdbool.h>
#include <stdint.h>

enum scope_part {
	SCOPE_NEW = 1 << 0,   /* messages that the side does not have, restored ones too */
	SCOPE_FLAGS = 1 << 1, /* flags and keywords of those it has */
	SCOPE_MOVES = 1 << 2, /* to other mailboxes, and other UIDs and file names */
	SCOPE_EXPUNGES = 1 << 3,
	SCOPE_FOLDERS = 1 << 4, /* create, rename, delete, subscribe, UIDVALIDITY */
	SCOPE_EVERYTHING = (1 << 5) - 1,
};

struct scope_list {
	char **items; /* owned */
	size_t n, cap;
};

struct scope_date {
	bool given;
	bool relative; /* ns before now, else since 1970 */
	int64_t ns;
};

struct scope {
	unsigned let[2]; /* what side i may get; 0: nothing of it is changed */
	bool mirror;	 /* backup: the one side that gets becomes equal to the other */
	/* Mailboxes: one of names or guids (when any is given), one of prefixes (likewise), and none of
	 * excludes. */
	struct scope_list names, guids, prefixes, excludes;
	/* Messages whose bodies travel: received from `since` on and before `until`, not larger, with or
	 * without a flag. */
	struct scope_date since, until;
	bool sized;
	uint64_t max_size;
	char *flag; /* owned, or NULL */
	bool flag_unset;
};

void scope_init(struct scope *s); /* the default scope */
void scope_release(struct scope *s);
void scope_list_release(struct scope_list *l); /* all zeros again */

/* ---- words of the command line; false: not understood, nothing was changed ---- */
/* "new,flags,moves,expunges,folders", "all", "none". */
bool scope_parse_parts(const char *text, unsigned *ret);
/* "1700000000", "2024-05-01", "2024-05-01T12:00:00Z", "01-May-2024", "2days", "-90d". */
bool scope_parse_date(const char *text, struct scope_date *ret);
/* "1000", "25k", "1M", "2G" (powers of 1024; a "b" may follow). */
bool scope_parse_size(const char *text, uint64_t *ret);
/* "\Flagged", "-\Seen", "work", "-work". */
bool scope_parse_flag(struct scope *s, const char *text);
/* A name, or a special use that is known: "\Sent". */
bool scope_add_name(struct scope_list *l, const char *text);
bool scope_add_guid(struct scope_list *l, const char *text);

/* ---- questions ---- */
bool scope_is_default(const struct scope *s); /* NULL is */
/* The side that gets nothing while the other gets something, or -1. */
int scope_source(const struct scope *s);
/* Only some mailboxes are selected. */
bool scope_selects(const struct scope *s);
/* Messages come into it as time goes by: it is compared in full each time. */
bool scope_is_moving(const struct scope *s);
bool scope_has_mailbox(const struct scope *s, const char *name, const struct guid *guid);
enum scope_left_out { SCOPE_TRAVELS, SCOPE_TOO_LARGE, SCOPE_NOT_IN_RANGE, SCOPE_OTHER_FLAG };
/* May the body of this message travel?  A flagged one is never too old (row 132). */
enum scope_left_out scope_message(const struct scope *s, const struct copy *c, int64_t now_ns);
/* `*` any characters, `?` one; UTF-8. */
bool scope_match(const char *pattern, const char *name);

/* Canonical; as seen from `side` (of a pair, each side calls itself 0).  Owned. */
char *scope_text(const struct scope *s, int side);
/* Of that text; 0 for the default scope only. */
uint64_t scope_hash(const struct scope *s, int side);

#endif
