/*
 * scan-tree.c - which mailbox directories there are, and what happened to them.
 *
 * Renames by hand are told first (scan-moved.c).  A directory that is left over is a new mailbox, or
 * one whose name in the tree says that it belongs there; a mailbox that is left over is deleted.
 */
#include "backends/base/ascii.h"
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/scan-private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

bool scan_stamp_equal(const struct dir_stamp *a, const struct dir_stamp *b)
{
	return a->ino && a->ino == b->ino && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

/* false when it is no directory; *ret_err is set for errors other than absence. */
bool scan_stat_dir(int root, const char *path, struct dir_stamp *ret, int *ret_err)
{
	struct stat st;
	int err = at_stat(root, path, &st);

	*ret_err = err == -ENOENT || err == -ENOTDIR ? 0 : err;
	if (err < 0 || !S_ISDIR(st.st_mode))
		return false;
	ret->ino = st.st_ino;
	ret->mtime_ns = clock_timespec_ns(&st.st_mtim);
	ret->ctime_ns = clock_timespec_ns(&st.st_ctim);
	return true;
}

/* Stats cur and new: two of three calls; and where Dovecot may serve the store, its list. */
int scan_stat_box(struct scan *sc, struct scan_box *b)
{
	MB_AUTO_CLOSE int dir = at_open(sc->s->mail_fd, b->dir, O_PATH | O_DIRECTORY, 0);
	int err1 = dir, err2 = 0;
	bool has_cur = false, has_new = false;

	b->looked_ns = clock_wall_ns();
	b->list = (struct file_mark){0};
	if (dir >= 0) {
		if (sc->lists)
			file_mark_at(dir, UIDLIST_NAME, &b->list);
		has_cur = scan_stat_dir(dir, "cur", &b->cur, &err1);
		has_new = scan_stat_dir(dir, "new", &b->new_, &err2);
	} else if (dir == -ENOENT || dir == -ENOTDIR) {
		err1 = 0;
	}
	if (err1 < 0 || err2 < 0) {
		scan_error(sc, b->dir, err1 < 0 ? err1 : err2);
		return -EIO;
	}
	if (!has_cur)
		b->cur = (struct dir_stamp){0};
	if (!has_new)
		b->new_ = (struct dir_stamp){0};
	b->gone = !has_cur && !has_new;
	b->changed = has_cur != has_new; /* the other one is made again when it is read */
	return 0;
}

/* The list of what is read is asked for everywhere: it may be the first one. */
static void stat_list(struct scan *sc, struct scan_box *b)
{
	if (b->changed && !sc->lists) {
		MB_AUTO_FREE char *path = path_join(b->dir, NULL, UIDLIST_NAME);

		file_mark_of(sc->s, path, &b->list);
	}
	b->listed = uidlist_changed(sc->tx, &b->guid, &b->list);
}

/* Of a known mailbox: has it changed? */
static int stat_box(struct scan *sc, struct scan_box *b, const struct mailbox_local *local)
{
	if (scan_stat_box(sc, b) < 0)
		return 0;
	if (sc->full || held_in(&sc->s->held, &b->guid) ||
	    !scan_stamp_equal(&b->cur, &local->cur) || !scan_stamp_equal(&b->new_, &local->new_))
		b->changed = true;
	stat_list(sc, b);
	return 0;
}

static int add_box(struct scan *sc, const struct mailbox *m, const struct mailbox_local *local)
{
	struct scan_box *b;

	MB_GROW(sc->boxes, sc->cap_boxes, sc->n_boxes + 1);
	b = &sc->boxes[sc->n_boxes++];
	memset(b, 0, sizeof(*b));
	b->guid = m->guid;
	b->dir = mb_xstrdup(local->dir);
	b->n_live = local->n_live;
	b->ino = local->ino;
	b->self = local->self;
	return stat_box(sc, b, local);
}

static int known_boxes(struct scan *sc, bool *ret_walk)
{
	struct tree t = {0};
	int err = index_tree(sc->tx, &t);

	for (size_t i = 0; i < t.n && err >= 0; i++) {
		struct mailbox_local local = {0};
		struct dir_stamp self;
		bool root, mailbox;
		int ignored;

		err = index_get_mailbox(sc->tx, &t.nodes[i].guid, NULL, &local);
		mailbox = err >= 0 && local.dir && mailbox_alive(&t.nodes[i]);
		root = mailbox && !*local.dir;
		if (mailbox)
			err = add_box(sc, &t.nodes[i], &local);
		if (mailbox && (root || sc->s->layout == LAYOUT_FS)) {
			if (!scan_stat_dir(sc->s->mail_fd, local.dir, &self, &ignored) ||
			    !scan_stamp_equal(&self, &local.self))
				*ret_walk = true;
			sc->boxes[sc->n_boxes - 1].self = self;
		}
		if (mailbox_alive(&t.nodes[i]) && !t.nodes[i].selectable &&
		    sc->s->layout == LAYOUT_FS)
			*ret_walk = true; /* a directory that only holds mailboxes has no stamp */
		mailbox_local_release(&local);
	}
	tree_release(&t);
	return err;
}

/* ---- walking for directories ---- */

struct walk {
	struct scan *sc;
	const char *dir; /* "" = root */
	int depth;
	bool pending; /* a directory that may become a mailbox: look again next time */
};

static int walk_dir(struct scan *sc, const char *dir, int depth, bool *pending);

static bool known_dir(struct scan *sc, const char *dir)
{
	struct guid g;

	return index_mailbox_by_dir(sc->tx, dir, &g) == 0;
}

static bool mailbox_name(struct scan *sc, const char *dir)
{
	char **parts;
	size_t n;

	if (layout_parts(sc->s->layout, dir, &parts, &n) < 0)
		return false;
	layout_parts_free(parts);
	return n > 0;
}

/* In the fs layout this directory is no mailbox, for INBOX is the root, but may hold some. */
static bool is_above_inbox_children(const struct scan *sc, const char *dir)
{
	return sc->s->layout == LAYOUT_FS && ascii_casecmp(dir, "INBOX") == 0;
}

void scan_add_dir(struct scan *sc, const char *dir)
{
	uint64_t ino = 0;

	at_identity(sc->s->mail_fd, dir, &ino);
	MB_GROW(sc->dirs, sc->cap_dirs, sc->n_dirs + 1);
	sc->dirs[sc->n_dirs++] = (struct scan_dir){.dir = mb_xstrdup(dir), .ino = ino};
}

/* A mailbox on its way to another name; one that nobody knows is a directory like any other. */
static bool is_known_swap(struct scan *sc, const char *name)
{
	struct guid g;

	return strncmp(name, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0 &&
	       guid_parse(name + strlen(SWAP_PREFIX), &g) &&
	       index_get_mailbox(sc->tx, &g, NULL, NULL) == 0;
}

/* Under this name the index remembers that the stray directory was told of. */
struct stray {
	char name[32];
	uint64_t ino;
};

static bool stray_is_told(struct scan *sc, const char *dir, struct stray *ret)
{
	uint64_t told = 0;

	snprintf(ret->name, sizeof(ret->name), "stray-%016llx",
		 (unsigned long long)checksum64(dir, strlen(dir), 0));
	ret->ino = 0;
	at_identity(sc->s->mail_fd, dir, &ret->ino);
	return index_meta_get(sc->tx, ret->name, &told, sizeof(told)) == 0 && told == ret->ino;
}

/* A folder by its looks, with a name that means something else here. */
static void see_stray(struct scan *sc, const char *dir)
{
	MB_AUTO_FREE char *cur = path_join(dir, "cur", NULL);
	struct dir_stamp st;
	struct stray stray;
	int err;

	if (!scan_stat_dir(sc->s->mail_fd, cur, &st, &err) || stray_is_told(sc, dir, &stray))
		return;
	MB_GROW(sc->strays, sc->cap_strays, sc->n_strays + 1);
	sc->strays[sc->n_strays++] = mb_xstrdup(dir);
}

/* The mail of such a folder stays local, and that must not be a secret: once for each. */
static int tell_stray(struct scan *sc, const char *dir, const char *why)
{
	struct stray stray;

	if (stray_is_told(sc, dir, &stray))
		return 0;
	mb_msg(MB_WARNING, "a folder is not synced: %s; rename it store=%s folder=%s", why,
	       sc->s->dir, dir);
	return index_meta_put(sc->tx, stray.name, &stray.ino, sizeof(stray.ino));
}

static int tell_strays(struct scan *sc)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_strays && err >= 0; i++)
		err = tell_stray(sc, sc->strays[i], "its name cannot be that of a mailbox here");
	return err;
}

static int walk_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct walk *w = arg;
	MB_AUTO_FREE char *path = path_join(w->dir, NULL, name), *cur = NULL;
	struct dir_stamp st, self;
	int err, ignored;

	if (type != DT_DIR && type != DT_UNKNOWN)
		return 0;
	if (!*w->dir && is_known_swap(w->sc, name))
		return 0;
	if (!at_path_ok(path))
		return 0;
	if (is_above_inbox_children(w->sc, path)) {
		see_stray(w->sc, path);
		return walk_dir(w->sc, path, w->depth + 1, &w->pending);
	}
	if (!mailbox_name(w->sc, path)) {
		see_stray(w->sc, path);
		return 0;
	}
	cur = path_join(path, "cur", NULL);
	if (!scan_stat_dir(w->sc->s->mail_fd, cur, &st, &err)) {
		if (err < 0)
			scan_error(w->sc, path, err);
		else
			w->pending = true;
		/* it was listed, and has another name now: which one, the list does not say */
		w->sc->restless |=
			type == DT_DIR && !scan_stat_dir(w->sc->s->mail_fd, path, &self, &ignored);
	} else if (!known_dir(w->sc, path)) {
		scan_add_dir(w->sc, path);
	}
	if (w->sc->s->layout == LAYOUT_FS && w->depth < MAILBOX_DEPTH_MAX)
		return walk_dir(w->sc, path, w->depth + 1, &w->pending);
	return 0;
}

static int note_walked(struct scan *sc, int fd, const char *dir)
{
	struct scan_walked w = {.looked_ns = clock_wall_ns()};
	int err;

	if (!scan_stat_dir(fd, "", &w.at, &err))
		return err < 0 ? err : -ENOENT;
	w.dir = mb_xstrdup(dir);
	MB_GROW(sc->walked, sc->cap_walked, sc->n_walked + 1);
	sc->walked[sc->n_walked++] = w;
	return 0;
}

static int walk_dir(struct scan *sc, const char *dir, int depth, bool *pending)
{
	struct walk w = {.sc = sc, .dir = dir, .depth = depth};
	MB_AUTO_CLOSE int fd = at_open(sc->s->mail_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	int err = fd < 0 ? fd : note_walked(sc, fd, dir);

	if (err >= 0)
		err = at_list(fd, walk_one, &w);
	sc->restless |= err == -ENOENT;
	if (err < 0 && err != -ENOTDIR && err != -ENOENT && err != -ELOOP)
		scan_error(sc, dir, err);
	*pending |= w.pending;
	return 0;
}

int scan_tree(struct scan *sc)
{
	bool walk = sc->full, pending = false;
	int err;

	sc->lists = uidlists_may_be(sc->s, sc->tx);
	err = known_boxes(sc, &walk);

	for (size_t i = 0; i < sc->n_boxes; i++)
		walk |= sc->boxes[i].gone;
	if (err >= 0 && walk)
		err = walk_dir(sc, "", 0, &pending);
	for (size_t i = 0; i < sc->n_boxes && walk; i++) {
		struct scan_box *b = &sc->boxes[i];

		if (pending)
			memset(&b->self, 0, sizeof(b->self));
		if (!*b->dir && !pending)
			b->changed = true; /* so that the root's time is noted */
	}
	return err;
}

/* ---- what it means ---- */

static int add_new_box(struct scan *sc, const struct guid *g, const char *dir, uint64_t ino)
{
	struct mailbox m = {.guid = *g};
	struct mailbox_local local = {.dir = (char *)(uintptr_t)dir, .ino = ino};
	int err = add_box(sc, &m, &local);

	sc->boxes[sc->n_boxes - 1].changed = true;
	return err;
}

/* Directories that nobody knows: mailboxes that other programs made. */
static int judge_new_dirs(struct scan *sc)
{
	int err = 0;

	for (size_t i = 0; i < sc->n_dirs && err >= 0; i++) {
		struct guid g;
		struct mailbox_local local = {0};
		uint64_t ino = 0;

		if (sc->dirs[i].taken)
			continue;
		if (at_identity(sc->s->mail_fd, sc->dirs[i].dir, &ino) < 0 ||
		    ino != sc->dirs[i].ino) {
			sc->restless = true; /* it has another name by now */
			continue;
		}
		/* a mailbox by that name that lost its directory (index rebuilt, half-done put) */
		err = mailbox_by_parts(sc->s, sc->tx, sc->dirs[i].dir, &g);
		if (err == 0 && index_get_mailbox(sc->tx, &g, NULL, &local) == 0 && local.dir)
			err = -EEXIST; /* two directories for one name: the literal one stays local */
		else if (err == 0 || err == -ENOENT)
			err = mailbox_ensure(sc->s, sc->tx, sc->dirs[i].dir, &sc->origin, &g);
		mailbox_local_release(&local);
		if (err == -EEXIST || err == MB_E_NAME) {
			err = tell_stray(
				sc, sc->dirs[i].dir,
				err == MB_E_NAME
					? "its name cannot be that of a mailbox here"
					: "another folder has its name, spelled otherwise");
			continue;
		}
		if (err >= 0)
			err = add_new_box(sc, &g, sc->dirs[i].dir, sc->dirs[i].ino);
		if (err >= 0)
			change_event(sc->s, EVENT_ADDED, sc->dirs[i].dir, NULL, false);
		sc->report->records++;
	}
	return err;
}

/* A mailbox whose directory is gone: all its mail is missing, and may be found elsewhere. */
static int judge_gone(struct scan *sc, struct scan_box *b)
{
	int err;

	if (!b->replaced &&
	    (!*b->dir || !sc->s->was_clean)) { /* INBOX, or a stop that may have lost it */
		err = mailbox_make_dirs(sc->s, NULL, NULL, b->dir);
		b->gone = false;
		b->changed = true;
		return err;
	}
	b->vanished = true;
	return scan_match_box(sc, (size_t)(b - sc->boxes));
}

/* An empty place where mail or mailboxes were: more likely not mounted than emptied by hand. */
static bool whole_tree_gone(const struct scan *sc)
{
	uint64_t messages = 0;

	for (size_t i = 0; i < sc->n_boxes; i++) {
		if (!sc->boxes[i].gone)
			return false;
		messages += sc->boxes[i].n_live;
	}
	return (messages > 0 || sc->n_boxes > 1) && sc->n_dirs == 0;
}

static int hold_one(struct entry *e, void *arg)
{
	struct scan *sc = arg;

	if (entry_has_file(e))
		held_add(&sc->held, e);
	return 0;
}

int scan_judge_boxes(struct scan *sc)
{
	int err = 0;

	if (sc->report->errors)
		return 0;
	if (whole_tree_gone(sc) && !sc->s->allow_mass_expunge) {
		for (size_t i = 0; i < sc->n_boxes && err >= 0; i++) {
			sc->report->held += sc->boxes[i].n_live;
			sc->boxes[i].held = true;
			err = index_each_in(sc->tx, &sc->boxes[i].guid, 0, hold_one, sc);
		}
		mb_msg(MB_WARNING, "the mail tree is empty: is it mounted? path=%s",
		       sc->s->mail_path);
		return err;
	}
	err = tell_strays(sc);
	if (err >= 0)
		err = scan_moved_dirs(sc);
	if (err >= 0 && !sc->restless)
		err = judge_new_dirs(sc);
	for (size_t i = 0; i < sc->n_boxes && err >= 0 && !sc->restless; i++)
		if (sc->boxes[i].gone)
			err = judge_gone(sc, &sc->boxes[i]);
	return err;
}
