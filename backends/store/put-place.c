/*
 * put-place.c - the next directory rename that brings mailboxes to where their names say.
 *
 * The order is that of places.h; here is what the index and the disk say of each mailbox.  One whose
 * place holds what nobody knows stays where it is, as a directory that was put aside for it would have
 * no way home.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/mail/places.h"
#include "backends/store/put-private.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

char *mailbox_swap_dir(const struct guid *g)
{
	char text[GUID_TEXT];

	return mb_xasprintf(SWAP_PREFIX "%s", guid_text(g, text));
}

static bool is_swap_dir(const char *dir)
{
	return strncmp(dir, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0 && !strchr(dir, '/');
}

bool mailbox_dir_says(struct store *s, const char *dir, const char *wanted)
{
	char **a = NULL, **b = NULL;
	size_t n = 0, k = 0;
	bool same = layout_parts(s->layout, dir, &a, &n) == 0 &&
		    layout_parts(s->layout, wanted, &b, &k) == 0 && n == k;

	for (size_t i = 0; i < n && same; i++)
		same = strcmp(a[i], b[i]) == 0;
	layout_parts_free(a);
	layout_parts_free(b);
	return same && strncmp(dir, SWAP_PREFIX, strlen(SWAP_PREFIX)) != 0;
}

/* Where case does not count, Foo is found under foo: a rename of one to the other does nothing. */
static bool is_same_dir(struct store *s, const char *a, const char *b)
{
	struct stat x, y;

	return at_stat(s->mail_fd, b, &y) == 0 && at_stat(s->mail_fd, a, &x) == 0 &&
	       x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static bool descends_from(const struct tree *t, const struct mailbox *m, const struct guid *top)
{
	for (int depth = 0; m && depth < MAILBOX_DEPTH_MAX; depth++) {
		if (guid_equal(&m->parent, top))
			return true;
		m = tree_find(t, &m->parent);
	}
	return false;
}

/* That of p, and those beneath it. */
static bool is_in_scope(const struct mailbox_put *p, const struct mailbox *m)
{
	return guid_equal(&m->guid, &p->guid) || descends_from(&p->tree, m, &p->guid);
}

/* ---- What there is ---- */

struct boxes {
	struct mailbox_put *p;
	struct place_box *v;   /* owned, with its paths */
	const struct guid **g; /* owned; of each */
	size_t n;
	bool unplaced; /* one in scope is not home */
};

static void boxes_release(struct boxes *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free((char *)(uintptr_t)b->v[i].dir);
		free((char *)(uintptr_t)b->v[i].wanted);
	}
	free(b->v);
	free(b->g);
}

static void add_box(struct boxes *b, const struct mailbox *m, bool scope)
{
	struct mailbox_put *p = b->p;
	MB_AUTO_FREE char *dir = NULL, *wanted = NULL;
	struct place_box *box = &b->v[b->n];

	if (mailbox_dir(p->tx, &m->guid, &dir) < 0 || !*dir)
		return;
	if (mailbox_alive(m) && m->selectable)
		mailbox_wanted_dir(p->s, &p->tree, &m->guid, &wanted);
	box->aside = is_swap_dir(dir);
	box->home = wanted && mailbox_dir_says(p->s, dir, wanted);
	box->scope = wanted && (scope || box->aside);
	box->first = wanted && guid_equal(&m->guid, &p->guid);
	b->unplaced |= box->scope && !box->home && (scope || p->s->swapped);
	box->dir = MB_TAKE(dir);
	box->wanted = MB_TAKE(wanted);
	b->g[b->n++] = &m->guid;
}

/* First those of p alone: mostly they are where they should be, and that is all. */
static void boxes_load(struct boxes *b)
{
	const struct tree *t = &b->p->tree;

	b->v = mb_xcalloc(t->n + 1, sizeof(*b->v));
	b->g = mb_xcalloc(t->n + 1, sizeof(*b->g));
	for (size_t i = 0; i < t->n; i++)
		if (is_in_scope(b->p, &t->nodes[i]))
			add_box(b, &t->nodes[i], true);
	for (size_t i = 0; i < t->n && (b->unplaced || b->p->s->swapped); i++)
		if (!is_in_scope(b->p, &t->nodes[i]))
			add_box(b, &t->nodes[i], false);
}

/* ---- What is where one should be ---- */

static bool is_known(const char *path, void *arg)
{
	const struct boxes *b = arg;
	struct guid other;

	return index_mailbox_by_dir(b->p->tx, path, &other) == 0;
}

/* Only mailboxes, which go away, and directories that are names. */
static bool is_barred(struct boxes *b, const struct place_box *box)
{
	struct store *s = b->p->s;
	struct at_names rules = {.junk = layout_is_dropping, .but = is_known, .arg = b};
	struct stat st;

	return s->mode != STORE_TRIAL && !is_known(box->wanted, b) &&
	       !is_same_dir(s, box->dir, box->wanted) &&
	       at_stat(s->mail_fd, box->wanted, &st) == 0 &&
	       (!S_ISDIR(st.st_mode) || at_is_names(s->mail_fd, box->wanted, &rules) == -ENOTEMPTY);
}

/* 1: one of them. */
static int leave_barred(struct boxes *b)
{
	int any = 0;

	for (size_t i = 0; i < b->n; i++) {
		struct place_box *box = &b->v[i];

		if (!box->scope || box->home || !is_barred(b, box))
			continue;
		if (!b->p->told)
			mb_msg(MB_WARNING,
			       "a folder cannot be renamed: there are other files in its new "
			       "place, move them away; store=%s dir=%s to=%s",
			       b->p->s->dir, box->dir, box->wanted);
		box->scope = box->first = false;
		any = 1;
	}
	b->p->told |= any;
	return any;
}

int put_place(struct mailbox_put *p, struct store_step *op)
{
	struct boxes b = {.p = p};
	struct place_move move;
	int err = 0;

	boxes_load(&b);
	err = b.unplaced && leave_barred(&b) ? MB_E_STALE : 0;
	if (b.unplaced && places_next(b.v, b.n, p->s->layout == LAYOUT_FS, &move)) {
		const struct place_box *box = &b.v[move.box];

		if (!move.aside && !box->aside)
			move.aside = is_same_dir(p->s, box->dir, box->wanted);
		op->op = STEP_RENAME;
		op->from = mb_xstrdup(box->dir);
		op->to = move.aside ? mailbox_swap_dir(b.g[move.box]) : mb_xstrdup(box->wanted);
		err = 0; /* the others first */
	}
	boxes_release(&b);
	return err;
}
