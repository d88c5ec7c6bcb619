/*
 * inval.c - the queue of notifications and its thread; also what is due now and then (aliases that
 * end, listings that nobody reads).
 *
 * Lock: queue lock, innermost (taken under table_lock by the callers; the thread takes table_lock
 * only after it has let go of the queue lock).
 */
#include "fs/inval.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#define TICK_S 10
#define TRIM_MIN 1000 /* nodes and names that went, which make it worth to look for whole pages */

enum what { ITEM_NAME, ITEM_DIR, ITEM_CONTENT, ITEM_ATTR, ITEM_DROP, ITEM_CLOSE };

struct item {
	struct item *next;
	struct node *node; /* NULL for CLOSE */
	enum what what;
	int fd; /* CLOSE: owned */
	char name[];
};

struct inval {
	struct mailfs *fs;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct item *first, **last;
	bool stopping;
};

static struct item *item_new(enum what what, const char *name)
{
	size_t len = strlen(name) + 1;
	struct item *it = mb_xmalloc(sizeof(*it) + len);

	*it = (struct item){.what = what, .fd = -1};
	memcpy(it->name, name, len);
	return it;
}

static void push(struct inval *q, struct item *it)
{
	pthread_mutex_lock(&q->lock);
	*q->last = it;
	q->last = &it->next;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
}

static void push_node(struct mailfs *fs, struct node *n, enum what what, const char *name)
{
	struct item *it;

	if (!fs->inval || (n->nlookup == 0 && n != fs->nodes.root)) /* unknown to the kernel */
		return;
	it = item_new(what, name);
	it->node = n;
	node_ref(n);
	push(fs->inval, it);
}

void inval_name(struct mailfs *fs, struct node *dir, const char *name)
{
	push_node(fs, dir, ITEM_NAME, name);
}

void inval_dir(struct mailfs *fs, struct node *dir)
{
	if (dir->dir->inval_queued)
		return;
	push_node(fs, dir, ITEM_DIR, "");
	dir->dir->inval_queued = fs->inval != NULL;
}

void inval_content(struct mailfs *fs, struct node *n)
{
	push_node(fs, n, ITEM_CONTENT, "");
}

void inval_attr(struct mailfs *fs, struct node *n)
{
	push_node(fs, n, ITEM_ATTR, "");
}

void inval_close(struct mailfs *fs, int fd)
{
	struct item *it;

	if (!fs->inval) {
		close(fd);
		return;
	}
	it = item_new(ITEM_CLOSE, "");
	it->fd = fd;
	push(fs->inval, it);
}

static void send_item(struct mailfs *fs, const struct item *it)
{
	fuse_ino_t ino = it->node ? fs_ino(fs, it->node) : 0;

	if (it->what != ITEM_CLOSE)
		count(COUNT_NOTIFY);
	switch (it->what) {
	case ITEM_NAME:
		fuse_lowlevel_notify_inval_entry(fs->session, ino, it->name, strlen(it->name));
		break;
	case ITEM_CLOSE:
		close(it->fd);
		return;
	case ITEM_ATTR:
		fuse_lowlevel_notify_inval_inode(fs->session, ino, -1, 0);
		break;
	case ITEM_DIR:
		table_lock(fs);
		it->node->dir->inval_queued = false;
		table_unlock(fs);
		__attribute__((fallthrough));
	case ITEM_DROP:
	case ITEM_CONTENT:
		fuse_lowlevel_notify_inval_inode(fs->session, ino, 0, 0);
		break;
	}
	if (it->what == ITEM_DROP)
		fs_drop_folder(fs, it->node);
}

/* Listings that nobody reads: the kernel's cached part goes first, as its cookies end with ours. */
static void find_idle_folders(struct mailfs *fs, int64_t now)
{
	for (size_t i = 0; i < fs->n_loaded; i++) {
		struct node *n = fs->loaded_dirs[i];

		if (n->dir->streams == 0 && n->dir->used_ns + FS_FOLDER_IDLE_NS < now)
			push_node(fs, n, ITEM_DROP, "");
	}
}

static void tick(struct mailfs *fs)
{
	int64_t now = clock_mono_ns();
	bool trim;

	table_lock(fs);
	alias_expire(&fs->aliases, now);
	find_idle_folders(fs, now);
	trim = fs->freed >= TRIM_MIN;
	if (trim)
		fs->freed = 0;
	table_unlock(fs);
	if (trim)
		malloc_trim(0);
}

static struct item *pop(struct inval *q)
{
	struct item *it = q->first;

	if (!it)
		return NULL;
	q->first = it->next;
	if (!q->first)
		q->last = &q->first;
	return it;
}

static void finish(struct mailfs *fs, struct item *it)
{
	if (it->node) {
		table_lock(fs);
		node_unref(&fs->nodes, it->node);
		table_unlock(fs);
	}
	free(it);
}

static void *run(void *arg)
{
	struct inval *q = arg;
	struct timespec until;
	int64_t next_tick = clock_mono_ns() + TICK_S * 1000000000ll;

	pthread_mutex_lock(&q->lock);
	while (!q->stopping || q->first) {
		struct item *it = pop(q);

		if (!it) {
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += TICK_S;
			pthread_cond_timedwait(&q->wake, &q->lock, &until);
		}
		pthread_mutex_unlock(&q->lock);
		if (it) {
			send_item(q->fs, it);
			finish(q->fs, it);
		}
		if (clock_mono_ns() >= next_tick) {
			tick(q->fs);
			next_tick = clock_mono_ns() + TICK_S * 1000000000ll;
		}
		pthread_mutex_lock(&q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int inval_start(struct mailfs *fs)
{
	struct inval *q = mb_xcalloc(1, sizeof(*q));
	pthread_condattr_t attr;
	int err;

	q->fs = fs;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->wake, &attr);
	pthread_condattr_destroy(&attr);
	err = pthread_create(&q->thread, NULL, run, q);
	if (err) {
		free(q);
		return -err;
	}
	fs->inval = q;
	return 0;
}

void inval_stop(struct mailfs *fs)
{
	struct inval *q = fs->inval;

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_signal(&q->wake);
	pthread_mutex_unlock(&q->lock);
	pthread_join(q->thread, NULL);
	table_lock(fs);
	fs->inval = NULL;
	table_unlock(fs);
	while (q->first) { /* queued between the end of the thread and now */
		struct item *it = pop(q);

		if (it->what == ITEM_CLOSE)
			close(it->fd);
		finish(fs, it);
	}
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
