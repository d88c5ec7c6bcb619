/*
 * put-mailbox.c - joins one wanted state of a mailbox into the store.
 *
 * The registers say which directory a mailbox and those beneath it should have; next_op() gives the
 * next single directory operation on the way there, so that the same code serves a direct put (all
 * of them in a row), a put through the mount (each as a system call), and a start after a stop in
 * the middle.  Swaps go by way of ".mbswap-GUID".  The record is appended when no operation is left.
 *
 * long because what is to be done next, doing it and finishing it later have to agree line by line;
 * in which order directories are renamed is in put-place.c
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store/put-private.h"
#include "backends/store/uidlist.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

static void mailbox_put_release(struct mailbox_put *p)
{
	tree_release(&p->tree);
	mailbox_release(&p->before);
}

static void see_mailbox_stamps(struct store *s, struct mailbox *m)
{
	struct stamp *all[] = {&m->born,	  &m->named_at,	      &m->dead,
			       &m->dead_at,	  &m->revived,	      &m->selectable_at,
			       &m->subscribed_at, &m->uid_validity_at};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		stamp_clamp(all[i]);
		hlc_see(&s->clock, all[i]);
	}
}

/* INBOX is the root directory: it has no other name, no end, and becomes no other mailbox. */
static void keep_inbox(struct mailbox *m, const struct mailbox *here)
{
	struct mailbox own = {0};

	mailbox_clone(&own, here);
	own.subscribed = m->subscribed;
	own.subscribed_at = m->subscribed_at;
	own.uid_validity = m->uid_validity;
	own.uid_validity_at = m->uid_validity_at;
	own.uid_next = m->uid_next;
	mailbox_release(m);
	*m = own;
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
	if (here && guid_equal(&p->guid, &GUID_INBOX))
		keep_inbox(&incoming, here);
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

static void step_set(struct store_step *op, int what, char *from, char *to)
{
	op->op = what;
	op->from = from;
	op->to = to;
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
		if (dir && *dir && !mailbox_merged(m))
			step_set(op, STEP_RMDIR, mb_xstrdup(dir), NULL);
		return mailbox_alive(m) && op->op == STEP_NONE ? put_place(p, op) : 0;
	}
	err = mailbox_wanted_dir(p->s, &p->tree, &p->guid, &wanted);
	if (err < 0)
		return err;
	if (!dir && index_mailbox_by_dir(p->tx, wanted, &other) == 0)
		step_set(op, STEP_RENAME, mb_xstrdup(wanted), mailbox_swap_dir(&other));
	else if (!dir)
		step_set(op, STEP_MKDIR, mb_xstrdup(wanted), NULL);
	return op->op == STEP_NONE ? put_place(p, op) : 0;
}

/* ---- doing one ---- */

static int unknown_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	return fname_is_message(name) ? MB_E_STALE : 0;
}

static int check_sub(int dir, const char *sub)
{
	MB_AUTO_CLOSE int fd = at_open(dir, sub, O_RDONLY | O_DIRECTORY, 0);
	int err = fd < 0 ? fd : at_list(fd, unknown_one, NULL);

	return err == -ENOENT ? 0 : err;
}

/* Nothing that is a message may be destroyed with a directory. */
static int check_empty(int dir)
{
	int err = check_sub(dir, "cur");

	return err < 0 ? err : check_sub(dir, "new");
}

/* A mailbox's directory, or (is_sub) one of its three, goes by way of staging/.  A message that came
 * between the check and now brings it back. */
static int to_trash(struct store *s, int dir, const char *name, bool is_sub)
{
	MB_AUTO_FREE char *trash = mb_xasprintf(
		"%s%016llx", is_sub && strcmp(name, "tmp") == 0 ? "tmp-" : TRASH_PREFIX,
		(unsigned long long)random_u64());
	MB_AUTO_CLOSE int fd = -1;
	int err = io_renameat(dir, name, s->staging_fd, trash);

	if (err < 0)
		return err == -ENOENT ? 0 : err;
	fd = at_open(s->staging_fd, trash, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0 && !is_sub)
		err = check_empty(fd);
	else if (fd >= 0 && strcmp(name, "tmp") != 0)
		err = at_list(fd, unknown_one, NULL);
	if (err < 0) {
		io_renameat2(s->staging_fd, trash, dir, name, RENAME_NOREPLACE);
		return err;
	}
	at_remove_tree(s->staging_fd, trash); /* what stays goes at the next start */
	return 0;
}

/* fs layout: a mailbox may hold others; only its own three directories go then. */
static int remove_subs(struct store *s, int dir)
{
	static const char *const sub[] = {"cur", "new", "tmp"};
	int err = 0;

	for (int i = 0; i < 3 && err >= 0; i++)
		err = to_trash(s, dir, sub[i], true);
	return err;
}

/* fs layout: another directory in this one may be, or hold, a mailbox, known or not. */
static int other_dir_one(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	return type != DT_REG && strcmp(name, "cur") != 0 && strcmp(name, "new") != 0 &&
	       strcmp(name, "tmp") != 0;
}

int put_rmdir(struct mailbox_put *p, const char *path)
{
	MB_AUTO_CLOSE int dir = -1, parent = -1;
	const char *name;
	struct mailbox_local local = {0};
	int err = index_get_mailbox(p->tx, &p->guid, NULL, &local), others = 0;

	if (err < 0)
		return err;
	uint32_t n_live = local.n_live;

	mailbox_local_release(&local);
	if (n_live > 0)
		return MB_E_STALE;
	dir = at_open(p->s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT)
		return mailbox_set_dir(p->s, p->tx, &p->guid, NULL);
	err = dir < 0 ? dir : check_empty(dir);
	if (err == MB_E_STALE)
		p->s->rescan = true; /* mail that nobody knows yet */
	if (err >= 0 && p->s->layout == LAYOUT_FS)
		err = others = at_list(dir, other_dir_one, NULL);
	if (err < 0)
		return err;
	parent = at_open_parent(p->s->mail_fd, path, &name);
	if (parent < 0)
		return parent;
	err = others ? remove_subs(p->s, dir) : to_trash(p->s, parent, name, false);
	return err < 0 ? err : mailbox_set_dir(p->s, p->tx, &p->guid, NULL);
}

static int op_rename(struct mailbox_put *p, const char *from, const char *to)
{
	const char *slash = strrchr(to, '/');
	struct stat st;
	int err = 0;

	if (slash) {
		MB_AUTO_FREE char *parent = mb_xstrndup(to, (size_t)(slash - to));

		err = mailbox_make_parents(p->s, parent);
	}
	/* directories that are only names may be in the way; in a trial also what would have left them */
	if (err >= 0 && p->s->mode != STORE_TRIAL && at_stat(p->s->mail_fd, to, &st) == 0 &&
	    S_ISDIR(st.st_mode))
		err = at_remove_names(p->s->mail_fd, to,
				      &(struct at_names){.junk = layout_is_dropping});
	if (err < 0)
		return err == -ENOTEMPTY || err == -EEXIST ? MB_E_STALE : err;
	err = at_rename(p->s->mail_fd, from, to, RENAME_NOREPLACE);
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
		err = mailbox_dir_is_anothers(p->s, p->tx, &p->tree, &p->guid, op->from)
			      ? MB_E_NAME
			      : mailbox_make_dirs(p->s, p->tx, tree_find(&p->tree, &p->guid),
						  op->from);
		if (err >= 0)
			err = ensure_indexed(p);
		if (err >= 0)
			err = mailbox_set_dir(p->s, p->tx, &p->guid, op->from);
		if (err >= 0 && !quiet)
			change_event(p->s, EVENT_ADDED, op->from, NULL, false);
		return err;
	case STEP_RENAME:
		err = op_rename(p, op->from, op->to);
		p->s->swapped |= strncmp(op->to, SWAP_PREFIX, strlen(SWAP_PREFIX)) == 0;
		if (err >= 0 && !quiet)
			change_event(p->s, EVENT_RENAMED, op->to, op->from, false);
		return err;
	case STEP_RMDIR:
		err = put_rmdir(p, op->from);
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

/* A backup gave it a UIDVALIDITY: a merge takes the greater one of those that there are. */
static bool is_given_anew(const struct mailbox *was, const struct mailbox *now)
{
	return was->uid_validity != now->uid_validity &&
	       stamp_compare(&now->uid_validity_at, &was->uid_validity_at) > 0;
}

static int log_mailbox(struct mailbox_put *p, const struct record *want)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);
	struct record r = {.type = what_happened(p, m), .origin = want->origin};
	struct tree now = {0};
	int err = 0;

	if (!p->changed)
		return 0;
	mailbox_clone(&r.mailbox, m);
	r.new_name = tree_name(&p->tree, &p->guid);
	if (p->known && index_tree(p->tx, &now) >= 0)
		r.old_name = tree_name(&now, &p->guid);
	/* a file: before the record */
	err = subscriptions_put(p->s, p->tx, &p->tree, m, now.n ? &now : NULL);
	if (err >= 0)
		err = change_record(p->s, p->tx, &r);
	if (err >= 0 && p->known && is_given_anew(&p->before, m))
		err = uidlist_begin_anew(p->tx, &p->guid, want->mailbox.uid_next);
	tree_release(&now);
	record_release(&r);
	return err < 0 ? err : 1;
}

static bool becomes_merged(const struct mailbox_put *p)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);

	return mailbox_merged(m) && (!p->known || !mailbox_merged(&p->before));
}

struct done_ops {
	struct store_step *v; /* owned */
	size_t n, cap;
};

/* What one directory operation did is in the index before the next one: after a stop no more than one
 * has to be found again (recover-dirs.c). */
static int settle_op(struct mailbox_put *p)
{
	int err = change_end(p->s, p->tx, 0);

	p->tx = NULL;
	if (err >= 0)
		err = change_settle(p->s);
	return err < 0 ? err : change_begin(p->s, &p->tx);
}

/* `logged`: nothing is left to be written to the log, so nothing will be undone. */
static int do_ops(struct mailbox_put *p, struct done_ops *done, bool logged)
{
	size_t most = 16 * p->tree.n + 64;

	for (;;) {
		struct store_step op;
		int err = logged && done->n ? settle_op(p) : 0;

		if (err >= 0)
			err = next_op(p, &op);
		if (err < 0 || op.op == STEP_NONE)
			return err;
		if (done->n >= most) {
			mb_msg(MB_ERROR, "folders give way to each other without end: %s to %s",
			       op.from, op.to ? op.to : "nowhere");
			step_release(&op);
			return MB_E_STALE;
		}
		err = do_op(p, &op, false);
		if (err < 0) {
			step_release(&op);
			return err;
		}
		MB_GROW(done->v, done->cap, done->n + 1);
		done->v[done->n++] = op;
	}
}

/* Takes a mailbox away that was made a moment ago; what is in it meanwhile stays. */
static void unmake(struct store *s, const char *path)
{
	static const char *const sub[] = {"cur", "new", "tmp", NULL};
	MB_AUTO_CLOSE int parent = -1, dir = -1;
	const char *name;
	struct stat st;

	parent = at_open_parent(s->mail_fd, path, &name);
	dir = at_open(s->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
	if (parent < 0 || dir < 0)
		return;
	for (int i = 0; i < 3; i++)
		io_unlinkat(dir, sub[i], AT_REMOVEDIR);
	if (at_stat(dir, UIDLIST_NAME, &st) == 0)
		io_unlinkat(dir, UIDLIST_NAME, 0);
	io_unlinkat(parent, name, AT_REMOVEDIR);
}

/* Nothing got into the log: the directories go back, last first, or the scan would take them for a
 * program's work. */
static void undo_ops(struct mailbox_put *p, struct done_ops *done)
{
	for (size_t i = done->n; i-- > 0;) {
		const struct store_step *op = &done->v[i];

		if (op->op == STEP_RENAME)
			at_rename(p->s->mail_fd, op->to, op->from, RENAME_NOREPLACE);
		else if (op->op == STEP_MKDIR)
			unmake(p->s, op->from);
		else if (op->op == STEP_RMDIR)
			mailbox_make_dirs(p->s, NULL, NULL, op->from);
	}
}

/*
 * The record of a rename goes before its directory operations, of which there may be many: a stop
 * between them must not look like a program that renamed some of these directories.  A start finishes
 * what the names say.
 */
static int log_rename_first(struct mailbox_put *p, const struct record *want)
{
	const struct mailbox *m = tree_find(&p->tree, &p->guid);
	int err;

	if (!p->known || !p->changed || what_happened(p, m) != REC_MAILBOX_RENAME)
		return 0;
	err = log_mailbox(p, want);
	p->changed = false;
	return err;
}

static int put_all(struct mailbox_put *p, const struct record *want)
{
	uint64_t appended = p->s->appended;
	struct done_ops done = {0};
	bool any = false;
	int err = put_load(p, want);

	if (err >= 0 && becomes_merged(p) && p->known)
		return put_merge(p, tree_find(&p->tree, &p->guid), &want->origin);
	if (err >= 0)
		err = log_rename_first(p, want);
	any = err > 0;
	err = err < 0 ? err : do_ops(p, &done, !p->changed);
	if (err >= 0)
		err = log_mailbox(p, want);
	if (err < 0 && p->s->appended == appended)
		undo_ops(p, &done);
	any |= done.n > 0;
	for (size_t i = 0; i < done.n; i++)
		step_release(&done.v[i]);
	free(done.v);
	return err < 0 ? err : err || any;
}

/* Where directories are is not in the log: what a put did before it failed stays in the index. */
static int put_and_keep(struct mailbox_put *p, const struct record *want)
{
	uint64_t appended = p->s->appended;
	int err = put_all(p, want), ended;
	bool keep = err < 0 && p->s->appended != appended && err != MB_E_CHECKSUM &&
		    err != MB_E_FORMAT && err != MB_E_LOG_DEAD;

	if (!p->tx)
		return err;
	ended = change_end(p->s, p->tx, keep ? 0 : err);
	return err < 0 ? err : ended;
}

int put_mailbox(struct store *s, const struct record *want)
{
	struct mailbox_put p = {.s = s};
	const struct mailbox *m;
	bool renamed;
	int err = change_settle(s); /* a put that fails takes no earlier one with it */

	if (err >= 0)
		err = change_begin(s, &p.tx);
	if (err >= 0)
		err = put_and_keep(&p, want);
	if (err > 0 && change_settle(s) < 0)
		err = MB_E_STALE;
	m = tree_find(&p.tree, &p.guid);
	renamed = err > 0 && m && p.known &&
		  (what_happened(&p, m) == REC_MAILBOX_RENAME || becomes_merged(&p));
	mailbox_put_release(&p);
	if ((renamed || (err > 0 && s->swapped)) && mailboxes_finish(s) < 0)
		return MB_E_STALE; /* one that waited for this name to be free */
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
	bool done = false;
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
	done = err >= 0;
	step_release(&op);
	if (err >= 0)
		err = next_op(&p, &op);
	if (err >= 0 && op.op == STEP_NONE)
		err = log_mailbox(&p, want);
	step_release(&op);
	if (done && err < 0 && s->appended == s->begun)
		err = 0; /* the call is done; the next plan comes to what failed after it */
	if (done)
		err = change_end_call(s, p.tx, err);
	else
		err = change_end(s, p.tx, err);
	mailbox_put_release(&p);
	if (err >= 0 && s->swapped && step->op == STEP_RMDIR) /* who waited for that name */
		err = mailboxes_finish(s);
	return err < 0 ? err : 1;
}

/* The directory that this name gives is the home of another mailbox of that name: a swap was cut
 * between its two records, and the second one comes with the next sync. */
static bool name_is_taken(struct store *s, struct index_txn *tx, const struct tree *t,
			  const char *wanted)
{
	MB_AUTO_FREE char *home = NULL;
	struct guid other;

	return index_mailbox_by_dir(tx, wanted, &other) == 0 &&
	       mailbox_wanted_dir(s, t, &other, &home) == 0 && strcmp(home, wanted) == 0;
}

uint64_t store_misplaced(struct store *s)
{
	struct tree t = {0};
	struct index_txn *tx;
	uint64_t n = 0;

	if (s->renames || index_begin(s->index, false, &tx) < 0)
		return 0;
	index_tree(tx, &t);
	for (size_t i = 0; i < t.n; i++) {
		MB_AUTO_FREE char *dir = NULL, *wanted = NULL;

		if (mailbox_alive(&t.nodes[i]) && t.nodes[i].selectable &&
		    mailbox_wanted_dir(s, &t, &t.nodes[i].guid, &wanted) == 0 &&
		    mailbox_dir(tx, &t.nodes[i].guid, &dir) == 0 &&
		    !mailbox_dir_says(s, dir, wanted))
			n += !name_is_taken(s, tx, &t, wanted);
	}
	index_abort(tx);
	tree_release(&t);
	return n;
}

int mailboxes_finish(struct store *s)
{
	struct tree t = {0};
	struct index_txn *tx;
	int err;

	if (s->renames) /* it is the names that are not yet right */
		return 0;
	err = index_begin(s->index, false, &tx);
	if (err < 0)
		return err;
	err = index_tree(tx, &t);
	s->swapped = false;
	for (size_t i = 0; i < t.n && err >= 0; i++) {
		MB_AUTO_FREE char *dir = NULL, *wanted = NULL;
		struct record want = {.type = REC_MAILBOX_STATE};
		bool unfinished;

		if (!mailbox_alive(&t.nodes[i]) || !t.nodes[i].selectable ||
		    mailbox_wanted_dir(s, &t, &t.nodes[i].guid, &wanted) < 0)
			continue;
		unfinished = mailbox_dir(tx, &t.nodes[i].guid, &dir) == 0 &&
			     !mailbox_dir_says(s, dir, wanted);
		if (unfinished && name_is_taken(s, tx, &t, wanted)) {
			s->swapped = true;
			continue;
		}
		if (!unfinished)
			continue;
		index_abort(tx);
		mailbox_clone(&want.mailbox, &t.nodes[i]);
		err = put_mailbox(s, &want);
		if (err < 0) { /* its mail is there and in the index; only its name must wait */
			mb_msg(MB_WARNING, "mailbox stays in %s: %s", dir, mb_err_str(err));
			err = 0;
		}
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
