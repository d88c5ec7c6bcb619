/*
 * touched.h - mailboxes that were changed in a mount, whose times move once more when the second is over.
 *
 * neomutt and mu compare whole seconds of a directory's times: what changes in the second in which they
 * have looked is not seen until the next change, on no file system.  So the directory is touched in the
 * second after: its mtime is later in their eyes too, and who watches it (IN_ATTRIB) looks again.
 * mutt and neomutt watch new/ alone, and look at cur/ when something has happened there: so new/ is touched
 * also after changes in cur/.
 *
 * One thread.
 */
#ifndef MB_STORE_TOUCHED_H
#define MB_STORE_TOUCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct touched_box {
	char *path; /* owned: "" or ends with a slash */
	int64_t second;
	bool cur; /* that one too, not new/ alone */
};

struct touched {
	struct touched_box *list; /* owned; the latest is the last */
	size_t n, cap;
};

void touched_release(struct touched *t);
/* The name `path` (from the root of the mount) came, changed or went in this second.  What is in no cur
 * or new does not matter. */
void touched_add(struct touched *t, const char *path, int64_t second);
/* Touches below `root` those of seconds before this one, and forgets them. */
void touched_turn(struct touched *t, int root, int64_t second);

#endif
