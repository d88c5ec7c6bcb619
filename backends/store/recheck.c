/*
 * recheck.c - a message whose file is not what was noted of it, found when its body was wanted.
 *
 * No scan looks at the contents of all files.  Whoever delivers by writing on in cur/ or new/, after the
 * message was noticed, changes no directory; so the mailbox of such a message is read anew, contents
 * and all, which makes an edit of it.  One whose file has gone since the last scan, or has another name, is
 * looked for in the same way: who wanted it asks again.  What the guard holds was looked for already.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/scan-private.h"
#include <errno.h>

static bool has_changed(struct store *s, struct index_txn *tx, const struct entry *e)
{
	MB_AUTO_FREE char *path = entry_path(tx, e);
	struct stat st;

	if (!path)
		return false;
	int err = at_stat(s->mail_fd, path, &st);
	if (err == -ENOENT)
		return !held_has(&s->held, e);
	return err == 0 && ((uint64_t)st.st_size != e->copy.size ||
			    clock_timespec_ns(&st.st_mtim) != e->mtime_ns || st.st_ino != e->ino);
}

/* 1: it has changed, and its mailbox is read by the next scan. */
static int look_at(struct store *s, struct index_txn *tx, const struct guid *guid, uint64_t id)
{
	struct entry e = {0};
	struct mailbox m = {0};
	struct mailbox_local local = {0};
	int err = index_get_entry(tx, guid, id, &e);
	bool changed = err >= 0 && e.state == ENTRY_PRESENT && has_changed(s, tx, &e);

	if (changed)
		err = index_get_mailbox(tx, &e.copy.place.mailbox, &m, &local);
	if (err >= 0 && changed) {
		local.cur = local.new_ = (struct dir_stamp){0};
		err = index_put_mailbox(tx, &m, &local);
	}
	mailbox_release(&m);
	mailbox_local_release(&local);
	entry_release(&e);
	return err < 0 ? err : changed;
}

int store_recheck(struct store *s, const struct guid *guid, uint64_t id)
{
	struct scan_report report;
	struct index_txn *tx;
	int err;

	store_lock(s);
	err = change_begin(s, &tx);
	if (err >= 0)
		err = change_end(s, tx, look_at(s, tx, guid, id));
	if (err > 0)
		err = change_settle(s) < 0 ? 0 : 1;
	if (err > 0) {
		s->recheck = true;
		err = scan_locked(s, false, &report);
		err = err < 0 ? err : report.records > 0;
	}
	store_unlock(s);
	return err;
}
