/*
 * bench.h - what the benchmarks in C share: samples, the line of JSON, a scratch directory, trees.
 *
 * What is measured and the plain file system operation it is compared with are run in turn, k times;
 * the ratio is the median of the k ratios, so that a machine that is busy for a while does not bend
 * it.  Everything that fails ends the program.
 */
#ifndef MB_TESTS_SUPPORT_BENCH_H
#define MB_TESTS_SUPPORT_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_RUNS_MAX 64

struct bench {
	const char *bench, *phase, *peer; /* peer: what it is compared with, NULL for nothing */
	uint64_t n;			  /* messages (or records) that are there */
	uint64_t operations;		  /* in one run; 1 = the run is the operation */
	double ours[BENCH_RUNS_MAX], theirs[BENCH_RUNS_MAX];
	int runs;
};

/* Runs both functions `runs` times in turn and prints the line.  `peer` may be NULL.  `between`, may
 * be NULL, makes ready for the next run and is not measured. */
typedef void bench_fn(void *arg);
void bench_run(struct bench *b, int runs, bench_fn *ours, bench_fn *peer, bench_fn *between,
	       void *arg);
void bench_print(const struct bench *b);

void bench_check(int err, const char *what); /* negative: says so and ends the program */
double bench_seconds(void);

char *bench_dir(void); /* owned: a new directory below $TMPDIR */
void bench_remove(const char *dir);
/* tests/support/gen_maildir.py: a Maildir with `n` messages in 50 folders. */
void bench_maildir(const char *dir, uint64_t n);
/* lstat() of everything beneath dir: the least that anybody does who looks at a whole Maildir. */
uint64_t bench_walk(const char *dir);

#endif
