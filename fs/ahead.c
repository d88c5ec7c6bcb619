/*
 * ahead.c - reads ahead along a listing.  Everything here belongs to table_lock.
 */
#include "fs/ahead.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "fs/folder.h"
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEAR 16	    /* names that may be passed over, by who goes in order */
#define BEGIN 2	    /* reads in order before that counts */
#define WARM_MAX 32 /* so many in a row were in memory: no more of it */
#define BATCH 16
#define BYTES (256 << 10) /* of a message */

struct ahead {
	struct mailfs *fs;
	pthread_t thread;
	pthread_cond_t wake;
	struct node *dir; /* referenced; the one that is read; NULL: none yet */
	uint64_t at;	  /* cookie of the message that was read last */
	uint64_t next;	  /* those up to here have been asked for */
	unsigned run;	  /* messages read in order */
	unsigned warm;	  /* in a row, of those asked for */
	atomic_bool on;
	bool ending;
};

/* ---- the thread ---- */

/* false: it was in memory. */
static bool fetch(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char first;
	struct iovec one = {&first, 1};
	int64_t since;
	bool cold;

	if (fd < 0)
		return true;
	since = clock_mono_ns();
	cold = preadv2(fd, &one, 1, 0, RWF_NOWAIT) < 0 || clock_mono_ns() - since > AHEAD_SLOW_NS;
	if (cold)
		readahead(fd, 0, BYTES);
	close(fd);
	return cold;
}

struct names {
	char text[BATCH][NAME_MAX + 1];
	size_t n;
};

/* table_lock held. */
static void take_names(struct ahead *a, struct names *ret)
{
	const struct folder *f = a->dir->dir->folder;
	const struct folder_entry *e;

	ret->n = 0;
	while (ret->n < BATCH && a->next - a->at < AHEAD_WINDOW && (e = folder_after(f, a->next))) {
		a->next = e->cookie;
		if (e->type == DT_REG)
			strcpy(ret->text[ret->n++], folder_text(f, e));
	}
	if (!ret->n) /* the end of the listing */
		a->on = false;
}

/* table_lock held; let go meanwhile. */
static void fetch_some(struct ahead *a, struct names *names)
{
	struct mailfs *fs = a->fs;
	struct node *dir = a->dir;
	unsigned warm = 0;
	int fd;

	take_names(a, names);
	if (!names->n)
		return;
	node_ref(dir);
	table_unlock(fs);
	fd = fs_open_node(fs, dir, O_PATH | O_DIRECTORY);
	for (size_t i = 0; i < names->n; i++)
		warm = fd >= 0 && fetch(fd, names->text[i]) ? 0 : warm + 1;
	if (fd >= 0)
		close(fd);
	table_lock(fs);
	node_unref(&fs->nodes, dir);
	a->warm = warm == names->n ? a->warm + warm : warm;
	if (a->warm >= WARM_MAX)
		a->on = false;
}

static void *run(void *arg)
{
	struct ahead *a = arg;
	struct names names;

	table_lock(a->fs);
	while (!a->ending) {
		if (a->on && a->next - a->at < AHEAD_WINDOW / 2)
			fetch_some(a, &names);
		else
			pthread_cond_wait(&a->wake, &a->fs->table_lock);
	}
	table_unlock(a->fs);
	return NULL;
}

/* ---- who reads ---- */

/* table_lock held. */
static void look_at(struct ahead *a, struct node *dir, uint64_t cookie)
{
	if (a->dir == dir && cookie > a->at && cookie - a->at <= NEAR) {
		a->run++;
	} else {
		a->run = 0;
		a->on = false;
		a->next = cookie;
	}
	if (a->dir != dir) {
		node_ref(dir);
		if (a->dir)
			node_unref(&a->fs->nodes, a->dir);
		a->dir = dir;
	}
	a->at = cookie;
	if (a->next < cookie)
		a->next = cookie;
}

void ahead_read(struct mailfs *fs, struct node *n, bool missed)
{
	struct ahead *a = fs->ahead;
	const struct folder_entry *e;
	struct name name;

	if (!a || (!missed && !a->on))
		return;
	table_lock(fs);
	e = node_message_name(n, &name) ? folder_find(name.dir->dir->folder, name.text) : NULL;
	if (e) {
		look_at(a, name.dir, e->cookie);
		if (missed && a->run >= BEGIN && !a->on) {
			a->on = true;
			a->warm = 0;
		}
		if (a->on && a->next - a->at < AHEAD_WINDOW / 2)
			pthread_cond_signal(&a->wake);
	}
	table_unlock(fs);
}

/* ---- life ---- */

int ahead_start(struct mailfs *fs)
{
	struct ahead *a = mb_xcalloc(1, sizeof(*a));
	int err;

	a->fs = fs;
	pthread_cond_init(&a->wake, NULL);
	err = pthread_create(&a->thread, NULL, run, a);
	if (err) {
		pthread_cond_destroy(&a->wake);
		free(a);
		return -err;
	}
	fs->ahead = a;
	return 0;
}

void ahead_stop(struct mailfs *fs)
{
	struct ahead *a = MB_TAKE(fs->ahead);

	if (!a)
		return;
	table_lock(fs);
	a->ending = true;
	pthread_cond_signal(&a->wake);
	table_unlock(fs);
	pthread_join(a->thread, NULL);
	table_lock(fs);
	if (a->dir)
		node_unref(&fs->nodes, a->dir);
	table_unlock(fs);
	pthread_cond_destroy(&a->wake);
	free(a);
}
