/*
 * lost.c - a message whose body is nowhere, given up by its owner.
 *
 * It has no file, so no program can delete it: this is the expunge that a program would have made.  Only
 * what is lost goes: a damaged message has a file, and whatever came back meanwhile is no longer lost.
 */
#include "backends/base/err.h"
#include "backends/store/store-private.h"
#include <errno.h>

int store_expunge_lost(struct store *s, const struct guid *guid, uint64_t id, uint64_t modseq,
		       const struct origin *origin)
{
	struct posix_call p = {.s = s, .origin = origin};
	struct entry e = {0};
	int err;

	store_lock(s);
	err = change_begin(s, &p.tx);
	if (err >= 0) {
		err = index_get_entry(p.tx, guid, id, &e);
		if (err >= 0 && (e.state != ENTRY_LOST || e.modseq != modseq))
			err = MB_E_STALE;
		if (err >= 0)
			err = entry_expunge(&p, &e, NULL, STAMP_NONE);
		err = change_end(s, p.tx, err);
	}
	store_unlock(s);
	entry_release(&e);
	return err < 0 ? err : 0;
}
