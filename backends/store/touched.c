/*
 * touched.c - a list, searched from its end: changes come folder by folder.
 */
#include "backends/store/touched.h"
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

void touched_release(struct touched *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->list[i].path);
	free(t->list);
	*t = (struct touched){0};
}

/* Length of what is before the cur or new that the path is in; -1: it is in none. */
static ssize_t mailbox_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	ssize_t len = slash ? slash - path - 3 : -1;

	if (len < 0 || (len > 0 && path[len - 1] != '/') ||
	    (memcmp(path + len, "cur", 3) && memcmp(path + len, "new", 3)))
		return -1;
	return len;
}

static struct touched_box *find(const struct touched *t, const char *path, size_t len)
{
	for (size_t i = t->n; i > 0; i--) {
		struct touched_box *b = &t->list[i - 1];

		if (strncmp(b->path, path, len) == 0 && !b->path[len])
			return b;
	}
	return NULL;
}

void touched_add(struct touched *t, const char *path, int64_t second)
{
	ssize_t len = mailbox_of(path);
	struct touched_box *b;

	if (len < 0)
		return;
	b = find(t, path, (size_t)len);
	if (!b) {
		MB_GROW(t->list, t->cap, t->n + 1);
		b = &t->list[t->n++];
		*b = (struct touched_box){.path = mb_xstrndup(path, (size_t)len)};
	}
	b->second = second;
	b->cur |= path[len] == 'c';
}

static void touch(int root, const struct touched_box *b, const char *sub)
{
	/* both: the kernel tells watchers of one alone as of a write (IN_MODIFY) */
	const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	MB_AUTO_FREE char *path = mb_xasprintf("%s%s", b->path, sub);
	const char *name;
	MB_AUTO_CLOSE int dir = at_open_parent(root, path, &name);

	if (dir >= 0)
		(void)utimensat(dir, name, now, AT_SYMLINK_NOFOLLOW);
}

void touched_turn(struct touched *t, int root, int64_t second)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->list[i].second >= second) {
			t->list[kept++] = t->list[i];
			continue;
		}
		if (t->list[i].cur)
			touch(root, &t->list[i], "cur");
		touch(root, &t->list[i], "new");
		free(t->list[i].path);
	}
	t->n = kept;
}
