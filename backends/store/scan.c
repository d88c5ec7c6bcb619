/*
 * scan.c - looks at the files and turns what happened behind our back into records.
 *
 * Two stats a folder (cur and new) tell whether it has to be read; a directory that changed less
 * than two seconds before it was read is read again next time, because its time may not move for a
 * second change.  In fs layout a third stat finds new folders inside a folder; in maildir++ the root does.
 * All mailboxes are read before any absence is judged; after an error none is.
 *
 * What a stop leaves: a file operation without its record looks exactly like a program that worked
 * in the tree while nothing was mounted, and is dealt with by the same code.
 */
#include "backends/store/scan-private.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define RESTLESS_TRIES 3

static void scan_release(struct scan *sc)
{
	for (size_t i = 0; i < sc->n_boxes; i++) {
		struct scan_box *b = &sc->boxes[i];

		scan_forget_files(b);
		free(b->dir);
	}
	for (size_t i = 0; i < sc->n_dirs; i++)
		free(sc->dirs[i].dir);
	for (size_t i = 0; i < sc->n_strays; i++)
		free(sc->strays[i]);
	for (size_t i = 0; i < sc->n_walked; i++)
		free(sc->walked[i].dir);
	free(sc->walked);
	free(sc->strays);
	for (size_t i = 0; i < sc->n_missing; i++)
		entry_release(&sc->missing[i].e);
	scan_twins_release(sc);
	held_release(&sc->held);
	free(sc->boxes);
	free(sc->dirs);
	free(sc->missing);
	free(sc->known);
	scan_leave_dir(sc);
}

void scan_error(struct scan *sc, const char *path, int err)
{
	sc->report->errors++;
	if (err == -ENOENT || sc->report->unread)
		return;
	sc->report->unread = err;
	if (!sc->s->unread_told)
		mb_msg(MB_WARNING,
		       "something in the mail tree cannot be read, and nothing is taken for "
		       "removed: "
		       "%s; path=%s",
		       mb_err_str(err), *path ? path : ".");
	sc->s->unread_told = true;
}

bool scan_is_young(const struct scan *sc, const struct dir_stamp *d)
{
	int64_t newest = d->mtime_ns > d->ctime_ns ? d->mtime_ns : d->ctime_ns;

	return sc->now_ns - newest < SCAN_YOUNG_NS;
}

static void note_stamp(const struct scan *sc, struct dir_stamp *dst, const struct dir_stamp *src,
		       bool held)
{
	if (held || scan_is_young(sc, src))
		memset(dst, 0, sizeof(*dst));
	else
		*dst = *src;
}

/* Remembers the times of what was read and is in step now. */
static int note_box(struct scan *sc, const struct scan_box *b)
{
	struct mailbox m = {0};
	struct mailbox_local local = {0};
	int err = index_get_mailbox(sc->tx, &b->guid, &m, &local);

	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	note_stamp(sc, &local.cur, &b->cur, b->held || !sc->steady);
	note_stamp(sc, &local.new_, &b->new_, b->held || !sc->steady);
	note_stamp(sc, &local.self, &b->self, !sc->steady); /* else nobody would walk it again */
	local.ino = b->ino;
	err = index_put_mailbox(sc->tx, &m, &local);
	mailbox_release(&m);
	mailbox_local_release(&local);
	return err;
}

static int scan_changed(struct scan *sc)
{
	int err = 0;

	sc->call = (struct posix_call){.s = sc->s, .tx = sc->tx, .origin = &sc->origin};
	sc->steady = false;
	err = scan_judge_boxes(sc);
	if (err >= 0)
		err = scan_read_steadily(sc);
	if (err >= 0)
		err = scan_match_across(sc);
	if (err >= 0 && sc->report->errors == 0 && sc->steady)
		err = scan_judge_missing(sc);
	if (err >= 0 && sc->report->errors == 0 && sc->steady)
		err = held_note(sc->s, &sc->held);
	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].listed && !sc->boxes[i].gone && sc->steady)
			err = uidlist_follow(sc->s, sc->tx, &sc->boxes[i].guid, sc->boxes[i].dir,
					     &sc->origin);
	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].was_read)
			err = keywords_read(sc->s, sc->tx, &sc->boxes[i].guid, sc->boxes[i].dir,
					    &sc->origin);
	if (err >= 0 && sc->subscriptions)
		err = subscriptions_read(sc->s, sc->tx, &sc->origin);
	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].was_read && sc->report->errors == 0)
			err = note_box(sc, &sc->boxes[i]);
	return err;
}

static bool anything_to_do(const struct scan *sc)
{
	for (size_t i = 0; i < sc->n_boxes; i++)
		if (sc->boxes[i].changed || sc->boxes[i].gone || sc->boxes[i].listed)
			return true;
	return sc->n_dirs > 0 || sc->n_strays > 0 || sc->subscriptions || sc->s->renames;
}

/* Commits what the scan found.  A commit that failed leaves it to the next scan. */
static int scan_and_commit(struct scan *sc)
{
	struct store *s = sc->s;
	bool rescan, committed;
	int err = change_begin(s, &sc->tx);

	if (err < 0)
		return err;
	err = scan_changed(sc);
	rescan = s->rescan;
	s->rescan = false;
	err = change_end(s, sc->tx, err);
	committed = err >= 0 && !s->rescan && !s->behind;
	s->rescan |= rescan;
	return committed && s->renames && sc->names_follow ? renames_forget(s) : err;
}

static int scan_once(struct store *s, bool full, struct scan_report *ret, bool *ret_restless)
{
	struct scan sc = {.s = s,
			  .full = full,
			  .report = ret,
			  .now_ns = clock_wall_ns(),
			  .origin = {.comm = "scan"}};
	int err;

	err = index_begin(s->index, false, &sc.tx);
	if (err < 0)
		return err;
	sc.full = full || s->rescan;
	err = scan_tree(&sc);
	sc.subscriptions = subscriptions_changed(s, sc.tx);
	index_abort(MB_TAKE(sc.tx));
	sc.full = full || s->recheck;
	sc.steady = !sc.restless;
	s->trial.scanning = s->trial.tx;
	if (err >= 0 && anything_to_do(&sc))
		err = scan_and_commit(&sc);
	s->trial.scanning = false;
	if (err >= 0 && ret->errors == 0 && sc.steady) {
		s->rescan = s->recheck = false;
		s->was_clean = true; /* what the stop left has been judged */
	}
	s->rescan |= s->renames; /* not all names are told yet */
	s->unread_told = ret->unread != 0;
	ret->unsteady = !sc.steady || sc.waits;
	*ret_restless = sc.restless && !ret->errors;
	scan_release(&sc);
	return err;
}

int scan_locked(struct store *s, bool full, struct scan_report *ret)
{
	bool restless = true;
	int err = 0;

	memset(ret, 0, sizeof(*ret));
	if (s->watched && !full && !s->rescan && !s->recheck &&
	    !(s->watch_pending && s->watch_pending(s->watch_arg)))
		return 0;
	for (int try = 0; try < RESTLESS_TRIES && restless && err >= 0; try++)
		err = scan_once(s, full, ret, &restless);
	return err;
}

int scan_quietly(struct store *s, bool full, struct scan_report *ret)
{
	int err;

	store_lock(s);
	err = scan_locked(s, full, ret);
	store_unlock(s);
	return err;
}

void store_tell_held(const struct store *s, const struct scan_report *r)
{
	if (r->held)
		mb_msg(MB_WARNING,
		       "%llu messages are gone without a trace; their expunges are held back until "
		       "--allow-mass-expunge store=%s",
		       (unsigned long long)r->held, s->dir);
}

int store_scan(struct store *s, bool full, struct scan_report *ret)
{
	int err = scan_quietly(s, full, ret);

	if (err >= 0)
		store_tell_held(s, ret);
	return err;
}

void store_allow_mass_expunge(struct store *s, bool allow)
{
	store_lock(s);
	s->allow_mass_expunge = allow;
	store_unlock(s);
}

void store_set_watch_pending(struct store *s, bool (*pending)(void *arg), void *arg)
{
	store_lock(s);
	s->watch_pending = pending;
	s->watch_arg = arg;
	store_unlock(s);
}

void store_set_watch_wake(struct store *s, void (*wake)(void *arg), void *arg)
{
	store_lock(s);
	s->watch_wake = wake;
	s->wake_arg = arg;
	s->woken = false;
	store_unlock(s);
}

bool store_scan_is_due(struct store *s)
{
	bool due;

	store_lock(s);
	due = s->rescan || s->recheck;
	store_unlock(s);
	return due;
}

void store_set_watched(struct store *s, bool watched)
{
	store_lock(s);
	s->watched = watched;
	store_unlock(s);
}
