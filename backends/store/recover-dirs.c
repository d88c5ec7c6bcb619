/*
 * recover-dirs.c - which directory each mailbox has, after records were replayed.
 *
 * Records carry names, not directories: a stop between a record and the index's commit, or an index
 * that was built anew, leaves directories that do not fit.  What is on disk decides: a swap directory
 * bears its mailbox's GUID; a name's own directory is taken when the noted one is gone, and, when
 * the index is new, even when the noted one is there (two that swapped names).
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <string.h>

struct node {
	char *dir, *wanted; /* owned; NULL: none, or it cannot be told */
	bool take;	    /* `wanted` becomes `dir` */
};

struct dirs {
	struct store *s;
	struct index_txn *tx;
	struct tree t;
	struct node *v; /* owned; of each node of t */
	bool *noted;	/* owned; those whose directories STORE/renames told */
};

static bool is_mailbox(struct dirs *d, const char *dir)
{
	MB_AUTO_FREE char *cur = path_join(dir, "cur", NULL);
	struct stat st;

	return at_stat(d->s->mail_fd, cur, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ".mbswap-GUID" of a mailbox that lives: a rename by way of it was cut off. */
static int swap_dir_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct dirs *d = arg;
	MB_AUTO_FREE char *dir = NULL;
	struct mailbox *m;
	struct guid g;

	if (strncmp(name, SWAP_PREFIX, strlen(SWAP_PREFIX)) != 0 ||
	    !guid_parse(name + strlen(SWAP_PREFIX), &g))
		return 0;
	m = tree_find(&d->t, &g);
	if (!m || !mailbox_alive(m))
		return 0;
	if (mailbox_dir(d->tx, &g, &dir) < 0)
		return mailbox_set_dir(d->s, d->tx, &g, name);
	/* those beneath it (fs) went with it */
	return strcmp(dir, name) != 0 ? mailbox_relocate(d->s, d->tx, dir, name) : 0;
}

static int load(struct dirs *d, bool anew)
{
	int err = index_tree(d->tx, &d->t);

	d->noted = mb_xcalloc(d->t.n + 1, sizeof(*d->noted));
	if (err >= 0 && anew && d->s->renames)
		err = renames_recall(d->s, d->tx, &d->t, d->noted);
	if (err >= 0)
		err = at_list(d->s->mail_fd, swap_dir_one, d);
	if (err < 0)
		return err;
	d->v = mb_xcalloc(d->t.n + 1, sizeof(*d->v));
	for (size_t i = 0; i < d->t.n; i++) {
		struct mailbox *m = &d->t.nodes[i];

		mailbox_dir(d->tx, &m->guid, &d->v[i].dir);
		if (mailbox_alive(m) && m->selectable)
			mailbox_wanted_dir(d->s, &d->t, &m->guid, &d->v[i].wanted);
	}
	return 0;
}

/* Does the directory that node i has stay its own? */
static bool keeps(struct dirs *d, size_t i, bool anew)
{
	const struct node *n = &d->v[i];

	if (!n->dir || !mailbox_alive(&d->t.nodes[i]))
		return false;
	if (d->s->renames && (!anew || d->noted[i]))
		return true; /* names say nothing yet: the scan knows each directory again */
	if (!*n->dir || (n->wanted && strcmp(n->dir, n->wanted) == 0))
		return true;
	if (strncmp(n->dir, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0)
		return true; /* mailboxes_finish() brings it home */
	return is_mailbox(d, n->dir) && !(anew && n->wanted && is_mailbox(d, n->wanted));
}

/* Those that have another directory now, or none, first: what they had is free then. */
static int let_go(struct dirs *d, bool anew)
{
	int err = 0;

	for (size_t i = 0; i < d->t.n && err >= 0; i++) {
		struct node *n = &d->v[i];

		if (keeps(d, i, anew))
			continue;
		/* of a new index: what is not there is the scan's to judge, as gone or lost */
		n->take =
			n->wanted && (!*n->wanted || is_mailbox(d, n->wanted) || (anew && !n->dir));
		if (n->dir && (n->take || !mailbox_alive(&d->t.nodes[i])))
			err = mailbox_set_dir(d->s, d->tx, &d->t.nodes[i].guid, NULL);
	}
	return err;
}

/* One that cannot have it keeps what it had; if that is nowhere, the scan judges what is gone. */
static int take(struct dirs *d)
{
	int err = 0;

	for (size_t i = 0; i < d->t.n && err >= 0; i++) {
		struct node *n = &d->v[i];
		struct guid other;

		if (!n->take)
			continue;
		if (index_mailbox_by_dir(d->tx, n->wanted, &other) < 0)
			err = mailbox_set_dir(d->s, d->tx, &d->t.nodes[i].guid, n->wanted);
		else if (n->dir && index_mailbox_by_dir(d->tx, n->dir, &other) < 0)
			err = mailbox_set_dir(d->s, d->tx, &d->t.nodes[i].guid, n->dir);
	}
	return err;
}

int recover_dirs(struct store *s, bool anew)
{
	struct dirs d = {.s = s};
	int err = index_begin(s->index, true, &d.tx);

	if (err < 0)
		return err;
	err = load(&d, anew);
	if (err >= 0)
		err = let_go(&d, anew);
	if (err >= 0)
		err = take(&d);
	for (size_t i = 0; i < d.t.n && d.v; i++) {
		free(d.v[i].dir);
		free(d.v[i].wanted);
	}
	free(d.v);
	free(d.noted);
	tree_release(&d.t);
	if (err >= 0)
		return index_commit(d.tx);
	index_abort(d.tx);
	return err;
}
