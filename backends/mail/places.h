/*
 * places.h - in which order the directories of mailboxes are renamed.
 *
 * Each mailbox is in a directory and is to be in another one, or in that one.  A directory takes along
 * what is in it; it cannot be renamed to what it is in, nor to what is in it, nor to where another one
 * is.  Who stands in the way goes to a temporary place of its own first, by itself: a mailbox that is in
 * the place already or, in LAYOUT=fs, beneath it; that is beneath one that goes and does not belong there
 * afterwards; and the mailbox itself when it goes below itself or to what it is in.
 *
 * places_next() says the next single rename and remembers nothing: it is asked again after each one, also
 * by a process that was started anew, until it has no more to say.  It always comes to an end: who was
 * put aside comes home only when nobody who still has to go would put it aside again.
 */
#ifndef MB_MAIL_PLACES_H
#define MB_MAIL_PLACES_H

#include <stdbool.h>
#include <stddef.h>

struct place_box {
	const char *dir; /* where it is: no two are in one place; not "" */
	const char
		*wanted; /* where it is to be; NULL: it stays where it is unless it is in the way */
	bool home;	 /* `dir` is what `wanted` means, though it may be spelled otherwise */
	bool scope;	 /* to be brought home; others are moved only when they are in the way */
	bool first; /* of several that are to be in one place this one is; else who is there already */
	bool aside; /* `dir` is its own temporary place, outside of all others */
};

struct place_move {
	size_t box; /* its number */
	bool aside; /* to its temporary place; else to `wanted` */
};

/*
 * The next rename.  `nested`: a path beneath another one is a directory in it (LAYOUT=fs).  false: nothing
 * is left to be done; those that are not home then wait for another one to leave their place.
 * Costs memory and n log n comparisons.
 */
bool places_next(const struct place_box *boxes, size_t n, bool nested, struct place_move *ret);

#endif
