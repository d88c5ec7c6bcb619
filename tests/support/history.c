/*
 * history.c - see history.h.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/support/history.h"
#include "backends/base/clock.h"
#include "backends/base/mem.h"
#include "tests/support/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- time ---- */

static int64_t now_ns;
static uint64_t seed_now;
static struct prng pace;

/* As of a process that other ones keep waiting, now and then. */
static int64_t look(void)
{
	if (seed_now % 4 && prng_below(&pace, 10 * (seed_now % 4)) == 0)
		now_ns += (int64_t)(1 + prng_below(&pace, 4)) * 1000000;
	return now_ns;
}

static const char *run(const struct history_view *v, bool aloud)
{
	pace = (struct prng){seed_now};
	return v->run(v->history, aloud);
}

/* ---- histories ---- */

static void leave_out(const struct history_view *v, size_t i)
{
	uint8_t *at = (uint8_t *)v->ops + i * v->op_size;

	--*v->n;
	memmove(at, at + v->op_size, (*v->n - i) * v->op_size);
}

void history_shrink(const struct history_view *v, const char *wrong)
{
	uint8_t *before = mb_xmalloc(*v->n * v->op_size);
	bool shorter;

	do {
		shorter = false;
		for (size_t i = *v->n; i-- > 0;) {
			size_t n = *v->n;
			memcpy(before, v->ops, n * v->op_size);
			leave_out(v, i);
			const char *now = run(v, false);
			if (now && strcmp(now, wrong) == 0) {
				shorter = true;
				continue;
			}
			memcpy(v->ops, before, n * v->op_size);
			*v->n = n;
		}
	} while (shorter);
	free(before);
}

void history_check(const struct history_view *v, const char *name, bool aloud)
{
	const char *wrong = run(v, aloud);

	if (!wrong)
		return;
	history_shrink(v, wrong);
	printf("%s: %s\n", name, wrong);
	run(v, true);
	fail_msg("%s: %s", name, wrong);
}

void history_clock(int64_t ns)
{
	now_ns = ns + 500000;
	clock_set_source(look);
}

static void play(uint64_t seed, bool aloud,
		 void (*check)(uint64_t seed, bool aloud, const void *arg), const void *arg)
{
	seed_now = seed;
	check(seed, aloud, arg);
}

static uint64_t number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

bool history_is_one_seed(void)
{
	return getenv("MAILBRAID_SEED");
}

void history_seeds(const char *many, uint64_t n,
		   void (*check)(uint64_t seed, bool aloud, const void *arg), const void *arg)
{
	uint64_t start = number("MAILBRAID_FIRST", 1);

	if (history_is_one_seed()) {
		play(number("MAILBRAID_SEED", 0), true, check, arg);
		return;
	}
	n = number(many, n);
	for (uint64_t seed = start; seed < start + n; seed++)
		play(seed, false, check, arg);
}
