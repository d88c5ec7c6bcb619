/*
 * store-backend-watch.c - waiting for news of a store.
 *
 * Whoever changes the store writes its log, so one inotify watch on STORE/log tells of everything
 * that has a writer.  When nobody else is the writer, a program that delivers straight into the tree
 * is noticed by watches on the cur and new of each mailbox, and on the directories that hold
 * mailboxes.  All paths go through the store's own descriptors, so a mount over the tree does not
 * matter.  Too many mailboxes for the system's limit: the rest is found by the caller's own pace.
 */
#include "backends/base/buf.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/store-backend.h"
#include "backends/store/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define LOG_MASK (IN_MODIFY | IN_CREATE | IN_MOVED_TO)
#define TREE_MASK                                                                                  \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR |       \
	 IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct store_watch_fd {
	int fd;	      /* inotify */
	int log;      /* watch descriptor of STORE/log */
	bool tree;    /* the tree is watched as well */
	bool limited; /* the system gives no more watches; said once */
};

static void watch_path(struct store_watch_fd *w, int root, const char *dir, const char *sub)
{
	MB_AUTO_FREE char *path =
		mb_xasprintf("/proc/self/fd/%d/%s%s%s", root, dir, *dir && *sub ? "/" : "", sub);

	if (inotify_add_watch(w->fd, path, TREE_MASK) >= 0 || errno != ENOSPC || w->limited)
		return;
	w->limited = true;
	mb_msg(MB_NOTICE, "no more inotify watches: some mailboxes are looked at less often "
			  "(sysctl fs.inotify.max_user_watches)");
}

static void watch_tree(struct store_backend *b)
{
	struct index_txn *tx;
	struct tree t = {0};
	int root = store_mail_fd(b->store);

	if (index_begin(store_index(b->store), false, &tx))
		return;
	watch_path(b->watch, root, "", "");
	if (!index_tree(tx, &t)) {
		for (size_t i = 0; i < t.n; i++) {
			struct mailbox_local l = {0};

			if (index_get_mailbox(tx, &t.nodes[i].guid, NULL, &l) == 0 && l.dir) {
				watch_path(b->watch, root, l.dir, "");
				watch_path(b->watch, root, l.dir, "cur");
				watch_path(b->watch, root, l.dir, "new");
			}
			mailbox_local_release(&l);
		}
	}
	tree_release(&t);
	index_abort(tx);
}

/* Adding a watch that is there already changes nothing. */
void store_backend_watch_update(struct store_backend *b)
{
	if (!b->watch || b->client)
		return;
	watch_tree(b);
	b->watch->tree = true;
}

int sb_watch_fd(struct backend *backend)
{
	struct store_backend *b = store_backend_of(backend);
	MB_AUTO_FREE char *path = mb_xasprintf("%s/log", b->dir);
	struct store_watch_fd *w;

	if (b->watch)
		return b->watch->fd;
	w = mb_xcalloc(1, sizeof(*w));
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->log = w->fd < 0 ? -1 : inotify_add_watch(w->fd, path, LOG_MASK | IN_ONLYDIR);
	if (w->log < 0) {
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return -1;
	}
	b->watch = w;
	store_backend_watch_update(b);
	return w->fd;
}

/* true when an event is not of the log: something in the tree. */
static bool drain(struct store_watch_fd *w, bool *ret_any)
{
	char data[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool tree = false;
	ssize_t n;

	while ((n = read(w->fd, data, sizeof(data))) > 0) {
		for (const char *p = data; p < data + n;) {
			const struct inotify_event *e = (const void *)p;

			*ret_any = true;
			tree = tree || e->wd != w->log;
			p += sizeof(*e) + e->len;
		}
	}
	return tree;
}

/* 1: there may be news.  0: it was only what this backend itself did. */
int sb_woken(struct backend *backend)
{
	struct store_backend *b = store_backend_of(backend);
	struct position end;
	bool any = false;

	if (!b->watch)
		return 0;
	if (drain(b->watch, &any))
		return 1;
	if (!any || log_end(store_log(b->store), &end))
		return any;
	return !position_equal(&end, &b->known);
}

void store_backend_watch_release(struct store_backend *b)
{
	if (!b->watch)
		return;
	close(b->watch->fd);
	free(b->watch);
	b->watch = NULL;
}
