/*
 * posix-rename.c - rename of local programs: changes the file, logs the meaning.
 *
 * What a call means follows from what its two names are (tree.c).  A file that is no message, and takes
 * the name of one, is an edit of it, as a scan of the tree would say.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include "backends/store/posix-private.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

int posix_log_rename(struct posix_call *p, struct entry *e, const struct node_info *to,
		     const char *name, const struct stat *st)
{
	struct record r = {.type = REC_FLAGS, .at = hlc_now(&p->s->clock), .origin = *p->origin};
	bool moved = !guid_equal(&e->copy.place.mailbox, &to->mailbox);
	struct fname old, new;
	bool same_base, flagged;
	int err;

	fname_parse(e->file, &old);
	fname_parse(name, &new);
	same_base = old.base_len == new.base_len &&memcmp(e->file, name, old.base_len) == 0;
	r.old_name = posix_sub_name(e->in_new, e->file);
	r.new_name = posix_sub_name(to->in_new, name);
	flagged = flags_from_move(p->s, p->tx, e, &to->mailbox, &old, &new, r.at);
	copy_clone(&r.copy, &e->copy);
	if (moved || !same_base) {
		r.type = moved ? REC_MOVE : REC_RENAME;
		r.copy.place.mailbox = to->mailbox;
		if (moved)
			r.copy.place.uid = posix_next_uid(p->tx, &to->mailbox);
		r.copy.place.at = r.at;
		free(r.copy.place.base);
		r.copy.place.base = mb_xstrndup(name, new.base_len);
	} else if (!flagged) {
		r.type = REC_COPY_STATE; /* new -> cur: clears recent, here only */
	}
	r.copy.recent = to->in_new;
	err = posix_record(p, &r, st);
	record_release(&r);
	return err;
}

/* One rename of a file: the names, what they are, what is there, and what was kept in deleted/. */
struct rename_call {
	const char *from, *from_name, *to, *to_name;
	int from_dir, to_dir; /* fds of the directories, perhaps one for both */
	struct node_info fn, tn;
	struct entry source, target;
	uint64_t ino; /* of the file */
	bool is_message, replaces;
	struct stat *seen;	  /* for the caller, when it was looked at under its new name */
	char *kept, *kept_source; /* owned */
};

static int after_rename_to_message(struct posix_call *p, struct rename_call *c)
{
	struct entry *source = c->is_message ? &c->source : NULL;
	struct recent_link *l = source ? NULL : posix_link_by_path(p->s, c->from, c->ino);
	struct stat st;
	int err;

	if (!source && l) { /* the link of a message in tmp/ becomes a copy */
		uint64_t id = random_u64() | 1;

		err = publish(p, c->to, &c->tn, c->to_name, &l->guid, id, NULL);
		if (err >= 0) {
			posix_link_made(p, l, id);
		}
		return err;
	}
	if (!source)
		return publish(p, c->to, &c->tn, c->to_name, NULL, 0, NULL);
	if (fstatat(c->to_dir, c->to_name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	*c->seen = st;
	return posix_log_rename(p, source, &c->tn, c->to_name, &st);
}

/* Bodies that the system call will take away are linked to deleted/ first. */
static int rename_keep(struct posix_call *p, struct rename_call *c)
{
	int err = 0;

	if (c->replaces)
		err = file_to_deleted(p->s, c->to, &c->target, true, &c->kept);
	if (err == -ENOENT)
		err = 0;
	if (err >= 0 && c->is_message && c->tn.kind != NODE_MESSAGE) /* leaves the mailboxes */
		err = file_to_deleted(p->s, c->from, &c->source, true, &c->kept_source);
	return err;
}

static void unkeep(struct store *s, const char *kept)
{
	if (kept)
		io_unlinkat(s->deleted_fd, kept, 0);
}

/* Is the file at the new name what was there before, to the byte? */
static bool is_as_before(struct posix_call *p, struct rename_call *c, const struct stat *st)
{
	MB_AUTO_CLOSE int old = -1, now = -1;
	struct digest a, b;

	if ((uint64_t)st->st_size != c->target.copy.size || c->target.state != ENTRY_PRESENT)
		return false;
	old = at_open_regular(p->s->deleted_fd, c->kept, O_RDONLY);
	now = at_open_regular(c->to_dir, c->to_name, O_RDONLY);
	return old >= 0 && now >= 0 && digest_fd(old, &a, NULL) >= 0 &&
	       digest_fd(now, &b, NULL) >= 0 && digest_equal(&a, &b);
}

/* A program rewrote a message the careful way: the same edit that a scan of the tree would see. */
static int rewritten(struct posix_call *p, struct rename_call *c)
{
	struct stat st;

	if (fstatat(c->to_dir, c->to_name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!is_as_before(p, c, &st))
		return log_edit(p, &c->target, &st);
	unkeep(p->s, c->kept);
	free(MB_TAKE(c->kept));
	return posix_put_stat(p->tx, &c->target.copy.guid, c->target.copy.id, &st);
}

/* A file that is no message, nor the link of one, takes the name of a message that is there. */
static bool is_rewrite(struct posix_call *p, const struct rename_call *c)
{
	struct stat st;

	return c->kept && !c->is_message && !posix_link_by_path(p->s, c->from, c->ino) &&
	       fstatat(c->to_dir, c->to_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* The target's expunge comes last: a message never goes for one that did not take its place.  When
 * only its record does not get into the log, the rename has been done, and a scan finds the rest. */
static int rename_log(struct posix_call *p, struct rename_call *c)
{
	uint64_t appended;
	int err = 0;

	if (is_rewrite(p, c))
		return rewritten(p, c);
	if (c->tn.kind == NODE_MESSAGE)
		err = after_rename_to_message(p, c);
	else if (c->is_message)
		err = posix_log_expunge(p, &c->source, NULL, STAMP_NONE);
	if (err < 0 || !c->replaces)
		return err;
	appended = p->s->appended;
	err = posix_log_expunge(p, &c->target, NULL, STAMP_NONE);
	if (err < 0 && p->s->appended == appended) {
		p->s->rescan = true;
		err = 0;
	}
	return err;
}

static void rename_undo(struct posix_call *p, struct rename_call *c, bool renamed, bool in_log)
{
	if (in_log) {
		p->s->rescan = true;
		return;
	}
	if (renamed &&
	    io_renameat2(c->to_dir, c->to_name, c->from_dir, c->from_name, RENAME_NOREPLACE) < 0) {
		change_stays(p->s); /* what was kept tells what it replaced */
		return;
	}
	unkeep(p->s, c->kept_source);
	if (c->kept && renamed)
		file_undelete(p->s, c->kept, c->to);
	else
		unkeep(p->s, c->kept);
}

/* rename() of two names of one file does nothing, says POSIX. */
static bool same_file(const struct rename_call *c, const struct stat *from)
{
	struct stat to;

	return fstatat(c->to_dir, c->to_name, &to, AT_SYMLINK_NOFOLLOW) == 0 &&
	       from->st_ino == to.st_ino && from->st_dev == to.st_dev;
}

static int rename_held(struct posix_call *p, struct rename_call *c, unsigned flags,
		       const struct stat *st)
{
	uint64_t appended = p->s->appended;
	bool renamed = false;
	int err;

	if (same_file(c, st))
		return io_renameat2(c->from_dir, c->from_name, c->to_dir, c->to_name, flags);
	c->ino = st->st_ino;
	c->is_message = posix_entry_at(p->tx, &c->fn, c->from_name, &c->source) == 0;
	c->replaces = !(flags & RENAME_NOREPLACE) &&
		      posix_entry_at(p->tx, &c->tn, c->to_name, &c->target) == 0;
	if (c->is_message && c->replaces && copy_same_key(&c->source.copy, &c->target.copy))
		c->replaces = false; /* onto itself */
	err = rename_keep(p, c);
	if (err >= 0)
		err = io_renameat2(c->from_dir, c->from_name, c->to_dir, c->to_name, flags);
	renamed = err >= 0;
	if (err >= 0)
		err = rename_log(p, c);
	if (err < 0)
		rename_undo(p, c, renamed, p->s->appended > appended);
	if (err >= 0 && c->replaces)
		posix_part(p, &c->target, c->kept);
	if (err >= 0)
		posix_part(p, &c->source, c->kept_source);
	entry_release(&c->source);
	entry_release(&c->target);
	free(c->kept);
	free(c->kept_source);
	return err;
}

static bool same_parent(const char *a, const char *b)
{
	const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
	size_t len = x ? (size_t)(x - a) : 0;

	return len == (y ? (size_t)(y - b) : 0) && memcmp(a, b, len) == 0;
}

/* Flag changes stay in their directory: it is opened once. */
static int rename_file(struct posix_call *p, struct rename_call *c, unsigned flags,
		       const struct stat *st)
{
	MB_AUTO_CLOSE int to_dir = -1;

	if (same_parent(c->from, c->to)) {
		c->to_name = c->to + (c->from_name - c->from);
	} else {
		to_dir = at_open_parent(p->s->mail_fd, c->to, &c->to_name);
		if (to_dir < 0)
			return to_dir;
	}
	c->to_dir = to_dir < 0 ? c->from_dir : to_dir;
	return rename_held(p, c, flags, st);
}

static int rename_locked(struct posix_call *p, const char *from, const char *to, unsigned flags,
			 struct stat *seen)
{
	struct rename_call c = {.from = from, .to = to, .seen = seen};
	MB_AUTO_CLOSE int from_dir = -1;
	struct stat st;
	int err = tree_classify(p->tx, p->s, from, &c.fn, &c.from_name);

	if (err >= 0)
		err = tree_classify(p->tx, p->s, to, &c.tn, &c.to_name);
	if (err >= 0 && c.fn.kind != NODE_ROOT) {
		from_dir = c.from_dir = at_open_parent(p->s->mail_fd, from, &c.from_name);
		err = from_dir;
	}
	if (err >= 0 && from_dir >= 0 && fstatat(from_dir, c.from_name, &st, AT_SYMLINK_NOFOLLOW))
		err = -errno;
	if (err < 0)
		return err;
	if (c.fn.kind == NODE_ROOT || c.tn.kind == NODE_ROOT || c.fn.kind == NODE_CUR ||
	    c.fn.kind == NODE_NEW || c.fn.kind == NODE_TMP)
		return -EPERM;
	if (flags & RENAME_EXCHANGE) {
		if (c.fn.kind != NODE_LOCAL || c.tn.kind != NODE_LOCAL)
			return -EINVAL;
		return at_rename(p->s->mail_fd, from, to, flags);
	}
	if (S_ISDIR(st.st_mode))
		return posix_dir_rename(p, from, to, flags);
	return rename_file(p, &c, flags, &st);
}

static bool is_file(struct store *s, const char *path)
{
	struct stat st;

	return at_stat(s->mail_fd, path, &st) == 0 && !S_ISDIR(st.st_mode);
}

static int rename_local(struct store *s, const char *from, const char *to, unsigned flags,
			const struct origin *origin, struct stat *seen)
{
	struct posix_call p = {.s = s, .origin = origin};
	bool comes;
	int err;

	unsettled_forget(s, from);
	if (rename_later(s, from, to, flags, origin, seen, &err))
		return err;
	comes = posix_is_plain(s, from);
	/* Between names that no mailbox cares about: only the system call. */
	if (!comes || !posix_is_plain(s, to) || !is_file(s, from)) {
		err = change_begin_with(s, comes ? ROOM_ALL : ROOM_HALF, &p.tx);
		return err < 0 ? err
			       : change_end_call(s, p.tx, rename_locked(&p, from, to, flags, seen));
	}
	err = at_rename(s->mail_fd, from, to, flags);
	if (err >= 0)
		err = subscriptions_noticed(s, to, origin);
	if (err >= 0)
		err = keywords_noticed(s, to, origin);
	if (err >= 0)
		uidlist_noticed(s, to, origin);
	return err;
}

int store_rename(struct store *s, const char *from, const char *to, unsigned flags,
		 const struct origin *origin)
{
	struct stat seen;

	return store_rename_seen(s, from, to, flags, origin, &seen);
}

int store_rename_seen(struct store *s, const char *from, const char *to, unsigned flags,
		      const struct origin *origin, struct stat *ret_seen)
{
	struct stat seen = {0};
	int err;

	if (!at_deep_path_ok(from) || !at_deep_path_ok(to))
		return -EINVAL;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	store_lock(s);
	if (!expected_call(s, origin->pid, STEP_RENAME, from, to, &err))
		err = rename_local(s, from, to, flags, origin, &seen);
	else if (err >= 0)
		err = 1;
	store_unlock(s);
	*ret_seen = seen;
	return err < 0 ? -mb_err_errno(err) : err;
}
