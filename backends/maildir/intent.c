/*
 * intent.c - see intent.h.
 *
 * Why a list can be replayed from its beginning wherever it was stopped: a step names its directory
 * by identity, and is made when that is at `from`.  A directory comes back to a place that a step took
 * it from only by way of a name that is its own (settle.c); one that is back already goes there
 * and back again.
 */
#include "backends/maildir/intent.h"
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include <errno.h>
#include <string.h>

enum { LINE_FROM = 1, LINE_TO, LINE_BOX };

#define BOX_ASIDE 4 /* in `flags` of a LINE_BOX: its place is temporary */

static struct peer_entry *add_line(struct maildir *m, uint32_t kind, const char *path)
{
	struct peer_entry *e;

	MB_GROW(m->lines, m->cap_lines, m->n_lines + 1);
	e = &m->lines[m->n_lines++];
	*e = (struct peer_entry){.id = m->n_lines,
				 .keywords = kind,
				 .path = mb_xstrdup(path),
				 .state = PEER_ENTRY_INTENT};
	return e;
}

void md_intent_rename(struct maildir *m, const char *from, const char *to, uint64_t identity)
{
	add_line(m, LINE_FROM, from)->ino = identity;
	add_line(m, LINE_TO, to)->ino = identity;
}

void md_intent_box(struct maildir *m, const struct md_box *box, uint64_t identity)
{
	struct peer_entry *e = add_line(m, LINE_BOX, box->dir);

	e->guid = box->guid;
	e->ino = identity;
	e->flags = (box->structural ? BOX_STRUCTURAL : 0) | (box->agreed ? 0 : BOX_IN) |
		   (box->misplaced ? BOX_ASIDE : 0);
	e->placed_at = box->named_at;
}

int md_intent_write(struct maildir *m)
{
	int64_t token = (int64_t)(random_u64() >> 1);
	int err = md_batch_begin(m);

	for (size_t i = 0; err >= 0 && i < m->n_lines; i++) {
		m->lines[i].size = m->n_lines;
		m->lines[i].mtimes[0] = token;
		err = md_batch_entry(m, &m->lines[i]);
	}
	return md_batch_end(m, err);
}

int md_intent_done(struct maildir *m)
{
	int err = md_batch_begin(m);

	if (err >= 0)
		err = md_batch_boxes(m);
	for (size_t i = 0; err >= 0 && i < m->n_lines; i++) {
		m->lines[i].state = PEER_ENTRY_GONE;
		err = md_batch_entry(m, &m->lines[i]);
	}
	err = md_batch_end(m, err);
	if (err >= 0)
		md_intent_release(m);
	return err;
}

bool md_intent_is_line(const struct peer_entry *e)
{
	return guid_is_zero(&e->mailbox);
}

void md_intent_load(struct maildir *m, struct peer_entry *e)
{
	MB_GROW(m->lines, m->cap_lines, m->n_lines + 1);
	m->lines[m->n_lines] = *e;
	m->lines[m->n_lines++].path = MB_TAKE(e->path);
}

void md_intent_release(struct maildir *m)
{
	for (size_t i = 0; i < m->n_lines; i++)
		free(m->lines[i].path);
	m->n_lines = 0;
}

/* ---- Replay ----------------------------------------------------------------------------------- */

static int order_id(const void *a, const void *b)
{
	const struct peer_entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static bool is_sound(const struct maildir *m, size_t i)
{
	const struct peer_entry *e = &m->lines[i];

	if (e->id != i + 1 || e->size != m->n_lines || e->mtimes[0] != m->lines[0].mtimes[0] ||
	    !e->path || !at_path_ok(e->path) || !*e->path)
		return false;
	if (e->keywords == LINE_FROM)
		return i + 1 < m->n_lines && m->lines[i + 1].keywords == LINE_TO;
	if (e->keywords == LINE_TO)
		return i > 0 && m->lines[i - 1].keywords == LINE_FROM;
	return e->keywords == LINE_BOX;
}

static bool is_whole(const struct maildir *m)
{
	for (size_t i = 0; i < m->n_lines; i++)
		if (!is_sound(m, i))
			return false;
	return true;
}

static bool is_at(struct maildir *m, const char *dir, uint64_t identity)
{
	uint64_t there;

	return at_identity(m->root, dir, &there) == 0 && there == identity;
}

/* Made or not, it is durable before anything follows. */
static int replay_step(struct maildir *m, const struct peer_entry *from,
		       const struct peer_entry *to)
{
	int err = is_at(m, from->path, from->ino) ? md_dir_rename(m, from->path, to->path) : 0;

	if (err)
		mb_msg(MB_WARNING,
		       "a folder rename that was cut cannot be finished and is left: %s; dir=%s "
		       "to=%s",
		       mb_err_str(err), from->path, to->path);
	return md_dir_renamed(m, from->path, to->path);
}

static void replay_box(struct maildir *m, const struct peer_entry *e)
{
	struct md_box *box = md_box_find(m, &e->guid);
	bool structural = e->flags & BOX_STRUCTURAL;
	struct stat st;

	if (!box || (e->ino ? !is_at(m, e->path, e->ino) : !structural))
		return;
	free(box->dir);
	box->dir = mb_xstrdup(e->path);
	if (!structural && at_stat(m->root, box->dir, &st) == 0)
		box->ino = st.st_ino;
	box->structural = structural;
	box->agreed = !(e->flags & BOX_IN);
	box->misplaced = e->flags & BOX_ASIDE;
	box->named_at = box->misplaced ? STAMP_NONE : e->placed_at;
	box->intent = false;
	box->dirty = true;
	md_subs_moved(m, box);
}

int md_intent_replay(struct maildir *m)
{
	int err = 0;

	if (!m->n_lines)
		return 0;
	if (io_is_read_only())
		return MB_E_UNCLEAN; /* renames that were cut are finished first */
	qsort(m->lines, m->n_lines, sizeof(*m->lines), order_id);
	if (is_whole(m)) {
		for (size_t i = 0; !err && i < m->n_lines; i++)
			if (m->lines[i].keywords == LINE_FROM)
				err = replay_step(m, &m->lines[i], &m->lines[i + 1]);
		for (size_t i = 0; !err && i < m->n_lines; i++)
			if (m->lines[i].keywords == LINE_BOX)
				replay_box(m, &m->lines[i]);
	}
	return err ? err : md_intent_done(m);
}
