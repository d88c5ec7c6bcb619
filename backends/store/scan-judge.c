/*
 * scan-judge.c - what a missing file or a changed one means.
 *
 *   missing, in deleted/                     expunged (a stop before its record)
 *   missing, the last stop was clean or the
 *     machine has not been restarted         expunged by another program: under the guard
 *   missing otherwise                        lost: wanted from a peer, never an expunge
 *   shorter, or zeros at its end, or changed without a clean stop   damaged: stays where it is, is told to
 *     nobody, and gets the right body when a peer gives it (mend.c)
 *   other bytes after a clean stop           an edit: a new message under the old name
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define ZEROS_MIN 64 /* bytes */

int scan_mark_lost(struct scan *sc, struct entry *e)
{
	struct record r = {.type = REC_LOST, .origin = sc->origin};
	int err;

	copy_clone(&r.copy, &e->copy);
	if (e->file)
		r.old_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	err = change_record(sc->s, sc->tx, &r);
	record_release(&r);
	sc->report->records++;
	return err;
}

/* ---- content ---- */

static bool are_zeros(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i])
			return false;
	return true;
}

/* Most files say so with their first bytes. */
static bool all_zeros(int fd)
{
	uint8_t data[65536];
	size_t want = 512;
	off_t at = 0;
	ssize_t n;

	while ((n = io_pread_full(fd, data, want, at)) > 0) {
		if (!are_zeros(data, (size_t)n))
			return false;
		at += n;
		want = sizeof(data);
	}
	return n == 0 && at > 0;
}

/* What a power cut makes of blocks that were not written yet; no mail program ends a mail like this. */
static bool ends_in_zeros(int fd, off_t size)
{
	uint8_t tail[ZEROS_MIN];

	return size >= ZEROS_MIN &&
	       io_pread_full(fd, tail, ZEROS_MIN, size - ZEROS_MIN) == ZEROS_MIN &&
	       are_zeros(tail, ZEROS_MIN);
}

static int note_times(struct scan *sc, struct entry *e, const struct stat *st)
{
	e->ino = st->st_ino;
	e->mtime_ns = clock_timespec_ns(&st->st_mtim);
	e->ctime_ns = clock_timespec_ns(&st->st_ctim);
	return index_put_entry(sc->tx, e);
}

static int note_again(struct scan *sc, const struct guid *guid, uint64_t id, const struct stat *st)
{
	struct entry e = {0};
	int err = index_get_entry(sc->tx, guid, id, &e);

	if (err >= 0)
		err = note_times(sc, &e, st);
	entry_release(&e);
	return err;
}

static int judge_edited(struct scan *sc, struct entry *e, const struct stat *st)
{
	struct record r = {.type = REC_EDIT, .at = hlc_now(&sc->s->clock), .origin = sc->origin};
	struct mailbox m = {0};
	int err = index_get_mailbox(sc->tx, &e->copy.place.mailbox, &m, NULL);

	if (err < 0)
		return err;
	r.old_guid = e->copy.guid;
	r.old_id = e->copy.id;
	copy_clone(&r.copy, &e->copy);
	r.copy.guid = guid_new();
	r.copy.id = 0;
	r.copy.place.uid = m.uid_next;
	r.copy.place.at = r.at;
	r.copy.dead = r.copy.dead_at = STAMP_NONE;
	r.copy.size = (uint64_t)st->st_size;
	memset(&r.copy.digest, 0, sizeof(r.copy.digest));
	r.old_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	r.new_name = mb_xstrdup(r.old_name);
	r.ordinal = ++sc->s->ordinal;
	err = change_record(sc->s, sc->tx, &r);
	if (err >= 0)
		err = note_again(sc, &r.copy.guid, 0, st);
	sc->report->edited++;
	sc->report->records++;
	mailbox_release(&m);
	record_release(&r);
	return err;
}

/* A whole file that a program renamed to the old name is no torn write, whatever its size. */
static bool is_another_file(const struct scan *sc, const struct entry *e, const struct stat *st)
{
	return sc->s->was_clean && e->ino && st->st_ino != e->ino && st->st_size > 0;
}

static int judge_damaged(struct scan *sc, const char *path, struct entry *e, const struct stat *st)
{
	if (e->state == ENTRY_DAMAGED) /* as before, with other bytes or times */
		return note_times(sc, e, st);
	mb_msg(MB_WARNING,
	       "message damaged on disk: it is left as it is until a peer gives its body back "
	       "path=%s",
	       path);
	change_event(sc->s, EVENT_CHANGED, path, NULL, false);
	sc->report->damaged++;
	sc->report->records++;
	return log_damaged(sc->s, sc->tx, e, &sc->origin, st);
}

static int judge_right(struct scan *sc, const char *path, struct entry *e, const struct stat *st)
{
	struct record r = {.type = REC_FOUND, .origin = sc->origin};
	int err;

	if (e->state != ENTRY_DAMAGED)
		return note_times(sc, e, st);
	copy_clone(&r.copy, &e->copy);
	r.new_name = mb_xasprintf("%s/%s", e->in_new ? "new" : "cur", e->file);
	err = change_record(sc->s, sc->tx, &r);
	record_release(&r);
	sc->report->records++;
	change_event(sc->s, EVENT_CHANGED, path, NULL, false);
	return err < 0 ? err : note_again(sc, &e->copy.guid, e->copy.id, st);
}

/* Bytes may have changed: what kind of change is it? */
static int judge_content(struct scan *sc, const char *path, int fd, struct entry *e,
			 const struct stat *st)
{
	struct digest d;
	bool same_size = (uint64_t)st->st_size == e->copy.size;
	bool shorter = (uint64_t)st->st_size < e->copy.size && !is_another_file(sc, e, st);
	int err;

	if (shorter || all_zeros(fd))
		return judge_damaged(sc, path, e, st);
	if (same_size && !digest_known(&e->copy.digest))
		return judge_right(sc, path, e, st); /* nothing to compare it with */
	err = digest_fd(fd, &d, NULL);
	if (err < 0)
		return err;
	if (same_size && digest_equal(&d, &e->copy.digest))
		return judge_right(sc, path, e, st);
	if (ends_in_zeros(fd, st->st_size))
		return judge_damaged(sc, path, e, st);
	/* without an inode: the index was built anew, and nobody knows whether it has changed since */
	if (!sc->s->was_clean || (e->state == ENTRY_DAMAGED && !e->ino))
		return judge_damaged(sc, path, e, st);
	change_event(sc->s, EVENT_CHANGED, path, NULL, false);
	return judge_edited(sc, e, st);
}

int scan_check_content(struct scan *sc, size_t box, struct entry *e)
{
	struct scan_box *b = &sc->boxes[box];
	MB_AUTO_FREE char *path = path_join(b->dir, e->in_new ? "new" : "cur", e->file);
	MB_AUTO_CLOSE int fd = -1;
	struct stat st;
	int err = scan_stat_file(sc, b, e->in_new, e->file, &st);

	if (err == -ENOENT || (err == 0 && !S_ISREG(st.st_mode)))
		return 0; /* gone while we look: the next scan sees it */
	if (err < 0) {
		scan_error(sc, path, err);
		return 0;
	}
	if (st.st_ino == e->ino &&
	    (e->state == ENTRY_DAMAGED || (uint64_t)st.st_size == e->copy.size) &&
	    clock_timespec_ns(&st.st_mtim) == e->mtime_ns)
		return 0;
	if (at_being_written(sc->s->mail_fd, path, clock_timespec_ns(&st.st_mtim)))
		return 0; /* no edit yet: the next look sees the whole */
	fd = at_open_regular(sc->s->mail_fd, path, O_RDONLY);
	if (fd < 0) {
		scan_error(sc, path, fd);
		return 0;
	}
	return judge_content(sc, path, fd, e, &st);
}

/* ---- absence ---- */

/* The names in deleted/MAILBOX, sorted. */
struct kept {
	char **v; /* owned */
	size_t n, cap;
};

static int kept_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct kept *k = arg;

	MB_GROW(k->v, k->cap, k->n + 1);
	k->v[k->n++] = mb_xstrdup(name);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int kept_load(struct scan *sc, const struct guid *mailbox, struct kept *k)
{
	char text[GUID_TEXT];
	MB_AUTO_CLOSE int dir =
		at_open(sc->s->deleted_fd, guid_text(mailbox, text), O_RDONLY | O_DIRECTORY, 0);
	int err = dir < 0 ? dir : at_list(dir, kept_one, k);

	if (k->n)
		qsort(k->v, k->n, sizeof(*k->v), by_text);
	return err == -ENOENT ? 0 : err;
}

static void kept_release(struct kept *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->v[i]);
	free(k->v);
}

/* Was the body of this instance put there?  One from before a restore speaks of an older life. */
static bool in_deleted(const struct kept *k, const struct entry *e)
{
	char prefix[64], text[GUID_TEXT];
	size_t lo = 0, hi = k->n, len;
	bool any = false;

	snprintf(prefix, sizeof(prefix), "%s.%llx.", guid_text(&e->copy.guid, text),
		 (unsigned long long)e->copy.id);
	len = strlen(prefix);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(k->v[mid], prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < k->n && strncmp(k->v[lo], prefix, len) == 0 && !any; lo++)
		any = strtoll(k->v[lo] + len, NULL, 10) > stamp_ms(&e->copy.place.at);
	return any;
}

bool scan_was_replaced(struct scan *sc, const struct entry *e)
{
	MB_AUTO_FREE char *found = NULL;
	struct kept k = {.n = 1};
	char *name;

	if (!e->ino || file_find_deleted(sc->s, &e->copy.place.mailbox, &e->copy.guid, e->copy.id,
					 false, &found) < 0)
		return false;
	name = strchr(found, '/') + 1;
	k.v = &name;
	return in_deleted(&k, e);
}

/* How many expunges of a mailbox would be inferred from absence alone? */
struct inferred {
	uint32_t fresh, held; /* now, and those that were held before */
};

static struct inferred inferred_in(const struct scan_missing *m, size_t n, const struct kept *k)
{
	struct inferred ret = {0};

	for (size_t i = 0; i < n; i++) {
		if (m[i].found || in_deleted(k, &m[i].e))
			continue;
		ret.held += m[i].was_held;
		ret.fresh += !m[i].was_held;
	}
	return ret;
}

/* Rule 9, for what is missing since the last scan; what was held before is no part of the mailbox. */
static bool guarded(const struct scan *sc, const struct scan_box *b, const struct inferred *x)
{
	uint64_t live = b->n_live > x->held ? b->n_live - x->held : 0;

	if (sc->s->allow_mass_expunge)
		return false;
	if (x->fresh > GUARD_COUNT && (uint64_t)x->fresh * 100 > live * GUARD_PERCENT)
		return true;
	return x->fresh > GUARD_WHOLE && x->fresh >= live;
}

/* More than half of all, in several mailboxes: another tree lies here, or a disk is not mounted and
 * somebody delivers to the empty directory; what comes there must not let go what is held. */
static bool most_is_gone(const struct scan *sc)
{
	const struct scan_missing *first = NULL;
	uint64_t live = 0, gone = 0, held = 0;
	bool several = false;

	for (size_t i = 0; i < sc->n_boxes; i++)
		live += sc->boxes[i].n_live;
	for (size_t i = 0; i < sc->n_missing; i++) {
		const struct scan_missing *m = &sc->missing[i];

		held += m->was_held;
		if (m->was_held)
			continue;
		first = first ? first : m;
		gone += !m->found;
		several |= m->box != first->box;
	}
	live -= held < live ? held : live;
	return several && gone > GUARD_WHOLE && gone * 2 > live && !sc->s->allow_mass_expunge;
}

static int judge_one(struct scan *sc, struct scan_missing *m, const struct kept *k, bool held)
{
	if (!in_deleted(k, &m->e)) {
		if (!sc->s->was_clean) {
			sc->report->lost++;
			return scan_mark_lost(sc, &m->e);
		}
		if (held || m->was_held) {
			held_add(&sc->held, &m->e);
			sc->report->held++;
			return 0;
		}
	}
	MB_AUTO_FREE char *path = entry_path(sc->tx, &m->e);
	if (path)
		change_event(sc->s, EVENT_REMOVED, path, NULL, false);
	sc->report->expunged++;
	sc->report->records++;
	free(MB_TAKE(m->e.file)); /* nothing to take away any more */
	return entry_expunge(&sc->call, &m->e, NULL, STAMP_NONE);
}

/* The missing of one mailbox: n of them, from m on. */
static int judge_box(struct scan *sc, struct scan_box *b, struct scan_missing *m, size_t n,
		     bool most)
{
	struct kept k = {0};
	int err = kept_load(sc, &b->guid, &k);
	struct inferred x = err < 0 ? (struct inferred){0} : inferred_in(m, n, &k);
	bool held = x.fresh && sc->s->was_clean && (most || guarded(sc, b, &x));

	b->held |= held || (x.held && sc->s->was_clean);
	for (size_t i = 0; i < n && err >= 0; i++)
		if (!m[i].found)
			err = judge_one(sc, &m[i], &k, held);
	kept_release(&k);
	return err;
}

/* The directory was removed; n of its messages, from m on, are nowhere else. */
static int judge_vanished(struct scan *sc, struct scan_box *b, const struct scan_missing *m,
			  size_t n, bool most)
{
	struct kept k = {0};
	struct inferred x = inferred_in(m, n, &k);
	uint32_t gone = x.fresh + x.held;

	if (gone && (most || x.held || gone > GUARD_WHOLE) && !sc->s->allow_mass_expunge) {
		for (size_t i = 0; i < n; i++)
			if (!m[i].found)
				held_add(&sc->held, &m[i].e);
		sc->report->held += gone;
		b->held = true;
		return 0;
	}
	sc->report->expunged += gone;
	sc->report->records++;
	change_event(sc->s, EVENT_REMOVED, b->dir, NULL, false);
	return mailbox_log_delete(sc->s, sc->tx, &b->guid, &sc->origin);
}

/* scan_match_box() went by mailbox, so each one's missing stand together. */
int scan_judge_missing(struct scan *sc)
{
	size_t i = 0, end;
	bool most;
	int err = 0;

	for (size_t k = 0; k < sc->n_missing; k++)
		sc->missing[k].was_held = !sc->missing[k].found && !sc->s->allow_mass_expunge &&
					  held_has(&sc->s->held, &sc->missing[k].e);
	most = most_is_gone(sc);
	for (; i < sc->n_missing && err >= 0; i = end) {
		size_t box = sc->missing[i].box;
		struct scan_box *b = &sc->boxes[box];

		for (end = i; end < sc->n_missing && sc->missing[end].box == box;)
			end++;
		if (b->vanished)
			err = judge_vanished(sc, b, &sc->missing[i], end - i, most);
		else
			err = judge_box(sc, b, &sc->missing[i], end - i, most);
		b->vanished = false;
	}
	for (i = 0; i < sc->n_boxes && err >= 0; i++)
		if (sc->boxes[i].vanished) /* it was empty */
			err = judge_vanished(sc, &sc->boxes[i], NULL, 0, most);
	return err;
}
