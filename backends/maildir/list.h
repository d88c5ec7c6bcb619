/*
 * list.h - the files of the mailboxes that changed.
 */
#ifndef MB_MAILDIR_LIST_H
#define MB_MAILDIR_LIST_H

#include "backends/maildir/maildir.h"

#define MD_ASIDE "aside-mailbraid-" /* a mailbox that had to leave its name for a while */

#define TICK_NS 20000000ll /* twice the longest tick of the kernel's clock (HZ=100) */

/* Stats cur and new of each mailbox; lists those that are not as the map says, or all.  Afterwards
 * each file of a listed mailbox is seen or missing, and m->fresh has what the map does not know. */
int md_list_changed(struct maildir *m, bool full);

static inline bool md_same_letters(const struct letters *a, const struct letters *b)
{
	return a->flags == b->flags && a->keywords == b->keywords;
}

/* list.c: the names of a mailbox, for steady.c.  They are kept in box->listing until they are matched. */
struct inos {
	uint64_t *v; /* owned; sorted by md_inos_sort() */
	size_t n;
};
int md_read_names(struct maildir *m, struct md_box *box); /* anew, when they were read before */
bool md_names_differ(struct md_box *box); /* from what the map has: some are missing, or new */
/* Each file of the box is seen or missing, m->fresh has the new ones.  `known`: no file with one of these
 * inodes is taken for new. */
void md_match_names(struct md_box *box, bool full, const struct inos *known);
void md_inos_sort(struct inos *known);

/* Is there a file of `box` in directory `dir`? */
bool md_shares_file(struct maildir *m, const struct md_box *box, const char *dir);

/* Flags as the map means them, with what the name says now. */
void md_set_now(struct md_file *f);

#endif
