/*
 * settle.c - directories follow the tree: what has to be renamed and made, and doing it.
 *
 * Puts of mailboxes change nodes only.  When the first message is put, when a mailbox goes, and at
 * commit, the plan for all directories is made in memory: rename_box() and create_box() act on what
 * the map in memory says, nothing else.  A name that another mailbox still has is waited for, as the
 * plan of the session brings that one's new name, or its end, later; with `force` whoever is in the
 * way gets a temporary name (swaps, rotations).
 *
 * Then the whole list of renames is durable as one intent (intent.c), the renames are made in its
 * order, and one batch says where the mailboxes are now and forgets the intent.  New mailboxes come
 * last: their entries, without an inode, are intents of their own, in the same batch.
 *
 * A rename that fails is taken back in memory, with all that follow; the plan is made again without
 * that mailbox, which stays where it is.  When nobody can tell what is on disk (an fsync failed), or
 * the intent cannot be written, everything is refused until the next refresh, which finishes the
 * intent as it does after a kill.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/mail/places.h"
#include "backends/maildir/intent.h"
#include "backends/maildir/list.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Aside and home again, and once more after others were made.  Who would have to be renamed more often
 * goes round in a circle. */
#define RENAMES_MAX 4

struct step {
	struct md_box *box; /* whose directory it is */
	char *from, *to;    /* owned */
	uint64_t identity;
};

struct settling {
	struct maildir *m;
	struct step *steps; /* owned */
	size_t n, cap;
	struct md_box *in_the_way; /* of some box that has no directory yet, in this round */
	bool force;
	bool progress;
	bool makes;   /* there are mailboxes to make */
	bool waiting; /* somebody has the place of another, in this round */
};

/* ---- Paths ------------------------------------------------------------------------------------ */

bool md_is_aside(const char *dir)
{
	const char *name = strrchr(dir, '/');

	name = name ? name + 1 : dir;
	name += *name == '.';
	return strncmp(name, MD_ASIDE, strlen(MD_ASIDE)) == 0;
}

/* What follows `top` in `path`: "" or "/…"; NULL when it is not in it. */
static const char *beneath(const char *path, const char *top)
{
	size_t n = strlen(top);

	return strncmp(path, top, n) == 0 && (!path[n] || path[n] == '/') ? path + n : NULL;
}

/* Where on disk, before any step is made, that is which will be at `path` after them; owned, NULL
 * when nothing will. */
static char *path_now(const struct settling *s, const char *path)
{
	char *now = mb_xstrdup(path);

	for (size_t i = s->n; i-- > 0;) {
		const char *rest = beneath(now, s->steps[i].to);
		char *before;

		if (!rest && !beneath(now, s->steps[i].from))
			continue;
		before = rest ? mb_xasprintf("%s%s", s->steps[i].from, rest) : NULL;
		free(now);
		if (!before)
			return NULL;
		now = before;
	}
	return now;
}

static bool will_exist(const struct settling *s, const char *path)
{
	MB_AUTO_FREE char *now = path_now(s, path);
	struct stat st;

	return now && at_stat(s->m->root, now, &st) == 0;
}

int md_wanted_dir(struct maildir *m, const struct md_box *box, struct buf *out)
{
	char **parts = NULL;
	size_t n;
	int err;

	if (guid_equal(&box->guid, &GUID_INBOX))
		return 0;
	err = tree_parts(&m->tree, &box->guid, &parts, &n);
	if (!err)
		err = layout_dir(m->layout, (const char *const *)parts, n, out);
	layout_parts_free(parts);
	return err;
}

static bool is_astray(struct maildir *m, const struct md_box *box)
{
	BUF_AUTO struct buf dir = BUF_INIT;

	return box->wanted && box->dir && md_wanted_dir(m, box, &dir) == 0 &&
	       strcmp(buf_cstr(&dir), box->dir) != 0;
}

/* A path names all parents: where one of them is astray, it is not the name of the mailbox. */
bool md_box_waits(struct maildir *m, const struct md_box *box)
{
	size_t steps = 0;

	while (box && !is_astray(m, box) && steps++ < MAILBOX_DEPTH_MAX) {
		const struct mailbox *node = md_node(m, box);

		box = node ? md_box_find(m, &node->parent) : NULL;
	}
	return box && steps < MAILBOX_DEPTH_MAX;
}

void md_mark_waiting(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next)
		box->dirty = box->dirty || (m->astray && md_box_waits(m, box));
	m->astray = false;
}

/* ---- Steps, in memory ------------------------------------------------------------------------- */

static void set_dir(struct md_box *box, const char *dir)
{
	char *copy = mb_xstrdup(dir);

	free(box->dir);
	box->dir = copy;
	box->dirty = true;
}

/* The mailbox at `from` is at `to` now; in LAYOUT=fs those beneath go along, but not one that is still to
 * be made: that is made where it belongs when all others are there. */
static void carry(struct maildir *m, const char *from, const char *to)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		const char *rest = box->dir && !box->gone ? beneath(box->dir, from) : NULL;

		if (!rest || (*rest && (m->layout != LAYOUT_FS || box->unmade)))
			continue;
		MB_AUTO_FREE char *dir = mb_xasprintf("%s%s", to, rest);
		if (!*rest)
			box->misplaced = md_is_aside(to);
		set_dir(box, dir); /* frees what `rest` points into */
		md_subs_moved(m, box);
		box->moved = true;
	}
}

/* The plan is made again without it. */
static void give_up(struct maildir *m, struct md_box *box, int err)
{
	if (box)
		box->stuck = true;
	m->astray = true;
	if (!m->deferred)
		m->deferred =
			err == -EEXIST || err == -ENOENT || err == -ENOTEMPTY ? MB_E_STALE : err;
}

static void rename_box(struct settling *s, struct md_box *box, const char *to)
{
	MB_AUTO_FREE char *from = mb_xstrdup(box->dir);
	MB_AUTO_FREE char *now = path_now(s, from);
	struct step step = {0};
	int err = now ? at_identity(s->m->root, now, &step.identity) : -ENOENT;

	if (!err && box->renames >= RENAMES_MAX) {
		err = MB_E_STALE; /* the next session may find another way */
		mb_msg(MB_WARNING,
		       "a folder of the Maildir stays where it is: other folders would have to "
		       "give way to it without end; move it by hand dir=%s to=%s",
		       from, to);
	}
	if (err) {
		give_up(s->m, box, err);
		return;
	}
	box->renames++;
	step.box = box;
	step.from = mb_xstrdup(from);
	step.to = mb_xstrdup(to);
	MB_GROW(s->steps, s->cap, s->n + 1);
	s->steps[s->n++] = step;
	box->intent = false;
	carry(s->m, from, to);
}

static void create_box(struct settling *s, struct md_box *box, const char *dir)
{
	set_dir(box, dir);
	box->ino = 0;
	box->misplaced = box->intent = false;
	box->agreed = box->found = box->unmade = s->makes = true;
}

static void move_aside(struct settling *s, struct md_box *box)
{
	MB_AUTO_FREE char *dir =
		mb_xasprintf("%s" MD_ASIDE "%016" PRIx64,
			     s->m->layout == LAYOUT_MAILDIRPP ? "." : "", random_u64());

	rename_box(s, box, dir);
}

/* ---- Deciding --------------------------------------------------------------------------------- */

static bool wants(struct maildir *m, const struct md_box *box, const char *path)
{
	BUF_AUTO struct buf dir = BUF_INIT;

	return box && !box->gone && !box->structural && md_node(m, box)->part &&
	       md_wanted_dir(m, box, &dir) == 0 && strcmp(buf_cstr(&dir), path) == 0;
}

/* Another mailbox has this name and no directory for it yet. */
static bool is_awaited(struct maildir *m, const struct md_box *box, const char *path)
{
	struct md_box *other, *next;

	HASH_ITER (hh, m->boxes, other, next)
		if (other != box && !other->misplaced && wants(m, other, path))
			return true;
	return false;
}

/* Does the directory of this parent take mailboxes along to `to` that belong there?  Not when it is by
 * now that of a mailbox itself. */
static bool carries(struct maildir *m, const struct md_box *parent, const char *to)
{
	struct md_box *box, *next;
	bool any = false;

	HASH_ITER (hh, m->boxes, box, next) {
		BUF_AUTO struct buf dir = BUF_INIT;
		const char *rest = box != parent && !box->gone && !box->structural && box->dir
					   ? beneath(box->dir, parent->dir)
					   : NULL;

		if (rest && !*rest)
			return false;
		any |= rest && md_wanted_dir(m, box, &dir) == 0 && beneath(buf_cstr(&dir), to);
	}
	return any;
}

/* A parent that is no mailbox needs a place in the map only; in LAYOUT=fs its directory goes along, but
 * not below itself: who is in it goes alone then. */
static void settle_structural(struct settling *s, struct md_box *box, const char *dir)
{
	struct maildir *m = s->m;

	m->must_write = s->progress = true;
	if (box->dir && m->layout == LAYOUT_FS && !beneath(dir, box->dir) && carries(m, box, dir) &&
	    will_exist(s, box->dir) && !will_exist(s, dir))
		rename_box(s, box, dir);
	if (!box->stuck && (!box->dir || strcmp(box->dir, dir) != 0)) {
		set_dir(box, dir);
		box->moved = true;
	}
}

/* In LAYOUT=fs a directory goes with its parent's, which goes first. */
static bool waits_for_parent(struct maildir *m, const struct md_box *box, const char *dir)
{
	const struct md_box *parent = md_box_find(m, &md_node(m, box)->parent);
	const char *slash = strrchr(dir, '/');
	size_t n = slash ? (size_t)(slash - dir) : 0;

	return m->layout == LAYOUT_FS && slash && parent && parent->dir && !parent->gone &&
	       (strncmp(parent->dir, dir, n) != 0 || parent->dir[n]);
}

/* Is it elsewhere than its name says, and may it go there?  ret_dir: what its name says. */
static bool may_settle(struct maildir *m, const struct md_box *box, struct buf *ret_dir)
{
	if (box->gone || (box->dir && box->misplaced && !md_node(m, box)->part) ||
	    md_wanted_dir(m, box, ret_dir) != 0)
		return false; /* a bad name: its own put said so; the others go on */
	return !box->stuck && (!box->dir || strcmp(box->dir, buf_cstr(ret_dir)) != 0);
}

/* Parents that are only names, and mailboxes that have no directory yet; those that have one are placed
 * together. */
static void settle_box(struct settling *s, struct md_box *box)
{
	struct maildir *m = s->m;
	BUF_AUTO struct buf dir = BUF_INIT;
	struct md_box *other;

	if (!may_settle(m, box, &dir))
		return;
	const char *path = buf_cstr(&dir);
	box->wanted = true; /* elsewhere: also when only its parent was put */
	if (waits_for_parent(m, box, path))
		return;
	if (box->structural) {
		settle_structural(s, box, path);
		return;
	}
	if (box->dir)
		return;
	other = md_box_at(m, path);
	if (other && !other->structural) {
		s->waiting = true;
		if (s->force && !other->stuck && !s->in_the_way)
			s->in_the_way = other;
		return;
	}
	s->progress = true;
	create_box(s, box, path);
}

/* ---- Placing: see backends/mail/places.h ------------------------------------------------------ */

struct placing {
	struct settling *s;
	struct place_box *v; /* owned, with `wanted` */
	struct md_box **box; /* owned; of each */
	size_t n;
};

static void placing_release(struct placing *p)
{
	for (size_t i = 0; i < p->n; i++)
		free((char *)(uintptr_t)p->v[i].wanted);
	free(p->v);
	free(p->box);
}

/* A box that stays, as it could not be renamed, is at `path`, or will be in the way beneath it. */
static bool is_kept_from(struct maildir *m, const struct md_box *box, const char *path)
{
	struct md_box *other, *next;

	HASH_ITER (hh, m->boxes, other, next)
		if (other != box && other->stuck && other->dir && !other->gone &&
		    !other->structural && beneath(other->dir, path) &&
		    (m->layout == LAYOUT_FS || strcmp(other->dir, path) == 0) &&
		    !beneath(other->dir, box->dir))
			return true;
	return false;
}

static void add_place(struct placing *p, struct md_box *box)
{
	struct maildir *m = p->s->m;
	BUF_AUTO struct buf dir = BUF_INIT;
	struct place_box *v = &p->v[p->n];
	bool moves = may_settle(m, box, &dir);

	v->dir = box->dir;
	v->aside = box->misplaced && md_is_aside(box->dir) && !strchr(box->dir, '/');
	if (moves) {
		v->wanted = mb_xstrdup(buf_cstr(&dir));
		v->scope = !waits_for_parent(m, box, v->wanted) && !is_kept_from(m, box, v->wanted);
		v->first = v->scope && p->s->force && !box->misplaced;
	} else if (!box->stuck && dir.len && strcmp(buf_cstr(&dir), box->dir) == 0) {
		v->wanted = mb_xstrdup(box->dir);
		v->home = true;
	}
	p->box[p->n++] = box;
}

/* A mailbox that another one has no directory for yet keeps its name: its own delete follows in the plan. */
static bool gives_way(struct maildir *m, const struct md_box *box, const char *path)
{
	return box->misplaced && (wants(m, md_box_at(m, path), path) || is_awaited(m, box, path));
}

/* One rename.  false: there is none that can be made. */
static bool place_one(struct settling *s)
{
	struct placing p = {.s = s};
	struct md_box *box, *next;
	struct place_move move;
	size_t n = HASH_COUNT(s->m->boxes);
	bool any;

	p.v = mb_xcalloc(n + 1, sizeof(*p.v));
	p.box = mb_xcalloc(n + 1, sizeof(*p.box));
	HASH_ITER (hh, s->m->boxes, box, next)
		if (box->dir && *box->dir && !box->gone && !box->structural && !box->unmade)
			add_place(&p, box);
	for (size_t i = 0; i < p.n; i++) {
		if (!p.v[i].scope || !gives_way(s->m, p.box[i], p.v[i].wanted))
			continue;
		p.v[i].scope = false;
		s->waiting |= !s->force; /* who has its place goes perhaps, later in the plan */
	}
	any = places_next(p.v, p.n, s->m->layout == LAYOUT_FS, &move);
	if (any && p.box[move.box]->stuck) { /* who cannot be moved is asked to once */
		s->m->astray = true;
		any = false;
	}
	if (any && move.aside)
		move_aside(s, p.box[move.box]);
	else if (any)
		rename_box(s, p.box[move.box], p.v[move.box].wanted);
	for (size_t i = 0; i < p.n && !any; i++)
		s->waiting |= p.v[i].scope && !p.v[i].home;
	placing_release(&p);
	return any;
}

static bool is_known(const char *path, void *arg)
{
	const struct md_box *box = md_box_at(arg, path);

	return box && !box->structural;
}

/* LAYOUT=fs: only mailboxes and directories that are names may be where one is to be.  Looked for before
 * any step: who was put aside for it would have no way home. */
static void give_up_barred(struct maildir *m, struct md_box *box)
{
	BUF_AUTO struct buf dir = BUF_INIT;
	struct at_names rules = {.junk = layout_is_dropping, .but = is_known, .arg = m};

	if (box->structural || !box->dir || !may_settle(m, box, &dir) ||
	    is_known(buf_cstr(&dir), m) ||
	    at_is_names(m->root, buf_cstr(&dir), &rules) != -ENOTEMPTY)
		return;
	mb_msg(MB_WARNING,
	       "a folder of the Maildir cannot be renamed: there are other files in its new place, "
	       "move them away; dir=%s to=%s",
	       box->dir, buf_cstr(&dir));
	give_up(m, box, -ENOTEMPTY);
}

static void decide(struct settling *s)
{
	struct md_box *box, *next;

	HASH_ITER (hh, s->m->boxes, box, next)
		give_up_barred(s->m, box);
	do {
		s->in_the_way = NULL;
		s->progress = s->waiting = false;
		HASH_ITER (hh, s->m->boxes, box, next)
			settle_box(s, box);
		if (!s->progress)
			s->progress = place_one(s);
		if (!s->progress && s->in_the_way) { /* of one that is to be made */
			move_aside(s, s->in_the_way);
			s->progress = true;
		}
	} while (s->progress);
}

/* ---- Doing ------------------------------------------------------------------------------------ */

static int write_intent(struct settling *s)
{
	struct maildir *m = s->m;
	struct md_box *box, *next;

	for (size_t i = 0; i < s->n; i++)
		md_intent_rename(m, s->steps[i].from, s->steps[i].to, s->steps[i].identity);
	HASH_ITER (hh, m->boxes, box, next) {
		MB_AUTO_FREE char *now = box->moved ? path_now(s, box->dir) : NULL;
		uint64_t identity = 0;

		/* A parent may have no directory. */
		if (now && !box->unmade && at_identity(m->root, now, &identity) < 0)
			identity = 0;
		if (box->moved && !box->gone && !box->unmade && (identity || box->structural))
			md_intent_box(m, box, identity);
	}
	return md_intent_write(m);
}

/* What was not made is not so in memory either. */
static void take_back(struct settling *s, size_t first)
{
	struct md_box *box, *next;

	HASH_ITER (hh, s->m->boxes, box, next) {
		if (!box->unmade)
			continue;
		free(box->dir);
		box->dir = NULL;
		box->unmade = false;
	}
	s->makes = false;
	for (size_t i = s->n; i-- > first;)
		carry(s->m, s->steps[i].to, s->steps[i].from);
	s->m->unsettled = true;
}

/* 1: a rename could not be made. */
static int make_steps(struct settling *s)
{
	struct maildir *m = s->m;

	for (size_t i = 0; i < s->n; i++) {
		const struct step *step = &s->steps[i];
		int err = md_dir_rename(m, step->from, step->to);

		if (err) {
			mb_msg(MB_WARNING,
			       "a folder of the Maildir cannot be renamed: %s; dir=%s to=%s",
			       mb_err_str(err), step->from, step->to);
			take_back(s, i);
			give_up(m, step->box, err);
			return 1;
		}
		err = md_dir_renamed(m, step->from, step->to);
		if (err)
			return err;
	}
	return 0;
}

static int make_box(struct maildir *m, struct md_box *box)
{
	struct stat st;
	int err = md_dir_is_mailbox(m, box->dir) ? MB_E_STALE /* made by somebody meanwhile */
						 : md_box_make(m, box->dir);

	if (!err)
		err = at_stat(m->root, box->dir, &st);
	box->unmade = false;
	box->dirty = true;
	if (!err) {
		box->ino = st.st_ino;
		return 0;
	}
	free(box->dir);
	box->dir = NULL;
	give_up(m, box, err);
	return 0;
}

static int make_boxes(struct maildir *m)
{
	struct md_box *box, *next;

	HASH_ITER (hh, m->boxes, box, next) {
		int err = box->unmade ? make_box(m, box) : 0;

		if (err)
			return err;
	}
	return 0;
}

static int carry_out(struct settling *s)
{
	struct maildir *m = s->m;
	int again = 0, err = s->n ? write_intent(s) : 0;

	if (!err && s->n)
		err = again = make_steps(s);
	if (err >= 0 && (s->n || s->makes))
		err = md_intent_done(m);
	if (err < 0)
		return err;
	err = s->makes ? make_boxes(m) : 0;
	return err ? err : again;
}

static void settling_release(struct settling *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->steps[i].from);
		free(s->steps[i].to);
	}
	free(s->steps);
}

static int settle_once(struct maildir *m, bool force)
{
	struct settling s = {.m = m, .force = force};
	struct md_box *box, *next;
	int err;

	HASH_ITER (hh, m->boxes, box, next) {
		box->moved = false;
		box->renames = 0;
	}
	decide(&s);
	m->unsettled = s.waiting && !force;
	m->astray = m->astray || s.waiting;
	err = carry_out(&s);
	settling_release(&s);
	return err;
}

int md_settle(struct maildir *m, bool force)
{
	int err = m->broken;

	while (!err && m->unsettled) {
		err = settle_once(m, force);
		if (err < 0)
			m->broken = err;
		if (!err)
			break;
		err = err > 0 ? 0 : err;
	}
	return err;
}
