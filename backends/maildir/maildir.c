/*
 * maildir.c - a foreign plain Maildir as a peer: the verbs of the seam.
 *
 * It has no log, no stamps, no UIDs and no GUIDs of its own: all that lies in the map which the local
 * store keeps for it (maildir.h).  Nothing but mail and the file of subscriptions is written into the tree.
 */
#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/io.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/maildir/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCH_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR |       \
	 IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct stamp md_now(struct maildir *m)
{
	struct stamp seen = STAMP_NONE, now = STAMP_NONE;

	m->local->ops->now(m->local, &seen, &now);
	return now;
}

static void verb_close(struct backend *b)
{
	struct maildir *m = maildir_of(b);

	for (size_t i = 0; i < m->n_ops; i++) {
		free(m->ops[i].name);
		free(m->ops[i].tmp);
	}
	md_unload(m);
	md_let_go(m);
	if (m->root >= 0)
		close(m->root);
	if (m->inotify >= 0)
		close(m->inotify);
	free(m->ops);
	free(m->fresh);
	free(m->gone);
	free(m->lines);
	free(m->dead_lines);
	free(m->path);
	free(m->destination);
	free(m);
}

static int verb_info(struct backend *b, struct backend_info *ret)
{
	struct maildir *m = maildir_of(b);

	*ret = (struct backend_info){
		.replica = m->replica,
		.caps = CAP_SUBSCRIBE | (at_folds_case(m->root, "cur") ? CAP_FOLDS : 0),
		.destination = m->destination,
		.unread = m->unread,
	};
	return 0;
}

static int verb_hold(struct backend *b, bool on)
{
	if (on)
		return md_hold(maildir_of(b));
	md_let_go(maildir_of(b));
	return 0;
}

static int verb_refresh(struct backend *b, bool full)
{
	struct maildir *m = maildir_of(b);
	int err = md_scan(m, full);

	if (err < 0)
		return err;
	return (int)(m->held > INT_MAX ? INT_MAX : m->held);
}

static int verb_position(struct backend *b, struct position *ret)
{
	(void)b;
	*ret = (struct position){0};
	return 0;
}

static int verb_by_uid(struct backend *b, const struct guid *mailbox, uint32_t uid,
		       struct guid *ret)
{
	(void)b, (void)mailbox, (void)uid, (void)ret;
	return -ENOENT;
}

static int verb_digest(struct backend *b, const struct guid *guid, uint64_t id, struct digest *ret)
{
	struct md_file *f = md_find(maildir_of(b), guid, id);

	return f && !f->missing ? md_digest_file(maildir_of(b), f, ret) : -ENOENT;
}

static int verb_by_digest(struct backend *b, const struct digest *d,
			  int (*fn)(const struct guid *g, uint64_t id, void *arg), void *arg)
{
	struct md_message *msg, *next;

	if (!digest_known(d))
		return 0;
	HASH_ITER (hh, maildir_of(b)->messages, msg, next) {
		for (struct md_file *f = msg->files, *after; f; f = after) {
			int err = 0;

			after = f->next;
			if (!f->missing && !f->queued && digest_equal(&f->digest, d))
				err = fn(&f->guid, f->id, arg);
			if (err)
				return err;
		}
	}
	return 0;
}

static int verb_body(struct backend *b, const struct guid *guid, uint64_t id)
{
	struct maildir *m = maildir_of(b);
	struct md_file *f = md_find(m, guid, id);
	int err = f && f->queued ? md_flush(m) : 0;

	if (err)
		return err;
	f = md_find(m, guid, id);
	return f && !f->missing ? md_open_file(m, f) : -ENOENT;
}

static int verb_begin(struct backend *b, uint64_t from, bool many)
{
	struct maildir *m = maildir_of(b);

	(void)from;
	m->many = many;
	return 0;
}

static int verb_put(struct backend *b, const struct record *want, int body)
{
	struct maildir *m = maildir_of(b);

	if (want->type == REC_PEER)
		return md_confirm_all(m);
	if (want->type == REC_ALIAS)
		return md_put_alias(m, want);
	if (want->type >= REC_PEER)
		return 0;
	return want->type < REC_ARRIVE ? md_put_mailbox(m, want) : md_put_copy(m, want, body);
}

static int verb_commit(struct backend *b)
{
	return md_commit(maildir_of(b));
}

static int verb_now(struct backend *b, const struct stamp *seen, struct stamp *ret)
{
	struct backend *local = maildir_of(b)->local;

	return local->ops->now(local, seen, ret);
}

static int verb_peer(struct backend *b, uint64_t replica, const char *destination,
		     struct peer_state *ret)
{
	(void)b, (void)replica, (void)destination, (void)ret;
	return -ENOENT;
}

static int verb_each_peer(struct backend *b, int (*fn)(struct peer_state *p, void *arg), void *arg)
{
	(void)b, (void)fn, (void)arg;
	return 0;
}

static int verb_each_entry(struct backend *b, uint64_t peer,
			   int (*fn)(struct peer_entry *e, void *arg), void *arg)
{
	(void)b, (void)peer, (void)fn, (void)arg;
	return 0;
}

/* ---- Waiting ---------------------------------------------------------------------------------- */

static void watch_path(struct maildir *m, const char *dir, const char *sub)
{
	MB_AUTO_FREE char *path =
		mb_xasprintf("/proc/self/fd/%d/%s%s%s", m->root, dir, *dir && *sub ? "/" : "", sub);

	inotify_add_watch(m->inotify, path, WATCH_MASK);
}

static void watch_all(struct maildir *m)
{
	struct md_box *box, *next;

	watch_path(m, "", "");
	HASH_ITER (hh, m->boxes, box, next) {
		if (!box->dir || box->structural || box->gone)
			continue;
		watch_path(m, box->dir, "cur");
		watch_path(m, box->dir, "new");
		if (m->layout == LAYOUT_FS)
			watch_path(m, box->dir, "");
	}
}

static int verb_watch_fd(struct backend *b)
{
	struct maildir *m = maildir_of(b);

	if (m->inotify < 0)
		m->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->inotify >= 0 && m->root >= 0)
		watch_all(m);
	return m->inotify;
}

static int verb_woken(struct backend *b)
{
	struct maildir *m = maildir_of(b);
	char data[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;

	while (m->inotify >= 0 && read(m->inotify, data, sizeof(data)) > 0)
		any = true;
	if (any)
		watch_all(m); /* there may be new folders */
	return any;
}

static void verb_allow_mass_expunge(struct backend *b, bool allow)
{
	maildir_of(b)->allow = allow;
}

static const struct backend_ops MAILDIR_OPS = {
	.name = "maildir",
	.close = verb_close,
	.info = verb_info,
	.refresh = verb_refresh,
	.position = verb_position,
	.changes = md_changes,
	.tree = md_tree,
	.message = md_message_verb,
	.each_message = md_each_message,
	.by_uid = verb_by_uid,
	.digest = verb_digest,
	.by_digest = verb_by_digest,
	.body = verb_body,
	.begin = verb_begin,
	.put = verb_put,
	.commit = verb_commit,
	.now = verb_now,
	.peer = verb_peer,
	.each_peer = verb_each_peer,
	.each_entry = verb_each_entry,
	.hold = verb_hold,
	.watch_fd = verb_watch_fd,
	.woken = verb_woken,
	.allow_mass_expunge = verb_allow_mass_expunge,
};

struct identity {
	const char *destination;
	uint64_t replica;
};

static int match_peer(struct peer_state *p, void *arg)
{
	struct identity *id = arg;

	if (p->destination && strcmp(p->destination, id->destination) == 0 &&
	    guid_is_zero(&p->store))
		id->replica = p->replica;
	return 0;
}

/* After a kill the log may hold what no index has yet, our id and entries of the map among it; whoever
 * becomes the writer of the local store reads that first. */
static int catch_up(struct maildir *m)
{
	int err = m->local->ops->begin(m->local, m->local_replica, false);
	int err2 = err < 0 ? 0 : m->local->ops->commit(m->local);

	return err < 0 ? err : err2 < 0 ? err2 : 0;
}

/* Our id for this Maildir: from the local sync state, or a new one.  Two ids would be two maps, and
 * all mail of one would be new to the other. */
static int find_identity(struct maildir *m)
{
	struct identity id = {.destination = m->destination};
	struct backend_info info;
	int err = m->local->ops->info(m->local, &info);

	if (err < 0)
		return err;
	m->local_replica = info.replica;
	err = io_is_read_only() ? 0 : catch_up(m); /* refresh() of a dry run wants it done before */
	if (err >= 0)
		err = m->local->ops->each_peer(m->local, match_peer, &id);
	if (err < 0)
		return err;
	m->registered = id.replica != 0;
	while (!id.replica)
		id.replica = random_u64();
	m->replica = id.replica;
	return 0;
}

/* Is `path`, taken from directory fd `at`, the same directory as the root? */
static bool is_root(const struct maildir *m, int at, const char *path)
{
	struct stat root, other;

	return fstat(m->root, &root) == 0 && fstatat(at, path, &other, 0) == 0 &&
	       root.st_dev == other.st_dev && root.st_ino == other.st_ino;
}

/* The mail of a store lies in its "mail", beside "config" and "log". */
static bool is_in_store(const struct maildir *m)
{
	struct stat st;

	return is_root(m, m->root, "../mail") &&
	       fstatat(m->root, "../config", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && fstatat(m->root, "../log", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

/* Mounted or linked to another place it has other neighbours, but is the same directory. */
static bool is_local_store(struct maildir *m)
{
	struct backend_info info;
	MB_AUTO_FREE char *mail = NULL;

	if (m->local->ops->info(m->local, &info) < 0 || !info.destination ||
	    strncmp(info.destination, "store:", 6) != 0)
		return false;
	mail = mb_xasprintf("%s/mail", info.destination + 6);
	return is_root(m, AT_FDCWD, mail);
}

static int refuse_store(struct maildir *m)
{
	if (!is_in_store(m) && !is_local_store(m))
		return 0;
	mb_msg(MB_ERROR,
	       "the Maildir is the mail of a store: sync with the store itself, as "
	       "store:DIR; path=%s",
	       m->path);
	return MB_E_SAME;
}

int backend_open_maildir(const char *path, int layout, struct backend *local, struct backend **ret)
{
	struct maildir *m = mb_xcalloc(1, sizeof(*m));
	bool empty = false;
	int err;

	m->base.ops = &MAILDIR_OPS;
	m->path = mb_xstrdup(path);
	m->layout = (enum layout)layout;
	m->destination =
		mb_xasprintf("maildir:%s%s", path, layout == LAYOUT_FS ? ":LAYOUT=fs" : "");
	m->local = local;
	m->root = m->inotify = m->held_fd = -1;
	m->token = random_u64();
	err = md_open_root(m, &empty);
	if (!err)
		err = refuse_store(m);
	if (!err)
		err = find_identity(m);
	if (err) {
		verb_close(&m->base);
		return err;
	}
	*ret = &m->base;
	return 0;
}
