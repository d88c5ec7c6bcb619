/*
 * steady.c - which mailboxes are to be listed, and when their names can be believed.
 *
 * A mailbox is listed when mtime or ctime of its cur or new is not what the map has, or when the map
 * has none: a directory that changed within the last two seconds is never noted, because another
 * change in the same tick of the clock would not show.  Its files are looked at again as well: a
 * program may still have been writing one straight into it.
 *
 * A file that is renamed or moved while directories are read may be seen under neither name, or under
 * both: taken at its word, such a listing would expunge a living mail.  So absence and arrivals are
 * believed only when no directory has changed from before it was read until all were; else those
 * that have are read again.  Where that never comes to an end, nothing that is missing is judged, and no
 * file that may be one of them is taken for new: the next run will see.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/maildir/list.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES 6

static int sub_times(struct maildir *m, const struct md_box *box, const char *sub, int64_t ret[2])
{
	MB_AUTO_FREE char *path = md_sub_path(box, sub, "");
	struct stat st;
	int err = at_stat(m->root, path, &st);

	ret[0] = ret[1] = 0;
	if (err)
		return err == -ENOENT ? 0 : err;
	ret[0] = clock_timespec_ns(&st.st_mtim);
	ret[1] = clock_timespec_ns(&st.st_ctim);
	return 0;
}

static void forget_young(int64_t t[4])
{
	int64_t now = clock_wall_ns();
	bool young = false;

	for (int i = 0; i < 4; i++)
		young = young || t[i] > now - YOUNG_NS;
	if (young)
		memset(t, 0, 4 * sizeof(*t));
}

/* Or one that is held back, and may be back. */
static bool has_intent(const struct md_box *box)
{
	const struct md_file *f;

	for (f = box->files; f; f = f->hb.next)
		if (f->out || f->kept_back || !f->agreed || !md_same_letters(&f->before, &f->now))
			return true;
	return false;
}

/* -ENOENT: it had a directory a moment ago. */
static int take_times(struct maildir *m, struct md_box *box, int64_t ret[4])
{
	int err = sub_times(m, box, "cur", ret);

	box->looked_ns = clock_wall_ns();
	if (!err)
		err = sub_times(m, box, "new", ret + 2);
	return err ? err : ret[0] || ret[2] ? 0 : -ENOENT;
}

/* Another directory may have got its name meanwhile. */
static int is_still_there(struct maildir *m, const struct md_box *box)
{
	struct stat st;
	int err = *box->dir ? at_stat(m->root, box->dir, &st) : 0;

	return err || !*box->dir || st.st_ino == box->ino ? err : -ESTALE;
}

/* For the next run; not when they are young. */
static void note_times(struct md_box *box)
{
	int64_t t[4];

	memcpy(t, box->looked, sizeof(t));
	forget_young(t);
	if (memcmp(t, box->times, sizeof(t)) != 0)
		box->stale_times = true;
	memcpy(box->times, t, sizeof(t));
}

/* Times are taken before the names are read: what changes in between shows. */
static int look_at_box(struct maildir *m, struct md_box *box, bool full)
{
	int err = take_times(m, box, box->looked);

	if (err)
		return err;
	box->young = !box->times[0];
	box->compare = full || !box->times[0] ||
		       memcmp(box->looked, box->times, sizeof(box->looked)) != 0 || has_intent(box);
	if (!box->compare)
		return 0;
	note_times(box);
	return md_read_names(m, box);
}

/* What was taken for new already is to be read again. */
static void unmatch(struct maildir *m, struct md_box *box)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n_fresh; i++) {
		if (m->fresh[i]->box == box)
			md_file_free(m->fresh[i]);
		else
			m->fresh[kept++] = m->fresh[i];
	}
	m->n_fresh = kept;
}

/* true when it was read again: it has changed since, or `anew`. */
static int look_again(struct maildir *m, struct md_box *box, bool anew, bool *ret_moved)
{
	int64_t t[4];
	int err = is_still_there(m, box);

	if (!err)
		err = take_times(m, box, t);
	bool same = !err && memcmp(t, box->looked, sizeof(t)) == 0;

	if (err || (!anew && same))
		return err;
	box->tick_passed = anew && same;
	memcpy(box->looked, t, sizeof(t));
	box->compare = *ret_moved = true;
	note_times(box);
	unmatch(m, box);
	return md_read_names(m, box);
}

static void report(struct maildir *m, struct md_box *box, int err)
{
	m->scan_error = box->unread = true;
	if (err != -ENOENT && !m->unread)
		m->unread = err;
	memset(box->times, 0, sizeof(box->times));
	mb_msg(MB_WARNING,
	       "a mailbox of the Maildir cannot be read, no absence is judged: %s; dir=%s",
	       mb_err_str(err), box->dir);
}

/* What a link leads to is not looked at: nobody knows what became of the mail. */
static bool is_linked(struct maildir *m, const struct md_box *box)
{
	MB_AUTO_FREE char *path = md_sub_path(box, "cur", "");
	struct stat st;
	int err = at_stat(m->root, path, &st);

	if (err != -ELOOP && (err || !S_ISLNK(st.st_mode)))
		return false;
	mb_msg(MB_NOTICE,
	       "a folder of the Maildir is a symbolic link now, which is not followed: nothing of "
	       "it is expunged; dir=%s",
	       box->dir);
	return true;
}

static void list_gone(struct maildir *m, struct md_box *box)
{
	struct md_file *f;

	box->linked = is_linked(m, box);
	for (f = box->files; f; f = f->hb.next)
		f->missing = true;
}

/* ---- Names that can be believed ---------------------------------------------------------------- */

static bool knows_any(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next)
		if (box->files)
			return true;
	return false;
}

/* Something is gone, or new, and may be on its way; into a mailbox that was empty as well. */
static bool in_doubt(struct maildir *m)
{
	struct md_box *box, *next;

	if (!knows_any(m))
		return false;
	HASH_ITER (hh, m->boxes, box, next)
		if ((box->gone && box->files) || md_names_differ(box))
			return true;
	return false;
}

/* Another change in the same tick of the clock does not show in the times.  A time that lies ahead says
 * nothing, but a tick later it is another one if something changed. */
static bool changed_in_tick(const struct md_box *box)
{
	int64_t newest = 0;

	for (int i = 0; i < 4; i++)
		newest = box->looked[i] > newest ? box->looked[i] : newest;
	return box->compare && !box->tick_passed && box->looked_ns - newest < TICK_NS;
}

static bool wait_for_tick(struct maildir *m)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	struct md_box *box, *next;
	bool any = false;

	HASH_ITER (hh, m->boxes, box, next) {
		box->anew = box->found && changed_in_tick(box);
		any = any || box->anew;
	}
	if (any)
		nanosleep(&tick, NULL);
	return any;
}

/* true when any has changed since it was read. */
static bool look_at_all_again(struct maildir *m)
{
	struct md_box *box, *next;
	bool moved = false;

	HASH_ITER (hh, m->boxes, box, next) {
		int err = box->found && !box->unread ? look_again(m, box, box->anew, &moved) : 0;

		box->anew = false;
		if (err)
			report(m, box, err);
	}
	return moved;
}

/* false: programs rename in the tree all the time. */
static bool wait_for_rest(struct maildir *m)
{
	for (int try = 0; try < TRIES; try++) {
		if (!in_doubt(m))
			return true;
		if (!look_at_all_again(m) && !wait_for_tick(m))
			return true;
	}
	return !in_doubt(m);
}

static void known_inos(struct maildir *m, struct inos *ret)
{
	struct md_box *box, *next;
	size_t cap = 0;

	HASH_ITER (hh, m->boxes, box, next) {
		for (const struct md_file *f = box->files; f; f = f->hb.next) {
			MB_GROW(ret->v, cap, ret->n + 1);
			ret->v[ret->n++] = f->ino;
		}
	}
	md_inos_sort(ret);
}

int md_list_changed(struct maildir *m, bool full)
{
	struct md_box *box, *next;
	struct inos known = {0};
	bool any = knows_any(m);

	HASH_ITER (hh, m->boxes, box, next) {
		int err = box->found ? look_at_box(m, box, full) : 0;

		if (err)
			report(m, box, err);
		if (!any) /* nothing can be missed: the names need not be kept */
			md_match_names(box, full, NULL);
	}
	m->restless = !wait_for_rest(m) || m->restless;
	if (m->restless)
		known_inos(m, &known);
	HASH_ITER (hh, m->boxes, box, next) {
		md_match_names(box, full, m->restless ? &known : NULL);
		if (box->gone)
			list_gone(m, box);
	}
	free(known.v);
	return 0;
}
