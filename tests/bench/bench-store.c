/*
 * bench-store.c - the store with 1k, 10k and 100k messages in 50 folders: scans, deliveries, flag
 * changes, and the index built anew.
 *
 * What looks at the whole tree is compared with lstat() of every file; a delivery with the same file
 * written and renamed in a plain directory.  Nothing is flushed, on either side.
 */
#include "backends/base/at.h"
#include "backends/base/mem.h"
#include "backends/store/store.h"
#include "tests/support/bench.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FOLDERS 50
#define CHANGES 1000 /* deliveries and flag changes in one run */
#define BODY 2048

struct bench_store {
	char *dir, *mail, *state, *plain; /* owned: mail tree, store, a plain Maildir */
	int mail_fd, plain_fd, state_fd;
	struct store *store;
	struct scan_report report;
	uint64_t n, serial;
	bool full;
};

static const struct origin ORIGIN = {.comm = "bench", .pid = 1};

/* ---- scans ----------------------------------------------------------------------------------- */

static void scan(void *arg)
{
	struct bench_store *b = arg;

	bench_check(store_scan(b->store, b->full, &b->report), "store_scan");
}

static void walk(void *arg)
{
	struct bench_store *b = arg;

	bench_walk(b->mail);
}

static void stat_folders(void *arg)
{
	struct bench_store *b = arg;
	struct stat st;

	for (int i = 0; i < 2 * FOLDERS; i++)
		bench_check(fstatat(b->mail_fd, i % 2 ? "new" : "cur", &st, 0), "stat");
}

static int count(const char *name, unsigned char type, uint64_t ino, void *arg)
{
	++*(uint64_t *)arg;
	return 0;
}

static void list_inbox(void *arg)
{
	struct bench_store *b = arg;
	MB_AUTO_CLOSE int fd = openat(b->mail_fd, "cur", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t n = 0;

	bench_check(at_list(fd, count, &n), "list");
}

/* Another program delivers. */
static void strange_delivery(void *arg)
{
	struct bench_store *b = arg;
	char name[64];

	snprintf(name, sizeof(name), "cur/1700000000.S%llu.host:2,",
		 (unsigned long long)++b->serial);
	MB_AUTO_CLOSE int fd =
		openat(b->mail_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bench_check(fd < 0 || write(fd, "A: b\n\n", 6) != 6 ? -1 : 0, name);
}

static void scans(struct bench_store *b)
{
	struct bench nothing = {.phase = "scan, nothing changed", .peer = "stats of cur and new"};
	struct bench folder = {.phase = "scan, one folder changed", .peer = "readdir of it"};
	struct bench full = {.phase = "scan, every file", .peer = "lstat of every file"};

	nothing.bench = folder.bench = full.bench = "store";
	nothing.n = folder.n = full.n = b->n;
	nothing.operations = folder.operations = full.operations = 1;
	usleep(2100000); /* a directory that changed within two seconds is read again */
	scan(b);
	bench_run(&nothing, 21, scan, stat_folders, NULL, b);
	if (b->report.dirs_read)
		bench_check(-1, "a directory was read");
	bench_run(&folder, 7, scan, list_inbox, strange_delivery, b);
	if (b->report.dirs_read != 2 || b->report.arrived != 1)
		bench_check(-1, "not one folder was read");
	b->full = true;
	bench_run(&full, b->n > 10000 ? 3 : 7, scan, walk, NULL, b);
	b->full = false;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void name_of(char name[96], const char *sub, uint64_t serial, const char *flags)
{
	snprintf(name, 96, "%s/1700000000.M%lluP1.host%s", sub, (unsigned long long)serial, flags);
}

static void write_body(int dir, const char *name)
{
	static char body[BODY];
	MB_AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	memset(body, 'x', sizeof(body));
	bench_check(fd < 0 || write(fd, body, BODY) != BODY ? -1 : 0, name);
}

static void rename_plain(struct bench_store *b, const char *from, const char *to)
{
	bench_check(renameat(b->plain_fd, from, b->plain_fd, to), from);
}

static void rename_ours(struct bench_store *b, const char *from, const char *to)
{
	bench_check(store_rename(b->store, from, to, 0, &ORIGIN), from);
}

static void deliver(struct bench_store *b, int dir,
		    void (*fn)(struct bench_store *, const char *, const char *))
{
	for (uint64_t i = 0; i < CHANGES; i++) {
		char from[96], to[96];

		name_of(from, "tmp", b->serial + i, "");
		name_of(to, "new", b->serial + i, "");
		write_body(dir, from);
		fn(b, from, to);
	}
}

static void deliver_ours(void *arg)
{
	struct bench_store *b = arg;

	deliver(b, b->mail_fd, rename_ours);
}

static void deliver_plain(void *arg)
{
	struct bench_store *b = arg;

	deliver(b, b->plain_fd, rename_plain);
}

static void next_thousand(void *arg)
{
	((struct bench_store *)arg)->serial += CHANGES;
}

/* The last run's arrivals are read: new -> cur with S. */
static void flag(struct bench_store *b,
		 void (*fn)(struct bench_store *, const char *, const char *))
{
	for (uint64_t i = 0; i < CHANGES; i++) {
		char from[96], to[96];

		name_of(from, "new", b->serial + i, "");
		name_of(to, "cur", b->serial + i, ":2,S");
		fn(b, from, to);
	}
}

static void flag_ours(void *arg)
{
	flag(arg, rename_ours);
}

static void flag_plain(void *arg)
{
	flag(arg, rename_plain);
}

static void arrive(void *arg)
{
	next_thousand(arg);
	deliver_ours(arg);
	deliver_plain(arg);
}

static void changes(struct bench_store *b)
{
	struct bench delivery = {.phase = "delivery", .peer = "create, write, rename"};
	struct bench flags = {.phase = "flag change", .peer = "rename"};

	delivery.bench = flags.bench = "store";
	delivery.n = flags.n = b->n;
	delivery.operations = flags.operations = CHANGES;
	bench_run(&delivery, 7, deliver_ours, deliver_plain, next_thousand, b);
	bench_run(&flags, 7, flag_ours, flag_plain, arrive, b);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void open_store(void *arg)
{
	struct bench_store *b = arg;

	bench_check(store_open(b->state, STORE_WRITE, &b->store), "store_open");
}

static void close_store(void *arg)
{
	struct bench_store *b = arg;

	store_close(MB_TAKE(b->store));
}

static void drop_index(void *arg)
{
	struct bench_store *b = arg;

	close_store(arg);
	bench_check(at_remove_tree(b->state_fd, "index"), "index");
}

static void reopening(struct bench_store *b)
{
	struct bench again = {.phase = "open after a clean stop", .peer = "stats of cur and new"};
	struct bench rebuild = {.phase = "index rebuild", .peer = "lstat of every file"};

	again.bench = rebuild.bench = "store";
	again.n = rebuild.n = b->n;
	again.operations = 1;
	rebuild.operations = b->n;
	usleep(2100000);
	scan(b);
	bench_run(&again, 7, open_store, stat_folders, close_store, b);
	bench_run(&rebuild, b->n > 10000 ? 3 : 7, open_store, walk, drop_index, b);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void adopt(void *arg)
{
	struct bench_store *b = arg;
	char *dir MB_AUTO_FREE = NULL;

	bench_check(store_adopt(b->mail, b->state, LAYOUT_MAILDIRPP, &dir), "store_adopt");
	open_store(b);
}

static void make_plain(struct bench_store *b)
{
	bench_check(mkdir(b->plain, 0700), b->plain);
	b->plain_fd = open(b->plain, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bench_check(mkdirat(b->plain_fd, "cur", 0700), "cur");
	bench_check(mkdirat(b->plain_fd, "new", 0700), "new");
	bench_check(mkdirat(b->plain_fd, "tmp", 0700), "tmp");
}

static void measure(uint64_t n)
{
	struct bench_store b = {.dir = bench_dir(), .n = n};
	struct bench first = {.bench = "store",
			      .phase = "adopt",
			      .peer = "lstat of every file",
			      .n = n,
			      .operations = n};

	b.mail = mb_xasprintf("%s/mail", b.dir);
	b.state = mb_xasprintf("%s/store", b.dir);
	b.plain = mb_xasprintf("%s/plain", b.dir);
	bench_maildir(b.mail, n);
	make_plain(&b);
	bench_run(&first, 1, adopt, walk, NULL, &b);
	b.mail_fd = open(b.mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b.state_fd = open(b.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	scans(&b);
	changes(&b);
	reopening(&b);
	close_store(&b);
	close(b.mail_fd);
	close(b.plain_fd);
	close(b.state_fd);
	bench_remove(b.dir);
	free(b.dir);
	free(b.mail);
	free(b.state);
	free(b.plain);
}

int main(void)
{
	static const uint64_t sizes[] = {1000, 10000, 100000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		measure(sizes[i]);
	return 0;
}
