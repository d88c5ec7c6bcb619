/*
 * mail-race.c - mail-race DIR COUNT SECONDS flagrace|mixed: many programs at one folder at one time.
 *
 * DIR gets COUNT mails race.0.x, race.1.x, ... in cur/ which stay there, when it has none yet.
 *
 *   flagrace  two threads rename two thirds of them to other flags, again and again; the rest is left to
 *             others (a peer, say), who may rename and must not remove them
 *   mixed     four threads deliver, pick up, flag, read and unlink mails of their own; two more read
 *             whatever they find, which may be gone meanwhile, and is else what was delivered
 *
 * Two more threads list cur/ all the time, one of them in small pieces: each of the COUNT mails has to be
 * in each listing, once.  One line of JSON: how much was done, how often a mail was missed, doubled or had
 * other bytes, and how long a call took (microseconds).  Exit 1 when anything was wrong.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BODY_MAX = 20000, NAME = 128, OWN = 24, PIECE = 1024, SLOTS = 16 * 48 };

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t random;
	uint64_t since, calls, slowest, took[SLOTS]; /* nanoseconds, by slot() */
};

static struct {
	int cur, new_, tmp;
	size_t count;
	char (*names)[NAME]; /* of the mails that a flagrace renames */
	atomic_bool over;
	atomic_ulong listings, missed, doubled, corrupt, changes, reads;
} race;

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* ---- how long a call took -------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Sixteen for each power of two. */
static size_t slot(uint64_t ns)
{
	unsigned top = 0;

	while (ns >> top >= 32)
		top++;
	size_t at = (size_t)top * 16 + (ns >> top);
	return at < SLOTS ? at : SLOTS - 1;
}

static uint64_t slot_ns(size_t at)
{
	return at < 32 ? at : (uint64_t)(16 + at % 16) << (at / 16 - 1);
}

static void begin(struct worker *w)
{
	w->since = now_ns();
}

static long took(struct worker *w, long answer)
{
	uint64_t ns = now_ns() - w->since; /* leaves errno alone */

	w->calls++;
	w->took[slot(ns)]++;
	if (ns > w->slowest)
		w->slowest = ns;
	return answer;
}

#define TIMED(w, call) (begin(w), took(w, (call)))

/* ---- mails ----------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* What is in the mail whose name begins so, up to a colon. */
static size_t body_of(const char *name, char body[BODY_MAX])
{
	size_t len = strcspn(name, ":");
	uint64_t x = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		x = (x ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
	x |= 1;
	size_t size = next(&x) % 4 ? 200 + next(&x) % 2000 : 200 + next(&x) % (BODY_MAX - 400);
	int n = snprintf(body, BODY_MAX, "Subject: %.*s\n\n", (int)len, name);
	for (size_t i = (size_t)n; i < size; i++)
		body[i] = (char)(i % 64 == 63 ? '\n' : 'a' + (char)(next(&x) % 26));
	return size;
}

static void deliver(struct worker *w, const char *name, int to, const char *final)
{
	char body[BODY_MAX];
	size_t size = body_of(name, body);
	int fd = (int)TIMED(w,
			    openat(race.tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));

	need(fd >= 0, "making a file in tmp");
	need(TIMED(w, write(fd, body, size)) == (ssize_t)size, "writing");
	need(!TIMED(w, close(fd)), "closing");
	need(!TIMED(w, renameat(race.tmp, name, to, final)), "renaming from tmp");
}

/* Also whether it is as long as fstat() says.  A mail of others is let alone; ENOENT: gone. */
static void read_and_compare(struct worker *w, int dir, const char *name, bool mine)
{
	char want[BODY_MAX], got[BODY_MAX + 1];
	size_t size = body_of(name, want), n = 0;
	struct stat st;
	ssize_t more;
	int fd = (int)TIMED(w, openat(dir, name, O_RDONLY | O_CLOEXEC));

	if (fd < 0 && errno == ENOENT && !mine)
		return;
	need(fd >= 0, name);
	need(!TIMED(w, fstat(fd, &st)), "fstat");
	while ((more = TIMED(w, read(fd, got + n, sizeof(got) - n))) > 0)
		n += (size_t)more;
	need(more == 0, "reading");
	close(fd);
	if (n != size || (size_t)st.st_size != size || memcmp(want, got, size) != 0) {
		fprintf(stderr, "%s: %zu bytes (stat: %lld), not the %zu that were written\n", name,
			n, (long long)st.st_size, size);
		atomic_fetch_add(&race.corrupt, 1);
	}
	atomic_fetch_add(&race.reads, 1);
}

/* ---- those who change ------------------------------------------------------------------------ */

static void *flags(void *arg)
{
	static const char *const sets[] = {"", "S", "F", "FS", "RS", "FRS"};
	struct worker *w = arg;
	char to[NAME + 8];

	while (!atomic_load(&race.over)) {
		size_t i = next(&w->random) % race.count;
		char *name = race.names[i];
		if (i % 3 != w->number)
			continue;
		snprintf(to, sizeof(to), "race.%zu.x:2,%s", i, sets[next(&w->random) % 6]);
		if (strcmp(name, to) == 0)
			continue;
		need(!TIMED(w, renameat(race.cur, name, race.cur, to)), "renaming in cur");
		snprintf(name, NAME, "%.*s", NAME - 1, to);
		atomic_fetch_add(&race.changes, 1);
	}
	return NULL;
}

/* One mail from its delivery on; who reads it does not know how far it is. */
struct own {
	char name[NAME];
	enum { NONE, IN_NEW, IN_CUR } where;
};

static void live_on(struct worker *w, struct own *m)
{
	static unsigned long serial[8];
	char to[NAME + 8];

	switch (m->where) {
	case NONE:
		snprintf(m->name, sizeof(m->name), "own.%u.%lu.%lld.x", w->number,
			 serial[w->number]++, (long long)time(NULL));
		deliver(w, m->name, race.new_, m->name);
		m->where = IN_NEW;
		break;
	case IN_NEW:
		snprintf(to, sizeof(to), "%.*s:2,", NAME - 4, m->name);
		need(!TIMED(w, renameat(race.new_, m->name, race.cur, to)), "renaming to cur");
		snprintf(m->name, sizeof(m->name), "%.*s", NAME - 1, to);
		m->where = IN_CUR;
		break;
	default:
		read_and_compare(w, race.cur, m->name, true);
		if (next(&w->random) % 3 == 0) {
			need(!TIMED(w, unlinkat(race.cur, m->name, 0)), "unlinking");
			m->where = NONE;
			break;
		}
		size_t base = strcspn(m->name, ":");
		snprintf(to, sizeof(to), "%.*s:2,%s", (int)base, m->name,
			 strchr(m->name + base, 'S') ? "F" : "FS");
		need(!TIMED(w, renameat(race.cur, m->name, race.cur, to)), "renaming in cur");
		snprintf(m->name, sizeof(m->name), "%.*s", NAME - 1, to);
	}
	atomic_fetch_add(&race.changes, 1);
}

static void *mails(void *arg)
{
	struct worker *w = arg;
	struct own own[OWN] = {0};

	while (!atomic_load(&race.over))
		live_on(w, &own[next(&w->random) % OWN]);
	return NULL;
}

/* ---- those who look -------------------------------------------------------------------------- */

static void *reader(void *arg)
{
	struct worker *w = arg;
	const struct dirent *e;

	for (unsigned turn = w->number; !atomic_load(&race.over); turn++) {
		int dir = turn % 2 ? race.cur : race.new_;
		int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = fd < 0 ? NULL : fdopendir(fd);

		need(d != NULL, "listing");
		while (!atomic_load(&race.over) && (e = readdir(d)))
			if (strncmp(e->d_name, "own.", 4) == 0 ||
			    (strncmp(e->d_name, "race.", 5) == 0 && next(&w->random) % 16 == 0))
				read_and_compare(w, dir, e->d_name, false);
		closedir(d);
	}
	return NULL;
}

struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

static void count_names(const char *buf, long n, unsigned char *seen)
{
	size_t i;
	int end;

	for (long at = 0; at < n;) {
		const struct entry *e = (const void *)(buf + at);
		if (sscanf(e->name, "race.%zu.x%n", &i, &end) == 1 && i < race.count &&
		    seen[i] < 255)
			seen[i]++;
		at += e->len;
	}
}

static void *lister(void *arg)
{
	struct worker *w = arg;
	size_t piece = w->number ? PIECE : 32 * PIECE;
	_Alignas(struct entry) char buf[32 * PIECE];
	unsigned char *seen = malloc(race.count);
	long n;

	need(seen != NULL, "memory");
	while (!atomic_load(&race.over)) {
		int fd = openat(race.cur, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		need(fd >= 0, "listing");
		memset(seen, 0, race.count);
		while ((n = TIMED(w, syscall(SYS_getdents64, fd, buf, piece))) > 0)
			count_names(buf, n, seen);
		need(n == 0, "listing");
		close(fd);
		for (size_t i = 0; i < race.count; i++) {
			if (seen[i] != 1)
				fprintf(stderr, "race.%zu.x: listed %u times\n", i, seen[i]);
			atomic_fetch_add(&race.missed, seen[i] == 0);
			atomic_fetch_add(&race.doubled, seen[i] > 1);
		}
		atomic_fetch_add(&race.listings, 1);
	}
	free(seen);
	return NULL;
}

/* ---- all together ---------------------------------------------------------------------------- */

static void fill(struct worker *w)
{
	char base[NAME], final[NAME + 8];
	int fd = openat(race.cur, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	size_t i, found = 0;
	int end;

	race.names = calloc(race.count, sizeof(*race.names));
	need(d && race.names, "listing");
	while ((e = readdir(d)))
		if (sscanf(e->d_name, "race.%zu.x%n", &i, &end) == 1 && i < race.count) {
			snprintf(race.names[i], NAME, "%.*s", NAME - 1, e->d_name);
			found++;
		}
	closedir(d);
	for (i = 0; i < race.count && found < race.count; i++) {
		if (*race.names[i])
			continue;
		snprintf(base, sizeof(base), "race.%zu.x", i);
		snprintf(final, sizeof(final), "%s:2,", base);
		deliver(w, base, race.cur, final);
		snprintf(race.names[i], NAME, "%.*s", NAME - 1, final);
	}
}

static int report(const char *phase, const struct worker *all, size_t n_workers)
{
	uint64_t calls = 0, slowest = 0, below = 0, total[SLOTS] = {0};
	size_t middle = 0, rare = 0;

	for (size_t i = 0; i < n_workers; i++) {
		calls += all[i].calls;
		slowest = all[i].slowest > slowest ? all[i].slowest : slowest;
		for (size_t k = 0; k < SLOTS; k++)
			total[k] += all[i].took[k];
	}
	for (size_t k = 0; k < SLOTS; k++) {
		below += total[k];
		middle = below * 2 < calls ? k + 1 : middle;
		rare = below * 1000 < calls * 999 ? k + 1 : rare;
	}
	printf("{\"phase\": \"%s\", \"changes\": %lu, \"reads\": %lu, \"listings\": %lu, "
	       "\"missed\": %lu, \"doubled\": %lu, \"corrupt\": %lu, \"calls\": %llu, "
	       "\"p50_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       phase, race.changes, race.reads, race.listings, race.missed, race.doubled,
	       race.corrupt, (unsigned long long)calls, (double)slot_ns(middle) / 1e3,
	       (double)slot_ns(rare) / 1e3, (double)slowest / 1e3);
	return race.missed || race.doubled || race.corrupt;
}

static int open_sub(const char *dir, const char *sub)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, sub);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(fd >= 0, path);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *phase;
		void *(*run)(void *worker);
		unsigned n;
	} crews[] = {
		{"flagrace", flags, 2}, {"flagrace", lister, 2}, {"mixed", mails, 4},
		{"mixed", reader, 2},	{"mixed", lister, 2},
	};
	static struct worker workers[9];
	size_t n = 0;

	if (argc != 5 || (strcmp(argv[4], "flagrace") != 0 && strcmp(argv[4], "mixed") != 0)) {
		fprintf(stderr, "usage: mail-race DIR COUNT SECONDS flagrace|mixed\n");
		return 64;
	}
	race.count = strtoul(argv[2], NULL, 10);
	race.cur = open_sub(argv[1], "cur");
	race.new_ = open_sub(argv[1], "new");
	race.tmp = open_sub(argv[1], "tmp");
	fill(&workers[8]);
	memset(&workers[8], 0, sizeof(workers[8]));
	for (size_t i = 0; i < sizeof(crews) / sizeof(crews[0]); i++)
		for (unsigned k = 0; k < crews[i].n && strcmp(crews[i].phase, argv[4]) == 0; k++) {
			struct worker *w = &workers[n++];
			w->number = k;
			w->random = (now_ns() ^ n << 32) | 1;
			need(!pthread_create(&w->thread, NULL, crews[i].run, w), "a thread");
		}
	usleep((useconds_t)(strtod(argv[3], NULL) * 1e6));
	atomic_store(&race.over, true);
	for (size_t i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	free(race.names);
	return report(argv[4], workers, n);
}
