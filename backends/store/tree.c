/*
 * tree.c - paths, directories and mailboxes.
 *
 * A directory is a mailbox as soon as it has cur/.  The index knows the directory of each mailbox
 * (mailbox_local.dir), which is what counts for files; the tree's names, joined over replicas, say
 * which directory it should have.  Both differ only between a change of names and the renames that
 * carry it out.
 *
 * long because each step from a path to a node and back uses the one before it
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	enum node_kind kind;
} subs[] = {{"cur", NODE_CUR}, {"new", NODE_NEW}, {"tmp", NODE_TMP}};

char *path_join(const char *dir, const char *sub, const char *name)
{
	return mb_xasprintf("%s%s%s%s%s", dir, *dir && sub ? "/" : "", sub ? sub : "",
			    name && (*dir || sub) ? "/" : "", name ? name : "");
}

/* Splits off the last component: returns its start; *ret_dir (owned) is what is before it. */
static const char *split_last(const char *path, char **ret_dir)
{
	const char *slash = strrchr(path, '/');

	*ret_dir = slash ? mb_xstrndup(path, (size_t)(slash - path)) : mb_xstrdup("");
	return slash ? slash + 1 : path;
}

static enum node_kind sub_kind(const char *name)
{
	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++)
		if (strcmp(name, subs[i].name) == 0)
			return subs[i].kind;
	return NODE_LOCAL;
}

static int live_mailbox_at(struct index_txn *tx, const char *dir, struct guid *ret)
{
	return index_mailbox_by_dir(tx, dir, ret);
}

/* "DIR/cur" and its like: the mailbox is DIR. */
static int classify_sub(struct index_txn *tx, const char *dir, const char *name,
			struct node_info *ret)
{
	enum node_kind kind = sub_kind(name);

	if (kind == NODE_LOCAL || live_mailbox_at(tx, dir, &ret->mailbox) < 0)
		return -ENOENT;
	ret->kind = kind;
	return 0;
}

/* "DIR/cur/NAME". */
static int classify_file(struct index_txn *tx, const char *parent, const char *name,
			 struct node_info *ret)
{
	MB_AUTO_FREE char *dir = NULL;
	const char *sub = split_last(parent, &dir);

	if (classify_sub(tx, dir, sub, ret) < 0)
		return -ENOENT;
	if (ret->kind == NODE_TMP) {
		ret->kind = NODE_TMPFILE;
		return 0;
	}
	ret->in_new = ret->kind == NODE_NEW;
	ret->kind = fname_is_message(name) ? NODE_MESSAGE : NODE_LOCAL;
	return 0;
}

int tree_classify(struct index_txn *tx, const struct store *s, const char *path,
		  struct node_info *ret, const char **ret_name)
{
	MB_AUTO_FREE char *parent = NULL;
	const char *name;

	(void)s;
	memset(ret, 0, sizeof(*ret));
	ret->kind = NODE_LOCAL;
	if (ret_name)
		*ret_name = path;
	if (!*path) {
		ret->kind = NODE_ROOT;
		ret->mailbox = GUID_INBOX;
		return 0;
	}
	if (!at_deep_path_ok(path))
		return -EINVAL;
	name = split_last(path, &parent);
	if (ret_name)
		*ret_name = name;
	if (!at_path_ok(path)) /* deeper than any mailbox */
		return 0;
	if (classify_sub(tx, parent, name, ret) == 0 ||
	    (*parent && classify_file(tx, parent, name, ret) == 0))
		return 0;
	memset(&ret->mailbox, 0, sizeof(ret->mailbox));
	if (live_mailbox_at(tx, path, &ret->mailbox) == 0)
		ret->kind = NODE_MAILBOX;
	return 0;
}

int store_classify(struct store *s, const char *path, struct node_info *ret)
{
	struct index_txn *tx;
	int err = index_begin_now(s->index, false, &tx); /* mailboxes are never late */

	if (err < 0)
		return err;
	err = tree_classify(tx, s, path, ret, NULL);
	index_abort(tx);
	return err;
}

int mailbox_dir(struct index_txn *tx, const struct guid *g, char **ret_dir)
{
	struct mailbox_local local = {0};
	int err = index_get_mailbox(tx, g, NULL, &local);

	if (err < 0)
		return err;
	*ret_dir = MB_TAKE(local.dir);
	mailbox_local_release(&local);
	return *ret_dir ? 0 : -ENOENT;
}

/* The live node named `part` under `parent`: one that is alive, whether it has a directory or not. */
static struct mailbox *live_child(const struct tree *t, const struct guid *parent, const char *part)
{
	struct mailbox *m = tree_child(t, parent, part);

	return m && mailbox_alive(m) ? m : NULL;
}

/* Has it another directory than these parts say?  Then it is about to get another name. */
static bool dir_is_elsewhere(struct store *s, struct index_txn *tx, const struct guid *g,
			     char **parts, size_t n)
{
	MB_AUTO_FREE char *dir = NULL;
	char **own;
	size_t n_own;
	bool same;

	if (guid_equal(g, &GUID_INBOX)) /* the root, whatever is below INBOX */
		return false;
	if (mailbox_dir(tx, g, &dir) < 0 || layout_parts(s->layout, dir, &own, &n_own) < 0)
		return false;
	same = n == n_own;
	for (size_t i = 0; i < n && same; i++)
		same = strcmp(parts[i], own[i]) == 0;
	layout_parts_free(own);
	return !same;
}

static uint32_t new_uid_validity(const struct stamp *at)
{
	uint32_t v = (uint32_t)(stamp_ms(at) / 1000);

	return v ? v : 1;
}

static int make_node(struct store *s, struct index_txn *tx, const struct guid *parent,
		     const char *part, bool selectable, const char *dir,
		     const struct origin *origin, struct guid *ret)
{
	struct record r = {.type = REC_MAILBOX_CREATE, .at = hlc_now(&s->clock), .origin = *origin};
	int err;

	r.mailbox.guid = guid_new();
	r.mailbox.parent = *parent;
	r.mailbox.part = mb_xstrdup(part);
	r.mailbox.born = r.mailbox.named_at = r.at;
	r.mailbox.selectable = selectable;
	r.mailbox.selectable_at = r.at;
	r.mailbox.uid_validity = new_uid_validity(&r.at);
	r.mailbox.uid_next = 1;
	if (dir)
		uidlist_birth(s, tx, dir, &r.mailbox);
	*ret = r.mailbox.guid;
	err = change_record(s, tx, &r);
	record_release(&r);
	return err;
}

/* A structural parent that gets a cur/ of its own becomes a mailbox. */
static int make_selectable(struct store *s, struct index_txn *tx, const struct mailbox *m,
			   const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_STATE, .at = hlc_now(&s->clock), .origin = *origin};
	int err;

	mailbox_clone(&r.mailbox, m);
	r.mailbox.selectable = true;
	r.mailbox.selectable_at = r.at;
	err = change_record(s, tx, &r);
	record_release(&r);
	return err;
}

int mailbox_set_dir(struct store *s, struct index_txn *tx, const struct guid *g, const char *dir)
{
	struct mailbox m = {0};
	struct mailbox_local local = {0};
	int err = index_get_mailbox(tx, g, &m, &local);

	if (err < 0)
		return err;
	free(local.dir);
	local.dir = dir ? mb_xstrdup(dir) : NULL;
	if (dir)
		at_identity(s->mail_fd, dir, &local.ino);
	memset(&local.cur, 0, sizeof(local.cur));
	memset(&local.new_, 0, sizeof(local.new_));
	err = index_put_mailbox(tx, &m, &local);
	mailbox_release(&m);
	mailbox_local_release(&local);
	return err;
}

/* `dir`: of the last one, which is a mailbox; NULL: it only holds others. */
bool mailbox_dir_is_anothers(struct store *s, struct index_txn *tx, const struct tree *t,
			     const struct guid *g, const char *dir)
{
	bool found = false;
	uint64_t ino;

	if (at_identity(s->mail_fd, dir, &ino) < 0)
		return false;
	for (size_t i = 0; i < t->n && !found; i++) {
		const struct mailbox *m = &t->nodes[i];
		struct mailbox_local local = {0};

		if (guid_equal(&m->guid, g) || !mailbox_alive(m) ||
		    index_get_mailbox(tx, &m->guid, NULL, &local) < 0)
			continue;
		found = local.dir && local.ino == ino;
		mailbox_local_release(&local);
	}
	return found;
}

static int ensure_parts(struct store *s, struct index_txn *tx, char **parts, size_t n,
			const struct origin *origin, const char *dir, struct guid *ret)
{
	struct guid at = GUID_ZERO;
	int err = 0;

	for (size_t i = 0; i < n && err >= 0; i++) {
		struct tree t = {0};
		bool last = i + 1 == n;
		struct mailbox *m;

		err = index_tree(tx, &t);
		m = err < 0 ? NULL : live_child(&t, &at, parts[i]);
		if (m && dir_is_elsewhere(s, tx, &m->guid, parts, i + 1))
			m = NULL;
		if (m) {
			at = m->guid;
			if (last && dir && !m->selectable)
				err = make_selectable(s, tx, m, origin);
		} else if (err >= 0) {
			struct guid parent = at;

			err = make_node(s, tx, &parent, parts[i], last && dir, last ? dir : NULL,
					origin, &at);
		}
		tree_release(&t);
	}
	*ret = at;
	return err;
}

int mailbox_ensure_parents(struct store *s, struct index_txn *tx, char **parts, size_t n,
			   const struct origin *origin, struct guid *ret)
{
	return ensure_parts(s, tx, parts, n, origin, NULL, ret);
}

int mailbox_ensure(struct store *s, struct index_txn *tx, const char *dir,
		   const struct origin *origin, struct guid *ret)
{
	char **parts;
	size_t n;
	int err = layout_parts(s->layout, dir, &parts, &n);

	if (err < 0)
		return err;
	if (n == 0)
		*ret = GUID_INBOX;
	else
		err = ensure_parts(s, tx, parts, n, origin, dir, ret);
	layout_parts_free(parts);
	return err < 0 ? err : mailbox_set_dir(s, tx, ret, dir);
}

int mailbox_wanted_dir(struct store *s, const struct tree *t, const struct guid *g, char **ret_dir)
{
	BUF_AUTO struct buf b = BUF_INIT;
	char **parts;
	size_t n;
	int err;

	if (guid_equal(g, &GUID_INBOX)) {
		*ret_dir = mb_xstrdup("");
		return 0;
	}
	err = tree_parts(t, g, &parts, &n);
	if (err < 0)
		return err;
	err = layout_dir(s->layout, (const char *const *)parts, n, &b);
	layout_parts_free(parts);
	if (err < 0)
		return err;
	*ret_dir = mb_xstrdup(buf_cstr(&b));
	return 0;
}

static int make_subs(struct store *s, int dir)
{
	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++) {
		int err = io_mkdirat(dir, subs[i].name, 0700);

		if (err >= 0)
			err = file_give(s, dir, subs[i].name);
		if (err < 0 && err != -EEXIST)
			return err;
	}
	return io_fsync(dir);
}

/* A whole new mailbox directory, made in staging/ and renamed into place: a reader sees all or
 * nothing. */
static int make_new_mailbox(struct store *s, struct index_txn *tx, const struct mailbox *begins,
			    const char *dir)
{
	MB_AUTO_FREE char *temp = mb_xasprintf("dir-%016llx", (unsigned long long)random_u64());
	MB_AUTO_CLOSE int fd = -1, parent = -1;
	const char *name;
	int err = io_mkdirat(s->staging_fd, temp, 0700);

	if (err < 0)
		return err;
	fd = at_open(s->staging_fd, temp, O_RDONLY | O_DIRECTORY, 0);
	err = fd < 0 ? fd : begins ? uidlist_for_new(s, tx, begins, fd) : 0;
	if (err >= 0)
		err = make_subs(s, fd);
	if (err >= 0)
		err = file_give(s, s->staging_fd, temp);
	parent = at_open_parent(s->mail_fd, dir, &name);
	if (err >= 0)
		err = parent < 0
			      ? parent
			      : io_renameat2(s->staging_fd, temp, parent, name, RENAME_NOREPLACE);
	if (err < 0)
		at_remove_tree(s->staging_fd, temp);
	return err;
}

static int make_parent(struct store *s, const char *dir)
{
	MB_AUTO_CLOSE int above = -1;
	const char *name;
	int err;

	above = at_open_parent(s->mail_fd, dir, &name);
	if (above < 0)
		return above;
	err = io_mkdirat(above, name, 0700);
	if (err >= 0)
		err = file_give(s, above, name);
	return err == -EEXIST ? 0 : err;
}

int mailbox_make_parents(struct store *s, const char *dir)
{
	int err = 0;

	for (const char *end = dir; *end && err >= 0; end += *end == '/') {
		end += strcspn(end, "/");
		MB_AUTO_FREE char *part = mb_xstrndup(dir, (size_t)(end - dir));

		err = make_parent(s, part);
	}
	return err;
}

int mailbox_make_dirs(struct store *s, struct index_txn *tx, const struct mailbox *begins,
		      const char *dir)
{
	MB_AUTO_CLOSE int fd = -1;
	MB_AUTO_FREE char *parent = NULL;
	int err;

	if (s->mode == STORE_TRIAL) /* as if they were there, and empty */
		return 0;
	fd = at_open(s->mail_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		return make_subs(s, fd);
	if (fd != -ENOENT)
		return fd;
	split_last(dir, &parent);
	err = mailbox_make_parents(s, parent);
	return err < 0 ? err : make_new_mailbox(s, tx, begins, dir);
}

int mailbox_make_subs(struct store *s, int dir)
{
	MB_AUTO_CLOSE int fd = -1;

	if (s->mode == STORE_TRIAL)
		return 0;
	fd = at_open(dir, "", O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? fd : make_subs(s, fd);
}

/* Takes the files of a mailbox's live copies to deleted/ and logs their expunge via the mailbox. */
struct expunge_all {
	struct posix_call call;
	struct guid mailbox;
	struct stamp seen;
};

static int expunge_one(struct entry *e, void *arg)
{
	struct expunge_all *x = arg;

	return entry_expunge(&x->call, e, &x->mailbox, x->seen);
}

int mailbox_log_delete(struct store *s, struct index_txn *tx, const struct guid *g,
		       const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_DELETE, .origin = *origin};
	struct expunge_all x = {.call = {.s = s, .tx = tx, .origin = origin}, .mailbox = *g};
	struct tree t = {0};
	int err = index_get_mailbox(tx, g, &r.mailbox, NULL);

	if (err < 0)
		return err;
	x.seen = mailbox_seen(&r.mailbox);
	err = index_each_in(tx, g, 0, expunge_one, &x);
	if (err >= 0)
		err = index_tree(tx, &t);
	if (err >= 0) {
		r.old_name = tree_name(&t, g);
		r.at = hlc_now(&s->clock);
		r.mailbox.dead = x.seen;
		r.mailbox.dead_at = r.at;
		err = change_record(s, tx, &r);
	}
	tree_release(&t);
	record_release(&r);
	return err < 0 ? err : mailbox_set_dir(s, tx, g, NULL);
}

/* Children that a directory rename left behind (maildir++) get a structural parent of the old name. */
static int reparent_children(struct store *s, struct index_txn *tx, const struct tree *t,
			     const struct guid *g, char **old_parts, size_t n_old,
			     const struct origin *origin)
{
	struct guid old_parent = GUID_ZERO;
	int err = 0;

	for (size_t i = 0; i < t->n && err >= 0; i++) {
		struct record r = {.type = REC_MAILBOX_RENAME, .origin = *origin};

		if (!guid_equal(&t->nodes[i].parent, g) || !mailbox_alive(&t->nodes[i]))
			continue;
		if (guid_is_zero(&old_parent))
			err = mailbox_ensure_parents(s, tx, old_parts, n_old, origin, &old_parent);
		if (err < 0)
			break;
		r.at = hlc_now(&s->clock);
		mailbox_clone(&r.mailbox, &t->nodes[i]);
		r.mailbox.old_parent = r.mailbox.parent;
		free(r.mailbox.old_part);
		r.mailbox.old_part = mb_xstrdup(r.mailbox.part);
		r.mailbox.parent = old_parent;
		r.mailbox.named_at = r.at;
		err = change_record(s, tx, &r);
		record_release(&r);
	}
	return err;
}

/* The register of g gets the name that directory `to` says. */
int mailbox_log_new_name(struct store *s, struct index_txn *tx, const struct tree *t,
			 const struct mailbox *m, const char *to, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_RENAME, .origin = *origin};
	struct guid parent = GUID_ZERO;
	char **parts;
	size_t n;
	int err = layout_parts(s->layout, to, &parts, &n);

	if (err < 0)
		return err;
	if (n > 1)
		err = mailbox_ensure_parents(s, tx, parts, n - 1, origin, &parent);
	if (err >= 0 && n > 0) {
		r.at = hlc_now(&s->clock);
		mailbox_clone(&r.mailbox, m);
		r.mailbox.old_parent = m->parent;
		free(r.mailbox.old_part);
		r.mailbox.old_part = mb_xstrdup(m->part);
		r.mailbox.parent = parent;
		free(r.mailbox.part);
		r.mailbox.part = mb_xstrdup(parts[n - 1]);
		r.mailbox.named_at = r.at;
		r.old_name = tree_name(t, &m->guid);
		BUF_AUTO struct buf b = BUF_INIT;
		layout_join((const char *const *)parts, n, &b);
		r.new_name = mb_xstrdup(buf_cstr(&b));
		err = change_record(s, tx, &r);
	}
	layout_parts_free(parts);
	record_release(&r);
	return err;
}

/* The node that the parts of a directory name, whether it has a directory or not. */
static struct mailbox *node_by_parts(const struct tree *t, char **parts, size_t n)
{
	struct guid at = GUID_ZERO;
	struct mailbox *m = NULL;

	for (size_t i = 0; i < n; i++) {
		m = live_child(t, &at, parts[i]);
		if (!m)
			return NULL;
		at = m->guid;
	}
	return m;
}

static int rename_under(struct store *s, struct index_txn *tx, const struct mailbox *m,
			const struct guid *parent, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_RENAME, .origin = *origin};
	int err;

	r.at = hlc_now(&s->clock);
	mailbox_clone(&r.mailbox, m);
	r.mailbox.parent = *parent;
	r.mailbox.named_at = r.at;
	err = change_record(s, tx, &r);
	record_release(&r);
	return err;
}

/* g stays a mailbox, although it is now also what was a mere name, and perhaps later: said with a
 * stamp, so that whoever joins the two, here or elsewhere, comes to the same. */
static int stay_selectable(struct store *s, struct index_txn *tx, const struct guid *g,
			   const struct mailbox *name, const struct origin *origin)
{
	struct record r = {.type = REC_MAILBOX_STATE, .at = hlc_now(&s->clock), .origin = *origin};
	int err = index_get_mailbox(tx, g, &r.mailbox, NULL);

	if (err >= 0 && mailbox_alive(&r.mailbox) && r.mailbox.selectable &&
	    stamp_compare(&r.mailbox.selectable_at, &name->selectable_at) <= 0) {
		r.mailbox.selectable_at = r.at;
		err = change_record(s, tx, &r);
	}
	record_release(&r);
	return err;
}

/* A mere name becomes g, and what is beneath it comes under g; a mere name there that g has already, too,
 * becomes that one. */
static int absorb(struct store *s, struct index_txn *tx, const struct tree *t,
		  const struct mailbox *name, const struct guid *g, const struct origin *origin,
		  int depth)
{
	struct record r = {.type = REC_MAILBOX_MERGE, .origin = *origin};
	int err;

	mailbox_clone(&r.mailbox, name);
	r.mailbox.merged_into = *g;
	err = stay_selectable(s, tx, g, name, origin);
	if (err >= 0)
		err = change_record(s, tx, &r);
	for (size_t i = 0; i < t->n && err >= 0; i++) {
		const struct mailbox *m = &t->nodes[i], *twin;

		if (!guid_equal(&m->parent, &name->guid) || !mailbox_alive(m) ||
		    guid_equal(&m->guid, g))
			continue;
		twin = live_child(t, g, m->part);
		if (twin && !m->selectable && depth < MAILBOX_DEPTH_MAX)
			err = absorb(s, tx, t, m, &twin->guid, origin, depth + 1);
		else
			err = rename_under(s, tx, m, g, origin);
	}
	record_release(&r);
	return err;
}

/* A node without a directory that already has the wanted name steps aside: it was only a parent. */
int mailbox_absorb_structural(struct store *s, struct index_txn *tx, struct tree *t,
			      const struct guid *g, const char *to, const struct origin *origin)
{
	char **parts;
	size_t n;
	struct mailbox *m;
	int err = layout_parts(s->layout, to, &parts, &n);

	if (err < 0)
		return err;
	m = node_by_parts(t, parts, n);
	layout_parts_free(parts);
	if (!m || m->selectable || guid_equal(&m->guid, g))
		return 0;
	return absorb(s, tx, t, m, g, origin, 0);
}

int mailbox_by_parts(struct store *s, struct index_txn *tx, const char *dir, struct guid *ret)
{
	struct tree t = {0};
	struct mailbox *m;
	char **parts;
	size_t n;
	int err = layout_parts(s->layout, dir, &parts, &n);

	if (err < 0)
		return err;
	err = index_tree(tx, &t);
	m = err < 0 ? NULL : node_by_parts(&t, parts, n);
	if (m)
		*ret = m->guid;
	layout_parts_free(parts);
	tree_release(&t);
	return err < 0 ? err : m ? 0 : -ENOENT;
}

int mailbox_log_rename(struct store *s, struct index_txn *tx, const char *from, const char *to,
		       const struct origin *origin)
{
	struct tree t = {0};
	struct guid g;
	struct mailbox *m = NULL;
	char **old_parts = NULL;
	size_t n_old = 0;
	int err = layout_parts(s->layout, from, &old_parts, &n_old);

	if (err >= 0)
		err = index_tree(tx, &t);
	if (err >= 0 && index_mailbox_by_dir(tx, from, &g) == 0)
		m = tree_find(&t, &g);
	else if (err >= 0) /* a directory that only holds mailboxes */
		m = node_by_parts(&t, old_parts, n_old);
	if (err >= 0 && !m)
		err = -ENOENT;
	if (m)
		g = m->guid;
	if (err >= 0)
		err = mailbox_absorb_structural(s, tx, &t, &g, to, origin);
	if (err >= 0 && s->layout == LAYOUT_MAILDIRPP) {
		/* the name goes first, so that the old one is free for the structural parent */
		err = mailbox_log_new_name(s, tx, &t, m, to, origin);
		if (err >= 0)
			err = reparent_children(s, tx, &t, &g, old_parts, n_old, origin);
	} else if (err >= 0) {
		err = mailbox_log_new_name(s, tx, &t, m, to, origin);
	}
	layout_parts_free(old_parts);
	tree_release(&t);
	return err < 0 ? err : mailbox_relocate(s, tx, from, to);
}

/* Directories of the mailboxes at `from` and, in fs layout, beneath it: now at `to`. */
int mailbox_relocate(struct store *s, struct index_txn *tx, const char *from, const char *to)
{
	struct tree t = {0};
	size_t len = strlen(from);
	int err = index_tree(tx, &t);

	for (size_t i = 0; i < t.n && err >= 0; i++) {
		struct mailbox_local local = {0};

		err = index_get_mailbox(tx, &t.nodes[i].guid, NULL, &local);
		if (err < 0)
			break;
		if (local.dir && strncmp(local.dir, from, len) == 0 &&
		    (!local.dir[len] || (s->layout == LAYOUT_FS && local.dir[len] == '/'))) {
			MB_AUTO_FREE char *dir = mb_xasprintf("%s%s", to, local.dir + len);

			err = mailbox_set_dir(s, tx, &t.nodes[i].guid, dir);
		}
		mailbox_local_release(&local);
	}
	tree_release(&t);
	return err;
}
