/*
 * bench.c - see bench.h.
 */
#include "tests/support/bench.h"

#include "backends/base/at.h"
#include "backends/base/err.h"
#include "backends/base/mem.h"
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

void bench_check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, mb_err_str(err));
	exit(1);
}

double bench_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, int n)
{
	double sorted[BENCH_RUNS_MAX];

	memcpy(sorted, values, (size_t)n * sizeof(*values));
	qsort(sorted, (size_t)n, sizeof(*sorted), order);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

void bench_print(const struct bench *b)
{
	double ratio[BENCH_RUNS_MAX], seconds = median(b->ours, b->runs);

	printf("{\"bench\": \"%s\", \"phase\": \"%s\", \"n\": %llu, \"seconds\": %.9f, "
	       "\"per_second\": %.1f",
	       b->bench, b->phase, (unsigned long long)b->n, seconds,
	       (double)b->operations / seconds);
	for (int i = 0; i < b->runs; i++)
		ratio[i] = b->ours[i] / b->theirs[i];
	if (b->peer)
		printf(", \"peer\": \"%s\", \"peer_seconds\": %.9f, \"ratio\": %.2f", b->peer,
		       median(b->theirs, b->runs), median(ratio, b->runs));
	printf("}\n");
	fflush(stdout);
}

static double timed(bench_fn *fn, void *arg)
{
	double start = bench_seconds();

	fn(arg);
	return bench_seconds() - start;
}

void bench_run(struct bench *b, int runs, bench_fn *ours, bench_fn *peer, bench_fn *between,
	       void *arg)
{
	b->runs = runs;
	for (int i = 0; i < runs; i++) {
		if (between)
			between(arg);
		b->theirs[i] = peer ? timed(peer, arg) : 0;
		b->ours[i] = timed(ours, arg);
	}
	bench_print(b);
}

/* ---- trees ----------------------------------------------------------------------------------- */

char *bench_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	char *path = mb_xasprintf("%s/mailbraid-bench-XXXXXX", tmp ? tmp : "/tmp");

	bench_check(mkdtemp(path) ? 0 : -1, "mkdtemp");
	return path;
}

void bench_remove(const char *dir)
{
	const char *name = strrchr(dir, '/') + 1;
	char *parent MB_AUTO_FREE = mb_xstrndup(dir, (size_t)(name - dir));
	MB_AUTO_CLOSE int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	bench_check(at_remove_tree(fd, name), "remove");
}

void bench_maildir(const char *dir, uint64_t n)
{
	const char *source = getenv("MAILBRAID_SOURCE");
	char *script MB_AUTO_FREE =
		mb_xasprintf("%s/tests/support/gen_maildir.py", source ? source : ".");
	char *count MB_AUTO_FREE = mb_xasprintf("-n%llu", (unsigned long long)n);
	const char *argv[] = {"python3", script, count, dir, NULL};
	posix_spawn_file_actions_t quiet;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, "python3", &quiet, NULL, (char *const *)(uintptr_t)argv, environ) ==
	    0)
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&quiet);
	if (status) {
		fprintf(stderr, "%s failed\n", script);
		exit(1);
	}
}

static uint64_t walked;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	walked++;
	return 0;
}

uint64_t bench_walk(const char *dir)
{
	walked = 0;
	bench_check(nftw(dir, count_one, 32, FTW_PHYS), dir);
	return walked;
}
