/*
 * bench-log.c - the log: append, and append with flushes, against write() and fdatasync() of the same
 * bytes.
 *
 * The flushes are a thousand however many records there are: each makes a group of them durable.
 */
#include "backends/base/mem.h"
#include "backends/store/log.h"
#include "tests/support/bench.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLUSHES 1000
#define RUNS 7

struct bench_log {
	const char *dir;
	int dir_fd, plain_fd;
	struct log *log;
	struct record r;
	char bytes[1024]; /* as many as a record has in the log */
	size_t len;
	uint64_t n, every; /* every: records a flush, 0 = never */
};

/* A flag change, as it comes from a mail program. */
static void make_record(struct record *r)
{
	*r = (struct record){.type = REC_FLAGS, .at = {.time = 1, .replica = 2}};
	r->origin = (struct origin){.replica = 2, .pid = 4711, .comm = "neomutt"};
	r->copy.guid = guid_new();
	r->copy.size = 4711;
	r->copy.received_ns = 1700000000000000000;
	r->copy.place.mailbox = guid_new();
	r->copy.place.uid = 4711;
	r->copy.place.at = r->at;
	r->copy.place.base = mb_xstrdup("1700000000.M123456P4711_42.host");
	r->old_name = mb_xstrdup("cur/1700000000.M123456P4711_42.host:2,");
	r->new_name = mb_xstrdup("cur/1700000000.M123456P4711_42.host:2,S");
}

static void append(void *arg)
{
	struct bench_log *b = arg;

	for (uint64_t i = 0; i < b->n; i++) {
		b->r.at.time++;
		bench_check(log_append(b->log, &b->r, NULL, NULL), "log_append");
		if (b->every && i % b->every == b->every - 1)
			bench_check(log_flush(b->log), "log_flush");
	}
}

static void write_plain(void *arg)
{
	struct bench_log *b = arg;

	for (uint64_t i = 0; i < b->n; i++) {
		if (write(b->plain_fd, b->bytes, b->len) != (ssize_t)b->len)
			bench_check(-1, "write");
		if (b->every && i % b->every == b->every - 1)
			bench_check(fdatasync(b->plain_fd), "fdatasync");
	}
}

static void open_files(struct bench_log *b)
{
	static const struct guid store = {{1}};

	b->dir_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->plain_fd = openat(b->dir_fd, "plain", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bench_check(b->dir_fd < 0 || b->plain_fd < 0 ? -1 : 0, b->dir);
	bench_check(log_open(b->dir_fd, &store, &b->log), "log_open");
	bench_check(log_begin(b->log, false, NULL), "log_begin");
}

static void measure(struct bench_log *b, uint64_t n)
{
	struct bench line = {.bench = "log", .phase = "append", .peer = "write"};
	struct bench flushed = {.bench = "log", .phase = "append+flush", .peer = "write+fdatasync"};
	uint64_t before = log_file_size(b->log);

	b->n = 1;
	b->every = 0;
	append(b);
	b->len = log_file_size(b->log) - before;

	line.n = line.operations = flushed.n = flushed.operations = b->n = n;
	bench_run(&line, RUNS, append, write_plain, NULL, b);
	b->every = n / FLUSHES ? n / FLUSHES : 1;
	bench_run(&flushed, RUNS, append, write_plain, NULL, b);
}

int main(void)
{
	static const uint64_t sizes[] = {1000, 10000, 100000};
	char *dir MB_AUTO_FREE = bench_dir();

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bench_log b = {.dir = dir};

		make_record(&b.r);
		open_files(&b);
		measure(&b, sizes[i]);
		log_close(b.log);
		record_release(&b.r);
		close(b.plain_fd);
		close(b.dir_fd);
	}
	bench_remove(dir);
	return 0;
}
