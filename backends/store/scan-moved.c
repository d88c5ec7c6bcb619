/*
 * scan-moved.c - mailbox directories that were renamed by hand, however many at once.
 *
 * A directory is known again by its identity (at_identity()).  First every mailbox is given the
 * directory that it is in now, all at once, so that swaps and rotations need no order.  Then names
 * follow directories, parents first: a child that moved along with its parent needs no new name, one
 * that was left behind gets a parent that is only a name.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/mail/layout.h"
#include "backends/store/scan-private.h"
#include <errno.h>
#include <string.h>

/* ---- directories ---- */

struct seen_dir {
	uint64_t ino;
	const char *dir;      /* borrowed */
	struct scan_dir *new; /* a directory that no mailbox had, or NULL */
};

static int by_ino(const void *a, const void *b)
{
	const struct seen_dir *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Of two names of one directory the new one first: its old one still finds it where case does not
 * count. */
static int by_ino_and_news(const void *a, const void *b)
{
	const struct seen_dir *x = a, *y = b;
	int order = by_ino(a, b);

	return order ? order : !x->new - !y->new;
}

static struct seen_dir *first_with(struct seen_dir *seen, size_t n, uint64_t ino)
{
	struct seen_dir key = {.ino = ino}, *at;

	at = n ? bsearch(&key, seen, n, sizeof(key), by_ino) : NULL;
	while (at && at > seen && at[-1].ino == ino)
		at--;
	return at;
}

static uint64_t dir_ino(struct scan *sc, const char *dir)
{
	uint64_t ino = 0;

	at_identity(sc->s->mail_fd, dir, &ino);
	return ino;
}

/* Those in which a mailbox may be found again: new ones, and known ones that changed. */
static struct seen_dir *seen_dirs(struct scan *sc, size_t *ret_n)
{
	struct seen_dir *seen = mb_xcalloc(sc->n_boxes + sc->n_dirs + 1, sizeof(*seen));
	size_t n = 0;

	for (size_t i = 0; i < sc->n_dirs; i++)
		if (sc->dirs[i].ino)
			seen[n++] =
				(struct seen_dir){sc->dirs[i].ino, sc->dirs[i].dir, &sc->dirs[i]};
	for (size_t i = 0; i < sc->n_boxes; i++) {
		struct scan_box *b = &sc->boxes[i];
		uint64_t ino = *b->dir && !b->gone && b->changed ? dir_ino(sc, b->dir) : 0;

		b->seen_ino = ino;
		if (ino)
			seen[n++] = (struct seen_dir){ino, b->dir, NULL};
	}
	qsort(seen, n, sizeof(*seen), by_ino_and_news);
	*ret_n = n;
	return seen;
}

static bool is_there(struct scan *sc, const struct scan_box *b)
{
	return !b->gone && dir_ino(sc, b->dir) == b->ino;
}

/* Renamed from Foo to foo where case does not count: it is found under both names. */
static bool is_respelled(const struct seen_dir *at, const struct scan_box *b)
{
	return at->new &&mailbox_part_same(at->dir, b->dir, true);
}

/* Where the directory of each mailbox is now, when it is elsewhere: owned strings by box. */
static bool find_moved(struct scan *sc, char **now)
{
	size_t n;
	MB_AUTO_FREE struct seen_dir *seen = seen_dirs(sc, &n);
	bool any = false;

	for (size_t i = 0; i < sc->n_boxes && n; i++) {
		struct scan_box *b = &sc->boxes[i];
		struct seen_dir *at = *b->dir && b->ino ? first_with(seen, n, b->ino) : NULL;

		if (!at || strcmp(at->dir, b->dir) == 0 || (at->new && at->new->taken) ||
		    (is_there(sc, b) && !is_respelled(at, b)))
			continue;
		now[i] = mb_xstrdup(at->dir);
		if (at->new)
			at->new->taken = true;
		any = true;
	}
	return any;
}

/* Is the directory of any neither where it was, nor in another place? */
static bool any_lost_sight_of(const struct scan *sc, char *const *now)
{
	for (size_t i = 0; i < sc->n_boxes; i++) {
		const struct scan_box *b = &sc->boxes[i];

		if (*b->dir && b->ino && !now[i] &&
		    (b->gone || (b->changed && b->seen_ino != b->ino)))
			return true;
	}
	return false;
}

/* Its directory is another mailbox's now, and its own is nowhere: a program removed it first. */
static void mark_replaced(struct scan *sc, char **now, struct scan_box *b)
{
	for (size_t i = 0; i < sc->n_boxes && !b->replaced; i++)
		b->replaced = now[i] && strcmp(now[i], b->dir) == 0;
	b->gone |= b->replaced;
}

static int give_up_dirs(struct scan *sc, char **now)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++) {
		struct scan_box *b = &sc->boxes[i];

		if (!now[i])
			mark_replaced(sc, now, b);
		if (now[i] || b->replaced)
			err = mailbox_set_dir(sc->s, sc->tx, &b->guid, NULL);
	}
	return err;
}

/* What is at its path may be another one again. */
static int note_identity(struct scan *sc, const struct scan_box *b)
{
	struct mailbox m = {0};
	struct mailbox_local local = {0};
	int err = index_get_mailbox(sc->tx, &b->guid, &m, &local);

	if (err < 0)
		return err;
	if (local.ino != b->ino) {
		local.ino = b->ino;
		err = index_put_mailbox(sc->tx, &m, &local);
	}
	mailbox_release(&m);
	mailbox_local_release(&local);
	return err;
}

/* `now` holds where they were, then. */
static int take_dirs(struct scan *sc, char **now)
{
	int err = give_up_dirs(sc, now);

	for (size_t i = 0; i < sc->n_boxes && err >= 0; i++) {
		struct scan_box *b = &sc->boxes[i];

		if (!now[i])
			continue;
		change_event(sc->s, EVENT_RENAMED, now[i], b->dir, false);
		char *was = b->dir;
		b->dir = now[i];
		now[i] = was;
		b->gone = false;
		b->changed = true;
		b->seen_ino = b->ino;
		err = mailbox_set_dir(sc->s, sc->tx, &b->guid, b->dir);
		if (err >= 0)
			err = note_identity(sc, b);
	}
	return err;
}

/* A directory that was made where a mailbox was before it was renamed; the walk took it for that
 * mailbox's. */
static void find_successors(struct scan *sc, char **was)
{
	for (size_t i = 0; i < sc->n_boxes; i++) {
		MB_AUTO_FREE char *cur = was[i] ? path_join(was[i], "cur", NULL) : NULL;
		struct dir_stamp st;
		struct guid g;
		int err;

		if (cur && index_mailbox_by_dir(sc->tx, was[i], &g) == -ENOENT &&
		    scan_stat_dir(sc->s->mail_fd, cur, &st, &err) &&
		    dir_ino(sc, was[i]) != sc->boxes[i].ino) /* not itself, where Foo is foo */
			scan_add_dir(sc, was[i]);
	}
}

int scan_moved_dirs(struct scan *sc)
{
	MB_AUTO_FREE char **now = mb_xcalloc(sc->n_boxes + 1, sizeof(*now));
	bool moved = find_moved(sc, now);
	int err = 0;

	if (any_lost_sight_of(sc, now))
		scan_look_again(sc);
	if (!sc->restless && (moved || sc->s->renames)) {
		err = renames_note(sc);
		if (err >= 0)
			err = take_dirs(sc, now);
		if (err >= 0)
			find_successors(sc, now);
		if (err >= 0)
			err = mailboxes_follow_dirs(sc->s, sc->tx, &sc->origin,
						    &sc->report->records);
	}
	sc->names_follow = err >= 0 && !sc->restless;
	for (size_t i = 0; i < sc->n_boxes; i++)
		free(now[i]);
	return err;
}

/* ---- names ---- */

struct dir_name {
	struct guid guid;
	char **parts; /* owned */
	size_t n;
};

static int by_depth(const void *a, const void *b)
{
	const struct dir_name *x = a, *y = b;

	return (x->n > y->n) - (x->n < y->n);
}

/* Live mailboxes with the parts that their directories say, parents first. */
static int dir_names(struct store *s, struct index_txn *tx, struct dir_name **ret, size_t *ret_n)
{
	struct tree t = {0};
	size_t n = 0;
	int err = index_tree(tx, &t);
	struct dir_name *names = mb_xcalloc(t.n + 1, sizeof(*names));

	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL;

		if (!mailbox_alive(&t.nodes[i]) || mailbox_dir(tx, &t.nodes[i].guid, &dir) < 0 ||
		    strncmp(dir, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0 || /* on its way */
		    layout_parts(s->layout, dir, &names[n].parts, &names[n].n) < 0)
			continue;
		names[n++].guid = t.nodes[i].guid;
	}
	tree_release(&t);
	if (n)
		qsort(names, n, sizeof(*names), by_depth);
	*ret = names;
	*ret_n = n;
	return err;
}

static bool name_says(const struct tree *t, const struct dir_name *d)
{
	char **parts;
	size_t n;
	bool same;

	if (tree_parts(t, &d->guid, &parts, &n) < 0)
		return false;
	same = n == d->n;
	for (size_t i = 0; i < n && same; i++)
		same = strcmp(parts[i], d->parts[i]) == 0;
	layout_parts_free(parts);
	return same;
}

static int follow_one(struct store *s, struct index_txn *tx, const struct dir_name *d,
		      const struct origin *origin, uint64_t *records)
{
	MB_AUTO_FREE char *dir = NULL;
	struct tree t = {0};
	int err = index_tree(tx, &t);

	if (err >= 0 && d->n && !name_says(&t, d))
		err = mailbox_dir(tx, &d->guid, &dir);
	if (err >= 0 && dir)
		err = mailbox_absorb_structural(s, tx, &t, &d->guid, dir, origin);
	if (err >= 0 && dir) {
		err = mailbox_log_new_name(s, tx, &t, tree_find(&t, &d->guid), dir, origin);
		++*records;
	}
	tree_release(&t);
	return err;
}

static int follow_all(struct store *s, struct index_txn *tx, const struct origin *origin,
		      uint64_t *records)
{
	struct dir_name *names;
	size_t n;
	int err = dir_names(s, tx, &names, &n);

	for (size_t i = 0; i < n; i++) {
		if (err >= 0)
			err = follow_one(s, tx, &names[i], origin, records);
		layout_parts_free(names[i].parts);
	}
	free(names);
	return err < 0 ? err : 0;
}

/* One that was named may take others along in the tree that stayed where they were: it is below its own
 * child now.  They come back to their names in the next round. */
int mailboxes_follow_dirs(struct store *s, struct index_txn *tx, const struct origin *origin,
			  uint64_t *records)
{
	int err = 0;

	for (int i = 0; i < MAILBOX_DEPTH_MAX && err >= 0; i++) {
		uint64_t before = *records;

		err = follow_all(s, tx, origin, records);
		if (*records == before)
			break;
	}
	return err;
}
