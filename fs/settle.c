/*
 * settle.c - the list of messages being written, and the thread that looks for quiet ones.
 *
 * Locks: `writing` of a node and what is in it belong to the node's stripe; the list to its own lock,
 * innermost.  An entry is in the list exactly as long as the node's `writing` points at it, and holds a
 * reference on the node, taken and let go under table_lock.
 */
#include "fs/settle.h"
#include "backends/base/clock.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include "backends/base/msg.h"
#include "fs/folder.h"
#include "fs/inval.h"
#include <errno.h>
#include <string.h>

#define LOOK_MS 250
#define TRY_AGAIN 5 /* times that a failed settling is tried again */

struct writing {
	struct writing *next, *prev; /* ring; oldest first, nearly */
	int64_t queued_ns;	     /* when it was put at the end */
	struct node *node;
	struct origin origin; /* of the first write */
	uint64_t cut;	      /* store_edits_cut() before it */
	unsigned writers;     /* in the middle of a write */
	unsigned failures;
	bool created;		 /* nobody has seen it settled yet */
	_Atomic int64_t last_ns; /* of the last write; looked at without the stripe */
};

struct settle {
	struct mailfs *fs;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct writing ring; /* next: the one that was put at the end first */
	bool stopping;
};

/* Both with the list's lock. */
static void put_last(struct settle *s, struct writing *w)
{
	w->queued_ns = clock_mono_ns();
	w->next = &s->ring;
	w->prev = s->ring.prev;
	w->prev->next = w;
	s->ring.prev = w;
}

static void take_out(struct writing *w)
{
	w->prev->next = w->next;
	w->next->prev = w->prev;
}

static void add(struct mailfs *fs, struct node *n, const struct origin *origin, uint64_t cut,
		bool created)
{
	struct settle *s = fs->settle;
	struct writing *w = mb_xcalloc(1, sizeof(*w));

	w->node = n;
	w->origin = *origin;
	w->created = created;
	w->cut = cut;
	w->last_ns = clock_mono_ns();
	table_lock(fs);
	node_more(n)->writing = w;
	node_ref(n);
	table_unlock(fs);
	pthread_mutex_lock(&s->lock);
	put_last(s, w);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* Off the list and freed; the node may be freed by it, unless the caller holds it. */
static void drop(struct mailfs *fs, struct writing *w)
{
	struct settle *s = fs->settle;
	struct node *n = w->node;

	pthread_mutex_lock(&s->lock);
	take_out(w);
	pthread_mutex_unlock(&s->lock);
	n->more->writing = NULL;
	free(w);
	table_lock(fs);
	node_unref(&fs->nodes, n);
	table_unlock(fs);
}

/* Path of n by its name in cur or new.  -ENOENT: it is no message. */
static int message_path(struct mailfs *fs, struct node *n, char path[AT_PATH_MAX])
{
	int err = -ENOENT;
	struct name name;

	table_lock(fs);
	if (node_message_name(n, &name))
		err = node_path(name.dir, name.text, path);
	table_unlock(fs);
	return err;
}

/* The store gave the message a file of its own: names that stayed with the old one leave the node. */
static void split_names(struct mailfs *fs, struct node *n, const char *path)
{
	struct name name;

	fdcache_drop(fs->fds, n);
	fs_follow_inode(fs, n, path);
	table_lock(fs);
	for (unsigned i = 0; node_n_names(n) > 1 && node_name(n, i, &name);) {
		char other[AT_PATH_MAX];

		if (node_path(name.dir, name.text, other) || strcmp(other, path) == 0) {
			i++;
			continue;
		}
		inval_name(fs, name.dir, name.text);
		folder_attr_drop(name.dir->dir->folder, name.text);
		node_drop_name(&fs->nodes, name.dir, name.text);
	}
	table_unlock(fs);
}

/* The store keeps the old content.  1; 0: n left the mailbox meanwhile. */
static int keep_old(struct mailfs *fs, struct node *n, bool truncate)
{
	char path[AT_PATH_MAX];
	uint64_t ino = n->ino;
	int err = message_path(fs, n, path);

	if (err)
		return 0;
	err = store_before_write(fs->store, path, truncate);
	if (err < 0)
		return err;
	fs_follow_inode(fs, n, path);
	if (n->ino != ino)
		split_names(fs, n, path);
	return 1;
}

static int begin(fuse_req_t req, struct node *n, bool truncate)
{
	struct mailfs *fs = fs_of(req);
	uint64_t cut = store_edits_cut(fs->store);
	struct origin origin;
	int err;

	if (node_writing(n) && node_writing(n)->cut == cut)
		return 0;
	err = keep_old(fs, n, truncate);
	if (err > 0 && node_writing(n)) {
		node_writing(n)->cut = cut;
	} else if (err > 0) {
		origin_of(fs, req, &origin);
		add(fs, n, &origin, cut, false);
	}
	return err < 0 ? err : 0;
}

int settle_begin(fuse_req_t req, struct node *n, bool truncate)
{
	struct mailfs *fs = fs_of(req);
	struct name name;
	bool message;
	int err = 0;

	table_lock(fs);
	message = node_message_name(n, &name);
	table_unlock(fs);
	if (!message)
		return 0;
	stripe_lock(fs, n);
	err = begin(req, n, truncate);
	if (!err && node_writing(n))
		node_writing(n)->writers++;
	stripe_unlock(fs, n);
	return err;
}

void settle_end(struct mailfs *fs, struct node *n)
{
	if (!node_writing(n))
		return;
	stripe_lock(fs, n);
	if (node_writing(n) && node_writing(n)->writers > 0) {
		node_writing(n)->writers--;
		node_writing(n)->last_ns = clock_mono_ns();
	}
	stripe_unlock(fs, n);
}

void settle_created(struct mailfs *fs, struct node *n, const struct origin *origin)
{
	stripe_lock(fs, n);
	if (!node_writing(n))
		add(fs, n, origin, store_edits_cut(fs->store), true);
	stripe_unlock(fs, n);
}

bool settle_is_new(const struct node *n)
{
	return node_writing(n) && node_writing(n)->created && node_writing(n)->writers == 0;
}

int settle_now(struct mailfs *fs, struct node *n)
{
	struct writing *w = node_writing(n);
	char path[AT_PATH_MAX];
	int err;

	if (!w || w->writers > 0)
		return 0;
	err = message_path(fs, n, path);
	if (!err)
		err = store_settled(fs->store, path, &w->origin);
	if (err < 0 && err != -ENOENT && ++w->failures < TRY_AGAIN) {
		w->last_ns = clock_mono_ns();
		return err;
	}
	if (err < 0 && err != -ENOENT)
		mb_msg(MB_ERROR, "a changed message could not be logged: %s", mb_err_str(err));
	table_lock(fs);
	n->ordinal = 0; /* an edit is another message */
	attr_forget(n);
	inval_attr(fs, n);
	table_unlock(fs);
	drop(fs, w);
	return err == -ENOENT ? 0 : err;
}

void settle_cancel(struct mailfs *fs, struct node *n)
{
	if (node_writing(n))
		drop(fs, node_writing(n));
}

/* The first of the list that has been quiet since `before`.  One that was written after it was put
 * at the end goes there again, so that the list is never walked.  The list's lock is held. */
static struct writing *first_quiet(struct settle *s, int64_t before)
{
	struct writing *w;

	while ((w = s->ring.next) != &s->ring && w->last_ns > before && w->queued_ns <= before) {
		take_out(w);
		put_last(s, w);
	}
	return w != &s->ring && w->queued_ns <= before ? w : NULL;
}

/* Its node, with a reference; NULL when there is none. */
static struct node *find_quiet(struct settle *s, bool all)
{
	struct mailfs *fs = s->fs;
	struct writing *w;
	struct node *n;

	table_lock(fs);
	pthread_mutex_lock(&s->lock);
	w = all ? s->ring.next : first_quiet(s, clock_mono_ns() - FS_SETTLE_NS);
	n = w && w != &s->ring ? w->node : NULL;
	if (n)
		node_ref(n);
	pthread_mutex_unlock(&s->lock);
	table_unlock(fs);
	return n;
}

static void settle_quiet(struct settle *s, bool all)
{
	struct mailfs *fs = s->fs;
	struct node *n;

	while ((n = find_quiet(s, all))) {
		pthread_rwlock_rdlock(&fs->rename_lock);
		stripe_lock(fs, n);
		if (node_writing(n))
			node_writing(n)->last_ns = clock_mono_ns();
		if (node_writing(n) && all)
			node_writing(n)->writers = 0;
		settle_now(fs, n);
		stripe_unlock(fs, n);
		pthread_rwlock_unlock(&fs->rename_lock);
		table_lock(fs);
		node_unref(&fs->nodes, n);
		table_unlock(fs);
	}
}

static void *run(void *arg)
{
	struct settle *s = arg;
	struct timespec until;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		if (s->ring.next == &s->ring) {
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_MS * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
		pthread_mutex_unlock(&s->lock);
		settle_quiet(s, false);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int settle_start(struct mailfs *fs)
{
	struct settle *s = mb_xcalloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int err;

	s->fs = fs;
	s->ring.next = s->ring.prev = &s->ring;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	fs->settle = s;
	err = pthread_create(&s->thread, NULL, run, s);
	if (err) {
		fs->settle = NULL;
		free(s);
	}
	return -err;
}

void settle_stop(struct mailfs *fs)
{
	struct settle *s = fs->settle;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	settle_quiet(s, true);
	fs->settle = NULL;
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
