/*
 * put-mailbox.c - joins one wanted state of a mailbox into the store.
 *
 * The registers say which directory a mailbox and those beneath it should have; next_op() gives the
 * next single directory operation on the way there, so that the same code serves a direct put (all
 * of them in a row), a put through the mount (each as a system call), and a start after a stop in
 * the middle.  Swaps go by way of ".mbswap-GUID".  The record is appended when no operation is left.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/store-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

struct mailbox_put {
	struct store *s;
	struct index_txn *tx;
	struct tree tree; /* with the wanted state joined in */
	struct guid guid;
	bool known, changed;
	struct mailbox before; /* registers here, when known */
};

static void mailbox_put_release(struct mailbox_put *p)
{
	tree_release(&p->tree);
	mailbox_release(&p->before);
}

static void see_mailbox_stamps(struct store *s, struct mailbox *m)
{
	struct stamp *all[] = {&m->born, &m->named_at, &m->dead, &m->dead_at, &m->revived,
			       &m->selectable_at, &m->subscribed_at};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		stamp_clamp(all[i]);
		hlc_see(&s->clock, all[i]);
	}
}

static int put_load(struct mailbox_put *p, const struct record *want)
{
	struct mailbox incoming = {0}, joined = {0};
	struct mailbox *here;
	int err = index_tree(p->tx, &p->tree);

	if (err < 0)
		return err;
	p->guid = want->mailbox.guid;
	mailbox_clone(&incoming, &want->mailbox);
	see_mailbox_stamps(p->s, &incoming);
	here = tree_find(&p->tree, &p->guid);
	p->known = here != NULL;
	if (here) {
		mailbox_clone(&p->before, here);
		mailbox_clone(&joined, here);
		mailbox_join(&joined, &incoming);
		p->changed = !mailbox_equal(&p->before, &joined);
	} else {
		mailbox_clone(&joined, &incoming);
		p->changed = true;
	}
	tree_put(&p->tree, &joined);
	mailbox_release(&incoming);
	mailbox_release(&joined);
	return 0;
}

/* ---- the next operation ---- */

static char *swap_dir(const struct guid *g)
{
	char text[GUID_TEXT];

	return mb_xasprintf(SWAP_PREFIX "%s", guid_text(g, text));
}

static void step_set(struct store_step *op, int what, char *from, char *to)
{
	op->op = what;
	op->from = from;
	op->to = to;
}

/* From `dir` to `wanted`, making room first when another mailbox is there. */
static void rename_op(struct mailbox_put *p, const char *dir, const char *wanted,
		      struct store_step *op)
{
	struct guid other;

	if (index_mailbox_by_dir(p->tx, wanted, &other) == 0)
		step_set(op, STEP_RENAME, mb_xstrdup(wanted), swap_dir(&other));
	else
		step_set(op, STEP_RENAME, mb_xstrdup(dir), mb_xstrdup(wanted));
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

/* A live mailbox beneath p whose directory is not yet where the names say. */
static int descendant_op(struct mailbox_put *p, struct store_step *op)
{
	for (size_t i = 0; i < p->tree.n && op->op == STEP_NONE; i++) {
		const struct mailbox *m = &p->tree.nodes[i];
		MB_AUTO_FREE char *dir = NULL, *wanted = NULL;

		if (!mailbox_alive(m) || !descends_from(&p->tree, m, &p->guid) ||
		    mailbox_dir(p->tx, &m->guid, &dir) < 0)
			continue;
		if (mailbox_wanted_dir(p->s, &p->tree, &m->guid, &wanted) == 0 &&
		    strcmp(dir, wanted) != 0)
			rename_op(p, dir, wanted, op);
	}
	return 0;
}

static int next_op(struct mailbox_put *p, struct store_step *op)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);
	MB_AUTO_FREE char *dir = NULL, *wanted = NULL;
	struct guid other;
	int err;

	memset(op, 0, sizeof(*op));
	mailbox_dir(p->tx, &p->guid, &dir);
	if (!mailbox_alive(m) || !m->selectable) {
		if (dir && *dir && guid_is_zero(&m->merged_into))
			step_set(op, STEP_RMDIR, mb_xstrdup(dir), NULL);
		return mailbox_alive(m) && op->op == STEP_NONE ? descendant_op(p, op) : 0;
	}
	err = mailbox_wanted_dir(p->s, &p->tree, &p->guid, &wanted);
	if (err < 0)
		return err;
	if (!dir && index_mailbox_by_dir(p->tx, wanted, &other) == 0)
		step_set(op, STEP_RENAME, mb_xstrdup(wanted), swap_dir(&other));
	else if (!dir)
		step_set(op, STEP_MKDIR, mb_xstrdup(wanted), NULL);
	else if (strcmp(dir, wanted) != 0)
		rename_op(p, dir, wanted, op);
	return op->op == STEP_NONE ? descendant_op(p, op) : 0;
}

/* ---- doing one ---- */

struct unknown_files {
	struct mailbox_put *p;
	bool in_new;
	struct guid mailbox;
};

static int unknown_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	struct unknown_files *u = arg;

	(void)type;
	(void)ino;
	(void)u;
	return fname_is_message(name) ? MB_E_STALE : 0;
}

/* Nothing that is a message may be destroyed with a directory. */
static int check_empty(struct mailbox_put *p, int dir)
{
	static const char *const sub[] = {"cur", "new"};

	for (int i = 0; i < 2; i++) {
		struct unknown_files u = {.p = p, .in_new = i};
		MB_AUTO_CLOSE int fd = at_open(dir, sub[i], O_RDONLY | O_DIRECTORY, 0);
		int err = fd < 0 ? fd : at_list(fd, unknown_one, &u);

		if (err < 0 && err != -ENOENT)
			return err;
	}
	return 0;
}

static int to_trash(struct store *s, int dir, const char *name)
{
	MB_AUTO_FREE char *trash = mb_xasprintf("trash-%016llx", (unsigned long long)random_u64());
	int err = io_renameat(dir, name, s->staging_fd, trash);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	return at_remove_tree(s->staging_fd, trash);
}

/* fs layout: a mailbox may hold others; only its own three directories go then. */
static int remove_subs(struct store *s, int dir)
{
	static const char *const sub[] = {"cur", "new", "tmp"};
	int err = 0;

	for (int i = 0; i < 3 && err >= 0; i++)
		err = to_trash(s, dir, sub[i]);
	return err;
}

static int op_rmdir(struct mailbox_put *p, const char *path)
{
	MB_AUTO_CLOSE int dir = -1, parent = -1;
	const char *name;
	struct mailbox_local local = {0};
	bool holds_others = false;
	int err = index_get_mailbox(p->tx, &p->guid, NULL, &local);

	if (err < 0)
		return err;
	uint32_t n_live = local.n_live;

	mailbox_local_release(&local);
	if (n_live > 0)
		return MB_E_STALE;
	dir = at_open(p->s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT)
		return mailbox_set_dir(p->s, p->tx, &p->guid, NULL);
	err = dir < 0 ? dir : check_empty(p, dir);
	if (err < 0)
		return err;
	for (size_t i = 0; i < p->tree.n && p->s->layout == LAYOUT_FS; i++)
		if (guid_equal(&p->tree.nodes[i].parent, &p->guid) &&
		    mailbox_alive(&p->tree.nodes[i]))
			holds_others = true;
	parent = at_open_parent(p->s->mail_fd, path, &name);
	if (parent < 0)
		return parent;
	err = holds_others ? remove_subs(p->s, dir) : to_trash(p->s, parent, name);
	return err < 0 ? err : mailbox_set_dir(p->s, p->tx, &p->guid, NULL);
}

static int op_rename(struct mailbox_put *p, const char *from, const char *to)
{
	MB_AUTO_CLOSE int a = -1, b = -1;
	const char *from_name, *to_name;
	const char *slash = strrchr(to, '/');
	struct stat st;
	int err = 0;

	if (slash) {
		MB_AUTO_FREE char *parent = mb_xstrndup(to, (size_t)(slash - to));

		err = mailbox_make_parents(p->s, parent);
	}
	if (err >= 0 && at_stat(p->s->mail_fd, to, &st) == 0 && S_ISDIR(st.st_mode)) {
		/* an empty directory without cur/ may be in the way */
		b = at_open_parent(p->s->mail_fd, to, &to_name);
		err = b < 0 ? b : io_unlinkat(b, to_name, AT_REMOVEDIR);
		if (b >= 0)
			close(MB_TAKE_FD(b));
	}
	if (err < 0)
		return err == -ENOTEMPTY || err == -EEXIST ? MB_E_STALE : err;
	a = at_open_parent(p->s->mail_fd, from, &from_name);
	b = at_open_parent(p->s->mail_fd, to, &to_name);
	err = a < 0 ? a : b < 0 ? b : io_renameat2(a, from_name, b, to_name, RENAME_NOREPLACE);
	if (err < 0)
		return err == -ENOENT || err == -EEXIST ? MB_E_STALE : err;
	return mailbox_relocate(p->s, p->tx, from, to);
}

/* A new mailbox needs its own line in the index before it can have a directory. */
static int ensure_indexed(struct mailbox_put *p)
{
	struct mailbox_local local = {0};

	if (p->known)
		return 0;
	return index_put_mailbox(p->tx, tree_find(&p->tree, &p->guid), &local);
}

static int do_op(struct mailbox_put *p, const struct store_step *op, bool quiet)
{
	int err;

	switch (op->op) {
	case STEP_MKDIR:
		err = mailbox_make_dirs(p->s, op->from);
		if (err >= 0)
			err = ensure_indexed(p);
		if (err >= 0)
			err = mailbox_set_dir(p->s, p->tx, &p->guid, op->from);
		if (err >= 0 && !quiet)
			change_event(p->s, EVENT_ADDED, op->from, NULL, false);
		return err;
	case STEP_RENAME:
		err = op_rename(p, op->from, op->to);
		if (err >= 0 && !quiet)
			change_event(p->s, EVENT_RENAMED, op->to, op->from, false);
		return err;
	case STEP_RMDIR:
		err = op_rmdir(p, op->from);
		if (err >= 0 && !quiet)
			change_event(p->s, EVENT_REMOVED, op->from, NULL, false);
		return err;
	default:
		return 0;
	}
}

static void step_release(struct store_step *op)
{
	free(op->from);
	free(op->to);
	memset(op, 0, sizeof(*op));
}

/* ---- mailboxes made apart that become one ---- */

/* The winner is not here yet: it begins as what the loser is, directory and all. */
static int begin_winner(struct mailbox_put *p, const struct mailbox *loser,
			const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_STATE, .origin = *origin};
	MB_AUTO_FREE char *dir = NULL;
	int err;

	mailbox_clone(&r.mailbox, loser);
	r.mailbox.guid = loser->merged_into;
	r.mailbox.merged_into = GUID_ZERO;
	mailbox_dir(p->tx, &loser->guid, &dir);
	err = change_record(p->s, p->tx, &r);
	if (err >= 0)
		err = mailbox_set_dir(p->s, p->tx, &loser->guid, NULL);
	if (err >= 0 && dir)
		err = mailbox_set_dir(p->s, p->tx, &loser->merged_into, dir);
	record_release(&r);
	return err;
}

/* Files of the loser that went to the winner's directory, to be noted once the record is in. */
struct moved_file {
	struct guid guid;
	uint64_t id;
	char *name; /* owned: "cur/NAME" */
};

struct move_all {
	struct store *s;
	struct index_txn *tx;
	struct guid to;
	struct moved_file *files; /* owned */
	size_t n, cap;
};

static int move_file_between(struct move_all *m, const char *from, const char *to)
{
	MB_AUTO_CLOSE int a = -1, b = -1;
	const char *from_name, *to_name;
	int err;

	a = at_open_parent(m->s->mail_fd, from, &from_name);
	b = at_open_parent(m->s->mail_fd, to, &to_name);
	err = a < 0 ? a : b < 0 ? b : io_renameat2(a, from_name, b, to_name, RENAME_NOREPLACE);
	if (err >= 0)
		change_event(m->s, EVENT_RENAMED, to, from, true);
	return err;
}

static int move_to_winner(struct entry *e, void *arg)
{
	struct move_all *m = arg;
	MB_AUTO_FREE char *from = entry_path(m->tx, e), *name = NULL, *dir = NULL, *to = NULL;
	struct copy c = {0};
	int err;

	if (!from || e->state != ENTRY_PRESENT)
		return 0;
	copy_clone(&c, &e->copy);
	c.place.mailbox = m->to;
	err = file_target(m->s, m->tx, &c, e, e->in_new, &name);
	if (err >= 0)
		err = mailbox_dir(m->tx, &m->to, &dir);
	if (err >= 0) {
		to = path_join(dir, name, NULL);
		err = move_file_between(m, from, to);
	}
	if (err >= 0) {
		MB_GROW(m->files, m->cap, m->n + 1);
		m->files[m->n++] = (struct moved_file){c.guid, c.id, MB_TAKE(name)};
	}
	copy_release(&c);
	return err;
}

static int note_moved(struct move_all *m, int err)
{
	for (size_t i = 0; i < m->n; i++) {
		struct entry e = {0};

		if (err >= 0)
			err = index_get_entry(m->tx, &m->files[i].guid, m->files[i].id, &e);
		if (err >= 0) {
			free(e.file);
			e.file = mb_xstrdup(m->files[i].name + 4);
			e.in_new = m->files[i].name[0] == 'n';
			err = index_put_entry(m->tx, &e);
		}
		entry_release(&e);
		free(m->files[i].name);
	}
	free(m->files);
	return err;
}

static int merge_into(struct mailbox_put *p, const struct mailbox *loser,
		      const struct origin *origin)
{
	struct mailbox winner = {0};
	struct record r = {.type = REC_MAILBOX_MERGE, .origin = *origin};
	MB_AUTO_FREE char *dir = NULL, *winner_dir = NULL;
	struct move_all all = {.s = p->s, .tx = p->tx, .to = loser->merged_into};
	int err = index_get_mailbox(p->tx, &loser->merged_into, &winner, NULL);

	mailbox_release(&winner);
	if (err == -ENOENT)
		err = begin_winner(p, loser, origin);
	mailbox_dir(p->tx, &loser->guid, &dir);
	mailbox_dir(p->tx, &loser->merged_into, &winner_dir);
	if (err >= 0 && dir && !winner_dir) { /* the winner had none: it takes the loser's */
		err = mailbox_set_dir(p->s, p->tx, &loser->guid, NULL);
		if (err >= 0)
			err = mailbox_set_dir(p->s, p->tx, &loser->merged_into, dir);
		free(MB_TAKE(dir));
	}
	if (err >= 0 && dir) {
		err = index_each_in(p->tx, &loser->guid, 0, move_to_winner, &all);
	}
	if (err >= 0) {
		mailbox_clone(&r.mailbox, loser);
		err = change_record(p->s, p->tx, &r);
	}
	err = note_moved(&all, err);
	if (err >= 0 && dir) {
		err = op_rmdir(p, dir);
		if (err >= 0)
			change_event(p->s, EVENT_REMOVED, dir, NULL, false);
	}
	record_release(&r);
	return err;
}

/* ---- the verb ---- */

static enum record_type what_happened(const struct mailbox_put *p, const struct mailbox *m)
{
	if (!p->known)
		return mailbox_alive(m) ? REC_MAILBOX_CREATE : REC_MAILBOX_STATE;
	if (mailbox_alive(&p->before) && !mailbox_alive(m))
		return REC_MAILBOX_DELETE;
	if (!mailbox_alive(&p->before) && mailbox_alive(m))
		return REC_MAILBOX_REVIVE;
	if (!guid_equal(&p->before.parent, &m->parent) || strcmp(p->before.part, m->part) != 0)
		return REC_MAILBOX_RENAME;
	if (p->before.subscribed != m->subscribed)
		return REC_MAILBOX_SUBSCRIBE;
	return REC_MAILBOX_STATE;
}

static int log_mailbox(struct mailbox_put *p, const struct record *want)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);
	struct record r = {.type = what_happened(p, m), .origin = want->origin};
	struct tree now = {0};
	MB_AUTO_FREE char *old_dir = NULL;
	int err = 0;

	if (!p->changed)
		return 0;
	mailbox_clone(&r.mailbox, m);
	r.new_name = tree_name(&p->tree, &p->guid);
	if (p->known && index_tree(p->tx, &now) >= 0)
		r.old_name = tree_name(&now, &p->guid);
	err = change_record(p->s, p->tx, &r);
	if (err >= 0 && now.n)
		mailbox_wanted_dir(p->s, &now, &p->guid, &old_dir);
	if (err >= 0)
		err = subscriptions_put(p->s, p->tx, &p->tree, m, old_dir);
	tree_release(&now);
	record_release(&r);
	return err < 0 ? err : 1;
}

static bool becomes_merged(const struct mailbox_put *p)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);

	return !guid_is_zero(&m->merged_into) &&
	       (!p->known || guid_is_zero(&p->before.merged_into));
}

static int put_all(struct mailbox_put *p, const struct record *want)
{
	struct store_step op;
	bool any = false;
	int err = put_load(p, want);

	if (err >= 0 && becomes_merged(p) && p->known)
		return merge_into(p, tree_find(&p->tree, &p->guid), &want->origin) < 0
			       ? MB_E_STALE
			       : 1;
	for (int i = 0; err >= 0 && i < 100000; i++) {
		err = next_op(p, &op);
		if (err >= 0 && op.op == STEP_NONE)
			break;
		if (err >= 0)
			err = do_op(p, &op, false);
		any = true;
		step_release(&op);
	}
	if (err >= 0)
		err = log_mailbox(p, want);
	return err < 0 ? err : err || any;
}

int put_mailbox(struct store *s, const struct record *want)
{
	struct mailbox_put p = {.s = s};
	int err = change_begin(s, &p.tx);

	if (err >= 0)
		err = change_end(s, p.tx, put_all(&p, want));
	mailbox_put_release(&p);
	return err;
}

int put_mailbox_step(struct store *s, const struct record *want, struct store_step *ret)
{
	struct mailbox_put p = {.s = s};
	int err = index_begin(s->index, false, &p.tx);

	if (err < 0)
		return err;
	err = put_load(&p, want);
	if (err >= 0 && !becomes_merged(&p))
		err = next_op(&p, ret);
	index_abort(p.tx);
	mailbox_put_release(&p);
	return err;
}

int put_mailbox_op(struct store *s, const struct record *want, const struct store_step *step)
{
	struct mailbox_put p = {.s = s};
	struct store_step op = {0};
	int err = change_begin(s, &p.tx);

	if (err < 0)
		return err;
	err = put_load(&p, want);
	if (err >= 0)
		err = next_op(&p, &op);
	if (err >= 0 && (op.op != step->op || strcmp(op.from, step->from) != 0 ||
			 (op.to && (!step->to || strcmp(op.to, step->to) != 0))))
		err = MB_E_STALE;
	if (err >= 0)
		err = do_op(&p, &op, true);
	step_release(&op);
	if (err >= 0)
		err = next_op(&p, &op);
	if (err >= 0 && op.op == STEP_NONE)
		err = log_mailbox(&p, want);
	step_release(&op);
	err = change_end(s, p.tx, err);
	mailbox_put_release(&p);
	return err < 0 ? err : 1;
}

int mailboxes_finish(struct store *s)
{
	struct tree t = {0};
	struct index_txn *tx;
	int err = index_begin(s->index, false, &tx);

	if (err < 0)
		return err;
	err = index_tree(tx, &t);
	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL, *wanted = NULL;
		struct record want = {.type = REC_MAILBOX_STATE};
		bool unfinished;

		if (!mailbox_alive(&t.nodes[i]) || !t.nodes[i].selectable ||
		    mailbox_wanted_dir(s, &t, &t.nodes[i].guid, &wanted) < 0)
			continue;
		unfinished = mailbox_dir(tx, &t.nodes[i].guid, &dir) == 0 &&
			     strncmp(dir, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0;
		if (!unfinished)
			continue;
		index_abort(tx);
		mailbox_clone(&want.mailbox, &t.nodes[i]);
		err = put_mailbox(s, &want);
		record_release(&want);
		int again = index_begin(s->index, false, &tx);
		if (again < 0) {
			tx = NULL;
			err = again;
		}
	}
	index_abort(tx);
	tree_release(&t);
	return err < 0 ? err : 0;
}
