/*
 * posix.c - link and unlink of local programs: changes the files, logs the meaning.
 *
 * What a call means follows from what its two names are (tree.c).  A message file that is not in the
 * index yet (written straight into cur or new, not settled) is treated like a file in tmp/.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/store/dovecot.h"
#include "backends/store/posix-private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* ---- the plain system calls ---- */

/* ---- moves made by link and unlink ---- */

/* The newest are first. */
void posix_links_expire(struct store *s)
{
	int64_t now = clock_mono_ns();
	size_t n = 0;

	for (struct recent_link **l = &s->links; *l;) {
		struct recent_link *dead = *l;

		if (now - dead->at_ns < MOVE_WINDOW_NS && n < LINKS_MAX) {
			l = &dead->next;
			n++;
			continue;
		}
		*l = dead->next;
		free(dead->path);
		free(dead);
	}
}

static struct recent_link *link_note(struct posix_call *p, const struct guid *guid,
				     uint64_t from_id)
{
	struct recent_link *l = mb_xcalloc(1, sizeof(*l));

	posix_links_expire(p->s);
	l->at_ns = clock_mono_ns();
	l->pid = p->origin->pid;
	l->guid = *guid;
	l->from_id = from_id;
	l->next = p->s->links;
	p->s->links = l;
	return l;
}

static void link_note_tmp(struct posix_call *p, const struct entry *source, const char *path)
{
	struct recent_link *l = link_note(p, &source->copy.guid, source->copy.id);
	struct stat st;

	l->path = mb_xstrdup(path);
	l->ino = at_stat(p->s->mail_fd, path, &st) == 0 ? st.st_ino : 0;
}

struct recent_link *posix_link_by_path(struct store *s, const char *path, uint64_t ino)
{
	for (struct recent_link *l = s->links; l; l = l->next)
		if (l->path && l->ino == ino && strcmp(l->path, path) == 0)
			return l;
	return NULL;
}

void posix_link_made(struct posix_call *p, struct recent_link *l, uint64_t id)
{
	struct entry e = {0};

	free(MB_TAKE(l->path));
	l->to_id = id;
	if (index_get_entry(p->tx, &l->guid, id, &e) == 0)
		l->modseq = e.modseq;
	entry_release(&e);
}

/* The copy that this program made of e a moment ago.  Which of several names of a file was linked the
 * kernel does not say: any copy but the one that was made may be meant. */
static struct recent_link *link_from(struct posix_call *p, const struct entry *e)
{
	struct recent_link *found = NULL;

	posix_links_expire(p->s);
	for (struct recent_link *l = p->s->links; l; l = l->next) {
		if (l->path || !l->to_id || l->pid != p->origin->pid || l->to_id == e->copy.id ||
		    !guid_equal(&l->guid, &e->copy.guid))
			continue;
		if (l->from_id == e->copy.id)
			return l;
		found = found ? found : l;
	}
	return found;
}

struct seen {
	struct store *s;
	uint64_t modseq;
};

static bool has_passed(const struct seen *seen, const struct position *p)
{
	return log_check(seen->s->log, p) == 0 && log_modseq(seen->s->log, p) >= seen->modseq;
}

static int has_seen(struct peer_state *peer, void *arg)
{
	const struct seen *seen = arg;
	bool any = has_passed(seen, &peer->local);

	for (size_t i = 0; i < peer->n_scopes; i++)
		any |= has_passed(seen, &peer->scopes[i].local);
	return any;
}

/* May a peer have the copy already?  What was changed there must not go with the copy.  Positions of
 * peers come late in a busy sync; what it did to the copy tells as well. */
static bool is_told(struct posix_call *p, const struct recent_link *l, const struct entry *to)
{
	struct seen seen = {p->s, l->modseq};

	return to->modseq != l->modseq || index_each_peer(p->tx, has_seen, &seen) != 0;
}

/* The copy that a link made, when its file is still there.  Gives its path. */
static int link_target(struct posix_call *p, const struct recent_link *l, struct entry *ret,
		       char **ret_path, struct stat *st)
{
	MB_AUTO_FREE char *path = NULL;
	int err = index_get_entry(p->tx, &l->guid, l->to_id, ret);

	if (err < 0)
		return err;
	path = entry_path(p->tx, ret);
	if (!path || !copy_alive(&ret->copy) || at_stat(p->s->mail_fd, path, st) < 0) {
		entry_release(ret);
		return -ENOENT;
	}
	*ret_path = MB_TAKE(path);
	return 0;
}

/*
 * The name that was linked is unlinked by the same program: the copy becomes the message itself in
 * its new place, with its UID.  Two records: the copy is gone, the message is moved; a stop between
 * them leaves a file that the next scan finds by its inode.
 */
static int log_link_move(struct posix_call *p, struct entry *from, struct entry *to,
			 const struct stat *st)
{
	struct record r = {.type = REC_MOVE, .origin = *p->origin};
	struct fname old, new;
	int err = posix_log_expunge(p, to, NULL, STAMP_NONE);

	if (err < 0)
		return err;
	r.at = hlc_now(&p->s->clock);
	fname_parse(from->file, &old);
	fname_parse(to->file, &new);
	flags_from_move(p->s, p->tx, from, &to->copy.place.mailbox, &old, &new, r.at);
	copy_clone(&r.copy, &from->copy);
	free(r.copy.place.base);
	r.copy.place = to->copy.place;
	r.copy.place.base = mb_xstrdup(to->copy.place.base);
	r.copy.place.at = r.at;
	r.old_name = posix_sub_name(from->in_new, from->file);
	r.new_name = posix_sub_name(to->in_new, to->file);
	err = change_record(p->s, p->tx, &r);
	if (err >= 0)
		err = posix_put_stat(p->tx, &r.copy.guid, r.copy.id, st);
	record_release(&r);
	return err;
}

/* ---- unlink ---- */

/* Is `path` still a name of this file?  What was edited since is not thrown away with its old body. */
static bool is_name_of(struct posix_call *p, const char *path, const struct stat *file)
{
	struct stat st;

	return at_stat(p->s->mail_fd, path, &st) == 0 && st.st_ino == file->st_ino &&
	       st.st_dev == file->st_dev;
}

/* -ENOENT: no link was made a moment ago, what it made is gone, another file now, or at a peer. */
static int unlink_linked(struct posix_call *p, const char *path, struct entry *e)
{
	struct recent_link *l = link_from(p, e);
	uint64_t appended = p->s->appended;
	MB_AUTO_FREE char *to_path = NULL;
	struct entry to = {0};
	struct stat st;
	int err = l ? link_target(p, l, &to, &to_path, &st) : -ENOENT;

	if (err < 0)
		return err;
	err = is_name_of(p, path, &st) && !is_told(p, l, &to) ? at_unlink(p->s->mail_fd, path, 0)
							      : -ENOENT;
	if (err >= 0) {
		l->at_ns = 0; /* used */
		err = log_link_move(p, e, &to, &st);
		/* with the first of the two records it is done: a scan finds the move */
		if (err < 0 && p->s->appended == appended &&
		    at_link(p->s->mail_fd, to_path, path) < 0)
			change_stays(p->s);
	}
	entry_release(&to);
	return err;
}

static int unlink_message(struct posix_call *p, const char *path, struct entry *e)
{
	uint64_t appended = p->s->appended;
	MB_AUTO_FREE char *kept = NULL;
	int err = unlink_linked(p, path, e);

	if (err != -ENOENT)
		return err;
	err = file_to_deleted(p->s, path, e, false, &kept);
	if (err < 0)
		return err;
	err = posix_log_expunge(p, e, NULL, STAMP_NONE);
	if (err < 0)
		posix_undelete(p, appended, kept, path);
	else
		posix_part(p, e, kept);
	return err;
}

static int unlink_locked(struct posix_call *p, const char *path)
{
	struct node_info n;
	const char *name;
	struct entry e = {0};
	int err = tree_classify(p->tx, p->s, path, &n, &name);

	if (err < 0)
		return err;
	if (posix_entry_at(p->tx, &n, name, &e) == 0) {
		err = unlink_message(p, path, &e);
		entry_release(&e);
		return err;
	}
	return at_unlink(p->s->mail_fd, path, 0);
}

bool posix_is_plain(struct store *s, const char *path)
{
	struct node_info n;
	int err = store_classify(s, path, &n);

	return err == 0 && (n.kind == NODE_TMPFILE || n.kind == NODE_LOCAL);
}

static int unlink_local(struct store *s, const char *path, const struct origin *origin)
{
	struct posix_call p = {.s = s, .origin = origin};
	int err;

	unsettled_forget(s, path);
	if (unlink_later(s, path, origin, &err))
		return err;
	if (posix_is_plain(s, path))
		return at_unlink(s->mail_fd, path, 0);
	err = change_begin(s, &p.tx);
	return err < 0 ? err : change_end_call(s, p.tx, unlink_locked(&p, path));
}

int store_unlink(struct store *s, const char *path, const struct origin *origin)
{
	int err;

	if (!at_deep_path_ok(path))
		return -EINVAL;
	store_lock(s);
	if (!expected_call(s, origin->pid, STEP_UNLINK, path, NULL, &err))
		err = unlink_local(s, path, origin);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : err;
}

/* ---- link ---- */

/* A new name in cur or new: a copy when the file is a message's, or a message's link in tmp/. */
static int publish_link(struct posix_call *p, const char *from, const char *to,
			const struct entry *source, const struct node_info *n, const char *name)
{
	struct stat st;
	struct recent_link *l = !source && p->s->links && at_stat(p->s->mail_fd, from, &st) == 0
					? posix_link_by_path(p->s, from, st.st_ino)
					: NULL;
	struct guid guid = source ? source->copy.guid : l ? l->guid : GUID_ZERO;
	uint64_t id = random_u64() | 1, from_id = source ? source->copy.id : l ? l->from_id : 0;
	int err;

	if (!source && !l)
		return publish(p, to, n, name, NULL, 0, NULL);
	err = publish(p, to, n, name, &guid, id, NULL);
	if (err >= 0)
		posix_link_made(p, link_note(p, &guid, from_id), id);
	return err;
}

static int link_locked(struct posix_call *p, const char *from, const char *to)
{
	uint64_t appended = p->s->appended;
	struct node_info fn, tn;
	const char *from_name, *to_name;
	struct entry source = {0};
	bool is_message;
	int err = tree_classify(p->tx, p->s, from, &fn, &from_name);

	if (err >= 0)
		err = tree_classify(p->tx, p->s, to, &tn, &to_name);
	if (err < 0)
		return err;
	is_message = posix_entry_at(p->tx, &fn, from_name, &source) == 0;
	err = at_link(p->s->mail_fd, from, to);
	if (err >= 0 && tn.kind == NODE_MESSAGE) {
		err = publish_link(p, from, to, is_message ? &source : NULL, &tn, to_name);
		if (err < 0 && p->s->appended == appended && at_unlink(p->s->mail_fd, to, 0) < 0)
			change_stays(p->s);
	} else if (err >= 0 && is_message && tn.kind == NODE_TMPFILE) {
		link_note_tmp(p, &source, to);
	}
	entry_release(&source);
	return err;
}

static int link_local(struct store *s, const char *from, const char *to,
		      const struct origin *origin)
{
	struct posix_call p = {.s = s, .origin = origin};
	int err;

	unsettled_forget(s, from);
	if (posix_is_plain(s, from) && posix_is_plain(s, to))
		return at_link(s->mail_fd, from, to);
	err = change_begin_with(s, ROOM_ALL, &p.tx);
	return err < 0 ? err : change_end_call(s, p.tx, link_locked(&p, from, to));
}

int store_link(struct store *s, const char *from, const char *to, const struct origin *origin)
{
	int err;

	if (!at_deep_path_ok(from) || !at_deep_path_ok(to))
		return -EINVAL;
	store_lock(s);
	if (!expected_call(s, origin->pid, STEP_NONE, from, to, &err))
		err = link_local(s, from, to, origin);
	store_unlock(s);
	return err < 0 ? -mb_err_errno(err) : err;
}
