/*
 * mail-load.c - mail-load DIR COUNT FLUSH PHASE...: what mail programs ask of the Maildir DIR, timed.
 *
 * For bench/bench_mount.py.  One line for each phase: its name, how many operations, nanoseconds of
 * all of them together, and of the one in the middle.  FLUSH 1: a delivery flushes its file and new/.
 *
 *   deliver  COUNT files written in tmp/ and renamed to new/      pickup  all of new/ goes to cur/
 *   flag     COUNT files of cur/ get or lose the flag F           unlink  COUNT files of cur/ go
 *   list     cur/ is listed, each file looked at                  scan    and opened, and 4 KiB read
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 4096, NAME = 256 };

struct load {
	int cur, new_, tmp;
	size_t count;
	int flush;
	char (*names)[NAME];
	size_t n, cap;
	uint64_t *took; /* for each operation */
	size_t n_took;
};

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void list(struct load *l, int dir, size_t most)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	need(d != NULL, "listing");
	l->n = 0;
	while (l->n < most && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap ? 2 * l->cap : 1024;
			l->names = realloc(l->names, l->cap * sizeof(*l->names));
			need(l->names != NULL, "memory");
		}
		snprintf(l->names[l->n++], NAME, "%s", e->d_name);
	}
	closedir(d);
}

static void deliver(struct load *l, size_t i)
{
	static unsigned long serial;
	char body[BODY], name[NAME];
	int fd;

	memset(body, 'a' + (int)(i % 26), sizeof(body));
	snprintf(name, sizeof(name), "%lld.P%dQ%lu.bench", (long long)time(NULL), (int)getpid(),
		 serial++);
	fd = openat(l->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(fd >= 0, "making a file in tmp");
	need(write(fd, body, sizeof(body)) == (ssize_t)sizeof(body), "writing");
	need(!l->flush || !fsync(fd), "flushing the file");
	need(!close(fd), "closing");
	need(!renameat(l->tmp, name, l->new_, name), "renaming to new");
	need(!l->flush || !fsync(l->new_), "flushing new");
}

static void pickup(struct load *l, size_t i)
{
	char to[NAME + 8];

	snprintf(to, sizeof(to), "%s:2,", l->names[i]);
	need(!renameat(l->new_, l->names[i], l->cur, to), "renaming to cur");
}

static void flag(struct load *l, size_t i)
{
	char to[NAME + 8];
	size_t len = strlen(l->names[i]);

	snprintf(to, sizeof(to), "%s", l->names[i]);
	if (to[len - 1] == 'F')
		to[len - 1] = '\0';
	else
		strcpy(to + len, "F");
	need(!renameat(l->cur, l->names[i], l->cur, to), "renaming in cur");
}

static void unlink_one(struct load *l, size_t i)
{
	need(!unlinkat(l->cur, l->names[i], 0), "unlinking");
}

static void look(struct load *l, size_t i)
{
	struct stat st;

	need(!fstatat(l->cur, l->names[i], &st, AT_SYMLINK_NOFOLLOW), "stat");
}

static void scan(struct load *l, size_t i)
{
	char body[BODY];
	int fd;

	look(l, i);
	fd = openat(l->cur, l->names[i], O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && read(fd, body, sizeof(body)) > 0, "reading");
	close(fd);
}

static const struct phase {
	const char *name;
	void (*one)(struct load *l, size_t i);
	enum { ALONE, OF_NEW, OF_CUR, ALL_CUR } what; /* ALL_CUR: the listing counts as well */
} phases[] = {
	{"deliver", deliver, ALONE},	{"pickup", pickup, OF_NEW}, {"flag", flag, OF_CUR},
	{"unlink", unlink_one, OF_CUR}, {"list", look, ALL_CUR},    {"scan", scan, ALL_CUR},
};

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void run(struct load *l, const struct phase *p)
{
	uint64_t start = now_ns(), end;
	size_t n = l->count;

	if (p->what != ALONE) {
		list(l, p->what == OF_NEW ? l->new_ : l->cur,
		     p->what == ALL_CUR ? SIZE_MAX : l->count);
		n = l->n;
	}
	l->took = realloc(l->took, (n + 1) * sizeof(*l->took));
	need(l->took != NULL, "memory");
	if (p->what != ALL_CUR)
		start = now_ns();
	for (size_t i = 0; i < n; i++) {
		uint64_t begun = now_ns();

		p->one(l, i);
		l->took[i] = now_ns() - begun;
	}
	end = now_ns();
	qsort(l->took, n, sizeof(*l->took), compare);
	printf("%s %zu %llu %llu\n", p->name, n, (unsigned long long)(end - start),
	       n ? (unsigned long long)l->took[n / 2] : 0);
}

static int open_sub(const char *dir, const char *sub)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, sub);
	mkdir(dir, 0700);
	mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(fd >= 0, path);
	return fd;
}

int main(int argc, char **argv)
{
	struct load l = {0};

	if (argc < 5) {
		fprintf(stderr, "usage: mail-load DIR COUNT FLUSH PHASE...\n");
		return 64;
	}
	l.count = strtoul(argv[2], NULL, 10);
	l.flush = atoi(argv[3]);
	l.cur = open_sub(argv[1], "cur");
	l.new_ = open_sub(argv[1], "new");
	l.tmp = open_sub(argv[1], "tmp");
	for (int i = 4; i < argc; i++)
		for (size_t k = 0; k < sizeof(phases) / sizeof(phases[0]); k++)
			if (strcmp(argv[i], phases[k].name) == 0)
				run(&l, &phases[k]);
	free(l.names);
	free(l.took);
	return 0;
}
