/*
 * subs-write.c - the file of subscriptions is written: under Dovecot's lock, whole or not at all.
 *
 * Only lines of our mailboxes are added and taken out; all others stay as they are, and what a program
 * wrote since the file was looked at is read again under the lock.  The lock is `subscriptions.lock`, with
 * process and host inside, so that Dovecot, and the next session, see when its process is dead.  Before
 * the file is replaced the map says which mailboxes are concerned (SUBS_OUT): a cut session is finished by
 * the next look, and what it wrote is no news then.
 */
#include "backends/base/err.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/base/pidlock.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME SUBSCRIPTIONS_NAME ".lock"

/* ---- What is to be in it ---------------------------------------------------------------------- */

/* The name of its line; false: there is no such mailbox, or none that has a name. */
static bool line_of(struct maildir *m, const struct md_box *box, struct buf *ret)
{
	return box->dir && !box->gone && md_wanted_dir(m, box, ret) == 0;
}

/* Those whose lines are not as they should be. */
static bool mark(struct maildir *m)
{
	struct md_box *box, *next;
	bool any = m->n_dead_lines > 0;

	HASH_ITER (hh, m->boxes, box, next) {
		struct md_subs *s = &box->subs;
		BUF_AUTO struct buf dir = BUF_INIT;

		if (md_subs_is_empty(s) && !s->fresh)
			continue;
		if (!line_of(m, box, &dir))
			continue;
		bool late = s->line ? strcmp(s->line, buf_cstr(&dir)) != 0
				    : s->subscribed && stamp_is_none(&s->at);
		if (late && !s->out) {
			s->was = s->subscribed;
			s->out = s->dirty = true;
		}
		any = any || s->out || s->fresh;
	}
	return any;
}

static bool take_out(struct subscriptions *subs, const char *line)
{
	bool there = subscriptions_has(subs, line);

	subscriptions_remove(subs, line);
	return there;
}

/* The lines that are to be there, as a set. */
static void wanted_lines(struct maildir *m, struct subscriptions *ret)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		BUF_AUTO struct buf dir = BUF_INIT;

		if (box->subs.subscribed && line_of(m, box, &dir))
			subscriptions_add(ret, buf_cstr(&dir));
	}
}

/* Old names; but they may be those of others by now. */
static bool take_out_old(struct maildir *m, struct subscriptions *subs)
{
	struct subscriptions wanted = {0};
	struct md_box *box, *next;
	bool changed = false;

	wanted_lines(m, &wanted);
	for (size_t i = 0; i < m->n_dead_lines; i++)
		if (!subscriptions_has(&wanted, m->dead_lines[i].line))
			changed |= take_out(subs, m->dead_lines[i].line);
	HASH_ITER (hh, m->boxes, box, next) {
		const struct md_subs *s = &box->subs;

		if (s->out && s->line && !subscriptions_has(&wanted, s->line))
			changed |= take_out(subs, s->line);
	}
	subscriptions_release(&wanted);
	return changed;
}

static int order_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their names; frees them. */
static void add_lines(struct subscriptions *subs, char **lines, size_t n)
{
	if (n)
		qsort(lines, n, sizeof(*lines), order_line);
	for (size_t i = 0; i < n; i++) {
		subscriptions_add(subs, lines[i]);
		free(lines[i]);
	}
	free(lines);
}

/* false: it is so already. */
static bool apply(struct maildir *m, struct subscriptions *subs, bool missing)
{
	bool changed = take_out_old(m, subs);
	struct md_box *box, *next;
	char **lines = NULL;
	size_t n = 0, cap = 0;

	HASH_ITER (hh, m->boxes, box, next) {
		struct md_subs *s = &box->subs;
		BUF_AUTO struct buf dir = BUF_INIT;

		if (!s->out && !s->fresh && !(missing && s->subscribed))
			continue;
		if (!line_of(m, box, &dir) ||
		    subscriptions_has(subs, buf_cstr(&dir)) == s->subscribed)
			continue;
		s->was = s->out ? s->was : s->subscribed;
		s->out = s->dirty = changed = true;
		if (!s->subscribed) {
			subscriptions_remove(subs, buf_cstr(&dir));
			continue;
		}
		MB_GROW(lines, cap, n + 1);
		lines[n++] = mb_xstrdup(buf_cstr(&dir));
	}
	add_lines(subs, lines, n);
	return changed;
}

/* As it is to be; 1: it is so already. */
static int make_text(struct maildir *m, struct buf *ret)
{
	struct subscriptions subs = {0};
	BUF_AUTO struct buf before = BUF_INIT;
	int err = md_subs_read(m, &subs);
	bool missing = err == -ENOENT;

	if (err < 0 && !missing)
		return err;
	subscriptions_write(&subs, m->layout, &before);
	bool changed = apply(m, &subs, missing);

	subscriptions_write(&subs, m->layout, ret);
	if (changed && before.len == ret->len)
		changed = memcmp(before.data, ret->data, ret->len) != 0;
	subscriptions_release(&subs);
	return changed ? 0 : 1;
}

/* ---- The lock --------------------------------------------------------------------------------- */

struct lock {
	int dir;    /* fd of INBOX's tmp, -1 */
	char *name; /* owned: there, until it is the lock */
	ino_t ino;
};

static int prepare_lock(struct maildir *m, struct lock *l)
{
	char text[PIDLOCK_TEXT_MAX];
	struct md_box *inbox = md_box_find(m, &GUID_INBOX);
	MB_AUTO_CLOSE int fd = inbox ? md_tmp_create(m, inbox, &l->dir, &l->name) : -ENOENT;
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	pidlock_text(text);
	err = io_write_all(fd, text, strlen(text));
	if (!err && fstat(fd, &st) < 0)
		err = -errno;
	l->ino = err ? 0 : st.st_ino;
	return err;
}

/* -EBUSY: another process keeps it. */
static int take_lock(struct maildir *m, struct lock *l)
{
	const struct timespec pause = {.tv_nsec = PIDLOCK_RETRY_NS};
	int64_t until = clock_mono_ns() + (int64_t)PIDLOCK_WAIT_MS * 1000000;
	int err = prepare_lock(m, l);

	while (!err) {
		err = md_rename_new(l->dir, l->name, m->root, LOCK_NAME);
		if (err != -EEXIST)
			break;
		err = 0;
		if (pidlock_clear_dead(m->root, LOCK_NAME, true))
			continue;
		if (clock_mono_ns() >= until)
			err = -EBUSY;
		else
			nanosleep(&pause, NULL);
	}
	if (err && l->name)
		io_unlinkat(l->dir, l->name, 0);
	return err;
}

/* Who thought it dead may have another there by now. */
static void drop_lock(struct maildir *m, struct lock *l)
{
	struct stat st;

	if (at_stat(m->root, LOCK_NAME, &st) == 0 && st.st_ino == l->ino)
		io_unlinkat(m->root, LOCK_NAME, 0);
}

static void lock_release(struct lock *l)
{
	if (l->dir >= 0)
		close(l->dir);
	free(l->name);
}

/* ---- The file --------------------------------------------------------------------------------- */

/* Mode and owner of the file that it replaces. */
static int dress(struct maildir *m, int fd)
{
	struct stat st;
	int err = at_stat(m->root, SUBSCRIPTIONS_NAME, &st);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (st.st_uid != geteuid() || st.st_gid != getegid())
		(void)!fchown(fd, st.st_uid, st.st_gid); /* as far as we may */
	return fchmod(fd, st.st_mode & 0777) < 0 ? -errno : 0;
}

static int replace(struct maildir *m, int dir, const struct buf *text)
{
	MB_AUTO_CLOSE int own_dir = -1;
	MB_AUTO_FREE char *name = NULL;
	MB_AUTO_CLOSE int fd = md_tmp_create(m, md_box_find(m, &GUID_INBOX), &own_dir, &name);
	int err = fd < 0 ? fd : io_write_all(fd, text->data, text->len);

	if (!err)
		err = dress(m, fd);
	if (!err)
		err = io_fsync(fd);
	if (!err)
		err = io_renameat(dir, name, m->root, SUBSCRIPTIONS_NAME);
	if (err && fd >= 0)
		io_unlinkat(dir, name, 0);
	return err ? err : io_fsync(m->root);
}

static int write_intent(struct maildir *m)
{
	int err = md_batch_begin(m);

	if (!err)
		err = md_batch_boxes(m);
	return md_batch_end(m, err);
}

static int write_locked(struct maildir *m, const struct lock *l)
{
	BUF_AUTO struct buf text = BUF_INIT;
	int err = make_text(m, &text);

	if (err)
		return err < 0 ? err : 0;
	err = write_intent(m);
	return err ? err : replace(m, l->dir, &text);
}

static int write_file(struct maildir *m)
{
	BUF_AUTO struct buf text = BUF_INIT;
	struct lock l = {.dir = -1};
	int err = make_text(m, &text);

	if (err)
		return err < 0 ? err : 0;
	err = take_lock(m, &l);
	if (!err) {
		err = write_locked(m, &l);
		drop_lock(m, &l);
	}
	lock_release(&l);
	return err;
}

/* ---- The whole -------------------------------------------------------------------------------- */

static void done(struct maildir *m)
{
	struct md_box *box, *next;

	for (size_t i = 0; i < m->n_dead_lines; i++)
		md_entry_gone(m, &m->dead_lines[i].mailbox, &MD_SUBS, 0);
	HASH_ITER (hh, m->boxes, box, next) {
		struct md_subs *s = &box->subs;
		BUF_AUTO struct buf dir = BUF_INIT;

		s->fresh = false;
		if (!s->out)
			continue;
		s->out = false;
		s->dirty = true;
		if (!line_of(m, box, &dir)) { /* it could not be made */
			s->subscribed = s->was;
			continue;
		}
		free(s->line);
		s->line = s->subscribed ? mb_xstrdup(buf_cstr(&dir)) : NULL;
	}
}

static void take_back(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		struct md_subs *s = &box->subs;

		s->fresh = false;
		if (!s->out)
			continue;
		s->subscribed = s->was;
		s->out = false;
		s->dirty = true;
		md_subs_fill(m, box);
	}
}

static void tell(struct maildir *m, int err)
{
	if (m->subs_told)
		return;
	m->subs_told = true;
	mb_msg(MB_WARNING,
	       "subscriptions cannot be written to the Maildir%s: %s; file=%s/" SUBSCRIPTIONS_NAME,
	       err == -EBUSY ? ", another program keeps " LOCK_NAME : "", mb_err_str(err), m->path);
}

int md_subs_write(struct maildir *m)
{
	int err = 0;

	if (!m->subs_due)
		return 0;
	if (mark(m))
		err = write_file(m);
	if (err) {
		tell(m, err);
		take_back(m);
		err = MB_E_STALE;
	} else {
		done(m);
	}
	md_subs_release(m);
	return err;
}
