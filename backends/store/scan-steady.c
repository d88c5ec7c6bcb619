/*
 * scan-steady.c - reads directories while other programs rename in them.
 *
 * A file that is moved between the reading of two directories is seen in neither, or in both: taken
 * at its word, such a listing would expunge a message and let another arrive.  So absence, and an
 * inode in two places, are believed only when no directory of the tree has changed while it was
 * read; else those that did are read again.  Times of directories move in ticks of the kernel's
 * clock: one that changed within a tick before it was looked at may change again unseen.
 *
 * A mailbox whose directory is renamed meanwhile is left alone until the next scan finds it: nothing is
 * made in its old place.  In the same way one that is found nowhere is believed to be deleted
 * only when no directory changed while they were listed.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "backends/store/scan-private.h"
#include <string.h>
#include <time.h>

#define TICK_NS 20000000ll /* twice the longest tick (HZ=100) */
#define TRIES 6
#define ANY_SIZE UINT64_MAX /* of a damaged file: not what the entry says */

static void forget_missing(struct scan *sc, size_t box)
{
	size_t kept = 0;

	for (size_t i = 0; i < sc->n_missing; i++) {
		if (sc->missing[i].box == box)
			entry_release(&sc->missing[i].e);
		else
			sc->missing[kept++] = sc->missing[i];
	}
	sc->n_missing = kept;
}

static void read_again(struct scan *sc, size_t box)
{
	struct scan_box *b = &sc->boxes[box];

	forget_missing(sc, box);
	scan_forget_files(b);
	b->was_read = false;
	b->changed = true;
}

/* It is somewhere, and so is all its mail. */
static void leave_alone(struct scan *sc, size_t box)
{
	struct scan_box *b = &sc->boxes[box];

	forget_missing(sc, box);
	scan_forget_files(b);
	b->was_read = b->changed = b->listed = false;
	b->away = sc->restless = true;
}

static int read_changed(struct scan *sc)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].changed && !sc->boxes[i].gone && !sc->boxes[i].was_read &&
		    !sc->boxes[i].away) {
			err = scan_read_box(sc, &sc->boxes[i]);
			if (sc->boxes[i].away)
				leave_alone(sc, i);
		}
	return err;
}

static int match_read(struct scan *sc, const bool *fresh)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].was_read && fresh[i])
			err = scan_match_box(sc, i);
	return err;
}

/* Looks at all of them again; true when one has changed since it was read, or was about to be. */
static bool any_moved(struct scan *sc)
{
	bool moved = false;

	for (size_t i = 0; i < sc->n_boxes; i++) {
		struct scan_box *b = &sc->boxes[i], now = *b;

		if (b->gone || b->held || b->away)
			continue;
		scan_stat_box(sc, &now);
		if (now.gone) {
			leave_alone(sc, i);
			continue;
		}
		if (scan_stamp_equal(&now.cur, &b->cur) && scan_stamp_equal(&now.new_, &b->new_))
			continue;
		b->cur = now.cur;
		b->new_ = now.new_;
		b->looked_ns = now.looked_ns;
		read_again(sc, i);
		moved = true;
	}
	return moved;
}

/* A time that lies ahead (another host's clock) says nothing, but when it is the same a tick later,
 * nothing has changed. */
static bool changed_in_tick(const struct scan_box *b)
{
	int64_t newest = b->cur.mtime_ns > b->new_.mtime_ns ? b->cur.mtime_ns : b->new_.mtime_ns;

	if (scan_stamp_equal(&b->cur, &b->tick_cur) && scan_stamp_equal(&b->new_, &b->tick_new))
		return false;
	return b->looked_ns - newest < TICK_NS;
}

/* Lets the tick pass, and has those read again that changed in it. */
static bool wait_for_tick(struct scan *sc)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	bool any = false;

	for (size_t i = 0; i < sc->n_boxes; i++) {
		if (!sc->boxes[i].was_read || !changed_in_tick(&sc->boxes[i]))
			continue;
		sc->boxes[i].tick_cur = sc->boxes[i].cur;
		sc->boxes[i].tick_new = sc->boxes[i].new_;
		sc->boxes[i].looked_ns = 0; /* any_moved() looks anew */
		memset(&sc->boxes[i].cur, 0, sizeof(sc->boxes[i].cur));
		any = true;
	}
	if (any) {
		nanosleep(&tick, NULL);
		any_moved(sc);
	}
	return any;
}

static int by_ino(const void *a, const void *b)
{
	const struct scan_file *x = *(struct scan_file *const *)a;
	const struct scan_file *y = *(struct scan_file *const *)b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

static bool any_unmatched(const struct scan *sc)
{
	for (size_t i = 0; i < sc->n_boxes; i++)
		for (size_t k = 0; k < sc->boxes[i].n_files; k++)
			if (!sc->boxes[i].files[k].matched)
				return true;
	return false;
}

/* A new file with the inode of another one that was read: a link, or moved from there meanwhile. */
static bool any_in_two_places(const struct scan *sc)
{
	MB_AUTO_FREE struct scan_file **all = NULL;
	size_t n = 0;

	if (!any_unmatched(sc))
		return false;
	for (size_t i = 0; i < sc->n_boxes; i++)
		n += sc->boxes[i].n_files;
	all = mb_xcalloc(n + 1, sizeof(struct scan_file *));
	n = 0;
	for (size_t i = 0; i < sc->n_boxes; i++)
		for (size_t k = 0; k < sc->boxes[i].n_files; k++)
			all[n++] = &sc->boxes[i].files[k];
	qsort(all, n, sizeof(struct scan_file *), by_ino);
	for (size_t i = 1; i < n; i++)
		if (all[i]->ino == all[i - 1]->ino && !(all[i]->matched && all[i - 1]->matched))
			return true;
	return false;
}

static int read_and_match(struct scan *sc)
{
	MB_AUTO_FREE bool *fresh = mb_xcalloc(sc->n_boxes + 1, sizeof(bool));
	int err;

	for (size_t i = 0; i < sc->n_boxes; i++)
		fresh[i] = !sc->boxes[i].was_read;
	err = read_changed(sc);
	return err < 0 ? err : match_read(sc, fresh);
}

int scan_read_steadily(struct scan *sc)
{
	for (int try = 0; try < TRIES; try++) {
		int err = read_and_match(sc);

		if (err < 0)
			return err;
		if (any_moved(sc))
			continue;
		if (sc->restless)
			return 0;
		sc->steady = !(sc->n_missing || any_in_two_places(sc)) || !wait_for_tick(sc);
		if (sc->steady)
			return 0;
	}
	return read_and_match(sc); /* what is still uncertain waits for the next scan */
}

void scan_look_again(struct scan *sc)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	bool just_now = false;

	for (size_t i = 0; i < sc->n_walked; i++)
		just_now |= sc->walked[i].looked_ns - sc->walked[i].at.mtime_ns < TICK_NS;
	if (just_now)
		nanosleep(&tick, NULL);
	for (size_t i = 0; i < sc->n_walked && !sc->restless; i++) {
		struct dir_stamp now;
		int err;

		sc->restless = !scan_stat_dir(sc->s->mail_fd, sc->walked[i].dir, &now, &err) ||
			       !scan_stamp_equal(&now, &sc->walked[i].at);
	}
}

/* ---- an unsteady tree ------------------------------------------------------------------------ */

static int add_known(struct entry *e, void *arg)
{
	struct scan *sc = arg;

	if (!entry_has_file(e) || !e->ino)
		return 0;
	MB_GROW(sc->known, sc->cap_known, sc->n_known + 1);
	sc->known[sc->n_known++] = (struct scan_known){
		e->ino, e->state == ENTRY_DAMAGED ? ANY_SIZE : e->copy.size, e->mtime_ns};
	return 0;
}

static int compare_known(const void *a, const void *b)
{
	const struct scan_known *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return (x->mtime_ns > y->mtime_ns) - (x->mtime_ns < y->mtime_ns);
}

/* The inode alone does not tell: it is given again as soon as a message is removed. */
int scan_may_arrive(struct scan *sc, const struct stat *st)
{
	const struct scan_known key = {st->st_ino, (uint64_t)st->st_size,
				       clock_timespec_ns(&st->st_mtim)};
	const struct scan_known damaged = {key.ino, ANY_SIZE, key.mtime_ns};
	int err = 0;

	if (sc->steady)
		return 1;
	if (!sc->known) {
		err = index_each(sc->tx, add_known, sc);
		if (sc->n_known)
			qsort(sc->known, sc->n_known, sizeof(*sc->known), compare_known);
	}
	if (err < 0 || !sc->n_known)
		return err < 0 ? err : 1;
	return !bsearch(&key, sc->known, sc->n_known, sizeof(*sc->known), compare_known) &&
	       !bsearch(&damaged, sc->known, sc->n_known, sizeof(*sc->known), compare_known);
}
