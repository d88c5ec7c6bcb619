/*
 * fuzz.h - what a fuzz target is: fuzz-NAME.c defines both functions below.
 *
 * ./run test runs each target by replay.c: its seeds, the files of corpus/NAME (inputs that once
 * failed), every seed cut short, and a few thousand of them damaged at random, always the same ones.
 * ./run fuzz builds the same targets with libFuzzer under ASan and UBSan, and lets it search.
 */
#ifndef MB_TESTS_FUZZ_H
#define MB_TESTS_FUZZ_H

#include "backends/base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Tries one input.  What must not be aborts. */
void fuzz_one(const uint8_t *data, size_t len);
/* Appends the n-th good input, n from 0; false when there are no more. */
bool fuzz_seed(unsigned n, struct buf *out);
/* How many damaged inputs replay.c tries, and how many cuts of each seed. */
extern const unsigned fuzz_rounds, fuzz_cuts;

#define FUZZ_CHECK(truth)                                                                          \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
