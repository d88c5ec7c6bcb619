/*
 * subs.c - who is subscribed in the Maildir: what its file of subscriptions says, against the map.
 *
 * The map has, for each mailbox, whether it was subscribed when both sides were last in step, and which
 * line of the file said so.  A line that came or went since is news, with a stamp of the time when it was
 * found.  A line that is still there says nothing new, whatever became of the name of its mailbox: a
 * subscription goes along with a mailbox that is renamed, as it does in a store, and the line follows
 * when the file is written next.
 *
 * A file that is missing is no news, nor is one that is no file of Dovecot's, or that a program is just
 * writing: nobody is unsubscribed for it.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/pidlock.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <string.h>

/* ---- The map ---------------------------------------------------------------------------------- */

bool md_subs_is_entry(const struct peer_entry *e)
{
	return guid_equal(&e->guid, &MD_SUBS);
}

bool md_subs_is_empty(const struct md_subs *s)
{
	return !s->subscribed && stamp_is_none(&s->at) && !s->line && !s->out;
}

void md_subs_load(struct maildir *m, struct md_box *box, const struct peer_entry *e)
{
	struct md_subs *s = &box->subs;

	(void)m;
	if (*e->path != ':')
		return;
	free(s->line);
	*s = (struct md_subs){.subscribed = e->flags & SUBS_ON,
			      .at = e->placed_at,
			      .line = e->flags & SUBS_LINE ? mb_xstrdup(e->path + 1) : NULL,
			      .out = e->flags & SUBS_OUT,
			      .was = e->flags & SUBS_LINE,
			      .stored = true};
}

int md_subs_batch(struct maildir *m, struct md_box *box)
{
	struct md_subs *s = &box->subs;
	MB_AUTO_FREE char *path = mb_xasprintf(":%s", s->line ? s->line : "");
	struct peer_entry e = {.mailbox = box->guid,
			       .guid = MD_SUBS,
			       .path = path,
			       .placed_at = s->at,
			       .state = s->out ? PEER_ENTRY_INTENT : PEER_ENTRY_AGREED};
	int err;

	if (!s->dirty || (!s->stored && md_subs_is_empty(s)))
		return 0;
	e.flags = (uint8_t)((s->subscribed ? SUBS_ON : 0) | (s->line ? SUBS_LINE : 0) |
			    (s->out ? SUBS_OUT : 0));
	if (md_subs_is_empty(s))
		e.state = PEER_ENTRY_GONE;
	err = md_batch_entry(m, &e);
	if (err)
		return err;
	s->stored = !md_subs_is_empty(s);
	s->dirty = false;
	return 0;
}

void md_subs_release(struct maildir *m)
{
	for (size_t i = 0; i < m->n_dead_lines; i++)
		free(m->dead_lines[i].line);
	m->n_dead_lines = 0;
	m->subs_due = false;
}

void md_subs_fill(struct maildir *m, const struct md_box *box)
{
	struct mailbox *node = md_node(m, box);

	node->subscribed = box->subs.subscribed;
	node->subscribed_at = box->subs.at;
}

/* ---- The file --------------------------------------------------------------------------------- */

int md_subs_read(struct maildir *m, struct subscriptions *ret)
{
	MB_AUTO_FREE uint8_t *text = NULL;
	size_t len;
	int err = io_read_file(m->root, SUBSCRIPTIONS_NAME, SUBSCRIPTIONS_FILE_MAX, &text, &len);

	*ret = (struct subscriptions){0};
	return err < 0 ? err : subscriptions_parse(m->layout, (char *)text, len, ret);
}

static bool is_being_written(struct maildir *m)
{
	struct stat st;

	return at_stat(m->root, SUBSCRIPTIONS_NAME, &st) == 0 &&
	       at_being_written(m->root, SUBSCRIPTIONS_NAME, clock_timespec_ns(&st.st_mtim));
}

static void set_line(struct md_subs *s, const char *dir)
{
	char *copy = dir ? mb_xstrdup(dir) : NULL;

	s->dirty = s->dirty || !dir != !s->line || (dir && strcmp(dir, s->line) != 0);
	free(s->line);
	s->line = copy;
}

/* What the file says now; that again as it was is no news. */
static void change(struct maildir *m, struct md_subs *s, bool subscribed)
{
	if (s->subscribed == subscribed)
		return;
	s->subscribed = subscribed;
	s->at = stamp_is_none(&s->at) ? md_now(m) : STAMP_NONE;
	s->dirty = true;
	m->must_write = m->must_write || !stamp_is_none(&s->at);
}

/* A write that was cut: done or not, it is finished. */
static void look_at_cut(struct maildir *m, const struct subscriptions *subs, struct md_box *box)
{
	struct md_subs *s = &box->subs;

	if (!s->line || !subscriptions_has(subs, s->line))
		set_line(s, subscriptions_has(subs, box->dir) ? box->dir : NULL);
	s->was = s->line;
	m->subs_due = true;
}

/* A mailbox that has, or had, a line. */
static void look_at_listed(struct maildir *m, const struct subscriptions *subs, struct md_box *box)
{
	struct md_subs *s = &box->subs;
	bool kept = subscriptions_has(subs, s->line);

	if (subscriptions_has(subs, box->dir))
		set_line(s, kept ? s->line : box->dir);
	else if (!kept)
		set_line(s, NULL);
	change(m, s, s->line);
}

/* The line is that of a mailbox that was renamed since. */
static bool is_of_another(struct maildir *m, const char *line)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next)
		if (box->subs.line && strcmp(box->subs.line, line) == 0)
			return true;
	return false;
}

static bool may_look(const struct md_box *box)
{
	return box->dir && !box->gone && !box->misplaced;
}

static bool any_elsewhere(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next)
		if (box->dir && box->subs.line && strcmp(box->subs.line, box->dir) != 0)
			return true;
	return false;
}

static void look(struct maildir *m, const struct subscriptions *subs)
{
	struct md_box *box, *next;
	bool elsewhere;

	HASH_ITER (hh, m->boxes, box, next) {
		if (may_look(box) && box->subs.out)
			look_at_cut(m, subs, box);
		else if (may_look(box) && box->subs.line)
			look_at_listed(m, subs, box);
	}
	elsewhere = any_elsewhere(m);
	HASH_ITER (hh, m->boxes, box, next) {
		if (!may_look(box) || box->subs.out || box->subs.line ||
		    !subscriptions_has(subs, box->dir) || (elsewhere && is_of_another(m, box->dir)))
			continue;
		set_line(&box->subs, box->dir);
		change(m, &box->subs, true);
	}
}

/* Who is subscribed stays so; when the file is made again, it has all of them. */
static void forget_lines(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		set_line(&box->subs, NULL);
		m->subs_due = m->subs_due || box->subs.out;
	}
}

int md_subs_look(struct maildir *m)
{
	struct subscriptions subs = {0};
	struct md_box *box, *next;
	int err = is_being_written(m) ? -EBUSY : md_subs_read(m, &subs);

	if (!io_is_read_only())
		pidlock_clear_dead(m->root, SUBSCRIPTIONS_NAME ".lock", true);
	if (!err)
		look(m, &subs);
	else if (err == -ENOENT)
		forget_lines(m);
	subscriptions_release(&subs);
	HASH_ITER (hh, m->boxes, box, next)
		md_subs_fill(m, box);
	return 0;
}

/* ---- The local side --------------------------------------------------------------------------- */

void md_subs_confirm(struct maildir *m, const struct tree *local)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		const struct mailbox *there = tree_find(local, &box->guid);
		struct md_subs *s = &box->subs;

		if (stamp_is_none(&s->at) || !there ||
		    stamp_compare(&there->subscribed_at, &s->at) < 0)
			continue;
		s->at = STAMP_NONE;
		s->dirty = true;
	}
}

static void go_out(struct maildir *m, struct md_subs *s)
{
	if (!s->out)
		s->was = s->subscribed;
	s->out = s->dirty = m->subs_due = true;
}

int md_subs_put(struct maildir *m, struct md_box *box, bool subscribed)
{
	struct md_subs *s = &box->subs;

	if (s->subscribed == subscribed)
		return 0;
	go_out(m, s);
	s->subscribed = subscribed;
	s->at = STAMP_NONE;
	return 1;
}

void md_subs_moved(struct maildir *m, struct md_box *box)
{
	if (box->subs.line)
		go_out(m, &box->subs);
}

void md_subs_unlist(struct maildir *m, struct md_box *box)
{
	if (!box->subs.line)
		return;
	MB_GROW(m->dead_lines, m->cap_dead_lines, m->n_dead_lines + 1);
	m->dead_lines[m->n_dead_lines++] =
		(struct md_dead_line){.mailbox = box->guid, .line = MB_TAKE(box->subs.line)};
	box->subs.stored = false; /* its entry goes after its line */
	m->subs_due = true;
}

void md_subs_take(struct maildir *m, struct md_box *from, struct md_box *to)
{
	bool stored = to->subs.stored;

	if (!md_subs_is_empty(&to->subs)) {
		md_subs_unlist(m, from);
		return;
	}
	to->subs = from->subs;
	to->subs.stored = stored;
	to->subs.dirty = true;
	from->subs = (struct md_subs){.stored = from->subs.stored};
}
