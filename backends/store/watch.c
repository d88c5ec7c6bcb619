/*
 * watch.c - changes made in the mail tree behind the writer's back, within milliseconds.
 *
 * A thread with inotify on every cur and new, and on the directories that hold them.  All paths go
 * through the store's own descriptor of the tree, so a mount over it does not matter.
 *
 * Most events are of our own changes: those must cost little.  So the first event wakes the thread,
 * and those that follow wait for the next of its looks, LOOK_MS apart.  An event is strange only when
 * the tree and the index disagree about its name, and still do when it is SETTLE_MS old (files are
 * changed before the index is).  Then the store is scanned, which reads the directories whose times
 * moved.
 *
 * While every directory is watched the store need not stat them (store_set_watched).  When the
 * kernel drops events, all is scanned; when it gives no more watches, the tree is looked at every few
 * seconds instead.
 *
 * What only a scan of all finds (a change that failed half-way, a put that found no file) wakes the
 * thread as well.  A scan that was not the last word is followed by another one after a while.
 */
#include "backends/base/at.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/hash.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "backends/mail/fname.h"
#include "backends/store/dovecot.h"
#include "backends/store/server.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#define HASH_FUNCTION(key, len, ret) ((ret) = (unsigned)checksum64((key), (len), 0))
#include <uthash.h>

#define LOOK_MS 10
#define SETTLE_MS 20
#define AGAIN_MS 200 /* and twice as much each time, up to: */
#define AGAIN_MAX_MS 30000
#define POLL_MS 5000
#define MS 1000000ll
#define STRANGE_MAX 4096
#define WATCH_DEPTH 64
#define WATCH_EVENTS                                                                               \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR |       \
	 IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct watched {
	int wd;
	char *dir;	 /* owned: of the mailbox, or one that may hold mailboxes */
	const char *sub; /* "cur", "new", or "" for the directory itself */
	UT_hash_handle hh;
};

/* A name that the tree and the index may disagree about. */
struct doubt {
	char *dir, *name; /* owned */
	const char *sub;
	int64_t since_ns;
};

struct store_watch {
	struct store *store; /* borrowed */
	int fd, stop, wake;  /* inotify, eventfds */
	pthread_t thread;
	atomic_bool busy; /* events were read, and may be strange */
	/* the thread's */
	struct watched *dirs;
	struct doubt *doubts; /* owned */
	size_t n_doubts, cap_doubts;
	int64_t scanned_ns; /* when the last scan ended */
	int again_ms;	    /* it was not the last word: the next one comes then; or 0 */
	bool all;	    /* scan whatever the doubts say */
	bool limited;	    /* not everything is watched */
};

/* ---- Watches ---------------------------------------------------------------------------------- */

static void forget_watch(struct store_watch *w, int wd)
{
	struct watched *d;

	HASH_FIND_INT(w->dirs, &wd, d);
	if (!d)
		return;
	HASH_DEL(w->dirs, d);
	free(d->dir);
	free(d);
}

static void no_more_watches(struct store_watch *w)
{
	if (!w->limited)
		mb_msg(MB_NOTICE,
		       "no more inotify watches: the mail tree is looked at every %d seconds "
		       "(sysctl fs.inotify.max_user_watches)",
		       POLL_MS / 1000);
	w->limited = true;
	store_set_watched(w->store, false);
}

/* true when it is watched now.  A directory that was moved keeps its number and gets the new path. */
static bool watch_one(struct store_watch *w, const char *dir, const char *sub)
{
	MB_AUTO_FREE char *path = mb_xasprintf("/proc/self/fd/%d/%s%s%s", store_mail_fd(w->store),
					       dir, *dir && *sub ? "/" : "", sub);
	int wd = inotify_add_watch(w->fd, path, WATCH_EVENTS);
	struct watched *d;

	if (wd < 0) {
		if (errno == ENOSPC || errno == ENOMEM)
			no_more_watches(w);
		return false;
	}
	forget_watch(w, wd);
	d = mb_xcalloc(1, sizeof(*d));
	d->wd = wd;
	d->dir = mb_xstrdup(dir);
	d->sub = sub;
	HASH_ADD_INT(w->dirs, wd, d);
	return true;
}

struct walk {
	struct store_watch *w;
	const char *dir;
	int depth;
};

static void watch_dir(struct store_watch *w, const char *dir, int depth);
static void add_doubt(struct store_watch *w, const char *dir, const char *sub, const char *name);

static bool is_sub(const char *name)
{
	return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

/* Maildir++ folders lie in the root; in LAYOUT=fs anywhere, and never with a dot in front. */
static bool may_hold_mail(const struct store_watch *w, const char *dir, const char *name)
{
	if (is_sub(name))
		return false;
	if (store_layout(w->store) == LAYOUT_MAILDIRPP)
		return !*dir && name[0] == '.' && name[1];
	return name[0] != '.';
}

static int watch_entry(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	const struct walk *c = arg;
	MB_AUTO_FREE char *path = NULL;

	(void)ino;
	if ((type != DT_DIR && type != DT_UNKNOWN) || !may_hold_mail(c->w, c->dir, name))
		return 0;
	path = mb_xasprintf("%s%s%s", c->dir, *c->dir ? "/" : "", name);
	watch_dir(c->w, path, c->depth + 1);
	return 0;
}

/* The watch comes before the look, so that what comes meanwhile is seen twice rather than never. */
static void watch_dir(struct store_watch *w, const char *dir, int depth)
{
	struct walk c = {.w = w, .dir = dir, .depth = depth};
	MB_AUTO_CLOSE int fd = -1;

	if (depth > WATCH_DEPTH || !watch_one(w, dir, ""))
		return;
	watch_one(w, dir, "cur");
	watch_one(w, dir, "new");
	add_doubt(w, dir, "", "cur"); /* it may be a mailbox already */
	if (*dir && store_layout(w->store) == LAYOUT_MAILDIRPP)
		return;
	fd = at_open(store_mail_fd(w->store), dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		at_list(fd, watch_entry, &c);
}

/* ---- Doubts ----------------------------------------------------------------------------------- */

static void doubt_release(struct doubt *d)
{
	free(d->dir);
	free(d->name);
}

static void add_doubt(struct store_watch *w, const char *dir, const char *sub, const char *name)
{
	if (w->n_doubts >= STRANGE_MAX) {
		w->all = true;
		return;
	}
	MB_GROW(w->doubts, w->cap_doubts, w->n_doubts + 1);
	w->doubts[w->n_doubts++] = (struct doubt){
		.dir = mb_xstrdup(dir),
		.name = mb_xstrdup(name),
		.sub = sub,
		.since_ns = clock_mono_ns(),
	};
}

struct wanted_name {
	const char *name;
	bool in_new, found;
};

static int same_file(struct entry *e, void *arg)
{
	struct wanted_name *n = arg;

	n->found = e->state == ENTRY_PRESENT && e->in_new == n->in_new && e->file &&
		   strcmp(e->file, n->name) == 0;
	return n->found;
}

static bool exists(struct store_watch *w, const char *dir, const char *sub, const char *name,
		   mode_t kind)
{
	MB_AUTO_FREE char *path = mb_xasprintf("%s%s%s%s%s", dir, *dir ? "/" : "", sub,
					       *sub && *name ? "/" : "", name);
	struct stat st;

	return at_stat(store_mail_fd(w->store), path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* One look at the doubts: most of them are about names in the same two directories. */
#define LOOK_DIRS 2
struct look_dir {
	char *path; /* owned; NULL: none yet */
	int fd;
};
struct look {
	struct index_txn *tx;
	struct look_dir dirs[LOOK_DIRS]; /* that of the last one is first */
};

static void look_dir_release(struct look_dir *d)
{
	free(MB_TAKE(d->path));
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* The descriptor of the directory, or -1. */
static int look_at_dir(struct store_watch *w, struct look *l, const char *dir, const char *sub)
{
	char path[PATH_MAX];
	struct look_dir last = l->dirs[0];
	int len = snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", sub);

	if (len < 0 || (size_t)len >= sizeof(path))
		return -1;
	if (last.path && strcmp(last.path, path) == 0)
		return last.fd;
	l->dirs[0] = l->dirs[1];
	l->dirs[1] = last;
	if (l->dirs[0].path && strcmp(l->dirs[0].path, path) == 0)
		return l->dirs[0].fd;
	look_dir_release(&l->dirs[0]);
	l->dirs[0].path = mb_xstrdup(path);
	l->dirs[0].fd = at_open(store_mail_fd(w->store), path, O_PATH | O_DIRECTORY, 0);
	return l->dirs[0].fd;
}

static bool file_exists(struct store_watch *w, struct look *l, const struct doubt *d)
{
	int dir = look_at_dir(w, l, d->dir, d->sub);
	struct stat st;

	return dir >= 0 && fstatat(dir, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode);
}

/* A message file: is it there exactly when the index says so? */
static bool file_agrees(struct store_watch *w, struct look *l, const struct doubt *d)
{
	struct wanted_name n = {.name = d->name, .in_new = d->sub[0] == 'n'};
	struct guid mb;

	if (!fname_is_message(d->name))
		return true;
	if (index_mailbox_by_dir(l->tx, d->dir, &mb) == 0)
		index_by_name(l->tx, &mb, d->name, same_file, &n);
	return file_exists(w, l, d) == n.found;
}

/* A directory: is it a mailbox exactly when the index says so? */
static bool dir_agrees(struct store_watch *w, struct index_txn *tx, const char *dir)
{
	struct guid mb;

	return exists(w, dir, "cur", "", S_IFDIR) == (index_mailbox_by_dir(tx, dir, &mb) == 0);
}

/* A dovecot-uidlist: is it the one that the index knows, or none? */
static bool list_agrees(struct store_watch *w, struct index_txn *tx, const char *dir)
{
	MB_AUTO_FREE char *path = path_join(dir, NULL, UIDLIST_NAME);
	struct file_mark mark;
	struct guid mb;

	return file_mark_of(w->store, path, &mark) < 0 || index_mailbox_by_dir(tx, dir, &mb) < 0 ||
	       !uidlist_changed(tx, &mb, &mark);
}

static bool agrees(struct store_watch *w, struct look *l, const struct doubt *d)
{
	MB_AUTO_FREE char *path = NULL;

	if (*d->sub)
		return file_agrees(w, l, d);
	if (is_sub(d->name))
		return dir_agrees(w, l->tx, d->dir);
	if (may_hold_mail(w, d->dir, d->name)) {
		path = mb_xasprintf("%s%s%s", d->dir, *d->dir ? "/" : "", d->name);
		return dir_agrees(w, l->tx, path);
	}
	/* Files whose meaning is logged when they are replaced. */
	if (strcmp(d->name, UIDLIST_NAME) == 0)
		return list_agrees(w, l->tx, d->dir);
	return strcmp(d->name, SUBSCRIPTIONS_NAME) != 0 && strcmp(d->name, KEYWORDS_NAME) != 0;
}

/* Drops the doubts about what agrees by now; the youngest wait for the next look.  true: one is
 * old enough to be strange. */
static bool sort_out(struct store_watch *w)
{
	struct look l = {.dirs = {{.fd = -1}, {.fd = -1}}};
	int64_t now = clock_mono_ns();
	bool strange = false;
	size_t kept = 0;

	if (!w->n_doubts || now - w->doubts[0].since_ns < LOOK_MS * MS ||
	    index_begin(store_index(w->store), false, &l.tx))
		return false;
	for (size_t i = 0; i < w->n_doubts; i++) {
		struct doubt *d = &w->doubts[i];
		int64_t age = now - d->since_ns;

		if (age >= LOOK_MS * MS && agrees(w, &l, d)) {
			doubt_release(d);
			continue;
		}
		strange |= age >= SETTLE_MS * MS;
		w->doubts[kept++] = *d;
	}
	w->n_doubts = kept;
	index_abort(l.tx);
	for (size_t i = 0; i < LOOK_DIRS; i++)
		look_dir_release(&l.dirs[i]);
	return strange;
}

static void scan(struct store_watch *w, bool watched)
{
	struct scan_report report;
	int err;

	for (size_t i = 0; i < w->n_doubts; i++)
		doubt_release(&w->doubts[i]);
	w->n_doubts = 0;
	w->all = false;
	store_set_watched(w->store, false);
	err = store_scan(w->store, false, &report);
	if (err < 0)
		mb_msg(MB_WARNING, "watch: the mail tree cannot be scanned: %s", mb_err_str(err));
	if (err >= 0 && watched && !w->limited)
		store_set_watched(w->store, true);
	if (err < 0 || report.unsteady || store_scan_is_due(w->store))
		w->again_ms = w->again_ms ? w->again_ms * 2 : AGAIN_MS;
	else
		w->again_ms = 0;
	if (w->again_ms > AGAIN_MAX_MS)
		w->again_ms = AGAIN_MAX_MS;
	w->scanned_ns = clock_mono_ns();
}

/* ---- Events ----------------------------------------------------------------------------------- */

static void take_event(struct store_watch *w, const struct inotify_event *e)
{
	const struct watched *d;

	if (e->mask & IN_Q_OVERFLOW) {
		mb_msg(MB_NOTICE, "watch: too many events at once: the mail tree is scanned");
		watch_dir(w, "", 0);
		w->all = true;
		return;
	}
	if (e->mask & IN_IGNORED) {
		forget_watch(w, e->wd);
		return;
	}
	HASH_FIND_INT(w->dirs, &e->wd, d);
	if (!d || !e->len)
		return;
	if ((e->mask & IN_ISDIR) && (e->mask & (IN_CREATE | IN_MOVED_TO)) && !*d->sub) {
		MB_AUTO_FREE char *dir = mb_xstrdup(d->dir); /* d may go with what follows */
		MB_AUTO_FREE char *path = mb_xasprintf("%s%s%s", dir, *dir ? "/" : "", e->name);

		add_doubt(w, dir, "", e->name);
		if (is_sub(e->name))
			watch_dir(w, dir, 1);
		else if (may_hold_mail(w, dir, e->name))
			watch_dir(w, path, 1);
		return;
	}
	add_doubt(w, d->dir, d->sub, e->name);
}

static void read_events(struct store_watch *w)
{
	char data[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	while ((n = read(w->fd, data, sizeof(data))) > 0) {
		for (const char *p = data; p < data + n;) {
			const struct inotify_event *e = (const void *)p;

			take_event(w, e);
			p += sizeof(*e) + e->len;
		}
	}
}

/* From any thread, see store_set_watch_pending(). */
static bool is_pending(void *arg)
{
	struct store_watch *w = arg;
	int waiting = 0;

	return ioctl(w->fd, FIONREAD, &waiting) < 0 || waiting > 0 || atomic_load(&w->busy);
}

/* From any thread, see store_set_watch_wake(). */
static void wake(void *arg)
{
	struct store_watch *w = arg;

	eventfd_write(w->wake, 1);
}

/* When the next scan is due without an event: after the last one; or -1. */
static int scan_after_ms(const struct store_watch *w)
{
	if (w->again_ms && (!w->limited || w->again_ms < POLL_MS))
		return w->again_ms;
	return w->limited ? POLL_MS : -1;
}

static bool scan_is_due(const struct store_watch *w)
{
	int after = scan_after_ms(w);

	return after >= 0 && clock_mono_ns() - w->scanned_ns >= after * MS;
}

/* Waits for the first event, or while there are doubts for the next look.  false: the end. */
static bool wait_for_events(struct store_watch *w)
{
	struct pollfd p[3] = {{.fd = w->stop, .events = POLLIN},
			      {.fd = w->wake, .events = POLLIN},
			      {.fd = w->fd, .events = POLLIN}};
	bool look = w->n_doubts || w->all;
	int n = poll(p, look ? 2 : 3, look ? LOOK_MS : scan_after_ms(w));
	eventfd_t times;

	if (p[1].revents && !eventfd_read(w->wake, &times))
		w->all |= store_scan_is_due(w->store); /* or somebody else has looked */
	return !p[0].revents && (n >= 0 || errno == EINTR);
}

static void *watch_main(void *arg)
{
	struct store_watch *w = arg;

	while (wait_for_events(w)) {
		bool strange;

		atomic_store(&w->busy, true); /* before they leave the queue */
		read_events(w);
		strange = sort_out(w);
		if (w->all || strange || scan_is_due(w))
			scan(w, true);
		atomic_store(&w->busy, w->n_doubts || w->all);
	}
	return NULL;
}

/* ---- Start and stop --------------------------------------------------------------------------- */

static void watch_free(struct store_watch *w)
{
	struct watched *d, *next;

	HASH_ITER (hh, w->dirs, d, next) {
		HASH_DEL(w->dirs, d);
		free(d->dir);
		free(d);
	}
	for (size_t i = 0; i < w->n_doubts; i++)
		doubt_release(&w->doubts[i]);
	free(w->doubts);
	if (w->fd >= 0)
		close(w->fd);
	if (w->stop >= 0)
		close(w->stop);
	if (w->wake >= 0)
		close(w->wake);
	free(w);
}

static int start_thread(struct store_watch *w)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, NULL, watch_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int store_watch_start(struct store *s, struct store_watch **ret)
{
	struct store_watch *w = mb_xcalloc(1, sizeof(*w));
	int err = 0;

	w->store = s;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	w->stop = eventfd(0, EFD_CLOEXEC);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0 || w->stop < 0 || w->wake < 0)
		err = -errno;
	if (!err) {
		watch_dir(w, "", 0);
		store_set_watch_pending(s, is_pending, w);
		store_set_watch_wake(s, wake, w);
		scan(w, true); /* what came between the scan at open and the first watch */
		err = start_thread(w);
	}
	if (err) {
		store_set_watched(s, false);
		store_set_watch_pending(s, NULL, NULL);
		store_set_watch_wake(s, NULL, NULL);
		watch_free(w);
		return err;
	}
	*ret = w;
	return 0;
}

void store_watch_stop(struct store_watch *w)
{
	if (!w)
		return;
	store_set_watch_wake(w->store, NULL, NULL);
	eventfd_write(w->stop, 1);
	pthread_join(w->thread, NULL);
	/* From here on nobody looks; the times of now are noted for the next start. */
	scan(w, false);
	store_set_watch_pending(w->store, NULL, NULL);
	watch_free(w);
}
